"""Weights in half precision: half the file, rounded once, and every reader of such a file knows it."""

import numpy as np
import onnx
import pytest

from shotnoise.cli import run as run_command
from shotnoise.engines import open_engine
from shotnoise.errors import ModelError
from shotnoise.export import halve
from shotnoise.export.weights import narrow, widen
from tiny_models import write_model


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    whole = write_model(folder / "whole.onnx", seed=3)
    return whole, halve(whole, folder / "half.onnx", weights_only=True)


def test_the_file_is_half_and_the_weights_are_rounded_once(both):
    whole, half = (onnx.load(path) for path in (both[0], both[1].path))
    assert both[1].sizes == (both[0].stat().st_size, both[1].path.stat().st_size)
    assert both[1].sizes[1] < both[1].sizes[0]
    assert widen(half)
    assert not widen(half)
    values = [{t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer} for proto in (whole, half)]
    assert values[0].keys() == values[1].keys()
    for name, exact in values[0].items():
        # Few numbers stay as they are.
        expected = exact if exact.size < 64 else exact.astype(np.float16).astype(exact.dtype)
        assert np.array_equal(values[1][name], expected)
    assert [node.op_type for node in half.graph.node] == [node.op_type for node in whole.graph.node]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_it_runs_like_the_other(both, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    noisy = np.random.default_rng(0).random((1, 3, 40, 48), np.float32)
    whole, half = (open_engine(path, engine).run(noisy) for path in (both[0], both[1].path))
    assert 0 < np.abs(half - whole).max() < 2e-3
    assert both[1].card.precision == "fp32"
    assert 0 < abs(both[1].card.parity.loss) < 0.005


def test_float16_is_made_of_it(both, tmp_path):
    assert halve(both[1].path, tmp_path / "half.fp16.onnx").card.parity.psnr > 60


def test_refusals(both, tmp_path, capsys):
    proto = onnx.load(both[0])
    large = next(tensor for tensor in proto.graph.initializer if np.prod(tensor.dims) >= 64)
    large.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(large.dims), 1e5, np.float32), large.name))
    with pytest.raises(ModelError, match=r"a weight of 1e\+05 does not fit into half precision"):
        narrow(proto)
    for options, words in {
        ("--precision", "fp16"): "whose weights are half anyway",
        ("--kspace",): "--kspace is given for --half-weights",
    }.items():
        assert run_command(["export", "photo", "-o", str(tmp_path / "x.onnx"), "--half-weights", *options]) == 1
        assert words in capsys.readouterr().err


def test_command(both, tmp_path, capsys):
    target = tmp_path / "again.onnx"
    assert run_command(["export", str(both[0]), "-o", str(target), "--half-weights"]) == 0
    assert "dB to the result of fp32" in capsys.readouterr().out
    values = [[*map(onnx.numpy_helper.to_array, onnx.load(p).graph.initializer)] for p in (target, both[1].path)]
    assert all(map(np.array_equal, *values))
