"""From a volume to slices, as the MRI experiment of Noise2Noise prepares the IXI brains, and to what a network sees."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError

__all__ = ["BLACK", "FIRST", "SIDE", "STOP", "bordered", "centred", "odd", "slices_of", "to_signal"]

BLACK = -0.5
"""The signal where there is none; what slices are continued with."""

SIDE = 256
FIRST, STOP = 25, 125  # of the slices along the third axis; the published hundred

_NEARLY_EMPTY = 1  # of 255: a slice whose brightest pixel is no brighter is left out

Slice = npt.NDArray[np.uint8]


def slices_of(
    values: npt.NDArray[np.floating[Any]], *, first: int = FIRST, stop: int = STOP, side: int = SIDE
) -> Iterator[tuple[int, Slice | None]]:
    """The slices of a volume along its third axis, with their numbers; None in place of those that are empty.

    Values are divided by the maximum of the volume, limited to 0..1, and cut down to whole counts of 255.

    Args:
        values: (X, Y, Z).
        first: number of the first slice.
        stop: number of the slice behind the last one.
        side: of the square that each slice is centred in, with black around it.
    """
    if not 0 <= first < stop <= values.shape[2]:
        raise PictureError(
            f"the slices {first}:{stop} are asked for, and it has 0:{values.shape[2]}; choose a range inside"
        )
    if max(values.shape[:2]) > side:
        size = "x".join(map(str, values.shape[:2]))
        raise PictureError(f"its slices are {size}; expected at most {side}x{side}, choose a larger side")
    finite = np.isfinite(values)
    if not finite.all():
        raise PictureError(f"{np.count_nonzero(~finite)} of its values are not finite; put numbers in their place")
    highest = np.float32(values.max())
    if highest <= 0:
        raise PictureError(f"its largest value is {highest:g}; expected a signal above 0")
    return _slices(values, highest, range(first, stop), side)


def _slices(
    values: npt.NDArray[np.floating[Any]], highest: np.float32, numbers: range, side: int
) -> Iterator[tuple[int, Slice | None]]:
    for number in numbers:
        share = np.clip(centred(values[:, :, number].astype(np.float32) / highest, side), 0, 1)
        counts = (share * np.float32(255)).astype(np.uint8)
        yield number, None if counts.max() <= _NEARLY_EMPTY else counts


def centred(image: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """(H, W) in the middle of a black square; where the border cannot be even, the first one is the thinner."""
    borders = [((side - length) // 2, side - length - (side - length) // 2) for length in image.shape]
    return np.pad(image, borders)


def to_signal(counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """8-bit counts -> what networks and k-space work on, -0.5..0.5."""
    result: npt.NDArray[np.float32] = counts.astype(np.float32) / np.float32(255) - np.float32(0.5)
    return result


def odd(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(..., H, W) without its last row or column where their number is even.

    >>> odd(np.zeros((256, 255))).shape
    (255, 255)
    """
    height, width = ((side - 1) | 1 for side in image.shape[-2:])
    return image[..., :height, :width]


def bordered(
    signal: npt.NDArray[np.float32], multiple: int, size: tuple[int, int] | None = None
) -> npt.NDArray[np.float32]:
    """(..., H, W) continued with black at the bottom and right, to a size that a model takes.

    Args:
        signal: in -0.5..0.5.
        multiple: that height and width must be of.
        size: to which the model is fixed, if it is.
    """
    height, width = signal.shape[-2:]
    below, beside = size or (height + -height % multiple, width + -width % multiple)
    bottom, right = below - height, beside - width
    if bottom < 0 or right < 0:
        raise PictureError(
            f"slices of {height}x{width}, and the model is fixed to {below}x{beside}; export it with a free or larger "
            "size"
        )
    around = [(0, 0)] * (signal.ndim - 2) + [(0, bottom), (0, right)]
    return np.pad(signal, around, constant_values=BLACK)
