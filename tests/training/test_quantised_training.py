"""Training for int8: what is rounded and how, what learns, and what a run leaves."""

import copy
import csv

import numpy as np
import pytest
import torch
from torch import nn

from shotnoise.cli import run
from shotnoise.errors import RecipeError
from shotnoise.export.qdq import rounded_weights
from shotnoise.images import Image, save_image
from shotnoise.networks import create, load
from shotnoise.networks.checkpoint import read_state
from shotnoise.recipe import Recipe, load_recipe
from shotnoise.training import train
from shotnoise.training.quantised import _LARGEST, Quantisation, RoundedInput, _highest, rounded_weight

TINY = {"widths": [4, 6], "encoder": [1, 1], "decoder": [1]}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(4):
        save_image(Image(rng.integers(0, 255, (40, 40, 3), np.uint8)), folder / f"{number}.png")
    return folder


def recipe(pictures, **training):
    options = {"steps": 8, "batch": 4, "lr": 1e-3, "quantise": "int8", "ema": 0.8} | training
    return Recipe.model_validate(
        {
            "name": "test/int8",
            "network": {"name": "shotnet", **TINY},
            "noise": {"name": "gaussian", "sigma": [0, 50]},
            "pairs": {"name": "clean", "crop": 16},
            "training": options,
            "validation": {"share": 0.3, "every": 4, "samples": 4, "crop": 16},
            "data": [str(pictures)],
        }
    )


def metrics(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def filled_network(seed=0):
    """Fresh networks begin with layers of zeros; these have something to round everywhere."""
    generator = torch.Generator().manual_seed(seed)
    network = create("shotnet", **TINY)
    for parameter in network.parameters():
        parameter.data.normal_(std=0.2, generator=generator)
    return network


def quantise(values, low, high, steps):
    """Evenly spaced values from low to high, with 0 among them; the nearest of them."""
    step = (high - low) / steps
    first = round(low / step)
    grid = step * np.arange(first, first + steps + 1)
    return grid[np.abs(values[..., None] - grid).argmin(-1)]


def by_hand(x, low, high):
    return torch.from_numpy(quantise(x.detach().numpy(), low, high, 255).astype(np.float32))


# --- Rounding ---------------------------------------------------------------------------------------------------------


def test_weights_take_one_of_127_values_per_output_channel():
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    weight *= torch.tensor([0.1, 1, 5, 9])[:, None, None, None]
    for channel, result in zip(weight.numpy(), rounded_weight(weight).numpy(), strict=True):
        limit = np.abs(channel).max()
        np.testing.assert_allclose(result, quantise(channel, -limit, limit, 126), atol=1e-5 * limit)
        assert np.abs(result).max() == pytest.approx(limit)


def test_weights_are_rounded_as_the_export_rounds_them():
    """Whose steps are those, or smaller ones that cut off the largest weights."""
    weight = torch.tensor([1.0, -1.0, 0.5, 0.252]).repeat(2, 1)[..., None, None]
    integers, scales = rounded_weights(weight.numpy())
    assert abs(integers).max() == _LARGEST
    assert scales[:, None] * integers[..., 0, 0] == pytest.approx(rounded_weight(weight)[..., 0, 0].numpy(), abs=0.01)


def test_a_layer_of_zeros_stays_one():
    weight = torch.zeros(2, 3, 3, 3, requires_grad=True)
    rounded = rounded_weight(weight)
    rounded.sum().backward()
    assert not rounded.any()
    assert torch.equal(weight.grad, torch.ones_like(weight))


def test_inputs_take_one_of_256_values_between_what_was_seen():
    rounding, layer = RoundedInput(), nn.Identity()
    x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(2)) * 3 - 1
    (result,) = rounding(layer, (x,))
    seen = x[..., ::3, ::3]
    low, high = seen.min().item(), seen.max().item()
    assert rounding.ends.tolist() == pytest.approx([low, high])
    expected = quantise(x.numpy(), low, high, 255)
    assert np.abs(result.numpy() - expected).max() < 1e-5
    assert len(np.unique(result.numpy())) > 200


def test_the_range_follows_the_batches_without_their_outermost_values_until_it_is_frozen():
    rounding, layer = RoundedInput(), nn.Identity()
    first = torch.full((1, 1, 600, 600), 1.0)
    first[..., 0, :6] = 100  # 2 of the 40,000 values that are looked at, which 0.005 % leave out together with ...
    rounding(layer, (first,))
    assert rounding.ends.tolist() == [0, 100], "a share of 0.005 % is the second highest"
    first[..., 0, 3] = 1.0
    rounding.ends.zero_()
    rounding(layer, (first,))
    assert rounding.ends.tolist() == [0, 1], "one of 40,000 does not count"
    rounding(layer, (torch.full((1, 1, 6, 6), -3.0),))
    assert rounding.ends.tolist() == pytest.approx([0.05 * -3, 0.95])
    rounding(layer, (torch.full((1, 1, 6, 6), torch.nan),))
    assert rounding.ends.tolist() == pytest.approx([0.05 * -3, 0.95]), "no number changes nothing"
    rounding.frozen = True
    rounding(layer, (torch.full((1, 1, 6, 6), 9.0),))
    rounding.frozen = False
    rounding.eval()
    rounding(layer, (torch.full((1, 1, 6, 6), 9.0),))
    assert rounding.ends.tolist() == pytest.approx([0.05 * -3, 0.95])


def test_before_anything_was_seen_nothing_is_rounded():
    rounding = RoundedInput().eval()
    x = torch.rand(1, 2, 4, 4)
    assert torch.equal(rounding(nn.Identity(), (x,))[0], x)


def test_gradients_pass_the_rounding_as_if_it_were_not_there():
    conv = nn.Conv2d(2, 3, 3, bias=False)
    network = nn.Sequential(conv)
    Quantisation(network)
    x = torch.rand(1, 2, 9, 9, requires_grad=True)
    network(x).square().sum().backward()
    # the gradient of a plain convolution of the rounded numbers, for whoever was rounded
    plain = nn.Conv2d(2, 3, 3, bias=False)
    plain.weight.data = conv.weight.detach()
    hook = next(iter(conv._forward_pre_hooks.values()))
    hook.frozen = True
    inputs = hook(conv, (x.detach(),))[0].requires_grad_()
    plain(inputs).square().sum().backward()
    torch.testing.assert_close(conv._parameters["weight"].grad, plain.weight.grad)
    inside = (x >= hook.ends[0]) & (x <= hook.ends[1])
    torch.testing.assert_close(x.grad[inside], inputs.grad[inside])


# --- Networks ---------------------------------------------------------------------------------------------------------


def test_only_convolutions_that_are_not_named_are_rounded():
    network = filled_network()
    plain = copy.deepcopy(network)
    quantisation = Quantisation(network, ["head", "encoder.0"])
    names = {name for name, layer in plain.named_modules() if isinstance(layer, nn.Conv2d)}
    rounded = {name.replace("/", ".") for name in quantisation.inputs}
    assert names - rounded == {"head", "encoder.0.0.conv1", "encoder.0.0.conv2"}
    assert {type(plain.get_submodule(name)) for name in names} == {nn.Conv2d}, "no transposed ones"
    for name in names:
        before, after = plain.get_submodule(name).weight, network.get_submodule(name).weight
        assert torch.equal(before, after) == (name not in rounded), name
    x, level = torch.rand(1, 3, 16, 16), torch.full((1, 1, 1, 1), 0.1)
    exact, result = plain(x, level), network(x, level)
    for name in rounded:
        layer, (low, high) = plain.get_submodule(name), quantisation.inputs[name.replace(".", "/")].ends.tolist()
        layer.weight.data = rounded_weight(layer.weight).detach()
        layer.register_forward_pre_hook(lambda _, inputs, low=low, high=high: by_hand(inputs[0], low, high))
    by_hand_too = plain(x, level)
    # a value in the middle between two steps may go either way
    assert (result - by_hand_too).abs().mean() < 0.1 * (result - exact).abs().mean()


def test_the_network_keeps_its_keys_and_its_weights():
    network = filled_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    quantisation = Quantisation(network)
    network(torch.rand(1, 3, 16, 16), torch.full((1, 1, 1, 1), 0.1))
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert {name for name, _ in network.named_parameters()} == set(before)
    assert all(rounding.ends.any() for rounding in quantisation.inputs.values())


def test_a_copy_has_ranges_of_its_own():
    """As the averaged weights are a copy."""
    network = filled_network()
    both = nn.ModuleList([network, Quantisation(network)])
    copied = copy.deepcopy(both)
    copied[0](torch.rand(1, 3, 16, 16), torch.full((1, 1, 1, 1), 0.1))
    assert all(rounding.ends.any() for rounding in copied[1].inputs.values())
    assert not any(rounding.ends.any() for rounding in both[1].inputs.values())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["stem", "haed"], "'haed' is no convolution of ShotNet, and holds none; did you mean 'head'? Known: "),
        (["stem", "encoder", "down", "decoder", "head"], "finds nothing to round, 9 of 9 convolutions of ShotNet stay"),
    ],
)
def test_layers_that_make_no_sense_are_refused(layers, words):
    with pytest.raises(RecipeError) as caught:
        Quantisation(create("shotnet", **TINY), layers)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- Runs -------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_plain_weights_that_load_everywhere(pictures, tmp_path):
    done = train(recipe(pictures, float_layers=["stem", "head"]), tmp_path / "run", accelerator="cpu")
    assert np.isfinite(done.psnr)
    for name in ("best", "last"):
        tensors, _ = read_state(done.folder / f"{name}.safetensors")
        assert list(tensors.keys() ^ create("shotnet", **TINY).state_dict().keys()) == []
    assert type(load(done.folder).stem) is nn.Conv2d
    checkpoint = torch.load(done.folder / "last.ckpt", weights_only=True)
    ranges = {key: value for key, value in checkpoint["state_dict"].items() if key.startswith("quantisation")}
    assert len(ranges) == 7
    assert "quantisation.inputs.encoder/0/0/conv1.ends" in ranges
    again = load_recipe(done.folder / "recipe.yaml").training
    assert (again.quantise, again.float_layers, again.frozen_ranges) == ("int8", ("stem", "head"), 0.25)


def test_a_resumed_run_is_one_that_was_not_interrupted(pictures, tmp_path):
    plan = recipe(pictures, frozen_ranges=0.5)
    whole = train(plan, tmp_path / "whole", accelerator="cpu")
    train(plan, tmp_path / "parts", stop_at=3, accelerator="cpu")
    parts = train(plan, tmp_path / "parts", resume=True, accelerator="cpu")
    assert metrics(parts.folder) == metrics(whole.folder)
    first, second = (torch.load(end.folder / "last.ckpt", weights_only=True) for end in (whole, parts))
    for state in ("state_dict", "current_model_state"):  # with and without averaging
        assert first[state].keys() == second[state].keys()
        for key, value in first[state].items():
            assert torch.equal(value, second[state][key]), key


def test_ranges_hold_still_in_the_last_part(pictures, tmp_path):
    def ranges():
        state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
        return torch.cat([value for key, value in state.items() if key.startswith("quantisation")])

    plan = recipe(pictures, ema=None, frozen_ranges=0.5)
    seen = []
    for stop in (3, 4, 5, 8):
        train(plan, tmp_path / "run", stop_at=stop, resume=stop > 3, accelerator="cpu")
        seen.append(ranges())
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert torch.equal(seen[1], seen[3])


def test_the_validation_is_that_of_the_rounded_network(pictures, tmp_path):
    """With a rate of nothing, a run that starts from trained weights shows what rounding takes from them."""
    plain = train(recipe(pictures, quantise=None, lr=1e-2), tmp_path / "plain", accelerator="cpu")
    changes = {"start_from": str(plain.folder)}
    still = {"lr": 1e-30, "ema": None, "steps": 4}
    float_again = train(
        recipe(pictures, quantise=None, **still).model_copy(update=changes), tmp_path / "f", accelerator="cpu"
    )
    rounded = train(recipe(pictures, **still).model_copy(update=changes), tmp_path / "r", accelerator="cpu")
    assert float_again.psnr == pytest.approx(plain.psnr, abs=1e-4)
    assert rounded.psnr != pytest.approx(plain.psnr, abs=1e-4)
    assert rounded.psnr == pytest.approx(plain.psnr, abs=0.5)
    for key, value in load(rounded.best).state_dict().items():
        assert torch.equal(value, load(plain.best).state_dict()[key]), key


def test_the_range_of_a_batch_is_that_of_all_processes(monkeypatch):
    values = torch.randn(100_000, generator=torch.Generator().manual_seed(3))
    whole = _highest(values)
    assert whole == values.sort(descending=True).values[4], "5 of 100,000 are 0.005 %"
    halves = values.chunk(2)

    def all_gather(parts, best):
        for part, half in zip(parts, halves, strict=True):
            part.copy_(half.topk(len(best)).values)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather", all_gather)
    assert [_highest(half) for half in halves] == [whole, whole]


@pytest.mark.slow
def test_two_processes_see_the_ranges_of_the_whole_batch(pictures, tmp_path):
    # One step: rounding makes of the last digit of a sum, whose order differs, another weight.
    one = train(recipe(pictures, batch=4, ema=None, steps=1), tmp_path / "one", accelerator="cpu")
    two = train(recipe(pictures, batch=2, ema=None, steps=1), tmp_path / "two", accelerator="cpu", devices=2)
    first, second = (torch.load(end.folder / "last.ckpt", weights_only=True)["state_dict"] for end in (one, two))
    ranges = [key for key in first if key.startswith("quantisation")]
    assert len(ranges) == 9
    for key in ranges:
        torch.testing.assert_close(second[key], first[key], atol=1e-5, rtol=1e-5, msg=key)
    assert two.psnr == pytest.approx(one.psnr, abs=1e-2)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.precision=bf16", "quantise: int8 needs precision: fp32, but it is bf16"),
        ("training.quantise=int4", "training.quantise: Input should be 'int8'"),
        ("training.float_layers=[steam]", "'steam' is no convolution of ShotNet, and holds none; did you mean 'stem'?"),
    ],
)
def test_mistakes_end_with_one_line(pictures, tmp_path, capsys, override, words):
    (tmp_path / "plan.yaml").write_text(recipe(pictures).to_yaml())
    assert run(["train", str(tmp_path / "plan.yaml"), "--set", override, "-o", str(tmp_path / "run")]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert words in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "recipe.yaml").exists()


@pytest.mark.parametrize("override", ["training.float_layers=[stem]", "training.frozen_ranges=0.5"])
def test_options_of_the_rounding_need_it(pictures, tmp_path, override):
    (tmp_path / "plan.yaml").write_text(recipe(pictures, quantise=None).to_yaml())
    with pytest.raises(RecipeError, match="float_layers and frozen_ranges need quantise: int8"):
        load_recipe(tmp_path / "plan.yaml", overrides=[override])


# --- Precision of the machine -----------------------------------------------------------------------------------------


def test_a_cpu_without_bf16_trains_in_fp32_and_says_so(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("shotnoise.training.run._is_fast", lambda accelerator: False)
    exact = train(recipe(pictures, quantise=None), tmp_path / "fp32", accelerator="cpu")
    half = recipe(pictures, quantise=None, precision="bf16")
    train(half, tmp_path / "half", accelerator="cpu", stop_at=3)
    resumed = train(half, tmp_path / "half", accelerator="cpu", resume=True)
    assert metrics(resumed.folder) == metrics(exact.folder)
    line = "trains in fp32 instead of bf16: this CPU has no instructions for bf16"
    assert line in (resumed.folder / "train.log").read_text()
    assert "trains in fp32" not in (exact.folder / "train.log").read_text()
    assert load_recipe(resumed.folder / "recipe.yaml").training.precision == "bf16", "what was asked for"


def test_a_cpu_with_bf16_uses_it(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("shotnoise.training.run._is_fast", lambda accelerator: True)
    first = train(recipe(pictures, quantise=None, precision="bf16"), tmp_path / "a", stop_at=3, accelerator="cpu")
    assert "trains in fp32" not in (first.folder / "train.log").read_text()
    # and what it began goes on where there is none
    monkeypatch.setattr("shotnoise.training.run._is_fast", lambda accelerator: False)
    plan = load_recipe(first.folder / "recipe.yaml")
    assert train(plan, first.folder, resume=True, accelerator="cpu").step == 8
