"""Which files are camera RAW? Told from the name and the first bytes, without opening them properly."""

import os
import stat
import struct
from typing import BinaryIO

__all__ = ["RAW_EXTENSIONS", "begins_like_raw", "is_raw"]

RAW_EXTENSIONS = (
    ".3fr", ".ari", ".arw", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dcs", ".dng", ".erf", ".fff", ".gpr",
    ".iiq", ".k25", ".kdc", ".mdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".ptx", ".raf", ".raw",
    ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
"""Extensions of the RAW files of all makers; .raw is also what headerless files are called."""

# How RAW files begin that are no TIFF: (offset of the mark, mark).
_MARKS = (
    (0, b"FUJIFILM"),
    (0, b"IIU\0"),  # Panasonic, Leica
    (0, b"IIRO"),  # Olympus, OM
    (0, b"IIRS"),
    (0, b"MMOR"),
    (0, b"\0MRM"),  # Minolta
    (0, b"FOVb"),  # Sigma
    (0, b"ARRI"),
    (4, b"ftypcrx"),  # Canon
    (6, b"HEAPCCDR"),
)
# How pictures begin that are no RAW, whatever they are called.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"\x93NUMPY", b"GIF8", b"BM", b"P5\n", b"P6\n")

_TIFF = (b"II*\0", b"MM\0*")
_PHOTOMETRIC, _DNG_VERSION = 262, 50706
_SENSOR = (32803, 34892)  # colour filter array, linear raw


def is_raw(path: str | os.PathLike[str]) -> bool:
    """Whether a file should be opened with :func:`open_raw`, not with :func:`open_image`.

    By content where it is known, otherwise by extension. False for what cannot be read, unless it is called like RAW.
    """
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            return False
        if stat.S_ISREG(kind):  # opening a pipe would wait for ever
            with open(path, "rb") as file:
                if begins_like_raw(file):
                    return True
                file.seek(0)
                if file.read(8).startswith(_PICTURES):
                    return False
    except (OSError, ValueError):
        pass
    return os.path.splitext(path)[1].lower() in RAW_EXTENSIONS


def begins_like_raw(file: BinaryIO) -> bool:
    """Whether a file carries the mark of a RAW format, or is a TIFF whose first directory says so."""
    file.seek(0)
    head = file.read(16)
    if any(head.startswith(mark, offset) for offset, mark in _MARKS):
        return True
    return head.startswith(_TIFF) and (head[8:10] == b"CR" or _says_sensor(file, head))


def _says_sensor(file: BinaryIO, head: bytes) -> bool:
    order = "<" if head.startswith(b"II") else ">"
    try:
        file.seek(struct.unpack_from(order + "I", head, 4)[0])
        (count,) = struct.unpack(order + "H", file.read(2))
        for tag, kind, number, value in struct.iter_unpack(order + "HHI4s", file.read(12 * count)):
            if tag == _DNG_VERSION:
                return True
            if tag == _PHOTOMETRIC and kind == 3 and number == 1:
                return struct.unpack_from(order + "H", value)[0] in _SENSOR
    except (struct.error, OSError):
        pass
    return False
