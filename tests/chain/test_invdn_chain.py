"""The whole road of the InvDN recipes, by the commands a user would type: pairs, training, score, model, pictures."""

import csv
import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shotnoise import open_image
from shotnoise.cli import run
from shotnoise.images import Image, save_image
from shotnoise.recipe import load_recipe
from shotnoise.training import train

TINY = [
    "network.scale=2", "network.block_num=[1]", "network.width=8", "pairs.low=2",
    "pairs.crop=16", "training.steps=6", "training.batch=2",
    "validation.every=3", "validation.samples=2", "validation.crop=24", "validation.share=0.25",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pairs, the noise of which is stronger in the light, as that of a camera; a side is no multiple of 2."""
    root = tmp_path_factory.mktemp("invdn")
    rng = np.random.default_rng(0)
    for number in range(4):
        y, x = np.mgrid[:50, :61] / 60
        wave = 0.5 + 0.4 * np.sin(np.array([4, 5, 6])[:, None, None] * x * (number + 1) / 4 + 3 * y)
        clean = wave.transpose(1, 2, 0)
        noisy = clean + np.sqrt(0.01 * clean) * rng.normal(size=clean.shape)
        for kind, values in (("clean", clean), ("noisy", noisy)):
            pixels = np.ascontiguousarray((255 * values.clip(0, 1)).round().astype(np.uint8))
            (root / "pairs" / kind).mkdir(parents=True, exist_ok=True)
            save_image(Image(pixels), root / "pairs" / kind / f"{number}.png")
    return root


def settings(*values):
    return [word for value in values for word in ("--set", value)]


def curve(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_pairs_to_clean_pictures(folder, capsys):
    pairs, whole, parts = (str(folder / name) for name in ("pairs", "whole", "parts"))
    command = ["train", "invdn/sidd-quick", "--data", pairs, "--device", "cpu", *settings(*TINY)]
    assert run([*command, "-o", whole]) == 0
    assert "--protocol pairs/folder --data DIR" in capsys.readouterr().out
    # The same in two halves: the latent of a step depends on the step alone.
    assert run([*command, "-o", parts, "--stop-at", "3"]) == 0
    assert run(["train", "--resume", parts, "--device", "cpu"]) == 0
    assert curve(folder / "parts") == curve(folder / "whole")
    assert [row["psnr"] for row in curve(folder / "whole") if row["psnr"]], "a best one is kept, however bad"

    scores = folder / "scores.json"
    evaluate = ["evaluate", whole, "--protocol", "pairs/folder", "--data", pairs]
    assert run([*evaluate, "--metrics", "invdn,invdn-paddle", "--ensemble", "x8", "--json", str(scores)]) == 0

    model = folder / "model.onnx"
    capsys.readouterr()
    assert run(["export", whole, "-o", str(model), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["difference"] < 1e-4
    assert report["card"]["latent"] == {"channels": 9, "reduction": 2}

    # The exported file gives the pixels of the checkpoint, again and again, and others for another seed.
    results = {}
    noisy = str(folder / "pairs" / "noisy" / "0.png")
    calls = {"torch": [whole], "onnx": [str(model)], "again": [str(model)], "seed": [str(model), "--seed", "1"]}
    for name, extra in calls.items():
        out = folder / f"{name}.png"
        assert run(["denoise", noisy, "-o", str(out), "--model", *extra]) == 0
        results[name] = open_image(out).pixels.astype(int)
    assert results["torch"].shape == (50, 61, 3)
    assert np.abs(results["torch"] - results["onnx"]).max() <= 1
    assert np.array_equal(results["onnx"], results["again"])
    assert not np.array_equal(results["onnx"], results["seed"])
    sampled = ["denoise", noisy, "-o", str(folder / "mean.png"), "--model", str(model), "--samples", "3"]
    assert run([*sampled, "--uncertainty"]) == 0
    assert np.load(folder / "mean_uncertainty.npy").max() > 0


def test_a_store_with_small_pictures_trains_the_official_settings(folder):
    store, out = str(folder / "store"), folder / "official"
    assert run(["pack", str(folder / "pairs"), store, "--crop", "32", "--crops", "2", "--low", "2"]) == 0
    more = ["training.workers=0", "training.steps=10", "validation.every=5"]  # parts are logged at every tenth step
    command = ["train", "invdn/sidd-official", "--data", store, "--device", "cpu", *settings(*TINY, *more)]
    assert run([*command, "-o", str(out)]) == 0
    board = EventAccumulator(str(out / "tensorboard")).Reload()
    assert {f"loss/{part}" for part in ("forward", "reconstruction", "gradient", "ssim")} <= set(
        board.Tags()["scalars"]
    )


def test_mistakes_end_with_one_line(folder, capsys):
    cases = [
        (["pairs.low=null"], "compares with the clean picture at low resolution"),
        (["pairs.low=4"], "pairs.low must be the scale of the network"),
        (["pairs.crop=17"], "multiples of 2"),
        (["network={name: dncnn, in_nc: 3, out_nc: 3}"], "expected one that can be run both ways"),
        (["method.loses=official"], "method 'invertible' has no option 'loses': did you mean 'losses'"),
        (["method.ssim=0.5"], "choose losses: official"),
    ]
    for number, (values, words) in enumerate(cases):
        small = TINY if not values[0].startswith("network=") else TINY[3:]
        command = ["train", "invdn/sidd-quick", "--data", str(folder / "pairs"), "--device", "cpu"]
        assert run([*command, "-o", str(folder / f"bad{number}"), *settings(*small, *values)]) == 1, values
        error = capsys.readouterr().err
        assert words in error, values
        assert "Traceback" not in error


@pytest.mark.slow
@pytest.mark.shared
def test_sixty_steps_on_real_pairs_learn_what_they_should(shared, tmp_path):
    """With crops of 64 the authors' code has 0.29 after 25 steps and 0.11 after 50; 32 take a third of the time."""
    quick = ["pairs.crop=32", "training.steps=60", "validation.every=60", "validation.samples=1", "validation.crop=64"]
    recipe = load_recipe("invdn/sidd-quick", overrides=quick, data=[shared / "data" / "sidd_mini"])
    train(recipe, tmp_path / "run", accelerator="cpu")
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    per_value = {event.step + 1: event.value / (3 * 32 * 32) for event in board.Scalars("loss/reconstruction")}
    assert list(per_value) == [10, 20, 30, 40, 50, 60]
    assert 1e-3**0.5 < per_value[60] < 0.2, per_value
    assert per_value[30] < 0.5, per_value
