"""Files as frames of a calibration: RAW files, and pictures without colours as a monochrome camera writes them."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError, ShotnoiseError
from shotnoise.images import READABLE, list_pictures, open_image
from shotnoise.images.raw import RAW_EXTENSIONS, HeaderlessLayout, is_raw, open_raw
from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.profile import Camera, SourceFile

__all__ = ["Capture", "read_capture"]


@dataclass(frozen=True, slots=True)
class Capture:
    """What was read.

    Attributes:
        black: frames without light.
        flats: evenly lit frames.
        camera: of the first frame.
        files: all of them.
    """

    black: tuple[Frame, ...]
    flats: tuple[Frame, ...]
    camera: Camera
    files: tuple[SourceFile, ...]


def read_capture(
    black: Sequence[str | os.PathLike[str]],
    flats: Sequence[str | os.PathLike[str]],
    *,
    layout: HeaderlessLayout | None = None,
    white: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Capture:
    """Look at all frames once; their counts are read again when they are needed, so that memory stays small.

    Args:
        black: files and folders.
        flats: files and folders.
        layout: of counts without a header.
        white: count at which the sensor is full; needed for pictures without colours of fewer than 16 bits.
        progress: called with the number of files done and of all.

    Raises:
        ShotnoiseError: one of them is no such frame. Nothing is left out silently.
    """
    paths = [(role, path) for role, items in (("black", black), ("flat", flats)) for path in _files(items)]
    twice = {path for role, path in paths if role == "black"} & {path for role, path in paths if role == "flat"}
    if twice:
        raise ProfileError(f"{min(twice)}: is given as a black frame and as a flat one; it can only be one of them")
    frames: dict[str, list[Frame]] = {"black": [], "flat": []}
    sources, camera = [], None
    names = [path.name for _, path in paths]
    for index, (role, path) in enumerate(paths):
        name = path.name if names.count(path.name) == 1 else str(path)
        frame, found = _frame(path, name, layout, white)
        camera = camera or found
        frames[role].append(frame)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sources.append(SourceFile(name=path.name, sha256=digest, role=role, iso=frame.iso))
        if progress is not None:
            progress(index + 1, len(paths))
    return Capture(tuple(frames["black"]), tuple(frames["flat"]), camera or Camera(), tuple(sources))


def _files(items: Sequence[str | os.PathLike[str]]) -> list[Path]:
    extensions = (*RAW_EXTENSIONS, *READABLE)
    found = [path for item in items for path in list_pictures(item, extensions=extensions)]
    return list({os.path.realpath(path): path for path in found}.values())


def _frame(path: Path, name: str, layout: HeaderlessLayout | None, white: float | None) -> tuple[Frame, Camera]:
    if layout is not None or is_raw(path):
        raw = open_raw(path, layout, white=white)
        frame = Frame.of(raw, name, reload=lambda: open_raw(path, layout, white=white).mosaic)
        return frame, Camera(make=raw.make, model=raw.model)
    counts = _gray(path)
    full = float(np.iinfo(counts.dtype).max) if white is None else white
    return Frame(name, lambda: _gray(path), None, full), Camera()


def _gray(path: Path) -> npt.NDArray[Any]:
    """The counts of a picture without colours."""
    try:
        picture = open_image(path)
    except ShotnoiseError as error:
        raise ProfileError(f"{error}; expected RAW files, or gray pictures of a monochrome camera") from None
    if picture.channels != 1 or picture.pixels.dtype.kind != "u":
        raise ProfileError(
            f"{path}: is a developed picture, whose noise is no longer that of the sensor; expected RAW files, or gray "
            "pictures of a monochrome camera in 8 or 16 bits"
        )
    return picture.pixels.reshape(picture.height, picture.width)
