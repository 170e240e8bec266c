"""`export`: a run folder or checkpoint -> one .onnx with its card inside, parity-checked against torch."""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import shotnoise
from shotnoise.card import CARD_KEY, Card, Score
from shotnoise.errors import ModelError, require
from shotnoise.networks import Network
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import load_with_card

__all__ = ["Export", "export"]

_TOLERANCE = 1e-4  # of the output range; float32 engines differ from torch by 1e-6 or so


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: the file.
        card: what it says about itself.
        difference: largest absolute difference to torch over the sizes tried, for outputs in 0..1.
        sizes: the (height, width) tried.
    """

    path: Path
    card: Card
    difference: float
    sizes: tuple[tuple[int, int], ...]


def export(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    network: str | None = None,
    scores: Sequence[Score] = (),
    overwrite: bool = True,
) -> Export:
    """Write an ONNX file that runs anywhere.

    Args:
        model: a run folder, our checkpoint, or an official one.
        path: the `.onnx` to write.
        size: fix height and width; free by default.
        network: architecture of a foreign checkpoint, where it cannot be recognised.
        scores: measured results to put on the card.
        overwrite: replace an existing file.

    Returns:
        What was written, with the measured difference to torch. A file that differs is never left behind.
    """
    onnx = require("onnx", "export", "writing ONNX")
    require("onnxscript", "export", "writing ONNX")
    target = Path(path)
    if target.suffix != ".onnx":
        raise ModelError(f"{target}: expected a file name that ends in .onnx")
    if target.exists() and not overwrite:
        raise ModelError(f"{target}: exists already; pass --overwrite or another name")
    net, card = load_with_card(model, network=network)
    if size is not None and any(side % net.multiple for side in size):
        raise ModelError(f"size {size[0]}x{size[1]}: this network needs multiples of {net.multiple}")
    card = (card or bare_card(net, model)).model_copy(
        update={
            "size": size,
            "scores": list(scores) or (card.scores if card else []),
            "made_with": f"shotnoise {shotnoise.__version__}",
        }
    )
    proto = _graph(net, size)
    proto.doc_string = card.title
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.to_json()
    _strip_traces(proto)
    onnx.checker.check_model(proto)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=".onnx")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(proto.SerializeToString())
        difference, sizes = _compare(net, temporary, size)
        if not difference <= _TOLERANCE:
            raise ModelError(
                f"{target}: not written, the exported graph differs from torch by {difference:.2g} (limit {_TOLERANCE})"
            )
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    return Export(target, card, difference, sizes)


class _Exported(nn.Module):
    """The network with positional inputs only, in the order of the model file."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor, level: Tensor | None = None) -> Tensor:
        result: Tensor = self.network(noisy, level)
        return result


def _graph(network: Network, size: tuple[int, int] | None) -> Any:
    step = network.multiple
    # Neither square nor equal to any channel count, so that the tracer mistakes no size for another.
    height, width = size or (step * max(3, 96 // step), step * max(4, 112 // step))
    inputs: tuple[Tensor, ...] = (torch.rand(2, network.channels, height, width),)
    batch = torch.export.Dim("batch", min=1)
    shapes: dict[str, Any] = {"noisy": {0: batch}}
    if size is None:
        shapes["noisy"] |= {2: step * torch.export.Dim("rows", min=1), 3: step * torch.export.Dim("columns", min=1)}
        if step == 1:
            shapes["noisy"] |= {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    names = ["noisy"]
    if network.level != "none":
        inputs += (torch.full((2, 1, 1, 1), 0.1),)
        shapes["level"] = {0: batch}
        names.append("level")
    with _silent():
        program = torch.onnx.export(
            _Exported(network).eval(),
            inputs,
            input_names=names,
            output_names=["clean"],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ModelError("torch gave no ONNX program for this network")
    return program.model_proto


def _strip_traces(proto: Any) -> None:
    """Drop the exporter's notes on every node: half the file size of a small network, and paths of this machine."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer):
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.graph.value_info[:]


def _compare(network: Network, file: str, size: tuple[int, int] | None) -> tuple[float, tuple[tuple[int, int], ...]]:
    """Largest difference between torch and onnxruntime, on sizes other than the traced one."""
    import onnxruntime

    step = network.multiple
    sizes = (size,) if size else ((4 * step, 6 * step), (-(-70 // step) * step, -(-130 // step) * step))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for height, width in sizes:
        generator = torch.Generator().manual_seed(height)
        picture = torch.rand(2, network.channels, height, width, generator=generator)
        level = None if network.level == "none" else torch.tensor([0.05, 0.15]).view(2, 1, 1, 1)
        with torch.no_grad():
            expected = network(picture, level).numpy()
        feed = {"noisy": picture.numpy()} | ({} if level is None else {"level": level.numpy()})
        worst = max(worst, float(np.abs(session.run(None, feed)[0] - expected).max()))
    return worst, sizes


@contextmanager
def _silent() -> Iterator[None]:
    """The exporter warns about packages it could also serve, and about names it changes itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
