"""Many files through one denoiser.

All names are settled before any work: no two inputs may become one file, and no input is overwritten unless that was
said. A second run does what is new, or what would now come out differently; files that are there and are not ours are
left alone, and reported as failed.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shotnoise import __version__
from shotnoise.batch.manifest import Manifest, Origin, file_state
from shotnoise.batch.places import file_key, plan_places, refuse_collisions
from shotnoise.batch.work import FileReport, Job, Options, start

__all__ = ["BatchReport", "Event", "denoise_files"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened: a file was begun (`share` 0), got further, or is finished (`report`)."""

    total: int
    input: Path
    share: float
    report: FileReport | None = None


@dataclass(slots=True)
class BatchReport:
    """What became of all inputs."""

    model: dict[str, str]
    engine: dict[str, Any] | None = None
    files: list[FileReport] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, status: str) -> int:
        """How many files are "done", "skipped" or "failed"."""
        return sum(file.status == status for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for machines."""
        engine = self.engine or {}
        files = [
            {
                **asdict(file),
                "input": str(file.input),
                "output": None if file.output is None else str(file.output),
                "engine": engine.get("engine") if file.status == "done" else None,
                "provider": engine.get("provider") if file.status == "done" else None,
            }
            for file in self.files
        ]
        return {
            "shotnoise": __version__,
            "model": self.model,
            "engine": self.engine,
            **{status: self.count(status) for status in ("done", "skipped", "failed")},
            "seconds": self.seconds,
            "files": files,
        }


def denoise_files(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    options: Options | None = None,
    suffix: str | None = None,
    extension: str | None = None,
    overwrite: bool = False,
    recursive: bool = True,
    jobs: int = 1,
    on_event: Callable[[Event], None] | None = None,
) -> BatchReport:
    """Denoise files and folders.

    Args:
        inputs: pictures and folders of pictures.
        output: a folder; or, for one picture, a file or a folder; a name that ends in a slash is a folder. The tree
            of one input folder goes right into it, those of several go into folders of their names. None: beside the
            inputs, NAME_clean.EXT and FOLDER_clean.
        options: how to denoise.
        suffix: added to the names of results; None: `_clean` beside the inputs, nothing in another folder.
        extension: format of the results, "png", "jpg", "tif", "npy" ...; None: that of the input, or PNG where it
            cannot be written.
        overwrite: whether to replace files that are there and are not ours, to do again what is done, and, when
            `output` says so, to replace the inputs themselves. A picture is never denoised in place twice.
        recursive: whether to look into folders inside folders.
        jobs: processes; each has its share of the cores unless `options.threads` says otherwise.
        on_event: told about every file when it begins, on its way (with one job only) and at its end.

    Raises:
        UsageError: inputs and output do not go together; nothing was done.
        ShotnoiseError: the model cannot be used at all. What is wrong with single files is in the report.
    """
    started = time.perf_counter()
    options = options or Options()
    facts = options.model_facts()
    planned, unusable = plan_places(inputs, output, suffix, extension, recursive)
    refuse_collisions(planned, overwrite and output is not None)
    report = BatchReport(facts)
    total = len(planned) + len(unusable)

    def finished(file: FileReport) -> None:
        report.files.append(file)
        if on_event is not None:
            on_event(Event(total, file.input, 1.0, file))

    def tell(path: Path, share: float) -> None:
        if on_event is not None:
            on_event(Event(total, path, share))

    for path, reason in unusable:
        finished(FileReport(path, None, "failed", reason))
    manifests: dict[Path, Manifest] = {}
    todo: dict[Path, tuple[Job, list[int] | None]] = {}  # by output, with the state of one that is there already
    for source, target in planned:
        if target.parent not in manifests:
            manifests[target.parent] = Manifest(target.parent)
        job = Job(source, target, _origin(source, report.model["sha256"], options))
        verdict = _verdict(job, manifests[target.parent], overwrite)
        if verdict is None:
            todo[job.output] = job, file_state(job.output)
        else:
            finished(verdict)
    if todo:
        report.engine, results = start(options, [job for job, _ in todo.values()], jobs, tell)
        try:
            with contextlib.closing(results):
                for job, file in results:
                    if file.status == "done":
                        manifests[job.output.parent].add(job.output, job.origin)
                    del todo[job.output]
                    finished(file)
        finally:
            for job, before in todo.values():  # when stopped: a process may have finished one more, unheard
                if file_state(job.output) != before:
                    manifests[job.output.parent].add(job.output, job.origin)
            for manifest in manifests.values():
                manifest.save()
    report.seconds = time.perf_counter() - started
    return report


def _origin(source: Path, model: str, options: Options) -> Origin:
    changing = {key: value for key, value in asdict(options).items() if key not in ("model", "threads")}
    return Origin(os.path.realpath(source), file_state(source), model, changing)


def _verdict(job: Job, manifest: Manifest, overwrite: bool) -> FileReport | None:
    """A report where there is nothing to do or nothing may be done."""
    state = manifest.state(job.output, job.origin)
    if file_key(job.input) == file_key(job.output):
        if state in ("current", "outdated"):
            return FileReport(job.input, job.output, "skipped", notes=("was denoised in place already",))
        return None
    if overwrite:
        return None
    if state == "current":
        return FileReport(job.input, job.output, "skipped", notes=("is done already, with the same model and options",))
    if state == "foreign":
        reason = "exists, and is not the unchanged result of an earlier run on this input"
        return FileReport(job.input, job.output, "failed", f"{job.output}: {reason}; say --overwrite to replace it")
    return None
