"""From numbers to words: what speaks against a result, how much, and where.

The limits were set on photographs with known noise: the bundled models at full strength stay below them nearly
everywhere, blurring, median filters and twice the strength do not.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from shotnoise.report.measure import LAG, Array, Blocks, Measured
from shotnoise.report.subject import Noise, Place, Subject

__all__ = ["STRUCTURE", "VERDICTS", "Finding", "Severity", "judge", "neighbour_correlation", "structure", "verdict"]

Severity = Literal["error", "warning", "note"]

VERDICTS: dict[Severity, tuple[str, str]] = {
    "error": ("Do not trust it as it is", "What was taken away is more than noise; look at the places below"),
    "warning": ("Look before you trust it", "The warnings below say where and how much"),
    "note": ("Nothing speaks against it", "What was taken away looks like the noise"),
}
"""What the worst finding makes of a result, in words."""

STRUCTURE = 0.6
"""Standard deviations of the noise: structure in what was taken away from which a block counts."""

_MUCH = 0.2  # share of the blocks with it that is an error
_SOME = 0.01  # share that deserves more than a note
_EDGES = 0.3  # rank correlation between structure and what was removed
_DETAIL = 0.25  # correlation of the residual with the fine detail of the result
_WHITE = 0.15  # correlation between neighbours in the residual
_NOTHING = 0.2  # of the noise: removed so little
_EXCESS = {True: 1.1, False: 1.3}  # of the noise, known or estimated: removed more than that
_SHIFT = 0.05  # standard deviations of the noise, of the mean over the picture
_LOCAL = 0.2  # of the mean over a few blocks
_LEAST_SHIFT = 0.25  # counts of 255 for pictures; of RAW a tenth of it
_CLIPPED = 0.001  # share of values
_BANDS = 3.0  # times what chance makes
_FAINT = 0.02  # standard deviations of the noise below which bands do not matter
_VISIBLE = 0.3  # counts: bands that can be seen
_KURTOSIS = 3.0
_USABLE = 0.25
_NEIGHBOURHOOD = 4  # blocks along a side, over which local shifts are taken


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that should be known.

    Attributes:
        severity: how much it matters.
        code: its name.
        text: the sentence, with its number.
        value: the number.
        limit: from where on it is worth a word; None where there is no such limit.
        place: where it is worst; None where it is everywhere.
    """

    severity: Severity
    code: str
    text: str
    value: float
    limit: float | None = None
    place: Place | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        place = None
        if self.place is not None:
            place = {name: getattr(self.place, name) for name in ("left", "top", "width", "height")}
        return {
            "severity": self.severity,
            "code": self.code,
            "text": self.text,
            "value": self.value if math.isfinite(self.value) else None,
            "limit": self.limit,
            "place": place,
        }


def verdict(findings: tuple[Finding, ...]) -> Severity:
    """The severity of the worst."""
    found = {finding.severity for finding in findings}
    return next((level for level in ("error", "warning") if level in found), "note")


def structure(measured: Measured) -> Array:
    """(rows, columns): structure in what was taken away, in standard deviations of the noise; nan where unknown.

    The larger of two: what the residual has more than the noise, and what of it follows the detail of the result.
    "More" is more than :attr:`Blocks.usual <shotnoise.report.measure.Blocks>`.
    """
    blocks = measured.blocks
    usual = blocks.usual
    chance = 6 * np.sqrt(2 / np.maximum(blocks.count, 1)) * usual  # six standard deviations of a mean of squares
    excess = blocks.energy - usual
    more = np.sqrt(np.where(excess > chance, excess, 0))
    follows = np.where(blocks.detail > 6 / np.sqrt(np.maximum(blocks.count, 1)), blocks.detail, 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.maximum(more, follows * np.sqrt(blocks.energy)) + 0 * blocks.energy)


def judge(subject: Subject, noise: Noise, measured: Measured) -> tuple[Finding, ...]:
    """All that should be said, the worst first."""
    found: list[Finding] = []
    if measured.equal:
        found.append(Finding("warning", "nothing-removed", "AFTER is equal to BEFORE: nothing was taken away", 0.0))
        return tuple(found)
    found += _amount(noise, measured)
    found += _detail(subject, measured)
    found += _shifts(subject, measured)
    found += _clipping(subject, measured)
    found += _bands(subject, measured)
    found += _shape(noise, measured)
    if measured.usable < _USABLE:
        found.append(
            Finding(
                "note",
                "cut-off",
                f"at {_percent(1 - measured.usable)} of the values the noise reaches black or white and is cut off "
                "there; the numbers are of the rest",
                measured.usable,
                _USABLE,
            )
        )
    order = ("error", "warning", "note")
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def _amount(noise: Noise, measured: Measured) -> list[Finding]:
    counts = f"{measured.removed_counts:.2f} counts of 255, {measured.removed:.2f} times the noise"
    if measured.removed < _NOTHING:
        text = f"hardly anything was taken away: {counts}"
        return [Finding("warning", "nothing-removed", text, measured.removed, _NOTHING)]
    limit = _EXCESS[noise.known]
    if measured.removed <= limit:
        return []
    doubt = "" if noise.known else "; the noise is a blind estimate, which noise that is not white makes too low"
    text = f"more was taken away than there is noise: {counts}{doubt}"
    return [Finding("warning", "too-much-removed", text, measured.removed, limit)]


def _detail(subject: Subject, measured: Measured) -> list[Finding]:
    found = []
    where = structure(measured)
    known = np.isfinite(where)
    marked = known & (where > STRUCTURE)
    share = float(marked.sum() / max(known.sum(), 1))
    row, column = (int(at) for at in np.unravel_index(np.argmax(np.where(known, where, -1)), where.shape))
    worst = place_of(subject, measured.blocks, row, column)
    if share > 0:
        amount = float(where[row, column])
        severity: Severity = "error" if share > _MUCH else "warning" if share > _SOME else "note"
        found.append(
            Finding(
                severity,
                "detail-removed",
                f"what was taken away holds structure in {_percent(share)} of the picture; at its worst "
                f"{amount:.1f} times the noise, about {amount * measured.expected_counts:.1f} counts",
                share,
                _SOME,
                worst,
            )
        )
    if measured.edges > _EDGES:
        text = (
            f"the more structure a place has, the more was taken away there (rank correlation {measured.edges:+.2f}); "
            "noise alone does not know of edges"
        )
        found.append(Finding("warning", "follows-edges", text, measured.edges, _EDGES, worst))
    if measured.detail > _DETAIL:
        text = (
            f"what was taken away looks like the fine detail of the result (correlation {measured.detail:+.2f}): it "
            "was made softer"
        )
        found.append(Finding("warning", "softened", text, measured.detail, _DETAIL, worst))
    return found


def _shifts(subject: Subject, measured: Measured) -> list[Finding]:
    found = []
    least = _LEAST_SHIFT * (1 if subject.kind == "picture" else 0.1)
    limit = max(_SHIFT * measured.expected_counts, least)
    shift, error = -255 * measured.shift, 255 * measured.shift_error  # of AFTER against BEFORE
    mean, doubt = float(shift.mean()), float(np.sqrt((error**2).sum())) / len(shift)
    if abs(mean) > max(limit, 5 * doubt):
        word = "brighter" if mean > 0 else "darker"
        text = f"AFTER is {word} by {abs(mean):.2f} counts of 255 on average"
        found.append(Finding("warning", "brightness", text, mean, limit))
    colours, names = _colours(subject, shift)
    local = np.stack(_colours(subject, -255 * measured.blocks.shift)[0])
    around = np.stack([_gathered(values, measured.blocks) for values in local])
    if len(colours) > 1:
        cast = np.asarray(colours) - np.mean(colours)
        spread = float(cast.max() - cast.min())
        if spread > max(limit, 5 * float(np.hypot.reduce(error)) / math.sqrt(len(error))):
            numbers = ", ".join(f"{name} {value:+.2f}" for name, value in zip(names, colours, strict=True))
            text = f"the colours have moved apart by {spread:.2f} counts of 255: {numbers}"
            severity: Severity = "error" if spread > 3 * limit and spread > 3 * least else "warning"
            found.append(Finding(severity, "colour-cast", text, spread, limit))
        else:
            apart = around.max(0) - around.min(0)
            found += _local(subject, measured, apart, "colour-cast", "the colours have moved apart")
    if not any(finding.code == "brightness" for finding in found):
        found += _local(subject, measured, np.abs(around.mean(0)), "brightness", "the brightness has moved")
    return found


def _local(subject: Subject, measured: Measured, amount: Array, code: str, words: str) -> list[Finding]:
    """What is not so on the whole, but somewhere."""
    least = (4 if subject.kind == "picture" else 0.4) * _LEAST_SHIFT
    limit = max(_LOCAL * measured.expected_counts, least)
    if not np.isfinite(amount).any() or np.nanmax(amount) <= limit:
        return []
    row, column = np.unravel_index(np.nanargmax(amount), amount.shape)
    worst = float(amount[row, column])
    side = measured.blocks.side * subject.pixel * _NEIGHBOURHOOD
    height, width = subject.height * subject.pixel, subject.width * subject.pixel
    top, left = int(row) * side, int(column) * side
    place = Place(top, left, min(side, height - top), min(side, width - left))
    return [Finding("warning", code, f"{words} by {worst:.2f} counts of 255 in one place", worst, limit, place)]


def _colours(subject: Subject, values: Array) -> tuple[list[Array], tuple[str, ...]]:
    """Per colour, the greens of a mosaic together."""
    if subject.kind == "raw":
        return [values[0], (values[1] + values[2]) / 2, values[3]], ("red", "green", "blue")
    return list(values), subject.planes


def _gathered(values: Array, blocks: Blocks) -> Array:
    """The mean over squares of blocks; nan where little of it is known."""
    size = _NEIGHBOURHOOD
    rows, columns = -(-values.shape[0] // size) * size, -(-values.shape[1] // size) * size
    wide = np.full((rows, columns), np.nan)
    wide[: values.shape[0], : values.shape[1]] = values
    parts = wide.reshape(rows // size, size, columns // size, size)
    known = np.isfinite(parts).sum((1, 3))
    with np.errstate(invalid="ignore"):
        result: Array = np.where(known >= size * size / 2, np.nansum(parts, (1, 3)) / known, np.nan)
    return result


def _clipping(subject: Subject, measured: Measured) -> list[Finding]:
    # Noise lifts about half of what is black or white away from it, so that twice as much is natural afterwards.
    more = measured.clipped_after - 2 * measured.clipped_before
    if more <= _CLIPPED:
        return []
    clipped = measured.blocks.clipped
    row, column = np.unravel_index(np.argmax(clipped), clipped.shape)
    text = (
        f"{_percent(measured.clipped_after)} of the values of AFTER are black or white, "
        f"{_percent(measured.clipped_before)} of BEFORE; {_percent(measured.clipped_new)} are new"
    )
    place = place_of(subject, measured.blocks, int(row), int(column))
    return [Finding("warning", "clipped", text, measured.clipped_after, 2 * measured.clipped_before + _CLIPPED, place)]


def _bands(subject: Subject, measured: Measured) -> list[Finding]:
    found = []
    for name, lines, others in (
        ("rows", measured.rows, measured.columns),
        ("columns", measured.columns, measured.rows),
    ):
        limit = max(_BANDS * lines.chance, _FAINT)
        if lines.removed > limit and lines.removed > 1.5 * others.removed:
            text = (
                f"whole {name} were moved together by {lines.removed * measured.expected_counts:.2f} counts "
                f"({lines.removed / lines.chance:.1f} times what chance makes): the noise has bands, or the result"
            )
            found.append(Finding("warning", f"banding-{name}", text, lines.removed, limit))
        visible = _VISIBLE * (1 if subject.kind == "picture" else 0.1)
        if lines.left > max(visible, 2 * others.left):
            text = f"AFTER has bands: neighbouring {name} differ by {lines.left:.2f} counts (BEFORE {lines.before:.2f})"
            found.append(Finding("warning", f"bands-left-{name}", text, lines.left, visible))
    return found


def _shape(noise: Noise, measured: Measured) -> list[Finding]:
    found = []
    off = neighbour_correlation(measured)
    if abs(off) > max(_WHITE, 5 * measured.sampled.chance):
        text = (
            f"what was taken away is not white: neighbouring pixels correlate by {off:+.2f}; either the noise is not "
            "(developed and compressed pictures), or structure went with it"
        )
        found.append(Finding("warning" if noise.known else "note", "not-white", text, off, _WHITE))
    if measured.sampled.kurtosis > _KURTOSIS:
        text = (
            f"what was taken away has heavy tails (excess kurtosis {measured.sampled.kurtosis:.1f}, "
            f"{_percent(measured.sampled.beyond)} beyond three standard deviations): hot pixels, impulses or edges"
        )
        found.append(Finding("note", "heavy-tails", text, measured.sampled.kurtosis, _KURTOSIS))
    return found


def neighbour_correlation(measured: Measured) -> float:
    """Of the residual, the mean of the pixels beside and below."""
    table = measured.sampled.autocorrelation
    return float(table[LAG, LAG + 1] + table[LAG + 1, LAG]) / 2


def place_of(subject: Subject, blocks: Blocks, row: int, column: int) -> Place:
    """The rectangle of a block, in pixels of the file."""
    side = blocks.side * subject.pixel
    height, width = subject.height * subject.pixel, subject.width * subject.pixel
    return Place(row * side, column * side, min(side, height - row * side), min(side, width - column * side))


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
