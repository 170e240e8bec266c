"""Which engine runs a model: by name, or by what the file is and what this machine has."""

import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from shotnoise.bundled import find_model
from shotnoise.engines.engine import Engine
from shotnoise.errors import EngineError, MissingExtraError, ModelError, nearest
from shotnoise.table import Table

__all__ = ["ENGINES", "EngineStatus", "available_engines", "open_engine"]

# The name of an engine is the name of the package it needs.
ENGINES = Table(
    "engine",
    {
        "onnxruntime": ("shotnoise.engines.onnxruntime:OnnxRuntimeEngine", ".onnx models on any CPU, or with CUDA"),
        "openvino": ("shotnoise.engines.openvino:OpenVinoEngine", ".onnx models on CPUs; fastest for int8"),
        "torch": ("shotnoise.engines.torch:TorchEngine", "checkpoints and run folders, before they are exported"),
    },
)
_FOR_ONNX = ("onnxruntime", "openvino")  # in this order
_CHECKPOINTS = (".safetensors", ".pth", ".pt", ".ckpt", ".ckp", ".bin", ".pkl", ".mat", ".zip")
_EXTRAS = {"openvino": "shotnoise[openvino]", "torch": "shotnoise[train]", "onnxruntime": "onnxruntime"}


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine on this machine; `reason` says why it is not available, or what it runs on."""

    name: str
    available: bool
    version: str
    providers: tuple[str, ...]
    reason: str


def open_engine(
    model: str | os.PathLike[str], engine: str = "auto", *, threads: int | None = None, network: str | None = None
) -> Engine:
    """Open a model with the engine that suits it.

    Args:
        model: the name of a bundled model, an .onnx file, a checkpoint, or the folder of a training run.
        engine: a name of :data:`ENGINES`, or "auto": onnxruntime for .onnx files, torch for the others.
        threads: CPU threads; None leaves it to the engine, which takes all cores.
        network: the architecture of a checkpoint where it cannot be recognised; see `shotnoise.networks.load`.
    """
    if engine != "auto" and engine not in ENGINES:
        raise EngineError(f"unknown engine '{engine}': {nearest(engine, ['auto', *ENGINES])}")
    if threads is not None and threads < 1:
        raise EngineError(f"threads is {threads}; expected at least 1, or leave it out to use all cores")
    path = find_model(model)
    suitable = _suitable(path)
    if engine == "auto":
        installed = [name for name in suitable if _installed(name)]
        if not installed:
            raise MissingExtraError(f"{path.name} needs the engine '{suitable[0]}': {_advice(suitable[0])}")
        chosen = installed[0]
        reason = "chosen for .onnx files" if suitable is _FOR_ONNX else "chosen for checkpoints and run folders"
        if chosen != suitable[0]:
            reason = f"chosen because '{suitable[0]}' is not installed"
    else:
        if engine not in suitable:
            hint = "onnxruntime or openvino" if suitable is _FOR_ONNX else "torch, or 'shotnoise export' it first"
            raise EngineError(f"the engine '{engine}' cannot run {path.name}; use {hint}")
        if not _installed(engine):
            raise MissingExtraError(f"the engine '{engine}' is not installed: {_advice(engine)}")
        chosen, reason = engine, "asked for"
    if network is not None and chosen != "torch":
        raise EngineError(f"the network '{network}' is given, and {path.name} says itself what it is; leave it out")
    named = {} if network is None else {"network": network}
    opened: Engine = ENGINES.resolve(chosen)(path, threads=threads, reason=reason, **named)
    return opened


def available_engines() -> list[EngineStatus]:
    """What this machine has, without importing torch."""
    found = []
    for name in ENGINES:
        if not _installed(name):
            found.append(EngineStatus(name, False, "", (), f"not installed: {_advice(name)}"))
        elif name == "onnxruntime":
            from shotnoise.engines.onnxruntime import providers

            has = providers()
            says = "CUDA is there" if "cuda" in has else "on the CPU; pip install onnxruntime-gpu for NVIDIA GPUs"
            found.append(EngineStatus(name, True, _version(name), has, says))
        else:
            found.append(EngineStatus(name, True, _version(name), ("cpu",), ENGINES[name]))
    return found


def _suitable(path: Path) -> tuple[str, ...]:
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        return _FOR_ONNX
    if path.is_dir() or path.suffix.lower() in _CHECKPOINTS:
        return ("torch",)
    raise ModelError(
        f"{path}: not a model; expected an .onnx file, a checkpoint ({', '.join(_CHECKPOINTS)}) or a run folder"
    )


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _advice(name: str) -> str:
    return f"pip install '{_EXTRAS[name]}'"


def _version(name: str) -> str:
    """Version of the distribution, whatever it is called (onnxruntime-gpu, openvino, ...)."""
    if name == "onnxruntime":
        import onnxruntime

        return str(onnxruntime.__version__)
    return importlib.metadata.version(name)
