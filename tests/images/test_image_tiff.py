"""TIFF in its many shapes, written by tifffile and Pillow, read by us, and the other way round."""

import struct

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from shotnoise.errors import PictureError
from shotnoise.images import Image, open_image, save_image

rng = np.random.default_rng(0)
COLOUR = rng.integers(0, 65536, (37, 53, 3), np.uint16)
ALPHA = rng.integers(0, 65536, (37, 53), np.uint16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.tif"


@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "f8"])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd", "tile": (16, 32)},
        {"compression": "packbits", "rowsperstrip": 5},
        {"byteorder": ">", "rowsperstrip": 7},
        {"bigtiff": True, "tile": (32, 16)},
    ],
    ids=str,
)
def test_layouts(path, dtype, layout):
    if dtype == "f8" and "predictor" in layout:
        layout = {"compression": "zlib"}
    array = (COLOUR >> 8).astype(dtype) if dtype == "u1" else (COLOUR / (65535 if dtype[0] == "f" else 1)).astype(dtype)
    tifffile.imwrite(path, array, photometric="rgb", **layout)
    image = open_image(path)
    assert image.pixels.dtype == (np.float32 if dtype[0] == "f" else dtype)
    assert np.array_equal(image.pixels, array.astype(image.pixels.dtype))
    assert image.notes == ()


@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"compression": "lzw"}], ids=str)
def test_separate_planes(path, layout):
    planes = np.moveaxis(np.dstack([COLOUR, ALPHA]), -1, 0)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"], **layout)
    image = open_image(path)
    assert np.array_equal(image.pixels, COLOUR)
    assert np.array_equal(image.alpha, ALPHA)


def test_gray_with_alpha(path):
    array = np.dstack([COLOUR[..., 0], ALPHA])
    tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    image = open_image(path)
    assert np.array_equal(image.pixels, COLOUR[..., 0])
    assert np.array_equal(image.alpha, ALPHA)


def test_a_fourth_sample_without_a_meaning_is_alpha(path):
    tifffile.imwrite(path, np.dstack([COLOUR, ALPHA]), photometric="rgb", extrasamples=["unspecified"])
    image = open_image(path)
    assert np.array_equal(image.alpha, ALPHA)
    assert image.notes == ("what its last sample means is not stated; it is kept as alpha",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_premultiplied_alpha_is_divided_out(path, dtype):
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    colour = rng.uniform(0, white, (9, 8, 3)).astype(dtype)
    alpha = rng.uniform(0.5 * white, white, (9, 8)).astype(dtype)
    alpha[0, 0] = 0
    product = colour.astype(np.float64) * alpha[..., None] / white
    stored = product.astype(dtype) if dtype == np.float32 else np.rint(product).astype(dtype)
    tifffile.imwrite(path, np.dstack([stored, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    image = open_image(path)
    assert image.notes == ("its colours were premultiplied with alpha; they were divided by it",)
    assert np.array_equal(image.alpha, alpha)
    assert image.pixels[0, 0].tolist() == [0, 0, 0]
    colour[0, 0] = 0
    # Half a step lost in the product is at most one step of the colour, as alpha is at least one half.
    assert np.abs(image.pixels.astype(np.float64) - colour).max() <= (1e-6 if dtype == np.float32 else 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
def test_white_is_zero(path, dtype):
    white = 1 if dtype in (np.float32, bool) else np.iinfo(dtype).max
    array = rng.uniform(0, white, (9, 16)).round().astype(dtype)
    tifffile.imwrite(path, array, photometric="miniswhite")
    expected = 255 * (1 - array.astype(int)) if dtype is bool else white - array
    assert np.array_equal(open_image(path).pixels, expected)


def test_bilevel(path):
    array = rng.integers(0, 2, (9, 21)).astype(bool)
    tifffile.imwrite(path, array, photometric="minisblack")
    assert np.array_equal(open_image(path).pixels, array * np.uint8(255))


@pytest.mark.parametrize(("scale", "dtype"), [(257, np.uint8), (256, np.uint8), (1, np.uint16)])
def test_palette(path, scale, dtype):
    indices = rng.integers(0, 256, (9, 21), np.uint8)
    table = rng.integers(0, 256, (3, 256), np.uint16)
    table[:, 0] = [255, 1, 77]
    tifffile.imwrite(path, indices, photometric="palette", colormap=(table * scale).astype(np.uint16))
    image = open_image(path)
    assert image.pixels.dtype == dtype
    assert np.array_equal(image.pixels, table.T[indices])


def test_palette_of_4_bits(path):
    picture = PIL.Image.fromarray(COLOUR.astype(np.uint8)).quantize(16)
    picture.save(path, bits=4)
    with PIL.Image.open(path) as again:
        expected = np.array(again.convert("RGB"))
    assert np.array_equal(open_image(path).pixels, expected)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "I;16", "F"])
def test_as_pillow_writes_it(path, mode, compression):
    if mode in ("I;16", "F"):
        picture = PIL.Image.fromarray(COLOUR[..., 0] if mode == "I;16" else rng.uniform(size=(9, 8)).astype("f4"))
    else:
        picture = PIL.Image.fromarray(np.dstack([COLOUR, ALPHA]).astype(np.uint8)).convert(mode)
    picture.save(path, compression=compression)
    assert np.array_equal(open_image(path).to_array(), picture.convert("L") if mode == "1" else picture)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_jpeg_inside(path, planar):
    row, column = np.mgrid[:64, :96]
    smooth = np.dstack([row * 3, column * 2, row + column]).astype(np.uint8)
    stored = smooth if planar == "contig" else np.moveaxis(smooth, -1, 0)
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, compression="jpeg")
    assert np.abs(open_image(path).pixels.astype(int) - smooth).mean() < 4


def test_several_pages(path):
    tifffile.imwrite(path, np.stack([COLOUR] * 4), photometric="rgb")
    image = open_image(path)
    assert np.array_equal(image.pixels, COLOUR)
    assert image.notes == ("it has 4 pages; only the first is used",)


def test_an_imagej_stack_without_pages(path):
    tifffile.imwrite(path, np.zeros((5, 8, 9), np.uint16), imagej=True)
    assert open_image(path).notes == ("it has 5 pages; only the first is used",)


def test_finite_values_outside_of_the_range_are_kept(path):
    array = np.array([[-0.5, 7.0, 1e30]], np.float32)
    tifffile.imwrite(path, array)
    assert np.array_equal(open_image(path).pixels, array)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_counted(path, value):
    array = np.zeros((4, 5, 3))
    array[1, 2, 0] = array[3, 3, :] = value
    tifffile.imwrite(path, array, photometric="rgb")
    with pytest.raises(PictureError, match=r"x\.tif: 2 of 20 pixels are not finite.*numpy\.nan_to_num"):
        open_image(path)


@pytest.mark.parametrize(
    ("array", "options", "words"),
    [
        (np.zeros((4, 5), np.int16), {}, r"16 bits \(signed integers\); expected 8 or 16 bits unsigned"),
        (np.zeros((4, 5), np.uint32), {}, r"32 bits \(unsigned integers\)"),
        (np.zeros((4, 5), np.int8), {}, r"8 bits \(signed integers\)"),
        (np.zeros((4, 5), np.complex64), {}, r"64 bits \(complex or other\)"),
        (np.zeros((4, 5), np.uint16), {"bitspersample": 12}, r"12 bits \(unsigned integers\)"),
        (np.zeros((4, 5, 4), np.uint8), {"photometric": "separated"}, "colours are SEPARATED; expected gray, RGB"),
        (np.zeros((4, 5, 3), np.uint8), {"photometric": "cielab"}, "colours are CIELAB"),
        (
            np.zeros((4, 5, 6), np.uint8),
            {"photometric": "rgb", "planarconfig": "contig"},
            "6 samples per pixel; expected 3",
        ),
        (np.zeros((2, 16, 16), np.uint8), {"volumetric": True, "tile": (2, 16, 16)}, "volume of 2 slices"),
        (np.zeros((4, 4), np.uint16), {"photometric": "cfa"}, "is a camera RAW/DNG file; expected PNG, JPEG, TIFF"),
        (np.zeros((4, 4), np.uint8), {"extratags": [(50706, 1, 4, b"\1\4\0\0", True)]}, "is a camera RAW/DNG file"),
        (np.zeros((4, 4), np.uint8), {"subfiletype": 1}, "begins with a reduced preview"),
    ],
)
def test_what_would_be_a_guess_is_refused(path, array, options, words):
    if options.get("photometric") == "cfa":
        pattern = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes([0, 1, 1, 2]), True)]
        options = {**options, "extratags": pattern}
    tifffile.imwrite(path, array, **options)
    with pytest.raises(PictureError, match=words):
        open_image(path)


def patch_tag(path, tag, value):
    """Write another number into a SHORT or LONG tag of a little-endian file with one directory."""
    data = bytearray(path.read_bytes())
    (offset,) = struct.unpack_from("<I", data, 4)
    for at in range(offset + 2, offset + 2 + 12 * struct.unpack_from("<H", data, offset)[0], 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into("<HII", data, at + 2, 4, 1, value)
            path.write_bytes(data)
            return
    raise AssertionError(f"no tag {tag}")


def test_a_missing_piece_is_not_filled_with_black(path):
    tifffile.imwrite(path, COLOUR, photometric="rgb")
    patch_tag(path, 279, 0)
    with pytest.raises(PictureError, match="cut-off TIFF file: 1 of 1 pieces of the picture are missing"):
        open_image(path)


def test_a_sparse_file_is_not_filled_with_black(path):
    with tifffile.TiffWriter(path) as writer:
        tiles = iter([np.ones((16, 16), np.uint8), None, None, np.ones((16, 16), np.uint8)])
        writer.write(tiles, shape=(32, 32), dtype=np.uint8, tile=(16, 16), compression="zlib")
    with pytest.raises(PictureError, match="2 of 4 pieces of the picture are missing"):
        open_image(path)


def test_tiles_larger_than_any_picture(path):
    tifffile.imwrite(path, COLOUR, photometric="rgb", tile=(64, 64), compression="zlib")
    patch_tag(path, 322, 2**20)
    patch_tag(path, 323, 2**20)
    with pytest.raises(PictureError, match="tiles of 1048576 x 1048576 pixels, more than the limit"):
        open_image(path)


def test_a_chain_of_pages_that_runs_in_a_circle(path):
    tifffile.imwrite(path, COLOUR, photometric="rgb", metadata=None)
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    start = len(data)
    struct.pack_into("<I", data, first + 2 + 12 * entries, start)
    for page in range(150):
        data += struct.pack("<HI", 0, start + 6 * ((page + 1) % 150))
    path.write_bytes(data)
    assert open_image(path).notes == ("it has 151 pages; only the first is used",)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_we_write_is_what_tifffile_reads(path, dtype, channels):
    array = np.dstack([COLOUR, ALPHA])[..., :channels].astype(dtype).squeeze()
    save_image(array, path)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert np.array_equal(page.asarray(), array)
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.predictor == (3 if dtype == np.float32 else 2)
        assert page.photometric == (2 if channels > 2 else 1)
        assert tuple(page.extrasamples) == ((2,) if channels in (2, 4) else ())


def test_pillow_reads_what_we_write(path):
    save_image(Image(COLOUR.astype(np.uint8), exif=None), path)
    with PIL.Image.open(path) as picture:
        assert np.array_equal(picture, COLOUR.astype(np.uint8))


def jpeg_tile(height, width, before=b""):
    """A JPEG of 16 x 16 pixels that says it has another size."""
    data = bytearray(imagecodecs.jpeg8_encode(np.zeros((16, 16), np.uint8)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data[:2]) + before + bytes(data[2:])


def write_tiles(path, tile, **options):
    tifffile.imwrite(
        path, iter([tile]), shape=(16, 16), dtype=np.uint8, photometric="minisblack", metadata=None, tile=(16, 16),
        compression=7, **options,
    )  # fmt: skip


def test_a_jpeg_inside_may_be_as_large_as_its_place(path):
    write_tiles(path, jpeg_tile(16, 16))
    assert not open_image(path).pixels.any()
    write_tiles(path, jpeg_tile(16, 16, before=b"\xff\xfe\0\7hello"))
    assert not open_image(path).pixels.any()


@pytest.mark.parametrize("before", [b"", b"\xff\xfe\0\7hello"])
def test_a_jpeg_inside_that_claims_gigabytes_is_refused_before_it_is_decoded(path, before, monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("decoded")

    write_tiles(path, jpeg_tile(65500, 65500, before))
    monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    with pytest.raises(
        PictureError, match=r"x\.tif: is a damaged TIFF file: a piece of it claims 4,290,250,000 pixels"
    ):
        open_image(path)


@pytest.mark.parametrize("before", [b"\0\0", b"\xff\xff\xff", b"\xff\xfe\0\2" * 70])
def test_a_jpeg_inside_that_hides_its_size_is_refused(path, before):
    write_tiles(path, jpeg_tile(65500, 65500, before))
    with pytest.raises(PictureError, match="a JPEG in it does not begin like one"):
        open_image(path)


def test_tiles_of_many_layers_are_refused(path):
    tifffile.imwrite(
        path, np.zeros((16, 16), np.uint8), photometric="minisblack", metadata=None, tile=(16, 16),
        compression="zlib", extratags=[(65000, 4, 1, 2_000_000, True)],
    )  # fmt: skip
    data = path.read_bytes()
    entry = struct.pack("<HHII", 65000, 4, 1, 2_000_000)
    assert data.count(entry) == 1
    path.write_bytes(data.replace(entry, struct.pack("<HHII", 32998, 4, 1, 2_000_000)))  # the depth of tiles
    with pytest.raises(PictureError, match="tiles of 16 x 16 pixels, more than the limit"):
        open_image(path)
