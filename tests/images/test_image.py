"""The picture in memory: what it accepts, and how depths become one another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shotnoise.errors import PictureError
from shotnoise.images import Image
from shotnoise.images.image import full_scale, to_depth

DEPTHS = [np.uint8, np.uint16, np.float32]


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (">u2", 65535), (np.float16, 1), (np.float64, 1)])
def test_white_of_a_type(dtype, white):
    assert full_scale(dtype) == white


def test_white_of_other_types_is_refused():
    with pytest.raises(PictureError, match=r"int32 are not supported; expected uint8, uint16 or floating point"):
        full_scale(np.int32)


def test_8_bits_survive_16_bits():
    values = np.arange(256, dtype=np.uint8)[None]
    wide = to_depth(values, np.uint16)
    assert np.array_equal(wide, values.astype(np.uint16) * 257)
    assert np.array_equal(to_depth(wide, np.uint8), values)


def test_16_bits_to_8_are_rounded_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16)[None]
    nearest = (values.astype(np.int64) * 255 + 32767) // 65535  # 257 is odd: no value lies half way
    assert np.array_equal(to_depth(values, np.uint8), nearest)


def test_16_bits_survive_floating_point():
    values = np.arange(65536, dtype=np.uint16)[None]
    assert np.array_equal(to_depth(to_depth(values, np.float32), np.uint16), values)


def test_floating_point_is_clipped_and_rounded_half_up():
    values = np.array([[-0.5, 0.0, 0.5, 1.0, 7.0]], np.float32)
    assert to_depth(values, np.uint8).tolist() == [[0, 0, 128, 255, 255]]
    assert to_depth(values, np.uint16).tolist() == [[0, 0, 32768, 65535, 65535]]


@given(
    hnp.arrays(
        st.sampled_from(DEPTHS),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 4)) | st.tuples(*[st.integers(1, 9)] * 2),
        elements=st.integers(0, 1),
    )
)
def test_array_in_array_out(array):
    assert np.array_equal(Image.from_array(array).to_array(), array)
    assert Image.from_array(array).to_array().dtype == array.dtype


def test_one_channel_is_gray():
    array = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    image = Image.from_array(array)
    assert (image.height, image.width, image.channels) == (3, 4, 1)
    assert np.array_equal(image.pixels, array[..., 0])


def test_foreign_types_of_arrays():
    assert Image.from_array(np.array([[False, True]])).pixels.tolist() == [[0, 255]]
    big_endian = Image.from_array(np.array([[1, 256]], ">u2")).pixels
    assert big_endian.dtype == np.uint16
    assert big_endian.dtype.isnative
    assert big_endian.tolist() == [[1, 256]]
    for kind in (np.float16, np.float64, ">f4"):
        pixels = Image.from_array(np.array([[0.5, -2]], kind)).pixels
        assert pixels.dtype == np.float32
        assert pixels.tolist() == [[0.5, -2]]


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_become_contiguous(order):
    image = Image.from_array(np.zeros((5, 6, 4), np.uint8, order=order)[::2, ::-1])
    assert image.pixels.flags.c_contiguous
    assert image.alpha.flags.c_contiguous


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5), (2, 3, 4, 3), (0, 4), (4, 0, 3), ()])
def test_other_shapes_are_refused(shape):
    with pytest.raises(PictureError, match=r"array of shape \(.*\); expected \(H, W\)"):
        Image.from_array(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int64, np.complex64, "U3", [("r", "u1")]])
def test_other_types_are_refused(dtype):
    with pytest.raises(PictureError, match="expected uint8, uint16, bool or floating point"):
        Image.from_array(np.zeros((2, 3), dtype))


def test_a_picture_is_checked_when_it_is_made():
    with pytest.raises(PictureError, match="type float64; expected uint8, uint16 or float32"):
        Image(np.zeros((2, 3)))
    with pytest.raises(PictureError, match=r"shape \(2, 3, 4\); expected \(H, W\) gray or \(H, W, 3\) RGB"):
        Image(np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(PictureError, match=r"alpha of shape \(3, 2\).*expected \(2, 3\) and uint8"):
        Image(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
    with pytest.raises(PictureError, match="type uint16; expected"):
        Image(np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint16))


def test_other_pixels_same_company():
    image = Image(np.zeros((2, 3), np.uint8), np.ones((2, 3), np.uint8), b"icc", b"exif", ("note",))
    other = image.with_pixels(np.ones((2, 3), np.uint8))
    assert other.pixels.sum() == 6
    assert (other.alpha is image.alpha, other.icc, other.exif, other.notes) == (True, b"icc", b"exif", ("note",))
