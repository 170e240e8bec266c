"""The stages of CycleISP against the formulas, and who learns from what."""

import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.methods import METHODS
from shotnoise.networks import create
from small_networks import SMALL


def made(stage, **options):
    torch.manual_seed(0)
    network = create("cycleisp", **SMALL["cycleisp"])
    return METHODS.create("cycleisp", {"stage": stage, **options}, network=network)


def batch_of():
    generator = torch.Generator().manual_seed(1)
    rgb, raw = (torch.rand(2, *shape, generator=generator) for shape in ((3, 24, 32), (4, 12, 16)))
    return {"noisy": rgb, "target": raw}


def loss_of(method, batch):
    return method.loss(batch, 0.0, torch.Generator())


def raw_terms(found, raw):
    """As the paper has it: L1, and L1 of logarithms with a floor."""
    logs = torch.log(found.clamp(min=1e-3)) - torch.log(raw.clamp(min=1e-3))
    return (found - raw).abs().mean() + logs.abs().mean()


def test_there():
    method, batch = made("raw"), batch_of()
    outcome = loss_of(method, batch)
    expected = raw_terms(method.network.rgb2raw(batch["noisy"]), batch["target"])
    assert outcome["loss"].item() == pytest.approx((expected).item())
    assert set(outcome["parts"]) == {"raw", "log"}


def test_back():
    method, batch = made("rgb"), batch_of()
    outcome = loss_of(method, batch)
    network = method.network
    picture = network.raw2rgb(batch["target"], network.ccm(batch["noisy"]))
    assert outcome["loss"].item() == pytest.approx(((picture - batch["noisy"]).abs().mean()).item())


@pytest.mark.parametrize("beta", [0.5, 0.2])
def test_there_and_back(beta):
    method, batch = made("joint", beta=beta), batch_of()
    outcome = loss_of(method, batch)
    network, rgb = method.network, batch["noisy"]
    raw = network.rgb2raw(rgb)
    picture = network.raw2rgb(raw.clamp(0, 1), network.ccm(rgb))
    expected = beta * raw_terms(raw, batch["target"]) + (1 - beta) * (picture - rgb).abs().mean()
    assert outcome["loss"].item() == pytest.approx((expected).item())
    assert set(outcome["parts"]) == {"raw", "log", "rgb"}


def gradients(method, batch):
    method.zero_grad()
    loss_of(method, batch)["loss"].backward()
    return {
        name: torch.cat([torch.zeros(1) if p.grad is None else p.grad.flatten() for p in child.parameters()])
        for name, child in method.network.named_children()
    }


def test_the_way_there_learns_from_both_terms_and_the_way_back_from_its_own():
    batch = batch_of()
    both, picture_only, raw_only = (gradients(made("joint", beta=beta), batch) for beta in (0.5, 0.0, 1.0))
    assert float(picture_only["rgb2raw"].abs().max()) > 0, "the picture teaches the way there too: RAW is not detached"
    assert float(raw_only["rgb2raw"].abs().max()) > 0
    torch.testing.assert_close(both["rgb2raw"], (picture_only["rgb2raw"] + raw_only["rgb2raw"]) / 2)
    for name in ("ccm", "raw2rgb"):
        assert float(raw_only[name].abs().max()) == 0
        assert float(picture_only[name].abs().max()) > 0
        torch.testing.assert_close(both[name], picture_only[name] / 2)


@pytest.mark.parametrize(
    ("stage", "trained"), [("raw", {"rgb2raw"}), ("rgb", {"ccm", "raw2rgb"}), ("joint", {"rgb2raw", "ccm", "raw2rgb"})]
)
def test_a_stage_leaves_the_others_alone(stage, trained):
    method = made(stage)
    found = {name for name, value in gradients(method, batch_of()).items() if float(value.abs().max()) > 0}
    assert found == trained
    free = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in free), "several processes wait for the gradient of every free parameter"
    assert method.predictor() is method.network


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stage": "both"}, "method.stage is 'both'; expected raw, rgb or joint"),
        ({"stage": "raw", "beta": 2}, "method.beta is 2; expected the weight of the RAW term"),
        ({"stage": "raw", "eps": 0}, "method.eps is 0; expected a number above 0"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(RecipeError, match=words):
        made(**options)


def test_wrong_companions():
    network = create("dncnn", **SMALL["dncnn"])
    with pytest.raises(RecipeError, match=r"got a DnCNN; it trains the network cycleisp"):
        METHODS.create("cycleisp", {"stage": "raw"}, network=network)
    with pytest.raises(RecipeError, match=r"got targets of 3 channels; expected the RAW planes.*invented-cameras"):
        loss_of(made("raw"), {"noisy": torch.rand(1, 3, 16, 16), "target": torch.rand(1, 3, 16, 16)})
