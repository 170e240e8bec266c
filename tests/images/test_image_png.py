"""PNG of every depth, built here chunk by chunk where no other program writes it."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from shotnoise.errors import PictureError
from shotnoise.images import Image, open_image, save_image

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def build(width, height, bits, colour, rows, *extra, interlaced=False):
    """A PNG file; `rows` are its scan lines, packed, without their filter byte."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def of_16_bits(array, *extra):
    colour = {1: GRAY, 2: GRAY_ALPHA, 3: RGB, 4: RGBA}[array.shape[2]]
    return build(array.shape[1], array.shape[0], 16, colour, [row.astype(">u2").tobytes() for row in array], *extra)


@pytest.fixture
def opened(tmp_path):
    def read(data):
        (tmp_path / "x.png").write_bytes(data)
        return open_image(tmp_path / "x.png")

    return read


@pytest.fixture
def random16():
    return np.random.default_rng(0).integers(0, 65536, (11, 7, 4), np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_are_all_kept(opened, random16, channels):
    array = random16[..., :channels]
    image = opened(of_16_bits(array))
    assert image.pixels.dtype == np.uint16
    assert np.array_equal(np.atleast_3d(image.to_array()), array)


def test_16_bits_interlaced(opened, random16):
    array = random16[..., :3]
    rows = []
    for top, left, down, right in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]:
        rows += [row.astype(">u2").tobytes() for row in array[top::down, left::right] if row.size]
    rows += [row.astype(">u2").tobytes() for row in array[1::2]]
    assert np.array_equal(opened(build(7, 11, 16, RGB, rows, interlaced=True)).pixels, array)


def test_16_bit_colour_key_becomes_alpha(opened, random16):
    array = random16[..., :3]
    key = array[4, 5]
    image = opened(of_16_bits(array, chunk(b"tRNS", key.astype(">u2").tobytes())))
    expected = np.full((11, 7), 65535)
    expected[4, 5] = 0
    assert np.array_equal(image.alpha, expected)
    assert np.array_equal(image.pixels, array)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_gray_fill_the_range(opened, bits):
    per_byte = 8 // bits
    values = np.random.default_rng(bits).integers(0, 2**bits, (5, 2 * per_byte))
    packed = [
        bytes(sum(int(v) << 8 - bits * (i + 1) for i, v in enumerate(group)) for group in row.reshape(2, per_byte))
        for row in values
    ]
    assert np.array_equal(opened(build(2 * per_byte, 5, bits, GRAY, packed)).pixels, values * 255 // (2**bits - 1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_palette_becomes_colour(opened, bits, transparent):
    rng = np.random.default_rng(bits)
    palette = rng.integers(0, 256, (2**bits, 3), np.uint8)
    alphas = rng.integers(0, 256, 2**bits, np.uint8)
    indices = rng.integers(0, 2**bits, (6, 8))
    packed = [np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1).tobytes() for row in indices]
    extra = [chunk(b"PLTE", palette.tobytes())] + [chunk(b"tRNS", alphas.tobytes())] * transparent
    image = opened(build(8, 6, bits, PALETTE, packed, *extra))
    assert np.array_equal(image.pixels, palette[indices])
    assert (image.alpha is not None) == transparent
    if transparent:
        assert np.array_equal(image.alpha, alphas[indices])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_8_bits_as_pillow_reads_and_writes_them(opened, tmp_path, mode):
    array = np.random.default_rng(0).integers(0, 256, (9, 13, 4), np.uint8)[..., : len(mode)].squeeze()
    stream = io.BytesIO()
    PIL.Image.fromarray(array, None).save(stream, "PNG")
    image = opened(stream.getvalue())
    assert np.array_equal(image.to_array(), array)
    save_image(image, tmp_path / "out.png")
    with PIL.Image.open(tmp_path / "out.png") as again:
        assert again.mode == mode
        assert np.array_equal(again, array)


def test_transparent_colours_are_kept(opened):
    array = np.random.default_rng(0).integers(0, 256, (4, 4, 4), np.uint8)
    array[..., 3] = 0
    assert np.array_equal(opened(of_8_bits_rgba(array)).pixels, array[..., :3])


def of_8_bits_rgba(array):
    return build(array.shape[1], array.shape[0], 8, RGBA, [row.tobytes() for row in array])


@pytest.mark.parametrize("bits", [8, 16])
def test_every_cut_is_found(opened, tmp_path, bits):
    array = np.random.default_rng(0).integers(0, 2**bits, (5, 6, 3)).astype(f"u{bits // 8}")
    save_image(Image(array), tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    for length in range(1, len(data)):
        with pytest.raises(PictureError, match=r"x\.png: is (a damaged or |a )?(cut-off PNG|not a picture)"):
            opened(data[:length])


@pytest.mark.parametrize("bits", [8, 16])
def test_every_flipped_byte_is_found(opened, tmp_path, bits):
    array = np.random.default_rng(0).integers(0, 2**bits, (4, 3, 3)).astype(f"u{bits // 8}")
    save_image(Image(array), tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    for at in range(len(data)):
        with pytest.raises(PictureError, match=r"x\.png: "):
            opened(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])


def test_too_few_pixels_inside_a_whole_file(opened, random16):
    rows = [row.astype(">u2").tobytes() for row in random16[:-1]]
    with pytest.raises(PictureError, match="cannot be decoded as PNG"):
        opened(build(7, 11, 16, RGBA, rows))


def test_a_header_that_promises_more_than_deflate_can_hold(opened):
    with pytest.raises(PictureError, match=r"cut-off PNG file: \d+ bytes cannot hold 16000 x 16000 pixels"):
        opened(build(16000, 16000, 16, RGBA, [b"\0" * 64]))


def test_a_damaged_profile_is_dropped_with_a_note(opened, random16):
    image = opened(of_16_bits(random16, chunk(b"iCCP", b"x\0\0not deflate")))
    assert image.icc is None
    assert image.notes == ("its colour profile is damaged and was dropped",)


def test_a_profile_that_inflates_without_end(opened, random16):
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 2**25, 9))
    assert opened(of_16_bits(random16, bomb)).icc is None


def test_an_animation_gives_its_still_picture(opened, random16):
    image = opened(of_16_bits(random16, chunk(b"acTL", struct.pack(">II", 2, 0))))
    assert image.notes == ("it is animated; only its still picture is used",)
