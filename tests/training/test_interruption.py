"""Ctrl-C: never lost, the checkpoint whole, and the resumed run the one that would have been."""

import csv
import signal
import threading

import numpy as np
import pytest
import torch

from shotnoise.networks import load
from shotnoise.recipe import Recipe
from shotnoise.training import train
from shotnoise.training.interruption import Interruption
from shotnoise.training.task import Task


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(4):
        np.save(folder / f"{number}.npy", np.random.default_rng(number).random((40, 40), np.float32))
    return Recipe.model_validate(
        {
            "name": "test/interrupted",
            "network": {"name": "shotnet", "in_nc": 1, "widths": [8], "encoder": [1], "decoder": []},
            "noise": {"name": "gaussian", "sigma": 25},
            "pairs": {"name": "clean", "crop": 16},
            "training": {"steps": 11, "batch": 2, "ema": 0.9},
            "validation": {"share": 0.3, "every": 4, "samples": 5, "crop": 32},
            "data": [str(folder)],
        }
    )


@pytest.fixture(scope="module")
def whole(plan, tmp_path_factory):
    return train(plan, tmp_path_factory.mktemp("whole") / "run", accelerator="cpu").folder


@pytest.fixture(autouse=True)
def listening():
    """As Python starts, whatever earlier tests of this process or libraries they loaded have made of Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


def press():
    signal.raise_signal(signal.SIGINT)


class Litter:
    """What is pressed in here Python prints and forgets."""

    def __del__(self):
        press()


def saved_step(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["global_step"]


def rows(folder):
    if not (folder / "metrics.csv").exists():
        return []
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def check_resumed(plan, folder, whole):
    """The rest of the run gives what an undisturbed one gives, the choice of the best weights included."""
    train(plan, folder, resume=True, accelerator="cpu")
    assert rows(folder) == rows(whole)
    for name in ("best.safetensors", "last.safetensors"):
        expected = load(whole / name).state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in load(folder / name).state_dict().items())


def interrupted(plan, folder, **options):
    with pytest.raises(KeyboardInterrupt):
        train(plan, folder, accelerator="cpu", **options)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("step", [4, 7])
def test_a_press_at_any_step(plan, whole, tmp_path, step):
    interrupted(plan, tmp_path / "run", report=lambda done, *_: done == step and press())
    assert saved_step(tmp_path / "run") == step
    assert not (tmp_path / "run" / "last.safetensors").exists()
    check_resumed(plan, tmp_path / "run", whole)


def test_a_press_at_the_last_step_finds_everything_written(plan, whole, tmp_path):
    interrupted(plan, tmp_path / "run", report=lambda done, *_: done == 11 and press())
    check_resumed(plan, tmp_path / "run", whole)


def test_a_press_while_a_checkpoint_is_written(plan, whole, tmp_path, monkeypatch):
    save, litter = torch.save, [Litter()]
    monkeypatch.setattr(torch, "save", lambda *args, **kwargs: (litter.clear(), save(*args, **kwargs)))
    interrupted(plan, tmp_path / "run")
    assert saved_step(tmp_path / "run") == 4
    check_resumed(plan, tmp_path / "run", whole)


def during_validation(monkeypatch, act, *, sanity=False, batch=0):
    step = Task.validation_step

    def acting(self, content, batch_idx):
        if self.trainer.sanity_checking == sanity and batch_idx == batch:
            act()
        return step(self, content, batch_idx)

    monkeypatch.setattr(Task, "validation_step", acting)


@pytest.mark.parametrize("batch", [0, 1])
def test_a_press_during_validation_ends_the_run_after_it(plan, whole, tmp_path, monkeypatch, batch):
    with monkeypatch.context() as patch:
        during_validation(patch, press, batch=batch)
        interrupted(plan, tmp_path / "run")
    assert rows(tmp_path / "run") == rows(whole)[: 4 + 1]
    assert saved_step(tmp_path / "run") == 4
    check_resumed(plan, tmp_path / "run", whole)


def test_a_press_before_the_first_step(plan, tmp_path, monkeypatch):
    during_validation(monkeypatch, press, sanity=True)
    interrupted(plan, tmp_path / "run")
    assert rows(tmp_path / "run") == []
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_the_second_press_ends_it_at_once(plan, whole, tmp_path, monkeypatch):
    def twice():
        press()
        press()
        pytest.fail("went on")

    with monkeypatch.context() as patch:
        during_validation(patch, twice)
        interrupted(plan, tmp_path / "run")
    assert saved_step(tmp_path / "run") == 4, "what was written before the validation"
    train(plan, tmp_path / "run", resume=True, accelerator="cpu")
    steps = [[row for row in rows(folder) if row[1]] for folder in (tmp_path / "run", whole)]
    assert steps[0] == steps[1], "only the outcome of that validation is missing"


def test_a_program_that_handles_ctrl_c_itself_keeps_doing_so(plan, tmp_path):
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        run = train(plan, tmp_path / "run", report=lambda *_: press(), stop_at=2, accelerator="cpu")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (run.step, pressed) == (2, [1, 1])


def test_outside_of_the_main_thread_nothing_is_touched():
    seen = []

    def enter():
        with Interruption() as interruption:
            seen.append((signal.getsignal(signal.SIGINT), interruption.asked))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(signal.default_int_handler, False)]
