"""A calibration as a noise profile: normalised units, what consumers need, and every warning."""

import math
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from shotnoise import __version__
from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.result import MONO, Calibration, Fit, Law
from shotnoise.sensor.profile import (
    Camera,
    Entry,
    IsoLaw,
    LogLaw,
    NoiseProfile,
    PlaneLaws,
    Provenance,
    SourceFile,
)

__all__ = ["profile_from"]

_DIGITS = 6  # of numbers that were measured: more would only look precise


def profile_from(
    calibration: Calibration, *, camera: Camera | None = None, files: Sequence[SourceFile] = ()
) -> NoiseProfile:
    """The noise profile of a calibration.

    Laws over ISO are in it only where they were accepted; otherwise the profile interpolates between the ISOs. The
    findings become its warnings and notes.

    Args:
        calibration: what was found.
        camera: which one; None: as the calibration calls it.
        files: that were measured.

    Raises:
        ProfileError: there is no fit to be used.
    """
    try:
        return _profile(calibration, camera, files)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
        raise ProfileError(f"these fits make no usable profile ({reason}); see the findings") from None


def _profile(calibration: Calibration, camera: Camera | None, files: Sequence[SourceFile]) -> NoiseProfile:
    known = [fit for fit in calibration.fits if fit.iso is not None]
    fits = known or calibration.fits
    entries: list[Entry] = []
    for fit in fits:
        if fit.pooled is not None:
            entries.append(_entry(calibration, fit.pooled, "all", list(range(len(calibration.planes)))))
            continue
        for index, plane in enumerate(fit.planes):
            entries.append(_entry(calibration, plane, _name(plane.plane), [index]))
    if not entries:
        reasons = "; ".join(finding.text for finding in calibration.errors) or "no points were left"
        raise ProfileError(f"no ISO could be fitted, so there is no profile to make: {reasons}")
    laws, refused = _laws(calibration) if known else (None, [])
    warnings = [finding.text for finding in calibration.findings if finding.severity != "note"] + refused
    notes = [finding.text for finding in calibration.findings if finding.severity == "note"]
    if known and len(known) < len(calibration.fits):
        warnings.append("frames without an ISO were left out, because others have one")
    return NoiseProfile(
        camera=camera or Camera(model=calibration.camera),
        pattern=calibration.pattern or "mono",  # type: ignore[arg-type]  # checked by the model
        black=tuple(_short(level) for level in calibration.black),
        white=calibration.white,
        bits=max(1, math.ceil(math.log2(calibration.white + 1))),
        entries=tuple(entries),
        laws=laws,
        log_laws=_log_laws(calibration),  # type: ignore[arg-type]
        provenance=Provenance(
            method="photon transfer: variance over mean of evenly lit and black frames",
            tool=f"shotnoise {__version__}",
            made=datetime.now(UTC).date().isoformat(),
            files=tuple(files),
            rois=tuple(dict.fromkeys((r.top, r.left, r.bottom, r.right) for _, rois in calibration.rois for r in rois)),
        ),
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _name(plane: str) -> Any:
    return "all" if plane in MONO else plane


def _entry(calibration: Calibration, fit: Fit, plane: Any, indices: list[int]) -> Entry:
    """One fit in normalised units, with the shape of the dark noise where it is known."""
    scale = statistics.fmean(calibration.scale(index) for index in indices)
    names = [calibration.planes[index] for index in indices]
    bias = [noise for noise in calibration.bias if noise.iso == fit.iso and noise.plane in names]
    shape: dict[str, float] = {}
    if bias:
        shape = {
            "tukey_lambda": _short(statistics.fmean(noise.lam for noise in bias)),
            "tukey_scale": _short(statistics.fmean(noise.scale for noise in bias) / scale),
            "row": _short(statistics.fmean(noise.row for noise in bias) / scale),
        }
    return Entry(
        iso=fit.iso,
        plane=plane,
        k=_short(fit.k / scale),
        k_se=_short(fit.k_se / scale),
        s2=_short(fit.s2 / scale**2),
        s2_se=_short(fit.s2_se / scale**2),
        s2_free=_short(fit.s2_free / scale**2) if fit.s2_free < fit.s2 else None,
        chi2=_short(fit.chi2 / fit.dof) if fit.dof > 0 else None,
        n_points=fit.points,
        flags=fit.flags,
        **shape,
    )


def _laws(calibration: Calibration) -> tuple[dict[Any, PlaneLaws] | None, list[str]]:
    """Per plane, or one for all where both quantities have one; None, and why, if any is missing or not accepted."""
    found: dict[Any, tuple[Law | None, Law | None]] = {
        plane: (calibration.law("k", plane), calibration.law("s2", plane)) for plane in calibration.planes
    }
    refused = []
    for law in calibration.laws:
        if not law.accepted:
            name = "the gain" if law.quantity == "k" else "the noise without light"
            refused.append(f"{name} follows no simple law over ISO ({law.reason}); between the ISOs it is interpolated")
    if refused or any(law is None for pair in found.values() for law in pair):
        return None, refused
    common = {law.planes == calibration.planes for pair in found.values() for law in pair if law is not None}
    planes = calibration.planes[:1] if common == {True} else calibration.planes
    laws = {}
    for index, plane in enumerate(planes):
        gain, read = found[plane]
        if gain is None or read is None:
            continue
        indices = range(len(calibration.planes)) if len(planes) == 1 else (index,)
        scale = statistics.fmean(calibration.scale(i) for i in indices)
        name = "all" if len(planes) == 1 else _name(plane)
        laws[name] = PlaneLaws(k=_law(gain, scale, "proportional"), s2=_law(read, scale, "quadrature"))
    return laws, []


def _law(law: Law, scale: float, form: Any) -> IsoLaw:
    """The params of both forms are proportional to counts: a, and p and q, of which the squares are variances."""
    first, last = law.pieces[0], law.pieces[-1]
    split = len(law.pieces) > 1

    def scaled(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(_short(value / scale) for value in values)

    return IsoLaw(
        form=form,
        params=scaled(first.params),
        se=scaled(first.se),
        break_iso=first.below if split else None,
        params_above=scaled(last.params) if split else None,
        se_above=scaled(last.se) if split else None,
        residuals={
            iso: _short(value) for iso, value in zip(law.isos, law.residuals, strict=True) if math.isfinite(value)
        },
    )


def _log_laws(calibration: Calibration) -> dict[str, LogLaw]:
    """log(noise / V) = slope log(k / V) + intercept + (slope - 1) log V."""
    scale = math.log(statistics.fmean(calibration.scale(index) for index in range(len(calibration.planes))))
    return {
        law.quantity: LogLaw(
            slope=_short(law.slope),
            intercept=_short(law.intercept + (law.slope - 1) * scale),
            residual=_short(law.residual),
        )
        for law in calibration.log_laws
    }


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
