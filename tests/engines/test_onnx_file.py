"""What is accepted as a model file, and the words for everything else."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import ModelError
from tiny_models import write_model

onnx = pytest.importorskip("onnx")


def refused(path, words):
    with pytest.raises(ModelError, match=words) as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("level", ["none", "sigma"])
@pytest.mark.parametrize("shape", ["plain", "strided", "pooled"])
def test_the_card_comes_back(tmp_path, shape, level):
    path = write_model(tmp_path / "m.onnx", shape=shape, level=level, name="abc", sigma_range=(0, 0.2))
    file = read_onnx(path)
    assert file.card.name == "abc"
    assert file.card.level == level
    assert file.card.sigma_range == (0, 0.2)
    assert file.content == path.read_bytes()


def test_a_picture_text_and_nothing_are_not_onnx(tmp_path):
    for content in (b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"hello world\n", b"\x00" * 50, b"PK\x03\x04abc"):
        path = tmp_path / "x.onnx"
        path.write_bytes(content)
        refused(path, "not an ONNX file")
    refused(tmp_path / "missing.onnx", "cannot be read .No such file")
    refused(tmp_path, "cannot be read")


def test_a_truncated_file_is_refused(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(path, "damaged")


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damage_never_ends_in_another_exception(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "fuzz.onnx"
    if not path.exists():
        write_model(folder / "good.onnx", level="sigma")
    content = bytearray((folder / "good.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(ModelError):
        read_onnx(path)


def test_weights_in_another_file_are_refused_wherever_they_hide(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    model = onnx.load(path)

    def external(tensor):
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "../../etc/passwd"

    weights = onnx.load(path)
    external(weights.graph.initializer[0])
    constant = onnx.load(path)
    constant.graph.node.append(onnx.helper.make_node("Constant", [], ["z"], value=model.graph.initializer[0]))
    external(constant.graph.node[-1].attribute[0].t)
    nested = onnx.load(path)
    body = onnx.helper.make_graph([constant.graph.node[-1]], "body", [], [])
    nested.graph.node.append(onnx.helper.make_node("If", ["q"], ["r"], then_branch=body, else_branch=body))
    function = onnx.load(path)
    function.functions.append(
        onnx.helper.make_function("d", "f", [], ["z"], [constant.graph.node[-1]], [onnx.helper.make_opsetid("", 17)])
    )
    for bad in (weights, constant, nested, function):
        path.write_bytes(bad.SerializeToString())
        refused(path, "weights are in a second file")
    # a second `graph` field is merged by every protobuf reader
    only = onnx.ModelProto()
    only.graph.initializer.append(weights.graph.initializer[0])
    path.write_bytes(model.SerializeToString() + only.SerializeToString())
    refused(path, "weights are in a second file")


def test_a_file_without_a_card_or_with_a_broken_one(tmp_path):
    path = write_model(tmp_path / "m.onnx", with_card=False)
    refused(path, "no shotnoise card.*shotnoise export")
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "shotnoise.card", '{"name": "x"}'
    onnx.save(model, path)
    refused(path, "its card is not usable .kind")


def test_inputs_that_do_not_match_the_card(tmp_path):
    path = tmp_path / "m.onnx"
    refused(write_model(path, level="sigma", inputs={"noisy": ["n", 3, "h", "w"]}), "promises level, noisy and clean")
    refused(write_model(path, inputs={"picture": ["n", 3, "h", "w"]}), "has the inputs picture")
    model = onnx.load(write_model(path))
    card = model.metadata_props[0].value
    model.metadata_props[0].value = card.replace('"level":"none"', '"level":"sigma"')
    onnx.save(model, path)
    refused(path, r"has the inputs noisy .*level 'sigma'")
    model.metadata_props[0].value = card.replace('"channels":3', '"channels":1')
    onnx.save(model, path)
    refused(path, "promises 1 channels")
    refused(write_model(path, inputs={"noisy": [1, 3, 64, 48]}), "its input is 64x48, its card says of any size")
    model = onnx.load(write_model(path))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, path)
    refused(path, "noisy must be float32")


def test_random_values_and_levels_that_do_not_match_the_card(tmp_path):
    path = tmp_path / "m.onnx"
    picture = ["n", 3, "h", "w"]
    assert read_onnx(write_model(path, latent=(5, 4))).card.latent.channels == 5
    refused(write_model(path, latent=(5, 4), inputs={"noisy": picture}), "with a latent. promises noisy, z and clean")
    refused(write_model(path, inputs={"noisy": picture, "z": picture}), "has the inputs noisy, z .*promises noisy and")
    wrong = {"noisy": picture, "z": ["n", 6, "a", "b"]}
    refused(
        write_model(path, latent=(5, 4), inputs=wrong), r"input z has the shape \[0, 6, 0, 0\]; .* \(N, 5, free, free\)"
    )
    fixed = {"noisy": [1, 3, 64, 48], "z": [1, 5, 16, 12]}
    read_onnx(write_model(path, latent=(5, 4), inputs=fixed, size=(64, 48)))
    fixed["z"] = [1, 5, 64, 48]
    refused(write_model(path, latent=(5, 4), inputs=fixed, size=(64, 48)), r"promises \(N, 5, 16, 12\)")
    one = {"noisy": ["n", 4, "h", "w"], "level": ["n", 1, 1, 1]}
    every = one | {"level": ["n", 4, "h", "w"]}
    raw = {"channels": 4, "level": "sigma"}
    read_onnx(write_model(path, inputs=every, **raw))
    refused(write_model(path, inputs=one, **raw), r"input level has the shape \[0, 1, 1, 1\]; .*\(N, 4, free, free\)")
    root = raw | {"k_sigma": {"root": True}}
    read_onnx(write_model(path, inputs=one, **root))
    refused(write_model(path, inputs=every, **root), r"promises \(N, 1, 1, 1\): export the model again")
    model = onnx.load(write_model(path, latent=(5, 4)))
    card = model.metadata_props[0].value
    model.metadata_props[0].value = card.replace('"multiple":4', '"multiple":2')
    onnx.save(model, path)
    refused(path, "its card is not usable .*multiple 2 is none of the latent reduction 4")


def test_initialisers_listed_as_inputs_are_no_inputs(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    model = onnx.load(path)
    for weight in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    onnx.save(model, path)
    assert read_onnx(path).card.name == "tiny-plain"
