"""Pictures of a folder as samples: what a store holds, without packing it first."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError, StoreError
from shotnoise.images import list_pictures, open_image
from shotnoise.store.record import Record, encoded_key

__all__ = ["Failed", "Picture", "PictureFolder", "Selection", "Unsuited", "nothing_usable", "planes", "read_pictures"]

log = logging.getLogger(__name__)

# Rec. 601 luma, the gray of JPEG and of the published gray test sets.
_LUMA = (0.299, 0.587, 0.114)

_BUDGET = 2 * 2**30


@dataclass(frozen=True)
class Picture:
    """A picture that can be used: (C, H, W) in the type it had on disk, and what happened on reading it."""

    name: str
    pixels: npt.NDArray[Any]
    converted: Literal["", "gray to RGB", "RGB to gray"] = ""
    notes: tuple[str, ...] = ()


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
        channels: 3 for RGB, 1 for gray.
        min_size: both sides must be at least this long.
        max_size: both sides may be at most this long; None for any length.
        convert: turn pictures of the other kind into gray or RGB; otherwise they are left out.
    """

    channels: int = 3
    min_size: int = 0
    max_size: int | None = None
    convert: bool = True

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise StoreError(f"channels is {self.channels}; expected 3 (RGB) or 1 (gray)")
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


def read_pictures(
    folder: str | os.PathLike[str], selection: Selection
) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """The number of pictures in a folder, and the pictures one by one, sorted by their path below it.

    One that cannot be read is yielded as :class:`Failed`, so that it does not stop the rest.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise StoreError(f"{folder}: {what}; expected a folder of pictures or a .tfrecords file")
    paths = list_pictures(folder)
    return len(paths), (_read(path, folder, selection) for path in paths)


def _read(path: Path, folder: Path, selection: Selection) -> Picture | Unsuited | Failed:
    name = path.relative_to(folder).as_posix()
    try:
        encoded_key(name)
        image = open_image(path)
    except (StoreError, PictureError) as error:
        return Failed(name.encode(errors="backslashreplace").decode(), str(error))
    problem = selection.problem(image.height, image.width, image.channels)
    if problem:
        return Unsuited(name, problem)
    return Picture(name, planes(image.pixels, selection.channels), selection.converted(image.channels), image.notes)


class PictureFolder:
    """The pictures of a folder, decoded once into memory, with the reading interface of a store.

    Every record has one array, "clean": (C, H, W) in the type the picture had on disk. Broken pictures are logged
    as warnings, listed in `failed` and left out.

    Args:
        path: the folder; searched with its subfolders.
        channels: 3 for RGB, 1 for gray; other pictures are converted by the rule of :func:`planes`.
        min_size: leave out pictures with a side shorter than this.
        max_size: leave out pictures with a side longer than this; None for any length.
        budget: bytes of memory that the decoded pictures may take.
        progress: called with (done, total) after each picture.

    Attributes:
        failed: pictures that could not be used, with the reason.
        unsuited: pictures left out because of `min_size` or `max_size`.
        converted: how many pictures were turned from gray to RGB or from RGB to gray.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        channels: int = 3,
        min_size: int = 0,
        max_size: int | None = None,
        budget: int = _BUDGET,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.path = Path(path)
        self.failed: list[Failed] = []
        self.unsuited: list[Unsuited] = []
        self.converted = 0
        self._records: list[Record] = []
        used = 0
        total, pictures = read_pictures(self.path, Selection(channels, min_size, max_size))
        for done, picture in enumerate(pictures, 1):
            if isinstance(picture, Failed):
                log.warning("left out: %s", picture.reason)
                self.failed.append(picture)
            elif isinstance(picture, Unsuited):
                self.unsuited.append(picture)
            else:
                self.converted += bool(picture.converted)
                used += picture.pixels.nbytes
                if used > budget:
                    raise StoreError(
                        f"{self.path}: its pictures take more than {budget / 2**30:.3g} GiB of memory "
                        f"({done} of {total} decoded); pack the folder first with `shotnoise pack {self.path} STORE`"
                    )
                picture.pixels.flags.writeable = False  # as in a store: samples are shared, not owned
                self._records.append(Record(picture.name, {"clean": picture.pixels}, {"picture": picture.name}))
            if progress:
                progress(done, total)
        if not self._records:
            raise StoreError(nothing_usable(self.path, self.failed, self.unsuited))
        if 0 < self.converted < len(self._records):
            log.warning(
                "%s: gray and RGB pictures are mixed; %d of %d were converted to %s",
                self.path,
                self.converted,
                len(self._records),
                "RGB" if channels == 3 else "gray",
            )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def keys(self) -> tuple[str, ...]:
        """The paths of the pictures below the folder, in their order."""
        return tuple(record.key for record in self._records)


def nothing_usable(path: Path, failed: Sequence[Failed], unsuited: Sequence[Unsuited]) -> str:
    """One line for a folder or file where every picture was left out."""
    reasons = []
    if failed:
        reasons.append(f"{len(failed)} cannot be read (the first: {failed[0].reason})")
    if unsuited:
        reasons.append(f"{len(unsuited)} are not wanted (the first: {unsuited[0].name}, {unsuited[0].reason})")
    return f"{path}: none of its pictures can be used: {'; '.join(reasons)}"
