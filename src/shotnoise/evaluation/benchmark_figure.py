"""Measured times as a picture: one bar for each combination, in milliseconds per megapixel, so that sizes compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shotnoise.errors import EngineError
from shotnoise.evaluation.benchmark import Timing

__all__ = ["check_figure", "write_figure"]

_STAGES = (
    ("pre", "before the network", "#93c5fd"),
    ("inference", "network", "#1d4ed8"),
    ("post", "after it", "#fdba74"),
)
_MOST = 60  # bars that one can still read


def check_figure(path: Path, bars: int) -> None:
    """Refuse, before hours of measuring, what :func:`write_figure` could not write or nobody could read."""
    if path.suffix.lower() != ".png":
        raise EngineError(f"{path}: expected a file name that ends in .png")
    if not path.parent.is_dir():
        raise EngineError(f"{path}: there is no folder {path.parent}; make it first, or write somewhere else")
    if bars > _MOST:
        raise EngineError(f"a picture of {bars} combinations cannot be read; expected at most {_MOST}, measure fewer")


def write_figure(path: Path, timings: Sequence[Timing], machine: dict[str, Any]) -> None:
    """Draw it.

    What all combinations have in common stands above the bars, what they differ in beside them. The line at the end
    of a bar reaches to the 90th percentile.

    Args:
        path: the PNG to write.
        timings: at least one.
        machine: what :func:`~shotnoise.evaluation.benchmark.machine` gave.
    """
    # Figures without pyplot: nothing global, no window.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    facts = [_facts(timing) for timing in timings]
    common = [part for place, part in enumerate(facts[0]) if len({row[place] for row in facts}) == 1]
    labels = [", ".join(part for part in row if part not in common) or row[0] for row in facts]
    figure = Figure(figsize=(9, 1.7 + 0.36 * len(timings)), dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    scales = [1e3 / (row.case.batch * row.case.height * row.case.width) * 1e3 for row in timings]
    lefts = [0.0] * len(timings)
    for stage, title, colour in _STAGES:
        widths = [scale * getattr(row, stage).median for row, scale in zip(timings, scales, strict=True)]
        axes.barh(range(len(timings)), widths, 0.62, lefts, color=colour, label=title)
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    whole = [scale * row.total.median for row, scale in zip(timings, scales, strict=True)]
    high = [scale * row.total.p90 for row, scale in zip(timings, scales, strict=True)]
    axes.hlines(range(len(timings)), lefts, high, color="#444444", linewidth=1.2)
    for place, (row, value, end) in enumerate(zip(timings, whole, high, strict=True)):
        words = [f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"]
        words += [] if row.peak_mb is None else [f"{row.peak_mb:.0f} MB"]
        words += [] if row.energy is None else [f"{row.energy.joules_per_picture:.3g} J a picture"]
        axes.annotate(
            "  " + ", ".join(words), (max(value, end), place), va="center", fontsize=8.5, color="#333333",
            annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(range(len(timings)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(high))
    axes.set_xlabel("milliseconds per megapixel, median; the line reaches to the 90th percentile")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.legend(ncols=3, fontsize=8.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    where = f"{machine['processor']}, {machine['cores']} cores"
    figure.suptitle("\n".join([", ".join(common) or "shotnoise benchmark", where]), x=0.01, ha="left", fontsize=10.5)
    try:
        figure.savefig(path, metadata={"Software": None})
    except OSError as error:
        raise EngineError(f"{path}: cannot write the picture ({error.strerror}); choose another place") from None


def _facts(timing: Timing) -> tuple[str, ...]:
    """What a combination is, in words, always in the same places."""
    case, ran = timing.case, timing.ran
    return (
        Path(case.model).name,
        f"{ran['engine']} {ran['precision']}" + ("" if ran["provider"] == "cpu" else f" on {ran['provider']}"),
        f"{case.height}x{case.width}",
        "all threads" if case.threads is None else f"{case.threads} thread{'s' if case.threads > 1 else ''}",
        f"batch {case.batch}",
    )
