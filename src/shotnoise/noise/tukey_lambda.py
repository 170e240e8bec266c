"""Tukey's lambda family: one number from heavy tails (below 0.14) over nearly normal (0.14) to none (above).

Defined by its quantiles, Q(p) = (p^lambda - (1 - p)^lambda) / lambda, the logistic law at lambda = 0: a uniform draw
goes in, a read noise with the tails of a real sensor comes out. Its standard deviation is not its scale.
"""

import math

import torch
from torch import Tensor

from shotnoise.errors import RecipeError

__all__ = ["LOWEST", "check_shape", "quantile", "uniform", "variance"]

LOWEST = -0.45  # at -1/2 the variance becomes infinite
_NEAR_ZERO = 1e-5  # where the closed form of the variance would cancel, and pi^2/3 is right to 1e-5


def uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draws strictly between 0 and 1 in the shape and type of `like`."""
    values = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    tiny = torch.finfo(like.dtype).eps / 2
    return values.clamp(tiny, 1 - tiny)


def quantile(p: Tensor, shape: Tensor) -> Tensor:
    """Q(p), p strictly between 0 and 1; both broadcast."""
    low, high = p.log(), torch.log1p(-p)
    safe = torch.where(shape == 0, 1, shape)
    return torch.where(shape == 0, low - high, ((safe * low).expm1() - (safe * high).expm1()) / safe)


def variance(shape: Tensor) -> Tensor:
    """Of the law with scale 1, for shape > -1/2.

    >>> variance(torch.tensor([0.14, 0.0])).sqrt()
    tensor([1.4527, 1.8138])
    """
    exact = shape.double()
    safe = torch.where(exact.abs() < _NEAR_ZERO, 1, exact)
    half = (2 * torch.lgamma(safe + 1) - torch.lgamma(2 * safe + 2)).exp()
    general = 2 / safe.square() * (1 / (1 + 2 * safe) - half)
    return torch.where(exact.abs() < _NEAR_ZERO, math.pi**2 / 3, general).to(shape.dtype)


def check_shape(value: object) -> tuple[float, ...]:
    """A lambda or a list of them, refused where the variance would be infinite."""
    listed = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [float(part) for part in listed if isinstance(part, int | float) and not isinstance(part, bool)]
    if not listed or len(numbers) != len(listed) or not all(LOWEST <= number < 10 for number in numbers):
        raise RecipeError(
            f"shape is {value}; expected the lambda of the Tukey law, {LOWEST} or more, or a list of such"
        )
    return tuple(numbers)
