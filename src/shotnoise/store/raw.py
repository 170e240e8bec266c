"""Camera RAW as samples: the mosaic comes apart into four planes, and black becomes 0, white 1.

Pictures to learn from should be clean. Two ways to get there: the average of a burst, and the mending of single frames.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError, StoreError
from shotnoise.images.raw import RAW_EXTENSIONS, RawFrame, open_raw
from shotnoise.images.raw.bayer import Pattern, align, join, split
from shotnoise.sensor.develop import normalised
from shotnoise.sensor.estimate import law_for
from shotnoise.sensor.ground_truth import average_frames
from shotnoise.sensor.patches import clean_planes
from shotnoise.store.record import encoded_key
from shotnoise.store.selection import RAW_PLANES, Failed, Picture, Selection, Unsuited

__all__ = ["PREFILTERS", "Prefilter", "holds_raws", "list_bursts", "list_raws", "raw_planes", "read_burst", "read_raw"]

Prefilter = Literal["filter", "half", "defects"]
PREFILTERS: tuple[Prefilter, ...] = get_args(Prefilter)

Planes = npt.NDArray[np.float32]

# What headerless counts are also called; taken only with their layout beside them.
_HEADERLESS = (".bin", ".tif", ".tiff")
_UNSTEADY = 0.01  # of an average, from which it is worth a note


def raw_planes(frame: RawFrame) -> Planes:
    """(4, H/2, W/2): the planes R, Gr, Gb, B of the frame as an RGGB mosaic, black at 0 and white at 1.

    Nothing is clipped: the noise around black has both signs, and what is cut off would brighten the shadows. A frame
    of another phase or with an odd side is continued by reflection, so it may grow by a row or a column.
    """
    return _from_red(normalised(frame), frame.pattern)


def _from_red(mosaic: Planes, pattern: Pattern) -> Planes:
    """The planes of a mosaic that was made to begin with red."""
    planes: Planes = split(align(mosaic, pattern)[0], "RGGB")
    return planes


def _meta(frame: RawFrame) -> dict[str, Any]:
    """What to remember of a frame beside its counts; what it does not say is left out."""
    said = {
        "camera": f"{frame.make} {frame.model}".strip() or None,
        "iso": frame.iso,
        "exposure": frame.exposure,
        "pattern": frame.pattern,
        "black": list(frame.black),
        "white": frame.white,
        "white_balance": None if frame.white_balance is None else list(frame.white_balance),
    }
    return {name: value for name, value in said.items() if value is not None}


def list_raws(folder: Path) -> list[Path]:
    """The RAW files below a folder, sorted; headerless ones need their layout, a JSON file with the same stem.

    Hidden files and folders are left out, and links to folders are not followed.
    """
    found = list(_walk(folder))
    if not found:
        raise StoreError(
            f"{folder}: holds no RAW files; expected .dng, .nef, .arw and the like, or headerless counts with a "
            "JSON file of the same stem"
        )
    return sorted(found)


def holds_raws(folder: Path) -> bool:
    """Whether there is any."""
    return next(_walk(folder), None) is not None


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            stem, extension = os.path.splitext(name.lower())
            told = extension in _HEADERLESS and Path(place, name).with_suffix(".json").exists()
            if not stem.startswith(".") and (told or extension in RAW_EXTENSIONS):
                yield Path(place, name)


def list_bursts(folder: Path) -> list[tuple[str, list[Path]]]:
    """(name, files) of the scenes below a folder: the RAW files that lie together in one."""
    # By their folders first: sorted by their paths, those of a folder inside may lie between files of the outer one.
    scenes = groupby(sorted(list_raws(folder), key=lambda path: (path.parent, path)), key=lambda path: path.parent)
    listed = [(place.relative_to(folder).as_posix(), list(paths)) for place, paths in scenes]
    return [(folder.resolve().name if name == "." else name, paths) for name, paths in listed]


def read_raw(
    path: Path, name: str, selection: Selection, prefilter: Prefilter | None = None
) -> Picture | Unsuited | Failed:
    """One file as a sample.

    Args:
        path: of the file.
        name: of the sample.
        selection: what is wanted.
        prefilter: what is done to make it a better truth: "defects" repairs pixels that stand out alone, "filter" also
            takes out details that are not above the noise, "half" halves its sides instead. The noise is that which
            the file states or shows.
    """
    try:
        encoded_key(name)
        frame = open_raw(path)
    except (StoreError, PictureError) as error:
        return _failed(name, error)
    planes, meta = raw_planes(frame), _meta(frame)
    if prefilter is not None and min(planes.shape[1:]) > 1:
        law = law_for(frame)
        planes, repaired = clean_planes(planes, law, how="none" if prefilter == "defects" else prefilter)
        meta["prefilter"] = {"how": prefilter, "repaired": repaired, "noise": law.source}
    return _picture(name, planes, selection, frame.notes, meta)


def read_burst(paths: Sequence[Path], name: str, selection: Selection) -> Picture | Unsuited | Failed:
    """The average of the exposures of one scene as a sample; those that moved or cannot be read are left out."""
    frames: dict[str, RawFrame] = {}
    notes = []
    try:
        encoded_key(name)
        for path in paths:
            try:
                frames[path.name] = open_raw(path)
            except PictureError as error:
                notes.append(f"left out: {error}")
        average = average_frames(list(frames.values()))
    except StoreError as error:
        return _failed(name, error)
    except PictureError as error:
        return _failed(name, PictureError(f"{paths[0].parent}: {error}"))
    first, report, files = next(iter(frames.values())), average.report, list(frames)
    notes += [f"{files[number]} left out: {reason}" for number, reason in report.rejected]
    if report.unsteady > _UNSTEADY:
        notes.append(f"{report.unsteady:.0%} of it is unsteady: fewer than half of the frames agree there")
    planes = _from_red(join(average.planes, first.pattern), first.pattern)
    meta = _meta(first) | {"average": {"used": report.used, "of": len(paths), "unsteady": report.unsteady}}
    return _picture(name, planes, selection, tuple(notes), meta)


def _picture(
    name: str, planes: Planes, selection: Selection, notes: tuple[str, ...], meta: dict[str, Any]
) -> Picture | Unsuited:
    problem = selection.problem(planes.shape[1], planes.shape[2], RAW_PLANES)
    return Unsuited(name, problem) if problem else Picture(name, planes, notes=notes, meta=meta)


def _failed(name: str, error: Exception) -> Failed:
    return Failed(name.encode(errors="backslashreplace").decode(), str(error))
