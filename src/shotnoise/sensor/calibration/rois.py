"""Where to measure: even patches of a gray wedge, a grid over an evenly lit frame, or the user's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.measure import FEWEST, second_difference_variance, uniformity_limit
from shotnoise.sensor.calibration.result import Finding, Point, Roi

__all__ = ["checked", "find_rois", "uneven"]

Array = npt.NDArray[Any]

_MOST = 64  # rectangles
_SHAPES = ((4, 8), (8, 4))  # the windows of the search, in cells: the bars of a wedge are high, or wide
_GRID = 8
_VIGNETTE = 0.5  # an even frame is used where it has at least half of its largest brightness
_SLOPE = 0.02  # by which the light may differ within a window
_STRUCTURE = 0.03  # what unequal pixels cannot explain: 3 % of the mean between neighbouring areas


def find_rois(frame: Frame, black: Sequence[float], *, white: float, single: bool = False) -> list[Roi]:
    """Rectangles for :func:`~shotnoise.sensor.calibration.measure.measure`, even in all planes.

    An evenly lit frame is cut into a grid, without the corners that a lens darkens too much. In any other frame small
    windows are searched that are as even as noise allows, spread over all brightnesses.

    Args:
        frame: a frame that is not clipped.
        black: level per plane.
        white: count at which the sensor is full.
        single: there is no second frame, so the light must be even within a rectangle: smaller ones.

    Returns:
        At most 64 rectangles; none if nothing is even.
    """
    planes = frame.load()
    height, width = planes[0].shape
    cell = max(min(height, width) // 128, ceil(sqrt(FEWEST / (_SHAPES[0][0] * _SHAPES[0][1]))))
    if min(height, width) < cell * max(_SHAPES[0]):
        return []
    step = 1 if frame.pattern is None else 2
    cells = [_cells(counts, level, cell, white) for counts, level in zip(planes, black, strict=True)]
    candidates = [_windows(cells, shape) for shape in _SHAPES]
    if not any(found.level.size for found in candidates):
        return []
    level = np.concatenate([found.level for found in candidates], axis=1)
    if np.mean([found.even for found in candidates]) > 0.7 and _narrow(level):
        return _grid(planes, black, step, 2 * _GRID if single else _GRID)
    return _spread(candidates, cells[0][0].shape, cell * step)


def checked(rois: Sequence[Roi], frame: Frame) -> list[Roi]:
    """The user's rectangles, with odd edges moved inwards by one; an error if one does not lie in the frame."""
    mosaic = frame.load()[0].shape
    step = 1 if frame.pattern is None else 2
    height, width = mosaic[0] * step, mosaic[1] * step
    result = []
    for roi in rois:
        top, left, bottom, right = roi
        even = Roi(-(-top // step) * step, -(-left // step) * step, bottom // step * step, right // step * step)
        if not (0 <= even.top < even.bottom <= height and 0 <= even.left < even.right <= width):
            raise ProfileError(
                f"rectangle {top},{left},{bottom},{right} in {frame.name}, which has {height} rows and {width} "
                "columns; expected top,left,bottom,right with top < bottom and left < right, inside the frame"
            )
        result.append(even)
    return result


def uneven(points: Sequence[Point]) -> list[Finding]:
    """Rectangles with more than noise in them: edges, dust, texture. One line per ISO."""
    findings = []
    for iso in dict.fromkeys(point.iso for point in points):
        own = [point for point in points if point.iso == iso and point.roi is not None]
        bad = {point.roi for point in own if _structured(point)}
        if not bad:
            continue
        single = any(point.frames == 1 for point in own if point.roi in bad)
        worst = max((point for point in own if point.roi in bad), key=lambda point: point.uniformity)
        place = ",".join(str(edge) for edge in worst.roi or ())
        text = (
            f"{len(bad)} of {len({point.roi for point in own})} rectangles are not even, worst {place} (variance "
            f"within the frame {worst.uniformity:.1f} times that of the noise)"
        )
        text += (
            "; they are left out, as there is no second frame to take the difference with"
            if single
            else "; differences between frames remove that, but check that the frames did not move"
        )
        findings.append(Finding("warning", "non-uniform", text, worst.names[0], iso))
    return findings


def _structured(point: Point) -> bool:
    """Whether the variance within the frame is larger than noise and unequal pixels can make it."""
    if not point.uniformity > uniformity_limit(point.pixels):
        return False
    if point.frames == 1:
        return True
    excess = point.variance * (point.uniformity - uniformity_limit(point.pixels))
    return excess > (_STRUCTURE * max(point.mean, 0.0)) ** 2 and point.mean > 0


@dataclass(frozen=True, slots=True)
class _Windows:
    """The even windows of one shape."""

    shape: tuple[int, int]  # cells
    rows: Array  # first cell of each
    cols: Array
    level: Array  # (planes, windows)
    score: Array  # relative variance between its cells, of the worst plane
    even: float  # share of all windows that are not clipped


def _cells(counts: Array, level: float, cell: int, white: float) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Mean of each square of pixels, the variance that noise gives that mean, and whether it touches white."""
    rows, cols = counts.shape[0] // cell, counts.shape[1] // cell
    x = counts[: rows * cell, : cols * cell].astype(np.float32) - np.float32(level)
    squares = x.reshape(rows, cell, cols, cell)
    pixels = squares.swapaxes(1, 2)  # (rows, cols, cell, cell)
    return (
        squares.mean((1, 3), dtype=np.float64),
        second_difference_variance(pixels) / cell**2,
        squares.max((1, 3)) >= white - 1 - level,
    )


def _windows(cells: Sequence[tuple[Array, Array, npt.NDArray[np.bool_]]], shape: tuple[int, int]) -> _Windows:
    """Windows in which the cells differ hardly more than noise makes them, in every plane."""
    count = shape[0] * shape[1]
    levels, scores = [], []
    even: Any = True
    usable: Any = True
    for means, noise, clipped in cells:
        window = np.lib.stride_tricks.sliding_window_view(means, shape)
        level, variance = window.mean((2, 3)), window.var((2, 3), ddof=1)
        expected = np.lib.stride_tricks.sliding_window_view(noise, shape).mean((2, 3))
        usable = usable & ~np.lib.stride_tricks.sliding_window_view(clipped, shape).any((2, 3))
        # Chance alone spreads the cells; light that changes slowly adds a little.
        limit = expected * (1 + 5 * sqrt(2 / (count - 1))) + (_SLOPE * level) ** 2
        even = even & (variance <= limit)
        levels.append(level)
        scores.append(variance / np.maximum(level, np.sqrt(expected)) ** 2)
    rows, cols = np.nonzero(even & usable)
    level = np.array([part[rows, cols] for part in levels])
    score = np.max([part[rows, cols] for part in scores], axis=0)
    return _Windows(shape, rows, cols, level, score, float((even & usable).sum() / max(usable.sum(), 1)))


def _narrow(level: Array) -> bool:
    """Whether the windows, all even, are one field of light and not the steps of a wedge."""
    low, high = np.percentile(level, [2, 98], axis=-1)
    return bool((high < 4 * np.maximum(low, 1e-6)).all())


def _grid(planes: Sequence[Array], black: Sequence[float], step: int, most: int) -> list[Roi]:
    """The whole frame in equal rectangles, without those that are too dark."""
    height, width = planes[0].shape
    smallest = ceil(sqrt(FEWEST)) + 2
    rows, cols = max(min(most, height // smallest), 1), max(min(most, width // smallest), 1)
    tall, wide = height // rows, width // cols
    found = []
    for row in range(rows):
        for col in range(cols):
            window = slice(row * tall, (row + 1) * tall), slice(col * wide, (col + 1) * wide)
            mean = sum(float(p[window].mean(dtype=np.float64)) - b for p, b in zip(planes, black, strict=True))
            edges = (part * step for part in (row * tall, col * wide, (row + 1) * tall, (col + 1) * wide))
            found.append((mean, Roi(*edges)))
    brightest = max(mean for mean, _ in found)
    return [roi for mean, roi in found if mean >= _VIGNETTE * brightest]


def _spread(candidates: Sequence[_Windows], cells: tuple[int, ...], size: int) -> list[Roi]:
    """Windows that do not overlap: the evenest of every brightness in turn."""
    rows, cols, score = (np.concatenate([getattr(c, name) for c in candidates]) for name in ("rows", "cols", "score"))
    shapes = np.concatenate([np.tile(c.shape, (len(c.rows), 1)) for c in candidates])
    level = np.concatenate([c.level.mean(0) for c in candidates])
    brightness = np.round(4 * np.log2(np.maximum(level, 1e-3))).astype(int)  # quarters of an octave
    queues = []
    for shade in np.unique(brightness):
        mine = np.flatnonzero(brightness == shade)
        queues.append(mine[np.argsort(-score[mine], kind="stable")].tolist())  # taken from the end
    taken = np.zeros(cells, bool)
    chosen: list[Roi] = []
    while any(queues) and len(chosen) < _MOST:
        for queue in queues:
            while queue:
                best = queue.pop()
                row, col = int(rows[best]), int(cols[best])
                end_row, end_col = row + int(shapes[best, 0]), col + int(shapes[best, 1])
                if not taken[row:end_row, col:end_col].any():
                    taken[row:end_row, col:end_col] = True
                    chosen.append(Roi(row * size, col * size, end_row * size, end_col * size))
                    break
            if len(chosen) >= _MOST:
                break
    return sorted(chosen)
