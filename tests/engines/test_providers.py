"""onnxruntime on GPUs, with a fake of it that takes the options down: no test machine has a GPU."""

import logging
import sys

import numpy as np
import onnxruntime
import pytest

import shotnoise.engines.choice as choice
from shotnoise.engines import OutOfMemoryError, cache, open_engine, tensorrt
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.engines.onnxruntime import OnnxRuntimeEngine
from shotnoise.errors import EngineError
from tiny_models import write_model

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


class FakeSession:
    """What the CPU computes, plus an error."""

    def __init__(self, real, first, error):
        self._real, self._first, self._error = real, first, error
        self.shapes = []

    def get_providers(self):
        return [self._first, CPU]

    def run(self, names, feed):
        self.shapes.append({name: value.shape for name, value in feed.items()})
        if isinstance(self._error, Exception):
            raise self._error
        return [self._real.run(names, feed)[0] + np.float32(self._error)]


class FakeRuntime:
    """The module: which providers it has, and what goes wrong with them.

    `broken` maps a provider to an exception that its sessions raise when made, to "dropped" for one that onnxruntime
    leaves out without a word, to ("run", exception), or to the error of its results.
    """

    __version__ = "9.9.9"
    __spec__ = onnxruntime.__spec__
    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, *built, broken=None):
        self.built, self.broken, self.chains, self.sessions = [*built, CPU], broken or {}, [], []

    def get_available_providers(self):
        return self.built

    def preload_dlls(self, directory=None):
        sys.stdout.write("found nothing\n")

    def InferenceSession(self, content, options, providers, enable_fallback):
        assert enable_fallback == 0  # onnxruntime would print, and change the provider without a word
        chain = [(name, {}) if isinstance(name, str) else name for name in providers]
        self.chains.append(chain)
        real = onnxruntime.InferenceSession(content, options, providers=[CPU])
        first = chain[0][0]
        wrong = self.broken.get(first, 0.0)
        if isinstance(wrong, Exception):
            raise wrong
        if wrong == "dropped":
            first, wrong = CPU, 0.0
        if isinstance(wrong, tuple):
            wrong = wrong[1]
        session = FakeSession(real, first, wrong)
        self.sessions.append(session)
        return session


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Puts a fake in the place of onnxruntime, with an empty cache."""

    def install(*built, **options):
        fake = FakeRuntime(*built, **options)
        monkeypatch.setitem(sys.modules, "onnxruntime", fake)
        return fake

    monkeypatch.setenv("SHOTNOISE_CACHE", str(tmp_path / "cache"))
    return install


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "m.onnx", level="sigma", shape="strided")


def noisy(n=1, channels=3, height=12, width=20):
    return np.random.default_rng(0).random((n, channels, height, width), np.float32)


LEVEL = np.full((1, 1, 1, 1), 0.1, np.float32)


def tensorrt_options(fake):
    (settings,) = [chain[0][1] for chain in fake.chains if chain[0][0] == TENSORRT]
    return settings


def test_cuda_is_taken_where_it_is(install, model, caplog):
    fake = install(TENSORRT, CUDA)
    engine = open_engine(model)
    described = engine.describe()
    assert (described["engine"], described["provider"], described["precision"]) == ("onnxruntime", "cuda", "fp32")
    assert described["reason"] == "chosen for .onnx files; on cuda, which passed a self-test"
    assert [[name for name, _ in chain] for chain in fake.chains] == [[CPU], [CUDA, CPU]]  # nothing for TensorRT
    assert fake.chains[1][0][1] == {"cudnn_conv_algo_search": "HEURISTIC"}
    assert engine.run(noisy(), LEVEL).shape == noisy().shape
    assert not caplog.records


def test_tensorrt_is_told_everything(install, model, tmp_path, caplog):
    fake = install(TENSORRT, CUDA)
    with caplog.at_level(logging.WARNING):
        engine = open_engine(model, provider="tensorrt")
    assert "takes minutes" in caplog.text
    described = engine.describe()
    assert (described["provider"], described["precision"]) == ("tensorrt", "fp16")
    assert described["reason"] == "chosen for .onnx files; on tensorrt as asked"
    assert [name for name, _ in fake.chains[-1]] == [TENSORRT, CUDA, CPU]
    options = tensorrt_options(fake)
    assert options["trt_fp16_enable"] == "True"
    assert options["trt_int8_enable"] == "False"
    assert int(options["trt_max_workspace_size"]) == 4 * 1024**3
    assert options["trt_profile_min_shapes"] == "noisy:1x3x2x2,level:1x1x1x1"
    assert options["trt_profile_opt_shapes"] == "noisy:1x3x1024x2048,level:1x1x1x1"
    assert options["trt_profile_max_shapes"] == "noisy:1x3x2048x8192,level:1x1x1x1"
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
    engines = tmp_path / "cache" / "tensorrt"
    assert options["trt_timing_cache_path"] == str(engines)
    assert options["trt_engine_cache_path"].startswith(str(engines) + "/")


def test_every_input_of_free_size_is_in_the_profile(install, tmp_path):
    fake = install(TENSORRT, CUDA)
    path = write_model(tmp_path / "z.onnx", channels=1, latent=(2, 4), level="sigma")
    OnnxRuntimeEngine(path, provider="tensorrt")
    assert tensorrt_options(fake)["trt_profile_min_shapes"] == "noisy:1x1x4x4,level:1x1x1x1,z:1x2x1x1"
    assert tensorrt_options(fake)["trt_profile_max_shapes"] == "noisy:3x1x2048x8192,level:3x1x1x1,z:3x2x512x2048"


def test_a_level_map_is_as_large_as_the_picture(install, tmp_path):
    fake = install(TENSORRT, CUDA)
    OnnxRuntimeEngine(write_model(tmp_path / "r.onnx", channels=4, level="sigma"), provider="tensorrt")
    assert tensorrt_options(fake)["trt_profile_opt_shapes"] == "noisy:1x4x1024x2048,level:1x4x1024x2048"


def test_a_file_of_fixed_size_needs_no_profile(install, tmp_path):
    fake = install(TENSORRT, CUDA)
    path = write_model(tmp_path / "f.onnx", inputs={"noisy": [1, 3, 16, 24]}, size=(16, 24))
    engine = OnnxRuntimeEngine(path, provider="tensorrt")
    assert not [name for name in tensorrt_options(fake) if "profile" in name]
    assert engine.run(noisy(height=16, width=24)).shape == (1, 3, 16, 24)


def test_only_the_number_of_pictures_may_be_free(install, tmp_path):
    fake = install(TENSORRT, CUDA)
    path = write_model(tmp_path / "f.onnx", inputs={"noisy": ["n", 3, 16, 24]}, size=(16, 24))
    OnnxRuntimeEngine(path, provider="tensorrt")
    assert tensorrt_options(fake)["trt_profile_max_shapes"] == "noisy:1x3x16x24"


@pytest.mark.parametrize(
    ("precision", "half", "words"), [("fp32", "False", "fp32"), ("fp16", "True", "fp16"), ("auto", "True", "fp16")]
)
def test_the_precision_of_tensorrt(install, model, precision, half, words):
    fake = install(TENSORRT, CUDA)
    engine = open_engine(model, precision=precision, provider="tensorrt")
    assert tensorrt_options(fake)["trt_fp16_enable"] == half
    assert tensorrt_options(fake)["trt_layer_norm_fp32_fallback"] == half
    assert engine.describe()["precision"] == words


def test_int8_files_in_tensorrt(install, tmp_path):
    fake = install(TENSORRT, CUDA)
    path = write_model(tmp_path / "q.int8.onnx", precision="int8")
    engine = open_engine(path, provider="tensorrt")
    assert tensorrt_options(fake)["trt_int8_enable"] == tensorrt_options(fake)["trt_fp16_enable"] == "True"
    assert engine.describe()["precision"] == "int8, the rest fp16"


def test_fp16_of_an_fp32_file_needs_tensorrt(install, model):
    fake = install(TENSORRT, CUDA)
    assert open_engine(model, precision="fp16").describe()["provider"] == "tensorrt"
    assert tensorrt_options(fake)["trt_fp16_enable"] == "True"
    for provider in ("cuda", "cpu"):
        with pytest.raises(EngineError, match="in fp16 only with the provider 'tensorrt'"):
            open_engine(model, precision="fp16", provider=provider)
    install(CUDA)
    with pytest.raises(EngineError, match="in fp16 only with the provider 'tensorrt'"):
        open_engine(model, precision="fp16")


def test_an_fp16_file_beside_is_opened(install, tmp_path):
    install(CUDA)
    write_model(tmp_path / "m.onnx")
    write_model(tmp_path / "m.fp16.onnx", precision="fp16")
    assert open_engine(tmp_path / "m.onnx", precision="fp16", provider="cuda").describe()["precision"] == "fp16"
    with pytest.raises(EngineError, match="is a file in fp16, not fp32"):
        OnnxRuntimeEngine(tmp_path / "m.fp16.onnx", precision="fp32")


def test_an_fp16_file_is_taken_by_a_gpu_that_works(install, tmp_path):
    path = write_model(tmp_path / "m.onnx")
    write_model(tmp_path / "m.fp16.onnx", precision="fp16")
    write_model(tmp_path / "m.int8.onnx", precision="int8")
    install(CUDA)
    for provider in (None, "cuda"):
        assert open_engine(path, provider=provider).describe()["precision"] == "fp16"
        assert open_engine(path, precision="fp32", provider=provider).describe()["precision"] == "fp32"
        assert open_engine(tmp_path / "m.int8.onnx", provider=provider).describe()["precision"] == "int8"
    assert open_engine(path, provider="cpu").describe()["precision"] == "fp32"
    install(CUDA, broken={CUDA: "dropped"})
    described = open_engine(path).describe()
    assert (described["provider"], described["precision"]) == ("cpu", "fp32")


def test_where_engines_are_kept_depends_on_model_precision_and_version(install, tmp_path):
    install(TENSORRT, CUDA)
    files = [read_onnx(write_model(tmp_path / f"{seed}.onnx", seed=seed)) for seed in (0, 1)]
    places = {
        tensorrt.provider_options(file, half, version)["trt_engine_cache_path"]
        for file in files
        for half in (False, True)
        for version in ("1.20", "1.21")
    }
    assert len(places) == 8


def test_without_a_cache_folder_nothing_is_kept(install, model, monkeypatch):
    monkeypatch.setenv("SHOTNOISE_CACHE", "/dev/null")
    fake = install(TENSORRT, CUDA)
    assert open_engine(model, provider="tensorrt").describe()["provider"] == "tensorrt"
    assert not [name for name in tensorrt_options(fake) if "cache" in name]


def compile_before(model):
    """As if TensorRT had compiled it in an earlier run."""
    options = tensorrt.provider_options(read_onnx(model), True, FakeRuntime.__version__)
    open(f"{options['trt_engine_cache_path']}/TensorrtExecutionProvider_1_sm90.engine", "w").close()


def test_a_compiled_model_is_taken_by_itself(install, model, caplog):
    install(TENSORRT, CUDA)
    compile_before(model)
    engine = open_engine(model)
    assert engine.describe()["provider"] == "tensorrt"
    assert engine.describe()["reason"] == "chosen for .onnx files; on tensorrt, which passed a self-test"
    assert not caplog.records  # nothing takes minutes


FAILURES = [
    (RuntimeError("no kernel image"), "no kernel image"),
    ("dropped", "its libraries cannot be loaded"),
    (("run", RuntimeError("CUDA failure 700")), "CUDA failure 700"),
    (0.5, "differs from the CPU's by 0.5"),
    (float("nan"), "differs from the CPU's by nan"),
]


@pytest.mark.parametrize(("wrong", "words"), FAILURES)
def test_what_was_not_asked_for_is_given_up(install, model, caplog, wrong, words):
    install(TENSORRT, CUDA, broken={TENSORRT: wrong})
    compile_before(model)
    with caplog.at_level(logging.WARNING):
        described = open_engine(model).describe()
    assert described["provider"] == "cuda"
    assert described["precision"] == "fp32"
    assert "on cuda, as the provider 'tensorrt' failed its self-test" in described["reason"]
    assert words in described["reason"]
    assert words in caplog.text

    install(TENSORRT, CUDA, broken={TENSORRT: wrong, CUDA: "dropped"})
    described = open_engine(model).describe()
    assert described["provider"] == "cpu"
    assert "on the CPU, as the provider 'tensorrt' failed" in described["reason"]
    assert "and 'cuda' failed its self-test (its libraries cannot be loaded)" in described["reason"]


@pytest.mark.parametrize(("wrong", "words"), FAILURES)
@pytest.mark.parametrize(("short", "name"), [("tensorrt", TENSORRT), ("cuda", CUDA)])
def test_what_was_asked_for_and_fails_is_one_line(install, model, short, name, wrong, words):
    install(TENSORRT, CUDA, broken={name: wrong})
    with pytest.raises(EngineError, match=f"'{short}' of onnxruntime does not work here") as caught:
        open_engine(model, provider=short)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gpu_that_fails_at_work_is_given_up(install, model, caplog):
    fake = install(CUDA)
    engines = [open_engine(model), open_engine(model, provider="cuda")]
    for session in fake.sessions:
        session._error = RuntimeError("CUDA failure 700: illegal access") if session.get_providers()[0] == CUDA else 0
    with caplog.at_level(logging.WARNING):
        found = engines[0].run(noisy(), LEVEL)
    np.testing.assert_array_equal(found, OnnxRuntimeEngine(model, provider="cpu").run(noisy(), LEVEL))
    described = engines[0].describe()
    assert described["provider"] == "cpu"
    assert "on the CPU, as the provider 'cuda' failed at work" in described["reason"]
    assert "CUDA failure 700" in caplog.text
    with pytest.raises(EngineError, match="CUDA failure 700"):
        engines[1].run(noisy(), LEVEL)


def test_a_wrong_window_is_not_blamed_on_the_gpu(install, model):
    install(CUDA)
    engine = open_engine(model)
    with pytest.raises(EngineError, match="the model failed in onnxruntime"):
        engine.run(noisy(height=13), LEVEL)
    assert engine.describe()["provider"] == "cuda"


def test_pictures_are_given_as_the_engine_takes_them(install, tmp_path):
    fake = install(TENSORRT, CUDA)
    colours = open_engine(write_model(tmp_path / "m.onnx", level="sigma"), provider="tensorrt")
    level = np.linspace(0.1, 0.5, 5, dtype=np.float32).reshape(5, 1, 1, 1)
    cpu = OnnxRuntimeEngine(tmp_path / "m.onnx", provider="cpu")
    np.testing.assert_allclose(colours.run(noisy(5), level), cpu.run(noisy(5), level), atol=1e-6)
    assert [shapes["noisy"][0] for shapes in fake.sessions[1].shapes[1:]] == [1] * 5
    gray = open_engine(write_model(tmp_path / "g.onnx", channels=1), provider="tensorrt")
    assert gray.run(noisy(5, 1)).shape == (5, 1, 12, 20)
    assert [shapes["noisy"][0] for shapes in fake.sessions[-1].shapes[1:]] == [3, 2]


def test_windows_beyond_the_profile_call_for_smaller_ones(install, model):
    install(TENSORRT, CUDA)
    engine = open_engine(model, provider="tensorrt")
    with pytest.raises(OutOfMemoryError, match=r"2050x4 pixels .*more than the TensorRT engine is compiled for"):
        engine.run(noisy(height=2050, width=4), LEVEL)


def test_the_cache_is_found_where_the_system_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.delenv("SHOTNOISE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "shotnoise"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for system, place in (("linux", ".cache/shotnoise"), ("darwin", "Library/Caches/shotnoise")):
        monkeypatch.setattr(sys, "platform", system)
        assert cache.cache_folder() == tmp_path / "home" / place


def test_a_gpu_is_tried_before_processors_are_compared(install, model, monkeypatch):
    install(CUDA)
    monkeypatch.setattr(choice, "choose", None)  # would fail if it were called
    assert open_engine(model).describe()["provider"] == "cuda"
