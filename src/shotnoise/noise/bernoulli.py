"""Missing pixels: a random part of the picture was never measured."""

import torch
from torch import Tensor

from shotnoise.noise.model import NoiseModel, Range, check_range, draw_uniform

__all__ = ["Bernoulli"]


class Bernoulli(NoiseModel):
    """y = m x with m = 0 at missing pixels, one m for all channels of a pixel.

    The mean is (1 - p) x, not x: to learn from such a picture as a target, compare at the pixels of the mask that
    :meth:`sample_with_mask` gives; there y is x. A missing pixel is black in all channels; the network is not told
    which ones are missing.

    Args:
        missing: probability p of a missing pixel, or a range [low, high] from which each sample draws its own.
            Noise2Noise trains with [0, 0.95] and tests with 0.5.
    """

    def __init__(self, *, missing: Range) -> None:
        self.bounds = check_range("missing", missing, limit=1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:  # noqa: D102
        return draw_uniform(self.bounds, count, generator)

    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:  # noqa: D102
        return self.sample_with_mask(clean, generator, strength)[0]

    def sample_with_mask(  # noqa: D102
        self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        missing = self.draw(len(clean), generator) if strength is None else strength
        lottery = torch.rand(len(clean), 1, *clean.shape[2:], generator=generator, device=clean.device)
        mask = (lottery >= missing).to(clean.dtype)
        return clean * mask, mask

    def variance(self, clean: Tensor) -> Tensor:
        """E[p] x^2: p (1 - p) x^2 of variance and p^2 x^2 of bias."""
        return sum(self.bounds) / 2 * clean.square()
