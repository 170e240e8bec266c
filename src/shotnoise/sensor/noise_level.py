"""How noisy is this picture? A blind estimate of white noise, without calibration and without a clean copy.

The idea of N. N. Ponomarenko, V. V. Lukin, M. S. Zriakhov, A. Kaarna and J. Astola, "An automatic approach to lossy
compression of AVIRIS images", IGARSS 2007, as analysed by M. Colom and A. Buades, "Analysis and Extension of the
Ponomarenko et al. Method", IPOL 2013: take all small patches to the cosine transform, keep the few with the least
energy in the *low* frequencies, and measure the noise in their *high* frequencies. The two sets are independent for
white noise, so choosing quiet patches does not bias the measurement, and texture is left out. Differs from the
papers: one level for the whole picture, no correction for the remaining texture, and the rules for flat and clipped
areas below.

Noise that is not white, as after demosaicing, scaling or strong JPEG compression, lacks high frequencies: there the
estimate is too low.
"""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from shotnoise.images.image import full_scale

__all__ = ["SIDE", "cosine_transform", "estimate_sigma", "patches"]

SIDE = 8
"""Of a patch."""

_SPLIT = 7  # frequencies with row + column below this are low
_QUIET = 0.01  # share of the patches that is measured
_LEAST = 100  # patches that are measured where there are so many
_ABSURD = 1e9  # times white, and everything that is not finite: no picture, and its square would overflow
_SAMPLE = 2**18  # pixels looked at in a large picture
_BLOCK = 128  # in blocks of this side, spread evenly


def estimate_sigma(pixels: npt.NDArray[Any]) -> float:
    """Standard deviation of the noise of a picture, in units of 0..1.

    Within 10 % on photographs for white noise from 5 to 50 counts of 255; a clean photograph measures 0 to 2 counts,
    which is partly its own grain. 0.0 where there is nothing to measure, as in pictures under 8x8.

    Args:
        pixels: (H, W) or (H, W, C), uint8, uint16 or floating point in 0..1. Channels are measured one by one and
            their variances averaged. Values that are not finite, clipped areas and artificially flat areas are left
            out.
    """
    white = full_scale(pixels.dtype)
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if min(planes.shape[:2]) < SIDE or planes.shape[2] == 0:
        return 0.0
    variances = [_variance(patches(planes[:, :, c]).astype(np.float32), white) for c in range(planes.shape[2])]
    return math.sqrt(sum(variances) / len(variances)) / white


def patches(plane: npt.NDArray[Any], *, sample: int = _SAMPLE) -> npt.NDArray[Any]:
    """(N, 64) patches of a plane, or of blocks spread evenly over one with more pixels than the sample."""
    height, width = plane.shape
    step = 1 if plane.size <= sample // 4 else 2
    if plane.size <= sample:
        return _windows(plane, step)
    # as many blocks along each side as its share of the sample allows
    rows = max(1, round(math.sqrt(sample * height / width) / _BLOCK))
    cols = max(1, sample // (_BLOCK**2 * rows))
    tops = np.unique(np.linspace(0, max(height - _BLOCK, 0), rows).astype(int))
    lefts = np.unique(np.linspace(0, max(width - _BLOCK, 0), cols).astype(int))
    return np.concatenate(
        [_windows(plane[top : top + _BLOCK, left : left + _BLOCK], step) for top in tops for left in lefts]
    )


def _windows(block: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    return sliding_window_view(block, (SIDE, SIDE))[::step, ::step].reshape(-1, SIDE * SIDE)


def _variance(patches: npt.NDArray[np.float32], white: float) -> float:
    """Noise variance from patches in units of the picture."""
    if white == 1:  # floating point
        patches = patches[(np.abs(patches) < _ABSURD).all(axis=1)]
    usable = _usable(patches, white)
    patches = patches if usable.all() else patches[usable]
    if len(patches) == 0:
        return 0.0
    transform, low = cosine_transform()
    energy = np.square(patches @ transform[:, 1:low]).sum(axis=1)  # column 0 is the mean
    count = min(max(round(_QUIET * len(patches)), _LEAST), len(patches))
    quiet = np.argpartition(energy, count - 1)[:count]
    return float(np.median(np.square(patches[quiet] @ transform[:, low:]).mean(axis=0)))


def _usable(patches: npt.NDArray[np.float32], white: float) -> npt.NDArray[np.bool_]:
    """Which patches carry the noise of the picture."""
    usable: npt.NDArray[np.bool_] = (patches[:, 1:] != patches[:, :1]).any(axis=1)
    drawn = 2 * np.count_nonzero(usable) < len(patches)
    if drawn:  # mostly areas of exactly one value: a drawing, a screenshot, whose flat parts are the truth
        usable[:] = True
    clipped = ((patches == 0) | (patches == white)).sum(axis=1)
    enough = max(_LEAST, len(patches) // 20)
    limit = 0
    if np.count_nonzero(usable & (clipped == 0)) < enough:  # noise that reaches black or white nearly everywhere
        candidates = np.sort(clipped[usable])
        limit = patches.shape[1] if drawn or not len(candidates) else candidates[:enough][-1]
    usable &= clipped <= limit
    return usable


@functools.cache
def cosine_transform() -> tuple[npt.NDArray[np.float32], int]:
    """The orthonormal 8x8 cosine transform as a (64, 64) matrix: low frequencies in its first columns; their count."""
    k, n = np.mgrid[:SIDE, :SIDE]
    basis = np.cos(np.pi * (2 * n + 1) * k / (2 * SIDE)) * math.sqrt(2 / SIDE)
    basis[0] /= math.sqrt(2)
    order = np.argsort((k + n).ravel(), kind="stable")
    return np.kron(basis, basis)[order].T.astype(np.float32), int(np.count_nonzero(k + n < _SPLIT))
