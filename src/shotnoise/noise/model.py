"""The NoiseModel contract."""

from abc import ABC, abstractmethod
from math import inf, log

import torch
from torch import Tensor

from shotnoise.errors import RecipeError

__all__ = ["NoiseModel", "Range", "check_range", "draw_log", "draw_uniform", "mean_power"]

Range = float | tuple[float, float]


class NoiseModel(ABC):
    """A distribution of noisy pictures given a clean one.

    A parameter may be a range; then each sample of a batch draws its own value. Nothing is clipped: clipping moves
    the mean of the noise near black and white, and the methods that learn from noisy targets rest on that mean.
    A model whose mean is not the clean picture says so.
    """

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Strengths for `count` samples: one per sample along the first dimension, in the model's own unit.

        The other dimensions are the model's own business; callers only pass strengths on, whole or in part.
        """

    @abstractmethod
    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:
        """A noisy version of a batch.

        Args:
            clean: (B, C, H, W) float in 0..1.
            generator: source of all randomness, on the device of `clean`.
            strength: what :meth:`draw` gave; None to draw now, before anything else is drawn.
        """

    def sample_with_mask(
        self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The result of :meth:`sample` and which of its pixels are measurements at all.

        Returns:
            The noisy batch, and (B, 1, H, W) in its dtype with 1 where a pixel was observed and 0 where it is
            missing, for losses that must not compare with nothing; None when every pixel was observed.
        """
        return self.sample(clean, generator, strength), None

    @abstractmethod
    def variance(self, clean: Tensor) -> Tensor:
        """Mean squared deviation of :meth:`sample` from `clean`, same shape; over the whole range where there is one.

        For the models whose mean is the clean picture that is the variance; for the others it holds the squared
        bias too.
        """

    def level(self, strength: Tensor) -> Tensor | None:
        """Noise standard deviation in units of the picture for the given strengths, or None if it has no single one."""
        return None

    def law(self, strength: Tensor) -> Tensor | None:
        """The noise of a RAW model as a camera profile says it; None for models of pictures.

        Returns:
            (B, 2, 4, 1, 1): k and s2 of the planes R, Gr, Gb, B, with variance = k x + s2, x in 0..1.
        """
        return None

    def iso(self, strength: Tensor) -> Tensor | None:
        """(B,): the ISO that each strength was drawn at, for models that know one."""
        return None


def check_range(name: str, value: object, *, positive: bool = False, limit: float = inf) -> tuple[float, float]:
    """A number or a pair of numbers as (low, high), refused when negative, reversed or not numbers.

    Args:
        name: of the parameter, for the message.
        value: what the recipe says.
        positive: refuse zero as well.
        limit: largest value allowed.
    """
    pair = value if isinstance(value, list | tuple) else (value, value)
    numbers = [float(part) for part in pair if isinstance(part, int | float) and not isinstance(part, bool)]
    if len(pair) == len(numbers) == 2:
        low, high = numbers
        if 0 <= low <= high <= limit and high < inf and (low > 0 or not positive):
            return low, high
    expected = f"between 0 and {limit:g}" if limit < inf else "> 0" if positive else ">= 0"
    raise RecipeError(f"{name} is {value}; expected a number {expected} or a range [low, high] with low <= high")


def draw_uniform(bounds: tuple[float, float], count: int, generator: torch.Generator) -> Tensor:
    """`count` uniform draws, (count, 1, 1, 1)."""
    low, high = bounds
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)


def draw_log(bounds: tuple[float, float], count: int, generator: torch.Generator) -> Tensor:
    """(count, 1): every octave of the range is equally likely; from zero up, every value is."""
    low, high = bounds
    share = torch.rand(count, 1, generator=generator, device=generator.device)
    return low * (high / low) ** share if low > 0 else high * share


def mean_power(bounds: tuple[float, float], power: float) -> float:
    """E[x^power] of :func:`draw_log`."""
    low, high = bounds
    if low == 0:
        return float(high**power) / (power + 1)
    if low == high or power == 0:
        return float(low**power)
    return float(high**power - low**power) / (power * log(high / low))
