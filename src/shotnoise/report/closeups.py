"""Which parts to show at the size of their pixels, and how what was taken away is made visible."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shotnoise.report.subject import Float, Picture, Place, Subject

if TYPE_CHECKING:
    from shotnoise.report.report import Report

__all__ = ["SPAN", "CloseUp", "choose", "residual_crop", "residual_preview"]

SPAN = 4.0
"""Standard deviations of the noise from gray to black, and to white, in pictures of the residual."""

_SIDE = 96  # pixels of the file
_STRIP = 2**20


@dataclass(frozen=True, slots=True)
class CloseUp:
    """A part worth looking at.

    Attributes:
        place: where.
        title: why.
        caption: the number.
    """

    place: Place
    title: str
    caption: str


def choose(report: "Report") -> list[CloseUp]:
    """Where structure went, where most and where least was taken away, and what the findings name; no place twice."""
    blocks, subject = report.measured.blocks, report.subject
    side = blocks.side * subject.pixel
    across = max(1, _SIDE // side)
    chosen: list[CloseUp] = []
    taken: list[Place] = []
    height, width = subject.height * subject.pixel, subject.width * subject.pixel

    def add(row: int, column: int, title: str, caption: str) -> bool:
        size = min(_SIDE, height, width)
        top, left = min(row * side, height - size) // 2 * 2, min(column * side, width - size) // 2 * 2
        place = Place(top, left, size, size)
        if any(abs(top - one.top) < size and abs(left - one.left) < size for one in taken):
            return False
        taken.append(place)
        chosen.append(CloseUp(place, title, caption))
        return True

    def best(values: npt.NDArray[np.float64], count: int, title: str, words: str, least: float = -np.inf) -> None:
        means = _means(values, across)
        found = 0
        for index in np.argsort(-np.nan_to_num(means, nan=-np.inf), axis=None)[:400]:
            row, column = (int(one) for one in np.unravel_index(index, means.shape))
            if found == count or not means[row, column] > least:
                return
            found += add(row, column, title, words.format(abs(means[row, column])))

    for finding in report.findings:
        if finding.place is not None and finding.code not in ("detail-removed", "follows-edges", "softened"):
            centre = finding.place.top + finding.place.height // 2, finding.place.left + finding.place.width // 2
            row, column = (max(0, (at - _SIDE // 2) // side) for at in centre)
            add(row, column, finding.code, finding.text)
    best(report.structure, 3, "Most structure in the residual", "structure {:.2f} times the noise on average", 0.25)
    energy = np.sqrt(blocks.energy)
    best(energy, 2, "Most taken away", "{:.2f} times the noise taken away")
    best(-energy, 2, "Least taken away", "{:.2f} times the noise taken away")
    return chosen


def residual_crop(report: "Report", place: Place) -> Picture:
    """A rectangle of what was taken away, upright."""
    size = report.subject.pixel
    rows = slice(place.top // size, (place.top + place.height) // size)
    columns = slice(place.left // size, (place.left + place.width) // size)
    shown = _gray(_residual(report, rows, columns))
    return np.asarray(report.subject.upright(np.repeat(np.repeat(shown, size, 0), size, 1)))


def residual_preview(report: "Report", longest: int) -> tuple[Picture, int]:
    """All of it, upright, and over how many pixels of a plane along each side the mean was taken."""
    subject = report.subject
    step = max(1, -(-max(subject.height, subject.width) // longest))
    band = step * max(1, _STRIP // (subject.width * step))
    columns = slice(0, subject.width // step * step)
    parts = []
    for top in range(0, subject.height // step * step, band):
        z = _residual(report, slice(top, min(top + band, subject.height // step * step)), columns)
        means = z.reshape(z.shape[0], z.shape[1] // step, step, z.shape[2] // step, step).mean((2, 4))
        parts.append(_gray(means))
    return np.asarray(subject.upright(np.concatenate(parts))), step


def _residual(report: "Report", rows: slice, columns: slice) -> Float:
    """(C, h, w) in standard deviations of the noise, the greens of a mosaic together."""
    subject: Subject = report.subject
    before, after = (subject.values(role, rows, columns) for role in ("before", "after"))
    z = (before - after) / np.sqrt(report.noise.moments(after)[1])
    if subject.kind == "raw":
        z = np.stack([z[0], (z[1] + z[2]) / np.float32(np.sqrt(2)), z[3]])  # with the deviation of a single one
    return np.asarray(z, np.float32)


def _gray(z: Float) -> Picture:
    shown = np.clip(z * np.float32(127.5 / SPAN) + np.float32(128), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(shown[0] if len(shown) == 1 else shown.transpose(1, 2, 0))


def _means(values: npt.NDArray[np.float64], across: int) -> npt.NDArray[np.float64]:
    """Over squares of blocks, at the place of their upper left one."""
    rows, columns = (min(across, side) for side in values.shape)
    windows = np.lib.stride_tricks.sliding_window_view(values, (rows, columns))
    known = np.isfinite(windows)
    count = known.sum((2, 3))
    total = np.where(known, windows, 0).sum((2, 3))
    return np.where(count > rows * columns / 2, total / np.maximum(count, 1), np.nan)
