"""The noise of a camera taken apart: photons, tails of the read-out, stripes, offsets of the colours, whole counts.

K. Wei, Y. Fu, Y. Zheng and J. Yang, "Physics-based Noise Modeling for Extreme Low-light Photography", arXiv 2003.12751
and 2108.02158. Their released code holds the simpler models alone. Differs from the paper: counts are rounded, as a
converter does it, instead of blurred by a uniform draw; the offsets of the colours are ours to choose.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.images.raw.bayer import PLANES
from shotnoise.noise.cameras import CAMERAS, Camera, camera_named, own_camera
from shotnoise.noise.iso import IsoDraw
from shotnoise.noise.model import NoiseModel, Range, check_range, draw_log, draw_uniform, mean_power
from shotnoise.noise.shot import for_channels, in_rows, quantise, shot
from shotnoise.noise.tukey_lambda import LOWEST, quantile, uniform, variance
from shotnoise.sensor.profile import NoiseProfile
from shotnoise.sensor.published import open_profile

__all__ = ["Physics"]


class Physics(NoiseModel):
    """z = K Poisson(x / K) + read + row + bias, rounded to whole counts; x and z in 0..1 between black and white.

    The read noise follows Tukey's lambda law. For a published or own camera each sample draws log K evenly, then the
    scales of its read and row noise, normal about a line in log K, and one of the calibrated shapes. The mean is the
    clean picture, save for what is clipped; the bias is zero on average. Exactly one of `camera`, `parameters` and
    `profile` says where the numbers come from.

    Args:
        camera: name of a published camera, or a list of which each sample draws one.
        parameters: of your own camera, in its counts: {counts: white - black, gain: K or [lowest, highest], read:
            scale or [slope, offset, spread], row: likewise, shape: lambda or a list of them}; row and shape may be left
            out and are 0 then.
        profile: file of a noise profile whose entries say tukey_lambda (and row) for each ISO.
        iso: for `profile`: one ISO, a range, or a list of more than two; None: the range that was calibrated.
        iso_draw: "log" for equally likely octaves of the range, "uniform" for equally likely ISOs.
        gain: lowest and highest K instead of the camera's own; the authors train all cameras with [0.1, 30].
        read: "tukey-lambda", or "gaussian" for the model the authors compare with: a normal read noise fitted to the
            same camera, and no rows.
        ratio: the signal is divided by this before the noise and multiplied by it after, as a short exposure is; a
            number or a range of which all values are equally likely. The authors take [100, 300].
        bias: standard deviation, in counts, of an offset that each plane draws for itself; or a list of calibrated
            offsets [R, Gr, Gb, B] of which each sample draws one.
        rounding: whole counts.
        saturate: nothing above 1, after the multiplication.
        pedestal: black level as a share of black to white: the converter gives nothing below minus that, before the
            multiplication. None: no limit. With `saturate` and 0 this is the clipping of the authors.
    """

    def __init__(
        self,
        *,
        camera: str | Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        profile: str | None = None,
        iso: float | Sequence[float] | None = None,
        iso_draw: str = "log",
        gain: Range | None = None,
        read: str = "tukey-lambda",
        ratio: Range = 1.0,
        bias: float | Sequence[Sequence[float]] = 0.0,
        rounding: bool = True,
        saturate: bool = False,
        pedestal: float | None = None,
    ) -> None:
        if (camera is not None) + (parameters is not None) + (profile is not None) != 1:
            raise RecipeError(
                f"physics noise needs one source of its parameters: camera: one of {', '.join(CAMERAS)}, or "
                "parameters: {counts, gain, read, row, shape} of your own camera, or profile: FILE"
            )
        if read not in ("tukey-lambda", "gaussian"):
            raise RecipeError(f"noise.read is '{read}'; expected 'tukey-lambda' or 'gaussian'")
        if pedestal is not None and pedestal < 0:
            raise RecipeError(f"noise.pedestal is {pedestal}; expected a share of the range from black to white, >= 0")
        self.normal, self.rounding, self.saturate, self.pedestal = read == "gaussian", rounding, saturate, pedestal
        self.ratio = check_range("ratio", ratio, positive=True)
        self.bias = _checked_bias(bias)
        self._source: _Source
        if profile is not None:
            if gain is not None:
                raise RecipeError("noise.gain goes with noise.camera; with a profile the ISO says the gain")
            self._source = _Profiled(open_profile(profile), iso, iso_draw, self.normal, rounding)
            if not self._source.count and (rounding or self.bias):
                raise RecipeError(
                    f"{profile}: does not say black and white level, so what a count is remains unknown; add them, or "
                    "take rounding: false and no bias"
                )
        else:
            if iso is not None or iso_draw != "log":
                name = "iso_draw" if iso is None else "iso"
                raise RecipeError(
                    f"noise.{name} goes with noise.profile; with a camera the gain says it: gain: [low, high]"
                )
            self._source = _Cameras(_cameras(camera, parameters, gain), self.normal)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 8, 4, 1, 1): for each plane K, read scale, shape, row deviation, one count, bias, ratio, ISO or 0."""
        drawn = self._source.draw(count, generator)  # (count, 6, 4)
        drawn, iso = drawn[:, :5], drawn[:, 5:]
        if isinstance(self.bias, float):
            bias = self.bias * torch.randn(count, 1, 4, generator=generator, device=generator.device)
        else:
            calibrated = torch.tensor(self.bias, device=generator.device)
            chosen = torch.randint(len(calibrated), (count,), generator=generator, device=generator.device)
            bias = calibrated[chosen][:, None]
        ratio = draw_uniform(self.ratio, count, generator).view(count, 1, 1).expand(-1, -1, 4)
        return torch.cat((drawn, bias * drawn[:, 4:], ratio, iso), dim=1)[..., None, None]

    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:
        """Noisy planes; a batch of any other number of channels is taken for sensors without colours."""
        strength = self.draw(len(clean), generator) if strength is None else strength
        parts = [for_channels(part.to(clean), clean) for part in strength.unbind(1)]
        k, scale, shape, row, step, bias, ratio, _ = parts
        noisy = shot(clean / ratio, k, generator) + bias + row * in_rows(clean, generator)
        if self.normal:
            noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        else:
            noise = quantile(uniform(clean, generator), shape)
        noisy = noisy + scale * noise
        if self.rounding:
            noisy = quantise(noisy, step)
        if self.pedestal is not None:
            noisy = noisy.clamp(min=-self.pedestal)
        noisy = noisy * ratio
        return noisy.clamp(max=1.0) if self.saturate else noisy

    def variance(self, clean: Tensor) -> Tensor:
        """E[r] E[K] x + E[r^2] E[read + row + rounding + bias^2]; what clipping takes away is not counted."""
        low, high = self.ratio
        k, s2, count = (part.double() for part in self._source.mean())
        listed = isinstance(self.bias, list)
        bias = torch.tensor(self.bias).square().mean(0) if listed else torch.tensor(self.bias).square()
        offset = (s2 + count * (self.rounding / 12 + bias)) * (low * low + low * high + high * high) / 3
        k, offset = (for_channels(part.view(1, 4, 1, 1).to(clean), clean) for part in (k * (low + high) / 2, offset))
        return k * clean.clamp(min=0) + offset

    def law(self, strength: Tensor) -> Tensor:
        """The bias is not in it: a calibration takes it for the black level."""
        k, scale, shape, row, step, _, ratio, _ = strength.unbind(1)
        tails = torch.ones_like(shape) if self.normal else variance(shape)
        s2 = scale.square() * tails + row.square() + self.rounding * step.square() / 12
        return torch.stack((ratio * k, ratio.square() * s2), dim=1)

    def iso(self, strength: Tensor) -> Tensor | None:  # noqa: D102
        isos = strength[:, 7, 0, 0, 0]
        return isos if bool(isos.all()) else None


def _checked_bias(value: Any) -> float | list[list[float]]:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    try:
        rows = torch.tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        rows = torch.empty(0)
    if rows.ndim == 2 and rows.shape[1:] == (4,) and len(rows) and bool(rows.isfinite().all()):
        return [[float(part) for part in row] for row in rows]
    raise RecipeError(
        f"noise.bias is {value}; expected a standard deviation in counts >= 0, or a list of [R, Gr, Gb, B]"
    )


class _Source(ABC):
    """A distribution of the parameters, all in units of white - black."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 6, 4): K, scale and shape of the read noise, deviation of the rows, one count, ISO or 0."""

    @abstractmethod
    def mean(self) -> tuple[Tensor, Tensor, Tensor]:
        """(4,) each: E[K], E[variance of read and row noise], E[count^2]."""


def _cameras(
    names: str | Sequence[str] | None, parameters: Mapping[str, Any] | None, gain: Range | None
) -> list[tuple[Camera, tuple[float, float]]]:
    """Those of a recipe, and their gains."""
    if parameters is not None:
        found = [own_camera(parameters)]
    else:
        found = [camera_named(name) for name in ([names] if isinstance(names, str) else names or ())]
    if not found:
        raise RecipeError("noise.camera is an empty list; expected one name or more")
    bounds = None if gain is None else check_range("gain", gain, positive=True)
    return [(camera, bounds or camera.gain) for camera in found]


class _Cameras(_Source):
    """Log-linear laws over the gain."""

    def __init__(self, cameras: list[tuple[Camera, tuple[float, float]]], normal: bool) -> None:
        if normal and any(camera.gaussian is None for camera, _ in cameras):
            raise RecipeError(
                "noise.read is 'gaussian', but such a fit is only known of the published cameras; for your own take "
                "tukey-lambda with shape: 0.14, which is nearly normal"
            )
        self.cameras, self.normal = cameras, normal

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(self.cameras), (count,), generator=generator, device=generator.device)
        return torch.stack([self._draw_one(*self.cameras[int(index)], generator) for index in chosen])

    def _draw_one(self, camera: Camera, gain: tuple[float, float], generator: torch.Generator) -> Tensor:
        k = float(draw_log(gain, 1, generator))
        first, second = torch.randn(2, generator=generator, device=generator.device).tolist()
        number = int(torch.randint(len(camera.shapes), (), generator=generator, device=generator.device))
        read, row = self._laws(camera)
        scale = 0.0 if read is None else math.exp(read.slope * math.log(k) + read.offset + read.spread * first)
        stripes = 0.0 if row is None else math.exp(row.slope * math.log(k) + row.offset + row.spread * second)
        values = (k / camera.counts, scale / camera.counts, camera.shapes[number], stripes / camera.counts)
        return torch.tensor((*values, 1 / camera.counts, 0.0), device=generator.device)[:, None].expand(-1, 4)

    def mean(self) -> tuple[Tensor, Tensor, Tensor]:
        means = []
        for camera, gain in self.cameras:
            read, row = (0.0 if law is None else law.mean_square(gain) for law in self._laws(camera))
            tails = 1.0 if self.normal else float(variance(torch.tensor(camera.shapes, dtype=torch.float64)).mean())
            unit = 1 / camera.counts
            means.append((mean_power(gain, 1) * unit, (read * tails + row) * unit**2, unit**2))
        k, s2, count = torch.tensor(means, dtype=torch.float64).mean(0)[:, None].expand(-1, 4)
        return k, s2, count

    def _laws(self, camera: Camera) -> tuple[Any, Any]:
        return (camera.gaussian, None) if self.normal else (camera.read, camera.row)


class _Profiled(_Source):
    """A calibrated camera: variances from its profile at an ISO, shape and share of the rows from the nearest entry."""

    def __init__(
        self, profile: NoiseProfile, iso: float | Sequence[float] | None, spacing: str, normal: bool, rounded: bool
    ) -> None:
        self.isos, self.profile, self.normal = IsoDraw(profile, iso, spacing), profile, normal
        self.rounded, self.count = rounded, 0.0
        if profile.white is not None and profile.black is not None:
            self.count = 1 / (profile.white - sum(profile.black) / len(profile.black))
        shapes = [entry.tukey_lambda for entry in profile.entries]
        if not normal and (not shapes or None in shapes):
            raise RecipeError(
                f"the profile of {profile.camera} does not say the shape of the read noise (tukey_lambda) in all its "
                "entries; calibrate with black frames, or use noise: {name: poisson-gaussian, ...}"
            )

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        share = torch.rand(count, generator=generator, device=generator.device)
        isos = [self.isos.at(float(value)) for value in share]
        drawn = [torch.cat((self._at(iso), torch.full((1, 4), iso or 0.0))) for iso in isos]
        return torch.stack(drawn).to(generator.device)

    def _at(self, iso: float | None) -> Tensor:
        """(5, 4) at an ISO. The rounding that the camera did is taken out of its variance: it comes back by itself."""
        law = self.profile.at(iso)
        k, s2 = (torch.tensor(part * (4 // len(part)), dtype=torch.float64) for part in (law.k, law.s2))
        s2 = (s2 - self.rounded * self.count**2 / 12).clamp(min=0)
        shape, rows, tails = torch.zeros(4), torch.zeros(4), torch.ones(4)
        if not self.normal:
            shape, rows = torch.tensor([self._nearest(iso, plane) for plane in PLANES]).T
            tails = variance(shape)
        row = (rows * s2).sqrt()
        scale = ((1 - rows) * s2 / tails).sqrt()
        return torch.stack((k, scale, shape, row, torch.full_like(k, self.count))).float()

    def _nearest(self, iso: float | None, plane: str) -> tuple[float, float]:
        """Shape of the read noise, and which share of its variance the rows have."""
        entries = [entry for entry in self.profile.entries if entry.plane in (plane, "all")]
        entry = min(entries, key=lambda one: abs(math.log((one.iso or 1) / (iso or 1))))
        share = (entry.row or 0.0) ** 2 / entry.s2 if entry.s2 > 0 else 0.0
        return max(entry.tukey_lambda or 0.0, LOWEST), min(share, 1.0)

    def mean(self) -> tuple[Tensor, Tensor, Tensor]:
        k, scale, shape, row, count = torch.stack([self._at(iso) for iso in self.isos.spread()]).double().unbind(1)
        tails = torch.ones_like(shape) if self.normal else variance(shape)
        return k.mean(0), (scale.square() * tails + row.square()).mean(0), count.square().mean(0)
