"""Where each result goes, settled before any work."""

import os
from collections.abc import Sequence
from pathlib import Path

from shotnoise.errors import ShotnoiseError, nearest
from shotnoise.images import list_pictures
from shotnoise.images.files import WRITABLE

__all__ = ["SUFFIX", "UsageError", "file_key", "plan_places", "refuse_collisions"]

SUFFIX = "_clean"

_FORMATS = tuple(extension[1:] for extension in WRITABLE)
_INSTEAD = {".pfm": ".tif"}  # of formats that cannot be written; .png for the others


class UsageError(ShotnoiseError):
    """The inputs and the output do not go together; nothing was done."""


def plan_places(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    suffix: str | None,
    extension: str | None,
    recursive: bool,
) -> tuple[list[tuple[Path, Path]], list[tuple[Path, str]]]:
    """Inputs with their outputs, and with the reason those that cannot be used; see :func:`denoise_files`.

    Pictures of an input folder that lie in its output folder are results of earlier runs, and left out.

    Raises:
        UsageError: the arguments contradict each other.
    """
    if extension is not None and extension.lower().removeprefix(".") not in _FORMATS:
        raise UsageError(f"unknown format '{extension}': {nearest(extension, _FORMATS)}")
    if suffix is not None and (os.sep in suffix or "/" in suffix):
        raise UsageError(f"the suffix '{suffix}' holds a slash; expected a part of a file name, as in {SUFFIX}")
    alone = len(inputs) == 1
    file = _output_file(output, extension, alone and not Path(inputs[0]).is_dir(), len(inputs))
    planned: dict[tuple[Path, Path], None] = {}  # each once, in order
    unusable: list[tuple[Path, str]] = []
    for item in inputs:
        given = Path(item)
        try:
            pictures = list_pictures(given, recursive=recursive)
        except ShotnoiseError as error:
            unusable.append((given, str(error)))
            continue
        if file is not None:
            planned[given, file] = None
            continue
        root, added = _root(given, output, suffix, alone)
        base = given if given.is_dir() else given.parent
        inside = root.resolve() if root.resolve() != base.resolve() else None
        for picture in pictures:
            if inside is not None and picture.resolve().is_relative_to(inside):
                continue  # a result of an earlier run
            place = root / picture.relative_to(base)
            planned[picture, place.with_name(place.stem + added + _extension(picture, extension))] = None
    return list(planned), unusable


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
    is_picture = path.suffix.lower() in WRITABLE
    if not one_file:
        if is_picture or path.is_file():
            what = "the input is a folder" if count == 1 else f"there are {count} inputs"
            raise UsageError(f"the output {path} is a file, but {what}; expected the name of a folder")
        return None
    if not path.suffix:
        return None
    if not is_picture:
        raise UsageError(
            f"the output {path} ends in none of {', '.join(WRITABLE)}; for a folder of this name, add a slash"
        )
    if extension is not None and path.suffix.lower() != f".{extension.lower().removeprefix('.')}":
        raise UsageError(f"the output {path} and the format '{extension}' contradict each other; leave one out")
    return path


def _extension(picture: Path, extension: str | None) -> str:
    if extension is not None:
        return f".{extension.lower().removeprefix('.')}"
    own = picture.suffix
    return own if own.lower() in WRITABLE else _INSTEAD.get(own.lower(), ".png")


def refuse_collisions(planned: list[tuple[Path, Path]], in_place: bool) -> None:
    """Two inputs that would become one file, and inputs that would be overwritten."""
    inputs = {file_key(source): source for source, _ in planned}
    targets: dict[str, Path] = {}
    for source, target in planned:
        key = file_key(target)
        if key in targets:
            raise UsageError(
                f"{targets[key]} and {source} would both become {target}; keep their formats or denoise them separately"
            )
        targets[key] = source
        if key in inputs and not (in_place and inputs[key] == source):
            raise UsageError(
                f"{source} would overwrite the input {inputs[key]}; choose another output or a suffix"
                + (", or say --overwrite with this output" if inputs[key] == source else "")
            )


def file_key(path: Path) -> str:
    """The same for all names of a file that exists or will exist."""
    return os.path.normcase(os.path.join(os.path.realpath(path.parent), path.name))
