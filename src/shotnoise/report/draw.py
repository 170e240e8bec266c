"""The charts of a report, and its summary in one picture.

Every function that returns a matplotlib figure returns one that belongs to no window system.
"""

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from shotnoise.report.closeups import SPAN, residual_preview
from shotnoise.report.judge import VERDICTS, Severity, neighbour_correlation
from shotnoise.report.measure import LAG

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from shotnoise.report.report import Report

__all__ = ["CHARTS", "charts", "png", "summary"]

_COLOURS = {
    "gray": "#444444",
    "red": "#d1495b",
    "green": "#3a8f4d",
    "blue": "#2b6cb0",
    "R": "#d1495b",
    "Gr": "#3a8f4d",
    "Gb": "#2a9d8f",
    "B": "#2b6cb0",
}
_TONES: dict[str, str] = {"note": "#2f9e5b", "warning": "#b77900", "error": "#cf3f3f"}
_FEW = 200  # values below which a bin of brightness is not drawn
_PREVIEW = 900
_FAINT = 0.4  # times the noise: structure below is not shown, as good denoisers leave as much
_NARROW = 52  # characters of a line in the summary

CHARTS = {
    "structure": "Where structure was taken away",
    "law": "Variance over brightness",
    "spectrum": "Power over frequency",
    "histogram": "Distribution",
    "autocorrelation": "Correlation between pixels",
    "shift": "Mean over brightness",
}
"""Name -> title."""


def png(figure: "Figure", dpi: int = 130) -> bytes:
    """As the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def charts(report: "Report") -> dict[str, bytes]:
    """Each chart by its name, as PNG."""
    drawn = {}
    for name in CHARTS:
        figure = _figure(4.8, 3.5)
        _DRAW[name](report, figure.add_subplot())
        drawn[name] = png(figure, 160)
    return drawn


def summary(report: "Report") -> "Figure":
    """Verdict and findings, the pictures, the charts: to look at, to mail, to put into a paper's appendix."""
    residual, step = residual_preview(report, _PREVIEW)
    tall = min(3.4 * residual.shape[0] / residual.shape[1] + 0.3, 5.0)  # inches of the row of pictures
    figure = _figure(15.0, tall + 6.2)
    grid = figure.add_gridspec(3, 4, height_ratios=(tall, 3.1, 3.1), width_ratios=(1.15, 1, 1, 1))
    words = figure.add_subplot(grid[:, 0])
    words.axis("off")
    _words(report, words, tall + 6.2)
    averaged = "" if step == 1 else f", mean of {step} x {step}"
    for column, (title, pixels) in enumerate(
        (
            ("before", report.subject.preview("before", _PREVIEW)),
            ("after", report.subject.preview("after", _PREVIEW)),
            (f"taken away, ±{SPAN:g} σ{averaged}", residual),
        ),
        1,
    ):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if step == 1 else "antialiased")
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    for number, name in enumerate(CHARTS):
        axes = figure.add_subplot(grid[1 + number // 3, 1 + number % 3])
        _DRAW[name](report, axes)
        axes.set_title(CHARTS[name], fontsize=10)
    return figure


def _words(report: "Report", axes: "Axes", tall: float) -> None:
    """The text of the summary, on axes so many inches tall."""
    level: Severity = report.verdict
    m = report.measured
    at = 1.0

    def line(text: str, size: float = 9.5, colour: str = "#1d232b", bold: bool = False, gap: float = 0.0) -> None:
        nonlocal at
        width = round(_NARROW * 9.5 / size)
        rows = textwrap.wrap(text, width, break_long_words=True) or [""]
        axes.text(
            0, at, "\n".join(rows), fontsize=size, color=colour, va="top", parse_math=False,
            fontweight="bold" if bold else "normal", linespacing=1.25,
        )  # fmt: skip
        at -= len(rows) * size * 1.55 / 72 / tall + gap

    for role, name in report.names.items():
        line(f"{role}: {_printable(name)}", 8.5, "#697382", gap=0.004)
    line(VERDICTS[level][0], 16, _TONES[level], bold=True, gap=0.012)
    line(report.subject.describe(), gap=0.004)
    line(f"noise {m.expected_counts:.2f} counts of 255 ({_printable(report.noise.source)})", gap=0.004)
    line(
        f"taken away {m.removed_counts:.2f} counts, {m.removed:.2f} times the noise; left by the blind estimate "
        f"{report.left:.2f}",
        gap=0.004,
    )
    if (best := report.best_estimate) is not None and best.psnr is not None:
        about = "" if best.error is None else f", within {best.error[1]:.1f} dB in nine of ten cases"
        line(f"PSNR {best.before:.1f} to {best.psnr:.1f} dB (estimate{about})", gap=0.004)
    if report.truth is not None:
        truth = report.truth
        line(f"against the reference {truth.psnr_before:.2f} to {truth.psnr_after:.2f} dB", bold=True, gap=0.004)
    at -= 0.015
    for finding in report.findings:
        if at < 0.05:
            line("more in the page and in the JSON", 8.5, "#697382")
            break
        where = "" if finding.place is None else f" ({finding.place})"
        line(f"{finding.severity}: {finding.text}{where}", 9, _TONES[finding.severity], gap=0.010)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _structure(report: "Report", axes: "Axes") -> None:
    pixels = report.subject.preview("after", _PREVIEW)
    gray = pixels if pixels.ndim == 2 else pixels.mean(2)
    height, width = gray.shape
    where = report.subject.upright(report.structure)
    axes.imshow(gray, cmap="gray", vmin=-60, vmax=330, extent=(0, width, height, 0))
    blocks = report.measured.blocks
    side = width / (report.subject.upright(np.empty((report.subject.height, report.subject.width), bool)).shape[1])
    size = side * blocks.side
    shown = axes.imshow(
        np.ma.masked_less(np.ma.masked_invalid(where), _FAINT), cmap="inferno_r", vmin=0, vmax=2, alpha=0.75,
        extent=(0, where.shape[1] * size, where.shape[0] * size, 0), interpolation="nearest",
    )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02, extend="max")
    bar.ax.set_ylabel("times the noise", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _law(report: "Report", axes: "Axes") -> None:
    bins, raw = report.measured.brightness, report.subject.kind == "raw"
    scale, unit = (1.0, "of white²") if raw else (255.0**2, "counts²")
    x_scale = 1.0 if raw else 255.0
    for plane, name in enumerate(report.subject.planes):
        colour = _COLOURS[name]
        filled = bins.count[plane] >= _FEW
        good, bad = filled & bins.usable[plane], filled & ~bins.usable[plane]
        x, smooth = x_scale * bins.x[plane], scale * bins.smooth[plane]
        axes.plot(x[good], scale * bins.variance[plane][good], "o", color=colour, markersize=3.5, label=name)
        axes.plot(x[good], smooth[good], "_", color=colour, markersize=8)
        axes.plot(x[bad], scale * bins.variance[plane][bad], "o", color=colour, markersize=3.5, alpha=0.25)
        axes.plot(x[filled], scale * bins.expected[plane][filled], "-", color=colour, linewidth=1)
    top = scale * np.nanmax(np.where(bins.count >= _FEW, np.fmax(bins.variance, bins.expected), np.nan), initial=0)
    axes.set_ylim(0, 1.15 * top if math.isfinite(top) and top > 0 else 1)
    axes.set_xlabel("brightness of AFTER" + ("" if raw else " (counts)"), fontsize=9)
    axes.set_ylabel(f"variance ({unit})", fontsize=9)
    _keyed(axes, [("o", "all"), ("_", "smooth parts"), ("-", "expected")])


def _shift(report: "Report", axes: "Axes") -> None:
    bins, raw = report.measured.brightness, report.subject.kind == "raw"
    x_scale = 1.0 if raw else 255.0
    for plane, name in enumerate(report.subject.planes):
        good = (bins.count[plane] >= _FEW) & bins.usable[plane]
        axes.plot(
            x_scale * bins.x[plane][good], -255 * bins.mean[plane][good], "o-", color=_COLOURS[name], markersize=3,
            linewidth=0.8, label=name,
        )  # fmt: skip
    axes.axhline(0, color="#888888", linewidth=0.8)
    low, high = axes.get_ylim()
    reach = max(abs(low), abs(high), 0.5 if not raw else 0.05)
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("brightness of AFTER" + ("" if raw else " (counts)"), fontsize=9)
    axes.set_ylabel("AFTER - BEFORE (counts of 255)", fontsize=9)
    axes.tick_params(labelsize=8)


def _spectrum(report: "Report", axes: "Axes") -> None:
    sampled = report.measured.sampled
    for values, name, colour, width in (
        (sampled.power_before, "before", "#999999", 1.0),
        (sampled.power_after, "after", "#2b6cb0", 1.2),
        (sampled.power, "taken away", "#cf5a1d", 1.8),
    ):
        good = values > 0
        axes.semilogy(sampled.frequencies[good], values[good], color=colour, linewidth=width, label=name)
    axes.axhline(1, color="#888888", linewidth=0.8, linestyle="--")
    axes.set_ylim(10 ** max(-3.0, math.floor(math.log10(max(float(sampled.power_after.min()), 1e-3)))), None)
    axes.set_xlabel("cycles per pixel", fontsize=9)
    axes.set_ylabel("power (white noise = 1)", fontsize=9)
    axes.legend(fontsize=8, framealpha=0.9)
    axes.tick_params(labelsize=8)


def _histogram(report: "Report", axes: "Axes") -> None:
    sampled = report.measured.sampled
    x = sampled.histogram_x
    axes.fill_between(x, sampled.histogram, step="mid", color="#cf5a1d", alpha=0.35, linewidth=0)
    axes.step(x, sampled.histogram, where="mid", color="#cf5a1d", linewidth=1, label="taken away")
    axes.plot(x, np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), color="#1d232b", linewidth=1, label="expected noise")
    axes.set_yscale("log")
    axes.set_ylim(1e-5, 2)
    axes.set_xlabel("standard deviations of the noise", fontsize=9)
    axes.set_ylabel("density", fontsize=9)
    axes.legend(fontsize=8, framealpha=0.9, loc="upper right")
    axes.tick_params(labelsize=8)


def _autocorrelation(report: "Report", axes: "Axes") -> None:
    table = report.measured.sampled.autocorrelation.copy()
    table[LAG, LAG] = np.nan
    reach = max(0.1, float(np.nanmax(np.abs(table))))
    extent = (-LAG - 0.5, LAG + 0.5, LAG + 0.5, -LAG - 0.5)
    shown = axes.imshow(table, cmap="RdBu_r", vmin=-reach, vmax=reach, extent=extent)
    axes.set_xticks(range(-LAG, LAG + 1, 4))
    axes.set_yticks(range(-LAG, LAG + 1, 4))
    axes.set_xlabel(f"pixels apart; neighbours {neighbour_correlation(report.measured):+.3f}", fontsize=9)
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    axes.tick_params(labelsize=8)


_DRAW: dict[str, Any] = {
    "structure": _structure,
    "law": _law,
    "spectrum": _spectrum,
    "histogram": _histogram,
    "autocorrelation": _autocorrelation,
    "shift": _shift,
}


def _keyed(axes: "Axes", marks: list[tuple[str, str]]) -> None:
    """What the marks mean, in gray: the colours are those of the planes."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color="#555555", marker="" if mark == "-" else mark, linestyle="-" if mark == "-" else "")
        for mark, _ in marks
    ]
    axes.legend(handles, [name for _, name in marks], fontsize=8, framealpha=0.9)
    axes.tick_params(labelsize=8)


def _printable(text: str) -> str:
    """Without what a font cannot draw."""
    return "".join(sign if sign.isprintable() and ord(sign) < 0x2500 else "?" for sign in text)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure
