"""The supervised method against the formulas."""

import math

import pytest
import torch
from torch import nn

from shotnoise.errors import RecipeError
from shotnoise.methods import METHODS
from shotnoise.networks import Network, create


def batch_of(channels=3, **more):
    shape = (2, channels, 16, 16)
    return {"noisy": torch.rand(shape), "target": torch.rand(shape), "level": torch.rand(2, 1, 1, 1)} | more


@pytest.mark.parametrize(
    ("distance", "formula"),
    [
        ("l1", lambda d: d.abs().mean()),
        ("l2", lambda d: (d * d).mean()),
        ("charbonnier", lambda d: torch.sqrt(d * d + 1e-6).mean()),
    ],
)
def test_distances(distance, formula):
    network = create("shotnet", widths=[8, 8], encoder=[1, 1], decoder=[1])  # a fresh one changes nothing
    method = METHODS.create("supervised", {"distance": distance}, network=network)
    batch = batch_of()
    outcome = method.loss(batch, 0.0, torch.Generator())
    assert float(outcome["loss"].detach()) == pytest.approx(float(formula(batch["noisy"] - batch["target"])))
    assert set(outcome["parts"]) == {distance}
    assert method.predictor() is network


class Constant(Network):
    """Answers one number everywhere, which is learned."""

    channels = 1

    def __init__(self, value=0.5):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, noisy, level=None, latent=None):
        return self.value.expand_as(noisy)


@pytest.mark.parametrize(("progress", "gamma"), [(0.0, 2.0), (0.25, 1.5), (0.5, 1.0), (0.9, 0.2), (1.0, 0.0)])
def test_l0_is_annealed(progress, gamma):
    method = METHODS.create("supervised", {"distance": "l0"}, network=Constant())
    batch = batch_of(1)
    expected = ((0.5 - batch["target"]).abs().double() + 1e-8).pow(gamma).mean()
    outcome = method.loss(batch, progress, torch.Generator())
    assert float(outcome["loss"].detach()) == pytest.approx(float(expected), rel=1e-5)
    outcome["loss"].backward()
    assert torch.isfinite(method.network.value.grad)


def test_l0_survives_a_perfect_result():
    method = METHODS.create("supervised", {"distance": "l0"}, network=Constant(0.25))
    batch = {"noisy": torch.zeros(1, 1, 4, 4), "target": torch.full((1, 1, 4, 4), 0.25)}
    for progress in (0.0, 0.5, 0.99, 1.0):
        method.zero_grad()
        method.loss(batch, progress, torch.Generator())["loss"].backward()
        assert float(method.network.value.grad) == 0


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "charbonnier"])
def test_only_measured_values_count(distance):
    method = METHODS.create("supervised", {"distance": distance}, network=Constant())
    batch = batch_of(3)
    mask = (torch.rand(2, 1, 16, 16) < 0.3).float()
    masked = method.loss(batch | {"mask": mask}, 0.2, torch.Generator())["loss"]
    kept = mask.expand(2, 3, 16, 16).bool()
    alone = {"noisy": batch["noisy"][kept][None, None, None], "target": batch["target"][kept][None, None, None]}
    assert float(masked.detach()) == pytest.approx(float(method.loss(alone, 0.2, torch.Generator())["loss"].detach()))
    spoilt = torch.where(kept, batch["target"], 1e3)
    assert torch.equal(masked, method.loss(batch | {"mask": mask, "target": spoilt}, 0.2, torch.Generator())["loss"])
    nothing = method.loss(batch | {"mask": torch.zeros_like(mask)}, 0.2, torch.Generator())["loss"]
    assert float(nothing.detach()) == 0


def test_noisy_and_clean_targets_have_the_same_mean_gradient():
    """Why Noise2Noise works, for l2 and noise of mean zero: 4000 targets of one picture against the picture."""
    clean = torch.linspace(0, 1, 16).expand(4000, 1, 16, 16)
    generator = torch.Generator().manual_seed(0)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator)
    gradients = []
    for target in (clean, noisy):
        method = METHODS.create("supervised", {"distance": "l2"}, network=Constant(0.3))
        method.loss({"noisy": clean, "target": target}, 0.0, generator)["loss"].backward()
        gradients.append(float(method.network.value.grad))
    assert gradients[0] == pytest.approx(gradients[1], abs=1e-3)


def test_psnr_counts_the_decibels_of_every_sample_alike():
    """40 and 20 dB lack 10.4 and 30.0; a percent less error is worth as much to either."""
    target = torch.zeros(2, 1, 16, 16)
    noisy = torch.tensor([0.01, 0.1]).reshape(2, 1, 1, 1).expand_as(target).clone().requires_grad_()
    method = METHODS.create("supervised", {"distance": "psnr"}, network=create("shotnet", in_nc=1, level="none"))
    outcome = method.loss({"noisy": noisy, "target": target}, 0.0, torch.Generator())
    assert float(outcome["loss"].detach()) == pytest.approx((10 * math.log10(11) + 10 * math.log10(1001)) / 2)
    outcome["loss"].backward()
    relative = (noisy.grad * noisy.detach()).sum((1, 2, 3))
    assert float(relative[0]) == pytest.approx(float(relative[1]), rel=0.15)


def test_psnr_counts_up_to_what_is_called_perfect():
    batch = batch_of() | {"target": torch.zeros(2, 3, 16, 16), "noisy": torch.full((2, 3, 16, 16), 0.01)}
    method = METHODS.create("supervised", {"distance": "psnr", "perfect": 40}, network=create("shotnet"))
    assert float(method.loss(batch, 0.0, torch.Generator())["loss"].detach()) == pytest.approx(10 * math.log10(2))
    with pytest.raises(RecipeError, match="perfect is 40 with the distance l1; only psnr knows it"):
        METHODS.create("supervised", {"distance": "l1", "perfect": 40}, network=create("shotnet"))


def test_psnr_is_blind_where_nothing_was_measured():
    mask = torch.zeros(2, 1, 16, 16)
    mask[1] = 1
    batch = batch_of() | {"mask": mask}
    method = METHODS.create("supervised", {"distance": "psnr"}, network=create("shotnet"))
    value = float(method.loss(batch, 0.0, torch.Generator())["loss"].detach())
    mse = float((batch["noisy"] - batch["target"])[1].square().mean())
    assert value == pytest.approx(10 * math.log10(1 + mse / 1e-5) / 2)


def test_unknown_distance():
    with pytest.raises(RecipeError, match="unknown distance 'l3'"):
        METHODS.create("supervised", {"distance": "l3"}, network=create("dncnn", nb=2, nc=4))
