"""A single picture made fit to be learnt from, and which parts of any picture are good enough for it."""

from collections import Counter
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from shotnoise.errors import PictureError
from shotnoise.sensor.law import NoiseLaw

__all__ = ["Mended", "PatchRules", "block_means", "clean_planes", "patch_is_clean", "repair_defects"]

Planes = npt.NDArray[np.float32]


class Mended(NamedTuple):
    """Planes after :func:`clean_planes`, and how many defect pixels were replaced."""

    planes: Planes
    repaired: int


def clean_planes(planes: Planes, law: NoiseLaw, *, how: str = "filter") -> Mended:
    """A single frame with its defect pixels mended and its noise reduced, without inventing anything.

    Args:
        planes: (4, H, W) normalised planes R, Gr, Gb, B of an RGGB mosaic.
        law: their noise.
        how: "filter": details that do not rise above the noise expected at their brightness are taken out, at the two
            finest scales; "half": half as large, colours still in their places in the mosaic, variance 0.39 of what it
            was; "none": defect pixels only.
    """
    if how not in ("filter", "half", "none"):
        raise PictureError(f"how is '{how}'; expected 'filter', 'half' or 'none'")
    if planes.ndim != 3 or len(planes) != 4:
        raise PictureError(f"an array of shape {planes.shape}; expected (4, H, W) planes R, Gr, Gb, B")
    result = planes.astype(np.float32)
    repaired = repair_defects(result, law)
    if how == "filter":
        result = np.stack([_filtered(plane, law, number) for number, plane in enumerate(result)])
    elif how == "half":
        result = _halved(result)
    return Mended(result, repaired)


@dataclass(frozen=True, slots=True)
class PatchRules:
    """Which patches are good enough to be learnt from.

    Attributes:
        noise: largest standard deviation, normalised, as estimated from second differences.
        saturated: largest share of values that reach white.
        flat: least contrast: standard deviation of 4 x 4 means over their mean plus 1 % of white; 0 takes all.
    """

    noise: float = 0.005
    saturated: float = 0.02
    flat: float = 0.01

    def problem(self, planes: npt.NDArray[Any]) -> str:
        """Why a patch (4, H, W) is not taken: "saturated", "noisy" or "flat"; nothing if it is."""
        if np.mean(planes >= 0.995) > self.saturated:
            return "saturated"
        if _noise_of(planes) > self.noise:
            return "noisy"
        side = min(4, *planes.shape[1:])
        means = block_means(planes, side)
        contrast = means.std((1, 2)) / (np.maximum(means.mean((1, 2)), 0) + 0.01)
        return "flat" if float(contrast.max()) < self.flat else ""


def patch_is_clean(
    planes: npt.NDArray[Any], rules: PatchRules | None = None, counts: "Counter[str] | None" = None
) -> bool:
    """Whether a patch is good enough to be learnt from.

    Args:
        planes: (4, H, W), normalised.
        rules: None: the usual ones.
        counts: is told what happened: "kept", or the reason.

    Examples:
        >>> counts = Counter()
        >>> patch_is_clean(np.ones((4, 32, 32), np.float32), counts=counts), dict(counts)
        (False, {'saturated': 1})
    """
    problem = (rules or PatchRules()).problem(planes)
    if counts is not None:
        counts[problem or "kept"] += 1
    return not problem


def repair_defects(planes: Planes, law: NoiseLaw) -> int:
    """Replace, in place, pixels that stand out of all eight neighbours of their plane; how many.

    A point of light falls on several colours at once; a defect pixel is alone in its cell.
    """
    height, width = planes.shape[1:]
    if min(height, width) < 3:
        return 0
    stands_out, off = np.empty(planes.shape, bool), np.empty_like(planes)
    for number, plane in enumerate(planes):
        around = sliding_window_view(np.pad(plane, 1, mode="reflect"), (3, 3))
        low, high, total = np.full_like(plane, np.inf), np.full_like(plane, -np.inf), np.zeros_like(plane)
        for row, col in ((row, col) for row in range(3) for col in range(3) if (row, col) != (1, 1)):
            np.minimum(low, around[:, :, row, col], out=low)
            np.maximum(high, around[:, :, row, col], out=high)
            total += around[:, :, row, col]
        margin = 6 * np.sqrt(law.variance((low + high) / 2, number)) + (high - low)
        stands_out[number] = (plane > high + margin) | (plane < low - margin)
        off[number] = np.abs(plane - total / 8)
    detail = off.sum(axis=0) - off  # what the other colours of the cell have at this place
    alone = stands_out & (off > 3 * detail)
    for number, row, col in np.argwhere(alone):
        rows, cols = np.meshgrid(_mirrored(row, height), _mirrored(col, width), indexing="ij")
        neighbours = np.delete(planes[number, rows, cols].ravel(), 4)
        planes[number, row, col] = np.median(neighbours)
    return int(alone.sum())


def _mirrored(place: int, size: int) -> npt.NDArray[np.int64]:
    """A place and those beside it, reflected at the border."""
    near = np.abs(np.arange(place - 1, place + 2))
    return np.where(near >= size, 2 * (size - 1) - near, near)


def _filtered(plane: npt.NDArray[np.float32], law: NoiseLaw, number: int) -> Planes:
    """Undecimated wavelets of a B3 spline, two scales, without coefficients under 3 sigma at the local brightness."""
    if min(plane.shape) < 9:
        return plane
    result = np.zeros_like(plane)
    rest = plane
    coarse = _blurred(_blurred(plane, 1), 2)
    sigma = np.sqrt(law.variance(coarse, number)).astype(np.float32)
    for distance, share in ((1, 0.8908), (2, 0.2007)):  # standard deviations of the two scales for white noise
        smooth = _blurred(rest, distance)
        detail = rest - smooth
        result += np.where(np.abs(detail) > 3 * share * sigma, detail, 0)
        rest = smooth
    return (result + rest).astype(np.float32)


def _blurred(plane: npt.NDArray[np.float32], distance: int) -> npt.NDArray[np.float32]:
    """1 4 6 4 1 along both axes, with `distance` pixels between the taps."""
    for axis in (0, 1):
        margin = [(2 * distance, 2 * distance) if axis == one else (0, 0) for one in (0, 1)]
        padded = np.pad(plane, margin, mode="reflect")
        size = plane.shape[axis]
        taps = [padded.take(range(shift * distance, shift * distance + size), axis) for shift in range(5)]
        plane = (taps[0] + taps[4] + 4 * (taps[1] + taps[3]) + 6 * taps[2]) / np.float32(16)
    return plane


def _halved(planes: Planes) -> Planes:
    """Half as large; of two neighbours, the one nearer to the colour's place in the larger cell counts three times."""
    height, width = planes.shape[1] // 2 * 2, planes.shape[2] // 2 * 2
    if min(height, width) < 2:
        raise PictureError(
            f"planes of {planes.shape[2]} x {planes.shape[1]} pixels; expected two along each side to halve"
        )
    weights = np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)  # colours at the start and at the end of their cell
    cells = planes[:, :height, :width].reshape(4, height // 2, 2, width // 2, 2)
    down, across = weights[[0, 0, 1, 1]], weights[[0, 1, 0, 1]]  # R, Gr, Gb, B of an RGGB mosaic
    result: Planes = np.einsum("pyixj,pi,pj->pyx", cells, down, across).astype(np.float32)
    return result


def _noise_of(planes: npt.NDArray[Any]) -> float:
    """Standard deviation of the noise, from the median of the second differences; the largest of the planes."""
    found = []
    for plane in planes:
        across = plane[:, :-2] - 2 * plane[:, 1:-1] + plane[:, 2:]
        down = plane[:-2] - 2 * plane[1:-1] + plane[2:]
        found.append(min(float(np.median(np.abs(one))) if one.size else 0.0 for one in (across, down)))
    return 1.4826 * max(found) / sqrt(6)


def block_means(planes: npt.NDArray[Any], side: int) -> npt.NDArray[np.float64]:
    """Means of square blocks, (C, H // side, W // side); what is left over at the ends is left out."""
    count, height, width = planes.shape
    rows, cols = height // side, width // side
    cells = planes[:, : rows * side, : cols * side].reshape(count, rows, side, cols, side)
    result: npt.NDArray[np.float64] = cells.mean(axis=(2, 4), dtype=np.float64)
    return result
