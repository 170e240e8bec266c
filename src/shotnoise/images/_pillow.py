"""The formats for looking at that Pillow decodes: JPEG, WebP, BMP, PPM; and JPEG and WebP out.

Pillow's own opener refuses pictures by a limit that belongs to the whole process. Here the classes of the formats
are used directly, so that the limit is the caller's.
"""

import importlib
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images._decoding import Decoded, check_size, decoding
from shotnoise.images.image import Image

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["read_bmp", "read_jpeg", "read_ppm", "read_webp", "write_jpeg", "write_webp"]

# The most pixels that a byte of a file can stand for, by Pillow's decoder: a file that is far too small for the
# size it claims is refused before the memory for its pixels is taken.
_PIXELS_PER_BYTE = {"raw": 8, "ppm": 8, "ppm_plain": 8, "jpeg": 1024}
_SEGMENT = 65533  # bytes that fit into a JPEG segment


def read_jpeg(file: BinaryIO, max_pixels: int) -> Decoded:
    """Gray, RGB, or CMYK (which becomes RGB) with 8 bits."""
    return _read(file, max_pixels, "JPEG", "JpegImagePlugin", "JpegImageFile")


def read_bmp(file: BinaryIO, max_pixels: int) -> Decoded:
    """Any BMP, as RGB or gray with 8 bits."""
    return _read(file, max_pixels, "BMP", "BmpImagePlugin", "BmpImageFile")


def read_ppm(file: BinaryIO, max_pixels: int) -> Decoded:
    """PBM, PGM with 8 or 16 bits, PPM with 8 bits, gray PFM."""
    return _read(file, max_pixels, "PPM", "PpmImagePlugin", "PpmImageFile")


def read_webp(file: BinaryIO, max_pixels: int) -> Decoded:
    """The first frame of a WebP."""
    head = file.read(30)
    file.seek(0)
    if len(head) == 30:
        check_size(*_webp_size(head), max_pixels)  # here, because the decoder takes its memory when it is made
    return _read(file, max_pixels, "WebP", "WebPImagePlugin", "WebPImageFile")


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height from the first 30 bytes of a file, by the kind of its first chunk."""
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _read(file: BinaryIO, max_pixels: int, kind: str, module: str, opener: str) -> Decoded:
    notes: list[str] = []
    with decoding(kind):
        picture: ImageFile = getattr(importlib.import_module(f"PIL.{module}"), opener)(file)
        check_size(picture.width, picture.height, max_pixels)
        _check_claim(picture, file, kind)
        if getattr(picture, "n_frames", 1) > 1:
            notes.append("it is animated; only its first picture is used")
        picture.load()
        icc, exif = picture.info.get("icc_profile"), picture.info.get("exif")
        if picture.mode == "CMYK":
            notes.append("its CMYK inks became RGB without colour management")
            icc = None  # it describes inks
        array = _samples(picture)
    while exif is not None and exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    return Decoded(array, icc, exif or None, tuple(notes))


def _check_claim(picture: "ImageFile", file: BinaryIO, kind: str) -> None:
    if not picture.tile:
        return
    decoder, arguments = picture.tile[0][0], picture.tile[0][3]
    most = _PIXELS_PER_BYTE.get(decoder)
    at = file.tell()
    size = file.seek(0, 2)
    file.seek(at)
    if most is not None and picture.width * picture.height > size * most:
        raise PictureError(
            f"is a cut-off {kind} file: {size:,} bytes cannot hold {picture.width} x {picture.height} pixels"
        )
    if kind == "PPM" and picture.mode == "RGB" and isinstance(arguments, tuple) and arguments[1] > 255:
        raise PictureError("is a PPM with 16 bits per colour, of which 8 would be lost: convert it to PNG or TIFF")


def _samples(picture: "ImageFile") -> npt.NDArray[Any]:
    """Pixels of a loaded picture as (H, W) or (H, W, 2, 3 or 4)."""
    if picture.mode in ("L", "LA", "RGB", "RGBA", "F"):
        return np.array(picture)
    if picture.mode == "1":
        return np.array(picture.convert("L"))
    if picture.mode in ("P", "CMYK"):
        return np.array(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
    if picture.mode in ("I", "I;16", "I;16B"):  # PGM: Pillow stretches any white level to 65535
        return np.array(picture).astype(np.uint16)
    raise PictureError(f"has pixels of kind {picture.mode}; expected gray, RGB, palette or CMYK")


def write_jpeg(image: Image, file: BinaryIO, quality: int) -> tuple[str, ...]:
    """8 bits; full chroma resolution from quality 90 on.

    Not through Pillow: with optimised Huffman tables it fails on noisy pictures, whose files can be larger than the
    buffer it sets aside.
    """
    import imagecodecs

    data = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(image.pixels), quality, subsampling="444" if quality >= 90 else "420", optimize=True
    )
    after_header = 4 + int.from_bytes(data[4:6], "big")  # start mark and JFIF segment
    file.write(data[:after_header])
    notes: list[str] = []
    if image.exif is not None:
        content = b"Exif\0\0" + image.exif
        if len(content) <= _SEGMENT:
            file.write(_segment(0xE1, content))
        else:
            notes.append(f"the EXIF was dropped: it has {len(content):,} bytes and JPEG holds 64 kB of it")
    if image.icc is not None:
        step = _SEGMENT - 14
        parts = [image.icc[at : at + step] for at in range(0, len(image.icc), step)]
        if len(parts) > 255:
            notes.append(f"the colour profile was dropped: it has {len(image.icc):,} bytes and JPEG holds 16 MB of it")
            parts = []
        for number, part in enumerate(parts, 1):
            file.write(_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part))
    file.write(data[after_header:])
    return tuple(notes)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def write_webp(image: Image, file: BinaryIO, quality: int) -> tuple[str, ...]:
    """8 bits; quality 100 means lossless."""
    from PIL import Image as PillowImage

    PillowImage.fromarray(image.to_array()).save(
        file,
        "WEBP",
        quality=quality,
        lossless=quality == 100,
        exact=True,  # keeps the colours where alpha is 0
        icc_profile=image.icc or b"",
        exif=image.exif or b"",
    )
    return ()
