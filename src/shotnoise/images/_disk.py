"""Files as places: what may be opened, where may be written, and writing completely or not at all."""

import os
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from shotnoise.errors import PictureError
from shotnoise.images._decoding import one_line

__all__ = ["make_folder", "opened", "shown", "target", "write"]

Result = TypeVar("Result")


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """The file, open for reading. Looked at before it is opened: opening a pipe would wait for ever."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        raise PictureError("does not exist; expected a picture file") from None
    except ValueError as error:  # a zero byte in the name
        raise PictureError(f"is no usable file name ({one_line(error)})") from None
    if stat.S_ISDIR(state.st_mode):
        raise PictureError("is a folder; expected a picture file")
    if not stat.S_ISREG(state.st_mode):
        raise PictureError("is a device or a pipe; expected a picture file")
    if state.st_size == 0:
        raise PictureError("is empty (0 bytes); expected a picture file")
    return open(path, "rb")


def target(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """Where the file will be, after links have been followed."""
    try:
        place = Path(os.path.realpath(path))
    except ValueError as error:  # a zero byte in the name
        raise PictureError(f"is no usable file name ({one_line(error)})") from None
    if place.is_dir():
        raise PictureError("is a folder; expected the name of a file to write")
    if place.exists() and not place.is_file():
        raise PictureError("is a device or a pipe; expected the name of a file to write")
    if place.exists() and not overwrite:
        raise PictureError("exists already; choose another name or allow to overwrite it")
    if not place.parent.is_dir():
        raise PictureError(f"cannot be written: there is no folder {shown(place.parent)}; make it first")
    return place


def make_folder(path: str | os.PathLike[str]) -> Path:
    """A folder for results, and those above it."""
    place = Path(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"{shown(place)}: cannot be made a folder ({error.strerror}); choose another one") from None
    return place


def write(place: Path, encode: Callable[[BinaryIO], Result]) -> Result:
    """Encode under a temporary name beside the target, then rename: nothing is ever half there."""
    # Made by open(), not tempfile, so that the file gets the permissions of any other new file.
    temporary = place.with_name(f".shotnoise-{uuid.uuid4().hex}.partial")
    try:
        with open(temporary, "x+b") as file:
            result = encode(file)
        os.replace(temporary, place)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return result


def shown(path: str | os.PathLike[str]) -> str:
    """A file name for a message of one line: line breaks and unprintable bytes in it are escaped."""
    name = os.fspath(path)
    return name if name.isprintable() else repr(name)
