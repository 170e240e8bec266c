"""The report that goes beside a result: as `shotnoise report` makes it, with the denoiser at hand to be run again."""

import copy
from typing import TYPE_CHECKING, Any

from shotnoise.batch.options import Options, Worker
from shotnoise.batch.places import Place
from shotnoise.images import Image
from shotnoise.images.raw import RawFrame
from shotnoise.report import Restore, compare
from shotnoise.runner import ModelRunner

if TYPE_CHECKING:
    from shotnoise.denoiser import Result
    from shotnoise.raw_denoiser import RawDenoiser, RawResult

__all__ = ["picture_report", "raw_report"]


def picture_report(worker: Worker, options: Options, place: Place, before: Image, result: "Result") -> bytes:
    """The page about a picture."""
    level = options.level or None  # a level of 0 is none that could be compared with
    restore = _again(worker, level=result.sigma) if _takes_level(worker) else _again(worker)
    return _page(worker, place, before, result.image, level, restore)


def raw_report(worker: "RawDenoiser", options: Options, place: Place, before: RawFrame, result: "RawResult") -> bytes:
    """The page about a RAW frame."""
    restore = None if result.law is None else _again(worker, profile=result.law)
    return _page(worker, place, before, result.frame, result.law if options.profile else None, restore)


def _page(
    worker: "Worker | RawDenoiser",
    place: Place,
    before: Image | RawFrame,
    after: Image | RawFrame,
    noise: Any,
    restore: Restore | None,
) -> bytes:
    ran = worker.describe()
    how = ", ".join(str(ran[name]) for name in ("model", "engine", "precision") if ran.get(name))
    report = compare(
        before,
        after,
        noise=noise,
        restore=restore,
        how=how,
        names={"before": str(place.input), "after": str(place.output)},
    )
    return report.to_html().encode()


def _takes_level(worker: Worker) -> bool:
    return isinstance(worker, ModelRunner) and worker.card.level != "none"


def _again(worker: "Worker | RawDenoiser", **told: Any) -> Restore | None:
    """The denoiser as it was applied, told what it found out then; None for a fit, which takes a minute each time."""
    if not isinstance(worker, ModelRunner):
        return None
    same: Any = copy.copy(worker)
    for name, value in told.items():
        setattr(same, name, value)

    def restore(noisy: Image | RawFrame) -> Image | RawFrame:
        result = same.run(noisy)
        clean: Image | RawFrame = result.frame if isinstance(noisy, RawFrame) else result.image
        return clean

    return restore
