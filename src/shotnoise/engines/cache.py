"""What is kept between runs in the user's cache folder: measured choices, and engines that TensorRT compiled.

Everything here may be deleted at any time, and nothing depends on it being there.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shotnoise.images._disk import write

__all__ = ["Measurement", "cache_folder", "forget", "make_folder", "recall", "remember"]

_FILE = "engines.json"
_MOST = 500  # measurements that are kept; the oldest go first


class Measurement(BaseModel):
    """Which engine was fastest for a model on a machine.

    Attributes:
        model: name of the file, for people who read the cache.
        engine: the chosen one.
        precision: in which.
        seconds: of one run, by engine and precision in words; empty where measuring would have taken too long.
        wrong: those that gave other results than the first, by how much.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    engine: str
    precision: str
    seconds: dict[str, float]
    wrong: dict[str, float]


class _Contents(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    measurements: dict[str, Measurement] = {}


def cache_folder() -> Path:
    """The folder: $SHOTNOISE_CACHE, or in $XDG_CACHE_HOME, where these are set, or where the system keeps caches."""
    if own := os.environ.get("SHOTNOISE_CACHE"):
        return Path(own).absolute()
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "shotnoise"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "shotnoise"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "shotnoise" / "Cache"
    return Path.home() / ".cache" / "shotnoise"


def make_folder(*inside: str) -> Path | None:
    """The cache folder, or one inside it, made if need be; None if nothing can be written there."""
    try:
        folder = cache_folder().joinpath(*inside)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def recall(key: str) -> Measurement | None:
    """A measurement that was kept; a damaged file counts as an empty one."""
    return _read().measurements.get(key)


def remember(key: str, measurement: Measurement) -> None:
    """Keep a measurement, if that is possible; of two that write at once, one may be lost."""
    contents = _read()
    contents.measurements.pop(key, None)
    contents.measurements[key] = measurement
    for oldest in list(contents.measurements)[:-_MOST]:
        del contents.measurements[oldest]
    folder = make_folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        write(folder / _FILE, lambda file: file.write(contents.model_dump_json(indent=1).encode()))


def forget() -> None:
    """Drop all measurements, so that the next ones are made anew."""
    with contextlib.suppress(OSError, RuntimeError):
        (cache_folder() / _FILE).unlink(missing_ok=True)


def _read() -> _Contents:
    try:
        return _Contents.model_validate_json((cache_folder() / _FILE).read_bytes())
    except (OSError, RuntimeError, ValidationError):
        return _Contents()
