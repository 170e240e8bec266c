"""A run: what it leaves, that it learns, that it resumes on the same curve."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shotnoise.card import CARD_KEY
from shotnoise.errors import RecipeError
from shotnoise.images import Image, save_image
from shotnoise.methods.supervised import Supervised
from shotnoise.networks import load
from shotnoise.networks.checkpoint import read_state
from shotnoise.recipe import Recipe
from shotnoise.training import train
from shotnoise.training.callbacks import Checkpoints, MetricsFile
from shotnoise.training.interruption import Interruption


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six smooth pictures with an edge each: enough to learn that noise is not signal."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(6):
        y, x = np.mgrid[:64, :80] / 64
        phase = rng.uniform(0, 6, (3, 1, 1))
        wave = 127 + 90 * np.sin(3 * x * (number + 1) / 3 + 2 * y + phase)
        wave[:, :, rng.integers(20, 60) :] *= 0.6
        save_image(Image(np.ascontiguousarray(wave.transpose(1, 2, 0).astype(np.uint8))), folder / f"{number}.png")
    return folder


def recipe(pictures, **changes):
    training = {"steps": 12, "batch": 4, "lr": 2e-3, "warmup": 2, "ema": 0.9, "clip": 1.0} | changes.pop("training", {})
    return Recipe.model_validate(
        {
            "name": "test/tiny",
            "network": {"name": "shotnet", "widths": [8, 8], "encoder": [1, 1], "decoder": [1]},
            "noise": {"name": "gaussian", "sigma": [20, 30]},
            "pairs": {"name": "clean", "crop": 24},
            "training": training,
            "validation": {"share": 0.3, "every": 5, "samples": 4, "crop": 32},
            "data": [str(pictures)],
            "seed": 3,
        }
        | changes
    )


def metrics(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_learns_and_leaves_everything(pictures, tmp_path):
    seen = []
    plan = recipe(pictures, training={"steps": 150, "ema": 0.95, "lr": 4e-3})
    run = train(plan, tmp_path / "run", report=lambda *numbers: seen.append(numbers), accelerator="cpu")
    assert run.step == 150
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "recipe.yaml", "train.log", "metrics.csv", "tensorboard", "last.ckpt", "best.safetensors", "last.safetensors",
        "samples.png", "summary.html",
    }  # fmt: skip
    scores = [float(row["psnr"]) for row in metrics(run.folder) if row["psnr"]]
    assert len(scores) == 30
    assert scores[-1] > scores[0] + 1.5, "150 steps should gain 1.5 dB on smooth pictures"
    assert run.psnr == pytest.approx(max(scores), abs=1e-4)
    similarities = [float(row["ssim"]) for row in metrics(run.folder) if row["ssim"]]
    assert len(similarities) == 30
    assert similarities[0] + 0.01 < similarities[-1] < 1
    assert run.ssim == similarities[int(np.argmax(scores))]
    assert [numbers[0] for numbers in seen] == list(range(1, 151))
    assert "best validation" in (run.folder / "train.log").read_text()
    board = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    assert {"loss", "lr", "psnr", "ssim"} <= set(board.Tags()["scalars"])
    assert [event.value for event in board.Scalars("ssim")] == pytest.approx(similarities)
    assert [event.value for event in board.Scalars("psnr")] == pytest.approx(scores)
    (first, *_) = board.Images("noisy, result, clean")
    assert (first.width, first.height) == (3 * 32, 3 * 32), "three samples of the crop, three of each"
    _, metadata = read_state(run.best)
    assert '"recipe":"test/tiny"' in metadata[CARD_KEY]
    assert load(run.folder).channels == 3


def test_resume_continues_the_same_curve(pictures, tmp_path):
    plan = recipe(pictures)
    whole = train(plan, tmp_path / "whole", accelerator="cpu")
    train(plan, tmp_path / "parts", stop_at=7, accelerator="cpu")
    parts = train(plan, tmp_path / "parts", resume=True, accelerator="cpu")
    assert metrics(parts.folder) == metrics(whole.folder)
    for name, value in load(whole.best).state_dict().items():
        assert torch.equal(value, load(parts.best).state_dict()[name]), name


def test_loader_processes_change_nothing(pictures, tmp_path):
    alone = train(recipe(pictures), tmp_path / "a", stop_at=4, accelerator="cpu")
    helped = train(recipe(pictures, training={"workers": 2}), tmp_path / "b", stop_at=4, accelerator="cpu")
    assert metrics(alone.folder) == metrics(helped.folder)


@pytest.mark.parametrize(
    "changes",
    [{"precision": "bf16"}, {"channels_last": False}, {"optimizer": "adam", "ema": None}, {"clip_by": "tensor"}],
)
def test_options_run(pictures, tmp_path, changes):
    run = train(recipe(pictures, training={"steps": 5} | changes), tmp_path / "run", accelerator="cpu")
    assert run.step == 5
    assert np.isfinite(run.psnr)


def test_two_processes_learn_what_one_learns_from_the_whole_batch(pictures, tmp_path):
    """Each sees half of the samples; the gradient, and so every weight, is that of the whole batch."""
    options = {"steps": 7, "ema": None, "warmup": 0}
    one = train(recipe(pictures, training=options | {"batch": 4}), tmp_path / "one", accelerator="cpu")
    plan = recipe(pictures, training=options | {"batch": 2})
    two = train(plan, tmp_path / "two", accelerator="cpu", devices=2, stop_at=4)
    two = train(plan, two.folder, accelerator="cpu", devices=2, resume=True)
    assert not torch.distributed.is_initialized()
    assert {path.name for path in two.folder.iterdir()} == {path.name for path in one.folder.iterdir()}
    for row, expected in zip(metrics(two.folder), metrics(one.folder), strict=True):
        for column in ("step", "loss", "lr", "psnr", "ssim"):
            assert row[column] == expected[column] == "" or float(row[column]) == pytest.approx(
                float(expected[column]), abs=1e-5, rel=1e-5
            )
    assert two.psnr == pytest.approx(one.psnr, abs=1e-4)
    for name, value in load(one.best).state_dict().items():
        torch.testing.assert_close(load(two.best).state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_with_several_processes_the_first_one_tells_what_is_wrong(pictures, tmp_path):
    with pytest.raises(RecipeError, match="none of the 4 training pictures is at least 500 x 500"):
        train(recipe(pictures, pairs={"name": "clean", "crop": 500}), tmp_path / "run", accelerator="cpu", devices=2)
    assert not (tmp_path / "run" / "recipe.yaml").exists()
    with pytest.raises(RecipeError, match="devices is 0"):
        train(recipe(pictures), tmp_path / "other", devices=0)


def test_an_update_that_is_not_finite_is_skipped(pictures, tmp_path, monkeypatch):
    """Like a step that did not happen for the weights, while the schedule goes on; one line in the log tells."""
    plan = recipe(pictures, training={"steps": 6, "ema": None, "optimizer": "adam"})
    before = train(plan, tmp_path / "before", stop_at=4, accelerator="cpu")
    loss = Supervised.loss

    def broken(self, batch, progress, generator):
        outcome = loss(self, batch, progress, generator)
        return outcome | {"loss": outcome["loss"] * (float("inf") if progress > 3.5 / 6 else 1)}

    monkeypatch.setattr(Supervised, "loss", broken)
    after = train(plan, tmp_path / "after", accelerator="cpu")
    assert after.step == 6
    for name, value in load(before.folder / "last.safetensors").state_dict().items():
        assert torch.equal(value, load(after.folder / "last.safetensors").state_dict()[name]), name
    log = (after.folder / "train.log").read_text()
    assert "step 5: a gradient is not finite, update skipped (1 so far)" in log
    assert "step 6: a gradient is not finite, update skipped (2 so far)" in log


def test_pictures_without_truth_choose_the_best_by_their_loss(pictures, tmp_path):
    changes = {
        "noise": None,
        "pairs": {"name": "single-noisy", "crop": 24, "simulate": False},
        "method": {"name": "neighbor2neighbor"},
        "network": {"name": "dncnn", "in_nc": 3, "out_nc": 3, "nb": 3, "nc": 4, "act_mode": "R"},
    }
    run = train(recipe(pictures, **changes), tmp_path / "run", accelerator="cpu")
    assert np.isfinite(run.psnr)
    assert "no clean pictures: validation shows the loss on held-out samples" in (run.folder / "train.log").read_text()
    assert "as found in the pictures" in read_state(run.best)[1][CARD_KEY]


def test_the_best_may_be_chosen_by_ssim(pictures, tmp_path):
    validation = {"share": 0.3, "every": 2, "samples": 2, "crop": 32, "best": "ssim"}
    run = train(recipe(pictures, validation=validation), tmp_path / "run", accelerator="cpu", stop_at=6)
    run = train(recipe(pictures, validation=validation), tmp_path / "run", accelerator="cpu", resume=True)
    similarities = [float(row["ssim"]) for row in metrics(run.folder) if row["ssim"]]
    assert run.ssim == max(similarities)
    with pytest.raises(RecipeError, match=r"validation\.best: ssim needs .* at least 11 pixels wide"):
        train(recipe(pictures, validation=validation | {"crop": 10}), tmp_path / "other", accelerator="cpu")


def test_folders_are_guarded(pictures, tmp_path):
    plan = recipe(pictures, training={"steps": 3})
    with pytest.raises(RecipeError, match="nothing to resume"):
        train(plan, tmp_path / "run", resume=True)
    train(plan, tmp_path / "run", accelerator="cpu")
    with pytest.raises(RecipeError, match="already holds a run"):
        train(plan, tmp_path / "run")
    with pytest.raises(RecipeError, match="no training pictures given"):
        train(plan.model_copy(update={"data": ()}), tmp_path / "other")
    with pytest.raises(RecipeError, match="stop_at is -1; expected a step of the schedule, 1 or more"):
        train(plan, tmp_path / "other", stop_at=-1)
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RecipeError, match=r"cannot be made a folder \(.*\); choose another place"):
            train(plan, place)
    assert not (tmp_path / "other").exists()
    written = (tmp_path / "run" / "train.log").read_bytes()
    words = r"run: is a training in 1 process, not in 3; .* resume it with --devices 1"
    with pytest.raises(RecipeError, match=words):
        train(plan, tmp_path / "run", resume=True, devices=3)
    (tmp_path / "run" / "last.ckpt").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(RecipeError, match=r"last\.ckpt: is damaged .*; begin a new one with its best weights"):
        train(plan, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "train.log").read_bytes() == written


def test_the_end_of_the_schedule_is_validated_wherever_it_falls(pictures, tmp_path):
    run = train(recipe(pictures), tmp_path / "run", stop_at=11, accelerator="cpu")
    validated = [row["step"] for row in metrics(run.folder) if row["psnr"]]
    assert validated == ["5", "10"], "a sitting has its end in between"
    run = train(recipe(pictures), tmp_path / "run", resume=True, accelerator="cpu")
    rows = [row for row in metrics(run.folder) if row["psnr"]]
    assert [row["step"] for row in rows] == ["5", "10", "12"]
    assert run.psnr == max(float(row["psnr"]) for row in rows)
    assert train(recipe(pictures), tmp_path / "run", resume=True, accelerator="cpu").psnr == run.psnr


@pytest.mark.parametrize("accelerator", ["abacus", "gpu", "tpu"])
def test_devices_that_are_not_there_are_refused_in_words(pictures, tmp_path, accelerator):
    if accelerator == "gpu" and torch.accelerator.is_available():
        pytest.skip("this machine has a GPU")
    words = f"cannot train on 1 x {accelerator} .*; expected devices of this machine: auto, cpu or gpu"
    with pytest.raises(RecipeError, match=words):
        train(recipe(pictures), tmp_path / "run", accelerator=accelerator)


def test_samples_and_network_have_the_same_channels(pictures, tmp_path):
    changes = {
        "network": {"name": "dncnn", "in_nc": 3, "out_nc": 3, "nb": 3, "nc": 4},
        "pairs": {"name": "unprocessed", "crop": 8},
        "noise": {"name": "poisson-gaussian", "k": 1e-3, "s2": 1e-5},
    }
    words = "samples of pairs 'unprocessed' have 4 channels and the network 'dncnn' 3; expected the same"
    with pytest.raises(RecipeError, match=words):
        train(recipe(pictures, **changes), tmp_path / "run", accelerator="cpu")


def test_what_a_power_cut_did_to_the_metrics_does_not_stop_a_run(tmp_path):
    class Resumed:
        is_global_zero, global_step = True, 7

    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,lr,psnr,ssim\n5,0.1,0.01,,\n5,,,20,0.9\n8,0.1,0.01,,\n\n9,0.\n" + 3 * "\0")
    MetricsFile(path, 1).on_train_start(Resumed(), None)
    assert path.read_text().split() == ["step,loss,lr,psnr,ssim", "5,0.1,0.01,,", "5,,,20,0.9"]
    assert [one.name for one in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_checkpoint_that_is_cut_short_does_not_cost_the_one_before(tmp_path):
    class Killed:
        is_global_zero, sanity_checking, world_size = True, False, 1
        global_step, max_steps = 5, 10

        def save_checkpoint(self, path):
            path.write_bytes(b"half of it")
            raise OSError("no space left")

    last = tmp_path / "last.ckpt"
    last.write_bytes(b"whole")
    with pytest.raises(OSError, match="no space left"):
        Checkpoints(last, 5, Interruption()).on_validation_end(Killed(), None)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("last.ckpt", b"whole")]


def test_ctrl_c_keeps_what_was_learned(pictures, tmp_path):
    """The process stops with status 130, last.ckpt is whole, and the run can be resumed.

    A terminal sends Ctrl-C to all of its processes, those that prepare samples included.
    """
    (tmp_path / "recipe.yaml").write_text(recipe(pictures, training={"steps": 100_000, "workers": 1}).to_yaml())
    command = [sys.executable, "-m", "shotnoise", "train", "recipe.yaml", "-o", "run", "--device", "cpu"]
    options = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **options) as process:
        deadline = time.monotonic() + 60
        written = tmp_path / "run" / "last.ckpt"
        while not written.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        message = ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            message = process.communicate(timeout=30)[1]
        process.kill()  # nothing to a process that has ended; without it a failure here would wait for ever
    assert process.returncode == 130, message
    assert message.endswith("stopped\n"), message
    assert "Traceback" not in message
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["global_step"] >= 5
