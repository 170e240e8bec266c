"""The torch engine: threads and precision that stay its own, CUDA graphs with a fake GPU, and compiling."""

import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import shotnoise.engines.torch as engine_module  # noqa: E402
from shotnoise.engines import OutOfMemoryError, open_engine  # noqa: E402
from shotnoise.engines.torch import CompiledTorchEngine, TorchEngine, _Graphs, _Recorded  # noqa: E402
from shotnoise.errors import EngineError  # noqa: E402
from shotnoise.networks import create  # noqa: E402
from shotnoise.networks.card import bare_card  # noqa: E402
from shotnoise.networks.checkpoint import save_checkpoint  # noqa: E402
from small_networks import SMALL  # noqa: E402

LEVEL = np.full((1, 1, 1, 1), 0.1, np.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "c.safetensors"
    torch.manual_seed(0)
    network = create("ffdnet", **SMALL["ffdnet"])
    save_checkpoint(path, network, bare_card(network, path))
    return path


def noisy(height=24, width=32):
    return np.random.default_rng(0).random((1, 3, height, width), np.float32)


def test_threads_are_those_asked_for_within_and_those_before_after(checkpoint, monkeypatch):
    before = torch.get_num_threads()
    count = before + 1
    engine = TorchEngine(checkpoint, threads=count)
    assert torch.get_num_threads() == before
    seen = []
    forward = engine._call
    monkeypatch.setattr(engine, "_call", lambda *given: seen.append(torch.get_num_threads()) or forward(*given))
    engine.run(noisy(), LEVEL)
    assert seen == [count]
    assert torch.get_num_threads() == before
    assert engine.describe()["threads"] == count

    def fail(*given):
        raise RuntimeError("broken\nsecond line")

    monkeypatch.setattr(engine, "_call", fail)
    with pytest.raises(EngineError, match=r"the network failed in torch \(broken\)"):
        engine.run(noisy(), LEVEL)
    assert torch.get_num_threads() == before


def test_precision_does_not_change_what_others_calculate(checkpoint):
    engine = TorchEngine(checkpoint, precision="bf16")
    engine.run(noisy(), LEVEL)
    assert not torch.is_autocast_enabled("cpu")
    assert torch.get_default_dtype() is torch.float32
    assert next(engine._network.parameters()).dtype is torch.float32
    assert TorchEngine(checkpoint).describe()["precision"] == "fp32"


@pytest.mark.parametrize(("has", "warns"), [(("AVX2",), True), (("AVX-512", "BF16"), False), (None, False)])
def test_slow_precisions_are_warned_of(checkpoint, monkeypatch, caplog, has, warns):
    monkeypatch.setattr(engine_module, "instructions", lambda: has)
    with caplog.at_level(logging.WARNING):
        TorchEngine(checkpoint, precision="bf16")
    assert ("no instructions for bf16, which makes it slower than fp32" in caplog.text) == warns


def test_cuda_that_is_not_there(checkpoint):
    if torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(EngineError, match=r"'cuda' of torch does not work here .*use the CPU"):
        open_engine(checkpoint, provider="cuda")
    assert open_engine(checkpoint, provider="cpu").describe()["provider"] == "cpu"


def test_cuda_that_does_not_work(checkpoint, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(TorchEngine, "_move", lambda self, model: "no kernel image for this device")
    with pytest.raises(EngineError, match=r"'cuda' of torch does not work here \(no kernel image"):
        TorchEngine(checkpoint, provider="cuda")
    with caplog.at_level(logging.WARNING):
        described = TorchEngine(checkpoint).describe()
    assert (described["provider"], described["precision"]) == ("cpu", "fp32")
    assert described["reason"] == "asked for; on the CPU, as CUDA failed (no kernel image for this device)"
    assert "no kernel image" in caplog.text


def test_memory_that_runs_out(checkpoint, monkeypatch):
    engine = TorchEngine(checkpoint)
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ):

        def fail(*given, error=error):
            raise error

        monkeypatch.setattr(engine, "_call", fail)
        with pytest.raises(OutOfMemoryError, match="no memory for a window of 24x32 pixels"):
            engine.run(noisy(), LEVEL)


class FakeGpu:
    """Records by calling again at each replay, and counts."""

    def __init__(self, monkeypatch, broken=None):
        self.recorded, self.replayed, self.broken = [], 0, broken
        monkeypatch.setattr(engine_module, "_record", self.record)

    def record(self, call, inputs):
        if self.broken:
            raise self.broken
        places = tuple(None if value is None else value.clone() for value in inputs)
        output = call(*places)
        self.recorded.append(tuple(places[0].shape))

        def replay():
            self.replayed += 1
            output.copy_(call(*places))

        return _Recorded(places, output, replay)


def test_windows_are_recorded_once_and_replayed(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    graphs = _Graphs(lambda picture, level, latent: picture * 2 + (0 if level is None else level))
    results = []
    for number in range(4):
        picture, level = torch.full((1, 3, 8, 8), float(number)), torch.full((1, 1, 1, 1), 0.5)
        result = graphs(picture, level, None)
        assert torch.equal(result, picture * 2 + 0.5)
        results.append(result)
    assert [float(result.mean()) for result in results] == [0.5, 2.5, 4.5, 6.5]  # none was overwritten
    assert gpu.recorded == [(1, 3, 8, 8)]  # at the second time
    assert gpu.replayed == 3


def test_few_shapes_are_kept(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    graphs = _Graphs(lambda picture, level, latent: picture + 1)
    sides = [4, 5, 6, 7, 8]
    for _ in range(2):
        for side in sides:
            graphs(torch.zeros(1, 1, side, side), None, None)
    assert gpu.recorded == []  # five take turns, and four are kept
    for _ in range(3):
        graphs(torch.zeros(1, 1, 8, 8), None, None)
    assert gpu.recorded == [(1, 1, 8, 8)]


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted\nmore"), torch.OutOfMemoryError("no memory")])
def test_what_cannot_be_recorded_runs_as_it_is(monkeypatch, caplog, error):
    FakeGpu(monkeypatch, broken=error)
    graphs = _Graphs(lambda picture, level, latent: picture + 1)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert float(graphs(torch.zeros(1, 1, 4, 4), None, None).mean()) == 1
    assert graphs.failure == str(error).splitlines()[0]
    assert len(caplog.records) == 1


def test_the_failure_of_graphs_is_told(checkpoint, monkeypatch):
    engine = TorchEngine(checkpoint)
    FakeGpu(monkeypatch, broken=RuntimeError("capture is not allowed"))
    engine._call = engine._graphs = _Graphs(engine._network)
    expected = engine.run(noisy(), LEVEL)
    np.testing.assert_array_equal(engine.run(noisy(), LEVEL), expected)
    assert engine.describe()["reason"] == "asked for; on the CPU, without CUDA graphs (capture is not allowed)"


def test_what_does_not_compile_runs_as_it_is(checkpoint, monkeypatch, caplog):
    def compiler(network, options):
        assert options == {"freezing": True}

        def call(*given):
            raise RuntimeError("no C++ compiler\nand a long trace")

        return call

    monkeypatch.setattr(torch, "compile", compiler)
    engine = open_engine(checkpoint, "torch-compiled")
    with caplog.at_level(logging.WARNING):
        found = engine.run(noisy(), LEVEL)
    np.testing.assert_array_equal(found, TorchEngine(checkpoint).run(noisy(), LEVEL))
    described = engine.describe()
    assert described["engine"] == "torch-compiled"
    assert described["reason"] == "asked for; on the CPU, not compiled, as that failed (no C++ compiler)"
    assert "running without torch.compile" in caplog.text


def test_what_is_wrong_with_a_window_is_not_blamed_on_the_compiler(checkpoint, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, options: network)
    engine = CompiledTorchEngine(checkpoint)
    with pytest.raises(EngineError, match="the network failed in torch"):
        engine.run(np.zeros((1, 5, 24, 32), np.float32), LEVEL)
    assert "not compiled" not in engine.describe()["reason"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_networks_calculate_the_same(checkpoint, precision):
    compiled = open_engine(checkpoint, "torch-compiled", precision=precision, threads=1)
    plain = open_engine(checkpoint, "torch", precision=precision, threads=1)
    for size in ((24, 32), (40, 32)):
        expected = plain.run(noisy(*size), LEVEL)
        np.testing.assert_allclose(
            compiled.run(noisy(*size), LEVEL), expected, atol=1e-4 if precision == "fp32" else 0.02
        )
    assert "not compiled" not in compiled.describe()["reason"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(checkpoint):
    cpu, gpu = open_engine(checkpoint, provider="cpu"), open_engine(checkpoint, provider="cuda")
    assert gpu.describe()["precision"] == "fp16"
    for _ in range(3):
        np.testing.assert_allclose(gpu.run(noisy(), LEVEL), cpu.run(noisy(), LEVEL), atol=0.02)
    assert "without CUDA graphs" not in gpu.describe()["reason"]
