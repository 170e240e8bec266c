"""The mask of the Bernoulli model."""

import pytest
import torch

from shotnoise.noise.bernoulli import Bernoulli


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_pixel_is_missing_in_all_channels_or_untouched():
    clean = 0.1 + torch.rand(2, 3, 40, 50, generator=generator(1))
    noisy, mask = Bernoulli(missing=0.5).sample_with_mask(clean, generator())
    assert mask.shape == (2, 1, 40, 50)
    assert mask.dtype == clean.dtype
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    observed = mask.bool().expand_as(clean)
    assert torch.equal(noisy[observed], clean[observed])
    assert not noisy[~observed].any()


def test_the_share_of_missing_pixels_is_that_of_each_sample():
    missing = torch.tensor([0.0, 0.3, 0.95, 1.0])
    _, mask = Bernoulli(missing=[0, 1]).sample_with_mask(
        torch.rand(4, 1, 200, 200), generator(), missing.view(4, 1, 1, 1)
    )
    error = (missing * (1 - missing) / 200**2).sqrt()
    assert ((1 - mask.mean((1, 2, 3)) - missing).abs() <= 4 * error + 1e-6).all()


def test_two_draws_are_independent():
    first, second = (
        Bernoulli(missing=0.5).sample_with_mask(torch.ones(1, 1, 200, 200), known)[1] for known in [generator()] * 2
    )
    assert float((first * second).mean()) == pytest.approx(0.25, abs=4 * (3 / 16 / 200**2) ** 0.5)


def test_deviation_is_variance_plus_squared_bias():
    x, p = torch.linspace(0, 1, 7), 0.3
    variance, bias = x.square() * p * (1 - p), (1 - p) * x - x
    torch.testing.assert_close(Bernoulli(missing=p).variance(x), variance + bias.square())


def test_a_masked_comparison_has_the_clean_picture_as_its_minimum():
    """The average of observed targets is the clean value, that of all targets is not."""
    clean = torch.full((400, 1, 8, 8), 0.6)
    noisy, mask = Bernoulli(missing=(0, 0.95)).sample_with_mask(clean, generator())
    torch.testing.assert_close((noisy * mask).sum(0) / mask.sum(0), clean[0])
    assert noisy.mean() < 0.4
