"""Pictures as the viewer asks for them: windows of real pixels, and files to take home."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from shotnoise.web.limits import RefusedError

__all__ = ["AMPLIFIED", "Side", "archive", "window"]

Side = Literal["before", "after", "removed"]
Pixels = npt.NDArray[np.uint8]

AMPLIFIED = 8
"""What was removed is shown around gray, this many times as strong."""

_LARGEST = 1024  # pixels of a side of a window


def window(folder: Path, side: str, x: int, y: int, size: int, every: int) -> bytes:
    """A part of a picture as PNG, without loss, with the colour profile of the file.

    Args:
        folder: in which `before.npy` and `after.npy` lie.
        side: which picture; "removed" is before - after.
        x: left column of the part, in pixels of the whole picture.
        y: top row.
        size: of the part that comes back, in its own pixels; less at the edges.
        every: 1 for real pixels; more makes each pixel the mean of so many in each direction.
    """
    from PIL import Image as Pillow

    if side not in get_args(Side) or not (1 <= size <= _LARGEST and 1 <= every <= 1024 and min(x, y) >= 0):
        raise RefusedError(f"no view '{side}' at {x}, {y} of size {size} every {every}", 400)
    place = slice(y, y + size * every), slice(x, x + size * every)
    if side == "removed":
        before, after = (_means(_part(folder, one, place), every) for one in ("before", "after"))
        if before.ndim < after.ndim:  # a gray picture in a format that only knows colours
            before = before[:, :, None]
        pixels = _rounded(128 + AMPLIFIED * (before - after))
    else:
        part = _part(folder, side, place)
        exact = every == 1 and part.dtype == np.uint8
        pixels = np.ascontiguousarray(part) if exact else _rounded(_means(part, every))
    target = io.BytesIO()
    icc = folder / ("after.icc" if side == "after" else "before.icc")
    profile = icc.read_bytes() if icc.exists() and side != "removed" else None
    Pillow.fromarray(pixels).save(target, "PNG", compress_level=1, icc_profile=profile)
    return target.getvalue()


def _part(folder: Path, side: str, place: tuple[slice, slice]) -> npt.NDArray[Any]:
    """Stored pixels, of which only those that are looked at are read."""
    try:
        part: npt.NDArray[Any] = np.load(folder / f"{side}.npy", mmap_mode="r")[place]
    except OSError:
        raise RefusedError("this picture is not there any more; open the file again", 404) from None
    if 0 in part.shape:
        raise RefusedError(f"the picture does not reach to {place[1].start}, {place[0].start}", 404)
    return part


def _means(part: npt.NDArray[Any], every: int) -> npt.NDArray[np.float32]:
    """Means of blocks in 0..255; those at the right and bottom may be smaller ones."""
    unit = np.float32(255 / np.iinfo(part.dtype).max)
    if every == 1:
        return np.asarray(part * unit, np.float32)
    rows, cols = (range(0, length, every) for length in part.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(part, rows, axis=0, dtype=np.float32), cols, axis=1)
    high = np.diff([*rows, part.shape[0]]).astype(np.float32)
    wide = np.diff([*cols, part.shape[1]]).astype(np.float32)
    count = high[:, None] * wide
    return np.asarray(sums / (count if part.ndim == 2 else count[:, :, None]) * unit)


def _rounded(values: npt.NDArray[np.float32]) -> Pixels:
    return np.asarray(np.clip(np.floor(values + np.float32(0.5)), 0, 255), np.uint8)


def archive(files: dict[str, Path], report: dict[str, Any]) -> Iterator[bytes]:
    """A ZIP of the files and of what was done to them, made while it is sent: nothing of it lies on disk."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as target:
        for name, path in files.items():
            with path.open("rb") as source, target.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                while block := source.read(2**20):
                    entry.write(block)
                    yield sink.take()
            yield sink.take()
        target.writestr("report.json", json.dumps(report, indent=2))
    yield sink.take()


class _Sink(io.RawIOBase):
    """What a ZIP is written into, and taken out of again piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
