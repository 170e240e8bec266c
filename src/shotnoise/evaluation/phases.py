"""Small mosaics of any Bayer phase as the planes that a network knows, for sets that are cut into blocks."""

from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images.raw.bayer import Pattern, join, sites, split

__all__ = ["to_mosaic", "to_planes"]


def to_planes(mosaic: npt.NDArray[Any], pattern: Pattern) -> npt.NDArray[Any]:
    """(H, W) with even sides -> (4, H/2, W/2), mirrored where that takes to make it RGGB.

    Mirroring keeps the size, where moving the origin, as :func:`shotnoise.images.raw.bayer.align` does it, would add a
    border; benchmarks are defined so.

    >>> to_planes(np.array([[1, 2], [3, 4]]), "BGGR").ravel().tolist()
    [4, 3, 2, 1]
    """
    if mosaic.ndim != 2 or any(side % 2 for side in mosaic.shape):
        raise PictureError(f"a mosaic of shape {mosaic.shape}; expected (H, W) with even sides")
    return split(_mirrored(mosaic, pattern), "RGGB")


def to_mosaic(planes: npt.NDArray[Any], pattern: Pattern) -> npt.NDArray[Any]:
    """The inverse of :func:`to_planes`."""
    return np.ascontiguousarray(_mirrored(join(planes, "RGGB"), pattern))


def _mirrored(mosaic: npt.NDArray[Any], pattern: Pattern) -> npt.NDArray[Any]:
    row, column = sites(pattern)[0]
    return mosaic[:: -1 if row else 1, :: -1 if column else 1]
