"""The whole road of realistic noise, by the commands a user would type: a learned camera, pairs, a denoiser, scores."""

import csv
import json

import numpy as np
import pytest
import torch

from shotnoise.cli import run
from shotnoise.images import Image, save_image
from shotnoise.networks import load
from small_networks import SMALL

TINY = [
    "pairs.crop=24", "training.steps=4", "training.batch=2", "training.warmup=0", "validation.every=2",
    "validation.samples=2", "validation.crop=32", "validation.share=0.25",
]  # fmt: skip


DENOISER = {"name": "shotnet", "level": "none", **SMALL["shotnet"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("isp")
    (root / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        y, x = np.mgrid[:64, :80] / 80
        shades = [0.5 + 0.4 * np.sin(a * x + b * y) for a, b in rng.uniform(1, 9, (3, 2))]
        save_image(Image(np.uint8(255 * np.stack(shades, axis=2))), root / "pictures" / f"{number}.png")
    return root


def settings(*values):
    return [word for value in values for word in ("--set", value)]


def train(name, data, out, *more):
    command = ["train", name, "--data", str(data), "-o", str(out), "--device", "cpu"]
    assert run([*command, *more]) == 0
    with (out / "metrics.csv").open(newline="") as file:
        return [float(row["psnr"]) for row in csv.DictReader(file) if row["psnr"]]


def part(run_folder, name):
    return getattr(load(run_folder), name).state_dict()


def changed(first, second, name):
    before, after = part(first, name), part(second, name)
    return any(not torch.equal(before[key], after[key]) for key in before)


def test_pictures_to_a_camera_to_a_denoiser(folder, tmp_path):
    small = settings(*TINY, *(f"network.{key}={value}" for key, value in SMALL["cycleisp"].items()))
    runs = {stage: tmp_path / stage for stage in ("raw", "rgb", "joint")}
    pictures = folder / "pictures"
    assert len(train("cycleisp/raw-quick", pictures, runs["raw"], *small)) == 2
    train("cycleisp/rgb-quick", pictures, runs["rgb"], "--start-from", str(runs["raw"]), *small)
    train("cycleisp/joint-quick", pictures, runs["joint"], "--start-from", str(runs["rgb"]), *small)
    assert not changed(runs["raw"], runs["rgb"], "rgb2raw"), "the second stage hands on what the first has learned"
    assert changed(runs["raw"], runs["rgb"], "raw2rgb")
    for name in ("rgb2raw", "ccm", "raw2rgb"):
        assert changed(runs["rgb"], runs["joint"], name)

    made = ["synthesize", str(pictures), str(tmp_path / "pairs.store"), "--renderer", str(runs["joint"]), "--noise"]
    assert run([*made, "sidd", "--crop", "32"]) == 0
    denoiser = settings(*TINY, f"network={DENOISER}", "training.ema=null")
    stored = settings("pairs={name: stored, crop: 24}", "noise=null")
    train("cycleisp/denoise-srgb-quick", tmp_path / "pairs.store", tmp_path / "stored", *denoiser, *stored)
    through = settings(f"pairs.renderer={runs['joint']}", "pairs.pair=published")
    train("cycleisp/denoise-srgb-quick", pictures, tmp_path / "direct", *denoiser, *through)
    scores = tmp_path / "scores.json"
    evaluate = ["evaluate", str(tmp_path / "stored"), "--protocol", "folder/gaussian15", "--data", str(pictures)]
    assert run([*evaluate, "--limit", "2", "--json", str(scores)]) == 0
    assert json.loads(scores.read_text())["evaluations"][0]["protocol"]


def test_raw_and_real_pairs(folder, tmp_path):
    """The denoiser of RAW, told its noise; and a camera learned from RAW that was recorded."""
    tiny = settings(*TINY, *(f"network.{key}={value}" for key, value in SMALL["cycleisp-denoiser"].items()))
    scores = train(
        "cycleisp/denoise-raw", folder / "pictures", tmp_path / "raw", *tiny, *settings("training.workers=0")
    )
    assert np.isfinite(scores).all()
    rng = np.random.default_rng(0)
    for place in ("raw", "rgb"):
        (tmp_path / "fivek" / place).mkdir(parents=True)
    for number in range(3):
        np.save(tmp_path / "fivek" / "raw" / f"{number}.npy", rng.random((70, 80, 1), np.float32))
        np.save(tmp_path / "fivek" / "rgb" / f"{number}.npy", rng.random((70, 80, 3)).astype(np.float16))
    (tmp_path / "fivek" / "patterns.json").write_text(json.dumps({"0": "GRBG", "1": "BGGR"}))
    small = settings(*TINY, *(f"network.{key}={value}" for key, value in SMALL["cycleisp"].items()))
    pairs = settings("pairs.name=camera-pairs")
    assert np.isfinite(train("cycleisp/joint", tmp_path / "fivek", tmp_path / "joint", *small, *pairs)).all()
