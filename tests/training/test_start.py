"""Trainings that begin with the weights of another one."""

import json

import numpy as np
import pytest
import torch
import yaml

from shotnoise.bundled import find_model
from shotnoise.card import CARD_KEY
from shotnoise.cli import run
from shotnoise.errors import ModelError
from shotnoise.images import Image, save_image
from shotnoise.networks import create, load
from shotnoise.networks.checkpoint import read_state
from shotnoise.recipe import load_recipe, scaled
from shotnoise.training import train
from shotnoise.training.start import start_from

RECIPE = """
name: test/start
network: {name: dncnn, in_nc: 3, out_nc: 3, nb: 3, nc: 4, act_mode: R}
noise: {name: gaussian, sigma: 25}
pairs: {name: clean, crop: 16}
training: {steps: 4, batch: 2, lr: 1.0e-3}
validation: {share: 0.4, every: 2, samples: 2, crop: 16}
"""


@pytest.fixture
def first(tmp_path):
    """A recipe in a file, pictures, and a run on them."""
    rng = np.random.default_rng(0)
    for folder in ("pictures", "others"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            pixels = rng.integers(0, 255, (24, 24, 3), np.uint8)
            save_image(Image(pixels), tmp_path / folder / f"{number}.png")
    (tmp_path / "start.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "start.yaml", data=[tmp_path / "pictures"])
    return train(recipe, tmp_path / "first", accelerator="cpu")


def test_the_first_step_sees_the_weights_of_the_run(first, tmp_path):
    """A step with a rate of next to nothing leaves them as they are; another one, from an optimiser that is fresh."""
    command = ["train", str(tmp_path / "start.yaml"), "--data", str(tmp_path / "others"), "--device", "cpu"]
    more = ["--start-from", str(first.folder), "--set", "training.lr=1e-30", "--set", "training.steps=1"]
    assert run([*command, *more, "-o", str(tmp_path / "same")]) == 0
    for key, value in load(first.best).state_dict().items():
        assert torch.equal(value, load(tmp_path / "same" / "last.safetensors").state_dict()[key]), key
    checkpoint = torch.load(tmp_path / "same" / "last.ckpt", weights_only=True)
    assert {int(state["step"]) for state in checkpoint["optimizer_states"][0]["state"].values()} == {1}


def test_the_run_says_where_it_began_and_what_the_weights_have_seen(first, tmp_path):
    recipe = load_recipe(tmp_path / "start.yaml", data=[tmp_path / "others"], start_from=first.folder)
    assert recipe.start_from == str(first.folder)
    second = train(recipe, tmp_path / "second", accelerator="cpu", stop_at=2)
    written = yaml.safe_load((second.folder / "recipe.yaml").read_text())
    assert written["start_from"] == str(first.folder)
    assert f"starts from the weights of {first.folder}" in (second.folder / "train.log").read_text()
    # gone by then; a resumed run has its own weights
    first.folder.rename(tmp_path / "moved")
    assert run(["train", "--resume", str(second.folder), "--device", "cpu"]) == 0
    card = json.loads(read_state(second.folder / "last.safetensors")[1][CARD_KEY])
    assert card["trained_on"] == [str(tmp_path / "pictures"), str(tmp_path / "others")]


def test_weights_without_a_card_start_a_run_too(first, tmp_path):
    torch.save(load(first.best).state_dict(), tmp_path / "published.pth")
    network = create("dncnn", in_nc=3, out_nc=3, nb=3, nc=4, act_mode="R")
    assert start_from(network, tmp_path / "published.pth", "dncnn") is None
    for key, value in load(first.best).state_dict().items():
        assert torch.equal(value, network.state_dict()[key]), key
    recipe = load_recipe(tmp_path / "start.yaml", data=["x"], start_from=tmp_path / "published.pth")
    plan = recipe.model_copy(update={"data": (str(tmp_path / "others"),)})
    second = train(plan, tmp_path / "second", accelerator="cpu", stop_at=2)
    card = json.loads(read_state(second.best)[1][CARD_KEY])
    assert card["trained_on"] == ["whatever published.pth was trained on", str(tmp_path / "others")]


def test_bundled_models_are_refined_and_grow(first, tmp_path):
    """By their name; the first step of a rate of next to nothing validates as the model itself would."""
    (tmp_path / "more.yaml").write_text(
        RECIPE.replace("{name: dncnn, in_nc: 3, out_nc: 3, nb: 3, nc: 4, act_mode: R}", "{name: shotnet, size: S}")
    )
    command = ["train", str(tmp_path / "more.yaml"), "--data", str(tmp_path / "others"), "--device", "cpu"]
    command += ["--start-from", "gaussian", "--set", "training.lr=1e-30", "--set", "training.steps=1"]
    results = []
    for name, more in (("same", []), ("grown", ["--set", "network.encoder=[1, 2, 3]"])):
        assert run([*command, *more, "-o", str(tmp_path / name)]) == 0
        results.append(
            load(tmp_path / name / "last.safetensors")(torch.ones(1, 3, 16, 16) / 2, torch.tensor([[[[0.1]]]]))
        )
        assert ("grows from a smaller network" in (tmp_path / name / "train.log").read_text()) == bool(more)
    expected = load(find_model("gaussian"))(torch.ones(1, 3, 16, 16) / 2, torch.tensor([[[[0.1]]]]))
    for result in results:
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    card = json.loads(read_state(tmp_path / "same" / "last.safetensors")[1][CARD_KEY])
    assert card["trained_on"][0].startswith("CLIC 2025")
    assert card["trained_on"][-1] == str(tmp_path / "others")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nc": 6}, "'model.0.weight' is 4x3x3x3 there and 6x3x3x3 in the network of the recipe"),
        ({"nb": 4}, "'model.4.weight' is 3x4x3x3 there and 4x4x3x3 in the network of the recipe"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_the_name_of_the_first(first, options, words):
    network = create("dncnn", **{"in_nc": 3, "out_nc": 3, "nb": 3, "nc": 4, "act_mode": "R"} | options)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        start_from(network, first.folder, "dncnn")
    assert words in str(caught.value)
    assert "give the recipe the same network options, or name another run" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


def test_mistakes_end_with_one_line(first, tmp_path, capsys):
    fresh = ["train", str(tmp_path / "start.yaml"), "--data", str(tmp_path / "others"), "-o", str(tmp_path / "second")]
    cases = [
        ([*fresh, "--start-from", str(tmp_path / "nothing")], 1, "nothing"),
        ([*fresh, "--start-from", str(first.folder), "--set", "network.nc=8"], 1, "cannot start from these weights"),
        (["train", "--resume", str(first.folder), "--start-from", str(first.folder)], 2, "--resume goes on with the"),
        (["train", "--resume", str(first.folder), "--scale"], 2, "--resume goes on with the recipe"),
        ([*fresh, "--devices", "0", "--scale"], 1, "devices is 0; expected the number of processes"),
    ]
    for arguments, status, words in cases:
        assert run(arguments) == status, arguments
        error = capsys.readouterr().err
        assert words in " ".join(error.split()), arguments
        assert "Traceback" not in error


def test_scaling_says_what_it_derived_and_the_run_keeps_it(first, tmp_path, capsys):
    command = ["train", str(tmp_path / "start.yaml"), "--devices", "2", "--scale", "-o", str(tmp_path / "two")]
    assert run(command) == 1, "without data, so that no processes have to be started"
    said = capsys.readouterr().err
    assert "2 devices of 2 samples each: steps 4 -> 2, lr 0.001 -> 0.002, validation.every 2 -> 1" in said
    train(scaled(load_recipe(first.folder / "recipe.yaml"), 2), tmp_path / "two", accelerator="cpu")
    training = yaml.safe_load((tmp_path / "two" / "recipe.yaml").read_text())["training"]
    assert (training["steps"], training["lr"], training["batch"]) == (2, 2e-3, 2)
    assert run([*command[:3], "1", "--scale"]) == 1
    assert "1 device of 2 samples: nothing changes" in capsys.readouterr().err
