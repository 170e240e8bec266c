"""Many files through one denoiser.

All names are settled before any work: no two inputs may become one file, and no input is overwritten unless that was
said. A second run does what is new, or what would now come out differently; files that are there and are not ours are
left alone, and reported as failed.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shotnoise import __version__
from shotnoise.batch.file import FileReport, Job, Workers
from shotnoise.batch.manifest import Manifest, Origin, file_state
from shotnoise.batch.options import Options
from shotnoise.batch.places import DNG, Kind, Place, UsageError, file_key, plan_places, refuse_collisions
from shotnoise.batch.work import start

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
    """What became of all inputs.

    Attributes:
        model: which one was for the pictures; None where there were none.
        engine: what ran it; None where nothing had to be done.
        raw_model: which one was for RAW; None where there was none.
        raw_engine: what ran that.
        volume_model: which one was for volumes; None where there was none.
        volume_engine: what ran that.
        files: one report each.
        seconds: of the whole.
    """

    model: dict[str, str] | None = None
    engine: dict[str, Any] | None = None
    raw_model: dict[str, str] | None = None
    raw_engine: dict[str, Any] | None = None
    volume_model: dict[str, str] | None = None
    volume_engine: dict[str, Any] | None = None
    files: list[FileReport] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, status: str) -> int:
        """How many files are "done", "skipped" or "failed"."""
        return sum(file.status == status for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for machines."""
        files = []
        for file in self.files:
            ran_by = {"picture": self.engine, "raw": self.raw_engine, "volume": self.volume_engine}
            engine = ran_by[file.kind or "picture"] if file.status == "done" else None
            paths: dict[str, Any] = {name: None if path is None else str(path) for name, path in _paths(file).items()}
            paths["uncertainty"] = [str(path) for path in file.uncertainty]
            paths["report"] = None if file.report is None else str(file.report)
            ran = {name: (engine or {}).get(name) for name in ("engine", "provider")}
            files.append({**asdict(file), **paths, **ran})
        return {
            "shotnoise": __version__,
            "model": self.model,
            "engine": self.engine,
            "raw_model": self.raw_model,
            "raw_engine": self.raw_engine,
            "volume_model": self.volume_model,
            "volume_engine": self.volume_engine,
            **{status: self.count(status) for status in ("done", "skipped", "failed")},
            "seconds": self.seconds,
            "files": files,
        }


def _paths(file: FileReport) -> dict[str, Path | None]:
    return {"input": file.input, "output": file.output, "preview": file.preview}


def denoise_files(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    options: Options | None = None,
    workers: Workers | None = None,
    suffix: str | None = None,
    extension: str | None = None,
    overwrite: bool = False,
    recursive: bool = True,
    preview: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    on_event: Callable[[Event], None] | None = None,
) -> BatchReport:
    """Denoise files and folders.

    Args:
        inputs: pictures, RAW files, and folders of them.
        output: a folder; or, for one picture, a file or a folder; a name that ends in a slash is a folder. The tree
            of one input folder goes right into it, those of several go into folders of their names. None: beside the
            inputs, NAME_clean.EXT and FOLDER_clean.
        options: how to denoise.
        workers: denoisers of an earlier call with the same options, which need not be opened again; for one job.
        suffix: added to the names of results; None: `_clean` beside the inputs, nothing in another folder.
        extension: format of the results, "png", "jpg", "tif", "npy" ...; None: that of the input, or PNG where it
            cannot be written; DNG for RAW, which is developed into any other format.
        overwrite: whether to replace files that are there and are not ours, to do again what is done, and, when
            `output` says so, to replace the inputs themselves. A picture is never denoised in place twice.
        recursive: whether to look into folders inside folders.
        preview: where each RAW file is also shown developed: a file, for one, or a folder, in which they are JPEG.
        jobs: processes; each has its share of the cores unless `options.threads` says otherwise.
        on_event: told about every file when it begins, on its way (with one job only) and at its end.

    Raises:
        UsageError: inputs and output do not go together; nothing was done.
        ShotnoiseError: the model cannot be used at all. What is wrong with single files is in the report.
    """
    started = time.perf_counter()
    options = options or (Options() if workers is None else workers.options)
    planned, unusable = plan_places(
        inputs,
        output,
        suffix,
        extension,
        recursive,
        preview,
        headerless=options.layout is not None,
        uncertainty=options.uncertainty,
        report=options.report,
    )
    refuse_collisions(planned, overwrite and output is not None)
    _refuse_idle_options(options, planned, preview)
    kinds: list[Kind] = sorted({place.kind for place in planned}) or ["picture"]
    facts = {kind: options.model_facts(kind) for kind in kinds}
    report = BatchReport(facts.get("picture"), raw_model=facts.get("raw"), volume_model=facts.get("volume"))
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
    todo: dict[Path, tuple[Job, list[list[int] | None]]] = {}  # by output, with the state of what is there already
    for place in planned:
        job = Job(place, _origin(place, facts[place.kind]["sha256"], options))
        for path in job.files:
            if path.parent not in manifests:
                manifests[path.parent] = Manifest(path.parent)
        verdict = _verdict(job, manifests, overwrite)
        if verdict is None:
            todo[job.output] = job, [file_state(path) for path in job.files]
        else:
            finished(verdict)
    if todo:
        try:
            engines, results = start(options, [job for job, _ in todo.values()], jobs, tell, workers)
            report.engine, report.raw_engine = engines.get("picture"), engines.get("raw")
            report.volume_engine = engines.get("volume")
            with contextlib.closing(results):
                for job, file in results:
                    _record(manifests, *todo.pop(job.output), everything=file.status == "done")
                    finished(file)
        finally:
            for left in todo.values():  # when stopped: a process may have finished one more, unheard
                _record(manifests, *left)
            for manifest in manifests.values():
                manifest.save()
    report.seconds = time.perf_counter() - started
    return report


def _refuse_idle_options(options: Options, planned: Sequence[Place], preview: object) -> None:
    """Options that none of the inputs can make use of: what was wanted is something else than would be done."""
    if options.uncertainty and options.samples < 2:
        raise UsageError(
            "the uncertainty is the spread of several samples, and one was asked for; ask for 2 samples or more, 16 say"
        )
    if not planned:
        return
    if all(place.kind == "volume" for place in planned):
        if options.report:
            raise UsageError(
                "a report was asked for, and there are only volumes; reports are of pictures and RAW files"
            )
        for what, idle in {"a noise level": options.level, "a size of tiles": options.tile}.items():
            if idle is not None:
                raise UsageError(f"{what} is given, and volumes are denoised in whole slices by models that take none")
    if options.level is not None and all(place.kind == "raw" for place in planned):
        raise UsageError(
            f"a noise level of {options.level:g} is for pictures, and there is none among the inputs; the noise of RAW "
            "depends on the brightness: give a noise profile, or none"
        )
    raw = [place for place in planned if place.kind == "raw"]
    given = {
        "a noise profile": options.profile,
        "an ISO": options.iso,
        "a RAW layout": options.layout,
        "a preview": preview,
        "a linear DNG": options.linear or None,
        "no compression": options.compression if options.compression != "jpeg" else None,
    }
    for what, value in given.items():
        if value is not None and not raw:
            raise UsageError(
                f"{what} was asked for or given, which is for RAW files, and there is none among the inputs"
            )
    if options.iso is not None and options.profile is None:
        raise UsageError(f"ISO {options.iso:g} is given without a noise profile, and nothing else depends on it")
    if options.linear and not any(place.output.suffix.lower() == DNG for place in raw):
        raise UsageError(f"a linear DNG was asked for, and the output {raw[0].output} is none; leave one out")


def _origin(place: Place, model: str, options: Options) -> Origin:
    return Origin(os.path.realpath(place.input), file_state(place.input), model, options.changing(place.kind))


def _record(
    manifests: Mapping[Path, Manifest], job: Job, before: Sequence[list[int] | None], everything: bool = False
) -> None:
    """Remember what was written: of a file that failed halfway, as on a full disk, whatever is not as it was before."""
    for path, state in zip(job.files, before, strict=True):
        if everything or file_state(path) != state:
            manifests[path.parent].add(path, job.origin)


def _verdict(job: Job, manifests: Mapping[Path, Manifest], overwrite: bool) -> FileReport | None:
    """A report where there is nothing to do or nothing may be done."""
    states = {path: manifests[path.parent].state(path, job.origin) for path in job.files}
    if file_key(job.input) == file_key(job.output):
        if states[job.output] in ("current", "outdated"):
            return FileReport.of(job.place, "skipped", notes=("was denoised in place already",))
        return None
    if overwrite:
        return None
    if set(states.values()) == {"current"}:
        note = "is done already, with the same model and options"
        return FileReport.of(job.place, "skipped", notes=(note,))
    for path, state in states.items():
        if state == "foreign":
            reason = "exists, and is not the unchanged result of an earlier run on this input"
            return FileReport.of(job.place, "failed", error=f"{path}: {reason}; say --overwrite to replace it")
    return None
