"""Neighbor2Neighbor: the sub-sampler, the ramp, and the loss with its gradient against the original."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shotnoise.errors import RecipeError
from shotnoise.methods import METHODS
from shotnoise.methods.neighbor2neighbor import draw_index, neighbours
from shotnoise.networks import create


def method(network=None, **options):
    return METHODS.create("neighbor2neighbor", options, network=network or small())


def small(channels=3):
    torch.manual_seed(0)
    return create("neighbor2neighbor-unet", in_nc=channels, out_nc=channels, n_feature=4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.shared
def test_sub_sampler_is_the_original_one(shared):
    golden = load_file(shared / "golden" / "neighbor2neighbor_subsampler.safetensors")
    first, second = neighbours(golden["image"], golden["index"])
    assert torch.equal(first, golden["sub1"])
    assert torch.equal(second, golden["sub2"])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sub_sampler_takes_two_pixels_that_share_an_edge_of_their_cell(channels):
    """Every value tells where it comes from, so that the rule can be checked pixel by pixel."""
    rows, columns = 12, 10
    places = torch.arange(rows * columns).reshape(1, 1, rows, columns).float()
    picture = places + 1000 * torch.arange(channels).view(1, -1, 1, 1)
    picture = picture.expand(50, -1, -1, -1)
    first, second = neighbours(picture, draw_index(picture, generator()))
    assert first.shape == second.shape == (50, channels, rows // 2, columns // 2)
    for sub in (first, second):
        assert torch.equal(sub % 1000, (sub % 1000)[:, :1].expand_as(sub)), "all channels take the same pixel"
    (y1, x1), (y2, x2) = [((s[:, 0] // columns).numpy(), (s[:, 0] % columns).numpy()) for s in (first, second)]
    cell_y, cell_x = np.mgrid[: rows // 2, : columns // 2]
    assert (y1 // 2 == cell_y).all()
    assert (y2 // 2 == cell_y).all()
    assert (x1 // 2 == cell_x).all()
    assert (x2 // 2 == cell_x).all()
    assert (abs(y1 - y2) + abs(x1 - x2) == 1).all(), "never a diagonal, never the same pixel"
    kinds, counts = np.unique(np.stack([y1 % 2, x1 % 2, y2 % 2, x2 % 2]).reshape(4, -1), axis=1, return_counts=True)
    assert kinds.shape[1] == 8
    assert counts.min() > 0.7 * counts.mean(), "all eight equally likely"


@pytest.mark.shared
def test_loss_and_gradient_are_the_original_ones(shared):
    """The gradients are the proof that nothing flows through the pass over the whole picture."""
    golden = load_file(shared / "golden" / "neighbor2neighbor_loss.safetensors")
    weights = load_file(shared / "golden" / "neighbor2neighbor_unet.safetensors")
    network = create("neighbor2neighbor-unet", n_feature=16)
    network.load_state_dict({k.removeprefix("state/"): v for k, v in weights.items() if k.startswith("state/")})
    outcome = method(network).loss_at(golden["noisy"], None, golden["index"], float(golden["lambda"]))
    outcome["loss"].backward()
    assert float(outcome["parts"]["fit"].detach()) == pytest.approx(float(golden["loss_rec"]), rel=1e-5)
    assert float(outcome["parts"]["consistency"].detach()) == pytest.approx(
        float(golden["loss_reg_weighted"]), rel=1e-5
    )
    assert float(outcome["loss"].detach()) == pytest.approx(float(golden["loss_total"]), rel=1e-5)
    checked = {name: parameter.grad for name, parameter in network.named_parameters() if f"grad/{name}" in golden}
    assert len(checked) == 6
    for name, gradient in checked.items():
        expected = golden[f"grad/{name}"]
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_gamma_rises_by_epochs_counted_from_one():
    ramp = method(epochs=100).gamma
    steps = 100 * 11_082  # so many steps, so many chances to be off by one
    for epoch in (1, 2, 29, 37, 57, 58, 99, 100):
        expected = epoch / 100 * 2
        assert ramp((epoch - 1) * 11_082 / steps) == pytest.approx(expected)
        assert ramp((epoch * 11_082 - 1) / steps) == pytest.approx(expected)
    assert ramp(1.0) == 2.0, "the loop never gets there, validation might"
    assert method(epochs=10, increase_ratio=5).gamma(0.35) == 2.0
    assert {method(gamma=1.5).gamma(p) for p in (0.0, 0.4, 1.0)} == {1.5}


def test_weights_multiply_their_terms():
    network, batch = small(), {"noisy": torch.rand(2, 3, 64, 64, generator=generator())}

    def loss(**options):
        outcome = method(network, **options).loss(batch, 0.5, generator(7))
        return {name: float(value.detach()) for name, value in outcome["parts"].items()}

    plain, weighted = loss(gamma=1), loss(gamma=2, lambda1=3, lambda2=5)
    assert weighted["fit"] == pytest.approx(3 * plain["fit"])
    assert weighted["consistency"] == pytest.approx(10 * plain["consistency"])
    assert loss(lambda2=0)["consistency"] == 0


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_generator_decides_and_every_weight_learns(channels):
    network = small(channels)
    batch = {"noisy": torch.rand(1, channels, 64, 128, generator=generator())}
    losses = [method(network).loss(batch, 0.5, generator(seed))["loss"] for seed in (1, 1, 2)]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])
    losses[0].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_weights_learn_in_bf16_too():
    """Autocast keeps converted weights; those of the pass without gradient must not be used again."""
    network = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        method(network).loss({"noisy": torch.rand(1, 3, 64, 64)}, 0.5, generator())["loss"].backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    assert sum(float(p.grad.abs().sum()) > 0 for p in network.parameters()) > 40


def test_levels_reach_the_network():
    network = create("shotnet", widths=[8, 8], encoder=[1, 1], decoder=[1])
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    level = torch.full((1, 1, 1, 1), 0.1)
    method(network).loss({"noisy": torch.rand(1, 3, 64, 64), "level": level}, 0.5, generator())
    assert [torch.equal(value, level) for value in seen] == [True, True]


def test_each_pixel_keeps_its_own_level():
    """A network for RAW is told the level of every value, of each half those of its pixels."""
    network, seen = create("unprocessing-denoiser", width=4), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    noisy = torch.rand(1, 4, 64, 64, generator=generator())
    method(network).loss({"noisy": noisy, "level": noisy + 1}, 0.5, generator())
    assert [picture.shape[2] for picture, _ in seen] == [64, 32]
    assert all(torch.equal(level, picture + 1) for picture, level in seen)


def test_mistakes_are_named():
    with pytest.raises(RecipeError, match=r"samples are 96 x 96.*set pairs.crop to a multiple of 64"):
        method().loss({"noisy": torch.rand(1, 3, 96, 96)}, 0.5, generator())
    with pytest.raises(RecipeError, match="samples are 7 x 8; expected an even height and width"):
        neighbours(torch.rand(1, 1, 7, 8), torch.zeros(1, 3, 4, dtype=torch.int64))
    with pytest.raises(RecipeError, match=r"method.epochs is 0; expected"):
        method(epochs=0)
    with pytest.raises(RecipeError, match="a weight of method 'neighbor2neighbor' is negative"):
        method(gamma=-1)
    with pytest.raises(RecipeError, match="has no option 'lambda3': did you mean 'lambda"):
        method(lambda3=1)
