"""Colours and shares of the impulse model."""

import pytest
import torch

from shotnoise.noise.impulse import Impulse


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_pixel_is_replaced_in_all_channels_or_untouched():
    clean = torch.full((2, 3, 100, 100), 2.0)  # a value that no random colour has
    strength = torch.tensor([0.2, 0.7]).view(2, 1, 1, 1)
    noisy = Impulse(replaced=[0, 1]).sample(clean, generator(), strength)
    changed = noisy != clean
    assert torch.equal(changed.all(1), changed.any(1))
    error = (strength * (1 - strength) / 100**2).sqrt().flatten()
    assert ((changed[:, 0].float().mean((1, 2)) - strength.flatten()).abs() < 4 * error).all()


def test_colours_are_uniform_and_their_channels_independent():
    count = 100 * 100
    colours = Impulse(replaced=1).sample(torch.zeros(1, 3, 100, 100), generator())[0].flatten(1).double()
    assert ((colours.mean(1) - 0.5).abs() < 4 / (12 * count) ** 0.5).all()
    assert ((colours.var(1) - 1 / 12).abs() < 4 / (180 * count) ** 0.5).all()  # its fourth moment is 1/80
    correlation = torch.corrcoef(colours) - torch.eye(3)
    assert correlation.abs().max() < 4 / count**0.5
    assert colours.min() >= 0
    assert colours.max() < 1


def test_deviation_is_variance_plus_squared_bias():
    x, p = torch.linspace(0, 1, 7).double(), 0.3
    mean = (1 - p) * x + p / 2
    second_moment = (1 - p) * x.square() + p / 3
    expected = second_moment - mean.square() + (mean - x).square()
    torch.testing.assert_close(Impulse(replaced=p).variance(x), expected)


def test_the_true_colour_stays_the_most_frequent():
    clean = torch.full((1, 1, 100, 100), 0.25)
    noisy = Impulse(replaced=0.7).sample(clean, generator())
    values, counts = noisy.unique(return_counts=True)
    assert float(values[counts.argmax()]) == 0.25
    assert float(noisy.median()) != pytest.approx(0.25, abs=0.01)
