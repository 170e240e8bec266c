"""The NoiseModel contract."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from shotnoise.errors import RecipeError

__all__ = ["NoiseModel", "Range", "check_range", "draw_uniform"]

Range = float | tuple[float, float]


class NoiseModel(ABC):
    """A distribution of noisy pictures given a clean one.

    A parameter may be a range; then each sample of a batch draws its own value. Nothing is clipped: clipping moves
    the mean of the noise near black and white, and the methods that learn from noisy targets rest on that mean.
    """

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Strengths for `count` samples, (count, 1, 1, 1) in the model's own unit."""

    @abstractmethod
    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:
        """A noisy version of a batch.

        Args:
            clean: (B, C, H, W) float in 0..1.
            generator: source of all randomness, on the device of `clean`.
            strength: what :meth:`draw` gave; None to draw now.
        """

    @abstractmethod
    def variance(self, clean: Tensor) -> Tensor:
        """Variance of :meth:`sample` around `clean`, same shape; over the whole range where there is one."""

    def level(self, strength: Tensor) -> Tensor | None:
        """Noise standard deviation in units of the picture for the given strengths, or None if it has no single one."""
        return None


def check_range(name: str, value: Range) -> tuple[float, float]:
    """A number or a pair of numbers as (low, high), refused when negative or reversed."""
    low, high = (value, value) if isinstance(value, int | float) else (value[0], value[1])
    if not 0 <= low <= high:
        raise RecipeError(f"{name} is {value}; expected a number >= 0 or a range [low, high] with low <= high")
    return float(low), float(high)


def draw_uniform(bounds: tuple[float, float], count: int, generator: torch.Generator) -> Tensor:
    """`count` uniform draws, (count, 1, 1, 1)."""
    low, high = bounds
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
