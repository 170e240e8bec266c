"""What is compared: two pictures or two RAW frames, as planes in 0..1 that are read window by window.

Nothing here holds a whole picture in floating point, so that large ones fit.
"""

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError, RecipeError
from shotnoise.images import Image
from shotnoise.images._exif import turn
from shotnoise.images.image import full_scale, to_depth
from shotnoise.images.raw import RawFrame
from shotnoise.images.raw.bayer import PLANES, sites
from shotnoise.sensor import estimate_sigma
from shotnoise.sensor.develop import Look, camera_rgb
from shotnoise.sensor.estimate import estimate_frame, law_for
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.profile import NoiseProfile

__all__ = [
    "Float",
    "Noise",
    "Picture",
    "PictureSubject",
    "Place",
    "RawSubject",
    "Role",
    "Subject",
    "column",
    "planes_of",
]

Role = Literal["before", "after", "reference"]
Float = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

_COUNTS = 255.0
_FAINTEST = 12**-0.5 / 255  # in 0..1: the noise of a picture in which none is found, that of rounding to 8 bits
_DARK, _BRIGHT = 0.35, 4.0  # a frame whose brightest hundredth is below the one is shown brighter, by so many stops
_RIM = 8  # pixels around a crop that is developed, so that its edges are those of the whole


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle, in pixels of the file."""

    top: int
    left: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"x {self.left} to {self.left + self.width - 1}, y {self.top} to {self.top + self.height - 1}"


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise that is expected: variance = k x + s2 per plane, of values in 0..1.

    Attributes:
        k: per plane; 0 where the noise does not depend on the brightness.
        s2: per plane, the variance without light.
        source: where it is known from, in words.
        known: whether somebody said so; otherwise it was estimated from the picture itself.
        limits: per plane, the lowest and the highest value that the noisy picture can hold.
    """

    k: tuple[float, ...]
    s2: tuple[float, ...]
    source: str
    known: bool
    limits: tuple[tuple[float, float], ...]

    def moments(self, values: Float) -> tuple[Float, Float]:
        """Mean and variance of what the noise adds to (P, H, W) true values, limited as the picture limits it.

        Near black it adds more than nothing on average, as what would be below is lifted to black, and its variance is
        smaller; near white likewise.
        """
        variance: Float = np.maximum(values, 0) * column(self.k) + column(self.s2)
        deviation = np.sqrt(variance)
        mean = np.zeros_like(values)
        at, lifts, shares = _cut_off()
        for side, sign in ((0, 1), (1, -1)):
            ends = column(tuple(limit[side] for limit in self.limits))
            distance = sign * (values - ends) / deviation
            near = distance < at[-1]
            if near.any():
                mean[near] += sign * deviation[near] * np.interp(distance[near], at, lifts).astype(np.float32)
                variance[near] *= np.interp(distance[near], at, shares).astype(np.float32)
        return mean, variance

    def usable(self, values: Float) -> npt.NDArray[np.bool_]:
        """Where less than about a sixth of the noise is cut off."""
        deviation = np.sqrt(np.maximum(values, 0) * column(self.k) + column(self.s2))
        low, high = (column(tuple(limit[side] for limit in self.limits)) for side in (0, 1))
        return np.asarray((values - low > deviation) & (high - values > deviation))


@functools.cache
def _cut_off() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Gaussian noise of deviation 1 on a value t above a limit: t, the mean of what it adds, and its variance.

    With the density f and the distribution F at t: E[max(t + n, 0)] = t F + f, and of its square (t^2 + 1) F + t f.
    """
    t = np.linspace(-4, 5, 361)
    density = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([(1 + math.erf(value / math.sqrt(2))) / 2 for value in t])
    mean = t * below + density
    return t, mean - t, (t**2 + 1) * below + t * density - mean**2


def column(values: tuple[float, ...]) -> Float:
    """Numbers per plane, to go with (P, H, W)."""
    return np.asarray(values, np.float32)[:, None, None]


def planes_of(picture: Image | RawFrame, rows: slice | None = None, cols: slice | None = None) -> Float:
    """(P, h, w) float32: a window of the planes of a picture or a mosaic, black 0 and white 1; all of it without one.

    Of a mosaic with odd sides the last row or column is left out.
    """
    size = 2 if isinstance(picture, RawFrame) else 1
    rows = rows or slice(0, picture.height // size)
    cols = cols or slice(0, picture.width // size)
    if isinstance(picture, Image):
        pixels = picture.pixels[rows, cols]
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return np.multiply(planes, np.float32(1 / full_scale(pixels.dtype)), dtype=np.float32, order="C")
    cells = picture.mosaic[2 * rows.start : 2 * rows.stop, 2 * cols.start : 2 * cols.stop]
    result = np.empty((4, rows.stop - rows.start, cols.stop - cols.start), np.float32)
    for plane, (row, col), black in zip(result, sites(picture.pattern), picture.black, strict=True):
        plane[:] = cells[row::2, col::2]
        plane -= np.float32(black)
        plane *= np.float32(1 / (picture.white - black))
    return result


class Subject(ABC):
    """Two pictures of one size and kind, and perhaps a third, clean one.

    Attributes:
        kind: "picture" or "raw".
        planes: their names.
        height: rows of a plane.
        width: columns of a plane.
        pixel: pixels of the file per pixel of a plane, along each side.
        limits: per plane, the lowest and the highest value that the noisy picture can hold.
        unit: what the noise is told in: the value that stands for 255 counts is 1.
        notes: what should be known about the reading.
    """

    kind: Literal["picture", "raw"]
    planes: tuple[str, ...]
    height: int
    width: int
    pixel: int
    limits: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]
    has_reference: bool
    icc: bytes | None = None

    @abstractmethod
    def values(self, role: Role, rows: slice, cols: slice) -> Float:
        """(P, h, w) float32 in 0..1: a window of the planes."""

    @abstractmethod
    def crop(self, role: Role, place: Place) -> Picture:
        """(h, w, 3) or (h, w): what a rectangle looks like, upright."""

    @abstractmethod
    def preview(self, role: Role, longest: int) -> Picture:
        """The whole, upright, with its longest side no longer than this."""

    @abstractmethod
    def upright(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array over the whole, turned as the picture is shown."""

    @abstractmethod
    def noise(self) -> Noise:
        """The expected noise."""

    @abstractmethod
    def left(self) -> float:
        """Standard deviation of the noise that the blind estimate sees in AFTER, in counts of 255."""

    @abstractmethod
    def describe(self) -> str:
        """Size and kind in words."""

    @abstractmethod
    def compared(self, role: Role, rows: slice) -> Float:
        """(h, w, P): rows of what PSNR is taken of, 0..1."""


class PictureSubject(Subject):
    """Two pictures that a camera or a program has developed.

    Args:
        before: the noisy one.
        after: the denoised one.
        reference: a clean one.
        noise: standard deviation in counts of 255, or a law with one plane or as many as there are channels; None:
            estimated from the noisy picture, channel by channel.
    """

    def __init__(
        self, before: Image, after: Image, reference: Image | None = None, noise: float | NoiseLaw | None = None
    ) -> None:
        self.kind, self.pixel = "picture", 1
        self.height, self.width, self.has_reference = before.height, before.width, reference is not None
        self.planes = ("gray",) if before.channels == 1 else ("red", "green", "blue")
        self._images: dict[Role, Image] = {"before": before, "after": after}
        if reference is not None:
            self._images["reference"] = reference
        for role, image in self._images.items():
            if (image.height, image.width) != (before.height, before.width):
                raise PictureError(
                    f"BEFORE has {_size(before)} pixels and {role.upper()} {_size(image)}; expected one size: take the "
                    "files as they went in and came out, not scaled or cut"
                )
            if image.channels != before.channels:
                words = {1: "gray", 3: "RGB"}
                raise PictureError(
                    f"BEFORE is {words[before.channels]} and {role.upper()} {words[image.channels]}; expected both of "
                    "one kind: convert one of them"
                )
        depths = {role: str(image.pixels.dtype) for role, image in self._images.items()}
        self.notes = ()
        if depths["after"] != depths["before"]:
            self.notes = (f"BEFORE holds {depths['before']} and AFTER {depths['after']}; both are taken as 0..1",)
        self.icc = before.icc
        self.limits = (_limits(before.pixels),) * before.channels
        self._told = noise

    def values(self, role: Role, rows: slice, cols: slice) -> Float:  # noqa: D102
        return planes_of(self._images[role], rows, cols)

    def crop(self, role: Role, place: Place) -> Picture:  # noqa: D102
        pixels = self._images[role].pixels
        part = pixels[place.top : place.top + place.height, place.left : place.left + place.width]
        return np.ascontiguousarray(to_depth(part, np.uint8), np.uint8)

    def preview(self, role: Role, longest: int) -> Picture:  # noqa: D102
        return _reduced(self._images[role].pixels, longest)

    def upright(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:  # noqa: D102
        return array

    def noise(self) -> Noise:  # noqa: D102
        pixels = self._images["before"].pixels
        channels = len(self.planes)
        step = 0.0 if pixels.dtype.kind == "f" else 1 / full_scale(pixels.dtype)
        if isinstance(self._told, NoiseLaw):
            if len(self._told.k) not in (1, channels):
                raise RecipeError(
                    f"a noise law for {len(self._told.k)} planes; expected one, or one for each of the {channels} "
                    "channels of the picture"
                )
            times = channels // len(self._told.k)
            return Noise(
                self._told.k * times, self._told.s2 * times, self._told.source or "the law given", True, self.limits
            )
        if self._told is not None:
            variance = (self._told / _COUNTS) ** 2 + step**2 / 12  # rounding comes on top
            return Noise(
                (0.0,) * channels, (variance,) * channels, f"the level given, {self._told:g}", True, self.limits
            )
        single = pixels[:, :, None] if pixels.ndim == 2 else pixels
        found = [max(estimate_sigma(single[:, :, c]), _FAINTEST) ** 2 for c in range(channels)]
        return Noise((0.0,) * channels, tuple(found), "blind estimate from BEFORE", False, self.limits)

    def left(self) -> float:  # noqa: D102
        return _COUNTS * estimate_sigma(self._images["after"].pixels)

    def describe(self) -> str:  # noqa: D102
        before = self._images["before"]
        depth = {"uint8": "8 bits", "uint16": "16 bits", "float32": "floating point"}[str(before.pixels.dtype)]
        return f"{_size(before)} pixels, {'gray' if before.channels == 1 else 'RGB'}, {depth}"

    def compared(self, role: Role, rows: slice) -> Float:  # noqa: D102
        return self.values(role, rows, slice(0, self.width)).transpose(1, 2, 0)


class RawSubject(Subject):
    """Two RAW frames; statistics on the four planes of the mosaic, pictures developed with the look of the first.

    Args:
        before: the noisy one.
        after: the denoised one.
        reference: a clean one.
        noise: a profile of the camera or a law; None: what the file says, or an estimate from it.
        iso: at which a profile is asked; None: that of the frame.
    """

    def __init__(
        self,
        before: RawFrame,
        after: RawFrame,
        reference: RawFrame | None = None,
        noise: NoiseProfile | NoiseLaw | None = None,
        iso: float | None = None,
    ) -> None:
        self.kind, self.pixel, self.planes = "raw", 2, PLANES
        self.height, self.width = before.height // 2, before.width // 2
        self.has_reference = reference is not None
        self._frames: dict[Role, RawFrame] = {"before": before, "after": after}
        if reference is not None:
            self._frames["reference"] = reference
        for role, frame in self._frames.items():
            if frame.mosaic.shape != before.mosaic.shape or frame.pattern != before.pattern:
                raise PictureError(
                    f"BEFORE is a mosaic of {_size(before)} pixels, {before.pattern}, and {role.upper()} one of "
                    f"{_size(frame)}, {frame.pattern}; expected one size and pattern: take the files as they are"
                )
        self.notes = ()
        if any((frame.black, frame.white) != (before.black, before.white) for frame in self._frames.values()):
            self.notes = ("the files state different black or white levels; each is taken by its own",)
        self.limits = tuple((-level / (before.white - level), 1.0) for level in before.black)
        self._law, self._iso = noise, iso
        flat = {role: replace(frame, orientation=1) for role, frame in self._frames.items()}
        self._flat: dict[Role, RawFrame] = flat
        look = Look.of(before)
        brightest = float(np.percentile(look.render(self._sample()), 99)) / 255
        self.stops = 0.0
        if 0 < brightest < _DARK:
            self.stops = min(round(2 * 2.2 * math.log2(2 * _DARK / brightest)) / 2, _BRIGHT)
        self._look = look.brighter(self.stops)
        if self.stops:
            self.notes += (f"the pictures are shown {self.stops:g} stops brighter than the camera meant them",)
        if before.orientation != 1:
            self.notes += ("places are counted as the sensor lies; the pictures are turned upright",)

    def _sample(self) -> Float:
        frame = self._flat["before"]
        step = max(1, round(math.sqrt(frame.mosaic.size / 4_000_000)))
        cells = frame.mosaic[: self.height * 2, : self.width * 2].reshape(self.height, 2, self.width, 2)
        part = cells[::step, :, ::step].reshape(2 * len(range(0, self.height, step)), -1)
        return camera_rgb(frame.with_mosaic(np.ascontiguousarray(part)), size="half")

    def values(self, role: Role, rows: slice, cols: slice) -> Float:  # noqa: D102
        return planes_of(self._frames[role], rows, cols)

    def crop(self, role: Role, place: Place) -> Picture:  # noqa: D102
        frame = self._flat[role]
        top, left = (max(0, side - _RIM) // 2 * 2 for side in (place.top, place.left))
        part = frame.mosaic[top : place.top + place.height + _RIM, left : place.left + place.width + _RIM]
        shown = self._rendered(frame.with_mosaic(np.ascontiguousarray(part)), "full")
        top, left = place.top - top, place.left - left
        return np.asarray(self.upright(shown[top : top + place.height, left : left + place.width]))

    def preview(self, role: Role, longest: int) -> Picture:  # noqa: D102
        shown = self._rendered(self._flat[role], "half" if max(self._flat[role].mosaic.shape) > longest else "full")
        return np.asarray(self.upright(_reduced(shown, longest)))

    def _rendered(self, frame: RawFrame, size: Literal["half", "full"]) -> Picture:
        rgb = camera_rgb(frame, size=size, white_balance=self._look.white_balance)
        return np.asarray(self._look.render(rgb), np.uint8)

    def upright(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:  # noqa: D102
        return np.ascontiguousarray(turn(array, self._frames["before"].orientation))

    def noise(self) -> Noise:  # noqa: D102
        frame = self._frames["before"]
        if isinstance(self._law, NoiseLaw):
            if len(self._law.k) not in (1, 4):
                raise RecipeError(f"a noise law for {len(self._law.k)} planes; expected 4 for R, Gr, Gb, B, or one")
            law = self._law
        else:
            seen = estimate_frame(frame) if self._law is None else None
            law = law_for(frame, self._law, self._iso, seen=seen)
        times = 4 // len(law.k)
        blind = law.source.startswith("blind estimate")
        s2 = [
            max(value, 1 / (12 * (frame.white - black) ** 2))  # rounding alone makes as much
            for value, black in zip(law.s2 * times, frame.black, strict=True)
        ]
        return Noise(law.k * times, tuple(s2), law.source or "the law given", not blind, self.limits)

    def left(self) -> float:  # noqa: D102
        frame = self._frames["after"]
        full = full_scale(frame.mosaic.dtype)
        squares = [
            (estimate_sigma(frame.mosaic[row::2, col::2]) * full / (frame.white - black)) ** 2
            for (row, col), black in zip(sites(frame.pattern), frame.black, strict=True)
        ]
        return _COUNTS * math.sqrt(sum(squares) / 4)

    def describe(self) -> str:  # noqa: D102
        frame = self._frames["before"]
        camera = " ".join(part for part in (frame.make, frame.model) if part)
        iso = "" if frame.iso is None else f"ISO {frame.iso:g}"
        return ", ".join(part for part in (f"RAW, {_size(frame)} pixels, {frame.pattern}", camera, iso) if part)

    def compared(self, role: Role, rows: slice) -> Float:  # noqa: D102
        return np.clip(self.values(role, rows, slice(0, self.width)), 0, 1).transpose(1, 2, 0)


def _size(picture: Image | RawFrame) -> str:
    return f"{picture.width} x {picture.height}"


def _limits(pixels: npt.NDArray[Any]) -> tuple[float, float]:
    """Of floating-point pixels only where they seem to have been limited to 0..1."""
    if pixels.dtype.kind == "u" or (pixels.min() >= 0 and pixels.max() <= 1):
        return 0.0, 1.0
    return -math.inf, math.inf


def _reduced(pixels: npt.NDArray[Any], longest: int) -> Picture:
    """8 bits, no longer than that; the mean of the pixels that fall together."""
    from PIL import Image as Pillow

    step = max(1, math.ceil(max(pixels.shape[:2]) / longest))
    if step == 1:
        return np.ascontiguousarray(to_depth(pixels, np.uint8), np.uint8)
    rows = []
    band = 64 * step
    for top in range(0, pixels.shape[0], band):  # so that pictures of more than 8 bits stay small on the way
        part = Pillow.fromarray(np.ascontiguousarray(to_depth(pixels[top : top + band], np.uint8)))
        rows.append(np.asarray(part.reduce(step)))
    return np.concatenate(rows)
