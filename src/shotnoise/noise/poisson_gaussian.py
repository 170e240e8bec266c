"""What a sensor does to the signal: photons arrive at random, the electronics add their own noise, counts are whole.

z = k Poisson(x / k) + N(0, s2), x in 0..1 between black and white: mean x, variance k x + s2. The parameters of a
sample come from a calibrated profile at a random ISO, from plain ranges, or from published distributions: T. Brooks et
al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, arXiv 1811.11127, and S. W. Zamir et al., "CycleISP",
CVPR 2020, arXiv 2003.07761. Differs from what many codes do: s2 is a variance here, and negative values stay.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from shotnoise.errors import RecipeError, nearest
from shotnoise.noise.iso import IsoDraw
from shotnoise.noise.model import NoiseModel, Range, check_range, draw_log, mean_power
from shotnoise.noise.shot import for_channels, quantise
from shotnoise.noise.shot import shot as photons
from shotnoise.sensor.profile import NoiseProfile
from shotnoise.sensor.published import open_profile

__all__ = ["PoissonGaussian"]


class _Published(NamedTuple):
    """log k uniform between bounds, log s2 normal about slope log k + offset, in logarithms of some base."""

    k: tuple[float, float]
    base: float
    slope: float
    offset: float
    spread: float


_LEVELS = {
    "brooks": _Published((1e-4, 0.012), math.e, 2.18, 1.20, 0.26),
    # As in the authors' code: the line of Brooks et al., read in decimal logarithms, which makes s2 4.8 times as large.
    "dnd": _Published((1e-4, 0.012), 10, 2.18, 1.20, 0.26),
    "sidd": _Published((6.8674e-4, 0.02194856), 10, 1.85, 0.30, 0.20),
}


class PoissonGaussian(NoiseModel):
    """k Poisson(x / k) + N(0, s2), and what the converter makes of it.

    Exactly one of `profile`, `k` and `levels` says where k and s2 come from.

    Args:
        profile: file of a noise profile, or name of a published one.
        iso: for `profile`: one ISO, a range from which it is drawn so that every octave is equally likely, or a list of
            more than two of which one is drawn. None: the range that was calibrated.
        iso_draw: "log", or "uniform" for a range in which every ISO is equally likely.
        k: a number or a range, drawn so that every octave is equally likely.
        electrons: with `k`: the standard deviation of the read noise in electrons, likewise; 2 unless said.
        s2: with `k`, instead of `electrons`: the variance of the read noise itself, likewise.
        levels: draw k and s2 as published: "brooks" as in the first paper above, "dnd" and "sidd" as in the code of the
            second.
        shot: "poisson", or "gaussian" for normal noise of the same variance, as both papers use it.
        counts: how many counts lie between black and white, a number or a range as above; results are rounded to them.
            None: not rounded.
        saturate: nothing above 1, as white is where the sensor is full.
        pedestal: black level as a share of black to white; nothing below minus that. None: no limit.
    """

    def __init__(
        self,
        *,
        profile: str | None = None,
        iso: float | Sequence[float] | None = None,
        iso_draw: str = "log",
        k: Range | None = None,
        electrons: Range | None = None,
        s2: Range | None = None,
        levels: str | None = None,
        shot: str = "poisson",
        counts: Range | None = None,
        saturate: bool = False,
        pedestal: float | None = None,
    ) -> None:
        if (profile is not None) + (k is not None) + (levels is not None) != 1:
            raise RecipeError(
                "poisson-gaussian noise needs one source of its parameters: profile: FILE, or k: [low, high] with "
                f"electrons or s2, or levels: {' | '.join(_LEVELS)}"
            )
        if levels is not None and levels not in _LEVELS:
            raise RecipeError(f"noise.levels is '{levels}': {nearest(str(levels), _LEVELS)}")
        if k is None and (electrons is not None or s2 is not None):
            raise RecipeError(
                "noise.electrons and noise.s2 go with noise.k: a profile and levels bring their read noise"
            )
        if electrons is not None and s2 is not None:
            raise RecipeError("noise.electrons and noise.s2 both say how large the read noise is; give one of them")
        if shot not in ("poisson", "gaussian"):
            raise RecipeError(f"noise.shot is '{shot}'; expected poisson or gaussian")
        if profile is None and (iso is not None or iso_draw != "log"):
            name = "iso_draw" if iso is None else "iso"
            raise RecipeError(
                f"noise.{name} goes with noise.profile: without a profile an ISO says nothing about noise"
            )
        if pedestal is not None and pedestal < 0:
            raise RecipeError(f"noise.pedestal is {pedestal}; expected a share of the range from black to white, >= 0")
        self._parameters: _Parameters
        if profile is not None:
            self._parameters = _Profiled(open_profile(profile), iso, iso_draw)
        elif k is not None:
            electrons = 2.0 if electrons is None else electrons
            read = check_range("electrons", electrons) if s2 is None else check_range("s2", s2)
            self._parameters = _Ranges(check_range("k", k, positive=True), read, in_electrons=s2 is None)
        elif levels is not None:
            self._parameters = _Drawn(_LEVELS[levels])
        self._normal = shot == "gaussian"
        self._rounded = profile is not None  # measured on counts, so rounding is in it already
        self.counts = None if counts is None else check_range("counts", counts, positive=True)
        self.saturate, self.pedestal = saturate, pedestal

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 4, 4, 1, 1): for each plane k, s2, the step of rounding, and the ISO, 0 where there is none."""
        k, s2, iso = self._parameters.draw(count, generator)
        step = torch.zeros_like(k)
        if self.counts is not None:
            step = (1 / draw_log(self.counts, count, generator)).expand_as(k)
            if self._rounded:
                s2 = (s2 - step.square() / 12).clamp(min=0)
        return torch.stack((k, s2, step, iso), dim=1)[..., None, None]

    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:
        """Noisy planes; a batch of four planes has the law of each, any other number of channels that of the first."""
        strength = self.draw(len(clean), generator) if strength is None else strength
        k, s2, step, _ = (for_channels(part, clean) for part in strength.unbind(1))
        if self._normal:
            noisy, deviation = clean, (k * clean.clamp(min=0) + s2).sqrt()
        else:
            noisy, deviation = photons(clean, k, generator), s2.sqrt()
        noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        noisy = quantise(noisy + deviation * noise, step)
        if self.saturate or self.pedestal is not None:
            noisy = noisy.clamp(
                None if self.pedestal is None else -self.pedestal, 1.0 if self.saturate else None
            )  # where the converter ends
        return noisy

    def variance(self, clean: Tensor) -> Tensor:
        """E[k] x + E[s2] + step^2 / 12; what saturation takes away from it is not counted."""
        k, s2 = (for_channels(part[None, :, None, None].to(clean), clean) for part in self._parameters.mean())
        rounding = 0.0 if self.counts is None or self._rounded else mean_power(self.counts, -2) / 12
        return k * clean.clamp(min=0) + s2 + rounding

    def law(self, strength: Tensor) -> Tensor:
        """Rounding counts as noise: a camera's profile, which is measured on counts, holds it too."""
        k, s2, step, _ = strength.unbind(1)
        return torch.stack((k, s2 + step.square() / 12), dim=1)

    def iso(self, strength: Tensor) -> Tensor | None:  # noqa: D102
        isos = strength[:, 3, 0, 0, 0]
        return isos if bool(isos.all()) else None


class _Parameters(ABC):
    """A distribution of (k, s2)."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(count, 4) each: k, s2 and the ISO, 0 where there is none."""

    @abstractmethod
    def mean(self) -> tuple[Tensor, Tensor]:
        """(4,) each."""


class _Ranges(_Parameters):
    def __init__(self, k: tuple[float, float], read: tuple[float, float], *, in_electrons: bool) -> None:
        self.k, self.read, self.in_electrons = k, read, in_electrons

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        k = draw_log(self.k, count, generator)
        read = draw_log(self.read, count, generator)
        s2 = (k * read).square() if self.in_electrons else read
        return k.expand(-1, 4), s2.expand(-1, 4), torch.zeros_like(k).expand(-1, 4)

    def mean(self) -> tuple[Tensor, Tensor]:
        s2 = mean_power(self.k, 2) * mean_power(self.read, 2) if self.in_electrons else mean_power(self.read, 1)
        return torch.full((4,), mean_power(self.k, 1)), torch.full((4,), s2)


class _Drawn(_Parameters):
    def __init__(self, law: _Published) -> None:
        self.law = law

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        k = draw_log(self.law.k, count, generator)
        noise = torch.randn(count, 1, generator=generator, device=generator.device)
        unit = math.log(self.law.base)
        s2 = (self.law.slope * k.log() + unit * (self.law.offset + self.law.spread * noise)).exp()
        return k.expand(-1, 4), s2.expand(-1, 4), torch.zeros_like(k).expand(-1, 4)

    def mean(self) -> tuple[Tensor, Tensor]:
        unit = math.log(self.law.base)
        factor = math.exp(unit * self.law.offset + (unit * self.law.spread) ** 2 / 2)
        s2 = factor * mean_power(self.law.k, self.law.slope)
        return torch.full((4,), mean_power(self.law.k, 1)), torch.full((4,), s2)


class _Profiled(_Parameters):
    def __init__(self, profile: NoiseProfile, iso: float | Sequence[float] | None, spacing: str) -> None:
        self.isos, self.profile = IsoDraw(profile, iso, spacing), profile

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        share = torch.rand(count, generator=generator, device=generator.device)
        isos = [self.isos.at(float(value)) for value in share]
        k, s2 = torch.tensor([self._law(iso) for iso in isos], device=generator.device).unbind(1)
        return k, s2, torch.tensor([iso or 0.0 for iso in isos], device=generator.device)[:, None].expand(-1, 4)

    def mean(self) -> tuple[Tensor, Tensor]:
        laws = torch.tensor([self._law(iso) for iso in self.isos.spread()], dtype=torch.float64)
        k, s2 = laws.mean(0)
        return k, s2

    def _law(self, iso: float | None) -> tuple[list[float], list[float]]:
        law = self.profile.at(iso)
        planes = 4 // len(law.k)
        return list(law.k) * planes, list(law.s2) * planes
