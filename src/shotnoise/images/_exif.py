"""EXIF blocks: the orientation out of them, and their way into and out of TIFF files.

An EXIF block is a small TIFF file: a header, directory 0 (camera, date, resolution, orientation), and behind
pointers in it the EXIF directory (exposure), the GPS directory and the interoperability directory. Values are
carried as bytes and never interpreted, so nothing is lost that we do not know.

Between PNG, JPEG and WebP a block travels whole; only its orientation is reset and its thumbnail, which shows the
picture before denoising, is unlinked. Out of and into TIFF the directories are written anew. Maker notes keep their
bytes there, but those cameras that point from inside the note to the old place of a value lose that value.
"""

import struct
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy.typing as npt

__all__ = [
    "Settings",
    "attach",
    "byte_order",
    "count_pages",
    "from_tiff",
    "reset",
    "settings",
    "turn",
    "with_settings",
]

_ORIENTATION = 274
_RESOLUTION = (282, 283)
_RESOLUTION_UNIT = 296
_DESCRIPTION = 270
_MAKE, _MODEL = 271, 272
_EXIF = 34665
_EXPOSURE, _SHUTTER, _ISO, _WIDE_ISO = 33434, 37377, 34855, (34866, 34867, 34865)
_CHILDREN = (_EXIF, 34853, 40965)  # pointers to the EXIF, GPS and interoperability directories

# Tags of directory 0 that describe the picture; all others describe how its pixels are stored.
_TELLING = frozenset(
    {_DESCRIPTION, 271, 272, *_RESOLUTION, _RESOLUTION_UNIT, 305, 306, 315, 316, 18246, 18249, 33432}
    | set(range(40091, 40096))
)
# An ImageDescription that starts like this is a note of a program about the layout of its file.
_LAYOUT_NOTES = (b"{", b"ImageJ=", b"<?xml", b"<OME")

_VALUE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MOST_BYTES = 2**24  # of all values together: directories that point in circles must not fill the memory


class _Layout(NamedTuple):
    """How the directories of a file are written."""

    order: str  # "<" or ">"
    number: str  # struct codes of the number of entries ...
    offset: str  # ... and of an offset

    def read(self, source: BinaryIO, code: str) -> int:
        data = source.read(struct.calcsize(code))
        return int(struct.unpack(self.order + code, data)[0])


class Settings(NamedTuple):
    """Which camera, and how it was set."""

    make: str = ""
    model: str = ""
    iso: float | None = None
    exposure: float | None = None  # seconds


@dataclass(frozen=True)
class _Value:
    kind: int
    count: int
    data: bytes


@dataclass
class _Directory:
    values: dict[int, _Value] = field(default_factory=dict)
    children: dict[int, "_Directory"] = field(default_factory=dict)


def reset(block: bytes) -> tuple[int, bytes]:
    """The orientation that a block states, and the block with orientation 1 and without a thumbnail.

    Raises:
        ValueError: this is not an EXIF block.
    """
    source = BytesIO(block)
    layout, offset = _header(source)
    if layout.offset != "I":
        raise ValueError("a BigTIFF header")
    source.seek(offset)
    patched = bytearray(block)
    orientation = 1
    try:
        for _ in range(layout.read(source, "H")):
            at = source.tell()
            tag, kind, count = struct.unpack(layout.order + "HHI", source.read(8))
            code = _INTEGERS.get(kind, "")
            if tag == _ORIENTATION and count == 1 and code in ("B", "H", "I"):
                (orientation,) = struct.unpack_from(layout.order + code, block, at + 8)
                struct.pack_into(layout.order + code, patched, at + 8, 1)
            source.seek(at + 12)
        struct.pack_into(layout.order + "I", patched, source.tell(), 0)
    except struct.error:
        raise ValueError("its directory is cut off") from None
    return (orientation if 1 <= orientation <= 8 else 1), bytes(patched)


def turn(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Stored (H, W) or (H, W, C) pixels the way they should be seen, for EXIF orientation 1..8."""
    if orientation >= 5:  # stored columns are seen rows
        array = array.swapaxes(0, 1)
    rows_down = orientation in (1, 2, 5, 6)
    columns_right = orientation in (1, 4, 5, 8)
    return array[:: 1 if rows_down else -1, :: 1 if columns_right else -1]


def byte_order(block: bytes | None) -> Literal["<", ">"]:
    """Little or big endian; little without a block."""
    return ">" if block is not None and block.startswith(b"MM") else "<"


def from_tiff(file: BinaryIO) -> bytes | None:
    """What directory 0 of a TIFF file tells about the picture, as an EXIF block; None if nothing.

    Raises:
        ValueError: the directories are damaged.
    """
    layout, offset = _header(file)
    page = _read_directory(file, layout, offset, only=_TELLING | {_ORIENTATION})
    values = page.values
    if values.get(_DESCRIPTION, _Value(2, 0, b"")).data.startswith(_LAYOUT_NOTES):
        del values[_DESCRIPTION]
    unit = values.get(_RESOLUTION_UNIT)
    if unit is not None and unit.data.strip(b"\0") == b"\1":  # no unit: it only says that pixels are square
        for tag in (*_RESOLUTION, _RESOLUTION_UNIT):
            values.pop(tag, None)
    if not values and not page.children:
        return None
    header = struct.pack(layout.order + "2sHI", b"II" if layout.order == "<" else b"MM", 42, 8)
    return header + _pack(page, layout.order, 8)


def attach(file: BinaryIO, block: bytes) -> None:
    """Add what an EXIF block tells to a one-page TIFF file of the same byte order.

    The page gets a new directory at the end of the file; the old one stays behind as a few dead bytes.

    Raises:
        ValueError: the block is damaged, or the file is a BigTIFF, whose directories look different.
    """
    source = BytesIO(block)
    layout, offset = _header(source)
    told = _read_directory(source, layout, offset)
    page_layout, offset = _header(file)
    if page_layout != layout:
        raise ValueError("the file is a BigTIFF")
    page = _read_directory(file, layout, offset, most=sys.maxsize)  # our own file
    page.values.update({tag: value for tag, value in told.values.items() if tag in _TELLING})
    page.children = told.children
    end = file.seek(0, 2)
    if end % 2:
        end += file.write(b"\0")
    file.write(_pack(page, layout.order, end))
    file.seek(4)
    file.write(struct.pack(layout.order + "I", end))


def settings(block: bytes) -> Settings:
    """What an EXIF block says about camera, sensitivity and exposure time.

    Raises:
        ValueError: this is not an EXIF block.
    """
    source = BytesIO(block)
    layout, offset = _header(source)
    page = _read_directory(source, layout, offset)
    shot = page.children.get(_EXIF, _Directory()).values
    number = {tag: _number(shot[tag], layout.order) for tag in (_EXPOSURE, _SHUTTER, _ISO, *_WIDE_ISO) if tag in shot}
    iso, exposure, shutter = number.get(_ISO), number.get(_EXPOSURE), number.get(_SHUTTER)
    if iso is None or iso == 65535:  # 16 bits were not enough
        iso = next((wide for tag in _WIDE_ISO if (wide := number.get(tag))), iso)
    if not exposure and shutter is not None and abs(shutter) < 30:
        exposure = 2.0**-shutter
    names = (page.values.get(tag, _Value(2, 0, b"")).data for tag in (_MAKE, _MODEL))
    make, model = (name.split(b"\0")[0].decode("utf-8", "replace").strip() for name in names)
    return Settings(make, model, iso if iso and iso > 0 else None, exposure if exposure and exposure > 0 else None)


def with_settings(block: bytes | None, wanted: Settings) -> bytes:
    """An EXIF block that says this; what is not given stays as it was.

    Raises:
        ValueError: there is a block, and it is damaged.
    """
    source = BytesIO(block or b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    layout, offset = _header(source)
    told = settings(source.getvalue())
    page = _read_directory(source, layout, offset)
    order = layout.order
    for tag, name, old in ((_MAKE, wanted.make, told.make), (_MODEL, wanted.model, told.model)):
        if name and name != old:
            data = name.encode() + b"\0"
            page.values[tag] = _Value(2, len(data), data)
    values: dict[int, _Value] = {}
    if wanted.iso is not None and wanted.iso != told.iso:
        iso = round(wanted.iso)
        values[_ISO] = _Value(3, 1, struct.pack(order + "H", min(iso, 65535)))
        if iso >= 65535:
            values[_WIDE_ISO[0]] = _Value(4, 1, struct.pack(order + "I", min(iso, 2**32 - 1)))
    if wanted.exposure is not None and wanted.exposure != told.exposure:
        exposure = min(wanted.exposure, 4e9)
        finest = min(1_000_000, int(4e9 / max(exposure, 1)))  # so that the numerator fits into 32 bits
        fraction = Fraction(exposure).limit_denominator(finest)
        values[_EXPOSURE] = _Value(5, 1, struct.pack(order + "II", fraction.numerator, fraction.denominator))
    if values:
        page.children.setdefault(_EXIF, _Directory()).values.update(values)
    header = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    return header + _pack(page, order, 8)


def _number(value: _Value, order: str) -> float | None:
    code = {**_INTEGERS, 5: "II", 10: "ii"}.get(value.kind)
    if code is None or len(value.data) < struct.calcsize(order + code):
        return None
    numbers = struct.unpack_from(order + code, value.data)
    if len(numbers) == 2:
        return numbers[0] / numbers[1] if numbers[1] else None
    return float(numbers[0])


def count_pages(file: BinaryIO) -> int:
    """Number of pages in the chain of a TIFF file; a chain that is broken or runs in a circle ends there."""
    layout, offset = _header(file)
    entry = 12 if layout.offset == "I" else 20
    seen: set[int] = set()
    while offset and offset not in seen:
        try:
            file.seek(offset)
            file.seek(layout.read(file, layout.number) * entry, 1)
            following = layout.read(file, layout.offset)
        except (struct.error, OSError, OverflowError, ValueError):
            break
        seen.add(offset)
        offset = following
    return len(seen)


def _header(source: BinaryIO) -> tuple[_Layout, int]:
    """How the directories are written, and where the first one is."""
    source.seek(0)
    head = source.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise ValueError("no TIFF header")
    version, offset = struct.unpack_from(order + "HI", head, 2)
    if version in (42, 0x55, 0x4F52, 0x5352):  # the others: RAW of Panasonic and Olympus
        return _Layout(order, "H", "I"), int(offset)
    if version == 43 and len(head) == 16:
        return _Layout(order, "Q", "Q"), int(struct.unpack_from(order + "Q", head, 8)[0])
    raise ValueError("no TIFF header")


def _read_directory(
    source: BinaryIO,
    layout: _Layout,
    offset: int,
    only: frozenset[int] | None = None,
    depth: int = 0,
    most: int = _MOST_BYTES,
) -> _Directory:
    """A directory and the ones below it. Values that lie outside of the file are left out.

    Args:
        source: file or block.
        layout: from its header.
        offset: where the directory is.
        only: tags to read at this level; None for all.
        depth: levels above this one.
        most: bytes of its values together.
    """
    directory = _Directory()
    inline = struct.calcsize(layout.offset)
    try:
        source.seek(offset)
        count = layout.read(source, layout.number)
        entries = source.read(min(count, 65536) * (4 + 2 * inline))
        rows = list(struct.iter_unpack(f"{layout.order}HH{layout.offset}{inline}s", entries))
    except (struct.error, OSError, OverflowError):
        raise ValueError("a directory is cut off") from None
    if len(rows) != count:
        raise ValueError("a directory is cut off")
    total = 0
    for tag, kind, number, data in rows:
        if tag in directory.children or tag in directory.values:
            continue  # the first one counts: thousands that all lead to the same place would take for ever
        if tag in _CHILDREN:
            code = _INTEGERS.get(kind)
            if depth < 2 and number == 1 and code is not None:
                (where,) = struct.unpack_from(layout.order + code, data)
                directory.children[tag] = _read_directory(source, layout, where, depth=depth + 1)
        elif kind in _VALUE_SIZES and (only is None or tag in only):
            size = number * _VALUE_SIZES[kind]
            total += size
            if total > most:
                raise ValueError("its values are larger than any EXIF")
            if size > inline:
                data = _read_at(source, struct.unpack(layout.order + layout.offset, data)[0], size)
            if len(data) >= size:
                directory.values[tag] = _Value(kind, number, data[:size])
    return directory


def _read_at(source: BinaryIO, offset: int, size: int) -> bytes:
    """Up to `size` bytes; none where no file can have any."""
    try:
        source.seek(offset)
    except (OSError, OverflowError, ValueError):
        return b""
    return source.read(size)


def _pack(directory: _Directory, order: str, offset: int) -> bytes:
    """A directory as it stands at an even `offset` of a classic TIFF file, long values and children behind it."""
    tags = sorted({*directory.values, *directory.children})
    table = bytearray(struct.pack(order + "H", len(tags)))
    behind = bytearray()
    for tag in tags:
        where = offset + 2 + 12 * len(tags) + 4 + len(behind)
        if tag in directory.children:
            table += struct.pack(order + "HHII", tag, 4, 1, where)
            behind += _pack(directory.children[tag], order, where)
            continue
        value = directory.values[tag]
        if len(value.data) <= 4:
            table += struct.pack(order + "HHI4s", tag, value.kind, value.count, value.data)
        else:
            table += struct.pack(order + "HHII", tag, value.kind, value.count, where)
            behind += value.data + b"\0" * (len(value.data) % 2)
    return bytes(table + b"\0\0\0\0" + behind)
