"""What a calibration is fed with: frames with name, ISO and exposure time, and which of them belong together."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy.typing as npt

from shotnoise.errors import ProfileError
from shotnoise.images.raw.bayer import PLANES, Pattern, sites
from shotnoise.images.raw.frame import RawFrame
from shotnoise.sensor.calibration.result import MONO, Roi

__all__ = ["Frame", "bursts", "iso_in_name", "load_all"]

_EXPLICIT = re.compile(r"iso[\s_-]*([1-9]\d{1,6})(?!\d)", re.IGNORECASE)
_TRAILING = re.compile(r"_([1-9]\d{1,6})$")
_COUNTER = re.compile(r"^_?[A-Z]{1,4}\d?_?\d+$")  # IMG_1600, DSC_0400: the camera's own numbering
_SAME_LIGHT = 0.05  # frames of one burst differ by less than this in brightness
_FEWEST = 16  # pixels of a plane with which there is something to compute; far more are wanted


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One exposure of a calibration.

    Attributes:
        name: what to call it in messages, usually the file name.
        pixels: (H, W) unsigned integers as stored, or a function that loads them, called whenever they are needed (a
            calibration of many large frames then holds few of them at a time).
        pattern: of the mosaic; None for a sensor without colours.
        white: count at which the sensor is full.
        black: count without light per plane, as the file says; None if it says nothing.
        iso: as the metadata say.
        exposure: seconds, as the metadata say.
        camera: make and model.
    """

    name: str
    pixels: npt.NDArray[Any] | Callable[[], npt.NDArray[Any]]
    pattern: Pattern | None
    white: float
    black: tuple[float, ...] | None = None
    iso: float | None = None
    exposure: float | None = None
    camera: str = ""

    @classmethod
    def of(cls, raw: RawFrame, name: str, *, reload: Callable[[], npt.NDArray[Any]] | None = None) -> "Frame":
        """A RAW picture.

        Args:
            raw: the picture.
            name: what to call it.
            reload: loads its mosaic again; given, the frame does not keep the one in `raw`.
        """
        return cls(
            name,
            raw.mosaic if reload is None else reload,
            raw.pattern,
            raw.white,
            raw.black,
            raw.iso,
            raw.exposure,
            f"{raw.make} {raw.model}".strip(),
        )

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes, in the order that everything per plane has."""
        return MONO if self.pattern is None else PLANES

    def load(self) -> list[npt.NDArray[Any]]:
        """The planes, as views of the mosaic."""
        mosaic = self.pixels() if callable(self.pixels) else self.pixels
        if mosaic.ndim != 2 or mosaic.dtype.kind != "u":
            raise ProfileError(
                f"{self.name}: an array of shape {mosaic.shape} and type {mosaic.dtype}; expected (H, W) counts as "
                "unsigned integers"
            )
        height, width = mosaic.shape
        if height * width < _FEWEST * len(self.planes):
            raise ProfileError(
                f"{self.name}: has {height} x {width} pixels, too few to tell noise from; expected a whole frame"
            )
        if self.pattern is None:
            return [mosaic]
        height, width = height // 2 * 2, width // 2 * 2
        return [mosaic[row:height:2, col:width:2] for row, col in sites(self.pattern)]

    def cut(self, roi: Roi) -> tuple[slice, slice]:
        """A rectangle of the mosaic in each of its planes."""
        step = 1 if self.pattern is None else 2
        return slice(roi.top // step, roi.bottom // step), slice(roi.left // step, roi.right // step)


def load_all(frames: Sequence[Frame]) -> list[list[npt.NDArray[Any]]]:
    """The planes of frames that are compared pixel by pixel."""
    loaded = [frame.load() for frame in frames]
    for frame, planes in zip(frames, loaded, strict=True):
        if planes[0].shape != loaded[0][0].shape:
            (height, width), (rows, cols) = planes[0].shape, loaded[0][0].shape
            raise ProfileError(
                f"{frame.name}: has {height} x {width} pixels of a colour, {frames[0].name} has {rows} x {cols}; "
                "expected frames of one size: leave out those of another one"
            )
    return loaded


def iso_in_name(name: str) -> float | None:
    """The ISO that a file name states: 'ISO_800', 'gray_iso3200_1', 'flat_400'; None for a camera's running number.

    >>> iso_in_name("calibrate/ISO_800.dng"), iso_in_name("flat_400.tif"), iso_in_name("IMG_1600.dng")
    (800.0, 400.0, None)
    """
    stem = PurePath(name.replace("\\", "/")).stem
    if found := _EXPLICIT.search(stem):
        return float(found[1])
    if (found := _TRAILING.search(stem)) and not _COUNTER.match(stem):
        return float(found[1])
    return None


def bursts(frames: Iterable[Frame], brightness: Sequence[float]) -> list[list[int]]:
    """Which frames show the same thing in the same light: groups of indices, in the order of their first frames.

    They agree in ISO and exposure time, and their brightness differs by less than 5 %.

    Args:
        frames: the frames, whose ISO is settled.
        brightness: mean above black of each.
    """
    alike: dict[tuple[float | None, float | None], list[int]] = {}
    for index, frame in enumerate(frames):
        alike.setdefault((frame.iso, frame.exposure), []).append(index)
    groups: list[list[int]] = []
    for indices in alike.values():
        indices.sort(key=lambda index: brightness[index])
        start = 0
        for position in range(1, len(indices) + 1):
            lowest = brightness[indices[start]]
            if position == len(indices) or brightness[indices[position]] - lowest > _SAME_LIGHT * max(lowest, 1.0):
                groups.append(sorted(indices[start:position]))
                start = position
    return sorted(groups)
