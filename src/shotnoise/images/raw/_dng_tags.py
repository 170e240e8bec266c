"""What the directories of a DNG say: levels, colours, noise, and what is worth carrying to another DNG.

LibRaw reads DNG too, but cuts fractions off black levels, averages the corrections of rows and columns, and knows
nothing of noise. Numbers of tags and their meaning: Adobe, "Digital Negative Specification", version 1.4.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from shotnoise.images._decoding import decoding

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["CARRIED", "COLOURS", "OPCODES", "DngTags", "Tag", "daylight_matrix", "floats", "read_tags", "usable_matrix"]

COLOURS = frozenset(
    {50721, 50722, 50778, 50779, 50964, 50965, 50723, 50724, 50727, 50931, 50932}  # matrices, calibrations, illuminants
    | {50936, 50937, 50938, 50939, 50940, 50941, 50942}  # the profile: name, hues, tone curve, policy, copyright
    | {50981, 50982, 51107, 51108, 51110, 51125}  # look table, encodings of the tables, black rendering, user crop
)
"""Tags that turn camera colours into colours; they belong together."""

OPCODES = (51008, 51009, 51022)
"""Corrections to be made by whoever develops: of the stored mosaic, of the linear one, of the picture."""

CARRIED = (
    COLOURS
    | frozenset(OPCODES)
    | {700, 50708, 50709, 50730, 50731, 50732, 50734, 50735, 50736}  # XMP, names, rendering hints, serial number, lens
    | {50718, 50719, 50720, 50733, 50737, 50739, 50780, 50827, 50935}  # scale, crop, greens, chroma, shadows, ...
    | {50879, 51109}  # colorimetric reference, exposure offset
)
"""Tags of a DNG that stay true when the counts of its visible area are cleaned."""

_CFA, _LINEAR = 32803, 34892
_PAGES = 8  # looked at in a file, and below each of them; more would take a hostile file hours
_DNG_VERSION, _JPEG = 50706, 7
# Colour temperature of the EXIF light sources, to find the daylight matrix.
_KELVIN = {1: 5500, 2: 4200, 3: 2856, 4: 5500, 9: 5500, 10: 6500, 11: 7500, 12: 6430, 13: 5000, 14: 4150, 15: 3450}
_KELVIN |= {17: 2856, 18: 4874, 19: 6774, 20: 5503, 21: 6504, 22: 7504, 23: 5003, 24: 3200}


class Tag(NamedTuple):
    """The value of a tag as tifffile reads and writes it; fractions are numerator, denominator, numerator, ..."""

    kind: int
    length: int
    value: Any


@dataclass
class DngTags:
    """What matters of the directories of a TIFF-based RAW file.

    Attributes:
        is_dng: whether it is a DNG; if not, only `missing`, `repeat`, `iso` and `exposure` mean anything.
        missing: how many strips or tiles of the mosaic are not there: LibRaw leaves some of them black in silence.
        linear: the picture has been demosaiced.
        depth: bits of a sample as stored, and whether they are floating point.
        repeat: rows and columns after which the colours repeat; None if not stated.
        layout: 1 for a rectangular grid.
        area: first row and column, height and width of the visible part.
        black: (2, 2) zero light by phase, seen from the corner of the visible part.
        white: full scale; None if not stated.
        linearized: a table stands between stored and true counts.
        neutral: what gray looks like in camera colours.
        noise: NoiseProfile as it stands.
        orientation, iso, exposure: as in EXIF.
        carried: the tags of :data:`CARRIED`.
        notes: what could not be taken over exactly.
    """

    is_dng: bool
    missing: int = 0
    linear: bool = False
    depth: tuple[int, bool] = (16, False)
    repeat: tuple[int, ...] | None = None
    layout: int = 1
    area: tuple[int, int, int, int] = (0, 0, 0, 0)
    black: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))
    white: float | None = None
    linearized: bool = False
    neutral: tuple[float, ...] | None = None
    noise: tuple[float, ...] = ()
    orientation: int | None = None
    iso: float | None = None
    exposure: float | None = None
    carried: dict[int, Tag] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_tags(file: BinaryIO, size: tuple[int, int]) -> DngTags | None:
    """The tags of the page with the sensor data; None if the file is no TIFF or has no such page.

    Args:
        file: the RAW file.
        size: height and width of the whole mosaic, margins included, to tell its page from previews.
    """
    import tifffile

    file.seek(0)
    if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    file.seek(0)
    with decoding("camera RAW"), tifffile.TiffFile(file, is_lsm=False, is_ndpi=False, is_scanimage=False) as tiff:
        first = tiff.pages.first
        page = _sensor_page(tiff, size)
        if page is None:
            return None
        found = DngTags(_DNG_VERSION in first.tags)
        found.missing = _missing(file, page)
        found.iso, found.exposure = (_number(first, tag) for tag in (34855, 33434))
        repeat = page.tags.valueof(33421)
        found.repeat = tuple(repeat) if isinstance(repeat, tuple) else None
        if found.is_dng:
            _fill(found, page, first)
        return found


def daylight_matrix(tags: Mapping[int, Any]) -> npt.NDArray[np.float64] | None:
    """XYZ to camera, from the matrix whose light is nearest to D65, with the calibration of the single camera."""
    choice = [
        (abs(_KELVIN.get(int(tags[light].value) if light in tags else 0, 5000) - 6504), matrix, calibration)
        for light, matrix, calibration in ((50778, 50721, 50723), (50779, 50722, 50724))
        if matrix in tags and tags[matrix].length == 9
    ]
    if not choice:
        return None
    _, matrix, calibration = min(choice)
    result = floats(tags[matrix]).reshape(3, 3)
    if calibration in tags and tags[calibration].length == 9:
        result = floats(tags[calibration]).reshape(3, 3) @ result
    if 50727 in tags and tags[50727].length == 3:
        result = floats(tags[50727])[:, None] * result
    return result


def usable_matrix(matrix: npt.NDArray[np.float64]) -> bool:
    """Whether colours can be computed with it."""
    sane = matrix.shape == (3, 3) and bool((np.abs(matrix) < 100).all())  # also not NaN
    return sane and float(np.linalg.cond(matrix)) < 1e4


def floats(tag: Tag) -> npt.NDArray[np.float64]:
    """The numbers of a tag; fractions are divided."""
    values = np.atleast_1d(np.asarray(tag.value, np.float64))
    if tag.kind in (5, 10):
        values = values[0::2] / np.where(values[1::2] == 0, np.nan, values[1::2])
    return values


def _sensor_page(tiff: Any, size: tuple[int, int]) -> "TiffPage | None":
    pages = list(itertools.islice(tiff.pages, _PAGES))
    pages += [below for page in pages for below in itertools.islice(page.pages or (), _PAGES)]
    sensor = [page for page in pages if page.photometric in (_CFA, _LINEAR)]
    return max(
        sensor, key=lambda page: ((page.imagelength, page.imagewidth) == size, page.imagelength * page.imagewidth),
        default=None,
    )  # fmt: skip


def _missing(file: BinaryIO, page: "TiffPage") -> int:
    end = file.seek(0, 2)
    count = 0
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        there = offset + length <= end
        if there and page.compression == _JPEG:
            file.seek(offset)
            there = _begins_like_jpeg(file.read(min(length, 4096)))
        count += not there
    return count


def _begins_like_jpeg(head: bytes) -> bool:
    """Whether the markers lead from the start of the image over a frame to the start of the scan."""
    at, frame = 2, False
    while head.startswith(b"\xff\xd8") and at + 4 <= len(head) and head[at] == 0xFF:
        if head[at + 1] == 0xDA:
            return frame
        frame |= 0xC0 <= head[at + 1] <= 0xC3
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return False


def _fill(found: DngTags, page: "TiffPage", first: "TiffPage") -> None:
    """What only a DNG says."""
    found.linear = page.photometric == _LINEAR
    found.depth = (page.bitspersample, page.sampleformat == 3)
    found.layout = int(page.tags.valueof(50711, 1))
    top, left, bottom, right = page.tags.valueof(50829, (0, 0, page.imagelength, page.imagewidth))
    found.area = (top, left, bottom - top, right - left)
    found.linearized = 50712 in page.tags
    found.black = _black(page, found.notes)
    white = page.tags.valueof(50717)
    full = float(2 ** min(found.depth[0], 16) - 1)
    found.white = full if white is None else float(np.min(white))
    if not found.linearized:
        found.white = min(found.white, full)
    neutral = _tag(first, 50728) or _tag(page, 50728)
    found.neutral = None if neutral is None else tuple(floats(neutral).tolist())
    noise = _tag(page, 51041) or _tag(first, 51041)
    found.noise = () if noise is None else tuple(floats(noise).tolist())
    orientation = first.tags.valueof(274, 1)
    found.orientation = int(orientation) if orientation in range(1, 9) else 1
    for number in CARRIED:
        tag = _tag(page, number) or _tag(first, number)
        if tag is not None:
            found.carried[number] = tag
    # The first list of corrections is meant for the stored samples, before table and margins.
    changed = found.linearized or found.area != (0, 0, page.imagelength, page.imagewidth)
    if changed and found.carried.pop(OPCODES[0], None) is not None:
        found.notes.append("its list of corrections of the stored samples (OpcodeList1) was not applied nor kept")


def _black(page: "TiffPage", notes: list[str]) -> npt.NDArray[np.float64]:
    """(2, 2) black level by phase."""
    rows, cols = page.tags.valueof(50713, (1, 1))
    tag = _tag(page, 50714)
    cell = np.zeros((1, 1)) if tag is None else floats(tag)[: rows * cols].reshape(rows, cols)
    cell = np.tile(cell, (2, 2))
    black = np.array([[cell[y::2, x::2].mean() for x in (0, 1)] for y in (0, 1)])
    spread = max(float(np.ptp(cell[y::2, x::2])) for x in (0, 1) for y in (0, 1))
    for number, axis in ((50715, 1), (50716, 0)):  # added to every column, to every row
        delta = _tag(page, number)
        if delta is not None:
            along = floats(delta)
            means = np.array([along[phase::2].mean() if len(along) > phase else along.mean() for phase in (0, 1)])
            spread = max(spread, max(float(np.ptp(along[phase::2])) if len(along) > phase else 0 for phase in (0, 1)))
            black += np.expand_dims(means, 1 - axis)
    if spread > 0.5:
        notes.append(f"its black level varies over rows or columns by up to {spread:.3g}; the mean per colour is used")
    return black


def _tag(page: "TiffPage", number: int) -> Tag | None:
    tag = page.tags.get(number)
    if tag is None:
        return None
    if isinstance(tag.value, str):  # as bytes: names need not be ASCII
        text = tag.value.encode() + b"\0"
        return Tag(int(tag.dtype), len(text), text)
    return Tag(int(tag.dtype), tag.count, tag.value)


def _number(page: "TiffPage", number: int) -> float | None:
    tag = _tag(page, number)
    if tag is None or tag.kind not in (3, 4, 5):
        return None
    value = float(floats(tag)[0])
    return value if np.isfinite(value) and value > 0 else None
