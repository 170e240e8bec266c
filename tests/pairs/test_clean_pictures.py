"""What a training sample is, and that it depends on nothing but the seed and its number."""

import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise.gaussian import Gaussian
from shotnoise.pairs import SampleStream, collate
from shotnoise.pairs.clean import CleanPictures
from shotnoise.pairs.sample import Sample, generator_for


def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (3, 40, 60), dtype=np.uint8), rng.integers(0, 65536, (3, 50, 32), dtype=np.uint16)]


def source(**options):
    defaults = {"pictures": pictures(), "noise": Gaussian(sigma=(0, 50)), "crop": 16}
    return CleanPictures(**defaults | options)


def test_a_sample_is_a_crop_and_its_noise():
    stream = SampleStream(source(augment=False), seed=1)
    sample = stream[0]
    assert sample.noisy.shape == sample.target.shape == (3, 16, 16)
    assert torch.equal(sample.target, sample.clean)
    found = any(
        np.array_equal(sample.target.numpy(), (window / np.float32(full)).astype(np.float32))
        for picture, full in zip(pictures(), (255, 65535), strict=True)
        for window in np.lib.stride_tricks.sliding_window_view(picture, (3, 16, 16)).reshape(-1, 3, 16, 16)
    )
    assert found, "the target is a window of a picture, scaled to 0..1"
    residual = sample.noisy - sample.target
    assert float(residual.std()) == pytest.approx(float(sample.level), rel=0.15)


def test_samples_depend_on_seed_and_number_only():
    one, two = SampleStream(source(), seed=5), SampleStream(source(), seed=5)
    _ = one[7]  # reading out of order changes nothing
    assert torch.equal(one[3].noisy, two[3].noisy)
    assert not torch.equal(one[3].noisy, one[4].noisy)
    assert not torch.equal(SampleStream(source(), seed=6)[3].noisy, one[3].noisy)


def test_all_eight_poses_occur_and_only_they():
    picture = np.arange(3 * 16 * 16, dtype=np.uint16).reshape(3, 16, 16)
    stream = SampleStream(source(pictures=[picture]), seed=0)
    expected = {
        np.ascontiguousarray(np.rot90(p, turns, (1, 2))).tobytes()
        for p in (picture, picture[:, :, ::-1])
        for turns in range(4)
    }
    seen = {(stream[i].target.numpy() * 65535 + 0.5).astype(np.uint16).tobytes() for i in range(120)}
    assert seen == expected


def test_pictures_are_chosen_by_area():
    big, small = np.zeros((1, 60, 60), np.uint8), np.full((1, 20, 20), 255, np.uint8)
    stream = SampleStream(source(pictures=[big, small], noise=Gaussian(sigma=0)), seed=0)
    share = np.mean([float(stream[i].target.mean()) for i in range(1000)])
    assert share == pytest.approx(400 / 4000, abs=0.03)


def test_gray_samples_have_equal_channels_noise_included():
    stream = SampleStream(source(gray=1.0), seed=0)
    sample = stream[0]
    assert torch.equal(sample.noisy[0], sample.noisy[2])
    assert torch.equal(sample.target[0], sample.target[1])
    assert float((sample.noisy - sample.target).std()) == pytest.approx(float(sample.level), rel=0.2)


def test_small_pictures_are_left_out_and_none_left_is_an_error():
    assert len(source(crop=35).crops.pictures) == 1
    with pytest.raises(RecipeError, match="none of the 2 training pictures is at least 64 x 64"):
        source(crop=64)
    with pytest.raises(RecipeError, match="gray is 2"):
        source(gray=2)


def test_collate_keeps_what_all_samples_have():
    flat = torch.zeros(1, 2, 2)
    level = torch.ones(1, 1, 1)
    batch = collate([Sample(flat, flat, level=level), Sample(flat, flat)])
    assert set(batch) == {"noisy", "target"}
    assert collate([Sample(flat, flat, level=level)] * 2)["level"].shape == (2, 1, 1, 1)


def test_generators_of_neighbouring_numbers_are_unrelated():
    draws = [float(torch.rand((), generator=generator_for(0, number))) for number in range(500)]
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.15
