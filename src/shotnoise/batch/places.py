"""Where each result goes, settled before any work."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from shotnoise.errors import ShotnoiseError, nearest
from shotnoise.images import list_pictures
from shotnoise.images._disk import shown
from shotnoise.images.files import READABLE, WRITABLE
from shotnoise.images.raw import RAW_EXTENSIONS, is_raw
from shotnoise.mri.volumes import ENDINGS, is_volume, volume_ending, volume_stem

__all__ = ["DNG", "SUFFIX", "Kind", "Place", "UsageError", "file_key", "plan_places", "refuse_collisions"]

SUFFIX = "_clean"
DNG = ".dng"

Kind = Literal["picture", "raw", "volume"]

_PREVIEW = ".jpg"
_UNCERTAINTY = "_uncertainty"
_REPORT = "_report.html"
_RESULTS = (*WRITABLE, DNG, *ENDINGS)
_FORMATS = tuple(extension[1:] for extension in _RESULTS)
_INSTEAD = {".pfm": ".tif"}  # of formats that cannot be written; .png for the others


class UsageError(ShotnoiseError):
    """The inputs and the output do not go together; nothing was done."""


class Place(NamedTuple):
    """An input, what it is, and where its result goes.

    Of RAW also where its preview goes, if there is to be one; and where its uncertainty, as numbers and as a picture,
    and its report.
    """

    input: Path
    output: Path
    kind: Kind = "picture"
    preview: Path | None = None
    uncertainty: tuple[Path, ...] = ()
    report: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is written."""
        return (self.output, *(path for path in (self.preview, self.report) if path is not None), *self.uncertainty)


def plan_places(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    suffix: str | None,
    extension: str | None,
    recursive: bool,
    preview: str | os.PathLike[str] | None = None,
    headerless: bool = False,
    uncertainty: bool = False,
    report: bool = False,
) -> tuple[list[Place], list[tuple[Path, str]]]:
    """Inputs with their outputs, and with the reason those that cannot be used; see :func:`denoise_files`.

    Pictures that lie in an output folder inside of their input folder are results of earlier runs, and left out.

    Args:
        inputs: as there, and so are the others.
        output: file or folder.
        suffix: of names.
        extension: of results.
        recursive: whether to look into folders.
        preview: file or folder.
        headerless: whether files that are neither pictures nor known RAW are taken for counts without a header.
        uncertainty: whether that of each result goes beside it.
        report: whether that of each result goes beside it; there is none of volumes.

    Raises:
        UsageError: the arguments contradict each other.
    """
    if "" in (output, preview, *(os.fspath(one) for one in inputs)):  # which Python takes for the current folder
        raise UsageError("a name is empty; expected a file or folder, as . for the current one; is a variable not set?")
    if extension is not None and extension.lower().removeprefix(".") not in _FORMATS:
        raise UsageError(f"unknown format '{extension}': {nearest(extension, _FORMATS)}")
    if suffix is not None and (os.sep in suffix or "/" in suffix):
        raise UsageError(f"the suffix '{suffix}' holds a slash; expected a part of a file name, as in {SUFFIX}")
    alone = len(inputs) == 1
    one_file = alone and not Path(inputs[0]).is_dir()
    file = _output_file(output, extension, one_file, len(inputs))
    previews = _Previews(preview, one_file)
    planned: dict[Place, None] = {}  # each once, in order
    unusable: list[tuple[Path, str]] = []
    for item in inputs:
        given = Path(item)
        try:
            pictures = list_pictures(given, recursive=recursive, extensions=READABLE + RAW_EXTENSIONS + ENDINGS)
        except ShotnoiseError as error:
            unusable.append((given, str(error)))
            continue
        root, added = _root(given, output, suffix, alone)
        base = given if given.is_dir() else given.parent
        results = [folder.resolve() for folder in (root, previews.folder) if folder and file is None]
        results = [folder for folder in results if base.resolve() in folder.parents]
        for picture in pictures:
            if any(picture.parent.resolve().is_relative_to(folder) for folder in results):
                continue  # a result of an earlier run
            kind = _kind(picture, headerless)
            place = root / picture.relative_to(base)
            target = file or place.with_name(_stem(place) + added + _extension(picture, extension, kind))
            if refusal := _refusal(kind, target):
                unusable.append((picture, f"{shown(picture)}: {refusal}; choose another format"))
                continue
            preview_place = None
            if kind == "raw":
                inside = Path(given.resolve().name if given.is_dir() and not alone else "")
                preview_place = previews.place(inside / picture.relative_to(base).with_name(target.stem + _PREVIEW))
            beside = (target.with_name(f"{_stem(target)}{_UNCERTAINTY}{ending}") for ending in (".npy", ".png"))
            page = target.with_name(f"{_stem(target)}{_REPORT}") if report and kind != "volume" else None
            planned[Place(picture, target, kind, preview_place, tuple(beside) if uncertainty else (), page)] = None
    return list(planned), unusable


class _Previews:
    """Where previews go: one file, or a tree like that of the results."""

    def __init__(self, preview: str | os.PathLike[str] | None, one_file: bool) -> None:
        self.file: Path | None = None
        self.folder: Path | None = None
        if preview is None:
            return
        path = Path(preview)
        if path.is_dir() or not path.suffix or os.fspath(preview).endswith(("/", os.sep)):
            self.folder = path
        elif path.suffix.lower() not in WRITABLE:
            raise UsageError(
                f"the preview {path} ends in none of {', '.join(WRITABLE)}; for a folder of this name, add a slash"
            )
        elif not one_file:
            raise UsageError(f"the preview {path} is a file, but there may be several; expected the name of a folder")
        else:
            self.file = path

    def place(self, name: Path) -> Path | None:
        """Of the preview of this name."""
        return self.file if self.folder is None else self.folder / name


def _kind(path: Path, headerless: bool) -> Kind:
    if is_volume(path):
        return "volume"
    known = path.suffix.lower() in READABLE
    return "raw" if path.is_file() and (is_raw(path) or (headerless and not known)) else "picture"


def _refusal(kind: Kind, target: Path) -> str:
    """Why a file of this kind cannot become that one; empty if it can."""
    if kind != "raw" and target.suffix.lower() == DNG:
        return "is no RAW file, and only those become DNG"
    if (kind == "volume") != is_volume(target):
        reason = "is a volume, and those become" if kind == "volume" else "is no volume, and only those become"
        return f"{reason} {' or '.join(ENDINGS)}"
    return ""


def _stem(path: Path) -> str:
    """The name without its ending, of which `.nii.gz` is one."""
    return volume_stem(path) if is_volume(path) else path.stem


def _ending(path: Path) -> str:
    return volume_ending(path) or path.suffix


def _root(given: Path, output: str | os.PathLike[str] | None, suffix: str | None, alone: bool) -> tuple[Path, str]:
    """The folder for the results of one input, and what is added to their names."""
    if output is not None:
        folder = Path(output)
        return (folder / given.resolve().name if given.is_dir() and not alone else folder), suffix or ""
    added = SUFFIX if suffix is None else suffix
    if not given.is_dir():
        return given.parent, added
    if given.name in ("", ".."):
        given = given.resolve()
    return given.with_name(given.name + added), ""


def _output_file(
    output: str | os.PathLike[str] | None, extension: str | None, one_file: bool, count: int
) -> Path | None:
    """The output as a file, or None where it is a folder or not given."""
    if output is None or Path(output).is_dir() or os.fspath(output).endswith(("/", os.sep)):
        return None
    path = Path(output)
    is_picture = _ending(path).lower() in _RESULTS
    if not one_file:
        if is_picture or path.is_file():
            what = "the input is a folder" if count == 1 else f"there are {count} inputs"
            raise UsageError(f"the output {path} is a file, but {what}; expected the name of a folder")
        return None
    if not path.suffix:
        return None
    if not is_picture:
        raise UsageError(
            f"the output {path} ends in none of {', '.join(_RESULTS)}; for a folder of this name, add a slash"
        )
    if extension is not None and _ending(path).lower() != f".{extension.lower().removeprefix('.')}":
        raise UsageError(f"the output {path} and the format '{extension}' contradict each other; leave one out")
    return path


def _extension(picture: Path, extension: str | None, kind: Kind) -> str:
    if extension is not None:
        return f".{extension.lower().removeprefix('.')}"
    if kind == "raw":
        return DNG
    if kind == "volume":
        return volume_ending(picture)
    own = picture.suffix
    return own if own.lower() in WRITABLE else _INSTEAD.get(own.lower(), ".png")


def refuse_collisions(planned: Sequence[Place], in_place: bool) -> None:
    """Two inputs that would become one file, and inputs that would be overwritten."""
    inputs = {file_key(place.input): place.input for place in planned}
    targets: dict[str, Path] = {}
    for place in planned:
        source = place.input
        for target in place.files:
            key = file_key(target)
            if key in targets:
                raise UsageError(
                    f"{targets[key]} and {source} would both become {target}; keep their formats or denoise them "
                    "separately"
                )
            targets[key] = source
            if key in inputs and not (in_place and inputs[key] == source and target == place.output):
                raise UsageError(
                    f"{source} would overwrite the input {inputs[key]}; choose another output or a suffix"
                    + (", or say --overwrite with this output" if inputs[key] == source else "")
                )


def file_key(path: Path) -> str:
    """The same for all names of a file that exists or will exist; links are followed, as they are in writing."""
    return os.path.normcase(os.path.realpath(path))
