"""Making pictures smaller or larger as MATLAB's `imresize` does it, on which published pairs of sizes are defined.

Bicubic interpolation (Keys, a = -0.5), along the rows and along the columns. Where a picture shrinks, the kernel is as
much wider as it shrinks, so nothing folds over. OpenCV and Pillow sample elsewhere or do not widen, and are off by up
to several 8-bit steps.
"""

import math

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError

__all__ = ["resize_bicubic"]

_WIDTH = 4.0  # of the kernel
_BAND = 16  # output rows that are computed together, few enough to stay in the cache


def resize_bicubic(picture: npt.NDArray[np.generic], scale: float) -> npt.NDArray[np.float32]:
    """Resize a picture; values may leave their range at edges, nothing is clipped.

    Args:
        picture: (H, W) or (H, W, C) of any range.
        scale: 0.25 makes both sides a quarter as long, rounded up.

    Returns:
        (ceil(H scale), ceil(W scale)) or the same with C.

    >>> resize_bicubic(np.full((8, 12, 3), 0.5, np.float32), 0.25).shape
    (2, 3, 3)
    """
    if picture.ndim not in (2, 3) or 0 in picture.shape:
        raise PictureError(f"a picture of shape {picture.shape} cannot be resized; expected (H, W) or (H, W, C)")
    if not (math.isfinite(scale) and scale > 0):
        raise PictureError(f"a picture cannot be resized by {scale}; expected a factor above 0, as in 0.25")
    rows = _along_rows(np.asarray(picture, np.float32), scale)
    return np.ascontiguousarray(_along_rows(rows.swapaxes(0, 1), scale).swapaxes(0, 1))


def _along_rows(values: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.float32]:
    """(H, ...) -> (ceil(H scale), ...): a sum over the taps of the kernel, some output rows at a time.

    Not a matrix product: those start threads of their own, in each of the processes that prepare samples.
    """
    places, weights = _taps(len(values), scale)
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    result = np.zeros((len(places), flat.shape[1]), np.float32)
    for start in range(0, len(places), _BAND):
        band = result[start : start + _BAND]
        rows = np.empty_like(band)
        for place, weight in zip(places[start : start + _BAND].T, weights[start : start + _BAND].T, strict=True):
            np.take(flat, place, axis=0, out=rows, mode="clip")  # they are all inside; the default mode is slower
            rows *= weight[:, None]
            band += rows
    return result.reshape(len(places), *values.shape[1:])


def _taps(length: int, scale: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each output sample the input samples it is made of, mirrored at the borders, and their weights."""
    shrink = min(scale, 1.0)
    width = _WIDTH / shrink
    centres = (np.arange(math.ceil(length * scale)) + 0.5) / scale - 0.5
    first = np.floor(centres - width / 2)
    places = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = _cubic(shrink * (centres[:, None] - places))
    weights /= weights.sum(1, keepdims=True)
    used = (weights != 0).any(0)
    mirrored = places[:, used].astype(np.intp) % (2 * length)
    return np.minimum(mirrored, 2 * length - 1 - mirrored), weights[:, used].astype(np.float32)


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((2.5 - 0.5 * x) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
