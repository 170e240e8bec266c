"""Additive white Gaussian noise, the common yardstick of the field."""

import torch
from torch import Tensor

from shotnoise.noise.model import NoiseModel, Range, check_range, draw_uniform

__all__ = ["Gaussian"]

_COUNTS = 255.0  # sigma is given in 8-bit counts, as every paper does


class Gaussian(NoiseModel):
    """y = x + sigma n, n ~ N(0, 1) for each value.

    Args:
        sigma: standard deviation in 8-bit counts (25 means 25/255), or a range [low, high] from which each sample
            draws its own.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> noisy = Gaussian(sigma=25).sample(torch.zeros(1, 1, 100, 100), generator)
        >>> round(float(noisy.std()) * 255)
        25
    """

    def __init__(self, *, sigma: Range) -> None:
        self.bounds = check_range("sigma", sigma)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:  # noqa: D102
        return draw_uniform(self.bounds, count, generator)

    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:  # noqa: D102
        sigma = self.draw(len(clean), generator) if strength is None else strength
        noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        return clean + sigma / _COUNTS * noise

    def variance(self, clean: Tensor) -> Tensor:
        """E[sigma^2]: for a uniform range (a^2 + a b + b^2) / 3."""
        low, high = self.bounds
        return torch.full_like(clean, (low * low + low * high + high * high) / 3 / _COUNTS**2)

    def level(self, strength: Tensor) -> Tensor:  # noqa: D102
        return strength / _COUNTS
