"""The report of a calibration: one HTML page that needs nothing else, and its plots as PNG files beside it.

The page says first whether to trust the numbers and why not, then the numbers with their errors, then shows the
measurements, then where they come from.
"""

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from shotnoise import __version__, htmlpage
from shotnoise.errors import ProfileError
from shotnoise.images._disk import write
from shotnoise.sensor.calibration import plots
from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.result import Black, Calibration, Emva, Fit, IsoFit, Law
from shotnoise.sensor.profile import NoiseProfile

__all__ = ["VERDICTS", "rejected", "verdict", "write_report"]

VERDICTS = {
    "error": ("Not to be trusted", "Settle the errors below and calibrate again"),
    "warning": ("Usable with care", "Read the warnings below: they may or may not matter for you"),
    "note": ("Trustworthy", "Nothing speaks against these numbers"),
}
"""What the worst finding makes of a calibration, in words."""


def verdict(calibration: Calibration) -> str:
    """The severity of the worst finding."""
    found = {finding.severity for finding in calibration.findings}
    return next((level for level in ("error", "warning") if level in found), "note")


def rejected(iso: IsoFit, fit: Fit) -> int:
    """How many points a fit did not use; of the pooled one, those that its planes did not."""
    return sum(plane.rejected for plane in iso.planes) if fit is iso.pooled else fit.rejected


def write_report(
    calibration: Calibration,
    folder: str | os.PathLike[str],
    *,
    profile: NoiseProfile | None = None,
    frames: Sequence[Frame] = (),
    command: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write report.html and the plots into a folder, which is made.

    Args:
        calibration: what was found.
        folder: where to.
        profile: what was made of it; None where nothing could be.
        frames: the evenly lit ones, to show where it was measured.
        command: that made it.
        progress: called with the number of plots done and of all.

    Returns:
        The page.

    Raises:
        ProfileError: the folder cannot be written.
    """
    place = Path(folder)
    drawn: dict[str, bytes] = {}
    tasks = _figures(calibration, frames)
    try:
        place.mkdir(parents=True, exist_ok=True)
        for done, (name, draw) in enumerate(tasks.items(), 1):
            figure = draw()
            if figure is not None:
                drawn[name] = plots.png(figure)
                write(place / f"{name}.png", partial(_put, drawn[name]))
            if progress is not None:
                progress(done, len(tasks))
        page = place / "report.html"
        write(page, partial(_put, _page(calibration, profile, drawn, command).encode()))
    except OSError as error:
        raise ProfileError(f"{folder}: cannot be written ({error.strerror}); choose another place") from None
    return page


def _put(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _figures(calibration: Calibration, frames: Sequence[Frame]) -> dict[str, Callable[[], Any]]:
    """What is to be drawn, by the name of its file."""
    found: dict[str, Callable[[], Any]] = {}
    for fit in calibration.fits:
        found["photon-transfer" + _suffix(fit.iso)] = partial(plots.photon_transfer, calibration, fit)
    found["laws"] = partial(plots.laws_over_iso, calibration)
    found["dark"] = partial(plots.dark_profile, calibration)
    for iso, rois in calibration.rois:
        own = [frame for frame in frames if frame.iso == iso]
        if own and rois:
            used = {point.roi for point in calibration.points if point.iso == iso and point.used}
            rejected = [roi for roi in rois if roi not in used]
            frame = own[len(own) // 2]
            found["rois" + _suffix(iso)] = partial(plots.roi_overlay, frame, calibration.black, rois, rejected)
    return found


def _suffix(iso: float | None) -> str:
    return "" if iso is None else f"-iso{iso:g}"


def _page(calibration: Calibration, profile: NoiseProfile | None, drawn: dict[str, bytes], command: str) -> str:
    camera = str(profile.camera) if profile is not None else calibration.camera or "an unnamed camera"
    level = verdict(calibration)
    words, advice = VERDICTS[level]
    parts = [
        f"<h1>Noise calibration of {htmlpage.text(camera)}</h1>",
        htmlpage.verdict(level, words, (f"<p>{_summary(calibration)}</p><p>{advice}.</p>", _findings(calibration))),
        '<div class="natural">',
        "<h2>Gain and noise</h2>",
        "<p>Variance = k · mean + s² in counts (DN) above black; s is the noise without light. Intervals are 95 %.</p>",
        _fits(calibration),
    ]
    if calibration.laws:
        parts += ["<h2>Over ISO</h2>", _laws(calibration.laws)]
    if "laws" in drawn:
        parts.append(htmlpage.figure(drawn["laws"], "laws"))
    parts.append("<h2>Photon transfer</h2>")
    parts += [htmlpage.figure(image, name) for name, image in drawn.items() if name.startswith("photon-transfer")]
    if calibration.blacks:
        parts += ["<h2>Without light</h2>", _blacks(calibration.blacks)]
    if "dark" in drawn:
        parts.append(htmlpage.figure(drawn["dark"], "dark"))
    if calibration.bias:
        parts += [_shape(calibration)]
    if calibration.emva is not None:
        parts += ["<h2>EMVA 1288</h2>", _emva(calibration.emva)]
    overlays = [htmlpage.figure(image, name) for name, image in drawn.items() if name.startswith("rois")]
    if overlays:
        parts += ["<h2>Where it was measured</h2>", *overlays]
    parts += ["<h2>Where it comes from</h2>", _provenance(calibration, profile, command)]
    return htmlpage.document(f"Noise calibration of {camera}", [*parts, "</div>"])


def _summary(calibration: Calibration) -> str:
    points = [point for point in calibration.points if not point.dark]
    used = sum(point.used for point in points)
    isos = [f"{iso:g}" for iso in calibration.isos if iso is not None]
    planes = "one plane" if len(calibration.planes) == 1 else f"{len(calibration.planes)} planes"
    at = f" at ISO {', '.join(isos)}" if isos else ""
    errors = [fit.k_se / fit.k for iso in calibration.fits for fit in iso.best if fit.k > 0]
    best = f" The gain is known to {_percent(1.96 * max(errors))} or better (95 %)." if errors else ""
    return f"{used:,} of {len(points):,} measured points used, {planes}{at}.{best}"


def _findings(calibration: Calibration) -> str:
    """One line per kind of finding and text, with the frames it is about."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for finding in calibration.findings:
        about = ", ".join(
            part
            for part in (
                finding.frame,
                "" if finding.iso is None else f"ISO {finding.iso:g}",
                f"plane {finding.plane}" if finding.plane else "",
            )
            if part
        )
        groups.setdefault((finding.severity, finding.code, finding.text), []).append(about)
    lines = []
    for (severity, code, text), names in groups.items():
        named = [name for name in dict.fromkeys(names) if name]
        lines.append(htmlpage.finding(severity, text, code=code, html=htmlpage.text("; ".join(named))))
    return htmlpage.findings(lines, "No findings.")


def _fits(calibration: Calibration) -> str:
    rows = []
    for iso in calibration.fits:
        shown = ([iso.pooled] if iso.pooled is not None else []) + list(iso.planes)
        for line, fit in enumerate(shown):
            index = calibration.planes.index(fit.plane) if fit.plane in calibration.planes else 0
            span = calibration.scale(index)
            chosen = iso.pooled is None or fit is iso.pooled
            read = fit.read_electrons(calibration.step)
            full = span / fit.k
            rows.append(
                (
                    "" if chosen else "minor",
                    [
                        ("-" if iso.iso is None else f"{iso.iso:g}") if line == 0 else "",
                        fit.plane,
                        _interval(fit.k, fit.k_interval),
                        _deviation(fit),
                        f"{read:.3g}",
                        f"{full:,.0f}",
                        f"{math.log2(full / read):.1f}" if read > 0 else "-",
                        f"{fit.chi2 / fit.dof:.2f}" if fit.dof else "-",
                        f"{fit.r2:.5f}",
                        f"{fit.points} + {rejected(iso, fit)}",
                        ", ".join(fit.flags),
                    ],
                )
            )
    heads = (
        "ISO", "plane", "k, DN/e-", "s, DN", "s, e-", "full scale, e-", "range, stops", "χ²/dof", "R²",
        "points used + not", "flags",
    )  # fmt: skip
    pooled = any(fit.pooled is not None for fit in calibration.fits)
    note = "Where the planes agree, they are taken together ('all'), and the single planes are shown in gray."
    return htmlpage.table(heads, rows) + (f"<p class=small>{note}</p>" if pooled else "")


def _laws(laws: Sequence[Law]) -> str:
    rows = []
    for law in laws:
        for index, piece in enumerate(law.pieces):
            names = ("a",) if law.quantity == "k" else ("p", "q")
            params = ", ".join(
                f"{name} = {_interval(value, interval)}"
                for name, value, interval in zip(names, piece.params, piece.intervals, strict=True)
            )
            low = law.pieces[index - 1].below if index else None
            reach = "all" if len(law.pieces) == 1 else (f"below {piece.below:g}" if low is None else f"from {low:g} on")
            worst = max((abs(value) for value in law.residuals if math.isfinite(value)), default=0.0)
            rows.append(
                (
                    "",
                    [
                        "k = a · ISO" if law.quantity == "k" else "s² = (p · ISO)² + q²",
                        ", ".join(law.planes) if len(law.planes) < 4 else "all",
                        reach,
                        params,
                        _percent(worst),
                        f"{law.chi2 / law.dof:.2f}" if law.dof else "-",
                        "yes" if law.accepted else "no",
                        law.reason,
                    ],
                )
            )
    heads = ("law", "planes", "ISO", "parameters (DN)", "largest residual", "χ²/dof", "accepted", "remark")
    return htmlpage.table(heads, rows, left=(0, 3, 7))


def _blacks(blacks: Sequence[Black]) -> str:
    rows = []
    for black in blacks:
        measured = black.source == "frames"
        rows.append(
            (
                "",
                [
                    "-" if black.iso is None else f"{black.iso:g}",
                    "-" if black.exposure is None else f"{black.exposure:.4g}",
                    black.plane,
                    f"{black.level:.3f}" + (f" ± {1.96 * black.level_se:.2g}" if measured else ""),
                    black.source,
                    "-" if black.file_level is None else f"{black.file_level:g}",
                    f"{black.frames}" if measured else "-",
                    f"{black.spread:.2g}" if measured else "-",
                    f"{math.sqrt(black.variance):.4g}" if measured else "-",
                    (f"{black.shading:.2g}" + (" (light!)" if black.leak else "")) if measured else "-",
                    f"{black.row_std:.2g} / {black.column_std:.2g}" if measured else "-",
                    f"{black.hot_pixels:,}" if measured else "-",
                ],
            )
        )
    heads = (
        "ISO", "s", "plane", "black, DN", "from", "file says", "frames", "between frames, DN", "noise, DN",
        "smooth shading, DN", "rows / columns, DN", "hot pixels",
    )  # fmt: skip
    return htmlpage.table(heads, rows)


def _shape(calibration: Calibration) -> str:
    rows = [
        (
            "",
            [
                "-" if noise.iso is None else f"{noise.iso:g}",
                noise.plane,
                f"{noise.lam:.3f}",
                f"{noise.scale:.3g}",
                f"{noise.sigma:.3g}",
                f"{noise.row:.3g}",
                f"{noise.ppcc:.5f}",
            ],
        )
        for noise in calibration.bias
    ]
    heads = ("ISO", "plane", "Tukey λ", "scale, DN", "pixels, DN", "rows, DN", "straightness")
    text = (
        "<h3>Shape of the noise without light</h3><p class=small>λ 0.14 is Gaussian, less has heavier tails; rows: "
        "what the pixels of a sensor row have in common in one frame.</p>"
    )
    if calibration.log_laws:
        laws = [
            f"log({law.quantity}) = {law.slope:.3g} · log k {law.intercept:+.3g} ± {law.residual:.2g}"
            for law in calibration.log_laws
        ]
        text += "<p class=small>" + "; ".join(laws)
        text += " (natural logarithms, DN)</p>"
    return text + htmlpage.table(heads, rows)


def _emva(emva: Emva) -> str:
    facts = (
        ("gain K", emva.gain, "DN/e-"),
        ("dark noise, temporal", emva.dark_noise, "DN"),
        ("dark noise, temporal", emva.dark_electrons, "e-"),
        ("responsivity", emva.responsivity, "DN/photon"),
        ("quantum efficiency", 100 * emva.quantum_efficiency, "%"),
        ("saturation", emva.saturation_photons, "photons"),
        ("saturation", emva.saturation_electrons, "e-"),
        ("dark current, from the mean", emva.dark_current_mean, "e-/s"),
        ("dark current, from the variance", emva.dark_current_variance, "e-/s"),
        ("DSNU", emva.dsnu, "e-"),
        ("PRNU", 100 * emva.prnu, "%"),
    )
    rows = [
        ("", [name, f"{value:.5g}" if math.isfinite(value) else "not measured", unit]) for name, value, unit in facts
    ]
    return htmlpage.table(("quantity", "value", "unit"), rows, left=(0, 2))


def _provenance(calibration: Calibration, profile: NoiseProfile | None, command: str) -> str:
    levels = ", ".join(f"{level:.2f}" for level in calibration.black)
    facts = [
        ("pattern", calibration.pattern or "no colours"),
        ("black (R, Gr, Gb, B)" if len(calibration.black) == 4 else "black", levels),
        ("white", f"{calibration.white:g}"),
        ("step between codes", f"{calibration.step:g} DN"),
        ("points used up to", _percent(calibration.max_signal) + " of the range"),
        ("made with", f"shotnoise {__version__}" + (f", {profile.provenance.made}" if profile is not None else "")),
    ]
    if command:
        facts.append(("command", command))
    text = htmlpage.facts(facts)
    for iso, rois in calibration.rois:
        shown = " ".join(f"{roi.top},{roi.left},{roi.bottom},{roi.right}" for roi in rois)
        title = f"{len(rois)} rectangles" + ("" if iso is None else f" at ISO {iso:g}")
        text += f"<details><summary>{title} (row0,col0,row1,col1)</summary><p class=small>{shown}</p></details>"
    files = profile.provenance.files if profile is not None else ()
    if files:
        rows = [("", [f.name, f.role, "-" if f.iso is None else f"{f.iso:g}", f.sha256]) for f in files]
        table = htmlpage.table(("file", "role", "ISO", "SHA-256"), rows, left=(0, 1, 3))
        text += f"<details><summary>{len(files)} files</summary>{table}</details>"
    return text


def _deviation(fit: Fit) -> str:
    low, high = (math.sqrt(max(value, 0.0)) for value in fit.s2_interval)
    return f"{math.sqrt(fit.s2):.4g} ({low:.4g} to {high:.4g})"


def _interval(value: float, interval: tuple[float, float]) -> str:
    return plots.with_error(value, (interval[1] - interval[0]) / 2)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
