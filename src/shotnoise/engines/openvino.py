"""OpenVINO: runs the same .onnx files, on CPUs; as fast as onnxruntime in float32, faster in int8."""

from pathlib import Path
from typing import Any

import numpy as np

from shotnoise.engines.engine import Array, OutOfMemoryError
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import EngineError, ModelError, require

__all__ = ["OpenVinoEngine"]


class OpenVinoEngine:
    """Runs an .onnx model.

    Args:
        path: the model.
        threads: CPU threads; None: one per core.
        reason: why this engine was chosen.
        precision: "f32", or "bf16" to trade the last bits for up to twice the speed on CPUs that have it; what an
            int8 model leaves unquantised runs in this type.
    """

    def __init__(
        self, path: Path, *, threads: int | None = None, reason: str = "asked for", precision: str = "f32"
    ) -> None:
        openvino = require("openvino", "openvino", "the engine 'openvino'")
        if precision not in ("f32", "bf16"):
            raise EngineError(f"precision is '{precision}'; the engine 'openvino' knows f32 and bf16")
        self._file = read_onnx(path)
        self.card = self._file.card
        self._version = openvino.__version__.split("-")[0]
        self._threads = threads
        self._precision = precision
        self._reason = reason
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            model = core.read_model(self._file.content, b"")
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"{path}: OpenVINO cannot load the model ({_line(error)})") from None

    def run(self, noisy: Array, level: Array | None = None, latent: Array | None = None) -> Array:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        feed = self._file.feed(noisy, level, latent)
        try:
            self._request.infer(feed, share_inputs=True)
            clean = np.array(self._request.get_tensor("clean").data, np.float32)  # a copy: the tensor is used again
        except (RuntimeError, MemoryError) as error:
            line = _line(error)
            if isinstance(error, MemoryError) or "alloc" in line.lower():
                raise OutOfMemoryError.of(noisy, line) from None
            raise EngineError(f"{self._file.path}: the model failed in OpenVINO ({line})") from None
        return self._file.result(noisy, clean)

    def describe(self) -> dict[str, Any]:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        int8 = self.card.precision == "int8"
        return {
            "engine": "openvino",
            "version": self._version,
            "provider": "cpu",
            "threads": self._threads or "one per core",
            "precision": f"int8, the rest {self._precision}" if int8 else self._precision,
            "reason": f"{self._reason}; on the CPU",
        }


def _line(error: Exception) -> str:
    """The lines of OpenVINO's message that say what happened, without the source positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = (
        [line for line in lines if not line.startswith(("Exception from", "Check"))] or lines or [type(error).__name__]
    )
    return "; ".join(said)[:300]
