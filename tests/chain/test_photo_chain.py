"""The whole road of the photo recipe family, by the commands a user would type, in seconds."""

import json
import shutil

import numpy as np
import pytest

from shotnoise import Denoiser, open_image
from shotnoise.cli import run
from shotnoise.images import Image, save_image

TINY = [
    "network.widths=[8, 8]", "network.encoder=[1, 1]", "network.decoder=[1]", "pairs.crop=24",
    "training.steps=20", "training.batch=4", "training.warmup=2", "training.ema=0.8", "training.precision=fp32",
    "validation.every=10", "validation.samples=4", "validation.crop=32", "validation.share=0.25",
]  # fmt: skip


def scene(number: int) -> np.ndarray:
    y, x = np.mgrid[:60, :70] / 60
    wave = 0.5 + 0.4 * np.sin(np.array([4, 5, 6])[:, None, None] * x * (number + 1) / 4 + 3 * y)
    return np.ascontiguousarray((255 * wave).transpose(1, 2, 0).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("chain")
    (root / "pictures").mkdir()
    for number in range(8):
        save_image(Image(scene(number)), root / "pictures" / f"{number}.png")
    return root


def settings(values):
    return [word for value in values for word in ("--set", value)]


def test_pictures_to_a_running_denoiser(folder, capsys):
    store, whole, parts = (str(folder / name) for name in ("store", "whole", "parts"))
    assert run(["pack", str(folder / "pictures"), store]) == 0

    train = ["train", "gaussian/s", "--data", store, "--device", "cpu", *settings(TINY)]
    assert run([*train, "-o", whole]) == 0

    # the same run in two halves: interrupted after 10 steps, resumed
    assert run([*train, "-o", parts, "--stop-at", "10"]) == 0
    assert run(["train", "--resume", parts, "--device", "cpu"]) == 0
    curves = [(folder / name / "metrics.csv").read_text() for name in ("whole", "parts")]
    assert curves[0] == curves[1]

    capsys.readouterr()
    scores = folder / "scores.json"
    evaluate = ["evaluate", whole, "--protocol", "folder/gaussian25", "--data", str(folder / "pictures")]
    assert run([*evaluate, "--json", str(scores)]) == 0
    assert "gaussian25" in capsys.readouterr().out

    model = folder / "model.onnx"
    assert run(["export", whole, "-o", str(model), "--scores", str(scores), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["difference"] < 1e-5
    assert report["card"]["scores"][0]["protocol"] == "folder/gaussian25"

    # the exported file gives the pixels that the checkpoint gives
    noisy = folder / "noisy.png"
    rng = np.random.default_rng(1)
    save_image(Image(np.clip(scene(3) + rng.normal(0, 25, scene(3).shape), 0, 255).astype(np.uint8)), noisy)
    outputs = []
    for name, extra in (("torch", whole), ("onnx", str(model))):
        out = folder / f"{name}.png"
        assert run(["denoise", str(noisy), "-o", str(out), "--model", extra, "--level", "25"]) == 0
        outputs.append(open_image(out).pixels.astype(int))
    assert np.abs(outputs[0] - outputs[1]).max() <= 1  # a value between two integers may round either way
    assert np.mean(outputs[0] != outputs[1]) < 0.001
    assert np.array_equal(Denoiser(model, level=25)(open_image(noisy)).pixels, outputs[1])
    shutil.rmtree(folder / "parts")


def test_mistakes_end_with_one_line(folder, capsys):
    cases = [
        (["train", "gaussian/s", "--data", str(folder / "nothing")], 1, "nothing"),
        (["train", "gaussian/s"], 1, "no training pictures given"),
        (["train", "gaussian/z", "--data", str(folder)], 1, "did you mean 'gaussian/s'"),
        (["train"], 2, "give either a recipe to start or --resume RUN"),
        (["export", str(folder / "none"), "-o", "x.onnx"], 1, "no such checkpoint"),
        (["evaluate", "photo", "--protocol", "kodak25", "--data", str(folder)], 1, "kodak24"),
        (["denoise", str(folder / "none.png")], 1, "none.png"),
        (["denois"], 2, "denois"),
    ]
    for arguments, status, words in cases:
        assert run(arguments) == status, arguments
        error = capsys.readouterr().err
        assert words in error, arguments
        assert "Traceback" not in error
