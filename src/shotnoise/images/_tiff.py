"""TIFF with 8 or 16 bits or floating point, through tifffile.

tifffile is made for arrays: it hands out the samples as they are stored. What makes a picture of them happens here
(palettes, white as zero, premultiplied alpha, separate planes), and everything that would be a guess is refused.
"""

import math
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images import _exif
from shotnoise.images._decoding import Decoded, check_size, decoding
from shotnoise.images.image import Image, full_scale

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["read", "write"]

_PHOTOMETRIC, _ICC, _DNG_VERSION = 262, 34675, 50706
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_SENSOR = (32803, 34892)  # colour filter array, linear raw
_JPEG = (6, 7, 33007)  # compressions whose decoder turns YCbCr into RGB
_ROOM, _SMALL = 4, 2**20  # times as many pixels as its place has, and pixels, that a JPEG may say it holds
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG markers that state a size
_SEGMENTS = 64  # of a JPEG before that
_DEPTHS = (("b", 1), ("u", 8), ("u", 16), ("f", 16), ("f", 32), ("f", 64))  # kind and bits of a sample
_PREMULTIPLIED, _ALPHA = 1, 2  # meanings of an extra sample; 0 is "not stated"


def read(file: BinaryIO, max_pixels: int) -> Decoded:
    """The first page of a TIFF file."""
    import tifffile

    notes: list[str] = []
    with (
        decoding("TIFF"),
        # Off: walks through the whole file that three microscope formats ask for; one page is enough here.
        tifffile.TiffFile(file, is_lsm=False, is_ndpi=False, is_scanimage=False) as tiff,
    ):
        page = tiff.pages.first
        _refuse_raw(page, file)
        check_size(page.imagewidth, page.imagelength, max_pixels)
        colours = _colours(page)
        _check_segments(page, file, max_pixels)
        stored = page.asarray(squeeze=False)  # (S, 1, H, W, 1) separate planes or (1, 1, H, W, S)
        array = np.moveaxis(stored[:, 0, :, :, 0], 0, -1) if stored.shape[0] > 1 else stored[0, 0]
        if page.photometric == _PALETTE:
            array = _look_up(array[..., 0], page)
        elif page.photometric == _WHITE_IS_ZERO:
            array[..., 0] = _inverted(array[..., 0])
        if array.shape[2] > colours:
            array = _with_plain_alpha(array, page, notes)
        icc = page.tags.valueof(_ICC)
        pages = max(_exif.count_pages(file), int((tiff.imagej_metadata or {}).get("images", 1)))
    if pages > 1:
        notes.append(f"it has {pages} pages; only the first is used")
    try:
        exif = _exif.from_tiff(file)
    except ValueError:
        exif = None
        notes.append("its EXIF is damaged and was dropped")
    return Decoded(array, icc if isinstance(icc, bytes) else None, exif, tuple(notes))


def write(image: Image, file: BinaryIO, quality: int) -> tuple[str, ...]:
    """Lossless: deflate with predictor; ICC profile and EXIF go along. `quality` has no meaning here."""
    import tifffile

    tifffile.imwrite(
        file,
        image.to_array(),
        byteorder=_exif.byte_order(image.exif),  # values inside the EXIF stay as they are
        photometric="rgb" if image.channels == 3 else "minisblack",
        planarconfig=None if image.channels == 1 and image.alpha is None else "contig",
        extrasamples=None if image.alpha is None else [_ALPHA],
        compression="adobe_deflate",
        predictor=True,
        iccprofile=image.icc,
        metadata=None,
        software=False,
    )
    if image.exif is not None:
        try:
            _exif.attach(file, image.exif)
        except ValueError:
            return ("the EXIF was dropped: it is damaged, or the TIFF is larger than 4 GB",)
    return ()


def _refuse_raw(page: "TiffPage", file: BinaryIO) -> None:
    """Camera files are TIFF inside; their first page may be nothing but a small preview."""
    file.seek(8)
    if _DNG_VERSION in page.tags or page.photometric in _SENSOR or file.read(2) == b"CR":  # the latter: Canon
        raise PictureError("is a camera RAW/DNG file; expected PNG, JPEG, TIFF or NPY (open_raw reads camera files)")
    if page.subfiletype & 1:  # Nikon, Sony and others
        raise PictureError(
            "begins with a reduced preview, as camera RAW files do; expected PNG, JPEG, NPY or TIFF whose first page "
            "is the picture (open_raw reads camera files)"
        )


def _colours(page: "TiffPage") -> int:
    """Colour samples per pixel (1 or 3), after everything that is no plain gray, RGB or palette was refused."""
    kind = "?" if page.dtype is None else page.dtype.kind
    bits = page.bitspersample
    if page.imagedepth != 1:
        raise PictureError(f"is a TIFF volume of {page.imagedepth} slices per page; expected a picture")
    if (kind, bits) not in _DEPTHS and not (page.photometric == _PALETTE and kind in "bu"):
        words = {"i": "signed integers", "u": "unsigned integers", "f": "floating point"}.get(kind, "complex or other")
        raise PictureError(
            f"has TIFF samples of {bits} bits ({words}); expected 8 or 16 bits unsigned, or 16, 32 or 64 bits "
            "floating point: convert it first"
        )
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1}.get(page.photometric, 0)
    if page.photometric == _YCBCR and page.compression in _JPEG:
        colours = 3
    if not colours or (_PHOTOMETRIC not in page.tags and page.photometric != _YCBCR):
        name = getattr(page.photometric, "name", page.photometric) if _PHOTOMETRIC in page.tags else "not stated"
        raise PictureError(f"is a TIFF whose colours are {name}; expected gray, RGB or palette: convert it first")
    extra = page.samplesperpixel - colours
    if not 0 <= extra <= (page.photometric != _PALETTE):
        raise PictureError(
            f"is a TIFF with {page.samplesperpixel} samples per pixel; expected {colours}, or {colours + 1} with alpha"
        )
    return colours


def _check_segments(page: "TiffPage", file: BinaryIO, max_pixels: int) -> None:
    """Every strip or tile must be in the file: tifffile fills missing ones with zeros, which looks like a picture."""
    end = file.seek(0, 2)
    expected = math.prod(page.chunked)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    present = sum(offset > 0 and size > 0 and offset + size <= end for offset, size in segments)
    if present < expected:
        raise PictureError(
            f"is a cut-off TIFF file: {expected - present} of {expected} pieces of the picture are missing"
        )
    if page.is_tiled and page.tilewidth * page.tilelength * page.tiledepth > max_pixels:
        raise PictureError(f"is a TIFF with tiles of {page.tilewidth} x {page.tilelength} pixels, more than the limit")
    if page.compression in _JPEG:
        high, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        most = max(_ROOM * min(high, page.imagelength) * wide, _SMALL)
        for offset, size in segments:
            claimed = _jpeg_pixels(file, offset, offset + size)
            if claimed > most:
                raise PictureError(f"is a damaged TIFF file: a piece of it claims {claimed:,} pixels")


def _jpeg_pixels(file: BinaryIO, at: int, end: int) -> int:
    """How many a JPEG stream says it holds, for which its decoder takes memory; 0 where it will find no frame."""
    file.seek(at)
    if file.read(2) != b"\xff\xd8":
        return 0
    at += 2
    for _ in range(_SEGMENTS):
        file.seek(at)
        head = file.read(9)
        if at + 9 > end or len(head) < 9 or head[1] in (0xD9, 0xDA):
            return 0
        if head[0] != 0xFF or head[1] == 0xFF:
            break
        if head[1] in _FRAMES:
            height, width = struct.unpack_from(">HH", head, 5)
            return int(height * width)
        at += 2 + struct.unpack_from(">H", head, 2)[0]
    raise PictureError("is a damaged TIFF file: a JPEG in it does not begin like one")


def _look_up(indices: npt.NDArray[Any], page: "TiffPage") -> npt.NDArray[Any]:
    """Palette indices -> RGB; 8 bits if the palette has no more than that in it, else 16."""
    palette = page.colormap
    if palette is None:
        raise PictureError("is a palette TIFF without a palette")
    table = np.ascontiguousarray(palette.T)  # (entries, 3) of 16 bits
    for step in (257, 256):  # the right way to write 8 bits as 16, and the common wrong way
        if not (table % step).any() and table.max() // step <= 255:
            table = (table // step).astype(np.uint8)
            break
    return table[indices.astype(np.intp)]


def _inverted(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if samples.dtype.kind == "b":
        return ~samples
    inverted: npt.NDArray[Any] = samples.dtype.type(full_scale(samples.dtype)) - samples
    return inverted


def _with_plain_alpha(array: npt.NDArray[Any], page: "TiffPage", notes: list[str]) -> npt.NDArray[Any]:
    """The last sample as alpha that has not been multiplied into the colours."""
    meaning = page.extrasamples[0] if page.extrasamples else 0
    if meaning not in (_PREMULTIPLIED, _ALPHA):
        notes.append("what its last sample means is not stated; it is kept as alpha")
    if meaning != _PREMULTIPLIED:
        return array
    notes.append("its colours were premultiplied with alpha; they were divided by it")
    white = full_scale(array.dtype)
    alpha = array[..., -1:].astype(np.float32)
    plain = np.zeros(array[..., :-1].shape, np.float32)
    np.divide(array[..., :-1] * np.float32(white), alpha, out=plain, where=alpha > 0)
    if array.dtype.kind != "f":
        plain = np.floor(np.clip(plain, 0, white) + np.float32(0.5))
    return np.concatenate([plain.astype(array.dtype), array[..., -1:]], axis=-1)
