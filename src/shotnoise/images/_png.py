"""PNG with 1 to 16 bits. The codec sees only pixels; the chunks around them are read, checked and written here.

Pillow is not used, because it cuts 16-bit colour down to 8 bits.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from shotnoise.errors import PictureError
from shotnoise.images._decoding import Decoded, check_size, decoding
from shotnoise.images.image import Image

__all__ = ["SIGNATURE", "read", "write"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_ESSENTIAL = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by colour type
_BEST_DEFLATE = 1032  # the most bytes that one byte of a deflate stream can stand for
_MOST_PROFILE = 2**24  # bytes; a colour profile has kilobytes, a decompression bomb gigabytes
_LEVEL = 4  # of zlib: at 16 bits 4 times as fast as its default of 6, for files 6 % larger


def read(file: BinaryIO, max_pixels: int) -> Decoded:
    """Pixels, ICC profile and EXIF of a PNG file, after its checksums have been verified."""
    head = file.read(33)
    if len(head) < 33 or head[12:16] != b"IHDR":
        raise PictureError("is a damaged or cut-off PNG file (no header)")
    width, height, bits, colour = struct.unpack_from(">IIBB", head, 16)
    check_size(width, height, max_pixels)
    data = head + file.read()
    icc: bytes | None = None
    exif: bytes | None = None
    notes: list[str] = []
    essential: list[bytes | memoryview] = [SIGNATURE]
    compressed = 0
    for name, content, whole in _chunks(data):
        if name in _ESSENTIAL:
            essential.append(whole)
        if name == b"IDAT":
            compressed += len(content)
        elif name == b"iCCP":
            icc = _profile(bytes(content))
            if icc is None:
                notes.append("its colour profile is damaged and was dropped")
        elif name == b"eXIf":
            exif = bytes(content).removeprefix(b"Exif\0\0")
        elif name == b"acTL":
            notes.append("it is animated; only its still picture is used")
    needed = height * (width * bits * _SAMPLES.get(colour, 1) // 8)
    if needed > compressed * _BEST_DEFLATE:
        raise PictureError(f"is a cut-off PNG file: {compressed:,} bytes cannot hold {width} x {height} pixels")
    with decoding("PNG"):
        import imagecodecs

        array = imagecodecs.png_decode(b"".join(essential))
    return Decoded(array, icc, exif, tuple(notes))


def write(image: Image, file: BinaryIO, quality: int) -> tuple[str, ...]:
    """Pixels and alpha at 8 or 16 bits, ICC profile, EXIF; `quality` has no meaning here."""
    import imagecodecs

    array = np.ascontiguousarray(image.to_array())
    rows = len(array) * (1 + array[0].nbytes)
    # The codec's own estimate of the space it needs is too small for narrow pictures of noise.
    data = imagecodecs.png_encode(array, _LEVEL, out=rows + rows // 256 + 1024)
    after_header = len(SIGNATURE) + 25
    file.write(data[:after_header])
    if image.icc is not None:
        file.write(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(image.icc, 9)))
    if image.exif is not None:
        file.write(_chunk(b"eXIf", image.exif))
    file.write(data[after_header:])
    return ()


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Name, content and whole of every chunk up to the end mark; PictureError at the first one that is damaged.

    Checked here, because the decoders stop reading as soon as they have all pixels.
    """
    view = memoryview(data)
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise PictureError(f"is a damaged PNG file: the checksum of chunk {name.decode('latin-1')!a} is wrong")
        yield name, view[at + 8 : end], view[at : end + 4]
        if name == b"IEND":
            return
        at = end + 4
    raise PictureError("is a cut-off PNG file: its end is missing")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _profile(content: bytes) -> bytes | None:
    """The profile inside an iCCP chunk (name, zero, method, deflate stream), or None if it is damaged."""
    _, _, stream = content.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(stream[1:], _MOST_PROFILE)
    except zlib.error:
        return None
    return profile if inflate.eof else None
