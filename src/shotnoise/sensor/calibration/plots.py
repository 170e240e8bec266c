"""A calibration to look at: photon transfer per ISO, laws over ISO, where it was measured, the frames without light.

Every function returns a matplotlib figure that belongs to no window system and is closed by being forgotten.
"""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.result import Black, Calibration, Fit, IsoFit, Point, Roi

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["dark_profile", "laws_over_iso", "photon_transfer", "png", "roi_overlay", "with_error"]

_COLOURS = {"R": "#d1495b", "Gr": "#3a8f4d", "Gb": "#2a9d8f", "B": "#2b6cb0", "Y": "#444444", "all": "#222222"}
_LABELS = {
    "R": "red",
    "Gr": "green, red rows",
    "Gb": "green, blue rows",
    "B": "blue",
    "Y": "sensor",
    "all": "all planes",
}
_MARKS = {"R": "o", "Gr": "s", "Gb": "D", "B": "^", "Y": "o", "all": "o"}
_Z95 = 1.96
_MANY = 60  # points of a plane
_NUMBERED = 40  # rectangles


def photon_transfer(calibration: Calibration, fit: IsoFit) -> "Figure":
    """Variance over mean of one ISO: straight and logarithmic, line with its 95 % band, residuals below."""
    figure = _figure(10.5, 7.4)
    grid = figure.add_gridspec(2, 2, height_ratios=(2.6, 1))
    straight, logarithmic = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    residual = figure.add_subplot(grid[1, :])
    points = [point for point in calibration.points if point.iso == fit.iso]
    lines = [fit.pooled] if fit.pooled is not None else list(fit.planes)
    top = max((point.mean for point in points), default=1.0) * 1.06
    lowest = min((point.mean for point in points if point.mean > 0), default=top / 100)
    for plane in calibration.planes:
        own = [point for point in points if point.plane == plane]
        line = fit.pooled or next((line for line in fit.planes if line.plane == plane), None)
        _points(straight, own, plane)
        _points(logarithmic, own, plane, dark_at=lowest / 2)
        if line is not None:
            _points(residual, [point for point in own if point.used], plane, line=line)
    for line in lines:
        _line(straight, line, np.linspace(0, top, 200))
        _line(logarithmic, line, np.geomspace(lowest * 0.7, top, 200))
        logarithmic.plot([lowest * 0.4, lowest * 0.6], [max(line.s2, 1e-9)] * 2, color=_COLOURS[line.plane])
    straight.set(xlim=(0, top), xlabel="mean above black (DN)", ylabel="variance (DN²)", title="linear")
    straight.set_ylim(bottom=0)
    logarithmic.set(
        xscale="log", yscale="log", xlabel="mean above black (DN); left: without light", title="logarithmic"
    )
    residual.axhline(0, color="#888888", linewidth=0.8)
    residual.set(xlim=(-0.012 * top, top), xlabel="mean above black (DN)", ylabel="(measured - line)\n/ line (%)")
    limit = calibration.max_signal * min(calibration.scale(index) for index in range(len(calibration.planes)))
    if limit < top:
        for axes in (straight, logarithmic, residual):
            axes.axvspan(limit, top, color="#000000", alpha=0.05, linewidth=0)
    straight.legend(*_legend(calibration, lines, points), loc="upper left", fontsize=8, framealpha=0.9)
    figure.suptitle(f"Photon transfer, {_iso(fit.iso)}", x=0.01, ha="left", fontweight="bold")
    return figure


def laws_over_iso(calibration: Calibration) -> "Figure | None":
    """Gain and noise without light over ISO with their laws; None where there are no two ISOs."""
    isos = [fit.iso for fit in calibration.fits if fit.iso is not None]
    if len(isos) < 2:
        return None
    from matplotlib.ticker import LogLocator, NullLocator

    figure = _figure(10.5, 6.4)
    grid = figure.add_gridspec(2, 2, height_ratios=(2.6, 1))
    reach = np.geomspace(min(isos) / 2, 2 * max(isos), 300)
    for column, quantity in enumerate(("k", "s2")):
        upper = figure.add_subplot(grid[0, column])
        lower = figure.add_subplot(grid[1, column], sharex=upper)
        _law_panel(upper, lower, calibration, quantity, reach)
        upper.set(xscale="log", yscale="log")
        upper.set_ylabel("gain k (DN per electron)" if column == 0 else "noise without light (DN)")
        upper.set_title("gain" if column == 0 else "noise without light, standard deviation")
        lower.axhline(0, color="#888888", linewidth=0.8)
        lower.set(xlabel="ISO", ylabel="off the law (%)")
        upper.set_xticks(isos, [f"{iso:g}" for iso in isos], rotation=0 if len(isos) < 8 else 60)
        upper.xaxis.set_minor_locator(NullLocator())
        upper.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        upper.yaxis.set_major_formatter("{x:g}")
        upper.yaxis.set_minor_locator(NullLocator())
        upper.legend(fontsize=8, framealpha=0.9)
        for axes in (upper, lower):
            for low, high in ((reach[0], min(isos)), (max(isos), reach[-1])):
                axes.axvspan(low, high, color="#000000", alpha=0.05, linewidth=0)
            axes.set_xlim(reach[0], reach[-1])
    figure.suptitle("Laws over ISO; shaded: beyond what was measured", x=0.01, ha="left", fontweight="bold")
    return figure


def roi_overlay(frame: Frame, black: Sequence[float], rois: Sequence[Roi], rejected: Sequence[Roi] = ()) -> "Figure":
    """Where it was measured: a frame in gray with the rectangles, dashed where none of the points was used."""
    planes = frame.load()
    plane = planes[min(1, len(planes) - 1)].astype(np.float32) - black[min(1, len(black) - 1)]
    size = 1 if frame.pattern is None else 2
    step = max(1, math.ceil(max(plane.shape) / 1200))
    shown = np.clip(plane[::step, ::step], 0, None)
    shown = (shown / max(float(np.percentile(shown, 99.8)), 1e-6)).clip(0, 1) ** (1 / 2.2)
    height, width = plane.shape[0] * size, plane.shape[1] * size
    figure = _figure(9.0, 9.0 * height / width + 0.6)
    axes = figure.add_subplot()
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1.6, extent=(0, width, height, 0), interpolation="nearest")
    from matplotlib.patches import Rectangle

    for number, roi in enumerate(rois, 1):
        colour = "#ff5a5f" if roi in rejected else "#ffe066"
        axes.add_patch(
            Rectangle(
                (roi.left, roi.top),
                roi.right - roi.left,
                roi.bottom - roi.top,
                fill=False,
                edgecolor=colour,
                linewidth=1.6,
                linestyle="--" if roi in rejected else "-",
            )
        )
        if len(rois) <= _NUMBERED:
            axes.text(roi.left, roi.top, f" {number}", color=colour, va="top", fontsize=9, fontweight="bold")
    axes.set(xlabel="column", ylabel="row")
    axes.grid(visible=False)
    figure.suptitle(f"Where it was measured: {frame.name}, {_iso(frame.iso)}", x=0.01, ha="left", fontweight="bold")
    return figure


def dark_profile(calibration: Calibration) -> "Figure | None":
    """Means of the rows and columns of the black frames, at the lowest and highest ISO; None without black frames."""
    shown = [black for black in calibration.blacks if black.row_profile]
    if not shown:
        return None
    keys = list(dict.fromkeys((black.iso, black.exposure) for black in shown))
    keys = keys if len(keys) <= 2 else [keys[0], keys[-1]]
    figure = _figure(10.5, 2.9 * len(keys) + 0.4)
    grid = figure.add_gridspec(len(keys), 2)
    for line, key in enumerate(keys):
        own = [black for black in shown if (black.iso, black.exposure) == key]
        for column, name in enumerate(("row", "column")):
            axes = figure.add_subplot(grid[line, column])
            for black in own:
                _profile(axes, black, name)
            axes.axhline(0, color="#888888", linewidth=0.8)
            axes.set(xlabel=f"{name} of the plane", ylabel="mean - black (DN)")
            time = "" if key[1] is None else f", {key[1]:.4g} s"
            axes.set_title(f"{name}s, {_iso(key[0])}{time}", fontsize=10)
            if line == column == 0 and len(own) > 1:
                axes.legend(fontsize=7, ncols=4, loc="upper right", framealpha=0.9)
    figure.suptitle("Black frames: structure along rows and columns", x=0.01, ha="left", fontweight="bold")
    return figure


def with_error(value: float, half: float) -> str:
    """A value with as many digits as the half-width of its interval has two of."""
    if not (half > 0 and math.isfinite(half)):
        return f"{value:.4g}"
    digits = 1 - math.floor(math.log10(half))
    return f"{value:.{digits}f} ± {half:.{digits}f}" if 0 <= digits < 8 else f"{value:.4g} ± {half:.2g}"


def png(figure: "Figure", dpi: int = 140) -> bytes:
    """As the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _iso(iso: float | None) -> str:
    return "ISO unknown" if iso is None else f"ISO {iso:g}"


def _points(
    axes: "Axes", points: Sequence[Point], plane: str, *, dark_at: float | None = None, line: Fit | None = None
) -> None:
    """Filled: used, crossed: not; clouds of points are drawn as dots with what they are on average.

    Args:
        axes: where.
        points: of one plane.
        plane: its name.
        dark_at: where the dark points stand in a logarithmic plot.
        line: draw what the points are off it, in per cent.
    """
    colour = _COLOURS[plane]
    used = [point for point in points if point.used]
    unused = [point for point in points if not point.used]

    def draw(some: Sequence[tuple[float, float, float]], **style: Any) -> None:
        x = np.array([mean for mean, _, _ in some])
        y = np.array([variance for _, variance, _ in some])
        bar = _Z95 * y * np.sqrt(2 / np.array([dof for _, _, dof in some]))
        if line is not None:
            there = np.maximum(line.k * x + line.s2, 1e-12)
            y, bar = 100 * (y / there - 1), 100 * bar / there
        if dark_at is not None:
            x = np.where(x <= 0, dark_at, x)
        if style.get("fmt") == "none":
            axes.plot(x, y, style["mark"], color=colour, markersize=style["size"], alpha=0.5, rasterized=True)
        else:
            axes.errorbar(x, y, bar, fmt=_MARKS[plane], color=colour, markersize=4.5, elinewidth=1, capsize=2, zorder=3)

    if len(used) > _MANY:
        draw([(point.mean, point.variance, point.dof) for point in used], fmt="none", mark=".", size=2)
    draw(_gathered(used) if len(used) > _MANY else [(point.mean, point.variance, point.dof) for point in used])
    if unused:
        draw([(point.mean, point.variance, point.dof) for point in unused], fmt="none", mark="x", size=6)


def _gathered(points: Sequence[Point]) -> list[tuple[float, float, float]]:
    """Mean, variance and degrees of freedom of points of about the same brightness, together."""
    groups: dict[int, list[Point]] = {}
    for point in points:
        level = round(math.log(point.mean) / 0.08) if point.mean > 0 else -(10**6)
        groups.setdefault(level, []).append(point)
    together = []
    for group in groups.values():
        dof = sum(point.dof for point in group)
        mean = sum(point.dof * point.mean for point in group) / dof
        together.append((mean, sum(point.dof * point.variance for point in group) / dof, dof))
    return together


def _line(axes: "Axes", fit: Fit, x: npt.NDArray[np.float64]) -> None:
    y = np.array([fit.variance(mean) for mean in x])
    half = _Z95 * np.array([fit.variance_se(mean) for mean in x])
    colour = _COLOURS[fit.plane]
    axes.plot(x, y, color=colour, linewidth=1.3, zorder=4)
    axes.fill_between(x, np.maximum(y - half, 1e-9), y + half, color=colour, alpha=0.18, linewidth=0)


def _legend(calibration: Calibration, lines: Sequence[Fit], points: Sequence[Point]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], color=_COLOURS[plane], marker=_MARKS[plane], linestyle="none", markersize=5)
        for plane in calibration.planes
    ]
    labels = [_LABELS[plane] for plane in calibration.planes]
    for line in lines:
        handles.append(Line2D([], [], color=_COLOURS[line.plane]))
        half = (line.k_interval[1] - line.k_interval[0]) / 2
        name = "" if len(lines) == 1 else f"{line.plane}: "
        labels.append(f"{name}k {with_error(line.k, half)} DN/e-, dark {math.sqrt(line.s2):.3g} DN")
    if any(not point.used for point in points):
        handles.append(Line2D([], [], color="#555555", marker="x", linestyle="none"))
        labels.append("not used")
    return handles, labels


def _law_panel(
    upper: "Axes", lower: "Axes", calibration: Calibration, quantity: Any, reach: npt.NDArray[np.float64]
) -> None:
    drawn = set()
    for index, plane in enumerate(calibration.planes):
        law = calibration.law(quantity, plane)
        name = plane if law is None or len(law.planes) == 1 else "all"
        colour, mark = _COLOURS[name], _MARKS[name]
        if name in drawn:
            continue
        drawn.add(name)
        for fit in calibration.fits:
            if fit.iso is None or not fit.planes:
                continue
            best = fit.best[index]
            if quantity == "k":
                value, low, high = best.k, *best.k_interval
            else:
                value, low, high = (math.sqrt(max(v, 0.0)) for v in (best.s2, *best.s2_interval))
            bars = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
            style: dict[str, Any] = {"fmt": mark, "color": colour, "markersize": 5, "elinewidth": 1, "capsize": 2}
            upper.errorbar(fit.iso, value, bars, **style)
            if law is not None:
                there = law.at(fit.iso) if quantity == "k" else math.sqrt(law.at(fit.iso))
                if there > 0:
                    relative = [[100 * bar[0] / there] for bar in bars]
                    lower.errorbar(fit.iso, 100 * (value / there - 1), relative, **style)
        if law is not None:
            line = np.array([law.at(iso) for iso in reach])
            upper.plot(
                reach,
                line if quantity == "k" else np.sqrt(line),
                color=colour,
                linewidth=1.3,
                linestyle="-" if law.accepted else ":",
                label=_LABELS[name] + ("" if law.accepted else ": law not accepted"),
            )
        else:
            upper.plot([], [], mark, color=colour, label=f"{_LABELS[name]}: no law")


def _profile(axes: "Axes", black: Black, name: str) -> None:
    values = np.array(black.row_profile if name == "row" else black.column_profile)
    axes.plot(values, color=_COLOURS[black.plane], linewidth=0.7, alpha=0.85, label=black.plane)
