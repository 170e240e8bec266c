"""What may come out of a source of samples: a picture, or why there is none; and which pictures are wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError

__all__ = [
    "EXPOSURES",
    "NOISY_CLEAN",
    "RAW_PLANES",
    "Failed",
    "Picture",
    "Selection",
    "Unsuited",
    "nothing_usable",
    "planes",
]

RAW_PLANES = 4
NOISY_CLEAN, EXPOSURES = ("noisy", "clean"), ("first", "second")  # arrays of two kinds of pairs

# Rec. 601 luma, the gray of JPEG and of the published gray test sets.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Picture:
    """A picture that can be used, and what happened on reading it.

    Attributes:
        name: unique in its source.
        pixels: (C, H, W) in the type it had on disk; RAW as float32, 0 black and 1 white.
        converted: what was done to its colours.
        notes: what a user should know, one line each.
        meta: what is known about it, as plain JSON.
        noisy: a noisy version that came with it.
        cut_from: the picture that it is a patch of, if it is one.
        names: what the arrays of a pair are called, that of `noisy` first.
    """

    name: str
    pixels: npt.NDArray[Any]
    converted: Literal["", "gray to RGB", "RGB to gray"] = ""
    notes: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    noisy: npt.NDArray[Any] | None = None
    cut_from: str = ""
    names: tuple[str, str] = NOISY_CLEAN

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a sample of it holds."""
        return {self.names[1]: self.pixels} | ({} if self.noisy is None else {self.names[0]: self.noisy})

    @property
    def whole(self) -> str:
        """The name of the picture it belongs to, whose patches must stay together."""
        return self.cut_from or self.name


@dataclass(frozen=True)
class Unsuited:
    """A sound picture that is left out by a rule of the :class:`Selection`, and which one."""

    name: str
    reason: str


@dataclass(frozen=True)
class Failed:
    """A picture that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Selection:
    """Which pictures are taken, and as what.

    Attributes:
        channels: 3 for RGB, 1 for gray, 4 for the planes of camera RAW.
        min_size: both sides must be at least this long; those of RAW are counted in a plane.
        max_size: both sides may be at most this long; None for any length.
        convert: turn pictures of the other kind into gray or RGB; otherwise they are left out.
    """

    channels: int = 3
    min_size: int = 0
    max_size: int | None = None
    convert: bool = True

    def __post_init__(self) -> None:
        if self.channels not in (1, 3, RAW_PLANES):
            raise StoreError(f"channels is {self.channels}; expected 3 (RGB), 1 (gray) or 4 (camera RAW)")
        if self.max_size is not None and self.max_size < max(self.min_size, 1):
            raise StoreError(
                f"max_size is {self.max_size} and min_size {self.min_size}; expected a largest side that is not "
                "smaller than the smallest"
            )

    def problem(self, height: int, width: int, channels: int) -> str:
        """Why a picture is left out, in words; nothing if it is taken.

        >>> Selection(min_size=256).problem(300, 200, 3)
        '300 x 200 pixels: a side is shorter than 256'
        """
        if min(height, width) < self.min_size:
            return f"{height} x {width} pixels: a side is shorter than {self.min_size}"
        if self.max_size is not None and max(height, width) > self.max_size:
            return f"{height} x {width} pixels: a side is longer than {self.max_size}"
        if channels != self.channels and not self.convert:
            return "gray, not RGB" if self.channels == 3 else "RGB, not gray"
        return ""

    def converted(self, channels: int) -> Literal["", "gray to RGB", "RGB to gray"]:
        """What happens to a picture with so many channels."""
        if channels == self.channels:
            return ""
        return "gray to RGB" if self.channels == 3 else "RGB to gray"


def planes(pixels: npt.NDArray[Any], channels: int) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3) pixels -> (channels, H, W), in the same type.

    Gray becomes RGB by repeating it. RGB becomes gray as 0.299 R + 0.587 G + 0.114 B of the values as they are
    (no gamma is undone), rounded to the nearest integer in integer types.

    >>> planes(np.full((4, 6, 3), 200, np.uint8), 1).shape
    (1, 4, 6)
    """
    if channels not in (1, 3):
        raise StoreError(f"channels is {channels}; expected 3 (RGB) or 1 (gray)")
    if pixels.ndim == 2:
        return np.repeat(pixels[None], channels, axis=0)
    if channels == 3:
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    luma: npt.NDArray[Any] = pixels.astype(np.float64) @ np.array(_LUMA)
    if pixels.dtype.kind == "u":
        luma = np.floor(luma + 0.5)
    return luma.astype(pixels.dtype)[None]


def nothing_usable(
    path: Path, failed: Sequence[Failed], unsuited: Sequence[Unsuited], judged: Mapping[str, int] | None = None
) -> str:
    """One line for a folder or file where every picture, or every patch of them, was left out."""
    reasons = []
    if failed:
        reasons.append(f"{len(failed)} cannot be read (the first: {failed[0].reason})")
    if unsuited:
        reasons.append(f"{len(unsuited)} are not wanted (the first: {unsuited[0].name}, {unsuited[0].reason})")
    if judged:
        reasons.append(f"of the patches {', '.join(f'{count} are {reason}' for reason, count in judged.items())}")
    return f"{path}: none of its pictures can be used: {'; '.join(reasons)}"
