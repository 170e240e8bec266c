"""From frames to a calibration: settle the ISOs, examine the black frames, find pairs and patches, measure, judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import gcd
from statistics import median
from typing import Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.capture import Frame, bursts, iso_in_name
from shotnoise.sensor.calibration.dark import DarkFrames, examine
from shotnoise.sensor.calibration.judge import judge
from shotnoise.sensor.calibration.levels import Levels
from shotnoise.sensor.calibration.measure import Burst, measure
from shotnoise.sensor.calibration.result import Calibration, Finding, Point, Roi
from shotnoise.sensor.calibration.rois import checked, find_rois, uneven

__all__ = ["calibrate"]

Progress = Callable[[int, int], None]


def calibrate(
    black: Sequence[Frame],
    flats: Sequence[Frame],
    *,
    rois: Sequence[Roi] | None = None,
    max_signal: float = 0.7,
    black_level: Sequence[float] | None = None,
    white: float | None = None,
    iso_conflict: Literal["error", "metadata", "name"] = "error",
    shape: bool = True,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate the noise of a sensor.

    What is missing makes the result poorer, not impossible: without black frames the files' black level is taken and
    the noise without light is extrapolated, with one frame per level the variance is taken over space, with one ISO
    there is no law. Each is said in the findings.

    Args:
        black: frames without light, best two or more per ISO.
        flats: evenly lit frames or gray wedges, best two or more per level and ISO.
        rois: where to measure in the flats; None: found in each ISO's frames.
        max_signal: share of the range above which a point is not used.
        black_level: per plane; overrules black frames and files.
        white: count at which the sensor is full; None: as the files say. Where counts pile up below, that is white.
        iso_conflict: what to do if a file's name states another ISO than its metadata: make it an error among the
            findings (and go by the metadata), or go by one of them with a warning.
        shape: whether to fit the shape of the dark noise for the physics model.
        rng: picks pixels for that; None: a fixed one.
        progress: called with the number of frames done and of all; every flat counts twice.

    Raises:
        ProfileError: there are no frames, they are of different sensors, or no black level is known.
    """
    frames = [*black, *flats]
    if not frames:
        raise ProfileError("no frames to calibrate from; expected black frames and evenly lit ones")
    _same_sensor(frames)
    if not 0 < max_signal <= 1:
        raise ProfileError(f"max_signal {max_signal:g}; expected a share of the range above 0, up to 1")
    findings: list[Finding] = []
    black, flats = (_settled(part, iso_conflict, findings) for part in (black, flats))
    ticks = _Ticks(len(black) + 2 * len(flats), progress)
    step = _step(frames)
    darks = _examined(black, step, shape, rng or np.random.default_rng(0), findings, ticks)
    summaries = [_summary(frame, ticks) for frame in flats]
    full = _white(flats, summaries, white, findings) if flats else float(white or frames[0].white)
    levels = Levels(darks, black_level, frames[0])
    brightness = [
        float((summary.means - levels.at(frame).levels).mean()) for frame, summary in zip(flats, summaries, strict=True)
    ]
    groups = bursts(flats, brightness)
    points: list[Point] = []
    places: list[tuple[float | None, tuple[Roi, ...]]] = []
    stripes: list[tuple[Frame, Burst]] = []
    for iso in sorted({frame.iso for frame in flats}, key=lambda value: (value is None, value)):
        own = [group for group in groups if flats[group[0]].iso == iso]
        where = _places(rois, own, flats, brightness, summaries, levels, full, findings)
        places.append((iso, tuple(where)))
        for group in own:
            members = [flats[index] for index in group]
            known = levels.at(members[0])
            burst = measure(
                members,
                where,
                known.levels.tolist(),
                white=full,
                max_signal=max_signal,
                row_variance=known.row_variance,
            )
            ticks.add(len(group))
            points += burst.points
            stripes.append((members[0], burst))
    points = levels.dark_points() + points
    findings += levels.findings(flats) + _flickering(stripes) + uneven(points)
    return judge(
        points,
        flats[0] if flats else frames[0],
        blacks=levels.blacks(flats),
        bias=tuple(noise for dark in darks for noise in dark.bias),
        findings=findings,
        white=full,
        step=step,
        max_signal=max_signal,
        rois=tuple(places),
        brightness=_rates(flats, brightness, groups),
    )


class _Ticks:
    """Counts what is done."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def add(self, count: int = 1) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)


@dataclass(frozen=True, slots=True)
class _Summary:
    """What is remembered of a flat frame that is loaded again later."""

    means: npt.NDArray[np.float64]
    top: int  # largest code
    pile: float  # share of the pixels there, 0 if its neighbours have as many
    bright: float  # the 99th percentile, as a share of the file's white


def _same_sensor(frames: Sequence[Frame]) -> None:
    first = frames[0]
    for frame in frames[1:]:
        if frame.pattern != first.pattern or frame.white != first.white:
            raise ProfileError(
                f"{frame.name} has pattern {frame.pattern or 'none'} and white {frame.white:g}, {first.name} "
                f"{first.pattern or 'none'} and {first.white:g}; expected frames of one sensor in one mode"
            )


def _settled(frames: Sequence[Frame], conflict: str, findings: list[Finding]) -> list[Frame]:
    """Frames whose ISO is decided: by metadata, else by name."""
    result = []
    for frame in frames:
        named = iso_in_name(frame.name)
        if frame.iso is None:
            result.append(replace(frame, iso=named))
            continue
        if named is not None and named != frame.iso:
            by_name = conflict == "name"
            text = (
                f"the name says ISO {named:g}, the metadata say ISO {frame.iso:g}; "
                f"{'the name was' if by_name else 'the metadata were'} taken: rename the file, or say which to believe"
            )
            severity: Literal["error", "warning"] = "error" if conflict == "error" else "warning"
            findings.append(Finding(severity, "mislabelled-iso", text, frame.name))
            result.append(replace(frame, iso=named) if by_name else frame)
            continue
        result.append(frame)
    return result


def _examined(
    black: Sequence[Frame],
    step: float,
    shape: bool,
    rng: np.random.Generator,
    findings: list[Finding],
    ticks: _Ticks,
) -> list[DarkFrames]:
    groups: dict[tuple[float, float], list[Frame]] = {}
    for frame in black:
        groups.setdefault((frame.iso or 0.0, frame.exposure or 0.0), []).append(frame)
    result = []
    for _, group in sorted(groups.items()):
        result.append(examine(group, step=step, shape=shape, rng=rng))
        findings += result[-1].findings
        ticks.add(len(group))
    return result


def _summary(frame: Frame, ticks: _Ticks) -> _Summary:
    planes = frame.load()
    codes = max(int(plane.max()) for plane in planes) + 1
    counts = np.sum([np.bincount(plane.ravel(), minlength=codes) for plane in planes], axis=0)
    total = int(counts.sum())
    top = int(np.flatnonzero(counts)[-1])
    beside = float(counts[max(top - 20, 0) : max(top - 1, 0)].mean()) if top > 1 else 0.0
    pile = counts[top] / total if counts[top] > 10 * beside else 0.0
    bright = int(np.searchsorted(np.cumsum(counts), 0.99 * total))
    means = np.array([float(plane.mean(dtype=np.float64)) for plane in planes])
    ticks.add()
    return _Summary(means, top, float(pile), bright / frame.white)


def _step(frames: Sequence[Frame]) -> float:
    """DN between neighbouring codes: 1, or more if the camera multiplies its counts."""
    common = 0
    for frame in (frames[0], frames[len(frames) // 2], frames[-1]):
        for plane in frame.load():
            codes = np.unique(plane[:256, :256])
            common = gcd(common, int(np.gcd.reduce(np.diff(codes.astype(np.int64)))) if len(codes) > 1 else 0)
    return float(common or 1)


def _white(
    flats: Sequence[Frame], summaries: Sequence[_Summary], given: float | None, findings: list[Finding]
) -> float:
    white = flats[0].white if given is None else given
    piled = [(summary.top, frame.name) for frame, summary in zip(flats, summaries, strict=True) if summary.pile > 0.001]
    lowest, name = min(piled, default=(white, ""))
    if lowest < white:
        text = f"counts pile up at {lowest}, below the white level {white:g}: {lowest} is taken as white"
        findings.append(Finding("note", "clipping", text, name))
    return float(min(white, lowest))


def _places(
    rois: Sequence[Roi] | None,
    groups: Sequence[Sequence[int]],
    flats: Sequence[Frame],
    brightness: Sequence[float],
    summaries: Sequence[_Summary],
    levels: Levels,
    white: float,
    findings: list[Finding],
) -> list[Roi]:
    """The rectangles of one ISO: given, or found in its brightest burst that is not clipped."""
    if rois is not None:
        return checked(rois, flats[groups[0][0]])
    open_groups = [group for group in groups if summaries[group[0]].bright < 0.95 * white / flats[group[0]].white]
    best = max(open_groups or groups, key=lambda group: brightness[group[0]])
    frame = flats[best[0]]
    single = all(len(group) == 1 for group in groups)
    found = find_rois(frame, levels.at(frame).levels.tolist(), white=white, single=single)
    if not found:
        text = "no even area was found; give rectangles that lie inside gray patches, or take an evenly lit frame"
        findings.append(Finding("error", "non-uniform", text, frame.name, frame.iso))
    return found


def _flickering(measured: Sequence[tuple[Frame, Burst]]) -> list[Finding]:
    """The worst of each ISO."""
    found = []
    for iso in dict.fromkeys(frame.iso for frame, _ in measured):
        own = [(frame, burst) for frame, burst in measured if frame.iso == iso]
        frame, burst = max(own, key=lambda item: item[1].flicker)
        if burst.flicker > 0.005 and burst.flicker > 4 * burst.flicker_se:
            text = f"the light differed by {100 * burst.flicker:.1f} % between frames of a level; that was levelled out"
            found.append(Finding("note", "flicker", text, frame.name, iso))
        frame, burst = max(own, key=lambda item: item[1].stripes)
        if burst.stripes > 0.002:
            text = (
                f"rows flicker by {100 * burst.stripes:.1f} % between frames of a level: a lamp on mains power; use "
                "daylight or a steady lamp, or exposures longer than 1/10 s"
            )
            found.append(Finding("warning", "flicker", text, frame.name, iso))
    return found


def _rates(
    flats: Sequence[Frame], brightness: Sequence[float], groups: Sequence[Sequence[int]]
) -> list[tuple[float | None, float | None]]:
    """Signal per second of each ISO, None where the light was not the same in all its bursts."""
    result: list[tuple[float | None, float | None]] = []
    for iso in {frame.iso for frame in flats}:
        rates = [
            brightness[group[0]] / exposure
            for group in groups
            if flats[group[0]].iso == iso and (exposure := flats[group[0]].exposure)
        ]
        steady = rates and min(rates) > 0 and max(rates) < 1.15 * min(rates)
        result.append((iso, median(rates) if steady else None))
    return result
