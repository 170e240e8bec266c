"""The whole road of MRI, by the commands a user would type, in seconds."""

import csv

import numpy as np
import pytest

from shotnoise.cli import run
from shotnoise.networks.checkpoint import load_with_card

nibabel = pytest.importorskip("nibabel")

TINY = [
    "network.n_feature=4", "pairs.translate=4", "training.steps=24", "training.batch=2", "training.epochs=6",
    "training.rise=1", "training.fall=3", "training.lr=3e-3", "training.precision=fp32", "training.workers=0",
    "validation.every=12", "validation.samples=3", "validation.share=0.4",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("mri")
    y, x, z = np.mgrid[-1:1:41j, -1:1:45j, -1:1:20j]
    for seed, name in enumerate(("first", "second", "third")):
        inside = x**2 + (1.2 + 0.1 * seed) * y**2 + z**2 < 0.9
        values = 900 * inside * (0.6 + 0.4 * np.sin(9 * x + 4 * y + seed))
        nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), np.diag([2.0, 2, 4, 1])), root / f"{name}.nii.gz")
    return root


def settings(values):
    return [word for value in values for word in ("--set", value)]


def curve(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_volumes_to_a_running_model(folder, capsys):
    store, whole, parts = (str(folder / name) for name in ("store", "whole", "parts"))
    assert run(["pack-mri", str(folder), store, "--slices", "4:16", "--side", "48"]) == 0
    train = ["train", "noise2noise/mri", "--data", store, "--device", "cpu", *settings(TINY)]
    assert run([*train, "-o", whole]) == 0
    assert run([*train, "-o", parts, "--stop-at", "13"]) == 0
    assert run(["train", "--resume", parts, "--device", "cpu"]) == 0
    assert curve(folder / "whole") == curve(folder / "parts"), "beta and rate are resumed, too"
    log = (folder / "whole" / "train.log").read_text()
    assert "s/epoch" in log
    _, card = load_with_card(whole)
    assert (card.kind, card.channels, card.multiple) == ("mri", 1, 32)
    assert "a tenth of k-space" in card.noise

    capsys.readouterr()
    model = folder / "mri.onnx"
    assert run(["export", whole, "-o", str(model)]) == 0
    capsys.readouterr()
    tables = []
    for one in (whole, str(model)):
        assert run(["evaluate", one, "--protocol", "mri/kspace", "--data", store]) == 0
        row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mri/kspace "))
        tables.append(row.split()[:4])
    assert tables[0] == tables[1]
    assert run(["denoise", str(folder / "third.nii.gz"), "-o", str(folder / "clean.nii.gz"), "--model", whole]) == 0
    assert run(["denoise", str(folder / "third.nii.gz"), "-o", str(folder / "onnx.nii.gz"), "--model", str(model)]) == 0
    before, torch, onnx = (nibabel.load(folder / f"{name}.nii.gz") for name in ("third", "clean", "onnx"))
    assert before.header == torch.header
    np.testing.assert_allclose(torch.get_fdata(), onnx.get_fdata(), atol=1)
