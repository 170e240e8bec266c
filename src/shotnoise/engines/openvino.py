"""OpenVINO: runs the same .onnx files, on CPUs; in bf16 where they have it, and fastest in int8."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from shotnoise.engines.abilities import check_abilities
from shotnoise.engines.engine import Array, OutOfMemoryError
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import EngineError, ModelError, require

__all__ = ["OpenVinoEngine", "capabilities", "own_signal_stack"]


class OpenVinoEngine:
    """Runs an .onnx model.

    Args:
        path: the model.
        threads: CPU threads; None: one per core.
        reason: why this engine was chosen.
        precision: "fp32"; "bf16", to trade the last bits for up to twice the speed on CPUs that have it; or "auto",
            fp32. What an int8 file leaves unquantised runs in bf16 where the CPU has it, unless "fp32" is asked for.
        provider: "cpu" or None, which is the same.
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
        check_abilities("openvino", precision, provider)
        openvino = require("openvino", "openvino", "the engine 'openvino'")
        with own_signal_stack():
            core = openvino.Core()
            has_bf16 = "BF16" in capabilities(core)
        if precision == "bf16" and not has_bf16:
            raise EngineError(
                "this CPU has no instructions for bf16, which OpenVINO would calculate in fp32; leave the precision out"
            )
        self._file = read_onnx(path)
        self.card = self._file.card
        if precision == "int8" and self.card.precision != "int8":
            raise EngineError(f"{path}: is a file in {self.card.precision}, not int8; leave the precision out")
        self.reason = reason
        self._version = openvino.__version__.split("-")[0]
        self._threads = threads
        rest = self.card.precision == "int8" and precision in ("auto", "int8") and has_bf16
        self._floating = "bf16" if rest or precision == "bf16" else "fp32"
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[self._floating],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        # No CACHE_DIR: for the bundled models it saves 0.05 s of 0.3 s and keeps as much as the file, per precision.
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
        precision = self._floating
        if self.card.precision == "int8":
            precision = "int8" if self._floating == "fp32" else "int8, the rest bf16"
        return {
            "engine": "openvino",
            "version": self._version,
            "provider": "cpu",
            "threads": self._threads or "one per core",
            "precision": precision,
            "reason": f"{self.reason}; on the CPU",
        }


def capabilities(core: Any = None) -> tuple[str, ...]:
    """What OpenVINO finds in the CPU, in its words: FP32, BF16, INT8 and others."""
    with own_signal_stack():
        found = require("openvino", "openvino", "the engine 'openvino'").Core() if core is None else core
        return tuple(str(name) for name in found.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


class _SignalStack(ctypes.Structure):
    """stack_t of Linux."""

    _fields_: ClassVar = [("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextlib.contextmanager
def own_signal_stack() -> Iterator[None]:
    """Afterwards signals are handled where they were before.

    OpenVINO's part for CPUs, which every Core loads for itself when it is first asked, gives its thread a stack for
    signals, and when it goes, the one that it found. Of two that go in the order in which they came, the second gives
    back that of the first, which is gone, and the next Ctrl-C ends Python with a segmentation fault.
    """
    if sys.platform != "linux":
        yield
        return
    stacks, before = ctypes.CDLL(None).sigaltstack, _SignalStack()
    known = stacks(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            stacks(ctypes.byref(before), None)


def _line(error: Exception) -> str:
    """The lines of OpenVINO's message that say what happened, without the source positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = (
        [line for line in lines if not line.startswith(("Exception from", "Check"))] or lines or [type(error).__name__]
    )
    return "; ".join(said)[:300]
