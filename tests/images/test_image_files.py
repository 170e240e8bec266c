"""Opening by content, saving by extension, and what the notes say."""

import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import shotnoise.images
from shotnoise.errors import PictureError
from shotnoise.images import READABLE, WRITABLE, Image, open_image, save_image


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (19, 23, 3), np.uint8)


def sizes():
    side = st.integers(1, 40)
    return st.tuples(side, side) | st.tuples(st.just(1), side) | st.tuples(side, st.just(1))


@st.composite
def pictures(draw, dtypes):
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = (*draw(sizes()), draw(st.integers(1, 4)))
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False) if dtype.kind == "f" else None
    return Image.from_array(draw(hnp.arrays(dtype, shape, elements=finite)))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([".png", ".tif", ".npy"]))
def test_lossless_formats_give_back_what_they_got(tmp_path_factory, data, extension):
    depths = [np.uint8, np.uint16] + [np.float32] * (extension != ".png")
    picture = data.draw(pictures(depths))
    path = tmp_path_factory.getbasetemp() / f"identity{extension}"
    assert save_image(picture, path) == ()
    again = open_image(path)
    assert again.notes == ()
    assert again.pixels.dtype == picture.pixels.dtype
    assert np.array_equal(again.to_array(), picture.to_array())
    assert again.pixels.flags.c_contiguous
    assert again.pixels.flags.writeable


@pytest.mark.parametrize("extension", WRITABLE)
def test_the_content_decides_not_the_name(tmp_path, colour, extension):
    save_image(colour, tmp_path / f"x{extension}", quality=100)
    os.rename(tmp_path / f"x{extension}", tmp_path / "x.bin")
    image = open_image(tmp_path / "x.bin")
    assert np.abs(image.pixels.astype(int) - colour).max() <= (3 if extension in (".jpg", ".jpeg") else 0)


@pytest.mark.parametrize("extension", [e.upper() for e in WRITABLE])
def test_extensions_in_capitals(tmp_path, colour, extension):
    assert save_image(colour, tmp_path / f"X{extension}") == ()
    assert open_image(tmp_path / f"X{extension}").pixels.shape == colour.shape


def test_what_can_be_written_can_be_read():
    assert set(WRITABLE) <= set(READABLE)


@pytest.mark.parametrize(("quality", "sampling"), [(89, (2, 2)), (90, (1, 1)), (100, (1, 1)), (1, (2, 2))])
def test_jpeg_as_pillow_would_write_it(tmp_path, colour, quality, sampling):
    save_image(colour, tmp_path / "x.jpg", quality=quality)
    PIL.Image.fromarray(colour).save(tmp_path / "pillow.jpg", quality=quality, subsampling=0 if quality >= 90 else 2)
    with PIL.Image.open(tmp_path / "x.jpg") as ours, PIL.Image.open(tmp_path / "pillow.jpg") as theirs:
        assert ours.layer[0][1:3] == sampling
        assert np.array_equal(ours, theirs)
    assert np.array_equal(open_image(tmp_path / "x.jpg").pixels, open_image(tmp_path / "pillow.jpg").pixels)


def test_jpeg_of_pure_noise(tmp_path):
    """Optimised tables on noise: the file is larger than the buffer that Pillow sets aside, and Pillow fails."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    assert save_image(noise, tmp_path / "x.jpg", quality=100) == ()
    assert np.abs(open_image(tmp_path / "x.jpg").pixels.astype(int) - noise).mean() < 2


@pytest.mark.parametrize("extension", WRITABLE)
@pytest.mark.parametrize("shape", [(1, 1), (1, 999), (999, 1), (999, 1, 3), (999, 2, 4), (7, 5, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_does_not_compress_and_still_fits(tmp_path, extension, shape, dtype):
    noise = np.random.default_rng(0).integers(0, 65536, shape).astype(dtype)
    save_image(noise, tmp_path / f"x{extension}", quality=100)
    assert open_image(tmp_path / f"x{extension}").pixels.shape[:2] == shape[:2]


def test_gray_jpeg(tmp_path, colour):
    PIL.Image.fromarray(colour[..., 0]).save(tmp_path / "x.jpg")
    assert open_image(tmp_path / "x.jpg").channels == 1
    save_image(open_image(tmp_path / "x.jpg"), tmp_path / "y.jpg")
    assert open_image(tmp_path / "y.jpg").channels == 1


def test_inks_become_rgb_with_a_note(tmp_path, colour):
    picture = PIL.Image.fromarray(colour).convert("CMYK")
    picture.save(tmp_path / "x.jpg", quality=100, icc_profile=b"a profile of inks")
    with PIL.Image.open(tmp_path / "x.jpg") as stored:
        expected = np.array(stored.convert("RGB"))
    image = open_image(tmp_path / "x.jpg")
    assert np.array_equal(image.pixels, expected)
    assert image.icc is None
    assert image.notes == ("its CMYK inks became RGB without colour management",)


def test_lossless_webp(tmp_path, colour):
    picture = Image(colour, colour[..., 0])
    assert save_image(picture, tmp_path / "x.webp", quality=100) == ()
    assert np.array_equal(open_image(tmp_path / "x.webp").to_array(), picture.to_array())


def test_lossy_webp_keeps_alpha(tmp_path, colour):
    save_image(Image(colour, colour[..., 0]), tmp_path / "x.webp", quality=50)
    image = open_image(tmp_path / "x.webp")
    assert np.array_equal(image.alpha, colour[..., 0])
    assert not np.array_equal(image.pixels, colour)


def test_animated_webp_gives_its_first_picture(tmp_path, colour):
    frames = [PIL.Image.fromarray(colour), PIL.Image.fromarray(255 - colour)]
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    image = open_image(tmp_path / "x.webp")
    assert np.array_equal(image.pixels, colour)
    assert image.notes == ("it is animated; only its first picture is used",)


@pytest.mark.parametrize(
    ("extension", "mode"), [(".bmp", m) for m in ("1", "L", "P", "RGB")] + [(".ppm", m) for m in ("1", "L", "RGB")]
)
def test_simple_formats(tmp_path, colour, extension, mode):
    picture = PIL.Image.fromarray(colour).convert(mode)
    picture.save(tmp_path / f"x{extension}")
    expected = np.array(picture.convert("L" if mode == "1" else "RGB" if mode == "P" else mode))
    assert np.array_equal(open_image(tmp_path / f"x{extension}").pixels, expected)


def test_16_bit_graymap(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (5, 6))
    (tmp_path / "x.pgm").write_bytes(b"P5\n6 5\n65535\n" + values.astype(">u2").tobytes())
    image = open_image(tmp_path / "x.pgm")
    assert image.pixels.dtype == np.uint16
    assert np.array_equal(image.pixels, values)


def test_16_bit_pixmap_is_not_cut_down_in_silence(tmp_path):
    (tmp_path / "x.ppm").write_bytes(b"P6\n2 2\n65535\n" + bytes(24))
    with pytest.raises(PictureError, match="PPM with 16 bits per colour, of which 8 would be lost: convert it to PNG"):
        open_image(tmp_path / "x.ppm")


def test_float_graymap(tmp_path):
    values = np.array([[0.5, -1], [2, 3]], "<f4")
    (tmp_path / "x.pfm").write_bytes(b"Pf\n2 2\n-1.0\n" + values[::-1].tobytes())
    assert np.array_equal(open_image(tmp_path / "x.pfm").pixels, values)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f2", ">f4", "<f8", "?"])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (7, 5, 2), (7, 5, 3), (7, 5, 4)])
def test_numpy_files(tmp_path, shape, dtype, order):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    image = open_image(tmp_path / "x.npy")
    assert np.array_equal(image.to_array(), (array.squeeze() * (255 if dtype == "?" else 1)))
    assert image.pixels.dtype == {"u": f"u{array.itemsize}", "f": "f4", "b": "u1"}[array.dtype.kind]


def test_a_numpy_file_of_python_2(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2L, 3L), }".ljust(117) + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(6))
    assert open_image(tmp_path / "x.npy").pixels.shape == (2, 3)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 40, 50), np.uint8), r"shape \(3, 40, 50\); expected \(H, W\).*channels last"),
        (np.zeros(5, np.uint8), r"shape \(5,\); expected"),
        (np.zeros((0, 5), np.uint8), r"shape \(0, 5\); expected a picture that is not empty"),
        (np.zeros((4, 5), np.int32), "type int32; expected uint8, uint16, bool or floating point"),
        (np.zeros((4, 5), np.uint32), "type uint32; expected"),
        (np.zeros((4, 5), np.int16), "type int16; expected"),
        (np.zeros((4, 5), [("→", "u1")]), r"NPY file of version \(3, 0\)"),
        (np.array([[1.0, np.nan, np.inf]]), "2 of 3 pixels are not finite"),
    ],
)
def test_numpy_files_that_are_no_pictures(tmp_path, array, words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # numpy's hint about version 3
        np.save(tmp_path / "x.npy", array)
    with pytest.raises(PictureError, match=rf"x\.npy: .*{words}"):
        open_image(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("dtype", "extension", "note"),
    [
        (np.uint16, ".jpg", "16-bit pixels became 8-bit: JPEG cannot hold more"),
        (np.uint16, ".webp", "16-bit pixels became 8-bit: WebP cannot hold more"),
        (np.float32, ".jpg", "floating-point pixels became 8-bit: JPEG cannot hold more"),
        (np.float32, ".png", "floating-point pixels became 16-bit: PNG cannot hold more"),
    ],
)
def test_lost_depth_is_named(tmp_path, dtype, extension, note):
    white = 1 if dtype == np.float32 else 65535
    pixels = np.full((4, 5, 3), white, dtype)
    assert save_image(pixels, tmp_path / f"x{extension}") == (note,)
    image = open_image(tmp_path / f"x{extension}")
    assert (image.pixels == np.iinfo(image.pixels.dtype).max).all()


def test_clipped_values_are_counted(tmp_path):
    pixels = np.array([[-1, 0.5, 1.5, 1]], np.float32)
    (note,) = save_image(Image(pixels, np.ones((1, 4), np.float32)), tmp_path / "x.png")
    assert note.endswith("; 2 values outside 0..1 were clipped")
    assert open_image(tmp_path / "x.png").to_array().tolist() == [
        [[0, 65535], [32768, 65535], [65535, 65535], [65535, 65535]]
    ]


def test_lost_alpha_is_named(tmp_path, colour):
    assert save_image(Image(colour, colour[..., 0]), tmp_path / "x.jpg") == (
        "the alpha channel was dropped: JPEG cannot hold it",
    )


@pytest.mark.parametrize("extension", WRITABLE)
@pytest.mark.parametrize("gray", [True, False])
def test_pixels_that_lie_scattered_in_memory(tmp_path, colour, extension, gray):
    pixels = np.flip(colour.swapaxes(0, 1)[..., 0] if gray else colour.swapaxes(0, 1), axis=1)
    save_image(Image(pixels), tmp_path / f"a{extension}")
    save_image(Image(np.ascontiguousarray(pixels)), tmp_path / f"b{extension}")
    assert (tmp_path / f"a{extension}").read_bytes() == (tmp_path / f"b{extension}").read_bytes()


def test_arrays_of_float64_and_bool(tmp_path):
    save_image(np.array([[0.25, 0.5]]), tmp_path / "x.tif")
    assert open_image(tmp_path / "x.tif").pixels.tolist() == [[0.25, 0.5]]
    save_image(np.array([[True, False]]), tmp_path / "x.png")
    assert open_image(tmp_path / "x.png").pixels.tolist() == [[255, 0]]


@pytest.mark.parametrize("extension", WRITABLE)
def test_values_that_are_not_finite_are_not_written(tmp_path, extension):
    with pytest.raises(PictureError, match="1 of 2 pixels are not finite"):
        save_image(np.array([[0.5, np.nan]]), tmp_path / f"x{extension}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["x.gif", "x", ".png", "x.png.bak", "x."])
def test_unknown_extensions_list_the_known_ones(tmp_path, colour, name):
    with pytest.raises(PictureError, match=r"expected one of \.png, \.jpg, \.jpeg, \.tif, \.tiff, \.npy, \.webp"):
        save_image(colour, tmp_path / name)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_quality_out_of_range(tmp_path, colour, quality):
    with pytest.raises(PictureError, match=f"quality {quality}; expected 1 to 100"):
        save_image(colour, tmp_path / "x.jpg", quality=quality)


@pytest.mark.parametrize(
    ("extension", "side", "name"), [(".jpg", 65501, "JPEG"), (".webp", 16384, "WebP"), (".png", 1_000_001, "PNG")]
)
@pytest.mark.parametrize("flat", [True, False])
def test_sides_that_a_format_cannot_hold(tmp_path, extension, side, name, flat):
    shape = (1, side) if flat else (side, 1)
    with pytest.raises(PictureError, match=f"the limit of {name} is {side - 1:,} per side; choose .tif"):
        save_image(np.zeros(shape, np.uint8), tmp_path / f"x{extension}")
    longest = (1, side - 1) if flat else (side - 1, 1)
    save_image(np.zeros(longest, np.uint8), tmp_path / f"x{extension}")
    assert open_image(tmp_path / f"x{extension}").pixels.shape[:2] == longest


def test_public_names():
    assert sorted(shotnoise.images.__all__) == sorted(
        ["MAX_PIXELS", "READABLE", "WRITABLE", "Image", "list_pictures", "open_image", "save_image"]
    )
    assert all(hasattr(shotnoise.images, name) for name in shotnoise.images.__all__)


def test_importing_loads_no_codec():
    code = "import sys, shotnoise.images; print({'tifffile', 'imagecodecs', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
