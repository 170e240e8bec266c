"""Random-valued impulse noise: some pixels hold a random colour instead of their own."""

import torch
from torch import Tensor

from shotnoise.noise.model import NoiseModel, Range, check_range, draw_uniform

__all__ = ["Impulse"]


class Impulse(NoiseModel):
    """Each pixel is replaced, with probability p and in all channels, by a colour uniform in the unit cube.

    The mean is (1 - p) x + p / 2, not x, but the true colour stays the most frequent one: a loss that seeks the mode
    is the one for targets with this noise.

    Args:
        replaced: the probability p, or a range [low, high] from which each sample draws its own. Noise2Noise trains
            with [0, 0.95] and tests with 0.7.
    """

    def __init__(self, *, replaced: Range) -> None:
        self.bounds = check_range("replaced", replaced, limit=1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:  # noqa: D102
        return draw_uniform(self.bounds, count, generator)

    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:  # noqa: D102
        replaced = self.draw(len(clean), generator) if strength is None else strength
        lottery = torch.rand(len(clean), 1, *clean.shape[2:], generator=generator, device=clean.device)
        colour = torch.rand(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        return torch.where(lottery < replaced, colour, clean)

    def variance(self, clean: Tensor) -> Tensor:
        """E[p] (1/12 + (x - 1/2)^2): a uniform colour is that far from x on average."""
        return sum(self.bounds) / 2 * ((clean - 0.5).square() + 1 / 12)
