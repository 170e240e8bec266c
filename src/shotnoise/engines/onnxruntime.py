"""onnxruntime: runs on every CPU, and on NVIDIA GPUs, by CUDA or TensorRT, where its GPU package is installed."""

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from shotnoise.engines import tensorrt
from shotnoise.engines.abilities import TOLERANCES, check_abilities
from shotnoise.engines.engine import Array, OutOfMemoryError
from shotnoise.engines.latent import draw_latent, flat_level
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import EngineError, ModelError

__all__ = ["OnnxRuntimeEngine", "providers"]

logger = logging.getLogger(__name__)

# Best first.
_PROVIDERS = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
# The default search tries every algorithm again for each new picture size.
_CUDA = {"cudnn_conv_algo_search": "HEURISTIC"}
_TF32 = 0.02  # what fp32 on a GPU may differ by: convolutions round their inputs to 10 bits there


class OnnxRuntimeEngine:
    """Runs an .onnx model.

    Args:
        path: the model.
        threads: CPU threads; None: one per core.
        reason: why this engine was chosen.
        precision: "auto": that of the file, and fp16 with TensorRT. Others than that of the file only TensorRT can.
        provider: "cpu", "cuda" or "tensorrt"; None: the best that works. TensorRT compiles a model for minutes, so by
            itself it is only chosen for one that it has compiled before, when it was asked for. A GPU has to pass a
            self-test: results as on the CPU.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        reason: str = "asked for",
        precision: str = "auto",
        provider: str | None = None,
    ) -> None:
        check_abilities("onnxruntime", precision, provider)
        import onnxruntime

        self._onnxruntime = onnxruntime
        self._file = read_onnx(path)
        self.card = self._file.card
        self.reason = reason
        self._threads = threads
        built = providers()
        own = self.card.precision
        if precision not in ("auto", own):
            # Only TensorRT calculates in another precision than that of the file.
            if precision == "int8" or own == "fp16":
                raise EngineError(f"{path}: is a file in {own}, not {precision}; leave the precision out")
            if precision == "fp16" and provider is None and "tensorrt" in built:
                provider = "tensorrt"
            if precision == "fp16" and provider != "tensorrt":
                raise EngineError(
                    f"{path}: is a file in {own}, which onnxruntime calculates in fp16 only with the provider "
                    "'tensorrt'; ask for that, or make a file in fp16 with 'shotnoise export --precision fp16'"
                )
        self._half = precision != "fp32"  # with TensorRT
        self._session = self._open("cpu")
        self._provider = "cpu"
        self._asked = provider is not None
        wanted = [provider] if provider else self._worth_trying(built)
        failures = []
        for name in wanted:
            failure = "" if name == "cpu" else self._switch(name)
            if not failure:
                break
            if provider:
                raise EngineError(f"the provider '{name}' of onnxruntime does not work here ({failure}); use the CPU")
            logger.warning("the provider '%s' does not work here, going on without it: %s", name, failure)
            failures.append(f"'{name}' failed its self-test ({failure})")
        where = "the CPU" if self._provider == "cpu" else self._provider
        if provider:
            self._where = f"on {where} as asked"
        elif failures:
            self._where = f"on {where}, as the provider {' and '.join(failures)}"
        elif self._provider == "cpu":
            self._where = "on the CPU, as this onnxruntime has no CUDA provider"
        else:
            self._where = f"on {where}, which passed a self-test"

    def run(self, noisy: Array, level: Array | None = None, latent: Array | None = None) -> Array:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        try:
            return self._run_in_range(noisy, level, latent)
        except OutOfMemoryError:
            raise
        except EngineError as error:
            if self._asked or self._provider == "cpu":
                raise
            session = self._open("cpu")
            clean = self._run(session, noisy, level, latent)  # or it is the window that is wrong
            logger.warning("the provider '%s' does not work any more, going on without it: %s", self._provider, error)
            self._where = f"on the CPU, as the provider '{self._provider}' failed at work ({error})"
            self._session, self._provider = session, "cpu"
            return clean

    def describe(self) -> dict[str, Any]:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        precision: str = self.card.precision
        if self._provider == "tensorrt" and self._half:
            precision = "int8, the rest fp16" if precision == "int8" else "fp16"
        return {
            "engine": "onnxruntime",
            "version": self._onnxruntime.__version__,
            "provider": self._provider,
            "threads": self._threads or "one per core",
            "precision": precision,
            "reason": f"{self.reason}; {self._where}",
        }

    def _run_in_range(self, noisy: Array, level: Array | None, latent: Array | None) -> Array:
        """Run what TensorRT is compiled for, as many pictures at a time as that allows."""
        if self._provider != "tensorrt":
            return self._run(self._session, noisy, level, latent)
        if not tensorrt.fits(self._file, *noisy.shape[2:]):
            raise OutOfMemoryError.of(noisy, "more than the TensorRT engine is compiled for")
        step = tensorrt.most_pictures(self._file)
        parts = []
        for at in range(0, len(noisy), step):
            here = slice(at, at + step)
            told, z = (None if one is None else one[here] for one in (level, latent))
            parts.append(self._run(self._session, noisy[here], told, z))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _worth_trying(self, built: tuple[str, ...]) -> list[str]:
        """What is tried when nothing was asked for, in this order, until one works."""
        ready = tensorrt.compiled(self._file, self._half, self._onnxruntime.__version__)
        return [name for name in built if name != "tensorrt" or ready]

    def _open(self, provider: str) -> Any:
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong arrives as an exception; nothing else belongs on stderr
        options.enable_mem_pattern = False  # halves the peak memory at the same speed
        chain: list[Any] = [_PROVIDERS["cpu"]]
        if provider != "cpu" and "cuda" in providers():  # also for what TensorRT leaves over
            chain.insert(0, (_PROVIDERS["cuda"], _CUDA))
        if provider == "tensorrt":
            version = self._onnxruntime.__version__
            settings = tensorrt.provider_options(self._file, self._half, version)
            chain.insert(0, (_PROVIDERS["tensorrt"], settings))
        try:
            # Its own way back to other providers prints, and nobody would know what runs: here it is done in words.
            return self._onnxruntime.InferenceSession(self._file.content, options, providers=chain, enable_fallback=0)
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise ModelError(f"{self._file.path}: onnxruntime cannot load the model ({_line(error)})") from None

    def _run(self, session: Any, noisy: Array, level: Array | None, latent: Array | None) -> Array:
        feed = self._file.feed(noisy, level, latent)
        try:
            (clean,) = session.run(["clean"], feed)
        except Exception as error:  # as above
            line = _line(error)
            if isinstance(error, MemoryError) or any(word in line.lower() for word in ("alloc", "out of memory")):
                raise OutOfMemoryError.of(noisy, line) from None
            raise EngineError(f"{self._file.path}: the model failed in onnxruntime ({line})") from None
        return self._file.result(noisy, clean)

    def _switch(self, provider: str) -> str:
        """Move to another provider if it computes what the CPU computes; otherwise say why not."""
        if provider not in providers():
            return "this onnxruntime has none; pip install onnxruntime-gpu in its place"
        side = -(-64 // self.card.multiple) * self.card.multiple
        noisy = np.random.default_rng(0).random((1, self.card.channels, *(self.card.size or (side, side))), np.float32)
        inputs = noisy, flat_level(self.card, noisy.shape, 0.1), draw_latent(self.card, noisy.shape)
        limit = _TF32
        if provider == "tensorrt":
            limit = max(limit, TOLERANCES[self.card.precision])
            if not tensorrt.compiled(self._file, self._half, self._onnxruntime.__version__):
                logger.warning("TensorRT compiles the model for this GPU, which takes minutes; once, if it can be kept")
        try:
            _find_gpu_libraries(self._onnxruntime)
            session = self._open(provider)
            if session.get_providers()[0] != _PROVIDERS[provider]:
                return "its libraries cannot be loaded"
            difference = np.abs(self._run(session, *inputs) - self._run(self._session, *inputs)).max()
        except (EngineError, ModelError) as error:
            return str(error)
        if not difference <= limit:
            return f"its result differs from the CPU's by {difference:.3g}"
        self._session, self._provider = session, provider
        return ""


def providers() -> tuple[str, ...]:
    """Short names of the providers that this onnxruntime was built with, best first."""
    import onnxruntime

    built = onnxruntime.get_available_providers()
    return tuple(short for short, name in _PROVIDERS.items() if name in built)


def _find_gpu_libraries(onnxruntime: Any) -> None:
    """Let onnxruntime find CUDA in the nvidia packages of pip; it prints on failure, which the self-test will show."""
    if not hasattr(onnxruntime, "preload_dlls"):  # before 1.21
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls(directory="")
    if printed.getvalue():
        logger.debug("onnxruntime.preload_dlls: %s", printed.getvalue().strip())


def _line(error: Exception) -> str:
    """The last part of onnxruntime's long one-line messages, without source positions."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.removeprefix("[ONNXRuntimeError] : ")[:300]
