"""How gain and dark noise go with ISO: k = a ISO, s2 = (p ISO)^2 + q^2, each with at most one break.

p is the noise that enters before the amplifier, q that behind it, rounding included. A law that does not describe the
measurements is refused. An ISO whose gain and brightness both contradict its label is named.
"""

from collections.abc import Callable, Sequence
from math import exp, inf, log, log2, sqrt
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.sensor.calibration.fit import chi2_tail
from shotnoise.sensor.calibration.result import Finding, Law, LawPiece

__all__ = ["fit_gain_law", "fit_read_law", "mislabelled"]

Array = npt.NDArray[Any]
_Solver = Callable[[Array, Array, Array], tuple[LawPiece, Array]]

_Z = 1.959964  # 95 %
_SIDE = 3  # ISOs needed on each side of a break
_EVIDENCE = 6.0  # by which BIC must fall for a break: strong
_UNLIKELY = 1e-3
_NOMINAL = 0.02  # makers round their ISOs: less than this is no reason for a break
_STANDARD = tuple(
    base * power for power in (10.0, 100.0, 1e3, 1e4, 1e5) for base in (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8)
)
_DOUBT = 0.25  # octaves by which a label may be off


def fit_gain_law(isos: Sequence[float], k: Sequence[float], se: Sequence[float], planes: tuple[str, ...]) -> Law:
    """The law k = a ISO through the measured gains."""
    return _law("k", isos, k, se, planes, _solve_gain, parameters=1, tolerance=0.1)


def fit_read_law(isos: Sequence[float], s2: Sequence[float], se: Sequence[float], planes: tuple[str, ...]) -> Law:
    """The law s2 = (p ISO)^2 + q^2 through the measured variances without light."""
    return _law("s2", isos, s2, se, planes, _solve_read, parameters=2, tolerance=0.2)


def mislabelled(
    isos: Sequence[float], k: Sequence[float], brightness: Sequence[float | None], names: Sequence[str]
) -> list[Finding]:
    """ISOs that contradict what was measured.

    Gain over ISO is the same at every ISO, and so is brightness over ISO and exposure time if neither light nor
    aperture changed. A label is wrong if both say so and agree on what it should be; with no brightness to compare,
    the gain alone gives a warning.

    Args:
        isos: the labels, at least three different ones.
        k: measured gains.
        brightness: mean signal per second of the same thing in the same light; None where that is not known.
        names: of a frame of each.
    """
    if len(isos) < 3:
        return []
    by_gain = [gain / iso for gain, iso in zip(k, isos, strict=True)]
    gain_off = [value / median(by_gain) for value in by_gain]
    lit = [light / iso if light and light > 0 else None for light, iso in zip(brightness, isos, strict=True)]
    known = [value for value in lit if value is not None]
    light_off = [value / median(known) if value is not None and len(known) >= 3 else None for value in lit]
    # Most must agree, or there is no telling who is wrong.
    if sum(abs(log2(off)) > _DOUBT for off in gain_off) * 2 >= len(isos):
        return []
    findings = []
    for iso, by_k, by_light, name in zip(isos, gain_off, light_off, names, strict=True):
        if abs(log2(by_k)) <= _DOUBT:
            continue
        if by_light is None:
            text = (
                f"the gain at ISO {iso:g} is {by_k:.2f} times what the other ISOs predict: it would fit ISO "
                f"{_standard(iso * by_k):g}; either the label is wrong or the sensor changes its conversion gain"
            )
            findings.append(Finding("warning", "mislabelled-iso", text, name, iso))
        elif by_light > 0 and abs(log2(by_light)) > _DOUBT and abs(log2(by_light / by_k)) < 0.45:
            text = (
                f"labelled ISO {iso:g}, but its gain ({by_k:.2f} times the expected) and its brightness "
                f"({by_light:.2f} times) both fit ISO {_standard(iso * by_light):g}; correct the label, or leave the "
                "frames out"
            )
            findings.append(Finding("error", "mislabelled-iso", text, name, iso))
    return findings


def _standard(iso: float) -> float:
    """The nearest of the usual ISOs."""
    return min(_STANDARD, key=lambda standard: abs(log(standard / iso)))


def _law(
    quantity: Literal["k", "s2"],
    isos: Sequence[float],
    values: Sequence[float],
    errors: Sequence[float],
    planes: tuple[str, ...],
    solve: _Solver,
    *,
    parameters: int,
    tolerance: float,
) -> Law:
    order = np.argsort(isos)
    x, y, se = (np.asarray(part, float)[order] for part in (isos, values, errors))
    usual = max(float(y.max()), 1e-30) * 1e-9
    se = np.maximum(se, usual)
    n = len(x)
    cut = _break(x, y, se, solve, parameters) if n >= 2 * _SIDE else None
    parts = [slice(0, n)] if cut is None else [slice(0, cut), slice(cut, n)]
    count = parameters * len(parts)
    pieces, law = _pieces(x, y, se, parts, solve)
    chi2 = float((((y - law) / se) ** 2).sum())
    dof = max(n - count, 0)
    scatter = 0.0
    if dof > 0 and chi2_tail(chi2, dof) < _UNLIKELY:
        scatter = _scatter(x, y, se, parts, solve, dof)
        pieces, law = _pieces(x, y, np.hypot(se, scatter * np.abs(law)), parts, solve)
    residuals = y / np.where(law > 0, law, usual) - 1
    accepted, reason = True, ""
    if n < parameters:
        accepted = False
        reason = f"measured at ISO {x[0]:g} only; expected at least {parameters} ISOs, best 4 or more"
    elif (y <= 0).any() and quantity == "k":
        accepted, reason = False, "a gain is not above zero"
    elif scatter > tolerance:
        accepted = False
        worst = int(np.argmax(np.abs(residuals)))
        reason = (
            f"the measurements scatter by {100 * scatter:.0f} % about it, at ISO {x[worst]:g} by "
            f"{100 * residuals[worst]:+.0f} %: the sensor does not follow it, or a label is wrong"
        )
    elif dof <= 0:
        reason = f"{n} ISO{'s' * (n > 1)}: it fits by construction and could not be checked"
    elif scatter > tolerance / 2:
        reason = f"the measurements scatter by {100 * scatter:.0f} % about it"
    return Law(
        quantity,
        planes,
        tuple(pieces),
        tuple(x.tolist()),
        tuple(residuals.tolist()),
        scatter,
        chi2,
        dof,
        accepted,
        reason,
    )


def _pieces(x: Array, y: Array, se: Array, parts: Sequence[slice], solve: _Solver) -> tuple[list[LawPiece], Array]:
    """Each part solved, and the law at the measured ISOs; a break lies halfway (in octaves) between its neighbours."""
    pieces, values = [], []
    for part in parts:
        piece, value = solve(x[part], y[part], se[part])
        below = exp(log(x[part.stop - 1] * x[part.stop]) / 2) if part.stop < len(x) else inf
        pieces.append(LawPiece(piece.params, piece.se, piece.intervals, below))
        values.append(value)
    return pieces, np.concatenate(values)


def _break(x: Array, y: Array, se: Array, solve: _Solver, parameters: int) -> int | None:
    """Index of the first ISO behind a break, if BIC wants one."""
    floor = np.hypot(se, _NOMINAL * parameters * np.abs(y))

    def misfit(parts: Sequence[slice]) -> float:
        return float((((y - _pieces(x, y, floor, parts, solve)[1]) / floor) ** 2).sum())

    n = len(x)
    best = min(range(_SIDE, n - _SIDE + 1), key=lambda cut: misfit([slice(0, cut), slice(cut, n)]))
    gained = misfit([slice(0, n)]) - misfit([slice(0, best), slice(best, n)])
    return best if gained - (parameters + 1) * log(n) > _EVIDENCE else None


def _scatter(x: Array, y: Array, se: Array, parts: Sequence[slice], solve: _Solver, dof: int) -> float:
    """The relative scatter beyond the errors that makes chi2 equal its expectation, by bisection."""
    low, high = 0.0, 4.0
    for _ in range(40):
        middle = (low + high) / 2
        law = _pieces(x, y, se, parts, solve)[1]
        for _ in range(2):
            error = np.hypot(se, middle * np.abs(law))
            law = _pieces(x, y, error, parts, solve)[1]
        low, high = (middle, high) if float((((y - law) / error) ** 2).sum()) > dof else (low, middle)
    return high


def _solve_gain(x: Array, y: Array, se: Array) -> tuple[LawPiece, Array]:
    weights = 1 / se**2
    information = float((weights * x * x).sum())
    a = float((weights * x * y).sum()) / information
    error = 1 / sqrt(information)
    return LawPiece((a,), (error,), ((a - _Z * error, a + _Z * error),)), a * x


def _solve_read(x: Array, y: Array, se: Array) -> tuple[LawPiece, Array]:
    """(p ISO)^2 + q^2 with p and q not imaginary, linear in p^2 and q^2."""
    if len(x) == 1:
        q, alone = sqrt(max(float(y[0]), 0.0)), float(se[0])
        ends = (sqrt(max(float(y[0]) - _Z * alone, 0.0)), sqrt(max(float(y[0]), 0.0) + _Z * alone))
        return LawPiece((0.0, q), (0.0, alone / (2 * q) if q else sqrt(alone)), ((0.0, 0.0), ends)), y
    unit = float(x.max())
    columns = np.stack([(x / unit) ** 2, np.ones_like(x)], axis=1)
    law = y
    solution, covariance = np.zeros(2), np.zeros((2, 2))
    for _ in range(4):
        # The error of a variance is a share of the variance itself, of the true one: take the law's, not what chance
        # made of it, or low values would weigh more than high ones.
        error = se * np.clip(law / np.where(y > 0, y, law), 0.5, 2.0)
        weights = 1 / np.maximum(error, 1e-30) ** 2
        normal = (columns * weights[:, None]).T @ columns
        covariance = np.linalg.pinv(normal, hermitian=True)
        solution = _not_negative(normal, (columns * weights[:, None]).T @ y)
        law = columns @ solution
    squares = solution / np.array([unit**2, 1.0])
    errors = np.sqrt(np.maximum(np.diag(covariance), 0)) / np.array([unit**2, 1.0])
    params = tuple(sqrt(value) for value in squares)
    ses = tuple(
        float(error) / (2 * value) if value > 0 else sqrt(error) for error, value in zip(errors, params, strict=True)
    )
    intervals = tuple(
        (sqrt(max(value - _Z * error, 0.0)), sqrt(value + _Z * error))
        for value, error in zip(squares.tolist(), errors.tolist(), strict=True)
    )
    return LawPiece(params, ses, intervals), law


def _not_negative(normal: Array, right: Array) -> Array:
    """Least squares in two unknowns that may not be below zero."""
    if np.linalg.cond(normal) < 1e12:
        free: Array = np.linalg.solve(normal, right)
        if (free >= 0).all():
            return free
    candidates = [np.array([right[0] / normal[0, 0], 0.0]), np.array([0.0, right[1] / normal[1, 1]])]
    return min(
        (np.maximum(candidate, 0.0) for candidate in candidates),
        key=lambda candidate: float(candidate @ normal @ candidate - 2 * right @ candidate),
    )
