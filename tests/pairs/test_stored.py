"""Pairs that lie in a store: the noise stays where it was put, however the crop is turned."""

import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.images.resize import resize_bicubic
from shotnoise.noise.gaussian import Gaussian
from shotnoise.pairs import collate
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


def low_of(clean, scale=4):
    return resize_bicubic(clean.transpose(1, 2, 0), 1 / scale).transpose(2, 0, 1)


@pytest.mark.parametrize(("height", "width", "scale"), [(48, 64, 4), (41, 47, 4), (30, 33, 2), (24, 24, 4)])
def test_the_low_resolution_is_that_of_the_whole_picture(height, width, scale):
    """Made from the pixels around the crop alone, and yet as if the whole picture had been made smaller before."""
    clean = np.random.default_rng(0).random((3, height, width)).astype(np.float32)
    whole = torch.from_numpy(low_of(clean, scale))
    source = StoredPairs(pictures=[Stacked([clean + 1, clean])], noise=None, crop=24, low=scale)
    places = set()
    for sample in draws(source, 40):
        top, left = np.argwhere(clean[0] == float(sample.clean[0, 0, 0]))[0]
        assert top % scale == left % scale == 0
        side = 24 // scale
        window = whole[:, top // scale : top // scale + side, left // scale : left // scale + side]
        assert torch.allclose(sample.low, window, atol=2e-6)
        places.add((top, left))
    assert len(places) == min(len(places), ((height - 24) // scale + 1) * ((width - 24) // scale + 1))
    if height == 24:
        assert places == {(0, 0)}


def test_the_low_resolution_takes_the_same_pose():
    y, x = np.mgrid[:32, :32].astype(np.float32) / 32
    clean = np.stack([y, x, y * x])
    source = StoredPairs(pictures=[Stacked([clean, clean])], noise=None, crop=16, low=4, augment=True)
    corners = set()
    for sample in draws(source, 60):
        means = sample.clean.unfold(1, 4, 4).unfold(2, 4, 4).mean((-2, -1))
        inner = (slice(None), slice(1, -1), slice(1, -1))  # a ramp is not mirrored at a border inside
        assert torch.allclose(sample.low[inner], means[inner], atol=0.01)
        corners.add((float(sample.clean[0, 0, 1] - sample.clean[0, 0, 0]) > 0, float(sample.low[1, 0, 0]) > 0.5))
    assert len(corners) == 4
    batch = collate(draws(source, 3))
    assert batch["low"].shape == (3, 3, 4, 4)


def test_a_stored_low_resolution_is_taken_as_it_is():
    clean = np.random.default_rng(0).integers(0, 256, (3, 41, 46), np.uint8)
    low = np.random.default_rng(1).integers(0, 256, (3, 11, 12), np.uint8)
    source = StoredPairs(pictures=[Stacked([clean, clean], low)], noise=None, crop=8, low=4)
    for sample in draws(source):
        found = [
            (top, left)
            for top in range(10)
            for left in range(11)
            if np.allclose(sample.low, low[:, top : top + 2, left : left + 2] / 255, atol=1e-6)
        ]
        ((top, left),) = found
        window = clean[:, 4 * top : 4 * top + 8, 4 * left : 4 * left + 8]
        assert np.allclose(sample.clean, window / 255, atol=1e-6)
    assert "low" not in collate(draws(StoredPairs(pictures=source._crops.pictures, noise=None, crop=8), 2))


def test_low_resolutions_that_cannot_be():
    pictures = [Stacked(pair(3))]
    for options, words in (
        (
            {"low": 4, "crop": 10},
            "a crop of 10 pixels has no 4th part; set pairs.crop and validation.crop to multiples",
        ),
        ({"low": 1, "crop": 8}, "pairs.low is 1; expected a whole number from 2 on"),
    ):
        with pytest.raises(RecipeError, match=words):
            StoredPairs(pictures=pictures, noise=None, **options)
    with pytest.raises(RecipeError, match="planes of a mosaic; leave it out"):
        StoredPairs(pictures=[Stacked(pair(4))], noise=None, crop=8, low=4)
    stored = Stacked(pair(3), np.zeros((3, 10, 10), np.uint8))
    with pytest.raises(RecipeError, match=r"expected \(5, 5\) for pairs.low 4: pack it again with `--low 4`"):
        StoredPairs(pictures=[stored], noise=None, crop=8, low=4)
    with pytest.raises(RecipeError, match="pictures of 8 x 9 and 8 x 8 pixels; expected one size"):
        Stacked([np.zeros((3, 8, 9)), np.zeros((3, 8, 8))])


def test_small_pictures_are_left_out_and_counted(caplog):
    pictures = [Stacked(pair(3)), Stacked(pair(3, 7))]
    StoredPairs(pictures=pictures, noise=None, crop=8)
    assert caplog.messages == ["1 of 2 pictures are left out: smaller than 8 x 8"]
    with pytest.raises(RecipeError, match="none of the 2 training pictures is at least 32 x 32; lower"):
        StoredPairs(pictures=pictures, noise=None, crop=32)
