"""How the colours of a Bayer mosaic lie: four phases of one 2x2 cell, and the four planes that they come apart into.

The planes are always R, G on the R row, G on the B row, B, whatever the phase. Splitting moves no pixel relative to its
own plane, but where in the cell a plane lies depends on the phase. A network knows one geometry; :func:`align` gives it
that one by moving the origin of the mosaic, never by exchanging planes.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["PATTERNS", "PLANES", "Alignment", "Pattern", "align", "join", "seen_from", "sites", "split"]

Pattern = Literal["RGGB", "GRBG", "GBRG", "BGGR"]
PATTERNS: tuple[Pattern, ...] = ("RGGB", "GRBG", "GBRG", "BGGR")
PLANES = ("R", "Gr", "Gb", "B")

Array = npt.NDArray[Any]


class Alignment(NamedTuple):
    """What :func:`align` added, to be cut off again: rows above and columns to the left, and the size there was."""

    top: int
    left: int
    height: int
    width: int

    def undo(self, mosaic: Array) -> Array:
        """The part of an aligned mosaic that was the whole one."""
        return mosaic[self.top : self.top + self.height, self.left : self.left + self.width]


def sites(pattern: Pattern) -> tuple[tuple[int, int], ...]:
    """(row, column) in the cell of each plane, in the order of :data:`PLANES`.

    >>> sites("GRBG")
    ((0, 1), (0, 0), (1, 1), (1, 0))
    """
    row, col = divmod(pattern.index("R"), 2)
    return (row, col), (row, 1 - col), (1 - row, col), (1 - row, 1 - col)


def seen_from(pattern: Pattern, row: int, col: int) -> Pattern:
    """The pattern of a mosaic whose first `row` rows and `col` columns are left out.

    >>> seen_from("RGGB", 0, 1)
    'GRBG'
    """
    cell = (pattern[:2], pattern[2:])
    letters = "".join(cell[(y + row) % 2][(x + col) % 2] for y in (0, 1) for x in (0, 1))
    return PATTERNS[PATTERNS.index(letters)]


def split(mosaic: Array, pattern: Pattern) -> Array:
    """(H, W) with even sides -> (4, H/2, W/2), a copy in the same type."""
    height, width = mosaic.shape
    planes = np.empty((4, height // 2, width // 2), mosaic.dtype)
    for plane, (row, col) in zip(planes, sites(pattern), strict=True):
        plane[:] = mosaic[row::2, col::2]
    return planes


def join(planes: Array, pattern: Pattern) -> Array:
    """The inverse of :func:`split`."""
    mosaic = np.empty((2 * planes.shape[1], 2 * planes.shape[2]), planes.dtype)
    for plane, (row, col) in zip(planes, sites(pattern), strict=True):
        mosaic[row::2, col::2] = plane
    return mosaic


def align(mosaic: Array, pattern: Pattern) -> tuple[Array, Alignment]:
    """An RGGB mosaic with even sides that holds this one, continued by reflection where it had to grow.

    Reflection about the outermost sample keeps the colours in their places. A mosaic that fits is returned as it is.
    """
    height, width = mosaic.shape
    top, left = sites(pattern)[0]  # what lies before the first red row and column; R must be at the origin
    bottom, right = (top + height) % 2, (left + width) % 2
    alignment = Alignment(top, left, height, width)
    if not (top or left or bottom or right):
        return mosaic, alignment
    return np.pad(mosaic, ((top, bottom), (left, right)), mode="reflect"), alignment
