"""DNG out: the mosaic as it was read, or the linear picture made from it, for whatever RAW developer comes next.

Written as one TIFF page per file, in 16 bits, uncompressed or as lossless JPEG: whatever other layouts the format
knows, these are the ones that every reader takes. Lossless JPEG holds the mosaic as rows of two interleaved colours,
as cameras do, so that a count is predicted from the last one of its own colour.

What a DNG source said about colours, crops and corrections is written again. Without a usable colour matrix, the
camera is taken for one that sees in linear sRGB: rough colours, but a file that opens.
"""

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images import _exif
from shotnoise.images._decoding import one_line
from shotnoise.images._disk import shown, target, write
from shotnoise.images.raw._dng_tags import COLOURS, OPCODES, Tag, daylight_matrix, usable_matrix
from shotnoise.images.raw.bayer import sites
from shotnoise.images.raw.frame import RawFrame

__all__ = ["XYZ_TO_SRGB", "save_dng", "save_linear_dng"]

XYZ_TO_SRGB = np.array([[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]])  # fmt: skip  # noqa: E501
"""Of IEC 61966-2-1, D65; also the matrix of a camera about which nothing is known."""

Compression = Literal["jpeg", "none"]
Pairs = Sequence[Sequence[float]]

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL, _DOUBLE = 1, 2, 3, 4, 5, 10, 12
_D65 = 21
_TILE = 256
_UNIT = 16  # of the sides of tiles
_LEAST = 22  # pixels: LibRaw takes anything smaller for no picture
_FOOT = 4096  # black level of a linear picture with negative values
_BAND = 256  # rows


def save_dng(
    frame: RawFrame,
    path: str | os.PathLike[str],
    *,
    compression: Compression = "jpeg",
    noise: Pairs | None = None,
    noise_reduction: float | None = None,
    overwrite: bool = True,
) -> tuple[str, ...]:
    """Write a mosaic as DNG: same counts, phase, levels, colours, orientation and EXIF.

    Args:
        frame: what to write.
        path: where to; its folder must exist.
        compression: "jpeg" is lossless and half as large, "none" is quicker.
        noise: (S, O) per plane R, Gr, Gb, B for the NoiseProfile, variance = S x + O; that of the frame unless given.
        noise_reduction: how much noise was removed, 0 to 1, as raw developers ask before they remove more.
        overwrite: whether a file that is already there may be replaced.

    Returns:
        Notes: what could not be written as it was, one line each.

    Raises:
        PictureError: the place is not writable.
    """
    notes: list[str] = []
    tags = _common_tags(frame, noise_reduction, notes)
    colours = {"R": 0, "G": 1, "B": 2}
    black = np.empty((2, 2))
    for site, level in zip(sites(frame.pattern), frame.black, strict=True):
        black[site] = max(level, 0)
    if min(frame.black) < 0:
        notes.append(f"the black level {min(frame.black):g} was written as 0: DNG has none below")
    tags |= {
        33421: Tag(_SHORT, 2, (2, 2)),
        33422: Tag(_BYTE, 4, bytes(colours[letter] for letter in frame.pattern)),
        50710: Tag(_BYTE, 3, bytes(range(3))),
        50711: Tag(_SHORT, 1, 1),
        50713: Tag(_SHORT, 2, (2, 2)),
        50714: _fractions(_RATIONAL, black.ravel()),
        50717: Tag(_LONG, 1, round(frame.white)),
    }
    _add_noise(tags, frame.noise if noise is None else noise)
    return _save(path, frame.mosaic, tags, frame, compression, overwrite, notes)


def save_linear_dng(
    rgb: npt.NDArray[Any],
    frame: RawFrame,
    path: str | os.PathLike[str],
    *,
    compression: Compression = "jpeg",
    noise_reduction: float | None = None,
    overwrite: bool = True,
) -> tuple[str, ...]:
    """Write a demosaiced picture in camera colours, before white balance, as linear DNG.

    Args:
        rgb: (H, W, 3): uint16 with black at 0 and white at 65535, or floating point in 0..1. Values below 0 are kept as
            far as they are noise (down to -1/15), those above 1 are clipped.
        frame: where it comes from; colours, orientation and EXIF are taken from there.
        path: where to; its folder must exist.
        compression: "jpeg" is lossless and smaller, "none" is quicker.
        noise_reduction: how much noise was removed, 0 to 1.
        overwrite: whether a file that is already there may be replaced.

    Returns:
        Notes: what could not be written as it was, one line each.

    Raises:
        PictureError: these are no such pixels, or the place is not writable.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape or not (rgb.dtype == np.uint16 or rgb.dtype.kind == "f"):
        raise PictureError(
            f"a picture of shape {rgb.shape} and type {rgb.dtype}; expected (H, W, 3) uint16 or floating point in 0..1"
        )
    foot = 0
    if rgb.dtype.kind == "f":
        foot, rgb = _in_counts(rgb)
    notes: list[str] = []
    tags = _common_tags(frame, noise_reduction, notes)
    dropped = [tags.pop(number, None) for number in OPCODES[:2]]
    if any(dropped):
        notes.append("corrections of the mosaic (OpcodeList1 and 2) were dropped: a linear picture cannot take them")
    if rgb.shape[:2] != frame.mosaic.shape:
        for number in (50719, 50720, 51125, OPCODES[2]):
            tags.pop(number, None)
    tags[50714] = Tag(_LONG, 3, (foot,) * 3)
    tags[50717] = Tag(_LONG, 3, (65535,) * 3)
    return _save(path, rgb, tags, frame, compression, overwrite, notes)


def _in_counts(rgb: npt.NDArray[Any]) -> tuple[int, npt.NDArray[np.uint16]]:
    """Floating point -> the black level and 16 bits; some rows at a time, as a copy of it all weighs 200 MB."""
    lowest = min(float(rgb[top : top + _BAND].min()) for top in range(0, len(rgb), _BAND))
    foot = _FOOT if lowest < 0 else 0
    counts = np.empty(rgb.shape, np.uint16)
    for top in range(0, len(rgb), _BAND):
        band = rgb[top : top + _BAND]
        if not np.isfinite(band).all():
            raise PictureError("a picture with values that are not finite; expected numbers in 0..1")
        scaled = band * np.float32(65535 - foot) + np.float32(foot + 0.5)
        counts[top : top + _BAND] = np.clip(scaled, 0, 65535, out=scaled)
    return foot, counts


def _common_tags(frame: RawFrame, noise_reduction: float | None, notes: list[str]) -> dict[int, Tag]:
    """Version, names, colours and everything carried."""
    tags = {number: cast(Tag, tag) for number, tag in frame.tags.items()}
    matrix = frame.xyz_to_camera
    carried = daylight_matrix(tags)
    if matrix is None or not usable_matrix(matrix):
        notes.append("there is no usable colour matrix: the DNG takes camera colours for linear sRGB")
        matrix = XYZ_TO_SRGB
    if carried is None or not np.allclose(carried, matrix, rtol=1e-6, atol=1e-9):
        tags = {number: tag for number, tag in tags.items() if number not in COLOURS}
        tags[50721] = _fractions(_SRATIONAL, matrix.ravel())
    tags.setdefault(50778, Tag(_SHORT, 1, _D65))  # developers refuse a matrix without its light
    if frame.white_balance is not None:
        tags[50728] = _fractions(_RATIONAL, [1 / gain for gain in frame.white_balance])
    name = (" ".join(part for part in (frame.make, frame.model) if part) or "unknown camera").encode() + b"\0"
    tags.setdefault(50708, Tag(_ASCII, len(name), name))
    tags[50706] = Tag(_BYTE, 4, b"\1\4\0\0")
    tags[50707] = Tag(_BYTE, 4, b"\1\4\0\0" if OPCODES[0] in tags or OPCODES[1] in tags else b"\1\1\0\0")
    tags[274] = Tag(_SHORT, 1, frame.orientation)
    if noise_reduction is not None:
        if not 0 <= noise_reduction <= 1:
            raise PictureError(f"noise reduction {noise_reduction:g}; expected 0 (none) to 1 (as much as there can be)")
        tags[50935] = _fractions(_RATIONAL, [noise_reduction])
    return tags


def _add_noise(tags: dict[int, Tag], noise: Pairs | None) -> None:
    """NoiseProfile, which knows red, green and blue: the two greens share theirs."""
    if noise is None:
        return
    pairs = np.asarray(noise, np.float64)
    if pairs.shape != (4, 2) or not np.isfinite(pairs).all() or pairs.min() < 0:
        raise PictureError("a noise profile needs (S, O) >= 0 for each of the planes R, Gr, Gb, B")
    values = np.concatenate([pairs[0], pairs[1:3].mean(axis=0), pairs[3]])
    tags[51041] = Tag(_DOUBLE, 6, tuple(values.tolist()))


def _save(
    path: str | os.PathLike[str],
    array: npt.NDArray[np.uint16],
    tags: dict[int, Tag],
    frame: RawFrame,
    compression: Compression,
    overwrite: bool,
    notes: list[str],
) -> tuple[str, ...]:
    name = shown(path)
    if compression not in ("jpeg", "none"):
        raise PictureError(f"{name}: cannot be written with compression '{compression}'; expected jpeg or none")
    if min(array.shape[:2]) < _LEAST:
        raise PictureError(
            f"{name}: cannot be written: {array.shape[1]} x {array.shape[0]} pixels; RAW developers read no DNG with a "
            f"side under {_LEAST} pixels"
        )
    settings = _exif.Settings(frame.make, frame.model, frame.iso, frame.exposure)
    try:
        exif = _exif.with_settings(frame.exif, settings)
    except ValueError:
        notes.append("the EXIF was damaged; only camera, ISO and exposure time were written")
        exif = _exif.with_settings(None, settings)
    try:
        write(target(path, overwrite), lambda file: _encode(file, array, tags, exif, compression))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error.__cause__
    except OSError as error:
        raise PictureError(f"{name}: cannot be written ({error.strerror or one_line(error)})") from error
    return tuple(notes)


def _encode(
    file: BinaryIO, array: npt.NDArray[np.uint16], tags: dict[int, Tag], exif: bytes, compression: Compression
) -> None:
    import tifffile

    mosaic = array.ndim == 2
    data: npt.NDArray[np.uint16] | Iterator[bytes] = array
    layout: dict[str, Any] = {"compression": None, "rowsperstrip": array.shape[0]}
    if compression == "jpeg":
        # LibRaw mixes up the rows of tiles that are wider than the picture or exactly half as wide.
        wide = next(side for side in range(_TILE, 0, -_UNIT) if side <= array.shape[1] != 2 * side)
        data = _tiles(array, wide)
        layout = {"compression": 7, "tile": (_TILE, wide), "shape": array.shape, "dtype": array.dtype}
    tifffile.imwrite(
        file,
        data,
        byteorder=_exif.byte_order(exif),  # values inside the EXIF stay as they are
        photometric=32803 if mosaic else 34892,
        planarconfig=None if mosaic else "contig",
        subfiletype=0,
        bitspersample=16,
        metadata=None,
        software=False,
        extratags=[(number, *tags[number], True) for number in sorted(tags)],
        **layout,
    )
    _exif.attach(file, exif)


def _tiles(array: npt.NDArray[np.uint16], wide: int) -> Iterator[bytes]:
    """Lossless JPEG of every tile, row by row."""
    import imagecodecs

    for top in range(0, array.shape[0], _TILE):
        for left in range(0, array.shape[1], wide):
            part = array[top : top + _TILE, left : left + wide]
            tile = np.zeros((_TILE, wide, *array.shape[2:]), np.uint16)
            tile[: part.shape[0], : part.shape[1]] = part
            if array.ndim == 2:  # two colours of a row as two components
                tile = tile.reshape(_TILE, wide // 2, 2)
            # Predictor 1, the left neighbour: some readers know no other.
            yield bytes(imagecodecs.jpeg8_encode(tile, lossless=True, predictor=1, bitspersample=16))


def _fractions(kind: int, values: Sequence[float] | npt.NDArray[np.float64]) -> Tag:
    most = (2**31 - 1) // (int(max(abs(value) for value in values)) + 1)  # so that numerators fit
    pairs = [Fraction(float(value)).limit_denominator(min(most, 10**7)) for value in values]
    return Tag(kind, len(pairs), tuple(number for pair in pairs for number in (pair.numerator, pair.denominator)))
