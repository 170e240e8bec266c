"""Straight lines through photon transfer points: variance = k mean + s2.

The variance of a variance is known, 2 variance^2 / dof, so the points are weighted with that of the line itself and
chi2 means something. Points off the line by more than chance allows are found after a robust fit and left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import erfc, inf, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.result import Fit, IsoFit, Point

__all__ = ["OFF_THE_LINE", "chi2_tail", "fit_iso", "fit_line"]

Array = npt.NDArray[Any]

OFF_THE_LINE = "far off the line of the others"
_Z = 1.959964  # 95 %
_HUBER, _OUTLIER = 2.5, 5.0
_CURVED_T, _CURVED_SHARE = 4.0, 0.02
_UNLIKELY = 1e-3  # below this the planes are not pooled
_SCATTERED = 1e-4  # below this the points do not belong to a line with the errors they have


def fit_line(points: Sequence[Point], plane: str | None = None) -> tuple[Fit, tuple[Point, ...]]:
    """The line through the used points of one ISO.

    Args:
        points: of one plane, or of several that share a line; dark points included.
        plane: what to call the result; None: as the first point does.

    Returns:
        The fit, and all points with those that do not belong to the line marked.
    """
    fit, marked, _, _ = _fit(tuple(points), plane)
    return fit, marked


def fit_iso(points: Iterable[Point], planes: Sequence[str]) -> tuple[IsoFit, tuple[Point, ...]]:
    """Each plane on its own, and all together where a chi2 test finds no difference between them."""
    points = tuple(points)
    fits: list[Fit] = []
    marked: list[Point] = []
    values, inverses = [], []
    for plane in planes:
        fit, own, free, covariance = _fit(tuple(point for point in points if point.plane == plane), plane)
        fits.append(fit)
        marked += own
        values.append(free)
        inverses.append(np.linalg.inv(covariance))
    iso = fits[0].iso
    if len(fits) == 1:
        return IsoFit(iso, tuple(fits)), tuple(marked)
    common = np.linalg.solve(sum(inverses), sum(inverse @ free for inverse, free in zip(inverses, values, strict=True)))
    chi2 = sum(
        float((free - common) @ inverse @ (free - common)) for inverse, free in zip(inverses, values, strict=True)
    )
    degrees = 2 * (len(fits) - 1)
    p = chi2_tail(chi2, degrees)
    pooled = fit_line([point for point in marked if point.used], "all")[0] if p >= _UNLIKELY else None
    return IsoFit(iso, tuple(fits), pooled, chi2, degrees, p), tuple(marked)


def chi2_tail(value: float, dof: float) -> float:
    """Probability that chance exceeds a chi2 value (Wilson and Hilferty: the cube root is nearly normal)."""
    if value <= 0:
        return 1.0
    z = ((value / dof) ** (1 / 3) - (1 - 2 / (9 * dof))) / sqrt(2 / (9 * dof))
    return 0.5 * erfc(z / sqrt(2))


def _fit(points: tuple[Point, ...], plane: str | None) -> tuple[Fit, tuple[Point, ...], Array, Array]:
    """:func:`fit_line`, and the unconstrained (s2, k) with their covariance."""
    used = np.array([index for index, point in enumerate(points) if point.used], int)
    m, v, dof = (np.array([getattr(points[i], name) for i in used], float) for name in ("mean", "variance", "dof"))
    if len(used) < 2 or np.ptp(m) <= 0 or not (np.isfinite(m) & np.isfinite(v) & (v > 0) & (dof > 0)).all():
        raise ProfileError(
            f"{len(used)} usable points of a photon transfer curve; expected at least two levels, best 8 to 12 from "
            "dark to 70 % of the range"
        )
    keep = _without_outliers(m, v, dof)
    rejected = set(used[~keep].tolist())
    marked = tuple(
        replace(point, used=False, reason=OFF_THE_LINE) if index in rejected else point
        for index, point in enumerate(points)
    )
    m, v, dof = m[keep], v[keep], dof[keep]
    free, weights = _reweighted(m, v, dof, 2)
    chi2 = _chi2(m, v, free, weights)
    degrees = len(m) - 2
    flags = []
    levels = [point for point in marked if point.used and not point.dark]
    if len({round(float(np.log2(max(point.mean, 1e-9))) * 4) for point in levels}) < 3:
        flags.append("too-few-levels")
    if any(point.frames < 2 for point in levels):
        flags.append("one-frame")
    if not any(point.dark and point.used for point in marked):
        flags.append("no-dark")
    curve = _curvature(m, v, dof)
    scatter = 0.0
    if degrees > 0 and chi2_tail(chi2, degrees) < _SCATTERED:
        # The points differ by more than chance, by the same share each: many pixels then say no more than a few.
        flags.append("scatter")
        scatter = _scatter(m, v, dof)
        dof = _worth(dof, scatter)
        free, weights = _reweighted(m, v, dof, 2)
    covariance = np.linalg.inv(_normal(m, weights, 2))
    s2_free, k_free = (float(value) for value in free)
    s2_se, k_se = (float(value) for value in np.sqrt(np.diag(covariance)))
    s2, k, cross = s2_free, k_free, float(covariance[0, 1])
    if s2_free < 0:
        if s2_free < -2 * s2_se:
            flags.append("negative-s2")
        s2, cross = 0.0, 0.0
        k, k_se = _through_origin(m, v, dof)
    centre = float((weights * v).sum() / weights.sum())
    total, misfit = float((weights * (v - centre) ** 2).sum()), _chi2(m, v, free, weights)
    if curve is not None and abs(curve[2]) > _CURVED_T and abs(curve[1]) * m.max() > _CURVED_SHARE * abs(k):
        flags.append("curvature")
    fit = Fit(
        iso=points[0].iso,
        plane=points[0].plane if plane is None else plane,
        k=k,
        k_se=k_se,
        s2=s2,
        s2_se=s2_se,
        covariance=cross,
        k_interval=(k - _Z * k_se, k + _Z * k_se),
        s2_interval=(max(s2_free - _Z * s2_se, 0.0), max(s2_free + _Z * s2_se, 0.0)),
        s2_free=s2_free,
        chi2=chi2,
        dof=degrees,
        r2=1 - misfit / total if total > 0 else 0.0,
        points=len(m),
        rejected=sum(not point.used for point in marked),
        k_curved=k if curve is None else curve[0],
        scatter=scatter,
        curvature=0.0 if curve is None else curve[1],
        curvature_t=0.0 if curve is None else curve[2],
        flags=tuple(flags),
    )
    return fit, marked, free, covariance


def _normal(m: Array, weights: Array, order: int) -> Array:
    columns = np.vander(m, order, increasing=True)
    result: Array = (columns * weights[:, None]).T @ columns
    return result


def _reweighted(m: Array, v: Array, dof: Array, order: int, extra: Array | None = None) -> tuple[Array, Array]:
    """Least squares whose weights come from its own result; coefficients, lowest power first, and the weights."""
    scale = float(np.abs(m).max()) ** np.arange(order)  # keeps the normal equations well conditioned
    columns = np.vander(m, order, increasing=True) / scale
    weights = dof / (2 * v**2)
    coefficients = np.zeros(order)
    for _ in range(12):
        weighted = columns * (weights if extra is None else weights * extra)[:, None]
        before, coefficients = coefficients, np.linalg.solve(weighted.T @ columns, weighted.T @ v)
        # Where a line dips to zero the weight would grow without bound: half of what was measured is the least.
        weights = dof / (2 * np.maximum(columns @ coefficients, 0.5 * v) ** 2)
        if (np.abs(coefficients - before) <= 1e-9 * np.abs(coefficients)).all():
            break
    return coefficients / scale, weights


def _chi2(m: Array, v: Array, line: Array, weights: Array) -> float:
    return float((weights * (v - np.polynomial.polynomial.polyval(m, line)) ** 2).sum())


def _worth(dof: Array, scatter: float) -> Array:
    """Degrees of freedom of variances that scatter by a share of themselves on top of chance."""
    result: Array = 1 / (1 / dof + scatter**2 / 2)
    return result


def _scatter(m: Array, v: Array, dof: Array) -> float:
    """The share that makes chi2 what it should be, by bisection."""
    low, high = 0.0, 2.0
    for _ in range(24):
        middle = (low + high) / 2
        line, weights = _reweighted(m, v, _worth(dof, middle), 2)
        low, high = (middle, high) if _chi2(m, v, line, weights) > len(m) - 2 else (low, middle)
    return high


def _through_origin(m: Array, v: Array, dof: Array) -> tuple[float, float]:
    """The gain and its standard error with s2 = 0."""
    positive = m > 0
    m, v, dof = m[positive], v[positive], dof[positive]
    # With v proportional to m the weights are dof / (k m)^2, and k is the mean of v / m weighted with dof.
    k = float((dof * v / m).sum() / dof.sum())
    return k, k * sqrt(2 / float(dof.sum()))


def _without_outliers(m: Array, v: Array, dof: Array) -> npt.NDArray[np.bool_]:
    """Which points a robust line can explain; at least two thirds of them stay."""
    keep = np.ones(len(m), bool)
    if len(m) < 5:
        return keep
    extra = np.ones(len(m))
    z = np.zeros(len(m))
    for _ in range(10):
        coefficients, weights = _reweighted(m, v, dof, 2, extra)
        z = np.abs(v - np.polynomial.polynomial.polyval(m, coefficients)) * np.sqrt(weights)
        before, extra = extra, np.minimum(1.0, _HUBER / np.maximum(z, 1e-12))
        if np.abs(extra - before).max() < 1e-3:
            break
    # A curve that is no line makes all points "outliers"; it must be seen, not whittled down.
    limit = _OUTLIER * max(1.0, 1.4826 * float(np.median(z)))
    keep = z <= limit
    return keep if keep.sum() >= 2 / 3 * len(m) and np.ptp(m[keep]) > 0 else np.ones(len(m), bool)


def _curvature(m: Array, v: Array, dof: Array) -> tuple[float, float, float] | None:
    """k, c and the t value of c in v = s2 + k m + c m^2; None with fewer than four points."""
    if len(np.unique(m)) < 4:
        return None
    unit = float(m.max())  # keeps the normal equations well conditioned
    coefficients, weights = _reweighted(m / unit, v, dof, 3)
    misfit = float((weights * (v - np.polynomial.polynomial.polyval(m / unit, coefficients)) ** 2).sum())
    inflation = max(1.0, misfit / max(len(m) - 3, 1))  # a term is not significant if even with it nothing fits
    variance = np.linalg.pinv(_normal(m / unit, weights, 3))[2, 2] * inflation
    k, c = float(coefficients[1]) / unit, float(coefficients[2]) / unit**2
    return k, c, float(coefficients[2]) / sqrt(variance) if variance > 0 else inf
