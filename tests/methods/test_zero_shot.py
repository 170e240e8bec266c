import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from shotnoise.errors import PictureError, RecipeError
from shotnoise.evaluation import psnr
from shotnoise.methods import zero_shot
from shotnoise.methods.zero_shot import fit_zero_shot


def scene(height=65, width=90):
    """Soft shades with hard edges."""
    y, x = np.mgrid[:height, :width]
    shades = np.stack([90 + 60 * np.sin(x / 11), 120 + 50 * np.cos(y / 9), 60 + x + 0 * y], axis=2)
    shades[((y // 20 + x // 24) % 2) == 1] *= 0.6
    return shades


def noisy(clean, sigma=25, seed=0):
    return clean + np.random.default_rng(seed).normal(0, sigma, clean.shape)


def as_bytes(picture):
    return np.clip(np.floor(picture + 0.5), 0, 255).astype(np.uint8)


def test_a_small_picture_gains_more_than_three_decibels():
    clean = as_bytes(scene())
    given = as_bytes(noisy(clean))
    steps = []
    result, report = fit_zero_shot(given, steps=150, progress=lambda *step: steps.append(step))
    assert result.shape == given.shape
    assert result.dtype == np.uint8
    assert psnr(result, clean, 255) > psnr(given, clean, 255) + 3
    assert [step[:2] for step in steps] == [(i, 150) for i in range(1, 151)]
    assert np.mean([loss for *_, loss in steps[-15:]]) == pytest.approx(report.loss)
    assert report.loss < np.mean([loss for *_, loss in steps[:5]]) / 2
    assert 18 < report.removed < 32
    assert (report.steps, report.seed) == (150, 0)


def test_the_seed_decides_and_nothing_outside_is_touched():
    given = as_bytes(noisy(scene(33, 41)))
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, _ = fit_zero_shot(given, steps=8, threads=1)
    torch.rand(3)
    again, _ = fit_zero_shot(given, steps=8, threads=1)
    other, _ = fit_zero_shot(given, steps=8, threads=1, seed=1)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert torch.get_num_threads() == threads
    torch.set_rng_state(state)
    before = torch.rand(1)
    torch.set_rng_state(state)
    fit_zero_shot(given, steps=2)
    assert torch.rand(1) == before


@settings(max_examples=15)
@given(
    height=st.integers(8, 23),
    width=st.integers(8, 23),
    gray=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]),
)
def test_any_size_and_type_comes_back(height, width, gray, dtype):
    shape = (height, width) if gray else (height, width, 3)
    pixels = np.random.default_rng(height).integers(0, 256, shape).astype(dtype)
    result, _ = fit_zero_shot(pixels, steps=1)
    assert result.shape == shape
    assert result.dtype == dtype
    assert result.flags.c_contiguous


def test_the_range_of_the_values_does_not_matter():
    given = noisy(scene(40, 40))
    low, report = fit_zero_shot(given / 255, steps=20)
    high, scaled = fit_zero_shot(1000 + given * 40, steps=20)
    np.testing.assert_allclose((high - 1000) / 40, low * 255, atol=0.1)
    assert scaled.removed / 40 == pytest.approx(report.removed * 255, rel=1e-3)


def test_a_flat_picture_stays_nearly_flat():
    result, _ = fit_zero_shot(np.full((16, 16), 77, np.uint8), steps=30)
    assert np.abs(result.astype(int) - 77).max() <= 1


def test_the_tiles_of_a_large_picture_do_not_show(monkeypatch):
    given = noisy(scene()).astype(np.float32)
    whole, _ = fit_zero_shot(given, steps=5)
    monkeypatch.setattr(zero_shot, "_BUDGET", 900)
    tiled, _ = fit_zero_shot(given, steps=5)
    np.testing.assert_allclose(tiled, whole, atol=1e-3)


def test_the_halves_are_the_filters_of_the_paper():
    picture = torch.rand(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    rising, falling = zero_shot._halves(picture)
    for half, kernel in ((rising, [[0, 0.5], [0.5, 0]]), (falling, [[0.5, 0], [0, 0.5]])):
        weight = torch.tensor(kernel).expand(3, 1, 2, 2)
        torch.testing.assert_close(half, F.conv2d(picture, weight, stride=2, groups=3))


def test_the_loss_by_its_formula():
    """Residual and consistency, each the mean of both directions, from single passes through the network."""
    generator = torch.Generator().manual_seed(0)
    network, picture = zero_shot._network(3, generator), torch.rand(1, 3, 12, 8, generator=generator)
    assert sum(parameter.numel() for parameter in network.parameters()) == 22_275
    first, second = zero_shot._halves(picture)
    clean_first, clean_second = first - network(first), second - network(second)
    of_first, of_second = zero_shot._halves(picture - network(picture))
    pairs = [(clean_first, second), (clean_second, first), (clean_first, of_first), (clean_second, of_second)]
    expected = sum(((a - b) ** 2).mean() for a, b in pairs) / 2
    torch.testing.assert_close(zero_shot._loss(network, picture), expected)


@pytest.mark.parametrize(
    ("pixels", "options", "kind", "words"),
    [
        (
            np.zeros((7, 30), np.uint8),
            {},
            PictureError,
            "7 x 30 pixels is too small to learn from; expected at least 8",
        ),
        (np.zeros((9, 9, 4), np.uint8), {}, PictureError, r"shape \(9, 9, 4\); expected \(H, W\) or \(H, W, 3\)"),
        (np.zeros((9, 9), np.int32), {}, PictureError, "pixels of type int32 are not supported"),
        (np.full((9, 9), np.nan), {}, PictureError, "not finite; replace them"),
        (np.zeros((9, 9), np.uint8), {"steps": 0}, RecipeError, "steps is 0; expected at least 1"),
        (np.zeros((9, 9), np.uint8), {"threads": 0}, RecipeError, "threads is 0"),
    ],
)
def test_what_cannot_be_fitted(pixels, options, kind, words):
    with pytest.raises(kind, match=words):
        fit_zero_shot(pixels, **options)


@pytest.mark.slow
@pytest.mark.shared
def test_a_photograph_gains_more_than_five_decibels(shared):
    from shotnoise.images import open_image

    clean = np.asarray(open_image(shared / "data" / "kodak24" / "kodim03.png").pixels)
    given = as_bytes(noisy(clean))
    result, _ = fit_zero_shot(given)
    assert psnr(result, clean, 255) > psnr(given, clean, 255) + 5
