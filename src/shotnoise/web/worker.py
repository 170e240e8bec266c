"""The process that works: it opens what strangers send, so it is one that may be lost.

A file that crashes a decoder, or asks for more memory than there is, costs that file and nothing else; and whatever
takes too long can be ended at any moment. Files go through :func:`shotnoise.batch.denoise_files`, as they do in
`shotnoise denoise`: the results are the same.
"""

import functools
import logging
import math
import re
import signal
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise import __version__, bundled
from shotnoise.batch import Event, Options, Workers, denoise_files
from shotnoise.batch.places import DNG
from shotnoise.demo import noisy_photograph
from shotnoise.engines import available_engines
from shotnoise.errors import ModelError, ShotnoiseError
from shotnoise.images import Image, open_image, save_image
from shotnoise.images.image import to_depth
from shotnoise.images.raw import RawFrame, is_raw, open_raw
from shotnoise.sensor import estimate_sigma
from shotnoise.sensor.develop import Look, develop
from shotnoise.sensor.estimate import estimate_frame, law_for
from shotnoise.sensor.file_noise import GRAY

__all__ = ["TASKS", "Tell", "work"]

logger = logging.getLogger(__name__)

Tell = Callable[[float], None]

_DEPTHS = {"uint8": "8 bits", "uint16": "16 bits", "float32": "floating point"}


def work(pipe: Connection) -> None:
    """Do what comes through the pipe, one task after the other, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the pipe
    pipe.send(("ready", None))
    while True:
        try:
            name, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        answer: tuple[str, Any]
        try:
            answer = "done", TASKS[name](lambda share: pipe.send(("share", share)), **arguments)
        except (ShotnoiseError, OSError, MemoryError) as error:
            answer = "refused", _without_folders(str(error) or "not enough memory", arguments)
        except Exception as error:
            logger.exception("unexpected error")
            line = " ".join(f"unexpected {type(error).__name__}: {error}".split())
            answer = "broken", _without_folders(line, arguments)
        try:
            pipe.send(answer)
        except OSError:
            return


def _without_folders(message: str, arguments: Mapping[str, Any]) -> str:
    """Visitors know files, models and profiles by their names; where those lie here is nothing to them."""
    if "path" not in arguments:  # asked by the server itself
        return message
    options = arguments.get("options", Options())
    files = (arguments["path"], options.model or "", options.profile or "", bundled.__file__)
    folders = {*(str(Path(file).parent) for file in files), arguments.get("output", ".")} - {"."}
    for folder in sorted(folders, key=len, reverse=True):  # one may lie in another
        message = re.sub(rf"(?<![\w/]){re.escape(folder)}/", "", message)
    return message


def describe(tell: Tell, *, sources: Mapping[str, str], options: Options) -> dict[str, Any]:
    """Open the models that are to be offered; what they are by name, and the engines of this machine."""
    models = {}
    for number, (name, source) in enumerate(sources.items()):
        workers = _workers(replace(options, model=source))
        card = None
        try:
            card = workers.raw().card
        except ModelError:
            card = getattr(workers.pictures(), "card", None)
        if card is None:
            raise ModelError(f"{source}: says nothing about itself; export it with this version")
        models[name] = {
            "kind": "raw" if card.kind == "raw" else "picture",
            "level": card.level == "sigma",
            "summary": card.title or card.noise,
        }
        tell((number + 1) / len(sources))
    trained = any(not source.endswith(".onnx") and source not in bundled.BUNDLED for source in sources.values())
    engines = [
        status.name for status in available_engines() if status.available and (trained or "torch" not in status.name)
    ]
    return {"models": models, "engines": engines}


def look(tell: Tell, *, path: str, folder: str, max_pixels: int) -> dict[str, Any]:
    """What a file is and how noisy; and it as `before.npy`, to be looked at."""
    file = Path(path)
    if not is_raw(file):
        image = open_image(file, max_pixels=max_pixels)
        tell(0.5)
        _put(image, Path(folder), "before")
        return {
            "kind": "picture",
            "width": image.width,
            "height": image.height,
            "what": f"{'gray' if image.channels == 1 else 'RGB'}, {_DEPTHS[image.pixels.dtype.name]}",
            "sigma": 255 * estimate_sigma(image.pixels),
            "source": "a blind estimate",
            "notes": list(image.notes),
        }
    frame = open_raw(file, max_pixels=max_pixels)
    tell(0.3)
    law = law_for(frame, seen=estimate_frame(frame))
    tell(0.6)
    shown = _developed(frame, Look.of(frame))
    _put(shown, Path(folder), "before")
    variances = [k * GRAY + s2 for k, s2 in zip(law.k, law.s2, strict=True)]
    iso = "" if frame.iso is None else f"ISO {frame.iso:g}"
    return {
        "kind": "raw",
        "width": shown.width,
        "height": shown.height,
        "what": ", ".join(filter(None, ("RAW", f"{frame.make} {frame.model}".strip(), iso))),
        "sigma": 255 * math.sqrt(statistics.fmean(variances)),
        "source": law.source,
        "notes": list(frame.notes),
    }


def denoise(
    tell: Tell,
    *,
    path: str,
    output: str,
    options: Options,
    extension: str | None = None,
    view: str | None = None,
) -> dict[str, Any]:
    """One file into a folder; returns what was done.

    Args:
        tell: of the share that is done.
        path: the file.
        output: the folder.
        options: how.
        extension: of the result; None: as in `shotnoise denoise`.
        view: folder for `after.npy`, what the file that was written shows; None: nobody looks.
    """

    def hear(event: Event) -> None:
        if event.report is None:
            tell(event.share)

    file = Path(path)
    workers = _workers(options)
    done = denoise_files(
        [file], f"{output}/", workers=workers, suffix="_clean", extension=extension, overwrite=True, on_event=hear
    )
    report = done.files[0]
    if report.output is None or report.status == "failed":
        raise ShotnoiseError(report.error)
    if view is not None:
        _show_result(file, report.output, Path(view))
    raw = report.kind == "raw"
    ran = (done.raw_engine if raw else done.engine) or {}
    model = (done.raw_model if raw else done.model) or {}
    return {
        "shotnoise": __version__,
        "file": file.name,
        "result": report.output.name,
        "kind": report.kind,
        "model": Path(model.get("name", "")).name,
        "model_sha256": model.get("sha256", ""),
        "engine": ran.get("engine"),
        "provider": ran.get("provider"),
        "precision": ran.get("precision"),
        "strength": options.strength,
        "ensemble": options.ensemble,
        "sigma": report.sigma,
        "law": report.law,
        "removed": report.removed,
        "left": report.left,
        "tiles": report.tiles,
        "megapixels": report.megapixels,
        "seconds": round(report.seconds, 3),
        "notes": list(report.notes),
    }


def example(tell: Tell, *, path: str) -> dict[str, Any]:
    """Write a noisy picture, for those who have none at hand."""
    save_image(Image(noisy_photograph()), path)
    return {}


TASKS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "denoise": denoise,
    "describe": describe,
    "example": example,
    "look": look,
}


@functools.lru_cache(maxsize=4)
def _workers(options: Options) -> Workers:
    """Denoisers stay open for those who ask for the same again."""
    return Workers(options)


def _developed(frame: RawFrame, like: Look) -> Image:
    return develop(frame, like, size="full", dtype=np.uint16)


def _show_result(source: Path, result: Path, folder: Path) -> None:
    """The file as it was written: what is looked at is what will be downloaded."""
    if result.suffix.lower() == DNG:
        _put(_developed(open_raw(result), Look.of(open_raw(source))), folder, "after")
    else:
        _put(open_image(result), folder, "after")


def _put(image: Image, folder: Path, side: str) -> None:
    pixels: npt.NDArray[Any] = image.pixels if image.pixels.dtype.kind == "u" else to_depth(image.pixels, np.uint16)
    np.save(folder / f"{side}.npy", pixels)
    if image.icc:
        (folder / f"{side}.icc").write_bytes(image.icc)
