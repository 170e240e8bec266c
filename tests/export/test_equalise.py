"""Networks written otherwise: the same function, and less error where they are rounded."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shotnoise.bundled import find_model
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.export import equalise
from shotnoise.export.equalise import equalised, rewritten, spaces
from shotnoise.export.int8 import _ranges
from shotnoise.export.onnx import export
from shotnoise.export.pictures import Pictures, Step, noisy_steps
from shotnoise.export.qdq import convolutions, place
from shotnoise.export.source import run, session
from shotnoise.export.weights import widen
from shotnoise.networks import create
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import save_checkpoint
from small_networks import SMALL

make = onnx.helper.make_node


def bundled(name):
    model = onnx.load(find_model(name))
    widen(model)
    return model


def graph(nodes, weights, channels=3):
    value = onnx.helper.make_tensor_value_info
    tensors = [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    ends = [value("noisy", 1, ["n", channels, "h", "w"])], [value("clean", 1, ["n", "c", "h", "w"])]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "g", *ends, tensors), opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return model


def random_matrices(found, seed):
    rng = np.random.default_rng(seed)
    matrices = {}
    for space in found:
        size = space.channels
        turned = np.linalg.qr(rng.normal(size=(size, size)))[0] if space.mixed else np.eye(size)
        matrices[space] = turned * np.exp(rng.uniform(-1, 1, size))
    return matrices


def inputs_of(model, seed=0, side=32, reduction=1):
    rng = np.random.default_rng(seed)
    found = {}
    for value in model.graph.input:
        sizes = [size.dim_value or None for size in value.type.tensor_type.shape.dim]
        own = side // reduction if value.name == "z" else side
        shape = [known or free for known, free in zip(sizes, (1, 1, own, own), strict=True)]
        found[value.name] = rng.random(shape, np.float32)
    return found


def difference(one, other, inputs):
    """Largest, as a share of the largest value."""
    results = [session(model.SerializeToString()).run(["clean"], inputs)[0] for model in (one, other)]
    return np.abs(results[0] - results[1]).max() / np.abs(results[0]).max()


@pytest.mark.parametrize("name", ["photo", "raw"])
def test_shotnet_has_a_trunk_on_each_scale_and_features_in_each_block(name):
    found = spaces(bundled(name))
    assert [(space.channels, len(space.tensors)) for space in found if space.mixed] == [(32, 7), (64, 9), (128, 5)]
    assert [space.channels for space in found if not space.mixed] == [32, 64, 128, 128, 64, 64, 32]
    assert all(len(space.tensors) == 2 for space in found if not space.mixed)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(["photo", "raw"]))
def test_any_matrices_leave_the_function_as_it_is(seed, name):
    model = bundled(name)
    changed = rewritten(model, random_matrices(spaces(model), seed))
    assert [node.name for node in changed.graph.node] == [node.name for node in model.graph.node]
    assert difference(model, changed, inputs_of(model, seed)) < 1e-5


@pytest.mark.parametrize(
    "name", [one if one == "shotnet" else pytest.param(one, marks=pytest.mark.slow) for one in sorted(SMALL)]
)
def test_other_networks_stay_what_they_are(name, tmp_path, monkeypatch):
    monkeypatch.setattr("shotnoise.networks.neighbor2neighbor_unet._TAIL", 8)
    torch.manual_seed(1)
    network = create(name.partition("+")[0], **SMALL[name]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    save_checkpoint(tmp_path / "net.safetensors", network, bare_card(network, name))
    model = onnx.load(export(tmp_path / "net.safetensors", tmp_path / "net.onnx").path)
    found = spaces(model)
    if name in ("dncnn", "ffdnet", "shotnet", *(one for one in SMALL if "unet" in one)):
        assert found
    inputs = inputs_of(model, side=64, reduction=(network.latent_shape or (0, 1))[1])
    assert difference(model, rewritten(model, random_matrices(found, 0)), inputs) < 1e-5
    for mixed in (False, True):
        assert difference(model, equalised(model, [inputs], mixed=mixed), inputs) < 1e-5


def test_convolutions_that_share_a_bias_stay():
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(4, 4, 1, 1)) for name in "abcd"} | {"bias": rng.normal(size=4)}
    nodes = [
        make("Conv", ["noisy", "a", "bias"], ["x"]),
        make("Conv", ["x", "b"], ["y"]),
        make("Conv", ["y", "c", "bias"], ["z"]),
        make("Conv", ["z", "d"], ["clean"]),
    ]
    assert spaces(graph(nodes, weights, channels=4)) == []
    nodes[2] = make("Conv", ["y", "c"], ["z"])
    assert [space.tensors for space in spaces(graph(nodes, weights, channels=4))] == [("x",), ("y",), ("z",)]


def test_what_others_write_or_read_stays():
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(4, 4, 1, 1)) for name in "abcdef"} | {"depth": rng.normal(size=(4, 1, 1, 1))}
    nodes = [
        make("Conv", ["noisy", "a"], ["fed"]),
        make("Sigmoid", ["fed"], ["bent"]),
        make("Conv", ["bent", "b"], ["whole"]),
        make("Conv", ["whole", "depth"], ["each"], group=4),
        make("Conv", ["each", "c"], ["free"]),
        make("Conv", ["free", "d"], ["twice"]),
        make("Conv", ["twice", "d"], ["again"]),
        make("Conv", ["again", "e"], ["shifted"]),
        make("Add", ["shifted", "one"], ["moved"]),
        make("Conv", ["moved", "f"], ["clean"]),
    ]
    model = graph(nodes, weights | {"one": np.ones((1, 4, 1, 1))}, channels=4)
    onnx.checker.check_model(model)
    assert spaces(model) == [], "of two convolutions with the same weights each wants its own"
    nodes[5] = make("Conv", ["free", "g"], ["twice"])
    (found,) = spaces(graph(nodes, weights | {"one": np.ones((1, 4, 1, 1)), "g": weights["a"]}, channels=4))[:1]
    assert (found.tensors, found.channels, found.mixed) == (("free",), 4, True)


def test_the_basis_does_least_harm_and_spreads_the_strongest_direction():
    rng = np.random.default_rng(0)
    size = 12
    moments, gains = (one @ one.T for one in rng.normal(size=(2, size, size)))
    bright = rng.normal(size=size)
    moments += 100 * np.outer(bright, bright)

    def harm(matrix):
        metric = matrix.T @ matrix
        return np.trace(gains @ np.linalg.inv(metric)) * np.trace(moments @ metric)

    matrix = equalise._basis(moments, gains)
    for _ in range(200):
        nearby = matrix @ (np.eye(size) + 0.05 * rng.normal(size=(size, size)))
        assert harm(nearby) > harm(matrix)
    assert harm(matrix) < 0.5 * min(harm(np.eye(size)), harm(np.diag(np.diag(moments) ** -0.5)))
    seen = matrix @ moments @ matrix.T
    vectors = np.linalg.eigh(seen)[1]
    np.testing.assert_allclose(np.abs(vectors[:, -1]), size**-0.5, rtol=1e-3)
    assert np.abs(vectors[:, -1].sum()) == pytest.approx(size**0.5, rel=1e-3)


def test_factors_are_one_over_the_root_of_the_largest_value():
    rng = np.random.default_rng(0)
    scales = np.array([1.0, 4.0, 100.0, 0.0])
    weights = {
        "a": rng.random((4, 3, 3, 3)) * scales[:, None, None, None],
        "b": rng.normal(size=(3, 4, 3, 3)),
    }
    nodes = [
        make("Conv", ["noisy", "a"], ["pre"], pads=[1, 1, 1, 1]),
        make("Relu", ["pre"], ["post"]),
        make("Conv", ["post", "b"], ["clean"], pads=[1, 1, 1, 1]),
    ]
    model = graph(nodes, weights)
    inputs = [inputs_of(model, seed) for seed in range(2)]
    changed = equalised(model, inputs, mixed=True)
    assert difference(model, changed, inputs[0]) < 1e-5
    ((tensor,), (other,)) = ([t for t in m.graph.initializer if t.name == "a"] for m in (model, changed))
    before, after = (onnx.numpy_helper.to_array(one) for one in (tensor, other))
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(onnx.helper.make_tensor_value_info("post", 1, None))
    opened = session(copy.SerializeToString())
    largest = np.max([opened.run(["post"], one)[0].max((0, 2, 3)) for one in inputs], axis=0)
    factors = after[:3].sum((1, 2, 3)) / before[:3].sum((1, 2, 3))
    np.testing.assert_allclose(factors, (largest[:3] / largest.max()) ** -0.5, rtol=1e-5)


def test_rounding_the_trunk_costs_less():
    """Of the squared error that rounding features of the RAW model adds, less than half is left."""
    model = bundled("raw")
    card = read_onnx(find_model("raw")).card
    steps = noisy_steps(card, Pictures().crops(card, 2, half=0, side=64), beyond=True)
    inputs = [one.inputs for step in steps for one in step.pictures]
    exact = session(model.SerializeToString())
    errors = []
    for graph_now in (model, equalised(model, inputs, mixed=True)):
        layers = convolutions(graph_now)
        chosen = [one for one in layers if one.label in ("decoder.1.0.conv1", "decoder.1.0.conv2", "decoder.0.1.conv1")]
        ranges, _ = _ranges(graph_now, layers, [Step("", 0.0, tuple(p for s in steps for p in s.pictures))])
        rounded = session(place(graph_now, {layer.name for layer in chosen}, ranges).SerializeToString())
        errors.append(np.mean([np.square(run(exact, p) - run(rounded, p)).mean() for s in steps for p in s.pictures]))
    assert errors[1] < 0.5 * errors[0]
