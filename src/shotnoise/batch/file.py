"""One file through its denoiser: read, denoise, write, report."""

import contextlib
import functools
import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shotnoise.batch.manifest import Origin
from shotnoise.batch.options import Options
from shotnoise.batch.places import DNG, Kind, Place
from shotnoise.batch.spread import picture_of
from shotnoise.errors import PictureError, ShotnoiseError
from shotnoise.images import open_image, save_image
from shotnoise.images._disk import shown, write
from shotnoise.images.raw import HeaderlessLayout, open_raw, save_dng, save_linear_dng
from shotnoise.images.raw.kinds import begins_like_raw
from shotnoise.mri import open_volume, save_volume
from shotnoise.sensor.develop import camera_rgb, develop

if TYPE_CHECKING:
    from shotnoise.denoiser import Progress, Result
    from shotnoise.raw_denoiser import RawResult

__all__ = ["FileReport", "Job", "Task", "Workers", "denoise_file", "naming"]

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
    samples, as numbers and as a picture; `report` is the page about what was taken away.
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
    report: Path | None = None

    @classmethod
    def of(cls, place: Place, status: Literal["done", "skipped", "failed"], **facts: Any) -> "FileReport":
        """About a file whose place is known."""
        preview, uncertainty = (None, ()) if status == "failed" else (place.preview, place.uncertainty)
        report = None if status == "failed" else place.report
        beside: dict[str, Any] = {"preview": preview, "uncertainty": uncertainty, "report": report}
        return cls(place.input, place.output, status, kind=place.kind, **beside, **facts)


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


class Task:
    """One file on its way: :meth:`read`, :meth:`run` and :meth:`write` follow one another, in any threads.

    Whatever happens, a report comes out; nothing is half written. After a step that failed, the next ones do nothing.

    Attributes:
        job: the file.
        held: bytes of the picture, once it is read.
        report: what became of the file, once it is written.
    """

    def __init__(self, workers: Workers, job: Job, progress: "Progress | None" = None) -> None:
        work = {"picture": _denoise_picture, "raw": _denoise_raw, "volume": _denoise_volume}[job.place.kind]
        self.job = job
        self.held = 0
        self.report: FileReport | None = None
        self._steps = work(workers, job.place, progress)
        self._seconds = 0.0

    def read(self) -> None:
        """From the disk."""
        self._step()

    def run(self) -> None:
        """Through the model."""
        self._step()

    def write(self) -> FileReport:
        """To the disk."""
        self._step()
        assert self.report is not None  # noqa: S101  # every file takes three steps at most
        return self.report

    def _step(self) -> None:
        if self.report is not None:
            return
        started = time.perf_counter()
        facts: dict[str, Any] | None = None
        try:
            self.held = next(self._steps)
        except StopIteration as done:
            facts = done.value
        except Exception as error:  # a defect of ours must not cost a night of work on the other files
            if (leaving := _exit_behind(error)) is not None:
                raise leaving from None
            self.report = FileReport.of(
                self.job.place, "failed", error=naming(self.job.input, _reason(self.job, error))
            )
        self._seconds += time.perf_counter() - started  # without the time for which it waited for others
        if facts is not None:
            self.report = FileReport.of(self.job.place, "done", seconds=self._seconds, **facts)


def denoise_file(workers: Workers, job: Job) -> FileReport:
    """All steps of one file."""
    task = Task(workers, job)
    task.read()
    task.run()
    return task.write()


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


# The work on each kind stops after reading, with the size of what it holds, and before writing.
_Steps = Generator[int, None, dict[str, Any]]


def _denoise_picture(workers: Workers, place: Place, progress: "Progress | None") -> _Steps:
    image = open_image(place.input, max_pixels=workers.options.max_pixels)
    yield image.pixels.nbytes
    result = workers.pictures().run(image, progress=progress)
    page = b""
    if place.report is not None:
        from shotnoise.batch.report_page import picture_report

        page = picture_report(workers.pictures(), workers.options, place, image, result)
    megapixels, notes = image.height * image.width / 1e6, image.notes
    del image  # its memory is for the next one
    yield result.image.pixels.nbytes
    with _writing(place.output):
        lost = save_image(result.image, place.output, quality=workers.options.quality)
    _save_uncertainty(result, place, workers.options)
    _save_report(page, place)
    return {
        "sigma": result.sigma,
        "removed": result.removed,
        "megapixels": megapixels,
        "tiles": result.tiles,
        "notes": notes + result.notes + lost,
    }


def _denoise_raw(workers: Workers, place: Place, progress: "Progress | None") -> _Steps:
    options = workers.options
    frame = open_raw(place.input, _layout(place.input, options.layout), max_pixels=options.max_pixels)
    yield frame.mosaic.nbytes
    result = workers.raw().run(frame, progress=progress)
    page = b""
    if place.report is not None:
        from shotnoise.batch.report_page import raw_report

        page = raw_report(workers.raw(), options, place, frame, result)
    megapixels, notes = frame.height * frame.width / 1e6, frame.notes
    del frame
    yield result.frame.mosaic.nbytes
    lost = _save_raw(result, place, options)
    _save_uncertainty(result, place, options)
    _save_report(page, place)
    return {
        "sigma": result.sigma,
        "removed": result.removed,
        "law": None if result.law is None else asdict(result.law),
        "left": result.left,
        "megapixels": megapixels,
        "tiles": result.tiles,
        "notes": notes + result.notes + lost,
    }


def _denoise_volume(workers: Workers, place: Place, progress: "Progress | None") -> _Steps:
    volume = open_volume(place.input)
    yield volume.values.nbytes
    result = workers.volumes().run(volume, progress=progress)
    del volume
    yield result.volume.values.nbytes
    with _writing(place.output):
        save_volume(result.volume, place.output)
    return {"removed": result.removed, "megapixels": result.volume.values.size / 1e6, "notes": result.notes}


def _layout(path: Path, layout: str | None) -> HeaderlessLayout | None:
    """What was said about files without a header, if this is one."""
    if layout is None:
        return None
    with path.open("rb") as file:
        return None if begins_like_raw(file) else HeaderlessLayout.load(layout)


def _save_raw(result: "RawResult", place: Place, options: Options) -> tuple[str, ...]:
    """The result as DNG or as a picture, and the preview; returns what the formats could not hold."""
    notes: tuple[str, ...] = ()
    frame, ending = result.frame, place.output.suffix.lower()
    if place.preview is not None:
        with _writing(place.preview):
            notes += save_image(develop(frame, size="half"), place.preview, quality=options.quality)
    with _writing(place.output):
        if ending != DNG:
            depth = np.uint8 if ending in _EIGHT_BITS else np.uint16
            return notes + save_image(develop(frame, size="full", dtype=depth), place.output, quality=options.quality)
        gone = None if result.law is None else 1 - result.left
        if not options.linear:
            return notes + save_dng(frame, place.output, compression=options.compression, noise_reduction=gone)
        rgb = camera_rgb(frame, size="full")
        return notes + save_linear_dng(rgb, frame, place.output, compression=options.compression, noise_reduction=gone)


def _save_uncertainty(result: "Result | RawResult", place: Place, options: Options) -> None:
    """The spread of the samples, where it is wanted: the numbers, and a picture of them."""
    if result.uncertainty is not None and place.uncertainty:
        numbers, picture = place.uncertainty
        save_image(result.uncertainty, numbers)
        save_image(picture_of(result.uncertainty, place.output.name, options.samples), picture)


def _save_report(page: bytes, place: Place) -> None:
    """The page, where one was made."""
    if place.report is not None:
        with _writing(place.report):
            write(place.report, lambda file: file.write(page))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Into a folder that is made where there is none; what the system refuses is said in our words."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror or error
        raise PictureError(f"{shown(path)}: cannot be written ({reason}); choose another place") from error


def naming(path: Path, reason: str) -> str:
    """The reason in one line that names the file."""
    line = " ".join(reason.split())
    return line if shown(path) in line else f"{shown(path)}: {line}"
