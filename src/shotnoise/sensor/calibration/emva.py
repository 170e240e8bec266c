"""EMVA 1288 measurements: a text file that lists the pictures of a series, and what the standard makes of them.

Lines of the file: ``n bits width height`` once; ``b exposure photons`` or ``d exposure`` (nanoseconds, photons per
pixel; d is dark), each followed by its pictures, ``i name``. Names may have back-slashes. Two pictures make a temporal
pair; more than two are the series for what differs from pixel to pixel.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError
from shotnoise.images.files import open_image
from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.dark import examine
from shotnoise.sensor.calibration.judge import judge
from shotnoise.sensor.calibration.levels import Levels
from shotnoise.sensor.calibration.measure import measure
from shotnoise.sensor.calibration.result import Calibration, Emva, Point, Roi

__all__ = ["Exposure", "Series", "calibrate_emva", "read_description"]

Array = npt.NDArray[Any]
_LONGEST = 2**22  # characters of a description: more is something else


@dataclass(frozen=True, slots=True)
class Exposure:
    """Pictures of one exposure.

    Attributes:
        seconds: exposure time.
        photons: mean number per pixel; None in the dark.
        pictures: files.
    """

    seconds: float
    photons: float | None
    pictures: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A description: bits of the converter, size of the pictures, exposures in the order of the file."""

    bits: int
    width: int
    height: int
    exposures: tuple[Exposure, ...]


def read_description(path: str | os.PathLike[str]) -> Series:
    """Read a description file.

    Raises:
        ProfileError: it cannot be read, a line makes no sense, or a picture is not there.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            text = stream.read(_LONGEST + 1).decode("utf-8", "replace")
    except OSError as error:
        raise ProfileError(f"{file}: cannot be read ({error.strerror}); expected an EMVA 1288 description") from error
    if len(text) > _LONGEST:
        raise ProfileError(f"{file}: is longer than {_LONGEST:,} characters; expected an EMVA 1288 description")
    size: tuple[int, int, int] | None = None
    exposures: list[tuple[float, float | None, list[Path]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        kind, values = words[0], words[1:]
        try:
            if kind == "n":
                bits, width, height = (int(value) for value in values)
                if not (1 <= bits <= 16 and width > 0 and height > 0):
                    raise ValueError
                size = bits, width, height
            elif kind in "bd":
                numbers = [float(value) for value in values]
                if len(numbers) != (2 if kind == "b" else 1) or not all(isfinite(v) and v >= 0 for v in numbers):
                    raise ValueError
                exposures.append((numbers[0] * 1e-9, numbers[1] if kind == "b" else None, []))
            elif kind == "i":
                exposures[-1][2].append(_picture(file, line.split("i", 1)[1].strip()))
            elif kind != "v":
                raise ValueError
        except (ValueError, IndexError):
            raise ProfileError(
                f"{file}, line {number}: '{line.strip()[:60]}'; expected 'n bits width height', 'b exposure photons', "
                "'d exposure' or, after one of these, 'i picture'"
            ) from None
    if size is None or not any(pictures for _, _, pictures in exposures):
        raise ProfileError(f"{file}: is no EMVA 1288 description; expected a line 'n bits width height' and pictures")
    return Series(*size, tuple(Exposure(s, photons, tuple(pictures)) for s, photons, pictures in exposures if pictures))


def calibrate_emva(
    path: str | os.PathLike[str],
    *,
    max_signal: float = 0.7,
    rng: np.random.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Calibrate a sensor without colours from an EMVA 1288 series.

    Args:
        path: the description file.
        max_signal: share of the range above which a level is not used.
        rng: picks pixels for the shape of the dark noise; None: a fixed one.
        progress: called with the number of pictures done and of all.
    """
    series = read_description(path)
    white = float(2**series.bits - 1)
    total, done = sum(len(exposure.pictures) for exposure in series.exposures), 0
    lit = [exposure for exposure in series.exposures if exposure.photons is not None]
    dark = [exposure for exposure in series.exposures if exposure.photons is None]
    if not dark:
        raise ProfileError(f"{path}: lists no dark pictures; expected lines 'd exposure' with two pictures each")
    darks = []
    for exposure in sorted(dark, key=lambda exposure: exposure.seconds):
        darks.append(examine(_frames(series, exposure, white), rng=rng or np.random.default_rng(0)))
        done += len(exposure.pictures)
        if progress is not None:
            progress(done, total)
    like = _frames(series, series.exposures[0], white)[0]
    levels = Levels(darks, None, like)
    whole = Roi(0, 0, series.height, series.width)
    points: list[Point] = []
    for exposure in lit:
        frames = _frames(series, exposure, white)
        known = levels.at(frames[0])
        points += measure(
            frames,
            [whole],
            known.levels.tolist(),
            white=white,
            max_signal=max_signal,
            row_variance=known.row_variance,
        ).points
        done += len(exposure.pictures)
        if progress is not None:
            progress(done, total)
    result = judge(
        levels.dark_points() + points,
        like,
        blacks=levels.blacks([]),
        bias=tuple(noise for found in darks for noise in found.bias),
        findings=[finding for found in darks for finding in found.findings] + levels.findings([]),
        white=white,
        max_signal=max_signal,
        rois=((None, (whole,)),),
    )
    return replace(result, emva=_emva(series, lit, dark, result, points)) if result.fits else result


def _picture(index: Path, name: str) -> Path:
    """A picture beside the description, or in the folder that its name says."""
    relative = Path(name.replace("\\", "/"))
    for place in (index.parent / relative, index.parent / relative.name):
        if name and not relative.is_absolute() and place.is_file():
            return place
    raise ProfileError(f"{index}: names the picture '{name}', which is not there; put it beside the description")


def _frames(series: Series, exposure: Exposure, white: float) -> list[Frame]:
    """Frames that load their pictures when they are needed."""

    def loader(path: Path) -> Callable[[], Array]:
        return lambda: _load(path, series)

    return [Frame(path.name, loader(path), None, white, None, None, exposure.seconds) for path in exposure.pictures]


def _load(path: Path, series: Series) -> Array:
    array = open_image(path).to_array()
    if array.shape != (series.height, series.width) or array.dtype.kind != "u":
        raise ProfileError(
            f"{path}: a picture of shape {array.shape} and type {array.dtype}; the description says {series.width} x "
            f"{series.height} gray"
        )
    if int(array.max()) >= 2**series.bits:
        raise ProfileError(
            f"{path}: has counts up to {int(array.max())}; the description says {series.bits} bits: right-align the "
            "samples, or correct the line 'n'"
        )
    return array


def _emva(
    series: Series, lit: Sequence[Exposure], dark: Sequence[Exposure], result: Calibration, points: Sequence[Point]
) -> Emva:
    """The numbers of the standard."""
    fit = result.fits[0].best[0]
    k = fit.k
    seconds = np.array([black.exposure or 0.0 for black in result.blacks])
    variances = np.array([black.variance for black in result.blacks])
    information = np.array([black.variance_dof / max(black.variance, 1e-12) ** 2 for black in result.blacks])
    levels = np.array([black.level for black in result.blacks])
    spread = float(np.ptp(seconds)) > 0
    rise, dark_variance = _line(seconds, variances, information) if spread else (nan, float(variances.mean()))
    level_rise = _line(seconds, levels, np.ones_like(levels))[0] if spread else nan
    photons = np.array([exposure.photons for exposure in lit], float)
    signal = np.array([point.mean for point in points])
    noise = np.array([point.variance for point in points])
    used = np.array([point.used for point in points])
    known = used & (photons > 0)
    responsivity = float((photons * signal)[known].sum() / (photons**2)[known].sum()) if known.any() else nan
    efficiency = responsivity / k
    full = float(photons[int(np.argmax(noise))]) if photons.size and photons.max() > 0 else nan
    dsnu, prnu = _fixed_pattern(series, lit, dark, k)
    return Emva(
        gain=k,
        dark_noise=sqrt(max(dark_variance, 0.0)),
        dark_electrons=sqrt(max(dark_variance - 1 / 12, 0.0)) / k,
        responsivity=responsivity,
        quantum_efficiency=efficiency,
        saturation_photons=full,
        saturation_electrons=full * efficiency,
        dark_current_mean=level_rise / k,
        dark_current_variance=rise / k**2,
        dsnu=dsnu,
        prnu=prnu,
        bits=series.bits,
    )


def _line(x: Array, y: Array, weights: Array) -> tuple[float, float]:
    """Slope and intercept by weighted least squares."""
    slope, intercept = np.polyfit(x, y, 1, w=np.sqrt(weights))
    return float(slope), float(intercept)


def _fixed_pattern(series: Series, lit: Sequence[Exposure], dark: Sequence[Exposure], k: float) -> tuple[float, float]:
    """DSNU in electrons and PRNU from the longest series of pictures, without what temporal noise leaves in a mean."""
    found: list[tuple[float, float]] = []
    for exposures in (dark, lit):
        best = max(exposures, key=lambda exposure: len(exposure.pictures), default=None)
        if best is None or len(best.pictures) < 3:
            found.append((nan, nan))
            continue
        count = len(best.pictures)
        total: Array = np.zeros((series.height, series.width))
        square: Array = np.zeros((series.height, series.width))
        for path in best.pictures:
            picture = _load(path, series).astype(np.float64)
            total += picture
            square += picture * picture
        temporal = float((square - total * total / count).mean()) / (count - 1)
        found.append((float(total.mean()) / count, float(total.var(ddof=1)) / count**2 - temporal / count))
    (dark_mean, dark_spread), (mean, spread) = found
    dsnu = sqrt(max(dark_spread, 0.0)) / k if isfinite(dark_spread) else nan
    prnu = sqrt(max(spread - dark_spread, 0.0)) / (mean - dark_mean) if isfinite(spread + dark_spread) else nan
    return dsnu, prnu
