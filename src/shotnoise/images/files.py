"""Pictures on disk: open by content, save by extension, list a folder.

Bit depth, alpha, ICC profile and EXIF travel along, and what a format cannot hold of them is named in the notes. XMP,
IPTC, comments, previews, and gamma and resolution that stand outside of the EXIF in PNG and JPEG files do not travel.
Every failure is a :class:`~shotnoise.errors.PictureError` with one line that names the file.

The limits of each format:

========== ======================================= ================================ ===================
format     read                                    written                          travels along
========== ======================================= ================================ ===================
PNG        1 to 16 bits, palette, alpha            8 or 16 bits, alpha              ICC, EXIF
JPEG       8 bits, CMYK becomes RGB                8 bits                           ICC, EXIF
TIFF       8, 16 bits, float, alpha; first page    8, 16 bits, float, alpha         ICC, EXIF
NPY        8, 16 bits, float, bool, alpha          8, 16 bits, float, alpha         nothing
WebP       8 bits, alpha; first frame              8 bits, alpha, RGB               ICC, EXIF
BMP, PPM   8 bits, PGM also 16                     no                               nothing
========== ======================================= ================================ ===================
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images import _exif, _npy, _pillow, _png, _tiff
from shotnoise.images._decoding import MAX_PIXELS, Decoded, one_line
from shotnoise.images._disk import opened, shown, target, write
from shotnoise.images.image import Image, to_depth

__all__ = ["MAX_PIXELS", "READABLE", "WRITABLE", "list_pictures", "open_image", "save_image"]

READABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy", ".webp", ".bmp", ".pbm", ".pgm", ".ppm", ".pfm")
"""Extensions by which :func:`list_pictures` finds pictures; :func:`open_image` itself looks at the content."""

_Reader = Callable[[BinaryIO, int], Decoded]
_Writer = Callable[[Image, BinaryIO, int], tuple[str, ...]]

_PPM_KINDS = (b"1", b"2", b"3", b"4", b"5", b"6", b"f")
# How files begin: (offset of the mark, mark, reader).
_READERS: tuple[tuple[int, bytes, _Reader], ...] = (
    (0, _png.SIGNATURE, _png.read),
    (0, b"\xff\xd8\xff", _pillow.read_jpeg),
    (0, b"II*\0", _tiff.read),
    (0, b"MM\0*", _tiff.read),
    (0, b"II+\0", _tiff.read),
    (0, b"MM\0+", _tiff.read),
    (0, b"\x93NUMPY", _npy.read),
    (8, b"WEBP", _pillow.read_webp),
    (0, b"BM", _pillow.read_bmp),
    *((0, b"P" + kind + space, _pillow.read_ppm) for kind in _PPM_KINDS for space in (b"\n", b" ", b"\t", b"\r")),
)

_RAW = "a camera RAW/DNG file"
# How files begin that people try, and cannot be read: (offset of the mark, mark, what it is).
_FOREIGN = (
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"IIU\0", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"IIRS", _RAW),
    (0, b"MMOR", _RAW),
    (0, b"FOVb", _RAW),
    (4, b"ftypcrx", _RAW),
    (4, b"ftyphei", "a HEIF picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (0, b"GIF8", "a GIF"),
    (0, b"\x1f\x8b", "gzip-compressed data, as in .nii.gz volumes"),
    (0, b"PK\x03\x04", "a zip archive, as in .npz and .pth"),
    (0, b"\x89HDF", "an HDF5 file"),
)


@dataclass(frozen=True)
class _Format:
    """What a file format can hold."""

    name: str
    write: _Writer
    depths: tuple[str, ...] = ("uint8", "uint16", "float32")
    alpha: bool = True
    gray: bool = True
    metadata: bool = True
    longest: int = 2**31 - 1  # pixels of a side


_PNG = _Format("PNG", _png.write, depths=("uint8", "uint16"), longest=1_000_000)
_JPEG = _Format("JPEG", _pillow.write_jpeg, depths=("uint8",), alpha=False, longest=65500)
_TIFF = _Format("TIFF", _tiff.write)
_NPY = _Format("NPY", _npy.write, metadata=False)
_WEBP = _Format("WebP", _pillow.write_webp, depths=("uint8",), gray=False, longest=16383)
_FORMATS = {".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG, ".tif": _TIFF, ".tiff": _TIFF, ".npy": _NPY, ".webp": _WEBP}

WRITABLE = tuple(_FORMATS)
"""Extensions that :func:`save_image` knows."""


def open_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a picture, whatever its name ends in: the content of the file decides.

    Pixels keep their bit depth, with two exceptions: floating point of any width becomes float32, and single bits
    become 0 and 255. Finite floating-point values outside 0..1 are kept; NaN and infinite ones are refused. The EXIF
    orientation is applied to the pixels, once, and reset. No code from the file is run.

    Args:
        path: the file.
        max_pixels: pictures with more pixels than this are refused by their header.

    Raises:
        PictureError: there is no such file, or it is not a whole and usable picture.
    """
    name = shown(path)
    try:
        with opened(path) as file:
            return _finished(_reader(file)(file, max_pixels))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error.__cause__
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror or one_line(error)})") from error


def save_image(
    image: Image | npt.NDArray[Any], path: str | os.PathLike[str], *, quality: int = 95, overwrite: bool = True
) -> tuple[str, ...]:
    """Write a picture in the format that the extension names, completely or not at all.

    Args:
        image: the picture, or an array that :meth:`Image.from_array` takes.
        path: where to; its folder must exist. A link is followed, not replaced.
        quality: 1 to 100, of JPEG (full chroma resolution from 90 on) and WebP (100 is lossless); PNG, TIFF and NPY
            are always lossless.
        overwrite: whether a file that is already there may be replaced.

    Returns:
        Notes: what the format could not hold, one line each.

    Raises:
        PictureError: the extension is unknown, the place is not writable, or the picture does not fit the format.
    """
    name = shown(path)
    try:
        form = _FORMATS.get(os.path.splitext(path)[1].lower())
        if form is None:
            raise PictureError(f"has no extension that can be written; expected one of {', '.join(WRITABLE)}")
        if not 1 <= quality <= 100:
            raise PictureError(f"cannot be written with quality {quality}; expected 1 to 100")
        picture = image if isinstance(image, Image) else Image.from_array(np.asarray(image))
        _refuse_non_finite(picture)
        picture, notes = _fitted(picture, form)
        return notes + write(target(path, overwrite), lambda file: form.write(picture, file, quality))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error.__cause__
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise PictureError(f"{name}: cannot be written ({reason}); choose another place") from error


def list_pictures(
    path: str | os.PathLike[str], *, recursive: bool = True, extensions: tuple[str, ...] = READABLE
) -> list[Path]:
    """The pictures of a folder by extension, sorted; for a file, that file alone, whatever its name.

    Hidden files and folders are left out, and links to folders are not followed.

    Args:
        path: folder or file.
        recursive: whether to look into the folders inside.
        extensions: by which pictures are found.

    Raises:
        PictureError: nothing is there, or a folder cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        if not os.path.lexists(root):
            raise PictureError(f"{shown(path)}: does not exist; expected a picture or a folder of pictures")
        return [root]
    found: list[Path] = []
    for folder, folders, files in os.walk(root, onerror=_refuse_folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        found += [Path(folder, name) for name in files if name.lower().endswith(extensions) and name[0] != "."]
    if not found:
        raise PictureError(f"{shown(path)}: holds no pictures; expected files that end in {', '.join(extensions)}")
    return sorted(found)


def _reader(file: BinaryIO) -> _Reader:
    """What reads a file that begins like this one."""
    head = file.read(32)
    file.seek(0)
    for offset, mark, reader in _READERS:
        if head.startswith(mark, offset):
            return reader
    for offset, mark, what in _FOREIGN:
        if head.startswith(mark, offset):
            hint = " (open_raw reads camera files)" if what == _RAW else ""
            raise PictureError(f"is {what}; expected PNG, JPEG, TIFF or NPY{hint}")
    raise PictureError("is not a picture of a known kind; expected PNG, JPEG, TIFF, NPY, WebP, BMP or PPM")


def _finished(decoded: Decoded) -> Image:
    """The picture as it should be seen."""
    array, exif, notes = decoded.array, decoded.exif, decoded.notes
    if exif is not None:
        try:
            orientation, exif = _exif.reset(exif)
            array = _exif.turn(array, orientation)
        except ValueError:
            exif, notes = None, (*notes, "its EXIF is damaged and was dropped")
    picture = Image.from_array(array)
    _refuse_non_finite(picture)
    return replace(picture, icc=decoded.icc or None, exif=exif, notes=notes)


def _refuse_non_finite(picture: Image) -> None:
    if picture.pixels.dtype.kind != "f" or np.isfinite(picture.to_array()).all():
        return
    bad = int(np.count_nonzero(~np.isfinite(np.atleast_3d(picture.to_array())).all(axis=2)))
    raise PictureError(
        f"{bad:,} of {picture.height * picture.width:,} pixels are not finite (NaN or infinite); replace them first, "
        "for example with numpy.nan_to_num"
    )


def _fitted(picture: Image, form: _Format) -> tuple[Image, tuple[str, ...]]:
    """The picture as the format can hold it, and notes on what that cost."""
    if max(picture.height, picture.width) > form.longest:
        raise PictureError(
            f"cannot hold {picture.width} x {picture.height} pixels: the limit of {form.name} is {form.longest:,} per "
            "side; choose .tif"
        )
    notes: list[str] = []
    depth = str(picture.pixels.dtype)
    if depth not in form.depths:
        words = {"uint8": "8-bit", "uint16": "16-bit", "float32": "floating-point"}
        note = f"{words[depth]} pixels became {words[form.depths[-1]]}: {form.name} cannot hold more"
        if depth == "float32" and (outside := _count_outside(picture.pixels)):
            note += f"; {outside:,} values outside 0..1 were clipped"
        notes.append(note)
        alpha = None if picture.alpha is None else to_depth(picture.alpha, form.depths[-1])
        picture = replace(picture, pixels=to_depth(picture.pixels, form.depths[-1]), alpha=alpha)
    if picture.alpha is not None and not form.alpha:
        notes.append(f"the alpha channel was dropped: {form.name} cannot hold it")
        picture = replace(picture, alpha=None)
    if picture.channels == 1 and not form.gray:
        notes.append(f"gray became RGB: {form.name} has no gray")
        if picture.icc is not None and picture.icc[16:20] == b"GRAY":
            notes.append("the gray colour profile was dropped: it does not describe RGB")
            picture = replace(picture, icc=None)
    if (picture.icc is not None or picture.exif is not None) and not form.metadata:
        notes.append(f"the colour profile and EXIF were dropped: {form.name} holds only pixels")
    return picture, tuple(notes)


def _count_outside(pixels: npt.NDArray[Any]) -> int:
    return int(np.count_nonzero((pixels < 0) | (pixels > 1)))


def _refuse_folder(error: OSError) -> None:
    raise PictureError(f"{shown(error.filename)}: cannot be listed ({error.strerror})") from error
