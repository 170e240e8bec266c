"""The work itself: one file after the other, or several processes side by side."""

import contextlib
import functools
import hashlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, Protocol

from shotnoise.batch.manifest import Origin, file_state
from shotnoise.bundled import find_model
from shotnoise.denoiser import Denoiser, Progress, Result
from shotnoise.errors import EngineError, ShotnoiseError
from shotnoise.images import Image, open_image, save_image

__all__ = ["FileReport", "Job", "Options", "Results", "Worker", "start"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How to denoise: the arguments of :class:`~shotnoise.denoiser.Denoiser`, and the quality of JPEG and WebP."""

    model: str = "photo"
    engine: str = "auto"
    strength: float = 1.0
    level: float | None = None
    tile: int | None = None
    threads: int | None = None
    quality: int = 95

    def model_facts(self) -> dict[str, str]:
        """Which model this is: its name, where it lies, and a fingerprint that tells when it was exchanged."""
        path = find_model(self.model)
        return {"name": self.model, "path": str(path), "sha256": _fingerprint(path)}

    def denoiser(self) -> "Worker":
        """Open the model."""
        return Denoiser(
            self.model,
            engine=self.engine,
            strength=self.strength,
            level=self.level,
            tile=self.tile,
            threads=self.threads,
        )


class Worker(Protocol):
    """What turns pictures into clean ones: a :class:`~shotnoise.denoiser.Denoiser`, or a fit to each picture."""

    def run(self, image: Image, *, progress: Progress | None = None) -> Result:
        """Denoise one picture, and say what happened."""
        ...

    def describe(self) -> dict[str, Any]:
        """What runs, for reports; with the keys `engine` and `provider`."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One file to denoise."""

    input: Path
    output: Path
    origin: Origin


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one input; `output` is None where it never had one.

    `sigma` and `removed` are in counts of 8 bits, `seconds` includes reading and writing.
    """

    input: Path
    output: Path | None
    status: Literal["done", "skipped", "failed"]
    error: str = ""
    sigma: float | None = None
    removed: float | None = None
    seconds: float = 0.0
    megapixels: float | None = None
    tiles: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


Results = Generator[tuple[Job, FileReport], None, None]
Tell = Callable[[Path, float], None]


def start(options: Options, todo: Sequence[Job], jobs: int, tell: Tell) -> tuple[dict[str, Any], Results]:
    """Open the model, and set out.

    Args:
        options: how to denoise.
        todo: the files, at least one.
        jobs: processes; 1 works in this one.
        tell: called with a file and the share of it that is done: 0 when it begins, more with one job only.

    Returns:
        What runs, and the reports as they come.
    """
    jobs = min(jobs, len(todo))
    if jobs > 1 and options.threads is None:
        options = replace(options, threads=max(1, _cores() // jobs))
    denoiser = options.denoiser()  # here too with several jobs: an unusable model is found before any work
    results = _alone(denoiser, options, todo, tell) if jobs == 1 else _side_by_side(options, todo, jobs, tell)
    return denoiser.describe(), results


def _fingerprint(model: Path) -> str:
    """SHA-256 of a model file, or of the names, sizes and times of what a run folder holds."""
    if model.is_file():
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = [f"{path.name} {file_state(path)}" for path in sorted(model.iterdir()) if path.is_file()]
    return hashlib.sha256("\n".join(files).encode()).hexdigest()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _alone(denoiser: Worker, options: Options, todo: Sequence[Job], tell: Tell) -> Results:
    for job in todo:
        tell(job.input, 0.0)
        yield job, _denoise_file(denoiser, job, options.quality, functools.partial(tell, job.input))


def _side_by_side(options: Options, todo: Sequence[Job], jobs: int, tell: Tell) -> Results:
    """Several processes. When one dies, the files that were under way have failed, and the others go on."""
    waiting = list(reversed(todo))
    others = set(multiprocessing.active_children())
    while waiting:
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _prepare_worker, (options,))
        running: dict[Future[FileReport], Job] = {}
        started = broken = False
        try:
            while running or (waiting and not broken):
                while waiting and len(running) < jobs and not broken:
                    try:
                        with _deaf_children():
                            running[pool.submit(_denoise_in_worker, waiting[-1])] = waiting[-1]
                    except (BrokenProcessPool, OSError) as error:  # OSError: it broke a moment ago
                        if not started:
                            raise EngineError(f"cannot start {jobs} processes ({error}); try fewer jobs") from None
                        broken = True
                    else:
                        started = True
                        tell(waiting.pop().input, 0.0)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        report = future.result()
                    except BrokenProcessPool:
                        broken = True
                        reason = "the process died while working on it, perhaps for lack of memory; try fewer jobs"
                        report = FileReport(job.input, job.output, "failed", f"{job.input}: {reason}")
                    yield job, report
        except BaseException:  # Ctrl-C, or the caller gave up: nobody waits for the results
            _end([process for process in multiprocessing.active_children() if process not in others])
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes begun in here do not hear Ctrl-C, which reaches all of them: their parent decides."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: deaf only from the initialiser on
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: list[BaseProcess]) -> None:
    """Ask, wait for a moment, then insist: a worker inside a long computation does not hear the question."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + 1
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        process.kill()
        process.join()


_options = Options()  # of a worker process
_opened: list[Worker] = []


def _prepare_worker(options: Options) -> None:
    global _options
    _options = options
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: object) -> None:
    """An exception, so that a half-written file is removed on the way out."""
    raise SystemExit(128 + number)


def _denoise_in_worker(job: Job) -> FileReport:
    try:
        if not _opened:
            _opened.append(_options.denoiser())
        return _denoise_file(_opened[0], job, _options.quality, None)
    except SystemExit as leaving:
        os._exit(int(str(leaving)))  # the pool would take it for a result and go on


def _denoise_file(denoiser: Worker, job: Job, quality: int, progress: Progress | None) -> FileReport:
    started = time.perf_counter()
    try:
        image = open_image(job.input)
        result = denoiser.run(image, progress=progress)
        job.output.parent.mkdir(parents=True, exist_ok=True)
        notes = save_image(result.image, job.output, quality=quality)
    except ShotnoiseError as error:
        return FileReport(job.input, job.output, "failed", _naming(job.input, str(error)))
    except (OSError, MemoryError) as error:
        return FileReport(job.input, job.output, "failed", _naming(job.input, str(error) or "not enough memory"))
    except Exception as error:  # a defect of ours must not cost a night of work on the other files
        logger.exception("%s: unexpected error", job.input)
        reason = f"unexpected {type(error).__name__}: {error}"
        return FileReport(job.input, job.output, "failed", _naming(job.input, reason))
    return FileReport(
        job.input,
        job.output,
        "done",
        sigma=result.sigma,
        removed=result.removed,
        seconds=time.perf_counter() - started,
        megapixels=image.height * image.width / 1e6,
        tiles=result.tiles,
        notes=image.notes + result.notes + notes,
    )


def _naming(path: Path, reason: str) -> str:
    """The reason in one line that names the file."""
    line = " ".join(reason.split())
    return line if str(path) in line else f"{path}: {line}"
