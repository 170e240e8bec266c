"""Black frames: the level, the noise, and what should not be in them (light, hot pixels, stripes)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.sensor.calibration.capture import Frame, load_all
from shotnoise.sensor.calibration.result import BiasNoise, Black, Finding, LogLaw

__all__ = ["DarkFrames", "examine", "log_law", "tukey_lambda"]

Array = npt.NDArray[Any]

_BLOCKS = 16  # the map of the light-leak test has 16 x 16 blocks
_LEAK = 0.1  # a glow of more than a tenth of the noise is too much
_HOT = 8.0
_SHAPE_SAMPLE = 20_000  # pixels that tell the shape of the noise: its parameter to about 0.01
_SHAPES = (-0.6, 0.5)


@dataclass(frozen=True, slots=True)
class DarkFrames:
    """What the black frames of one ISO and exposure told.

    Attributes:
        blacks: one per plane.
        row_variance: of whole rows over time, DN^2.
        bias: shape of the noise, one per plane; () if not asked for.
        findings: what is wrong.
        clipped: whether too many pixels are at zero, so that the variance means nothing.
    """

    blacks: tuple[Black, ...]
    row_variance: float
    bias: tuple[BiasNoise, ...]
    findings: tuple[Finding, ...]
    clipped: bool


@dataclass(frozen=True, slots=True)
class _Plane:
    """One plane of one frame."""

    level: float
    sigma: float  # over the plane, hot pixels left out
    shading: float
    extent: float  # highest minus lowest block
    leak: bool
    rows: Array
    columns: Array
    row_variance: float
    column_variance: float


def examine(frames: Sequence[Frame], *, step: float = 1.0, shape: bool = True, rng: np.random.Generator) -> DarkFrames:
    """Examine black frames of one ISO and exposure.

    Frames with light in them are named, and left out where others remain.

    Args:
        frames: one or more.
        step: DN between neighbouring codes.
        shape: whether to fit the shape of the noise too.
        rng: picks the pixels for that.
    """
    counts = load_all(frames)
    seen = [[_plane(plane, step) for plane in frame] for frame in counts]
    findings = [_leak(frame, planes) for frame, planes in zip(frames, seen, strict=True) if _leaks(planes)]
    good = [index for index, planes in enumerate(seen) if not _leaks(planes)] or list(range(len(frames)))
    findings += _strangers(frames, seen, good)
    empty = max(float((plane == 0).mean()) for index in good for plane in counts[index])
    clipped = empty > 0.001
    first = frames[good[0]]
    if clipped:
        text = f"{100 * empty:.1f} % of the pixels of a black frame are at 0: the camera cuts its noise off there"
        findings.append(Finding("warning", "clipping", text, first.name, first.iso))
    kept = [counts[index] for index in good]
    levels = np.array([[plane.level for plane in seen[index]] for index in good])  # (N, P)
    hot = [_hot(frame_planes, levels.mean(0)[p], [seen[i][p].sigma for i in good]) for p, frame_planes in _by(kept)]
    variances = [_variance(planes, hot[p], [seen[i][p].sigma for i in good]) for p, planes in _by(kept)]
    row_variance = _row_variance(kept, first, [value for value, _ in variances])
    blacks = []
    for p, name in enumerate(first.planes):
        own = [seen[index][p] for index in good]
        value, dof = variances[p]
        height, width = counts[0][p].shape
        sharing = width * (1 if first.pattern is None else 2)
        value += row_variance / height  # taking the mean off took this much of what whole rows share
        spread = float(levels[:, p].std(ddof=1)) if len(good) > 1 else 0.0
        alone = sqrt(median(plane.sigma for plane in own) ** 2 / (height * width) + row_variance / height)
        blacks.append(
            Black(
                iso=first.iso,
                exposure=first.exposure,
                plane=name,
                level=float(np.median(levels[:, p])),
                level_se=max(alone, spread) / sqrt(len(good)),
                frames=len(good),
                spread=spread,
                file_level=None if first.black is None else first.black[p],
                variance=value,
                # What a row shares is drawn once per sensor row, not once per pixel.
                variance_dof=dof / (1 + (row_variance / value) ** 2 * sharing) if value > 0 else 1.0,
                shading=median(plane.shading for plane in own),
                leak=all(plane.leak for plane in own),
                hot_pixels=int(hot[p].sum()),
                pixels=height * width,
                row_std=sqrt(max(float(np.mean([plane.row_variance for plane in own])), 0.0)),
                column_std=sqrt(max(float(np.mean([plane.column_variance for plane in own])), 0.0)),
                row_profile=tuple(np.mean([plane.rows - plane.level for plane in own], axis=0).tolist()),
                column_profile=tuple(np.mean([plane.columns - plane.level for plane in own], axis=0).tolist()),
            )
        )
    bias = _shapes(kept[0], blacks, hot, row_variance, step, rng) if shape and not clipped else ()
    return DarkFrames(tuple(blacks), row_variance, bias, tuple(findings), clipped)


def tukey_lambda(values: Array) -> tuple[float, float, float]:
    """Fit the Tukey-lambda distribution by its probability plot.

    The shape is the one whose plot is straightest (largest correlation), the scale is the slope of that plot. The
    quantile function has a closed form, (p^l - (1 - p)^l) / l, so nothing else is needed.

    Args:
        values: the sample, of any number of values.

    Returns:
        Shape, scale and correlation.
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    n = ordered.size
    centred = ordered - ordered.mean()
    # Medians of the order statistics (Filliben); the quantiles are odd about one half.
    p = (np.arange(1, n + 1) - 0.3175) / (n + 0.365)
    p[0], p[-1] = 1 - 0.5 ** (1 / n), 0.5 ** (1 / n)
    low, high = np.log(p), np.log1p(-p)
    size = float(np.sqrt((centred**2).sum()))

    def plot(shape: float) -> tuple[float, float]:
        """Correlation and slope."""
        q = low - high if abs(shape) < 1e-6 else (np.exp(shape * low) - np.exp(shape * high)) / shape
        square = float((q * q).sum())
        product = float((q * centred).sum())
        return product / (sqrt(square) * size), product / square

    # The correlation has one maximum over the shape: shrink an interval around it.
    a, b = _SHAPES
    ratio = (sqrt(5) - 1) / 2
    left, right = b - ratio * (b - a), a + ratio * (b - a)
    at_left, at_right = plot(left)[0], plot(right)[0]
    while b - a > 1e-3:
        if at_left > at_right:
            b, right, at_right = right, left, at_left
            left = b - ratio * (b - a)
            at_left = plot(left)[0]
        else:
            a, left, at_left = left, right, at_right
            right = a + ratio * (b - a)
            at_right = plot(right)[0]
    shape = (a + b) / 2
    correlation, slope = plot(shape)
    return shape, slope, correlation


def log_law(quantity: str, gains: Sequence[float], noises: Sequence[float]) -> LogLaw | None:
    """log(noise) over log(k) as a straight line; None with fewer than three values above zero."""
    pairs = [(k, noise) for k, noise in zip(gains, noises, strict=True) if k > 0 and noise > 0]
    if len({k for k, _ in pairs}) < 3:
        return None
    x, y = np.log(np.array(pairs)).T
    slope, intercept = np.polyfit(x, y, 1)
    residual = sqrt(float(((y - slope * x - intercept) ** 2).sum()) / (len(pairs) - 2))
    isos = len({k for k, _ in pairs})
    return LogLaw(quantity, float(slope), float(intercept), residual, isos)  # type: ignore[arg-type]


def _by(frames: Sequence[Sequence[Array]]) -> list[tuple[int, list[Array]]]:
    """Frames of planes -> planes of frames."""
    return [(p, [frame[p] for frame in frames]) for p in range(len(frames[0]))]


def _plane(counts: Array, step: float) -> _Plane:
    """Level and noise without the hot pixels, shading, rows and columns."""
    histogram = np.bincount(counts.ravel())
    codes = np.arange(len(histogram))
    cumulative = np.cumsum(histogram) / counts.size
    centre = int(np.searchsorted(cumulative, 0.5))
    robust = (int(np.searchsorted(cumulative, 0.8413)) - int(np.searchsorted(cumulative, 0.1587))) / 2
    inside = np.abs(codes - centre) <= 6 * max(robust, step)
    share = np.where(inside, histogram, 0)
    level = float((share * codes).sum() / share.sum())
    sigma = sqrt(float((share * (codes - level) ** 2).sum() / max(share.sum() - 1, 1)))
    x = (
        np.clip(counts.astype(np.float32) - np.float32(level), -6 * sigma, 6 * sigma)
        if sigma
        else counts * np.float32(0)
    )
    height, width = x.shape
    rows, columns = x.mean(1, dtype=np.float64), x.mean(0, dtype=np.float64)
    row_variance = _stripe_variance(rows) - sigma**2 / width
    column_variance = _stripe_variance(columns) - sigma**2 / height
    shading, extent, leak = _shading(x, sigma, max(row_variance, 0.0), max(column_variance, 0.0))
    return _Plane(level, sigma, shading, extent, leak, rows + level, columns + level, row_variance, column_variance)


def _stripe_variance(means: Array) -> float:
    """Of neighbouring rows or columns, from second differences, which do not see what changes slowly."""
    if len(means) < 3:
        return 0.0
    return float((np.diff(means, 2) ** 2).mean() / 6)


def _shading(x: Array, sigma: float, row_variance: float, column_variance: float) -> tuple[float, float, bool]:
    """Rms and range of a 16 x 16 map beyond its expected error, and whether that is too much."""
    height, width = x.shape
    tall, wide = max(height // _BLOCKS, 1), max(width // _BLOCKS, 1)
    rows, cols = height // tall, width // wide
    if rows < 2 or cols < 2 or sigma <= 0:
        return 0.0, 0.0, False
    blocks = x[: rows * tall, : cols * wide].reshape(rows, tall, cols, wide).mean((1, 3), dtype=np.float64)
    expected = sigma**2 / (tall * wide) + row_variance / tall + column_variance / wide
    found = float(blocks.var(ddof=1))
    excess = sqrt(max(found - expected, 0.0))
    # With stripes the blocks of a row move together: then there are only so many independent ones.
    independent = (rows * cols - 1) / (1 + (row_variance / tall * cols + column_variance / wide * rows) / expected)
    significant = found > expected * (1 + 6 * sqrt(2 / max(independent, 1.0)))
    leak = significant and excess > _LEAK * sigma
    return excess if significant else 0.0, float(np.ptp(blocks)), leak


def _leaks(planes: Sequence[_Plane]) -> bool:
    return any(plane.leak for plane in planes)


def _leak(frame: Frame, planes: Sequence[_Plane]) -> Finding:
    worst = max(planes, key=lambda plane: plane.shading / max(plane.sigma, 1e-9))
    text = (
        f"brightness varies smoothly by {worst.extent:.2g} DN over a black frame (rms {worst.shading:.2g} DN, noise "
        f"{worst.sigma:.2g} DN): light got in, or the sensor glows; cover lens and viewfinder and take it again"
    )
    return Finding("warning", "light-leak", text, frame.name, frame.iso)


def _strangers(frames: Sequence[Frame], seen: Sequence[Sequence[_Plane]], good: list[int]) -> list[Finding]:
    """Frames whose level is far from the others'; they are taken out of `good`, which needs three to judge."""
    if len(good) < 3:
        return []
    levels = np.array([[plane.level for plane in seen[index]] for index in good])
    sigma = np.array([[plane.sigma for plane in seen[index]] for index in good]).mean(0)
    centre = np.median(levels, axis=0)
    off = np.abs(levels - centre)
    usual = 1.4826 * np.median(off, axis=0)
    far = (off > np.maximum(0.25 * sigma, 6 * usual)).any(1)
    if far.sum() * 2 >= len(good):
        return []
    findings = []
    for index in [index for index, strange in zip(good, far, strict=True) if strange]:
        text = (
            f"its mean is {float(np.mean([plane.level for plane in seen[index]])):.2f} DN, that of the other black "
            f"frames {float(centre.mean()):.2f} DN; it is left out: cover the lens and take it again"
        )
        findings.append(Finding("warning", "light-leak", text, frames[index].name, frames[index].iso))
        good.remove(index)
    return findings


def _hot(planes: Sequence[Array], level: float, sigmas: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Pixels far above the level in every frame."""
    limit = level + _HOT * median(sigmas)
    result = planes[0] > limit
    for plane in planes[1:]:
        result &= plane > limit
    return result


def _variance(planes: Sequence[Array], hot: npt.NDArray[np.bool_], sigmas: Sequence[float]) -> tuple[float, float]:
    """Over time and its degrees of freedom; over the plane if there is one frame only."""
    pixels = planes[0].size - int(hot.sum())
    if len(planes) == 1:
        return sigmas[0] ** 2, pixels - 1.0
    mean = np.mean([plane.astype(np.float32) for plane in planes], axis=0)
    total = 0.0
    for plane in planes:
        deviation = (plane - mean)[~hot]
        total += float(((deviation - deviation.mean(dtype=np.float64)) ** 2).sum(dtype=np.float64))
    dof = (len(planes) - 1.0) * (pixels - 1)
    return total / dof, dof


def _row_variance(frames: Sequence[Sequence[Array]], like: Frame, variances: Sequence[float]) -> float:
    """Of whole sensor rows, shared by the planes of a row: over time, or from one frame by second differences."""
    pairs = ((0, 1), (2, 3)) if like.pattern is not None else ((0,),)
    values = []
    for pair in pairs:
        width = sum(frames[0][p].shape[1] for p in pair)
        rows = np.array([sum(frame[p].sum(1, dtype=np.float64) for p in pair) / width for frame in frames])
        white = float(np.mean([variances[p] for p in pair])) / width
        if len(frames) == 1:
            values.append(_stripe_variance(rows[0]) - white)
            continue
        deviation = rows - rows.mean(0)
        deviation -= deviation.mean(1, keepdims=True)
        values.append(float((deviation**2).sum()) / ((len(rows) - 1) * max(rows.shape[1] - 1, 1)) - white)
    return max(float(np.mean(values)), 0.0)


def _shapes(
    planes: Sequence[Array],
    blacks: Sequence[Black],
    hot: Sequence[npt.NDArray[np.bool_]],
    row_variance: float,
    step: float,
    rng: np.random.Generator,
) -> tuple[BiasNoise, ...]:
    """Shape of the pixels' noise in one frame, rows taken off, rounding taken out."""
    result = []
    for black, counts, bad in zip(blacks, planes, hot, strict=True):
        x = counts - counts.mean(1, keepdims=True, dtype=np.float64)
        pixels = x[~bad]
        # Counts come in steps: spread evenly over a step they have a continuous distribution, a little wider.
        sample = rng.choice(pixels, _SHAPE_SAMPLE, replace=False) if pixels.size > _SHAPE_SAMPLE else pixels
        lam, scale, ppcc = tukey_lambda(sample + rng.uniform(-step / 2, step / 2, sample.shape))
        rounding = step**2 / 12
        variance = float(pixels.var(dtype=np.float64)) * counts.shape[1] / (counts.shape[1] - 1)
        narrower = sqrt(max(variance - rounding, 0.0) / (variance + rounding))
        result.append(
            BiasNoise(
                black.iso,
                black.plane,
                lam,
                scale * narrower,
                sqrt(max(variance - rounding, 0.0)),
                sqrt(row_variance),
                ppcc,
            )
        )
    return tuple(result)
