"""Simulated photons on real darkness: what the electronics add is cut out of dark frames of the camera itself.

Y. Zhang, H. Qin, X. Wang and H. Li, "Rethinking Noise Synthesis and Modeling in Raw Denoising", ICCV 2021, arXiv
2110.04756. Whatever is in the frames comes along: banding, hot pixels, telegraph noise. Differs from the paper: the
fixed pattern is taken out by default, since it is the same in every picture and is better subtracted than learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shotnoise.errors import PictureError, RecipeError
from shotnoise.images.raw.bayer import split
from shotnoise.images.raw.kinds import RAW_EXTENSIONS
from shotnoise.images.raw.reader import open_raw
from shotnoise.noise.model import NoiseModel, check_range
from shotnoise.noise.shot import for_channels, shot
from shotnoise.noise.tukey_lambda import LOWEST, quantile, variance
from shotnoise.sensor.calibration.capture import iso_in_name
from shotnoise.sensor.calibration.dark import tukey_lambda
from shotnoise.sensor.profile import NoiseProfile
from shotnoise.sensor.published import open_profile

__all__ = ["DarkFrames", "HighBits"]

_BUDGET = 2 * 2**30  # bytes of memory for all frames
_SIGMAS = 6  # further out a count is a defect of its own and no rounded noise
_SAMPLE = 2**21  # values of a plane from which distributions and variances are taken
_FITTED = 50_000  # of those, to find the shape of a law
_LAWS = ("tukey-lambda", "normal", "none")


class DarkFrames(NoiseModel):
    """z = k Poisson(x / k) + a random window of a dark frame of the same ISO; x and z in 0..1 between black and white.

    Windows begin on whole cells of the mosaic, so each plane gets noise of its own colour, and what rows and columns of
    the sensor have in common stays common.

    Args:
        frames: folder of RAW files or .npy arrays of counts, (H, W) mosaics or (4, H/2, W/2) planes R, Gr, Gb, B; or a
            list of such files. The ISO of a RAW file is what its metadata say, that of an array what its name says, as
            in dark_ISO_800_1.npy.
        profile: file of the camera's noise profile, or name of a published one: it gives k at each ISO, and levels and
            colour pattern of arrays.
        iso: one ISO or a list, all equally likely; None: all of which there are frames.
        high_bits: "tukey-lambda" or "normal": undo the rounding of the frames by drawing, from such a law fitted to
            them, where in its interval each value lay before. "none": keep whole counts.
        shading: subtract the mean of the frames of an ISO, from two frames up; else only the black level.
        saturate: nothing above 1.
        pedestal: black level as a share of black to white; nothing below minus that. None: no limit.
    """

    def __init__(
        self,
        *,
        frames: str | Sequence[str],
        profile: str,
        iso: float | Sequence[float] | None = None,
        high_bits: str = "tukey-lambda",
        shading: bool = True,
        saturate: bool = False,
        pedestal: float | None = None,
    ) -> None:
        if high_bits not in _LAWS:
            raise RecipeError(f"noise.high_bits is '{high_bits}'; expected one of {', '.join(_LAWS)}")
        if pedestal is not None and pedestal < 0:
            raise RecipeError(f"noise.pedestal is {pedestal}; expected a share of the range from black to white, >= 0")
        known = open_profile(profile)
        wanted = None
        if iso is not None:
            wanted = {
                check_range("iso", one, positive=True)[0] for one in (iso if isinstance(iso, Sequence) else [iso])
            }
        groups: dict[float | None, list[_Frame]] = {}
        used = 0
        for path in _files(frames):
            frame = _read(path, known)
            if wanted is not None and frame.iso not in wanted:
                continue
            groups.setdefault(frame.iso, []).append(frame)
            used += frame.planes.nbytes
            if used > _BUDGET:
                raise RecipeError(
                    f"the dark frames take more than {_BUDGET / 2**30:.3g} GiB of memory; give fewer, or parts of them "
                    "as .npy arrays"
                )
        missing = [one for one in sorted(wanted or ()) if one not in groups]
        if missing or not groups:
            shown = ", ".join(f"ISO {one:g}" for one in missing) or "any ISO"
            raise RecipeError(f"noise.frames has no dark frames of {shown}; give some, or leave it out of noise.iso")
        isos = sorted(groups, key=lambda one: one or 0)
        self.sets = [_Set.of(groups[one], known, high_bits, shading) for one in isos]
        self.isos, self.saturate, self.pedestal = isos, saturate, pedestal

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 3, 4, 1, 1): for each plane k, s2, and the number of the set of frames."""
        chosen = torch.randint(len(self.sets), (count,), generator=generator, device=generator.device)
        return torch.stack([self._parameters()[index] for index in chosen.tolist()]).to(generator.device)[
            ..., None, None
        ]

    def _parameters(self) -> Tensor:
        """(sets, 3, 4)."""
        numbers = torch.arange(len(self.sets)).view(-1, 1, 1).expand(-1, 1, 4)
        return torch.cat((torch.stack([torch.stack((one.k, one.s2)) for one in self.sets]), numbers), dim=1)

    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:
        """Noisy planes; a batch of any other number of channels gets the first plane's law and windows of plane R."""
        strength = self.draw(len(clean), generator) if strength is None else strength
        k = for_channels(strength[:, 0].to(clean), clean)
        numbers = strength[:, 2, 0, 0, 0].long().tolist()
        darkness = [self.sets[number].window(clean.shape[1:], generator) for number in numbers]
        noisy = shot(clean, k, generator) + torch.stack(darkness).to(clean)
        if self.saturate or self.pedestal is not None:
            noisy = noisy.clamp(None if self.pedestal is None else -self.pedestal, 1.0 if self.saturate else None)
        return noisy

    def variance(self, clean: Tensor) -> Tensor:
        """E[k] x + E[s2], all sets equally likely; what clipping takes away is not counted."""
        k, s2, _ = self._parameters().mean(0).view(3, 1, 4, 1, 1).to(clean).unbind()
        return for_channels(k, clean) * clean.clamp(min=0) + for_channels(s2, clean)

    def law(self, strength: Tensor) -> Tensor:
        """The s2 is that of the frames as they are added."""
        return strength[:, :2]

    def iso(self, strength: Tensor) -> Tensor | None:  # noqa: D102
        isos = [self.isos[int(number)] for number in strength[:, 2, 0, 0, 0]]
        return None if None in isos else torch.tensor(isos)


class HighBits:
    """Where within its rounding interval a value lay: a random place, as likely as a law says that was fitted to all.

    Args:
        counts: whole counts of one plane, in any shape.
        law: "tukey-lambda" or "normal".

    Attributes:
        bias: mean of the counts.
        sigma: standard deviation of the law.
    """

    def __init__(self, counts: npt.NDArray[Any], law: str) -> None:
        values = counts.astype(np.float64).ravel()
        middle = float(np.median(values))
        spread = max(1.4826 * float(np.median(np.abs(values - middle))), 0.5)
        near = values[np.abs(values - middle) <= 2 * _SIGMAS * spread]  # hot pixels are not of the law
        self.bias = float(near.mean())
        dither = np.random.default_rng(0).uniform(-0.5, 0.5, near.shape)
        self.normal = law == "normal"
        if self.normal:
            self.shape, self.scale = 0.0, max(float(near.var()) - 1 / 12, 1e-4) ** 0.5
            self.sigma = self.scale
        else:
            step = max(1, near.size // _FITTED)
            shape, slope, _ = tukey_lambda((near + dither)[::step])
            self.shape = max(shape, LOWEST)
            added = 1 / 6 / (float(near.var()) + 1 / 12)  # the share of rounding and dither in the variance
            self.scale = slope * max(1 - added, 0.05) ** 0.5
            self.sigma = self.scale * float(variance(torch.tensor(self.shape, dtype=torch.float64))) ** 0.5
        self._first = int(np.ceil(self.bias - _SIGMAS * self.sigma))
        last = max(int(np.floor(self.bias + _SIGMAS * self.sigma)), self._first)
        edges = (np.arange(self._first, last + 2) - 0.5 - self.bias) / self.scale
        probability = torch.from_numpy(self._cdf(edges))
        self._low, self._width = probability[:-1], probability.diff()

    def _cdf(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        from scipy.special import ndtr, tklmbda

        result: npt.NDArray[np.float64] = ndtr(values) if self.normal else tklmbda(values, self.shape)
        return result

    def restore(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Values in float64 that round to the counts; those more than 6 sigma from the bias stay whole."""
        place = counts.long() - self._first
        inside = (place >= 0) & (place < len(self._low))
        place = place.clamp(0, len(self._low) - 1)
        draw = torch.rand(counts.shape, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        p = (self._low[place] + draw * self._width[place]).clamp(1e-15, 1 - 1e-15)
        shape = torch.tensor(self.shape, dtype=torch.float64)
        value = self.bias + self.scale * (torch.special.ndtri(p) if self.normal else quantile(p, shape))
        whole = counts.double()
        # Where the law says a count cannot be, it says nothing about where in its interval either.
        value = torch.where(self._width[place] > 1e-12, value, whole + draw - 0.5)
        value = torch.minimum(torch.maximum(value, whole - 0.499999), whole + 0.499999)
        return torch.where(inside, value, whole)


@dataclass(frozen=True)
class _Frame:
    """Counts of four planes, and what they mean."""

    path: Path
    iso: float | None
    planes: npt.NDArray[Any]
    black: tuple[float, ...]
    white: float


class _Set:
    """The dark frames of one ISO."""

    def __init__(
        self,
        frames: list[npt.NDArray[Any]],
        k: Tensor,
        zero: Tensor,
        scale: Tensor,
        high_bits: list[HighBits],
        gain: float,
    ) -> None:
        self.frames, self.k, self.zero, self.scale, self.high_bits, self.gain = frames, k, zero, scale, high_bits, gain
        self.s2 = self._measured()

    @classmethod
    def of(cls, frames: list[_Frame], profile: NoiseProfile, high_bits: str, shading: bool) -> "_Set":
        first = frames[0]
        for frame in frames[1:]:
            if (frame.planes.shape, frame.black, frame.white) != (first.planes.shape, first.black, first.white):
                raise RecipeError(
                    f"{frame.path}: has another size or other levels than {first.path.name}; expected dark frames of "
                    "one camera in one mode"
                )
        law = profile.at(first.iso)
        scale = torch.tensor([first.white - black for black in first.black]).view(4, 1, 1)
        zero = torch.tensor(first.black).view(4, 1, 1)
        planes = [frame.planes for frame in frames]
        gain = 1.0
        if shading and len(frames) > 1:
            mean = np.zeros(first.planes.shape, np.float32)
            for one in planes:
                mean += one
            zero = torch.from_numpy(mean / np.float32(len(planes)))
            gain = (len(planes) / (len(planes) - 1)) ** 0.5  # the mean has a part of each frame's own noise in it
        laws = []
        if high_bits != "none":
            step = max(1, len(planes) * planes[0][0].size // _SAMPLE)
            laws = [
                HighBits(np.concatenate([one[plane].ravel()[::step] for one in planes]), high_bits)
                for plane in range(4)
            ]
        return cls(planes, torch.tensor(law.k * (4 // len(law.k))), zero, scale, laws, gain)

    def window(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Normalised noise of this shape, (C, H, W), from a random place of a random frame."""
        channels, height, width = shape
        if channels not in (1, 4):
            return torch.cat([self.window((1, height, width), generator) for _ in range(channels)])
        _, rows, cols = self.frames[0].shape
        if height > rows or width > cols:
            raise RecipeError(
                f"the dark frames have planes of {cols} x {rows} and the picture {width} x {height}; expected larger "
                "frames, or train on smaller crops"
            )
        number, top, left = (
            int(torch.randint(limit, (), generator=generator, device=generator.device))
            for limit in (len(self.frames), rows - height + 1, cols - width + 1)
        )
        return self._cut(number, slice(top, top + height), slice(left, left + width), generator, planes=channels)

    def _cut(self, number: int, rows: slice, cols: slice, generator: torch.Generator, planes: int = 4) -> Tensor:
        counts = torch.from_numpy(self.frames[number][:planes, rows, cols].astype(np.int32))
        zero = self.zero[:planes, rows, cols] if self.zero.shape[1] > 1 else self.zero[:planes]
        noise = (counts.double() - zero) * self.gain
        if self.high_bits:
            whole = counts.double()
            noise += (
                torch.stack([self.high_bits[i].restore(plane, generator) for i, plane in enumerate(counts)]) - whole
            )
        return noise / self.scale[:planes]

    def _measured(self) -> Tensor:
        """Mean square of what :meth:`window` gives, per plane."""
        generator = torch.Generator().manual_seed(0)
        _, rows, cols = self.frames[0].shape
        height = min(rows, max(1, _SAMPLE // (cols * len(self.frames))))
        top = (rows - height) // 2
        total = torch.zeros(4, dtype=torch.float64)
        for number in range(len(self.frames)):
            total += self._cut(number, slice(top, top + height), slice(0, cols), generator).square().mean((1, 2))
        return (total / len(self.frames)).float()


def _files(frames: str | Sequence[str]) -> list[Path]:
    if isinstance(frames, str):
        folder = Path(frames)
        if folder.is_dir():
            kinds = {*RAW_EXTENSIONS, ".npy"}
            paths = (path for path in folder.rglob("*") if path.suffix.lower() in kinds and path.name[0] != ".")
            found = sorted(path for path in paths if path.is_file())
            if not found:
                raise RecipeError(f"{folder}: has no RAW files and no .npy arrays; expected dark frames")
            return found
        frames = [frames]
    missing = [path for path in frames if not Path(path).is_file()]
    if missing or not frames:
        raise RecipeError(f"{missing[0] if missing else frames}: is no file; expected dark frames or a folder of them")
    return [Path(path) for path in frames]


def _read(path: Path, profile: NoiseProfile) -> _Frame:
    named = iso_in_name(path.name)
    if path.suffix.lower() == ".npy":
        planes, black, white, iso = *_array(path, profile), named
    else:
        raw = open_raw(path)
        height, width = raw.height // 2 * 2, raw.width // 2 * 2
        planes, black, white, iso = split(raw.mosaic[:height, :width], raw.pattern), raw.black, raw.white, raw.iso
        if iso is not None and named is not None and iso != named:
            raise RecipeError(f"{path}: its metadata say ISO {iso:g}, its name says {named:g}; rename or remove it")
        iso = named if iso is None else iso
    if not profile.isos:
        iso = None
    elif iso is None:
        raise RecipeError(f"{path}: does not say its ISO; put it into the name, as in {path.stem}_ISO_800{path.suffix}")
    return _Frame(path, iso, planes, black, white)


def _array(path: Path, profile: NoiseProfile) -> tuple[npt.NDArray[Any], tuple[float, ...], float]:
    """Planes, black and white of an array of counts."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise PictureError(f"{path}: cannot be read as an array ({error}); expected .npy with whole counts") from None
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise PictureError(f"{path}: holds {array.dtype}; expected counts as uint8 or uint16, black not subtracted")
    if profile.black is None or profile.white is None:
        raise RecipeError(f"the profile of {profile.camera} lacks black and white, which arrays do not have either")
    black = profile.black * (4 // len(profile.black))
    if array.ndim == 3 and len(array) == 4:
        return array, black, profile.white
    if array.ndim == 2 and profile.pattern is not None and profile.pattern != "mono":
        height, width = array.shape[0] // 2 * 2, array.shape[1] // 2 * 2
        return split(array[:height, :width], profile.pattern), black, profile.white
    raise PictureError(
        f"{path}: has the shape {array.shape} and the profile the pattern {profile.pattern or 'unknown'}; expected (4, "
        "H, W) planes R, Gr, Gb, B, or a mosaic of a known pattern"
    )
