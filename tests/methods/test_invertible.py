"""The loss of InvDN: against the authors' code, and against formulas written out."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shotnoise.errors import RecipeError
from shotnoise.methods import METHODS
from shotnoise.networks import create
from shotnoise.networks.invdn import InvDN

SMALL = {"block_num": [1, 1], "width": 4}
PARTS = {
    "forward": "output_loss_forward_weighted",
    "reconstruction": "output_loss_back_rec",
    "gradient": "output_loss_back_grad_weighted",
    "ssim": "output_loss_back_ssim",
}


def batch_of(seed=0, batch=2, height=16, width=24, scale=4):
    generator = torch.Generator().manual_seed(seed)
    noisy, clean = (torch.rand(batch, 3, height, width, generator=generator) for _ in range(2))
    return {"noisy": noisy, "target": clean, "low": torch.nn.functional.avg_pool2d(clean, scale)}


def method_of(network=None, **options):
    torch.manual_seed(0)
    return METHODS.create("invertible", options, network=network or create("invdn", **SMALL))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("losses", "origin", "parts"),
    [("official", "torch", 4), ("reproduction", "paddle", 2)],
    ids=lambda value: str(value),
)
def test_golden(shared, losses, origin, parts):
    """Terms, total and gradients of both settings."""
    golden = load_file(shared / "golden" / "invdn_small.safetensors")
    state = {key.removeprefix("state/"): value for key, value in golden.items() if key.startswith("state/")}
    network = create("invdn", **InvDN.arguments_from(state))
    network.load_state_dict(state)
    method = method_of(network, losses=losses)
    low, _ = network.analyse(golden["input"])
    outcome = method.compared(low, golden["input_z"], {"target": golden["input_gt"], "low": golden["input_lq"]})
    assert list(outcome["parts"]) == list(PARTS)[:parts]
    for name, value in outcome["parts"].items():
        torch.testing.assert_close(value.detach(), golden[PARTS[name]], rtol=1e-4, atol=0)
    torch.testing.assert_close(outcome["loss"].detach(), golden[f"output_total_{origin}"], rtol=1e-4, atol=0)
    outcome["loss"].backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    norm = torch.linalg.vector_norm(torch.stack([gradient.norm() for gradient in gradients.values()]))
    torch.testing.assert_close(norm, golden[f"output_gradnorm_{origin}"].reshape(()), rtol=1e-4, atol=0)
    prefix = f"output_grad_{origin}/"
    checked = [key for key in golden if key.startswith(prefix)]
    assert len(checked) == 4
    for key in checked:
        expected = golden[key]
        torch.testing.assert_close(
            gradients[key.removeprefix(prefix)], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )


def sobel_by_hand(picture):
    """Mean absolute response to both filters, zeros around, one channel after the other."""
    padded = np.pad(picture, 1)
    height, width = picture.shape
    across = down = 0.0
    for y, x in itertools.product(range(height), range(width)):
        w = padded[y : y + 3, x : x + 3]
        across += abs((w[0, 2] + 2 * w[1, 2] + w[2, 2]) - (w[0, 0] + 2 * w[1, 0] + w[2, 0]))
        down += abs((w[2, 0] + 2 * w[2, 1] + w[2, 2]) - (w[0, 0] + 2 * w[0, 1] + w[0, 2]))
    return (across + down) / (height * width)


def dissimilarity_by_hand(first, second):
    first, second = (np.pad(picture, 1, mode="reflect") for picture in (first, second))
    values = []
    for y, x in itertools.product(range(first.shape[0] - 2), range(first.shape[1] - 2)):
        a, b = first[y : y + 3, x : x + 3], second[y : y + 3, x : x + 3]
        covariance = ((a - a.mean()) * (b - b.mean())).mean()
        top = (2 * a.mean() * b.mean() + 1e-4) * (2 * covariance + 9e-4)
        values.append(top / ((a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (a.var() + b.var() + 9e-4)))
    return np.clip((1 - np.array(values)) / 2, 0, 1).mean()


def test_terms_are_the_formulas():
    method = method_of(losses="official", forward=2.0, reconstruction=3.0, gradient=5.0, ssim=7.0)
    batch = batch_of()
    outcome = method.loss(batch, 0.0, torch.Generator().manual_seed(5))
    with torch.no_grad():
        low, latent = method.network.analyse(batch["noisy"])
        drawn = torch.randn(latent.shape, generator=torch.Generator().manual_seed(5))
        restored = method.network.synthesise(low, drawn).double().numpy()
    clean, small = batch["target"].double().numpy(), batch["low"].numpy()
    planes = list(itertools.product(range(2), range(3)))
    expected = {
        "forward": 2 * ((low.numpy() - small) ** 2).sum() / 2,
        "reconstruction": 3 * np.sqrt((clean - restored) ** 2 + 1e-3).sum() / 2,
        "gradient": 5 * np.mean([sobel_by_hand(clean[p] - restored[p]) for p in planes]),
        "ssim": 7 * np.mean([dissimilarity_by_hand(clean[p], restored[p]) for p in planes]),
    }
    assert {name: float(value.detach()) for name, value in outcome["parts"].items()} == pytest.approx(
        expected, rel=1e-4
    )
    assert float(outcome["loss"].detach()) == pytest.approx(sum(expected.values()), rel=1e-4)


def test_the_latent_is_drawn_anew_from_the_generator_of_the_step():
    method, batch = method_of(), batch_of()
    generator = torch.Generator().manual_seed(1)
    first, second = (method.loss(batch, 0.0, generator)["parts"] for _ in range(2))
    again = method.loss(batch, 0.0, torch.Generator().manual_seed(1))["parts"]
    assert first["reconstruction"] != second["reconstruction"]
    assert first["reconstruction"] == again["reconstruction"]
    assert first["forward"] == second["forward"], "the analysis is not random"


def test_the_restored_picture_teaches_the_analysis_too():
    method = method_of(forward=0.0)
    low, latent = method.network.analyse(batch_of()["noisy"])
    low.retain_grad()
    method.compared(low, torch.randn(latent.shape), batch_of())["loss"].backward()
    assert float(low.grad.abs().min()) > 0


def test_a_perfect_restoration_still_costs_the_floor_of_the_root():
    method, batch = method_of(), batch_of()
    low, latent = method.network.analyse(batch["target"])
    perfect = {"target": batch["target"], "low": low}
    parts = method.compared(low, latent, perfect)["parts"]
    assert float(parts["forward"].detach()) == 0
    assert float(parts["reconstruction"].detach()) == pytest.approx(1e-3**0.5 * 3 * 16 * 24, rel=1e-4)


def test_mistakes_are_named():
    cases = [
        ({"losses": "offical"}, "unknown losses 'offical': did you mean 'official'"),
        ({"gradient": 0.1}, "losses: reproduction has neither; choose losses: official"),
        ({"losses": "reproduction", "ssim": 0.0}, "choose losses: official"),
        ({"network": create("dncnn", nb=2, nc=4)}, "network DnCNN; expected one that can be run both ways"),
    ]
    for options, words in cases:
        with pytest.raises(RecipeError, match=words):
            method_of(**options)
    batch = batch_of()
    low = batch.pop("low")
    with pytest.raises(RecipeError, match="low resolution, which these samples do not carry; use pairs"):
        method_of().loss(batch, 0.0, torch.Generator())
    halved = batch | {"low": low.repeat_interleave(2, 2).repeat_interleave(2, 3)}
    with pytest.raises(RecipeError, match="makes 6 x 4 of 24 x 16, and the samples carry 12 x 8"):
        method_of().loss(halved, 0.0, torch.Generator())
