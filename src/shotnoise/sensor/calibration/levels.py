"""Which black level holds for which frame: the user's, that of black frames, or the file's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, log2, sqrt

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.dark import DarkFrames
from shotnoise.sensor.calibration.result import Black, Finding, Point

__all__ = ["Known", "Levels"]


@dataclass(frozen=True, slots=True)
class Known:
    """What holds for a frame.

    Attributes:
        levels: black per plane.
        row_variance: of whole rows in the dark, DN^2.
        dark: the black frames of its ISO, None if there are none.
    """

    levels: npt.NDArray[np.float64]
    row_variance: float
    dark: DarkFrames | None


class Levels:
    """Which black level holds for which frame: the user's, that of black frames, or the file's."""

    def __init__(self, darks: Sequence[DarkFrames], given: Sequence[float] | None, like: Frame) -> None:
        if given is not None and len(given) != len(like.planes):
            if len(given) != 1:
                raise ProfileError(
                    f"{len(given)} black levels; expected one, or one for each of {', '.join(like.planes)}"
                )
            given = list(given) * len(like.planes)
        if given is not None and not all(isfinite(level) and level >= 0 for level in given):
            raise ProfileError(f"black levels {', '.join(f'{level:g}' for level in given)}; expected counts from 0 on")
        self.darks, self.given, self.like = darks, given, like
        self.borrowed: set[float | None] = set()
        self.used: dict[int, DarkFrames] = {}

    def at(self, frame: Frame) -> Known:
        """Of black frames those with the same ISO and the nearest exposure; of another ISO if need be."""
        dark = min(self.darks, key=lambda dark: _distance(dark.blacks[0], frame), default=None)
        same = dark is not None and dark.blacks[0].iso == frame.iso
        rows = dark.row_variance if dark is not None and same else 0.0
        if dark is not None and same:
            self.used[id(dark)] = dark
        if self.given is not None:
            return Known(np.asarray(self.given, float), rows, dark if same else None)
        if dark is not None:
            if not same:
                self.borrowed.add(frame.iso)
            return Known(np.array([black.level for black in dark.blacks]), rows, dark if same else None)
        if frame.black is not None:
            return Known(np.asarray(frame.black, float), 0.0, None)
        raise ProfileError(
            f"{frame.name}: no black level is known; expected black frames, a black level in the file, or one given "
            "by you"
        )

    def blacks(self, flats: Sequence[Frame]) -> tuple[Black, ...]:
        """All that is known, in the order of ISO."""
        blacks = [black for dark in self.darks for black in dark.blacks]
        if not blacks:
            seen = {(frame.iso, frame.exposure): frame for frame in flats or [self.like]}
            for frame in seen.values():
                levels = self.at(frame).levels
                blacks += [
                    Black(
                        frame.iso,
                        frame.exposure,
                        plane,
                        float(level),
                        source="file" if self.given is None else "user",
                        file_level=None if frame.black is None else frame.black[index],
                    )
                    for index, (plane, level) in enumerate(zip(frame.planes, levels, strict=True))
                ]
        elif self.given is not None:
            blacks = [
                replace(black, level=float(self.given[self.like.planes.index(black.plane)]), source="user")
                for black in blacks
            ]
        return tuple(blacks)

    def dark_points(self) -> list[Point]:
        """(0, variance without light) of the black frames that flats were compared with."""
        return [
            Point(
                iso=black.iso,
                exposure=black.exposure,
                plane=black.plane,
                mean=0.0,
                variance=black.variance,
                dof=black.variance_dof,
                pixels=black.pixels,
                frames=black.frames,
                used=not dark.clipped and black.variance > 0,
                reason="clipped at zero" if dark.clipped else "" if black.variance > 0 else "all counts are equal",
            )
            for dark in self.used.values()
            for black in dark.blacks
        ]

    def findings(self, flats: Sequence[Frame]) -> list[Finding]:
        """What the user should know about the levels."""
        found = []
        if not self.darks:
            source = "the files'" if self.given is None else "your"
            text = f"no black frames: {source} black level is taken as it is, and the noise without light extrapolated"
            found.append(Finding("warning", "missing", text))
        for iso in sorted(self.borrowed, key=lambda value: (value is None, value)):
            text = "no black frames at this ISO; the level is that of the nearest one, the noise is extrapolated"
            found.append(Finding("warning", "missing", text, iso=iso))
        for dark in self.darks:
            for black in dark.blacks:
                found += _level_findings(black, self.like.white)
        found += _drift(self.darks)
        if self.darks and flats and all(dark.blacks[0].frames < 2 for dark in self.darks):
            text = "one black frame per ISO: unequal pixels count as noise; take two or more"
            found.append(Finding("note", "missing", text))
        return found


def _distance(black: Black, frame: Frame) -> tuple[float, float]:
    """How far black frames are from a frame, in octaves of ISO, then of exposure."""

    def octaves(a: float | None, b: float | None) -> float:
        if a is None or b is None or a <= 0 or b <= 0:
            return 0.0 if a == b else 1e9
        return abs(log2(a / b))

    return octaves(black.iso, frame.iso), octaves(black.exposure, frame.exposure)


def _level_findings(black: Black, white: float) -> list[Finding]:
    found = []
    if black.file_level is not None and abs(black.level - black.file_level) > max(0.5, 5 * black.level_se):
        serious = abs(black.level - black.file_level) > 0.005 * white
        text = f"black frames are at {black.level:.2f} DN, the files say {black.file_level:g}; the frames were believed"
        found.append(Finding("warning" if serious else "note", "black", text, "", black.iso, black.plane))
    if black.spread > max(0.5, 0.25 * sqrt(black.variance)):
        text = f"the level of the black frames differs by {black.spread:.2f} DN from frame to frame"
        found.append(Finding("warning", "black", text, "", black.iso, black.plane))
    if 0.002 * black.pixels < black.hot_pixels:
        share = 100 * black.hot_pixels / black.pixels
        text = f"{black.hot_pixels} hot pixels ({share:.2g} %): a warm sensor, or light through a leak"
        found.append(Finding("note", "black", text, "", black.iso, black.plane))
    return found


def _drift(darks: Sequence[DarkFrames]) -> list[Finding]:
    if not darks:
        return []
    levels = np.array([[black.level for black in dark.blacks] for dark in darks])
    noise = min(sqrt(max(black.variance, 0.0)) for dark in darks for black in dark.blacks)
    error = max(black.level_se for dark in darks for black in dark.blacks)
    spread = float(np.ptp(levels, axis=0).max())
    if spread <= max(0.5, 0.2 * noise, 6 * error):
        return []
    text = f"the black level differs by {spread:.2f} DN between ISOs or exposures; each frame was taken with its own"
    return [Finding("note", "black", text)]
