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
    part = _part(folder, side, x, y, size * every)
    if 0 in part.shape:
        raise RefusedError(f"the picture does not reach to {x}, {y}", 404)
    pixels = _eight_bits(_mean(part, every), 255 if part.dtype == np.uint8 else 65535, side)
    target = io.BytesIO()
    icc = folder / ("after.icc" if side == "after" else "before.icc")
    profile = icc.read_bytes() if icc.exists() and side != "removed" else None
    Pillow.fromarray(pixels).save(target, "PNG", compress_level=1, icc_profile=profile)
    return target.getvalue()


def _part(folder: Path, side: str, x: int, y: int, span: int) -> npt.NDArray[Any]:
    place = slice(y, y + span), slice(x, x + span)
    if side != "removed":
        return np.asarray(_opened(folder / f"{side}.npy")[place])
    before, after = (
        _opened(folder / f"{name}.npy")[place].astype(np.float32) * (65535 / full)
        for name, full in (("before", _white(folder, "before")), ("after", _white(folder, "after")))
    )
    if before.ndim < after.ndim:  # a gray picture in a format that only knows colours
        before = before[:, :, None]
    return np.asarray(before - after)


def _white(folder: Path, side: str) -> int:
    return 255 if _opened(folder / f"{side}.npy").dtype == np.uint8 else 65535


def _mean(part: npt.NDArray[Any], every: int) -> npt.NDArray[Any]:
    """Means of blocks; those at the right and bottom may be smaller ones."""
    if every == 1:
        return part
    rows, cols = (range(0, length, every) for length in part.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(part, rows, axis=0, dtype=np.float32), cols, axis=1)
    high = np.diff([*rows, part.shape[0]]).astype(np.float32)
    wide = np.diff([*cols, part.shape[1]]).astype(np.float32)
    count = high[:, None] * wide
    return np.asarray(sums / (count if part.ndim == 2 else count[:, :, None]))


def _eight_bits(values: npt.NDArray[Any], white: int, side: str) -> Pixels:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    unit = values.astype(np.float32) * np.float32(255 / white)
    if side == "removed":
        unit = unit * AMPLIFIED + 128
    return np.asarray(np.clip(np.floor(unit + np.float32(0.5)), 0, 255), np.uint8)


def _opened(path: Path) -> npt.NDArray[Any]:
    """The pixels, of which only those that are looked at are read."""
    try:
        loaded: npt.NDArray[Any] = np.load(path, mmap_mode="r")
        return loaded
    except OSError:
        raise RefusedError("this picture is not there any more; open the file again", 404) from None


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
