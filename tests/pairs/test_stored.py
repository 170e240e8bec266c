"""Pairs that lie in a store: the noise stays where it was put, however the crop is turned."""

import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise.gaussian import Gaussian
from shotnoise.pairs.stored import Stacked, StoredPairs


def pair(channels, side=20, seed=0):
    """Clean pictures that say where they are, with noise that says where it belongs."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    clean = np.stack([0.1 * channel + 0.4 * x + 0.05 * y for channel in range(channels)])
    return clean + 0.01 * np.sin(57 * clean), clean


def draws(source, count=20):
    return [source.draw(torch.Generator().manual_seed(number)) for number in range(count)]


def test_stacked_arrays_look_like_one():
    rng = np.random.default_rng(0)
    parts = [rng.random((3, 8, 9), np.float32), rng.integers(0, 256, (3, 8, 9), np.uint8)]
    whole = Stacked(parts)
    assert whole.shape == (6, 8, 9)
    window = whole[:, 2:5, 1:7]
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window[:3], parts[0][:, 2:5, 1:7])
    np.testing.assert_allclose(window[3:], parts[1][:, 2:5, 1:7] / 255, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("augment", [False, True])
def test_every_noisy_value_has_its_own_clean_one(channels, augment):
    source = StoredPairs(pictures=[Stacked(pair(channels))], noise=None, crop=12, augment=augment)
    for sample in draws(source):
        assert sample.noisy.shape == sample.clean.shape == (channels, 12, 12)
        assert torch.equal(sample.target, sample.clean)
        assert torch.allclose(sample.noisy - sample.clean, 0.01 * torch.sin(57 * sample.clean), atol=1e-6)
    assert len({float(sample.noisy.sum()) for sample in draws(source)}) > 10


def test_turned_mosaics_stay_mosaics():
    """Planes of one value each: whatever the pose, R stays R and B stays B, and the greens may change places."""
    flat = np.broadcast_to(np.array([0.1, 0.5, 0.6, 0.9], np.float32)[:, None, None], (4, 9, 9)).copy()
    source = StoredPairs(pictures=[Stacked([flat + 1, flat])], noise=None, crop=8, augment=True)
    greens = set()
    for sample in draws(source, 40):
        assert torch.all(sample.clean.std(dim=(1, 2)) < 1e-6), "no plane is mixed from two colours"
        red, first, second, blue = sample.clean[:, 0, 0].tolist()
        assert (red, blue) == pytest.approx((0.1, 0.9))
        greens.add((round(first, 1), round(second, 1)))
        assert torch.allclose(sample.noisy, sample.clean + 1)
    assert greens == {(0.5, 0.6), (0.6, 0.5)}


def test_whole_patches_need_no_room_unless_they_are_turned():
    patch = Stacked(pair(4, 16))
    assert StoredPairs(pictures=[patch], noise=None, crop=16).draw(torch.Generator()).noisy.shape == (4, 16, 16)
    with pytest.raises(RecipeError, match="at least 17 x 17"):
        StoredPairs(pictures=[patch], noise=None, crop=16, augment=True)


def test_noise_on_noise_is_refused():
    with pytest.raises(RecipeError, match="stored pairs are noisy already; set noise: null"):
        StoredPairs(pictures=[Stacked(pair(4))], noise=Gaussian(sigma=25))
