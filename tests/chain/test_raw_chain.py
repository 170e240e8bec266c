"""The whole road of the RAW recipes, by the commands a user would type: frames, store, training, score, model, DNG."""

import csv
import json

import lmdb
import numpy as np
import pytest
import torch

from raw_frames import frame
from shotnoise.card import CARD_KEY, Card
from shotnoise.cli import run
from shotnoise.images import Image, save_image
from shotnoise.images.raw import open_raw, save_dng
from shotnoise.networks import load
from shotnoise.networks.checkpoint import read_state
from shotnoise.networks.pmrid import PMRID
from shotnoise.recipe import load_recipe
from shotnoise.store import raw_planes
from shotnoise.training import train

SMALL = {
    "raw/unet": ["network.width=4"],
    "raw/attention": [],
    "raw/pmrid": ["network.width=8", "network.blocks=[1, 1, 1, 1]"],
}
TINY = [
    "pairs.crop=32", "training.steps=12", "training.batch=4", "training.lr=2e-3", "training.warmup=2",
    "validation.every=4", "validation.samples=4", "validation.crop=32", "validation.share=0.25",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight nearly clean DNGs of two phases, packed."""
    root = tmp_path_factory.mktemp("raw")
    (root / "frames").mkdir()
    for number in range(8):
        pattern = ("BGGR", "GRBG")[number % 2]
        save_dng(frame(number, 100, 140, pattern, noise=0.3), root / "frames" / f"{number}.dng", compression="none")
    assert run(["pack", str(root / "frames"), str(root / "store"), "--channels", "4"]) == 0
    return root


def settings(*values):
    return [word for value in values for word in ("--set", value)]


def curve(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", SMALL)
def test_frames_to_a_clean_dng(folder, name, tmp_path, capsys):
    whole, parts, model = (str(tmp_path / name) for name in ("whole", "parts", "model.onnx"))
    command = ["train", name, "--data", str(folder / "store"), "--device", "cpu", *settings(*TINY, *SMALL[name])]
    assert run([*command, "-o", whole]) == 0
    # the same in two parts, the second of which begins where a validation was
    assert run([*command, "-o", parts, "--stop-at", "4"]) == 0
    assert run(["train", "--resume", parts, "--device", "cpu"]) == 0
    rows = curve(tmp_path / "whole")
    assert curve(tmp_path / "parts") == rows
    networks = [load(tmp_path / part) for part in ("whole", "parts")]
    for key, value in networks[0].state_dict().items():
        assert torch.equal(value, networks[1].state_dict()[key]), key
    scores = [(float(row["psnr"]), float(row["ssim"])) for row in rows if row["psnr"]]
    assert len(scores) == 3
    assert all(np.isfinite(scores).ravel())
    assert float(rows[0]["lr"]) == pytest.approx(2e-3 * 1e-3), "a thousandth of the rate at the first step"
    if name == "raw/attention":
        return  # the rest does not depend on the network

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    save_image(Image(np.random.default_rng(0).integers(0, 255, (64, 66, 3), np.uint8)), pictures / "a.png")
    evaluate = ["evaluate", whole, "--protocol", "raw/folder/iso1600", "--data", str(pictures)]
    assert run([*evaluate, "--json", str(tmp_path / "scores.json")]) == 0
    models = {"torch": whole}
    capsys.readouterr()
    if name == "raw/unet":
        assert run(["export", whole, "-o", model, "--scores", str(tmp_path / "scores.json"), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["difference"] < 1e-4
        assert report["card"]["kind"] == "raw"
        assert report["card"]["scores"][0]["protocol"] == "raw/folder/iso1600"
        models["onnx"] = model
    assert (Card.parse(read_state(tmp_path / "whole" / "best.safetensors")[1][CARD_KEY], "").k_sigma is None) == (
        name == "raw/unet"
    )

    night = frame(3, 64, 96, "GBRG", noise=12)
    save_dng(night, tmp_path / "night.dng")
    results = []
    for kind, chosen in models.items():
        out = tmp_path / f"{kind}.dng"
        arguments = ["--model", chosen, "--level", "oppo-reno-10x", "--iso", "3200"]
        assert run(["denoise", str(tmp_path / "night.dng"), "-o", str(out), *arguments]) == 0
        results.append(open_raw(out))
    assert results[0].pattern == "GBRG"
    assert results[0].mosaic.shape == night.mosaic.shape
    assert not np.array_equal(results[0].mosaic, night.mosaic)
    assert np.abs(results[0].mosaic.astype(int) - results[-1].mosaic).max() <= 1


def test_a_folder_of_dngs_trains_like_its_store(folder, tmp_path):
    """Without packing, and held-out pictures the same: the split goes by their names."""
    (tmp_path / "store").symlink_to(folder / "frames")
    runs = []
    for data, name in ((folder / "store", "a"), (tmp_path / "store", "b")):
        recipe = load_recipe("raw/unet", overrides=[*TINY, *SMALL["raw/unet"]], data=[data])
        runs.append(train(recipe, tmp_path / name, stop_at=4, accelerator="cpu"))
    assert curve(runs[0].folder) == curve(runs[1].folder)


def test_baked_and_imported_pairs_train(folder, tmp_path):
    baked = ["pack", str(folder / "frames"), str(tmp_path / "baked"), "--channels", "4", "--crop", "33"]
    assert run([*baked, "--bake", "{name: poisson-gaussian, profile: oppo-reno-10x, iso: [1600, 6400]}"]) == 0
    with lmdb.open(str(tmp_path / "lmdb"), map_size=10**8) as environment, environment.begin(write=True) as transaction:
        for image in range(4):
            clean = raw_planes(frame(image, 64, 64)).transpose(1, 2, 0).copy()
            noisy = clean + np.random.default_rng(image).normal(0, 0.02, clean.shape).astype(np.float32)
            transaction.put(f"gt_idx_{image}_iso_{200 * (image + 1)}".encode(), clean.tobytes())
            transaction.put(f"noisy_idx_{image}_iso_{200 * (image + 1)}".encode(), noisy.tobytes())
    assert run(["pack", str(tmp_path / "lmdb"), str(tmp_path / "imported"), "--channels", "4"]) == 0
    stored = [*TINY, *SMALL["raw/unet"], "pairs.name=stored", "noise=null"]
    for name, more in (("baked", ["pairs.augment=true"]), ("imported", [])):
        command = ["train", "raw/unet", "--data", str(tmp_path / name), "--device", "cpu", "-o", str(tmp_path / "run")]
        assert run([*command, "--stop-at", "4", *settings(*stored, *more)]) == 0
        assert [row["psnr"] for row in curve(tmp_path / "run") if row["psnr"]]
        for path in sorted((tmp_path / "run").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()


def test_mistakes_end_with_one_line(folder, tmp_path, capsys):
    stored = settings(*TINY, "pairs.name=stored", "noise=null")
    cases = [
        (["--data", str(folder / "store"), *stored], "holds no noisy samples; pack it with `--bake NOISE`"),
        (["--data", str(folder / "store"), *settings(*TINY, "noise.profile=nikn-d850")], "did you mean 'nikon-d850'"),
        (["--data", str(folder / "store"), *settings("pairs.crop=96")], "none of the 7 training pictures is at least"),
    ]
    for arguments, words in cases:
        command = ["train", "raw/unet", "-o", str(tmp_path / "run"), "--device", "cpu", *settings(*SMALL["raw/unet"])]
        assert run([*command, *arguments]) == 1, arguments
        error = capsys.readouterr().err
        assert words in error, arguments
        assert "Traceback" not in error


def test_pmrid_trains_behind_the_transform_of_its_network():
    transform = load_recipe("raw/pmrid").pairs.options["k_sigma"]
    assert transform == {"gain": pytest.approx(PMRID.k_sigma.gain), "offset": pytest.approx(PMRID.k_sigma.offset)}
