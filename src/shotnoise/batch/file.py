"""One file through its denoiser: read, denoise, write, report."""

import functools
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shotnoise.batch.manifest import Origin
from shotnoise.batch.options import Options
from shotnoise.batch.places import DNG, Kind, Place
from shotnoise.batch.spread import picture_of
from shotnoise.denoiser import Progress, Result
from shotnoise.errors import ShotnoiseError
from shotnoise.images import open_image, save_image
from shotnoise.images.raw import HeaderlessLayout, open_raw, save_dng, save_linear_dng
from shotnoise.images.raw.kinds import begins_like_raw
from shotnoise.mri import open_volume, save_volume
from shotnoise.raw_denoiser import RawResult
from shotnoise.sensor.develop import camera_rgb, develop

__all__ = ["FileReport", "Job", "Workers", "denoise_file", "naming"]

logger = logging.getLogger(__name__)

_EIGHT_BITS = (".jpg", ".jpeg", ".webp")  # formats of pictures that cannot hold more


@dataclass(frozen=True, slots=True)
class Job:
    """One file to denoise."""

    place: Place
    origin: Origin

    @property
    def input(self) -> Path:
        """What is denoised."""
        return self.place.input

    @property
    def output(self) -> Path:
        """Where the result goes."""
        return self.place.output

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is written."""
        return self.place.files


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file.

    `sigma` and `removed` are in counts of 8 bits, of RAW in counts of 255 between black and white; `seconds` includes
    reading and writing. `law` says of RAW what the noise was taken for and on whose word, `left` how much of it is
    still there. `megapixels` of a volume are millions of its values. `uncertainty` are the files of the spread of the
    samples, as numbers and as a picture.
    """

    input: Path
    output: Path | None
    status: Literal["done", "skipped", "failed"]
    error: str = ""
    kind: Kind | None = None
    preview: Path | None = None
    uncertainty: tuple[Path, ...] = ()
    sigma: float | None = None
    removed: float | None = None
    law: dict[str, Any] | None = None
    left: float | None = None
    seconds: float = 0.0
    megapixels: float | None = None
    tiles: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, place: Place, status: Literal["done", "skipped", "failed"], **facts: Any) -> "FileReport":
        """About a file whose place is known."""
        preview, uncertainty = (None, ()) if status == "failed" else (place.preview, place.uncertainty)
        return cls(
            place.input, place.output, status, kind=place.kind, preview=preview, uncertainty=uncertainty, **facts
        )


class Workers:
    """The denoisers of one process, each opened when it is first needed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.pictures = functools.cache(options.denoiser)
        self.raw = functools.cache(options.raw_denoiser)
        self.volumes = functools.cache(options.volume_denoiser)

    def describe(self, kind: Kind) -> dict[str, Any]:
        """What runs for files of a kind."""
        if kind == "volume":
            return self.volumes().describe()
        return self.raw().describe() if kind == "raw" else self.pictures().describe()


def denoise_file(workers: Workers, job: Job, progress: Progress | None) -> FileReport:
    """Whatever happens, a report comes out; nothing is half written."""
    started = time.perf_counter()
    work = {"picture": _denoise_picture, "raw": _denoise_raw, "volume": _denoise_volume}[job.place.kind]
    try:
        facts = work(workers, job.place, progress)
    except Exception as error:  # a defect of ours must not cost a night of work on the other files
        if (leaving := _exit_behind(error)) is not None:
            raise leaving from None
        return FileReport.of(job.place, "failed", error=naming(job.input, _reason(job, error)))
    return FileReport.of(job.place, "done", seconds=time.perf_counter() - started, **facts)


def _exit_behind(error: BaseException) -> SystemExit | None:
    """The order to leave that came while a library was being loaded, which makes a failed import of it."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, SystemExit):
        seen = seen.__cause__ or seen.__context__
    return seen


def _reason(job: Job, error: Exception) -> str:
    if isinstance(error, ShotnoiseError | OSError | MemoryError):
        return str(error) or "not enough memory"
    logger.error("%s: unexpected error", job.input, exc_info=error)
    return f"unexpected {type(error).__name__}: {error}"


def _denoise_picture(workers: Workers, place: Place, progress: Progress | None) -> dict[str, Any]:
    image = open_image(place.input)
    result = workers.pictures().run(image, progress=progress)
    place.output.parent.mkdir(parents=True, exist_ok=True)
    notes = save_image(result.image, place.output, quality=workers.options.quality)
    _save_uncertainty(result, place, workers.options)
    return {
        "sigma": result.sigma,
        "removed": result.removed,
        "megapixels": image.height * image.width / 1e6,
        "tiles": result.tiles,
        "notes": image.notes + result.notes + notes,
    }


def _denoise_raw(workers: Workers, place: Place, progress: Progress | None) -> dict[str, Any]:
    frame = open_raw(place.input, _layout(place.input, workers.options.layout))
    result = workers.raw().run(frame, progress=progress)
    notes = _save_raw(result, place, workers.options)
    _save_uncertainty(result, place, workers.options)
    return {
        "sigma": result.sigma,
        "removed": result.removed,
        "law": None if result.law is None else asdict(result.law),
        "left": result.left,
        "megapixels": frame.height * frame.width / 1e6,
        "tiles": result.tiles,
        "notes": frame.notes + result.notes + notes,
    }


def _denoise_volume(workers: Workers, place: Place, progress: Progress | None) -> dict[str, Any]:
    volume = open_volume(place.input)
    result = workers.volumes().run(volume, progress=progress)
    place.output.parent.mkdir(parents=True, exist_ok=True)
    save_volume(result.volume, place.output)
    return {"removed": result.removed, "megapixels": volume.values.size / 1e6, "notes": result.notes}


def _layout(path: Path, layout: str | None) -> HeaderlessLayout | None:
    """What was said about files without a header, if this is one."""
    if layout is None:
        return None
    with path.open("rb") as file:
        return None if begins_like_raw(file) else HeaderlessLayout.load(layout)


def _save_raw(result: RawResult, place: Place, options: Options) -> tuple[str, ...]:
    """The result as DNG or as a picture, and the preview; returns what the formats could not hold."""
    for path in (place.output, place.preview):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    notes: tuple[str, ...] = ()
    frame, ending = result.frame, place.output.suffix.lower()
    if place.preview is not None:
        notes += save_image(develop(frame, size="half"), place.preview, quality=options.quality)
    if ending != DNG:
        depth = np.uint8 if ending in _EIGHT_BITS else np.uint16
        return notes + save_image(develop(frame, size="full", dtype=depth), place.output, quality=options.quality)
    gone = None if result.law is None else 1 - result.left
    if not options.linear:
        return notes + save_dng(frame, place.output, compression=options.compression, noise_reduction=gone)
    rgb = camera_rgb(frame, size="full")
    return notes + save_linear_dng(rgb, frame, place.output, compression=options.compression, noise_reduction=gone)


def _save_uncertainty(result: Result | RawResult, place: Place, options: Options) -> None:
    """The spread of the samples, where it is wanted: the numbers, and a picture of them."""
    if result.uncertainty is not None and place.uncertainty:
        numbers, picture = place.uncertainty
        save_image(result.uncertainty, numbers)
        save_image(picture_of(result.uncertainty, place.output.name, options.samples), picture)


def naming(path: Path, reason: str) -> str:
    """The reason in one line that names the file."""
    line = " ".join(reason.split())
    return line if str(path) in line else f"{path}: {line}"
