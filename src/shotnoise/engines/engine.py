"""The Engine contract."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from shotnoise.card import Card
from shotnoise.errors import EngineError

__all__ = ["Engine", "OutOfMemoryError"]

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

    A class in the table takes `(path, *, threads, reason)`: the model, the CPU threads to use (None: its own choice),
    and why it was chosen, in words, for `describe`. Its constructor refuses a file it cannot run with a ModelError and
    a machine it cannot run on with an EngineError.
    """

    card: Card

    def run(self, noisy: Array, level: Array | None = None) -> Array:
        """Denoise.

        Args:
            noisy: (N, C, H, W) in 0..1, H and W multiples of `card.multiple`.
            level: (N, 1, 1, 1), the standard deviation of the noise in units of `noisy`, for models whose card says
                so; otherwise None.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What runs, for reports: engine, version, provider (device), threads, precision, reason."""
        ...
