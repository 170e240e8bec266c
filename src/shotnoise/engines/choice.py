"""Which engine runs a model: by name, or by what the file is, what this machine has, and what was measured on it."""

import importlib.metadata
import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from shotnoise.bundled import find_model, sibling
from shotnoise.engines.abilities import ABILITIES, check_abilities, refusal
from shotnoise.engines.cache import make_folder
from shotnoise.engines.engine import Engine
from shotnoise.engines.machine import instructions
from shotnoise.engines.onnx_file import OnnxFile, read_onnx
from shotnoise.engines.probe import Candidate, choose
from shotnoise.errors import EngineError, MissingExtraError, ModelError, nearest
from shotnoise.table import Table

__all__ = ["ENGINES", "EngineStatus", "available_engines", "open_engine"]

logger = logging.getLogger(__name__)

# The name of an engine begins with that of the package it needs.
ENGINES = Table(
    "engine",
    {
        "onnxruntime": ("shotnoise.engines.onnxruntime:OnnxRuntimeEngine", ".onnx models on any CPU, or with CUDA"),
        "openvino": ("shotnoise.engines.openvino:OpenVinoEngine", ".onnx models on CPUs; fastest for bf16 and int8"),
        "torch": ("shotnoise.engines.torch:TorchEngine", "checkpoints and run folders, before they are exported"),
        "torch-compiled": (
            "shotnoise.engines.torch:CompiledTorchEngine",
            "the same through torch.compile, which takes from seconds to minutes for the first window",
        ),
    },
)
_FOR_ONNX = ("onnxruntime", "openvino")  # in this order
_FOR_CHECKPOINTS = ("torch", "torch-compiled")
_NEVER_AUTO = ("torch-compiled",)
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
    model: str | os.PathLike[str],
    engine: str = "auto",
    *,
    threads: int | None = None,
    network: str | None = None,
    precision: str = "auto",
    provider: str | None = None,
) -> Engine:
    """Open a model with the engine that suits it.

    Args:
        model: the name of a bundled model, an .onnx file, a checkpoint, or the folder of a training run.
        engine: a name of :data:`ENGINES`, or "auto": torch for checkpoints and run folders. For .onnx files
            onnxruntime on a GPU that works, otherwise the fastest on the CPU: where several could run it, they are
            measured once, and the outcome is kept in the user's cache folder. Where nothing can be kept there,
            nothing is measured, and onnxruntime is taken.
        threads: CPU threads; None leaves it to the engine, which takes all cores.
        network: the architecture of a checkpoint where it cannot be recognised; see `shotnoise.networks.load`.
        precision: "fp32", "bf16", "fp16" or "int8". Of an .onnx file, int8 and fp16 open the one beside it that is
            called so, as `photo.int8.onnx` beside `photo.onnx`. "auto": that of the file, or bf16 where the CPU has
            instructions for it and is measured to be faster with them; on a GPU fp16, for .onnx where there is such a
            file or TensorRT.
        provider: "cpu", or "cuda" or "tensorrt" for NVIDIA GPUs; None: what works.
    """
    if engine != "auto" and engine not in ENGINES:
        raise EngineError(f"unknown engine '{engine}': {nearest(engine, ['auto', *ENGINES])}")
    if threads is not None and threads < 1:
        raise EngineError(f"threads is {threads}; expected at least 1, or leave it out to use all cores")
    check_abilities("auto", precision, provider)
    path = find_model(model, precision)
    suitable = _suitable(path)
    if network is not None and suitable is _FOR_ONNX:
        raise EngineError(f"the network '{network}' is given, and {path.name} says itself what it is; leave it out")
    names, why = _engines(path, engine, suitable, precision, provider)
    named = {} if network is None else {"network": network}

    def opened(candidate: Candidate, path: Path = path) -> Engine:
        made: Engine = ENGINES.resolve(candidate.engine)(
            path, threads=threads, reason=why, precision=candidate.precision, provider=provider, **named
        )
        return made

    if suitable is _FOR_CHECKPOINTS or (len(names) == 1 and precision != "auto"):
        return opened(Candidate(names[0], precision))
    on_gpu = names[0] == "onnxruntime" and _has_gpu(provider)
    if names == ["onnxruntime"] or on_gpu:
        half = sibling(path, "fp16")
        if on_gpu and precision == "auto" and path == sibling(path, "fp32") and half.is_file():
            made = opened(Candidate("onnxruntime", "auto"), half)
            if made.describe()["provider"] != "cpu":  # where it would be slow
                return made
        return opened(Candidate("onnxruntime", precision))
    file = read_onnx(path)
    candidates = _candidates(names, precision, file)
    if len(candidates) == 1:
        return opened(candidates[0])
    if make_folder() is None:
        logger.info("the cache folder cannot be written, so that no measurement would be kept, and none is made")
        return opened(candidates[0])
    fastest, reason = choose(file, candidates, opened, threads=threads)
    if reason:  # only known now; engines of the table have the attribute, the contract does not ask for it
        fastest.reason = reason if engine == "auto" else f"{why}; {reason}"  # type: ignore[attr-defined]
    return fastest


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
        return _FOR_CHECKPOINTS
    raise ModelError(
        f"{path}: not a model; expected an .onnx file, a checkpoint ({', '.join(_CHECKPOINTS)}) or a run folder"
    )


def _engines(
    path: Path, engine: str, suitable: tuple[str, ...], precision: str, provider: str | None
) -> tuple[list[str], str]:
    """The installed engines that may run a file as wanted, best first, and why they."""
    if engine != "auto":
        if engine not in suitable:
            hint = "onnxruntime or openvino" if suitable is _FOR_ONNX else "torch, or 'shotnoise export' it first"
            raise EngineError(f"the engine '{engine}' cannot run {path.name}; use {hint}")
        check_abilities(engine, precision, provider)
        if not _installed(engine):
            raise MissingExtraError(f"the engine '{engine}' is not installed: {_advice(engine)}")
        return [engine], "asked for"
    able = [name for name in suitable if name not in _NEVER_AUTO and not refusal(name, precision, provider)]
    if not able:
        known = [words for name in suitable if (words := refusal(name, precision, provider))]
        hint = "export the model to .onnx first" if suitable is _FOR_CHECKPOINTS else "leave one of the two out"
        raise EngineError(f"{path.name} cannot be run so: {known[0].split(', or another')[0]}; {hint}")
    installed = [name for name in able if _installed(name)]
    if not installed:
        raise MissingExtraError(f"{path.name} needs the engine '{able[0]}': {_advice(able[0])}")
    if installed[0] == suitable[0]:
        return (
            installed,
            "chosen for .onnx files" if suitable is _FOR_ONNX else "chosen for checkpoints and run folders",
        )
    if able[0] == suitable[0]:
        return installed, f"chosen because '{suitable[0]}' is not installed"
    return installed, f"chosen for {precision}"


def _has_gpu(provider: str | None) -> bool:
    """Whether onnxruntime has a GPU to try before processors are compared."""
    from shotnoise.engines.onnxruntime import providers

    return provider != "cpu" and "cuda" in providers()


def _candidates(names: list[str], precision: str, file: OnnxFile) -> list[Candidate]:
    """What is to be compared, that which is taken unless another is faster first."""
    if precision != "auto" or file.card.precision != "fp32":
        return [Candidate(name, precision) for name in names]
    known = instructions()
    has_bf16 = known is None or "BF16" in known
    more = [
        Candidate(name, "bf16") for name in names if has_bf16 and "bf16" in ABILITIES[name].precisions
    ]  # which the engine refuses if it finds no instructions for it
    return [*(Candidate(name, "fp32") for name in names), *more]


def _package(name: str) -> str:
    return name.partition("-")[0]


def _installed(name: str) -> bool:
    return importlib.util.find_spec(_package(name)) is not None


def _advice(name: str) -> str:
    return f"pip install '{_EXTRAS[_package(name)]}'"


def _version(name: str) -> str:
    """Version of the distribution, whatever it is called (onnxruntime-gpu, openvino, ...)."""
    if name == "onnxruntime":
        import onnxruntime

        return str(onnxruntime.__version__)
    return importlib.metadata.version(_package(name))
