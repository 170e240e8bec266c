"""A training that was stopped by Ctrl-C leaves its page as well."""

import re
import signal

import numpy as np
import pytest

from html_reader import Reader
from shotnoise.cli import run
from shotnoise.recipe import Recipe
from shotnoise.summary import PAGE
from shotnoise.training import train
from shotnoise.training.task import Task


def test_ctrl_c_leaves_a_page(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(5):
        wave = 0.5 + 0.3 * np.sin(np.mgrid[:40, :40].sum(0) / (3 + number))
        np.save(tmp_path / "pictures" / f"{number}.npy", np.stack([wave] * 3, 2).astype(np.float32))
    recipe = Recipe.model_validate(
        {
            "name": "test/summary",
            "network": {"name": "shotnet", "widths": [8], "encoder": [1], "decoder": [], "level": "none"},
            "noise": {"name": "gaussian", "sigma": 25},
            "pairs": {"name": "clean", "crop": 16},
            "training": {"steps": 12, "batch": 2},
            "validation": {"every": 4, "samples": 2, "crop": 16},
            "data": [str(tmp_path / "pictures")],
        }
    )

    def press(step, *_):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", accelerator="cpu", report=press)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
    text = Reader((tmp_path / "run" / PAGE).read_text()).text
    assert re.search(r"was stopped at step [34] of 12, with a learning rate that was still", text)
    assert f"train --resume {tmp_path / 'run'}" in text


def test_a_run_without_a_checkpoint_is_not_said_to_go_on(tmp_path, capsys, monkeypatch):
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        np.save(tmp_path / "pictures" / f"{number}.npy", np.full((20, 20, 3), number / 3, np.float32))
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, network: {name: dncnn, in_nc: 3, out_nc: 3, nb: 2, nc: 2}, noise: {name: gaussian, sigma: 25}, "
        "pairs: {name: clean, crop: 16}, training: {steps: 9, batch: 1}, validation: {samples: 1, crop: 16}}"
    )
    # Pressed twice it ends at once, here in the first step.
    monkeypatch.setattr(Task, "training_step", lambda *_: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = ["train", str(tmp_path / "mine.yaml"), "--data", str(tmp_path / "pictures"), "--device", "cpu"]
        assert run([*command, "-o", str(tmp_path / "run")]) == 130
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
    said = capsys.readouterr().err
    assert f"{tmp_path / 'run' / PAGE} shows how it went\n" in said
    assert "--resume" not in said
