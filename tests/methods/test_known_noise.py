"""R2R and SURE: for a linear denoiser their means are those of training with the truth."""

import pytest
import torch
from torch import nn

from shotnoise.errors import RecipeError
from shotnoise.methods import METHODS
from shotnoise.methods.r2r import split_gaussian, split_poisson
from shotnoise.networks import Network


class Linear(Network):
    """One 3x3 convolution around each pixel: the simplest denoiser whose divergence is not zero."""

    channels = 1

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[0.05, 0.1, 0.05], [0.1, 0.4, 0.1], [0.05, 0.1, 0.05]])[None, None])
            self.conv.bias.zero_()
        self.levels = []

    def forward(self, noisy, level=None, latent=None):
        self.levels.append(level)
        return self.conv(noisy)


def scene(count, low=0.2, high=0.8):
    wave = torch.linspace(0, 12, 32).sin().view(1, 1, 1, 32) * torch.linspace(0, 7, 32).cos().view(1, 1, 32, 1)
    return (low + (high - low) * (wave + 1) / 2).expand(count, 1, 32, 32)


def outcome(name, batch, seed, **options):
    """Loss and gradient of the weights."""
    network = Linear()
    method = METHODS.create(name, options, network=network)
    value = method.loss(batch, 0.5, torch.Generator().manual_seed(seed))["loss"]
    value.backward()
    return float(value.detach()), network.conv.weight.grad.flatten(), network


def noisy_batch(count, seed=0):
    """Half of the samples with little noise, half with much."""
    clean = scene(count)
    sigma = torch.where(torch.arange(count) % 2 == 0, 0.05, 0.15).view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return {"noisy": clean + sigma * noise, "clean": clean, "level": sigma}


def test_sure_is_the_error_against_the_truth():
    batch = noisy_batch(1000)
    value, gradient, _ = outcome("sure", batch, 1)
    truth, expected, _ = outcome("supervised", batch | {"target": batch["clean"]}, 0, distance="l2")
    assert value == pytest.approx(truth, rel=0.01)
    torch.testing.assert_close(gradient, expected, rtol=0.02, atol=2e-4)


def test_r2r_is_training_with_the_truth_on_the_recorrupted_input():
    """Same gradient; the loss is larger by the noise of the target, sigma^2 / alpha."""
    alpha, batch = 0.3, noisy_batch(2000)
    value, gradient, network = outcome("r2r", batch, 1, alpha=alpha)
    first, _ = split_gaussian(batch["noisy"], batch["level"], alpha, torch.Generator().manual_seed(1))
    truth, expected, _ = outcome("supervised", {"noisy": first, "target": batch["clean"]}, 0, distance="l2")
    assert value - float(batch["level"].square().mean()) / alpha == pytest.approx(truth, rel=0.03)
    torch.testing.assert_close(gradient, expected, rtol=0.02, atol=6e-4)
    torch.testing.assert_close(network.levels[0], batch["level"] / (1 - alpha) ** 0.5)


@pytest.mark.parametrize("alpha", [0.15, 0.5])
def test_gaussian_parts_are_independent_and_have_the_right_noise(alpha):
    clean, sigma = scene(500), torch.tensor(0.1)
    generator = torch.Generator().manual_seed(0)
    noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
    first, second = (part - clean for part in split_gaussian(noisy, sigma, alpha, generator))
    assert float(first.mean()) == pytest.approx(0, abs=1e-3)
    assert float(second.mean()) == pytest.approx(0, abs=2e-3)
    assert float(first.var()) == pytest.approx(0.01 / (1 - alpha), rel=0.01)
    assert float(second.var()) == pytest.approx(0.01 / alpha, rel=0.01)
    assert float((first * second).mean()) == pytest.approx(0, abs=1e-4)


def test_photons_are_split_and_none_is_lost():
    photons, alpha, clean = 30.0, 0.2, scene(500)
    generator = torch.Generator().manual_seed(0)
    noisy = torch.poisson(photons * clean, generator=generator) / photons
    first, second = split_poisson(noisy, photons, alpha, generator)
    torch.testing.assert_close((1 - alpha) * first + alpha * second, noisy)
    assert float((first - clean).mean()) == pytest.approx(0, abs=1e-3)
    assert float((second - clean).mean()) == pytest.approx(0, abs=2e-3)
    assert float((first - clean).var() * photons * (1 - alpha)) == pytest.approx(float(clean.mean()), rel=0.01)
    assert float(((first - clean) * (second - clean)).mean()) == pytest.approx(0, abs=2e-4)


def test_r2r_of_photons_trains_like_the_truth():
    photons, clean = 30.0, scene(2000)
    noisy = torch.poisson(photons * clean, generator=torch.Generator().manual_seed(0)) / photons
    _, gradient, _ = outcome("r2r", {"noisy": noisy}, 1, alpha=0.3, photons=photons)
    first, _ = split_poisson(noisy, photons, 0.3, torch.Generator().manual_seed(1))
    _, expected, _ = outcome("supervised", {"noisy": first, "target": clean}, 0, distance="l2")
    torch.testing.assert_close(gradient, expected, rtol=0.02, atol=6e-4)


@pytest.mark.parametrize("name", ["r2r", "sure"])
def test_the_level_must_be_known(name):
    method = METHODS.create(name, network=Linear())
    with pytest.raises(RecipeError, match=f"method '{name}' must know the standard deviation.*use noise: {{name: gaus"):
        method.loss({"noisy": torch.rand(1, 1, 8, 8)}, 0.0, torch.Generator())


def test_options_are_checked():
    for name, options, words in [
        ("r2r", {"alpha": 1}, "method.alpha is 1; expected a share"),
        ("r2r", {"photons": 0}, "method.photons is 0; expected"),
        ("sure", {"step": 0}, "method.step is 0; expected"),
    ]:
        with pytest.raises(RecipeError, match=words):
            METHODS.create(name, options, network=Linear())
