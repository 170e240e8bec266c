"""The blind noise estimate against noise that was put in."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow

from shotnoise.errors import PictureError
from shotnoise.sensor import estimate_sigma


def scene(height=256, width=320, channels=3) -> np.ndarray:
    """A made-up photograph in counts: shading, edges, a textured part, all away from black and white."""
    y, x = np.mgrid[:height, :width].astype(float)
    picture = 110 + 40 * np.sin(x / 70) * np.cos(y / 50) + 30 * ((x // 40 + y // 50) % 2)
    picture += np.where(x > 0.6 * width, 25 * np.sin(1.3 * x) * np.sin(1.7 * y), 0)
    return np.stack([picture + 5 * c for c in range(channels)], axis=2)


def noisy(picture: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """With noise, as 8-bit counts."""
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(np.floor(picture + noise + 0.5), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [5, 10, 15, 25, 50])
def test_within_ten_percent_of_the_noise_put_in(sigma):
    assert 255 * estimate_sigma(noisy(scene(), sigma)) == pytest.approx(sigma, rel=0.1)
    assert 255 * estimate_sigma(noisy(scene()[:, :, 0], sigma)) == pytest.approx(sigma, rel=0.1)


def test_a_clean_picture_measures_next_to_nothing():
    assert 255 * estimate_sigma(noisy(scene(), 0)) < 1


@pytest.mark.shared
@pytest.mark.parametrize("sigma", [5, 10, 25, 50])
def test_photographs(shared, sigma):
    for name in ("kodim01", "kodim05", "kodim13", "kodim20", "kodim23"):  # from foliage to sky, with blown highlights
        picture = np.asarray(Pillow.open(shared / "data" / "kodak24" / f"{name}.png"))
        measured = 255 * estimate_sigma(noisy(picture, sigma))
        assert measured == pytest.approx(sigma, rel=0.12), name
        assert 255 * estimate_sigma(picture) < 2.5


def test_types_agree():
    counts = noisy(scene(), 12)
    expected = estimate_sigma(counts)
    assert estimate_sigma(counts.astype(np.uint16) * 257) == pytest.approx(expected, rel=1e-3)
    assert estimate_sigma(counts.astype(np.float32) / 255) == pytest.approx(expected, rel=1e-3)
    assert estimate_sigma(counts.astype(np.float64) / 255) == pytest.approx(expected, rel=1e-3)
    with pytest.raises(PictureError, match="int32 are not supported"):
        estimate_sigma(counts.astype(np.int32))


def test_clipped_areas_do_not_count():
    picture = noisy(scene(), 15)
    picture[:100] = 255
    picture[-60:] = 0
    assert 255 * estimate_sigma(picture) == pytest.approx(15, rel=0.1)


def test_a_flat_frame_does_not_count_but_a_drawing_is_clean():
    framed = noisy(scene(), 15)
    framed[:40] = 128
    assert 255 * estimate_sigma(framed) == pytest.approx(15, rel=0.15)  # its border is in some patches
    drawing = np.full((200, 200, 3), 255, np.uint8)
    drawing[50:60, 20:180] = 40
    drawing[100:140:3, 20:180:2] = 90
    assert estimate_sigma(drawing) == pytest.approx(0, abs=1e-6)


def test_a_dark_picture_whose_noise_is_cut_at_black_is_still_noisy():
    assert 255 * estimate_sigma(noisy(np.full((200, 200), 4.0), 15)) > 6


def test_values_that_are_not_finite_do_not_count():
    picture = (noisy(scene(), 15) / 255).astype(np.float32)
    picture[::50, ::50] = np.nan
    picture[10, 10] = np.inf
    assert 255 * estimate_sigma(picture) == pytest.approx(15, rel=0.1)


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=20),
    )
)
def test_any_small_array_gives_a_number(pixels):
    sigma = estimate_sigma(pixels)
    assert sigma >= 0
    if min(pixels.shape[:2]) < 8:
        assert sigma == 0.0


def test_large_pictures_are_sampled():
    rng = np.random.default_rng(0)
    picture = np.clip(rng.normal(128, 20, (3000, 4000)), 1, 254).astype(np.uint8)
    started = time.process_time()
    assert 255 * estimate_sigma(picture) == pytest.approx(20, rel=0.05)
    assert time.process_time() - started < 1.0  # 0.05 s; the whole picture would take seconds


@pytest.mark.parametrize("shape", [(9, 90000), (90000, 9), (8, 8), (300, 9000)])
def test_thin_pictures(shape):
    picture = np.random.default_rng(0).normal(0.5, 0.05, shape)
    assert estimate_sigma(picture) == pytest.approx(0.05, rel=0.45 if shape == (8, 8) else 0.1)
