"""RAW files -> :class:`RawFrame`: counts through LibRaw, and what it leaves out from the tags of the file itself.

Whatever is no mosaic of 2x2 Bayer cells is recognised and refused, never taken for one. Corrections that a DNG asks
for (its opcode lists: lens shading, distortion, defect pixels) are not applied; they are kept for the program that
develops the result.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images import _exif
from shotnoise.images._decoding import MAX_PIXELS, check_size, decoding, one_line
from shotnoise.images._disk import opened, shown
from shotnoise.images.raw._dng_tags import DngTags, daylight_matrix, read_tags, usable_matrix
from shotnoise.images.raw.bayer import PATTERNS, Pattern, sites
from shotnoise.images.raw.frame import RawFrame
from shotnoise.images.raw.headerless import HeaderlessLayout, read_headerless
from shotnoise.images.raw.kinds import begins_like_raw

__all__ = ["open_raw"]

Levels = tuple[float, float, float, float]

_TURNS = {3: 3, 5: 8, 6: 6}  # LibRaw's flip -> EXIF orientation
_STRONGEST = 100.0  # white balance that can be meant
_OTHERWISE = "convert it to a 16-bit TIFF with a RAW developer and denoise that"


def open_raw(
    path: str | os.PathLike[str],
    layout: HeaderlessLayout | None = None,
    *,
    black: float | Sequence[float] | None = None,
    white: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> RawFrame:
    """Read the visible part of a Bayer mosaic, counts as they were stored.

    Args:
        path: a RAW file of any camera that LibRaw knows, a DNG, or headerless counts.
        layout: how headerless counts lie; without it, a JSON file beside the picture with the same stem says so.
        black: count without light, instead of what the file says: one number, or one per plane R, Gr, Gb, B.
        white: count at which the sensor is full, instead of what the file says.
        max_pixels: mosaics with more pixels than this are refused by their header.

    Raises:
        PictureError: there is no such file, it is damaged, it is no RAW file, or it has no Bayer mosaic.
    """
    name = shown(path)
    try:
        with opened(path) as file:
            if layout is None and not (begins_like_raw(file) or _begins_with(file, b"II*\0", b"MM\0*")):
                layout = HeaderlessLayout.beside(path)
            if layout is not None:
                fields = read_headerless(file, layout, max_pixels)
            else:
                _refuse_unmarked(file)
                fields = _through_libraw(file, max_pixels)
        if black is not None:
            fields["black"] = _four(black)
        if white is not None:
            fields["white"] = float(white)
        return RawFrame(**fields)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error.__cause__
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror or one_line(error)})") from error


def _refuse_unmarked(file: BinaryIO) -> None:
    """LibRaw guesses the camera of files without a header by their size; such a guess must not pass for knowledge."""
    if begins_like_raw(file) or _begins_with(file, b"II", b"MM"):
        return
    raise PictureError(
        "is not a RAW file of a known kind; expected a camera RAW or DNG file, or headerless counts with a layout: a "
        "JSON file beside it with the same stem, that states width, height, bits and pattern"
    )


def _begins_with(file: BinaryIO, *marks: bytes) -> bool:
    file.seek(0)
    return file.read(4).startswith(marks)


def _through_libraw(file: BinaryIO, max_pixels: int) -> dict[str, Any]:
    """The fields of a frame."""
    import rawpy

    file.seek(0)
    try:
        with decoding("camera RAW"), rawpy.imread(file) as raw:
            return _fields(file, raw, max_pixels)
    except PictureError as error:
        reason = error.__cause__
        if isinstance(reason, rawpy.LibRawFileUnsupportedError):
            raise PictureError("is not a RAW file, or of a camera that LibRaw does not know") from reason
        if isinstance(reason, rawpy.LibRawError):
            words = reason.args[0].decode("utf-8", "replace") if isinstance(reason.args[0], bytes) else str(reason)
            raise PictureError(f"cannot be decoded as camera RAW; it is damaged or cut off ({words})") from reason
        raise


def _fields(file: BinaryIO, raw: Any, max_pixels: int) -> dict[str, Any]:
    sizes = raw.sizes
    check_size(sizes.raw_width, sizes.raw_height, max_pixels)
    tags, notes = _tags(file, (sizes.raw_height, sizes.raw_width))
    _refuse_others(file, raw, tags)
    # LibRaw cuts a DNG whose visible part begins at an odd row or column smaller than it is.
    area = tags.area if tags.is_dng else (sizes.top_margin, sizes.left_margin, sizes.height, sizes.width)
    pattern, indices = _pattern(raw, *area[:2])
    mosaic = _cut(raw.raw_image, *area)
    fields: dict[str, Any] = {"mosaic": mosaic, "pattern": pattern, "notes": ()}
    if tags.is_dng:
        _dng_fields(fields, tags)
    else:
        levels = raw.black_level_per_channel
        fields["black"] = tuple(float(levels[index]) for index in indices)
        fields["white"] = _white(raw, max(fields["black"]))
        matrix = np.asarray(raw.rgb_xyz_matrix, np.float64)[:3]
        fields["xyz_to_camera"] = matrix if usable_matrix(matrix) else None
        fields["orientation"] = _TURNS.get(sizes.flip, 1)
    if tags.neutral is None:
        fields["white_balance"] = _gains(raw.camera_whitebalance)
    if fields["xyz_to_camera"] is None:
        notes.append("no colour matrix is known for this camera; colours of previews and of a new DNG will be rough")
    exif = _exif_block(file, raw, notes)
    told = _exif.Settings() if exif is None else _exif.settings(exif)
    other = _other(raw)
    return fields | {
        "make": told.make,
        "model": told.model,
        "iso": told.iso or tags.iso or other[0],
        "exposure": told.exposure or tags.exposure or other[1],
        "exif": exif,
        "notes": tuple(notes),
    }


def _tags(file: BinaryIO, size: tuple[int, int]) -> tuple[DngTags, list[str]]:
    """What the file says itself, and notes; nothing where it is no TIFF or cannot be followed."""
    try:
        tags = read_tags(file, size) or DngTags(False)
    except PictureError as error:
        return DngTags(False), [
            f"its tags could not be read; levels and colours are what LibRaw makes of them ({error})"
        ]
    return tags, tags.notes


def _dng_fields(fields: dict[str, Any], tags: DngTags) -> None:
    """Levels, colours and noise as the tags say them."""
    pattern = fields["pattern"]
    fields["black"] = tuple(float(tags.black[site]) for site in sites(pattern))
    fields["white"] = tags.white
    fields["white_balance"] = _gains([1 / part if part > 0 else 0.0 for part in tags.neutral or ()])
    matrix = daylight_matrix(tags.carried)
    fields["xyz_to_camera"] = matrix if matrix is not None and usable_matrix(matrix) else None
    fields["orientation"] = tags.orientation
    fields["noise"] = _noise(tags.noise, pattern)
    fields["tags"] = dict(sorted(tags.carried.items()))


def _refuse_others(file: BinaryIO, raw: Any, tags: DngTags) -> None:
    """Everything that is not a whole mosaic of counts in 2x2 cells."""
    if tags.missing:
        raise PictureError(f"is cut off or damaged: {tags.missing} of the pieces of the mosaic are missing")
    if _begins_with(file, b"FOVb"):
        raise PictureError(f"is from a Foveon sensor, which sees all colours in each pixel: no mosaic; {_OTHERWISE}")
    if tags.linear and raw.num_colors > 1:
        raise PictureError(f"is a linear DNG, whose mosaic has been made into a picture already; {_OTHERWISE}")
    if tags.depth[0] > 16 or tags.depth[1]:
        kind = "floating-point" if tags.depth[1] else "integer"
        raise PictureError(f"is a DNG with {kind} samples of {tags.depth[0]} bits; expected integers of up to 16 bits")
    if tags.repeat is not None and not tags.linear and tags.repeat != (2, 2):
        rows, cols = (*tags.repeat, 0)[:2]
        kind = {6: "X-Trans", 4: "quad Bayer or another pattern of 4 x 4"}.get(rows, "a rare kind")
        raise PictureError(
            f"has a colour filter that repeats after {rows} x {cols} pixels ({kind}), not a 2 x 2 Bayer pattern; "
            f"{_OTHERWISE}"
        )
    if tags.layout != 1:
        raise PictureError(f"has a sensor whose rows or columns are staggered, not a Bayer pattern; {_OTHERWISE}")


def _cut(mosaic: npt.NDArray[np.uint16], top: int, left: int, height: int, width: int) -> npt.NDArray[np.uint16]:
    """A copy of the visible part: LibRaw's own memory ends with it."""
    part = mosaic[top : top + height, left : left + width]
    if min(top, left) < 0 or part.shape != (height, width):
        raise PictureError(
            f"states a visible area of {width} x {height} pixels from row {top}, column {left}; not all of it is there"
        )
    return np.array(part, np.uint16, order="C")


def _pattern(raw: Any, top: int, left: int) -> tuple[Pattern, list[int]]:
    """Seen from a row and column of the whole mosaic: colours of the cell, and LibRaw's colour index of each plane."""
    try:
        whole = raw.raw_pattern  # seen from the corner of the whole mosaic, margins included
    except NotImplementedError:
        whole = np.zeros((0, 0))
    if whole is None:
        raise PictureError(f"holds no mosaic but colours (sRAW, mRAW, linear RAW or the like); {_OTHERWISE}")
    if whole.shape == (1, 1) or raw.num_colors == 1:
        raise PictureError("is from a monochrome sensor without colour filters; convert it to a 16-bit gray TIFF")
    if whole.shape != (2, 2):
        kind = {6: "X-Trans"}.get(whole.shape[0], "a rare kind")
        raise PictureError(
            f"has a colour filter that repeats after {whole.shape[0]} x {whole.shape[1]} pixels ({kind}), not a 2 x 2 "
            f"Bayer pattern; {_OTHERWISE}"
        )
    cell = np.roll(whole, (-(top % 2), -(left % 2)), (0, 1))
    letters = "".join(chr(raw.color_desc[index]) for index in cell.ravel())
    for pattern in PATTERNS:
        if letters == pattern:
            return pattern, [int(cell[site]) for site in sites(pattern)]
    raise PictureError(
        f"has the colours {letters} in each 2 x 2 cell; expected red, blue and two greens on a diagonal; {_OTHERWISE}"
    )


def _white(raw: Any, black: float) -> float:
    """The lowest count that anything says is full, as long as it makes sense."""
    levels = [raw.white_level, *(raw.camera_white_level_per_channel or ())]
    return float(min((level for level in levels if level > black), default=raw.white_level))


def _gains(factors: Sequence[float]) -> tuple[float, float, float] | None:
    """Relative to green; None if they are no gains."""
    if len(factors) < 3 or not min(factors[:3]) > 0:
        return None
    red, blue = (float(factors[colour] / factors[1]) for colour in (0, 2))
    return (red, 1.0, blue) if 1 / _STRONGEST < min(red, blue) <= max(red, blue) < _STRONGEST else None


def _noise(values: tuple[float, ...], pattern: Pattern) -> tuple[tuple[float, float], ...] | None:
    """A NoiseProfile for one, three (red, green, blue) or four (the cell, row by row) colours -> per plane."""
    pairs = list(zip(values[0::2], values[1::2], strict=False))
    if len(pairs) not in (1, 3, 4) or not np.isfinite(values).all() or min(values) < 0:
        return None
    if len(pairs) == 4:
        return tuple(pairs[2 * row + col] for row, col in sites(pattern))
    return tuple(pairs[min(colour, len(pairs) - 1)] for colour in (0, 1, 1, 2))


def _exif_block(file: BinaryIO, raw: Any, notes: list[str]) -> bytes | None:
    """Out of the file itself, or out of the preview inside; upright, as a preview made from it will be."""
    block = None
    try:
        with suppress(ValueError):  # no TIFF
            block = _exif.from_tiff(file)
        if block is None:
            from PIL import Image as Pillow

            # Most cameras put a JPEG inside; where that fails there is simply none.
            with suppress(Exception), Pillow.open(BytesIO(raw.extract_thumb().data)) as preview:
                block = preview.info.get("exif", b"").removeprefix(b"Exif\0\0") or None
        if block is not None:
            block = _exif.reset(block)[1]
            _exif.settings(block)  # which looks further down
        return block
    except ValueError:
        notes.append("its EXIF is damaged and was dropped")
    return None


def _other(raw: Any) -> tuple[float | None, float | None]:
    """ISO and exposure time as LibRaw found them."""
    with suppress(Exception):  # old versions of rawpy do not tell; odd dates trip it
        found = [float(number) for number in (raw.other.iso_speed, raw.other.shutter_speed)]
        iso, exposure = (number if np.isfinite(number) and number > 0 else None for number in found)
        return iso, exposure
    return None, None


def _four(levels: float | Sequence[float]) -> Levels:
    values = np.broadcast_to(np.asarray(levels, np.float64), 4) if np.size(levels) in (1, 4) else None
    if values is None or not np.isfinite(values).all():
        raise PictureError(f"black level {levels}; expected one number or four, for the planes R, Gr, Gb, B")
    red, gr, gb, blue = (float(value) for value in values)
    return red, gr, gb, blue
