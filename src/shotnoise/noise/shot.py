"""What all models of a sensor have in common: photons, whole counts, and how its colours lie in channels."""

import torch
from torch import Tensor

__all__ = ["for_channels", "in_rows", "quantise", "shot"]


def shot(signal: Tensor, k: Tensor, generator: torch.Generator) -> Tensor:
    """Photons, k Poisson(signal / k): mean `signal`, variance k signal.

    Below zero, and where k is 0, the signal stays as it is.
    """
    electrons = torch.poisson(signal.clamp(min=0) / torch.where(k > 0, k, 1), generator=generator)
    return torch.where(k > 0, k * electrons + signal.clamp(max=0), signal)


def quantise(values: Tensor, step: Tensor) -> Tensor:
    """Rounded to multiples of `step`; where that is 0, as they are."""
    safe = step.clamp(min=1e-12)
    return torch.where(step > 0, (values / safe).round() * safe, values)


def for_channels(part: Tensor, clean: Tensor) -> Tensor:
    """A parameter (B, 4, 1, 1) of the four planes, to go with `clean`; the first of them for any other channels."""
    return part if clean.shape[1] == part.shape[1] else part[:, :1]


def in_rows(clean: Tensor, generator: torch.Generator) -> Tensor:
    """One normal draw for each row of the sensor, to go with `clean`.

    R and Gr lie in the same rows, and so do Gb and B. Any other number of channels is taken for one sensor without
    colours, seen that many times.
    """
    count, channels, height, _ = clean.shape
    rows = 2 if channels == 4 else 1
    noise = torch.randn(count, rows, height, 1, generator=generator, device=clean.device, dtype=clean.dtype)
    return noise.repeat_interleave(2, 1) if channels == 4 else noise
