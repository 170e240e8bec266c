"""Every engine computes what the ONNX reference computes, says what it does, and refuses what it cannot run."""

import logging

import numpy as np
import pytest

import shotnoise.engines.choice as choice
import shotnoise.engines.onnxruntime as ort_engine
from shotnoise.engines import ENGINES, Engine, OutOfMemoryError, available_engines, open_engine
from shotnoise.engines.abilities import ABILITIES
from shotnoise.errors import EngineError, MissingExtraError, ModelError
from tiny_models import write_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")

ONNX_ENGINES = ["onnxruntime", "openvino"]


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "m.onnx", level="sigma", shape="strided")


def sample(n=1, channels=3, height=12, width=20):
    return np.random.default_rng(0).random((n, channels, height, width), np.float32)


@pytest.mark.parametrize("name", ONNX_ENGINES)
@pytest.mark.parametrize("shape", ["plain", "strided", "pooled"])
@pytest.mark.parametrize("level", ["none", "sigma"])
def test_the_result_is_that_of_the_onnx_reference(tmp_path, name, shape, level):
    path = write_model(tmp_path / "m.onnx", shape=shape, level=level)
    engine = open_engine(path, name)
    reference = onnx.reference.ReferenceEvaluator(onnx.load(path))
    for n, height, width in ((1, 12, 20), (3, 2, 2), (2, 34, 6)):
        feed = {"noisy": sample(n, 3, height, width)}
        if level == "sigma":
            feed["level"] = np.linspace(0.1, 0.5, n, dtype=np.float32).reshape(n, 1, 1, 1)
        result = engine.run(feed["noisy"], feed.get("level"))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, reference.run(["clean"], feed)[0], atol=1e-5)


@pytest.mark.parametrize("name", ONNX_ENGINES)
def test_results_do_not_share_memory(model, name):
    engine = open_engine(model, name)
    level = np.full((1, 1, 1, 1), 0.3, np.float32)
    first = engine.run(sample(), level)
    before = first.copy()
    engine.run(1 - sample(), level)
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize("name", ONNX_ENGINES)
def test_windows_need_not_be_contiguous(tmp_path, name):
    engine = open_engine(write_model(tmp_path / "m.onnx"), name)
    picture = np.random.default_rng(0).random((20, 30, 3), np.float32)
    np.testing.assert_array_equal(
        engine.run(picture.transpose(2, 0, 1)[None]),
        engine.run(np.ascontiguousarray(picture.transpose(2, 0, 1))[None]),
    )


@pytest.mark.parametrize("name", ONNX_ENGINES)
def test_an_engine_describes_itself(model, name):
    engine = open_engine(model, name, threads=1)
    assert isinstance(engine, Engine)
    described = engine.describe()
    assert described["engine"] == name
    assert described["provider"] == "cpu"
    assert described["threads"] == 1
    assert described["precision"] == "fp32"
    assert described["version"][0].isdigit()
    assert described["reason"].startswith("asked for; on the CPU")


@pytest.mark.parametrize("name", ONNX_ENGINES)
def test_the_level_must_be_there_exactly_when_the_card_wants_it(tmp_path, model, name):
    with pytest.raises(ModelError, match="takes the noise level as input"):
        open_engine(model, name).run(sample())
    blind = open_engine(write_model(tmp_path / "blind.onnx"), name)
    with pytest.raises(ModelError, match="takes no noise level"):
        blind.run(sample(), np.zeros((1, 1, 1, 1), np.float32))


@pytest.mark.parametrize("name", ONNX_ENGINES)
def test_a_failing_model_is_one_line(model, name, capfd):
    engine = open_engine(model, name)
    with pytest.raises(EngineError, match="the model failed in") as caught:
        engine.run(sample(height=13), np.zeros((1, 1, 1, 1), np.float32))  # not a multiple of 2
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ONNX_ENGINES)
def test_operators_from_elsewhere_are_refused(tmp_path, name, capfd):
    path = write_model(tmp_path / "m.onnx")
    proto = onnx.load(path)
    proto.graph.node[0].domain = "elsewhere"
    proto.opset_import.append(onnx.helper.make_opsetid("elsewhere", 1))
    onnx.save(proto, path)
    with pytest.raises(ModelError, match="cannot load the model") as caught:
        open_engine(path, name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ONNX_ENGINES)
def test_a_model_that_changes_the_size_is_refused(tmp_path, name):
    path = write_model(tmp_path / "m.onnx")
    proto = onnx.load(path)
    proto.graph.node[-1].output[0] = "same"
    proto.graph.node.append(onnx.helper.make_node("MaxPool", ["same"], ["clean"], kernel_shape=[2, 2], strides=[2, 2]))
    onnx.save(proto, path)
    with pytest.raises(ModelError, match="expected the same shape"):
        open_engine(path, name).run(sample())


def test_auto_takes_onnxruntime_and_says_why(model):
    described = open_engine(model).describe()
    assert described["engine"] == "onnxruntime"
    assert described["reason"] == "chosen for .onnx files; on the CPU, as this onnxruntime has no CUDA provider"


def test_auto_falls_back_to_what_is_installed(model, monkeypatch):
    monkeypatch.setattr(choice, "_installed", lambda name: name == "openvino")
    assert open_engine(model).describe()["reason"].startswith("chosen because 'onnxruntime' is not")
    monkeypatch.setattr(choice, "_installed", lambda name: False)
    with pytest.raises(MissingExtraError, match="pip install 'onnxruntime'"):
        open_engine(model)
    with pytest.raises(MissingExtraError, match="'openvino' is not installed: pip install"):
        open_engine(model, "openvino")


def test_wrong_combinations_are_one_line(model, tmp_path):
    checkpoint = tmp_path / "best.safetensors"
    checkpoint.touch()
    with pytest.raises(EngineError, match=r"'torch' cannot run m.onnx; use onnxruntime or openvino"):
        open_engine(model, "torch")
    with pytest.raises(EngineError, match=r"'onnxruntime' cannot run best.safetensors; .* 'shotnoise export'"):
        open_engine(checkpoint, "onnxruntime")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(EngineError, match=r"'openvino' cannot run run; .* 'shotnoise export'"):
        open_engine(run, "openvino")
    with pytest.raises(EngineError, match="unknown engine 'onxruntime': did you mean 'onnxruntime'"):
        open_engine(model, "onxruntime")
    with pytest.raises(EngineError, match="threads is 0; expected at least 1"):
        open_engine(model, threads=0)
    picture = tmp_path / "photo.jpg"
    picture.touch()
    with pytest.raises(ModelError, match=r"photo.jpg: not a model; expected an .onnx file"):
        open_engine(picture)


def test_the_table_resolves_and_each_entry_fits_the_contract():
    assert list(ENGINES) == ["onnxruntime", "openvino", "torch", "torch-compiled"]
    assert set(ABILITIES) == set(ENGINES)
    for name in ENGINES:
        engine = ENGINES.resolve(name)
        for method in ("run", "describe"):
            assert callable(getattr(engine, method))


def test_available_engines_for_doctor(monkeypatch):
    found = {status.name: status for status in available_engines()}
    assert list(found) == list(ENGINES)
    assert found["onnxruntime"].available
    assert found["onnxruntime"].providers[-1] == "cpu"
    assert found["onnxruntime"].version[0].isdigit()
    monkeypatch.setattr(choice, "_installed", lambda name: name == "onnxruntime")
    missing = available_engines()[1]
    assert (missing.name, missing.available) == ("openvino", False)
    assert "pip install 'shotnoise[openvino]'" in missing.reason


class FakeSession:
    """A GPU session whose result is the CPU's plus an error."""

    def __init__(self, cpu, error, name="CUDAExecutionProvider"):
        self._cpu, self._error, self._name = cpu, error, name

    def get_providers(self):
        return [self._name, "CPUExecutionProvider"]

    def run(self, names, feed):
        if isinstance(self._error, Exception):
            raise self._error
        return [self._cpu.run(names, feed)[0] + np.float32(self._error)]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (1e-4, None),
        (0.5, "differs from the CPU's by 0.5"),
        (np.nan, "differs from the CPU's by nan"),
        (RuntimeError("CUDA failure 35"), "CUDA failure 35"),
    ],
)
def test_a_gpu_is_used_only_after_a_self_test(model, monkeypatch, caplog, error, words):
    original = ort_engine.OnnxRuntimeEngine._open

    def fake_open(self, provider):
        return original(self, "cpu") if provider == "cpu" else FakeSession(original(self, "cpu"), error)

    monkeypatch.setattr(ort_engine.OnnxRuntimeEngine, "_open", fake_open)
    monkeypatch.setattr(ort_engine, "providers", lambda: ("cuda", "cpu"))
    with caplog.at_level(logging.WARNING):
        engine = open_engine(model)
    described = engine.describe()
    if words is None:
        assert described["provider"] == "cuda"
        assert "passed a self-test" in described["reason"]
        assert not caplog.records
    else:
        assert described["provider"] == "cpu"
        assert words in described["reason"]
        assert words in caplog.text
        with pytest.raises(EngineError, match="'cuda' of onnxruntime does not work here"):
            ort_engine.OnnxRuntimeEngine(model, provider="cuda")


def test_a_provider_that_onnxruntime_has_not_is_one_line(model, recwarn):
    with pytest.raises(EngineError, match=r"'cuda' of onnxruntime does not work here .* pip install onnxruntime-gpu"):
        ort_engine.OnnxRuntimeEngine(model, provider="cuda")  # this build has none
    assert not recwarn
    with pytest.raises(EngineError, match=r"unknown provider 'cud'.*did you mean 'cuda'"):
        ort_engine.OnnxRuntimeEngine(model, provider="cud")


def test_memory_that_runs_out_is_told_apart(model):
    engine = ort_engine.OnnxRuntimeEngine(model)
    for error in (MemoryError(), RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc")):
        engine._session = FakeSession(None, error)
        with pytest.raises(OutOfMemoryError, match="no memory for a window of 12x20 pixels"):
            engine.run(sample(), np.zeros((1, 1, 1, 1), np.float32))
