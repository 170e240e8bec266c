"""The plain developer: known colours come out right, nothing depends on the phase, and two pictures share a look."""

import numpy as np
import pytest
import rawpy
from hypothesis import given
from hypothesis import strategies as st

from shotnoise.errors import PictureError
from shotnoise.images.raw import RawFrame, open_raw
from shotnoise.images.raw._dng_tags import Tag
from shotnoise.images.raw.bayer import PATTERNS, join, sites
from shotnoise.images.raw.dng import XYZ_TO_SRGB
from shotnoise.sensor.develop import Look, camera_rgb, demosaic, develop, normalised

BLACK, WHITE = (64.0, 65.5, 63.0, 66.0), 4095.0


def frame_of(rgb, pattern="RGGB", **changed):
    """A mosaic of what a camera sees whose colours are (H, W, 3) in 0..1."""
    height, width = rgb.shape[:2]
    mosaic = np.empty((height, width))
    for (row, col), colour, black in zip(sites(pattern), (0, 1, 1, 2), BLACK, strict=True):
        mosaic[row::2, col::2] = black + (WHITE - black) * rgb[row::2, col::2, colour]
    return RawFrame(np.round(mosaic).astype(np.uint16), pattern, BLACK, WHITE, **changed)


def flat(colour, height=12, width=14):
    return np.broadcast_to(np.array(colour, float), (height, width, 3))


def srgb_curve(x):
    return 12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", ["half", "full"])
def test_a_flat_colour_stays_what_it_is(pattern, size):
    frame = frame_of(flat((0.2, 0.5, 0.3), 13, 15), pattern)
    rgb = camera_rgb(frame, size=size)
    assert rgb.shape == ((6, 7, 3) if size == "half" else (13, 15, 3))
    assert rgb == pytest.approx(flat((0.2, 0.5, 0.3), *rgb.shape[:2]), abs=2e-4)


@given(st.sampled_from(PATTERNS), st.integers(2, 9), st.integers(2, 9))
def test_demosaicing_keeps_what_was_counted(pattern, height, width):
    mosaic = np.random.default_rng(0).random((height, width)).astype(np.float32)
    rgb = demosaic(mosaic, pattern)
    assert rgb.shape == (height, width, 3)
    for (row, col), colour in zip(sites(pattern), (0, 1, 1, 2), strict=True):
        assert np.array_equal(rgb[row::2, col::2, colour], mosaic[row::2, col::2])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_demosaicing_is_exact_on_ramps(pattern):
    """Linear interpolation with corrections that vanish where the second derivative does."""
    y, x = np.mgrid[:16, :18]
    ramp = (0.2 + 0.01 * x + 0.02 * y).astype(np.float32)
    assert demosaic(ramp, pattern)[2:-2, 2:-2] == pytest.approx(np.dstack([ramp] * 3)[2:-2, 2:-2], abs=1e-6)


def test_demosaicing_by_the_published_kernels():
    """The 5 x 5 kernels of the paper, written out and applied by hand at one site of each kind."""
    green = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
    row = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
    other = (
        np.array([[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]) / 8
    )
    mosaic = np.random.default_rng(2).random((10, 10)).astype(np.float32)
    rgb = demosaic(mosaic, "RGGB")
    for at, kernels in {
        (4, 4): (None, green, other),  # red
        (4, 5): (row, None, row.T),  # green on a red row
        (5, 4): (row.T, None, row),
        (5, 5): (other, green, None),
    }.items():
        patch = mosaic[at[0] - 2 : at[0] + 3, at[1] - 2 : at[1] + 3]
        for colour, kernel in enumerate(kernels):
            expected = mosaic[at] if kernel is None else (patch * kernel).sum()
            assert rgb[at][colour] == pytest.approx(expected, abs=1e-6)


def test_normalised_keeps_noise_below_black():
    frame = RawFrame(np.full((4, 4), 60, np.uint16), "GBRG", BLACK, WHITE)
    assert normalised(frame).min() == pytest.approx((60 - 66) / (WHITE - 66))
    assert normalised(frame).max() < 0


@pytest.mark.parametrize("size", ["half", "full"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_is_gray_and_of_the_right_brightness(size, dtype):
    frame = frame_of(
        flat((0.1, 0.2, 0.125)), "BGGR", white_balance=(2.0, 1.0, 1.6), xyz_to_camera=np.eye(3) + 0.1 * np.ones((3, 3))
    )
    pixels = develop(frame, size=size, dtype=dtype).pixels
    white = np.iinfo(dtype).max
    assert pixels.dtype == dtype
    assert pixels / white == pytest.approx(np.full(pixels.shape, srgb_curve(0.2)), abs=3e-3)
    brighter = develop(frame, Look.of(frame, stops=1), size=size, dtype=dtype).pixels
    assert brighter / white == pytest.approx(np.full(pixels.shape, srgb_curve(0.4)), abs=3e-3)
    assert np.array_equal(brighter, develop(frame, Look.of(frame).brighter(1), size=size, dtype=dtype).pixels)


def test_a_camera_that_sees_in_srgb_shows_its_colours():
    colour = (0.7, 0.2, 0.05)
    pixels = develop(frame_of(flat(colour), white_balance=(1.0, 1.0, 1.0), xyz_to_camera=XYZ_TO_SRGB)).pixels
    assert pixels[3, 3] == pytest.approx([255 * srgb_curve(value) for value in colour], abs=1)


def test_the_matrix_is_undone():
    """Colours mixed by a camera come out as they went in, up to the white balance."""
    mix = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.0, 0.2, 0.8]])
    colour = np.array([0.5, 0.3, 0.1])
    frame = frame_of(flat(mix @ colour), white_balance=(1.0, 1.0, 1.0), xyz_to_camera=mix @ XYZ_TO_SRGB)
    assert develop(frame).pixels[3, 3] == pytest.approx([255 * srgb_curve(value) for value in colour], abs=1)


def test_what_is_saturated_is_white():
    """Also when the white balance lowers a colour."""
    frame = frame_of(flat((1, 1, 1)), white_balance=(0.6, 1.0, 2.5), xyz_to_camera=XYZ_TO_SRGB)
    for size in ("half", "full"):
        assert (develop(frame, size=size).pixels == 255).all()


def test_gray_world_without_white_balance():
    frame = frame_of(flat((0.1, 0.3, 0.2)))
    look = Look.of(frame)
    assert look.white_balance == pytest.approx((3, 1, 1.5), rel=2e-3)
    pixels = develop(frame).pixels
    assert np.ptp(pixels.reshape(-1, 3)[0].astype(int)) <= 1
    dark = RawFrame(np.full((4, 4), 60, np.uint16), "RGGB", BLACK, WHITE)
    assert Look.of(dark).white_balance == (1, 1, 1)
    assert (develop(dark).pixels == 0).all()


def test_one_look_for_two_pictures():
    noisy, clean = frame_of(flat((0.1, 0.3, 0.2))), frame_of(flat((0.2, 0.3, 0.2)))
    look = Look.of(clean)
    assert develop(noisy, look).pixels[0, 0, 0] < develop(clean, look).pixels[0, 0, 0]
    assert develop(noisy, look).pixels[0, 0, 1] == develop(clean, look).pixels[0, 0, 1]


def test_baseline_exposure_counts():
    frame = frame_of(flat((0.1, 0.1, 0.1)), white_balance=(1.0, 1.0, 1.0), tags={50730: Tag(10, 1, (3, 2))})
    assert Look.of(frame).exposure == pytest.approx(2**1.5)
    assert Look.of(frame, stops=-1.5).exposure == pytest.approx(1)


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.ones((3, 3)), np.full((3, 3), np.nan), -np.eye(3)])
def test_a_useless_matrix_is_left_out(matrix):
    assert np.array_equal(Look.of(frame_of(flat((0.1, 0.1, 0.1)), xyz_to_camera=matrix)).to_srgb, np.eye(3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation):
    rgb = np.zeros((8, 12, 3))
    rgb[:2, :2] = 0.5  # top left as stored
    frame = frame_of(rgb, white_balance=(1.0, 1.0, 1.0), orientation=orientation)
    pixels = develop(frame).pixels
    assert pixels.shape == ((4, 6, 3) if orientation < 5 else (6, 4, 3))
    rows, cols = np.nonzero(pixels[..., 1] > 100)
    assert (rows[0] == 0) == (orientation in (1, 2, 5, 6))
    assert (cols[0] == 0) == (orientation in (1, 4, 5, 8))
    assert pixels.flags.c_contiguous


def test_half_size_is_the_mean_of_the_greens():
    planes = np.stack([np.full((3, 3), level, np.uint16) for level in (1000, 2000, 3000, 500)])
    frame = RawFrame(join(planes, "GRBG"), "GRBG", (0.0,) * 4, 4000.0)
    assert camera_rgb(frame, size="half")[1, 1] == pytest.approx([0.25, 0.625, 0.125])


def test_an_unknown_size():
    with pytest.raises(PictureError, match="size 'quarter'; expected half or full"):
        develop(frame_of(flat((0.1, 0.1, 0.1))), size="quarter")


@pytest.mark.shared
@pytest.mark.parametrize(("size", "mean", "most"), [("half", 0.4, 1), ("full", 2, 14)])
def test_as_libraw_develops(shared, size, mean, most):
    """Same levels, white balance, matrix and curve as an independent developer; at full size another demosaicing."""
    path = shared / "data/raw/nikon14_768x512_rggb.dng"
    with rawpy.imread(str(path)) as raw:
        reference = raw.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            gamma=(2.4, 12.92),
            half_size=size == "half",
        )
    difference = np.abs(develop(open_raw(path), size=size).pixels.astype(int) - reference)
    assert difference.mean(axis=(0, 1)).max() < mean
    assert np.percentile(difference, 99) <= most


@pytest.mark.shared
def test_one_scene_under_two_patterns(shared):
    one, other = (open_raw(shared / f"data/raw/nikon14_768x512_{name}.dng") for name in ("rggb", "gbrg"))
    assert np.abs(develop(one).pixels.astype(int) - develop(other).pixels).max() <= 1


@pytest.mark.parametrize("tag", [Tag(3, 1, 5), Tag(11, 1, 0.5), Tag(7, 2, b"ab"), Tag(10, 0, ()), Tag(10, 1, (1, 0))])
def test_an_exposure_that_is_no_fraction_is_none(tag):
    frame = frame_of(np.full((8, 8, 3), 0.5), tags={50730: tag})
    assert Look.of(frame).exposure == 1.0
