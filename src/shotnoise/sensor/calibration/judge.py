"""What measured points say: lines, laws over ISO, and everything that speaks against them."""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from statistics import median
from typing import Any

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.dark import log_law
from shotnoise.sensor.calibration.fit import OFF_THE_LINE, fit_iso, fit_line
from shotnoise.sensor.calibration.laws import fit_gain_law, fit_read_law, mislabelled
from shotnoise.sensor.calibration.result import (
    BiasNoise,
    Black,
    Calibration,
    Finding,
    Fit,
    IsoFit,
    Law,
    LogLaw,
    Point,
    Roi,
)

__all__ = ["judge", "sorted_findings"]

_SEVERITY = {"error": 0, "warning": 1, "note": 2}
_SCATTER = 0.03  # up to here points of a real camera may scatter
_SERIOUS = 0.1  # a curvature that makes a tenth of the variance spoils k


def judge(
    points: Sequence[Point],
    like: Frame,
    *,
    blacks: Sequence[Black],
    bias: Sequence[BiasNoise] = (),
    findings: Sequence[Finding] = (),
    white: float,
    step: float = 1.0,
    max_signal: float = 0.7,
    rois: tuple[tuple[float | None, tuple[Roi, ...]], ...] = (),
    brightness: Sequence[tuple[float | None, float | None]] = (),
) -> Calibration:
    """Fits, laws and verdicts from measured points.

    Args:
        points: of all ISOs and planes, dark ones included.
        like: a frame with the planes, the pattern and the camera.
        blacks: per ISO, exposure and plane.
        bias: shape of the dark noise.
        findings: what is known to be wrong already.
        white: count at which the sensor is full.
        step: DN between codes.
        max_signal: share of the range up to which points were used.
        rois: where they were measured.
        brightness: per ISO, signal per second of the same thing; None where that means nothing.
    """
    found = list(findings)
    marked: list[Point] = []
    fits: list[IsoFit] = []
    for iso in sorted({point.iso for point in points}, key=lambda value: (value is None, value)):
        own = [point for point in points if point.iso == iso]
        try:
            fit, own_marked = fit_iso(own, like.planes)
        except ProfileError as error:
            marked += own
            if any(not point.dark for point in own):
                found.append(Finding("error", "too-few-levels", f"no line could be fitted: {error}", iso=iso))
            continue
        fits.append(fit)
        marked += own_marked
        found += _verdicts(fit, own_marked, step)
    if not any(not point.dark for point in points):
        text = "no evenly lit frames: the gain cannot be measured; take two of a gray card at each of 8 levels per ISO"
        found.append(Finding("error", "missing", text))
    labels = _labels(fits, dict(brightness), marked)
    found += labels
    wrong = {finding.iso for finding in found if finding.severity == "error" and finding.iso is not None}
    laws = _laws([fit for fit in fits if fit.iso is not None and fit.iso not in wrong], like.planes)
    found += _law_findings(laws, [fit.iso for fit in fits])
    by_plane = [[black.level for black in blacks if black.plane == plane] for plane in like.planes]
    return Calibration(
        camera=like.camera,
        pattern=like.pattern,
        planes=like.planes,
        black=tuple(median(levels) for levels in by_plane),
        white=white,
        step=step,
        blacks=tuple(blacks),
        points=tuple(marked),
        fits=tuple(fits),
        laws=laws,
        bias=tuple(bias),
        log_laws=_log_laws(bias, fits),
        findings=sorted_findings(found),
        max_signal=max_signal,
        rois=rois,
    )


def sorted_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Worst first, otherwise in the order they came."""
    return tuple(sorted(findings, key=lambda finding: _SEVERITY[finding.severity]))


def _verdicts(fit: IsoFit, points: Sequence[Point], step: float) -> list[Finding]:
    found = []
    flags = {flag: [part for part in fit.planes if flag in part.flags] for part in fit.planes for flag in part.flags}
    if (least := min(fit.best, key=lambda part: part.k)).k <= 0:
        text = (
            f"the gain comes out as {least.k:.3g} DN/e-, which cannot be: brighter frames are not noisier; expected "
            "black frames and lit ones of one camera mode, at several brightnesses: check what was given"
        )
        found.append(Finding("error", "scatter", text, "", fit.iso, least.plane))
    if curved := flags.get("curvature"):
        found.append(_curved(fit, curved, points))
    if negative := flags.get("negative-s2"):
        worst = min(negative, key=lambda part: part.s2_free)
        text = (
            f"the line meets the axis at a variance of {worst.s2_free:.3g} DN^2, which cannot be; 0 was taken: the "
            "points are not noise alone, or the black level is too high"
        )
        found.append(Finding("warning", "curvature", text, "", fit.iso, worst.plane))
    if few := flags.get("too-few-levels"):
        usable = [point for point in points if point.used and not point.dark]
        text = f"{len(usable)} usable points at fewer than three levels; take 8 to 12 from dark to 70 % of the range"
        found.append(Finding("warning", "too-few-levels", text, "", fit.iso, few[0].plane if len(few) == 1 else ""))
    if "one-frame" in flags:
        text = (
            "some levels have a single frame: unequal pixels count as noise there; take two or more of each without "
            "touching the camera"
        )
        found.append(Finding("warning", "missing", text, iso=fit.iso))
    if "scatter" in flags and "curvature" not in flags:
        worst = max(flags["scatter"], key=lambda part: part.scatter)
        text = (
            f"the variances scatter by {100 * worst.scatter:.1f} % about the line beyond chance "
            f"({sqrt(worst.chi2 / worst.dof):.1f} times as much as it makes); the errors include that"
        )
        found.append(
            Finding("warning" if worst.scatter > _SCATTER else "note", "scatter", text, "", fit.iso, worst.plane)
        )
    clipped = {point.names for point in points if point.reason == "clipped at white"}
    if clipped:
        text = f"{len(clipped)} exposures reach white; their clipped patches were left out"
        found.append(Finding("note", "clipping", text, next(iter(clipped))[0], fit.iso))
    if fit.pooled is None and len(fit.planes) > 1:
        gains = ", ".join(f"{part.plane} {part.k:.4g}" for part in fit.planes)
        text = f"the planes differ ({gains} DN/e-, p = {fit.p:.1g}); each keeps its own line"
        found.append(Finding("note", "planes", text, iso=fit.iso))
    if (least := min(fit.best, key=lambda part: part.s2)).s2 < 0.3 * step**2 and "curvature" not in flags:
        text = (
            f"the noise without light is {sqrt(least.s2):.2f} DN, little more than rounding makes; its value is not to "
            "be trusted below half a step"
        )
        found.append(Finding("warning", "quantisation", text, "", fit.iso, least.plane))
    return found


def _curved(fit: IsoFit, curved: Sequence[Fit], points: Sequence[Point]) -> Finding:
    worst = max(curved, key=lambda part: abs(part.curvature_t))
    own = [point for point in points if point.used and point.plane in (worst.plane, "all")]
    top = max(point.mean for point in own)
    share = abs(worst.curvature) * top / max(worst.variance(top) / top, 1e-30)
    if worst.curvature > 0:
        spread = 100 * sqrt(worst.curvature)
        advice = (
            "different colours in one patch? Measure each colour plane by itself"
            if spread > 5
            else "unequal pixels? Take two frames of each level and do not touch the camera"
            if any(point.frames < 2 for point in own)
            else "did something move between the frames?"
        )
        cause = f"something that differs by {spread:.1f} % from pixel to pixel is in it beside noise ({advice})"
    else:
        cause = "the response flattens towards white, or the file is compressed; lower max_signal"
    text = (
        f"variance is not a straight line over the mean (t = {worst.curvature_t:.0f}): {cause}. The line says k = "
        f"{worst.k:.4g}, with a square term it is {worst.k_curved:.4g}"
    )
    plane = "" if worst.plane == "all" else worst.plane
    return Finding("error" if share > _SERIOUS else "warning", "curvature", text, "", fit.iso, plane)


def _labels(
    fits: Sequence[IsoFit], brightness: dict[float | None, float | None], points: Sequence[Point]
) -> list[Finding]:
    known = [fit for fit in fits if fit.iso]
    names = [next((p.names[0] for p in points if p.iso == fit.iso and p.names), "") for fit in known]
    gains = [median(_lit_gain(part, points) for part in fit.planes) for fit in known]
    isos = [fit.iso for fit in known if fit.iso is not None]
    return mislabelled(isos, gains, [brightness.get(iso) for iso in isos], names)


def _lit_gain(fit: Fit, points: Sequence[Point]) -> float:
    """The gain from lit frames alone: under a wrong label they were fitted together with the wrong black frames."""
    own = [
        replace(point, used=True)
        for point in points
        if (point.iso, point.plane) == (fit.iso, fit.plane) and not point.dark
        if point.used or point.reason == OFF_THE_LINE
    ]
    try:
        alone, _ = fit_line(own)
    except ProfileError:
        alone = fit
    chosen = alone if alone.k > 0 and alone.k_se < 0.08 * alone.k else fit
    # Where colours are mixed in, the linear term of the curve is the nearest thing to a gain.
    return chosen.k_curved if "curvature" in chosen.flags and chosen.k_curved > 0 else chosen.k


def _laws(fits: Sequence[IsoFit], planes: tuple[str, ...]) -> tuple[Law, ...]:
    if not fits:
        return ()
    isos = [fit.iso for fit in fits if fit.iso is not None]
    together = all(fit.pooled is not None for fit in fits)
    laws: list[Law] = []
    for index, names in enumerate([planes] if together else [(plane,) for plane in planes]):
        own = [fit.best[index] for fit in fits]
        laws.append(fit_gain_law(isos, [fit.k for fit in own], [fit.k_se for fit in own], names))
        laws.append(fit_read_law(isos, [fit.s2 for fit in own], [fit.s2_se for fit in own], names))
    return tuple(laws)


def _law_findings(laws: Sequence[Law], isos: Sequence[float | None]) -> list[Finding]:
    if not laws and any(iso is not None for iso in isos):
        return [Finding("error", "law", "no ISO is left without errors, so there are no laws over ISO")]
    if isos and all(iso is None for iso in isos):
        return [Finding("note", "law", "no ISO is known, so there are no laws over ISO")]
    forms = {"k": "k = a ISO", "s2": "s2 = (p ISO)^2 + q^2"}
    found = []
    for law in laws:
        name = forms[law.quantity]
        plane = law.planes[0] if len(law.planes) == 1 and law.planes != ("Y",) else ""
        if not law.accepted:
            found.append(Finding("warning", "law", f"{name} was refused: {law.reason}", plane=plane))
        elif law.reason:
            found.append(Finding("note", "law", f"{name}: {law.reason}", plane=plane))
        if len(law.pieces) > 1:
            text = f"{name} breaks near ISO {law.pieces[0].below:.0f}: the sensor has two conversion gains"
            found.append(Finding("note", "law", text, plane=plane))
    return found


def _log_laws(bias: Sequence[BiasNoise], fits: Sequence[IsoFit]) -> tuple[LogLaw, ...]:
    gains: dict[Any, float] = {
        (fit.iso, part.plane): best.k for fit in fits for part, best in zip(fit.planes, fit.best, strict=True)
    }
    known = [noise for noise in bias if (noise.iso, noise.plane) in gains]
    own = [gains[noise.iso, noise.plane] for noise in known]
    laws = (
        log_law("tukey-lambda", own, [noise.scale for noise in known]),
        log_law("row", own, [noise.row for noise in known]),
        log_law("gaussian", own, [noise.sigma for noise in known]),
    )
    return tuple(law for law in laws if law is not None)
