"""Which precisions and providers there are, and which of them each engine knows: the same words everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass

from shotnoise.errors import EngineError, nearest

__all__ = ["ABILITIES", "PRECISIONS", "PROVIDERS", "TOLERANCES", "Abilities", "check_abilities", "refusal"]

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
PROVIDERS = ("cpu", "cuda", "tensorrt")

# Largest difference to the result in fp32, for pictures in 0..1, with which a calculation is still the same model:
# several times what sound engines showed, and far below what a wrong kernel or a damaged file gives.
TOLERANCES: Mapping[str, float] = {"fp32": 1e-3, "bf16": 0.05, "fp16": 0.02, "int8": 0.1}


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an engine can be asked for; whether this machine and this file allow it, its constructor finds out."""

    precisions: tuple[str, ...]
    providers: tuple[str, ...]


_TORCH = Abilities(("fp32", "bf16", "fp16"), ("cpu", "cuda"))
ABILITIES: Mapping[str, Abilities] = {
    "onnxruntime": Abilities(("fp32", "fp16", "int8"), PROVIDERS),
    "openvino": Abilities(("fp32", "bf16", "int8"), ("cpu",)),
    "torch": _TORCH,
    "torch-compiled": _TORCH,
}


def check_abilities(engine: str, precision: str, provider: str | None) -> None:
    """Refuse what an engine does not know.

    Args:
        engine: a name in :data:`ABILITIES`, or "auto", which knows everything that any engine does.
        precision: one of :data:`PRECISIONS`, or "auto".
        provider: one of :data:`PROVIDERS`; None: the engine's choice.
    """
    if precision not in ("auto", *PRECISIONS):
        raise EngineError(f"unknown precision '{precision}': {nearest(precision, ['auto', *PRECISIONS])}")
    if provider is not None and provider not in PROVIDERS:
        raise EngineError(f"unknown provider '{provider}': {nearest(provider, PROVIDERS)}")
    if engine != "auto" and (words := refusal(engine, precision, provider)):
        raise EngineError(words)


def refusal(engine: str, precision: str, provider: str | None) -> str:
    """Why an engine can never do this, in one line; empty if it may."""
    able = ABILITIES[engine]
    if precision not in ("auto", *able.precisions):
        others = [name for name, other in ABILITIES.items() if precision in other.precisions]
        return (
            f"the engine '{engine}' has no precision '{precision}'; expected auto, {', '.join(able.precisions)}, or "
            f"another engine: {' or '.join(others)}"
        )
    if provider is not None and provider not in able.providers:
        others = [name for name, other in ABILITIES.items() if provider in other.providers]
        return (
            f"the engine '{engine}' has no provider '{provider}'; expected {' or '.join(able.providers)}, or another "
            f"engine: {' or '.join(others)}"
        )
    return ""
