"""Small .onnx models with a card, in the convention of shotnoise, for tests that need one that runs."""

from pathlib import Path

import numpy as np
import pytest

from shotnoise.card import CARD_KEY, Card

onnx = pytest.importorskip("onnx")


def write_model(
    path: Path,
    *,
    channels: int = 3,
    level: str = "none",
    latent: tuple[int, int] | None = None,
    shape: str = "plain",
    seed: int = 0,
    inputs: dict[str, list] | None = None,
    with_card: bool = True,
    opset: int = 17,
    **card,
) -> Path:
    """Write noisy + correction(noisy) [* level] [+ detail(z)].

    RAW models, of 4 channels, take the level as a map unless their card has the root of the k-Sigma transform.

    Args:
        latent: channels and reduction of the random input; the detail is a transposed convolution of that stride.
        shape: "plain", two 3x3 convolutions; "strided", a convolution of stride 2 and a transposed one; "pooled",
            plain and the mean of the whole picture; "blur", the mean of 3x3 pixels.
        inputs: shapes of the inputs, to make models that break the convention.
        card: fields of the card that differ from what the model is.
    """
    rng = np.random.default_rng(seed)

    def weight(name, *size):
        values = rng.normal(0, 1 / np.sqrt(np.prod(size[1:])), size).astype(np.float32)
        return onnx.numpy_helper.from_array(values, name)

    pads = {"pads": [1, 1, 1, 1]}
    facts = {"multiple": 1, "halo": 2}
    if shape == "strided":
        facts = {"multiple": 2, "halo": 3}
        weights = [weight("w1", 8, channels, 4, 4), weight("w2", 8, channels, 2, 2)]
        nodes = [
            onnx.helper.make_node("Conv", ["noisy", "w1"], ["a"], strides=[2, 2], **pads),
            onnx.helper.make_node("Relu", ["a"], ["b"]),
            onnx.helper.make_node("ConvTranspose", ["b", "w2"], ["c"], strides=[2, 2]),
        ]
    elif shape == "blur":
        facts["halo"] = 1
        kernel = np.zeros((channels, channels, 3, 3), np.float32)
        kernel[range(channels), range(channels)] = 1 / 9
        kernel[range(channels), range(channels), 1, 1] -= 1
        weights = [onnx.numpy_helper.from_array(kernel, "w1")]
        nodes = [onnx.helper.make_node("Conv", ["noisy", "w1"], ["c"], **pads)]
    else:
        weights = [weight("w1", 8, channels, 3, 3), weight("w2", channels, 8, 3, 3)]
        nodes = [
            onnx.helper.make_node("Conv", ["noisy", "w1"], ["a"], **pads),
            onnx.helper.make_node("Relu", ["a"], ["b"]),
            onnx.helper.make_node("Conv", ["b", "w2"], ["d" if shape == "pooled" else "c"], **pads),
        ]
        if shape == "pooled":
            facts["halo"] = None
            nodes += [
                onnx.helper.make_node("GlobalAveragePool", ["d"], ["e"]),
                onnx.helper.make_node("Add", ["d", "e"], ["c"]),
            ]
    change = "c"
    if level == "sigma":
        nodes.append(onnx.helper.make_node("Mul", [change, "level"], ["m"]))
        change = "m"
    if latent is not None:
        count, step = latent
        facts["multiple"] = max(facts["multiple"], step)
        card["latent"] = {"channels": count, "reduction": step}
        weights.append(weight("wz", count, channels, step, step))
        nodes += [
            onnx.helper.make_node("ConvTranspose", ["z", "wz"], ["detail"], strides=[step, step]),
            onnx.helper.make_node("Add", [change, "detail"], ["s"]),
        ]
        change = "s"
    nodes.append(onnx.helper.make_node("Add", ["noisy", change], ["clean"]))
    picture = ["n", channels, "h", "w"]
    root = (card.get("k_sigma") or {}).get("root", False)
    levels = picture if channels == 4 and not root else ["n", 1, 1, 1]
    inputs = inputs or {
        "noisy": picture,
        **({"level": levels} if level == "sigma" else {}),
        **({"z": ["n", latent[0], "hz", "wz"]} if latent is not None else {}),
    }
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size) for name, size in inputs.items()],
        [onnx.helper.make_tensor_value_info("clean", onnx.TensorProto.FLOAT, picture)],
        weights,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
    if with_card:
        kind = {1: "gray", 3: "rgb", 4: "raw"}.get(channels, "rgb")
        values = {"name": f"tiny-{shape}", "kind": kind, "channels": channels, "level": level, **facts, **card}
        entry = model.metadata_props.add()
        entry.key, entry.value = CARD_KEY, Card(**values).to_json()
    onnx.save(model, path)
    return path
