"""Poisson noise: a picture counted in photons."""

from math import log1p

import torch
from torch import Tensor

from shotnoise.noise.model import NoiseModel, Range, check_range, draw_uniform

__all__ = ["Poisson"]


class Poisson(NoiseModel):
    """y = Poisson(lambda x) / lambda for each value.

    The mean is x. A rate below zero, which pictures resized with overshoot can ask for, counts as zero. Papers that
    keep pictures in -0.5..0.5 shift them by 0.5 before they count and back after it, which is the same noise.

    Args:
        photons: lambda, the photons that a white value (1) receives on average, or a range [low, high] from which
            each sample draws its own. Noise2Noise trains with [0.001, 50] and tests with 30; in the lowest hundredth
            of that range nearly every value is 0 and the rest are far above 1.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> noisy = Poisson(photons=30).sample(torch.full((1, 1, 200, 200), 0.3), generator)
        >>> round(float(noisy.mean()), 2), round(float(noisy.var()), 3)
        (0.3, 0.01)
    """

    def __init__(self, *, photons: Range) -> None:
        self.bounds = check_range("photons", photons, positive=True)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:  # noqa: D102
        return draw_uniform(self.bounds, count, generator)

    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:  # noqa: D102
        photons = self.draw(len(clean), generator) if strength is None else strength
        return torch.poisson((photons * clean).clamp(min=0), generator=generator) / photons

    def variance(self, clean: Tensor) -> Tensor:
        """E[1/lambda] x: for a uniform range ln(b/a) / (b - a) times x; below zero the clamped rate is x off."""
        low, high = self.bounds
        inverse = log1p((high - low) / low) / (high - low) if high > low else 1 / low
        return clean.clamp(min=0) * inverse + clean.clamp(max=0).square()
