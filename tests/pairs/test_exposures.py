"""Two exposures of a scene as pairs for Noise2Noise: real noise, none added."""

import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise.gaussian import Gaussian
from shotnoise.pairs.noisy_pairs import NoisyPairs
from shotnoise.pairs.sample import generator_for
from shotnoise.pairs.stored import Stacked


def scene(side=30):
    values = np.random.default_rng(0).random((3, side, side)).astype(np.float32)
    return Stacked([values, values + 1])


@pytest.mark.parametrize("augment", [False, True])
def test_either_exposure_may_be_the_one_that_is_seen(augment):
    source = NoisyPairs(pictures=[scene()], noise=None, crop=16, augment=augment, simulate=False)
    order = []
    for number in range(40):
        sample = source.draw(generator_for(0, number))
        assert sample.noisy.shape == sample.target.shape == (3, 16, 16)
        assert sample.clean is None
        assert sample.level is None
        difference = sample.target - sample.noisy
        order.append(round(float(difference.mean())))
        assert torch.allclose(difference, torch.full_like(difference, order[-1]), atol=1e-6), "the same window of both"
    assert 8 < order.count(1) < 32
    assert order.count(1) + order.count(-1) == 40


def test_noise_says_only_how_strong_it_is():
    source = NoisyPairs(pictures=[scene()], noise=Gaussian(sigma=25), crop=16, simulate=False)
    sample = source.draw(generator_for(0, 0))
    assert float(sample.level) == pytest.approx(25 / 255)
    assert abs(float((sample.target - sample.noisy).mean())) == pytest.approx(1, abs=1e-6)
    ranged = NoisyPairs(pictures=[scene()], noise=Gaussian(sigma=(0, 50)), crop=16, simulate=False)
    assert ranged.draw(generator_for(0, 0)).level is None


def test_which_arrays_are_wanted():
    assert NoisyPairs.wants({"crop": 16}) == ("clean",)
    assert NoisyPairs.wants({"simulate": False}) == ("first", "second")


def test_options_that_contradict_each_other():
    with pytest.raises(RecipeError, match=r"pairs\.simulate: false for two exposures of each scene"):
        NoisyPairs(pictures=[scene()], noise=None, crop=16)
    with pytest.raises(RecipeError, match="clean_target needs clean pictures, two exposures have none"):
        NoisyPairs(pictures=[scene()], noise=None, crop=16, simulate=False, clean_target=True)
