"""Mean and variance of rectangles, plane by plane: the points of a photon transfer curve.

With two or more frames of the same thing the variance is taken over time, so nothing that stands still (shape of the
light, unequal pixels, colours) gets into it. With one frame it is what is left over a smooth surface, and second
differences, which see no slope, say whether that was noise. Nothing is clamped: values below black are noise too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.sensor.calibration.capture import Frame, load_all
from shotnoise.sensor.calibration.result import Point, Roi

__all__ = ["Burst", "measure", "residual_variance", "second_difference_variance", "uniformity_limit"]

Array = npt.NDArray[Any]

FEWEST = 500  # pixels of a plane in a rectangle
_CLIPPED = 0.001  # share of pixels at white or at zero
_CHUNK = 2**22  # pixels looked at together


@dataclass(frozen=True, slots=True)
class Burst:
    """Frames of the same thing in the same light, and what :func:`measure` found in them.

    Attributes:
        points: one per rectangle and plane.
        flicker: largest relative difference of their brightness.
        flicker_se: its standard error.
        stripes: standard deviation of whole rows over time beyond that of the dark, relative to the mean: lamps that
            flicker while the rows are read out. 0 with one frame.
    """

    points: tuple[Point, ...]
    flicker: float
    flicker_se: float
    stripes: float


def measure(
    frames: Sequence[Frame],
    rois: Sequence[Roi],
    black: Sequence[float],
    *,
    white: float,
    max_signal: float = 0.7,
    row_variance: float = 0.0,
) -> Burst:
    """Measure rectangles in a burst.

    Args:
        frames: one, two or more of the same thing in the same light.
        rois: rectangles of the mosaic.
        black: level per plane.
        white: count at which the sensor is full.
        max_signal: share of the range above which a point is not used.
        row_variance: of whole rows in the dark, DN^2: they make the pixels of a row less than independent.
    """
    planes = load_all(frames)
    results: dict[int, list[Point]] = {}
    gains, error = _flicker(planes, frames[0], rois, black, white)
    stripes: list[tuple[float, float, float]] = []
    height = 2
    for chunk in _alike(frames[0], rois, len(frames)):
        windows = [frames[0].cut(rois[index]) for index in chunk]
        for plane, level in enumerate(black):
            stack = np.stack([[frame[plane][window] for window in windows] for frame in planes])  # (N, R, h, w)
            statistics = _statistics(stack, level, gains, white)
            if statistics["stripes"] is not None:
                height = stack.shape[2]
                noise = statistics["variance"] / stack.shape[3]
                stripes += list(zip(statistics["mean"], statistics["stripes"], noise, strict=True))
            for position, index in enumerate(chunk):
                row = {name: value[position] for name, value in statistics.items() if value is not None}
                results.setdefault(index, []).append(
                    _point(row, frames, plane, rois[index], white - level, max_signal, row_variance, stack.shape[2:])
                )
    points = tuple(point for index in range(len(rois)) for point in results.get(index, ()))
    spread = float(gains.max() / gains.min() - 1)
    return Burst(points, spread, error, _stripes(stripes, row_variance, height))


def residual_variance(x: Array) -> tuple[Array, Array, Array]:
    """Variance around a smooth surface of second order, fitted robustly.

    Args:
        x: (..., h, w).

    Returns:
        The variance, its degrees of freedom, and the largest difference within the fitted plane, each (...).
    """
    height, width = x.shape[-2:]
    v, u = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    # Orthogonal on a full grid, so each coefficient is a mean of products.
    columns = [
        np.broadcast_to(c, (height, width)) for c in (u, v, u * v, u * u - (u * u).mean(), v * v - (v * v).mean())
    ]
    basis = np.stack([np.ones((height, width)), *columns]).reshape(6, -1)
    norm = (basis**2).sum(1)
    flat = x.reshape(*x.shape[:-2], -1).astype(np.float64)
    coefficients = flat @ basis.T / norm
    residual = flat - coefficients @ basis
    sigma = np.sqrt((residual**2).mean(-1, keepdims=True))
    for _ in range(3):  # specks of dust and hot pixels: put on the surface, counted out
        outside = np.abs(residual) > 5 * sigma
        if not outside.any():
            break
        filled = np.where(outside, coefficients @ basis, flat)
        coefficients = filled @ basis.T / norm
        residual = flat - coefficients @ basis
        kept = (~outside).sum(-1, keepdims=True)
        sigma = np.sqrt((residual**2 * ~outside).sum(-1, keepdims=True) / kept)
    outside = np.abs(residual) > 5 * sigma
    dof = (~outside).sum(-1) - 6.0
    tilt = 2 * (np.abs(coefficients[..., 1]) + np.abs(coefficients[..., 2]))
    return (residual**2 * ~outside).sum(-1) / dof, dof, tilt


def second_difference_variance(x: Array) -> Array:
    """Variance from second differences along the rows or the columns, whichever has more: blind to slopes."""
    along = [(2 * x[..., 1:-1, :] - x[..., :-2, :] - x[..., 2:, :]), (2 * x[..., 1:-1] - x[..., :-2] - x[..., 2:])]
    result: Array = np.maximum(*((part.astype(np.float64) ** 2).mean((-2, -1)) / 6 for part in along))
    return result


def uniformity_limit(pixels: float) -> float:
    """The ratio of variances above which a patch is not even."""
    return 1 + 4 * sqrt(4 / pixels)


def _alike(frame: Frame, rois: Sequence[Roi], count: int) -> list[list[int]]:
    """Indices of rectangles of one size, in chunks that fit the memory."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for index, roi in enumerate(rois):
        sizes.setdefault((roi.bottom - roi.top, roi.right - roi.left), []).append(index)
    chunks = []
    for (height, width), indices in sizes.items():
        room = max(1, _CHUNK // max(height * width * count // len(frame.planes), 1))
        chunks += [indices[start : start + room] for start in range(0, len(indices), room)]
    return chunks


def _flicker(
    planes: Sequence[Sequence[Array]], frame: Frame, rois: Sequence[Roi], black: Sequence[float], white: float
) -> tuple[npt.NDArray[np.float64], float]:
    """Factors that bring frames to their common brightness, where that differs by more than chance; and the error."""
    if len(planes) < 2 or not rois:
        return np.ones(len(planes)), 0.0
    sums, squares, pixels = np.zeros(len(planes)), 0.0, 0
    for roi in rois:
        window = frame.cut(roi)
        for plane, level in enumerate(black):
            parts = [frame_planes[plane][window] for frame_planes in planes]
            if max(int(part.max()) for part in parts) >= white - 1:
                continue
            sums += [float(part.sum(dtype=np.float64)) - level * part.size for part in parts]
            squares += float(((parts[0].astype(np.float32) - parts[1]) ** 2).sum(dtype=np.float64)) / 2
            pixels += parts[0].size
    mean = float(sums.mean())
    if not pixels or mean <= 0:
        return np.ones(len(planes)), 0.0
    error = sqrt(squares) / mean
    gains = mean / sums if sums.min() > 0 else np.ones(len(planes))
    if np.abs(gains - 1).max() <= 4 * error or np.abs(gains - 1).max() > 0.5:
        return np.ones(len(planes)), error
    return gains, error


def _statistics(stack: Array, level: float, gains: Array, white: float) -> dict[str, Any]:
    """All numbers of one plane; arrays over the rectangles."""
    full = (stack >= white - 1).mean((2, 3)).max(0)
    empty = (stack == 0).mean((2, 3)).max(0)
    x = (stack.astype(np.float32) - np.float32(level)) * gains[:, None, None, None].astype(np.float32)
    height, width = stack.shape[2:]
    mean = x.mean((0, 2, 3), dtype=np.float64)
    spatial, dof, tilt = residual_variance(x[0])
    result = {"mean": mean, "full": full, "empty": empty, "tilt": tilt, "stripes": None}
    if len(x) > 1:
        deviation = x - x.mean(0)
        deviation -= deviation.mean((2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
        share = 1 / (len(x) - 1)
        variance = (deviation**2).sum((0, 2, 3), dtype=np.float64) * share / (height * width - 1)
        rows = (deviation.mean(3, dtype=np.float64) ** 2).sum((0, 2)) * share / max(height - 1, 1) - variance / width
        return result | {
            "variance": variance,
            "dof": np.full(len(mean), (len(x) - 1.0) * (height * width - 1)),
            "uniformity": spatial / np.maximum(variance, 1e-12),
            "stripes": rows,
        }
    companion = second_difference_variance(x[0])
    return result | {"variance": spatial, "dof": dof, "uniformity": spatial / np.maximum(companion, 1e-12)}


def _point(
    row: Mapping[str, float],
    frames: Sequence[Frame],
    plane: int,
    roi: Roi,
    scale: float,
    max_signal: float,
    row_variance: float,
    shape: tuple[int, ...],
) -> Point:
    # Taking the mean off takes this much of what whole rows share.
    mean, variance = float(row["mean"]), float(row["variance"]) + row_variance / shape[0]
    pixels = shape[0] * shape[1]
    uniformity = float(row["uniformity"]) if variance > 0 else nan
    reason = ""
    if pixels < FEWEST:
        reason = f"only {pixels} pixels; expected {FEWEST} or more"
    elif row["full"] > _CLIPPED or mean + 4 * sqrt(max(variance, 0)) > scale:
        reason = "clipped at white"
    elif row["empty"] > _CLIPPED:
        reason = "clipped at zero"
    elif mean > max_signal * scale:
        reason = f"brighter than {100 * max_signal:g} % of the range"
    elif variance <= 0:
        reason = "all counts are equal"
    elif len(frames) == 1 and uniformity > uniformity_limit(pixels):
        reason = "not even"
    # What a row shares is drawn once per sensor row, not once per pixel, and two planes of a mosaic lie on that row.
    sharing = shape[1] * (1 if len(frames[0].planes) == 1 else 2)
    independent = float(row["dof"]) / (1 + (row_variance / variance) ** 2 * sharing) if variance > 0 else 1.0
    return Point(
        iso=frames[0].iso,
        exposure=frames[0].exposure,
        plane=frames[0].planes[plane],
        mean=mean,
        variance=variance,
        dof=independent,
        pixels=pixels,
        frames=len(frames),
        roi=roi,
        names=tuple(frame.name for frame in frames),
        used=not reason,
        reason=reason,
        uniformity=uniformity,
        tilt=float(row["tilt"]) / mean if mean > 0 else 0.0,
    )


def _stripes(found: Sequence[tuple[float, float, float]], row_variance: float, height: int) -> float:
    """Rows over time beyond the dark's, relative to the mean; 0 if chance can explain it.

    Args:
        found: per rectangle and plane: mean, variance of the row means without what their pixels explain, and that.
        row_variance: of whole rows in the dark.
        height: rows of a plane in a rectangle.
    """
    if not found:
        return 0.0
    mean, excess, noise = np.array(found).T
    square = np.maximum(mean, 0) ** 2  # the dark's part is the same everywhere, the light's grows with the light
    total = float((square**2).sum())
    if total <= 0:
        return 0.0
    # Rectangles side by side share their rows, and so their row noise: it does not average out among them.
    error = (noise + row_variance * sqrt(len(found))) * sqrt(2 / max(height - 1, 1))
    share = float((square * (excess - row_variance)).sum()) / total
    return sqrt(share) if share > 5 * sqrt(float(((square * error) ** 2).sum())) / total else 0.0
