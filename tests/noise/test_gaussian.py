"""Moments and determinism of the Gaussian model."""

import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise import NOISE
from shotnoise.noise.gaussian import Gaussian


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_moments_match_the_formula():
    clean = torch.linspace(0, 1, 5).view(1, 5, 1, 1).expand(1, 5, 200, 200)
    noise = Gaussian(sigma=25)
    error = noise.sample(clean, generator()) - clean
    # standard error of a mean of n values is s/sqrt(n), of a variance s^2 sqrt(2/n)
    count = 200 * 200
    assert error.mean((0, 2, 3)).abs().max() < 4 * 25 / 255 / count**0.5
    variance = (25 / 255) ** 2
    assert torch.equal(noise.variance(clean), torch.full_like(clean, variance))
    assert (error.var((0, 2, 3)) - variance).abs().max() < 4 * variance * (2 / count) ** 0.5


def test_a_range_draws_one_strength_per_sample_and_its_variance_is_the_mixture():
    noise = Gaussian(sigma=(5, 50))
    strength = noise.draw(4000, generator())
    assert strength.shape == (4000, 1, 1, 1)
    assert 5 <= float(strength.min()) < 6
    assert 49 < float(strength.max()) <= 50
    expected = float((strength / 255).square().mean())
    assert float(noise.variance(torch.zeros(1))) == pytest.approx(expected, rel=0.03)
    noisy = noise.sample(torch.zeros(2, 1, 300, 300), generator(), torch.tensor([10.0, 40.0]).view(2, 1, 1, 1))
    torch.testing.assert_close(noisy.std((1, 2, 3)) * 255, torch.tensor([10.0, 40.0]), rtol=0.02, atol=0)
    assert torch.equal(noise.level(strength), strength / 255)


def test_same_seed_same_noise_and_nothing_is_clipped():
    clean = torch.ones(1, 3, 16, 16)
    noise = Gaussian(sigma=[0, 50])
    assert torch.equal(noise.sample(clean, generator(3)), noise.sample(clean, generator(3)))
    assert not torch.equal(noise.sample(clean, generator(3)), noise.sample(clean, generator(4)))
    assert noise.sample(clean, generator()).max() > 1


def test_nonsense_is_refused():
    with pytest.raises(RecipeError, match=r"sigma is -1; expected a number >= 0 or a range"):
        Gaussian(sigma=-1)
    with pytest.raises(RecipeError, match="low <= high"):
        Gaussian(sigma=(50, 5))
    with pytest.raises(RecipeError, match="noise model 'gaussian' has no option 'sigm': did you mean 'sigma'"):
        NOISE.create("gaussian", {"sigm": 3})
