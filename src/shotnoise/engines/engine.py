"""The Engine contract."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from shotnoise.card import Card
from shotnoise.errors import EngineError, ModelError

__all__ = ["Engine", "OutOfMemoryError", "check_inputs"]

Array = npt.NDArray[np.float32]


class OutOfMemoryError(EngineError):
    """The window did not fit into memory; a smaller one may."""

    @classmethod
    def of(cls, noisy: Array, detail: str) -> "OutOfMemoryError":
        """With the words for a window that an engine refused."""
        height, width = noisy.shape[-2:]
        return cls(f"no memory for a window of {height}x{width} pixels ({detail}); use smaller tiles")


@runtime_checkable
class Engine(Protocol):
    """Runs one model: float32 (N, C, H, W) in, the same shape out.

    A class in the table takes `(path, *, threads, reason, precision, provider)`: the model, the CPU threads to use
    (None: its own choice), why it was chosen, in words, for `describe`, what to calculate in ("auto": its own choice)
    and on which device (None: its own choice). Its constructor refuses a file it cannot run with a ModelError, and a
    machine, a precision or a provider it cannot run on with an EngineError; what it chooses itself it may give up for
    something that works, and `describe` says so.
    """

    card: Card

    def run(self, noisy: Array, level: Array | None = None, latent: Array | None = None) -> Array:
        """Denoise.

        Args:
            noisy: (N, C, H, W) in 0..1, H and W multiples of `card.multiple`.
            level: (N, 1, 1, 1), the standard deviation of the noise in units of `noisy`, for models whose card says
                so; one for every value, (N, C, H, W), where `card.level_map`; otherwise None.
            latent: (N, channels, H / reduction, W / reduction), standard normal, for models whose card has a latent
                (:func:`~shotnoise.engines.latent.draw_latent` draws one); otherwise None.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What runs, for reports: engine, version, provider (device), threads, precision, reason.

        The precision is "fp32", "bf16", "fp16" or "int8"; of an int8 file with other float layers than fp32,
        "int8, the rest bf16" or "int8, the rest fp16".
        """
        ...


def check_inputs(card: Card, source: object, level: Array | None, latent: Array | None) -> None:
    """Refuse inputs that the model does not take, and the lack of those that it takes; `source` names it."""
    if (level is not None) != (card.level == "sigma"):
        wants = "the noise level" if level is None else "no noise level"
        raise ModelError(f"{source}: the model takes {wants} as input; its card says level '{card.level}'")
    if (latent is not None) != (card.latent is not None):
        wants = "random values z" if latent is None else "no random values z"
        said = "none" if card.latent is None else f"{card.latent.channels} channels, 1/{card.latent.reduction} as large"
        raise ModelError(f"{source}: the model takes {wants} as input; its card says latent {said}")
