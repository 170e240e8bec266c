"""Counts, moments and ranges of the Poisson model."""

from math import exp, factorial, log

import numpy as np
import pytest
import torch

from shotnoise.noise.poisson import Poisson


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_moments_match_the_formula():
    count = 200 * 200
    clean = torch.linspace(0.1, 1, 5).double().view(1, 5, 1, 1)
    noisy = Poisson(photons=30).sample(clean.expand(1, 5, 200, 200), generator())
    x = clean.flatten()
    rate = 30 * x
    # The fourth central moment of a count of mean m is m + 3 m^2, so its variance has a standard error of
    # sqrt((m + 2 m^2) / n).
    assert ((noisy.mean((0, 2, 3)) - x).abs() < 4 * (x / 30 / count).sqrt()).all()
    error = ((rate + 2 * rate.square()) / count).sqrt() / 30**2
    assert ((noisy.var((0, 2, 3)) - x / 30).abs() < 4 * error).all()
    torch.testing.assert_close(Poisson(photons=30).variance(clean), clean / 30)


def test_values_are_whole_counts_with_the_probabilities_of_the_law():
    total = 200 * 200
    noisy = Poisson(photons=4).sample(torch.full((1, 1, 200, 200), 0.5), generator())
    counts = noisy * 4
    assert torch.equal(counts, counts.round())
    for k in range(6):
        probability = exp(-2) * 2**k / factorial(k)
        share = float((counts == k).double().mean())
        assert share == pytest.approx(probability, abs=4 * (probability * (1 - probability) / total) ** 0.5)


def test_a_range_mixes_one_over_lambda():
    low, high = 0.001, 50
    photons = np.exp(np.linspace(np.log(low), np.log(high), 200_001))
    expected = float(np.trapezoid(1 / photons, photons)) / (high - low)
    assert float(Poisson(photons=(low, high)).variance(torch.ones(1))) == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(log(high / low) / (high - low), rel=1e-6)
    nearly = Poisson(photons=(30, 30 + 1e-12)).variance(torch.ones(1))
    torch.testing.assert_close(nearly, torch.tensor([1 / 30]))


def test_each_sample_counts_with_its_own_strength():
    strength = torch.tensor([2.0, 64.0]).view(2, 1, 1, 1)
    noisy = Poisson(photons=[1, 100]).sample(torch.full((2, 1, 200, 200), 0.5), generator(), strength)
    assert torch.equal((noisy * strength), (noisy * strength).round())
    torch.testing.assert_close(noisy.var((1, 2, 3)), torch.tensor([0.25, 0.5 / 64]), rtol=0.05, atol=0)


def test_nothing_is_clipped_above_and_a_rate_below_zero_counts_as_zero():
    noise = Poisson(photons=30)
    clean = torch.cat((torch.full((1, 1, 8, 8), -0.2), torch.full((1, 1, 8, 8), 1.2)))
    noisy = noise.sample(clean, generator())
    assert not noisy[0].any()
    assert noisy[1].max() > 1.2
    torch.testing.assert_close(noise.variance(clean)[:, 0, 0, 0], torch.tensor([0.04, 1.2 / 30]))


def test_an_offset_commutes():
    """Pictures in -0.5..0.5, as Noise2Noise keeps them, get the same noise by shifting there and back."""
    shifted = torch.linspace(-0.5, 0.5, 64).view(1, 1, 8, 8)
    noise = Poisson(photons=(0.001, 50))
    known = generator(7)
    photons = noise.draw(1, known)
    by_hand = torch.poisson(photons * (shifted + 0.5), generator=known) / photons - 0.5
    torch.testing.assert_close(noise.sample(shifted + 0.5, generator(7)) - 0.5, by_hand)
