"""The whole road of the two recipe families that learn from noisy pictures, by the functions behind the commands."""

import csv

import numpy as np
import onnxruntime
import pytest
import torch

from shotnoise import Denoiser
from shotnoise.export import export
from shotnoise.images import Image, save_image
from shotnoise.networks import load
from shotnoise.recipe import load_recipe
from shotnoise.store import pack
from shotnoise.training import train

TINY = [
    "network.n_feature=4", "pairs.crop=64", "training.steps=12", "training.batch=2", "training.lr=2e-3",
    "training.precision=fp32", "training.workers=0", "validation.every=6", "validation.samples=2",
    "validation.share=0.25", "validation.crop=64",
]  # fmt: skip


def scene(number):
    y, x = np.mgrid[:80, :100] / 60
    wave = 0.5 + 0.4 * np.sin(np.array([4, 5, 6])[:, None, None] * x * (number + 1) / 4 + 3 * y)
    return np.ascontiguousarray((255 * wave).transpose(1, 2, 0).astype(np.uint8))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("noisy")
    (root / "pictures").mkdir()
    for number in range(8):
        save_image(Image(scene(number)), root / "pictures" / f"{number}.png")
    pack(root / "pictures", root / "store")
    return root / "store"


def curve(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tiny(name, store, *more):
    return load_recipe(name, overrides=[*TINY, *more], data=[store])


@pytest.mark.parametrize("name", ["noise2noise/gaussian-quick", "neighbor2neighbor/gauss25-quick"])
def test_pictures_to_a_running_denoiser(name, store, tmp_path):
    recipe = tiny(name, store)
    whole = train(recipe, tmp_path / "whole", accelerator="cpu")
    train(recipe, tmp_path / "parts", stop_at=5, accelerator="cpu")
    parts = train(load_recipe(tmp_path / "parts" / "recipe.yaml"), tmp_path / "parts", resume=True, accelerator="cpu")
    assert curve(parts.folder) == curve(whole.folder), "what the method draws is resumed, too"
    scores = [float(row["psnr"]) for row in curve(whole.folder) if row["psnr"]]
    assert scores[1] > scores[0], "a dozen steps from nothing towards a picture"
    network = load(whole.folder)
    for key, value in network.state_dict().items():
        assert torch.equal(value, load(parts.folder).state_dict()[key]), key

    made = export(whole.folder, tmp_path / "model.onnx")
    assert made.card.recipe == name
    assert made.difference < 1e-5
    noisy = np.random.default_rng(0).normal(0.5, 0.2, (1, 3, 64, 96)).astype(np.float32)
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(torch.from_numpy(noisy)).numpy()
    assert np.abs(session.run(None, {"noisy": noisy})[0] - expected).max() < 1e-5
    odd = Denoiser(made.path)(scene(3)[:57, :33])
    assert odd.shape == (57, 33, 3)
    assert odd.dtype == np.uint8


@pytest.mark.parametrize(
    "name",
    [f"noise2noise/{noise}-quick" for noise in ("poisson", "bernoulli", "text", "impulse")]
    + ["neighbor2neighbor/poisson5_50"],
)
def test_every_kind_of_noise_trains(name, store, tmp_path):
    recipe = tiny(name, store, "training.steps=3", "validation.every=3")
    run = train(recipe, tmp_path / "run", accelerator="cpu")
    assert run.step == 3
    assert np.isfinite(run.psnr)
    assert all(np.isfinite(float(row["loss"])) for row in curve(run.folder) if row["loss"])


@pytest.mark.parametrize("method", ["r2r", "sure"])
def test_known_noise_trains(method, store, tmp_path):
    recipe = tiny("neighbor2neighbor/gauss25-quick", store, f"method={{name: {method}}}", "training.steps=2")
    assert np.isfinite(train(recipe, tmp_path / "run", accelerator="cpu").psnr)


def test_noisy_and_clean_targets_see_the_same_noise(store, tmp_path):
    """The comparison that the paper makes: only the target differs, so the first losses differ by its noise alone."""
    curves = [
        curve(
            train(
                tiny(
                    "noise2noise/gaussian-quick", store, f"pairs.clean_target={clean}", "training.lr=1e-12",
                    "noise.sigma=25", "training.steps=8",
                ),
                tmp_path / clean, accelerator="cpu",
            ).folder
        )
        for clean in ("true", "false")
    ]  # fmt: skip
    assert [row["psnr"] for row in curves[0]] == [row["psnr"] for row in curves[1]]
    surplus = [float(b["loss"]) - float(a["loss"]) for a, b in zip(*curves, strict=True) if a["loss"]]
    assert np.mean(surplus) == pytest.approx((25 / 255) ** 2, rel=0.1)
