"""Tiles: a picture of any size through a network in pieces, with the same result as in one piece.

A network sees `halo` pixels around each pixel, and its strides fix a grid: windows start on multiples of `multiple`.
A plan covers the picture with windows that all have one shape (engines prepare themselves once per shape), overlap
by at least twice the halo, and never reach over the left and top border. To the right and at the bottom the picture
is continued by mirroring up to the next multiple, so sizes that do not divide, down to 1x1, need no special case.

::

    |<------- window ------->|
    |=== written ===|~ halo ~|                 picture border on the left: no halo there
              |~ halo ~|=== written ===|~ halo ~|
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ModelError

__all__ = ["DEFAULT_BUDGET", "Plan", "Tile", "plan_tiles", "read_tile"]

# Pixels per window unless told otherwise: 0.4 to 0.6 GB in the engine for the bundled models, more for the widest
# networks of the zoo. CPU engines gain nothing from larger windows except less halo: see docs/full-frames.md.
DEFAULT_BUDGET = 3_000_000


@dataclass(frozen=True, slots=True)
class Tile:
    """One window and the part of the picture that it is responsible for.

    Attributes:
        read: rows and columns of the window; may reach past the bottom and right border.
        write: rows and columns of the picture that are taken from this window's result.
    """

    read: tuple[slice, slice]
    write: tuple[slice, slice]

    @property
    def keep(self) -> tuple[slice, slice]:
        """`write` in the coordinates of the window."""
        rows, cols = (
            slice(write.start - read.start, write.stop - read.start)
            for read, write in zip(self.read, self.write, strict=True)
        )
        return rows, cols


@dataclass(frozen=True, slots=True)
class Plan:
    """How a picture of `height` x `width` is cut; every window has the shape `window`."""

    height: int
    width: int
    multiple: int
    halo: int
    window: tuple[int, int]
    tiles: tuple[Tile, ...]

    @property
    def work(self) -> float:
        """Pixels computed per pixel of the picture: 1 is no waste."""
        return len(self.tiles) * self.window[0] * self.window[1] / (self.height * self.width)

    def describe(self) -> dict[str, Any]:
        """The plan in numbers, for reports."""
        return {
            "tiles": len(self.tiles),
            "window": list(self.window),
            "halo": self.halo,
            "multiple": self.multiple,
            "work": round(self.work, 3),
        }


def plan_tiles(
    height: int,
    width: int,
    *,
    multiple: int = 1,
    halo: int = 0,
    tile: int | None = None,
    budget: int = DEFAULT_BUDGET,
    window: tuple[int, int] | None = None,
) -> Plan:
    """Cut a picture into windows.

    Args:
        height: rows of the picture.
        width: columns of the picture.
        multiple: windows start on, and measure, multiples of this.
        halo: context that a pixel needs on each side; rounded up to `multiple`.
        tile: longest side of a window, halo included. None: the cut with the least work in which no window has more
            than `budget` pixels; full-width strips where they win.
        budget: pixels per window; a network whose halo needs more gets the smallest window that leaves something.
        window: the one shape that a model file fixed to a size can take; smaller pictures are mirrored to fill it.
    """
    halo = _ceil(halo, multiple)
    full_height, full_width = _ceil(height, multiple), _ceil(width, multiple)
    smallest = 2 * halo + multiple
    if window is not None:
        rows, cols = _fixed(full_height, window[0], halo), _fixed(full_width, window[1], halo)
    elif tile is not None:
        side = tile - tile % multiple
        if side < min(smallest, max(full_height, full_width)):
            raise ModelError(
                f"a tile of {tile} pixels leaves nothing beside a halo of {halo} on both sides; "
                f"expected at least {smallest}, or leave the tile size out"
            )
        rows, cols = _cut(full_height, side, halo, multiple), _cut(full_width, side, halo, multiple)
    else:
        rows, cols = _least_work(full_height, full_width, halo, multiple, budget)
    tiles = tuple(
        Tile(
            (slice(top, top + rows.size), slice(left, left + cols.size)),
            (slice(y0, min(y1, height)), slice(x0, min(x1, width))),
        )
        for top, y0, y1 in rows.spans
        for left, x0, x1 in cols.spans
    )
    return Plan(height, width, multiple, halo, (rows.size, cols.size), tiles)


def read_tile(pixels: npt.NDArray[Any], tile: Tile) -> npt.NDArray[Any]:
    """The window of a tile, in the type of the picture: a view inside it, a mirrored copy over its borders."""
    height, width = pixels.shape[:2]
    rows, cols = tile.read
    if rows.start >= 0 and cols.start >= 0 and rows.stop <= height and cols.stop <= width:
        return pixels[rows, cols]
    inside = pixels[_mirrored(rows, height)]
    return inside[:, _mirrored(cols, width)]


@dataclass(frozen=True, slots=True)
class _Cut:
    """Windows of one `size` along an axis of `length`, each with `halo` towards its neighbours."""

    length: int
    size: int
    halo: int

    @property
    def count(self) -> int:
        """How many there are."""
        step = self.size - 2 * self.halo
        return 1 if self.length <= self.size else math.ceil((self.length - 2 * self.halo) / step)

    @property
    def spans(self) -> list[tuple[int, int, int]]:
        """Of each window, its start, and start and end of the part that it is responsible for."""
        step, last = self.size - 2 * self.halo, max(self.length - self.size, 0)
        starts = [min(k * step, last) for k in range(self.count)]
        seams = [0, *(start + self.halo for start in starts[1:]), self.length]
        return list(zip(starts, seams[:-1], seams[1:], strict=True))


def _ceil(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _cut(length: int, size: int, halo: int, multiple: int) -> _Cut:
    """Cover `length`, a multiple of `multiple`, with equal windows of at most `size`."""
    if length <= size:
        return _Cut(length, length, halo)
    count = math.ceil((length - 2 * halo) / (size - 2 * halo))
    even = 2 * halo + _ceil(math.ceil((length - 2 * halo) / count), multiple)  # as many windows, but even ones
    return _Cut(length, even, halo)


def _fixed(length: int, size: int, halo: int) -> _Cut:
    """Cover `length` with windows of exactly `size`, which no choice of ours can change."""
    if length > size and size <= 2 * halo:
        raise ModelError(
            f"the model is fixed to {size} pixels, which leaves nothing beside a halo of {halo} on both sides, and "
            f"the picture has {length}; export the model with a larger size, or with a free one"
        )
    return _Cut(length, size, halo)


def _least_work(height: int, width: int, halo: int, multiple: int, budget: int) -> tuple[_Cut, _Cut]:
    """The cut within the budget that computes the fewest pixels; among equals the one with the fewest columns."""
    smallest = 2 * halo + multiple
    best: tuple[int, _Cut, _Cut] | None = None
    for columns in itertools.count(1):
        share = 2 * halo + _ceil(math.ceil(max(width - 2 * halo, 1) / columns), multiple)
        cols = _cut(width, share, halo, multiple)
        room = budget // cols.size
        rows = _cut(height, max(room - room % multiple, smallest), halo, multiple)
        work = rows.count * rows.size * cols.count * cols.size
        if rows.size * cols.size <= budget and (best is None or work < best[0]):
            best = (work, rows, cols)
        if cols.size <= max(smallest, math.isqrt(budget) // 2):  # narrower windows only add halo
            break
    return (rows, cols) if best is None else best[1:]


def _mirrored(window: slice, length: int) -> npt.NDArray[np.intp]:
    """Indices of a window in an axis continued by mirroring about its last sample, as often as needed."""
    period = max(2 * (length - 1), 1)
    index = np.arange(window.start, window.stop) % period
    return np.where(index < length, index, period - index)
