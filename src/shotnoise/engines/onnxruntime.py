"""onnxruntime: runs on every CPU, and on NVIDIA GPUs where its GPU package is installed."""

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from shotnoise.engines.engine import Array, OutOfMemoryError
from shotnoise.engines.latent import draw_latent, flat_level
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import EngineError, ModelError, nearest

__all__ = ["OnnxRuntimeEngine", "providers"]

logger = logging.getLogger(__name__)

_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    # the default search tries every algorithm again for each new picture size
    "cuda": ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}),
    "tensorrt": ("TensorrtExecutionProvider", {}),
    "cpu": ("CPUExecutionProvider", {}),
}
_SAME = 0.02  # largest difference between a GPU and the CPU in the self-test; TF32 and fp16 stay far below


class OnnxRuntimeEngine:
    """Runs an .onnx model.

    Args:
        path: the model.
        threads: CPU threads; None: one per core.
        reason: why this engine was chosen.
        provider: "cpu", "cuda" or "tensorrt"; None: CUDA where it is available and passes a self-test, else the CPU.
            TensorRT is never chosen by itself: it compiles for minutes for every new picture size.
    """

    def __init__(
        self, path: Path, *, threads: int | None = None, reason: str = "asked for", provider: str | None = None
    ) -> None:
        import onnxruntime

        self._onnxruntime = onnxruntime
        self._file = read_onnx(path)
        self.card = self._file.card
        self._threads = threads
        self._session = self._open("cpu")
        self._provider = "cpu"
        if provider is not None and provider not in _PROVIDERS:
            raise EngineError(f"unknown provider '{provider}' of onnxruntime: {nearest(provider, _PROVIDERS)}")
        wanted = provider or ("cuda" if "cuda" in providers() else "cpu")
        if wanted == "cpu":
            why = "on the CPU as asked" if provider else "on the CPU, as this onnxruntime has no CUDA provider"
        else:
            why = f"on {wanted}" + (" as asked" if provider else ", which passed a self-test")
            failure = self._switch(wanted)
            if failure and provider:
                raise EngineError(f"the provider '{wanted}' of onnxruntime does not work here ({failure}); use the CPU")
            if failure:
                logger.warning("running on the CPU, because the provider '%s' does not work here: %s", wanted, failure)
                why = f"on the CPU, as the provider '{wanted}' failed its self-test ({failure})"
        self._reason = f"{reason}; {why}"

    def run(self, noisy: Array, level: Array | None = None, latent: Array | None = None) -> Array:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        return self._run(self._session, noisy, level, latent)

    def describe(self) -> dict[str, Any]:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        return {
            "engine": "onnxruntime",
            "version": self._onnxruntime.__version__,
            "provider": self._provider,
            "threads": self._threads or "one per core",
            "precision": self.card.precision,
            "reason": self._reason,
        }

    def _open(self, provider: str) -> Any:
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads or 0
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong arrives as an exception; nothing else belongs on stderr
        options.enable_mem_pattern = False  # halves the peak memory at the same speed
        name, settings = _PROVIDERS[provider]
        chain = [(name, settings)] if provider == "cpu" else [(name, settings), "CPUExecutionProvider"]
        try:
            return self._onnxruntime.InferenceSession(self._file.content, options, providers=chain)
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
        side = -(-64 // self.card.multiple) * self.card.multiple
        noisy = np.random.default_rng(0).random((1, self.card.channels, *(self.card.size or (side, side))), np.float32)
        inputs = noisy, flat_level(self.card, noisy.shape, 0.1), draw_latent(self.card, noisy.shape)
        try:
            _find_gpu_libraries(self._onnxruntime)
            session = self._open(provider)
            if session.get_providers()[0] != _PROVIDERS[provider][0]:
                return "its libraries cannot be loaded"
            difference = np.abs(self._run(session, *inputs) - self._run(self._session, *inputs)).max()
        except (EngineError, ModelError) as error:
            return str(error)
        if not difference <= _SAME:
            return f"its result differs from the CPU's by {difference:.3g}"
        self._session, self._provider = session, provider
        return ""


def providers() -> tuple[str, ...]:
    """Short names of the providers that this onnxruntime was built with, best first."""
    import onnxruntime

    built = onnxruntime.get_available_providers()
    return tuple(short for short, (name, _) in _PROVIDERS.items() if name in built)


def _find_gpu_libraries(onnxruntime: Any) -> None:
    """Let onnxruntime find CUDA in the nvidia packages of pip; it prints on failure, which the self-test will show."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls(directory="")
    if printed.getvalue():
        logger.debug("onnxruntime.preload_dlls: %s", printed.getvalue().strip())


def _line(error: Exception) -> str:
    """The last part of onnxruntime's long one-line messages, without source positions."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.removeprefix("[ONNXRuntimeError] : ")[:300]
