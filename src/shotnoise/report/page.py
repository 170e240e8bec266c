"""The report as one HTML page that needs nothing else: pictures are inside; without scripts only the slider is gone."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shotnoise import __version__, htmlpage
from shotnoise.htmlpage import text
from shotnoise.report.closeups import SPAN, choose, residual_crop, residual_preview
from shotnoise.report.draw import CHARTS, charts
from shotnoise.report.judge import VERDICTS, Finding, neighbour_correlation
from shotnoise.report.subject import Picture

if TYPE_CHECKING:
    from shotnoise.report.report import Report

__all__ = ["page"]

_LONGEST = 1400  # pixels of a side of the large pictures

_BY_STRUCTURE = ("detail-removed", "follows-edges", "softened")  # findings whose place is that of most structure

_EXPLAINED = {
    "structure": "Colour: structure in what was taken away, block by block, in standard deviations of the noise. Noise "
    "alone leaves the picture gray.",
    "law": "Dots: mean square of what was taken away at each brightness; dashes: in smooth parts alone; lines: the "
    "expected noise, less where black or white cuts it off. Dots above the lines took more than noise.",
    "spectrum": "Noise that is removed exactly gives a flat line at 1. What falls short of it was left in the picture, "
    "mostly at low frequencies; what rises above it took the picture along.",
    "histogram": "In standard deviations of the expected noise, beside the normal curve.",
    "autocorrelation": "How alike what was taken away is at pixels so far apart, the middle left out. White noise: "
    "zero everywhere, up to chance.",
    "shift": "How much brighter AFTER is than BEFORE at each brightness. Noise has no mean: near zero everywhere. "
    "Where it falls from left to right, contrast was lost: dark detail lifted, bright detail lowered.",
}


def page(report: "Report") -> str:
    """The whole document."""
    names = report.names
    level = report.verdict
    words, advice = VERDICTS[level]
    close_ups, anchors = _close_ups(report)
    residual, step = residual_preview(report, _LONGEST)
    averaged = (
        ""
        if step == 1
        else f" Each pixel is the mean of {step} x {step}, which makes noise fainter and structure plainer."
    )
    deviation = report.measured.expected_counts
    size = _picture_size(report)
    parts = [
        "<h1>Can this result be trusted?</h1>",
        f'<p class="names">{_names(report)}</p>',
        htmlpage.verdict(
            level, words, (f"<p>{_lead(report)}</p><p>{advice}.</p>", _findings(report.findings, anchors))
        ),
        "<h2>Before and after</h2>",
        '<div class="pair">'
        + _large(_jpeg(report.subject.preview("before", _LONGEST), report.subject.icc), "Before", size)
        + _large(_jpeg(report.subject.preview("after", _LONGEST), report.subject.icc), "After", size)
        + "</div>",
        "<h2>Close-ups</h2>",
        "<p>Before, after, and what was taken away, each pixel enlarged. "
        f"Gray is nothing; black and white are {SPAN:g} standard deviations of the expected noise"
        f"{'' if report.subject.kind == 'raw' else f', {SPAN * deviation:.1f} counts'}. It should look like noise: "
        "if you can tell what the picture shows, detail went with it.</p>",
        close_ups,
        "<h2>What was taken away</h2>",
        f"<p>With the same gain.{averaged}</p>",
        _large(_jpeg(residual, None), "", size),
        '<div class="charts">'
        + "".join(
            htmlpage.figure(image, CHARTS[name], title=CHARTS[name], caption=_EXPLAINED[name])
            for name, image in charts(report).items()
        )
        + "</div>",
        "<h2>The numbers</h2>",
        _numbers(report),
        "<h2>How large is the error?</h2>",
        _error(report),
        "<h2>How this was measured</h2>",
        _provenance(report),
    ]
    title = f"shotnoise report: {names['before']}"
    return htmlpage.document(title, parts, script=_SCRIPT)


def _names(report: "Report") -> str:
    shown = [f"{role.upper()} <b>{text(name)}</b>" for role, name in report.names.items()]
    return "<br>".join([*shown, text(report.subject.describe())])


def _lead(report: "Report") -> str:
    m = report.measured
    parts = [
        f"Noise in BEFORE: {m.expected_counts:.2f} counts of 255 ({text(report.noise.source)}).",
        f"Taken away: {m.removed_counts:.2f} counts, {m.removed:.2f} times the noise.",
        f"Left, by the blind estimate: {report.left:.2f} counts.",
    ]
    if report.truth is not None:
        parts.append(
            f"Against the reference: {_db(report.truth.psnr_before)} before, {_db(report.truth.psnr_after)} after."
        )
    elif (best := report.best_estimate) is not None:
        doubt = "" if best.error is None else f", within {best.error[1]:.1f} dB in nine of ten cases"
        parts.append(
            f"PSNR, estimated without a clean picture: {_db(best.before)} before, {_db(best.psnr)} after{doubt}."
        )
    return " ".join(parts)


def _findings(found: Sequence[Finding], anchors: dict[str, str]) -> str:
    lines = []
    for one in found:
        where = "" if one.place is None else text(str(one.place))
        anchor = anchors.get(one.code)
        if where and anchor:
            where = f'<a href="#{anchor}">{where}</a>'
        lines.append(htmlpage.finding(one.severity, one.text, code=one.code, html=where))
    return htmlpage.findings(lines, "No warnings.")


def _close_ups(report: "Report") -> tuple[str, dict[str, str]]:
    """The rows, and which of them shows which finding."""
    rows = []
    anchors: dict[str, str] = {}
    subject = report.subject
    for number, close_up in enumerate(choose(report), 1):
        for finding in report.findings:
            if finding.code == close_up.title or (
                finding.code in _BY_STRUCTURE and close_up.title.startswith("Most structure")
            ):
                anchors.setdefault(finding.code, f"closeup{number}")
        images = (
            ("before", subject.crop("before", close_up.place), subject.icc),
            ("after", subject.crop("after", close_up.place), subject.icc),
            ("taken away", residual_crop(report, close_up.place), None),
        )
        cells = "".join(
            htmlpage.figure(_png(pixels, icc), name, caption=name, pixels=True) for name, pixels, icc in images
        )
        rows.append(
            f'<section class="closeup" id="closeup{number}"><h3>{text(close_up.title)}</h3>'
            f'<p class="small">{text(close_up.caption)}; {text(str(close_up.place))}</p>'
            f'<div class="three">{cells}</div></section>'
        )
    return "".join(rows), anchors


def _numbers(report: "Report") -> str:
    m, sampled = report.measured, report.measured.sampled
    shift = ", ".join(f"{name} {-255 * value:+.2f}" for name, value in zip(report.subject.planes, m.shift, strict=True))
    rows = [
        ("taken away over expected noise", f"{m.removed:.3f}", "1, or a little less"),
        ("correlation of neighbours in it", f"{neighbour_correlation(m):+.3f}", "0; of white noise"),
        ("its correlation with the fine detail of AFTER", f"{m.detail:+.3f}", "0 to 0.2"),
        ("its correlation with AFTER", f"{m.picture:+.3f}", "0"),
        ("more of it where there are edges (rank correlation)", f"{m.edges:+.2f}", "0 or below"),
        ("excess kurtosis", f"{sampled.kurtosis:.2f}", "0"),
        ("beyond three standard deviations", f"{100 * sampled.beyond:.2f} %", "0.27 %"),
        ("AFTER - BEFORE, counts of 255", shift, "0"),
        (
            "values at black or white, before and after",
            f"{_share(m.clipped_before)}, {_share(m.clipped_after)}",
            "alike",
        ),
        ("rows moved together, over chance", _ratio(m.rows.removed, m.rows.chance), "1"),
        ("columns moved together, over chance", _ratio(m.columns.removed, m.columns.chance), "1"),
    ]
    lines = "".join(
        f"<tr><td class=left>{text(name)}</td><td>{text(value)}</td><td class=dim>{text(ideal)}</td></tr>"
        for name, value, ideal in rows
    )
    head = "<thead><tr><th class=left></th><th>here</th><th>noise alone</th></tr></thead>"
    return f"<div class=scroll><table>{head}<tbody>{lines}</tbody></table></div>"


def _error(report: "Report") -> str:
    lines = []
    if (truth := report.truth) is not None:
        alike = ""
        if truth.ssim_before is not None and truth.ssim_after is not None:
            alike = f"; SSIM {truth.ssim_before:.4f} before, {truth.ssim_after:.4f} after"
        lines.append(
            f"<p>Against the reference: PSNR {_db(truth.psnr_before)} before, <b>{_db(truth.psnr_after)}</b> after"
            f"{alike}.</p>"
        )
    assumed = {
        "stein": "Stein's unbiased risk estimate, with the denoiser run again on a picture moved a little. It takes "
        "for granted that the noise is Gaussian, independent from pixel to pixel, and as strong as said above.",
        "residual": "From the two files alone: variance of the noise minus that of what was taken away. It takes for "
        "granted that the noise is as strong as said above, and that the error has nothing in common with what was "
        "taken away, as of the best possible denoiser. Detail that was removed makes it too high, noise that was left "
        "too low.",
    }
    for estimate in report.estimates:
        if estimate.psnr is None:
            lines.append(f"<p>{assumed[estimate.method]} Here it gives no number: {text(estimate.why)}.</p>")
            continue
        known = "given" if report.noise.known else "estimated"
        doubt = (
            ""
            if estimate.error is None
            else f" On photographs with noise of our making, its level {known}, such estimates were off by "
            f"{estimate.error[0]:.2f} dB in the middle and by at most {estimate.error[1]:.2f} dB in nine of ten."
        )
        sample = ""
        if estimate.share < 0.995:
            sample = (
                f" It is of the {_share(estimate.share)} of the values at which the noise is not cut off by black or "
                "white; nearer to them the error is larger."
            )
        lines.append(
            f"<p>PSNR {_db(estimate.before)} before, <b>{_db(estimate.psnr)}</b> after. "
            f"{assumed[estimate.method]}{doubt}{sample}</p>"
        )
    return "".join(lines) or "<p>Nothing was changed.</p>"


def _provenance(report: "Report") -> str:
    m = report.measured
    law = ", ".join(f"{name} {value}" for name, value in zip(report.subject.planes, _laws(report), strict=True))
    rows = [
        ("noise", f"{report.noise.source}; variance of values in 0..1: {law}"),
        (
            "looked at",
            f"every pixel; {_share(m.usable)} of the values are far enough from black and white to be measured",
        ),
        (
            "sampled",
            f"spectrum, distribution and correlations from {_share(m.sampled.share)} of the pixels, evenly spread",
        ),
        ("blocks", f"{m.blocks.side * report.subject.pixel} x {m.blocks.side * report.subject.pixel} pixels"),
        *((("denoiser", report.how),) if report.how else ()),
        ("made with", f"shotnoise {__version__}, {report.made}, in {report.seconds:.1f} s"),
    ]
    notes = "".join(f"<p class=small>{text(note)}.</p>" for note in report.subject.notes)
    return notes + htmlpage.facts(rows)


def _laws(report: "Report") -> list[str]:
    return [
        f"{k:.3g} x + {s2:.3g}" if k else f"{s2:.3g}" for k, s2 in zip(report.noise.k, report.noise.s2, strict=True)
    ]


def _picture_size(report: "Report") -> int:
    """Small pictures are not blown up beyond twice their size."""
    width = report.subject.upright(np.empty((report.subject.height, report.subject.width), bool)).shape[1]
    return int(2 * width * report.subject.pixel)


def _large(image: bytes, title: str, width: int) -> str:
    return htmlpage.figure(image, title or "what was taken away", kind="jpeg", title=title, width=width)


def _jpeg(pixels: Picture, icc: bytes | None) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88, subsampling=0, icc_profile=icc)
    return buffer.getvalue()


def _png(pixels: Picture, icc: bytes | None) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True, icc_profile=icc)
    return buffer.getvalue()


def _db(value: float | None) -> str:
    return f"{value:.2f} dB" if value is not None and math.isfinite(value) else "no error"


def _share(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"


def _ratio(value: float, chance: float) -> str:
    return f"{value / chance:.1f}" if chance > 0 else "-"


_SCRIPT = """
for(const pair of document.querySelectorAll('.pair')){const box=document.createElement('div');box.className='slider';
box.style.maxWidth=pair.firstElementChild.style.maxWidth;box.style.setProperty('--at','50%');
box.append(...pair.children);const bar=document.createElement('input');bar.type='range';bar.max=1000;bar.value=500;
bar.setAttribute('aria-label','before and after');
bar.addEventListener('input',()=>box.style.setProperty('--at',bar.value/10+'%'));
box.append(bar,document.createElement('i'));pair.replaceWith(box)}
"""
