"""`shotnoise unpack`, and training straight from folders of pairs."""

import csv

import numpy as np
import pytest
from PIL import Image

from shotnoise.cli import run


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        clean = np.repeat(np.repeat(rng.integers(60, 200, (6, 8, 3)), 8, 0), 8, 1)
        for kind in ("noisy", "clean", "first", "second"):
            noise = 0 if kind == "clean" else rng.normal(0, 20, clean.shape)
            folder = tmp_path / ("exposures" if kind in ("first", "second") else "pairs") / kind
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(clean + noise, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path


def test_packed_and_unpacked_is_what_it_was(pairs, tmp_path, capsys):
    store, folder = str(tmp_path / "s"), tmp_path / "new" / "out"
    assert run(["pack", str(pairs / "pairs"), store, "--crop", "16", "--crops", "3", "--low", "4"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{store}: 12 samples of 4 pictures, ")
    assert err == f"{pairs / 'pairs'}: packed as pairs, noisy and clean\n"
    assert run(["unpack", store, str(folder)]) == 0
    counts = "12 pictures in clean/, 12 pictures in noisy/, 12 pictures in low/"
    assert capsys.readouterr().out == f"{folder}: {counts}\n"
    assert {path.suffix for path in folder.rglob("*.*")} == {".png"}
    assert run(["unpack", store, str(folder)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert run(["unpack", store, str(folder), "--overwrite"]) == 0
    assert run(["unpack", str(tmp_path / "gone"), str(folder)]) == 1


@pytest.mark.parametrize(("data", "source"), [("pairs", "stored"), ("exposures", "noisy-pairs, simulate: false")])
def test_training_from_a_folder_of_pairs(pairs, tmp_path, data, source, capsys):
    settings = [
        "network={name: dncnn, nb: 3, nc: 8}", "noise=null", f"pairs={{name: {source}, crop: 32}}",
        "method={name: supervised}", "training.steps=4", "training.batch=2", "training.warmup=0", "validation.every=2",
        "validation.samples=2", "validation.crop=32", "validation.noise=null", "validation.share=0.25",
    ]  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "gaussian/s", "--data", str(pairs / data), "--device", "cpu", *words]
    assert run([*command, "-o", str(tmp_path / "r")]) == 0, capsys.readouterr().err
    with (tmp_path / "r" / "metrics.csv").open(newline="") as file:
        assert list(csv.DictReader(file))
    (pairs / data / ("clean" if data == "pairs" else "second") / "3.png").unlink()
    capsys.readouterr()
    assert run([*command, "-o", str(tmp_path / "again")]) == 1
    assert "has no partner of the same name" in capsys.readouterr().err
