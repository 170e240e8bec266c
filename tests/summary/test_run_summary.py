"""The page that a training leaves: made from the run folder, whole, and never in the way of the training."""

import csv
import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from html_reader import Reader
from shotnoise.cli import run as command
from shotnoise.errors import RecipeError
from shotnoise.recipe import Recipe, load_recipe
from shotnoise.summary import PAGE, judge, outcome, read_run, write_summary
from shotnoise.training import train

HOSTILE = '<script>alert(1)</script>"& new\u202e'


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(5):
        wave = 0.5 + 0.3 * np.sin(np.mgrid[:40, :40].sum(0) / (3 + number))
        np.save(folder / f"{number}.npy", np.stack([wave] * 3, 2).astype(np.float32))
    return folder


def plan(pictures, **changes):
    return Recipe.model_validate(
        {
            "name": "test/summary",
            "title": HOSTILE,
            "network": {"name": "shotnet", "widths": [8], "encoder": [1], "decoder": [], "level": "none"},
            "noise": {"name": "gaussian", "sigma": 25},
            "pairs": {"name": "clean", "crop": 16},
            "training": {"steps": 12, "batch": 2},
            "validation": {"share": 0.3, "every": 2, "samples": 6, "crop": 24},
            "data": [str(pictures)],
        }
        | changes
    )


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """In two sittings."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(plan(pictures), folder, stop_at=5, accelerator="cpu")
    early = folder.with_name("early.html")
    (folder / PAGE).rename(early)
    return train(plan(pictures), folder, resume=True, accelerator="cpu"), early.read_text()


def test_the_page_needs_nothing_else_and_believes_nobody(finished):
    page = Reader((finished[0].folder / PAGE).read_text())
    assert page.open == []
    assert {"link", "script", "iframe", "object", "embed", "base", "form"}.isdisjoint(page.tags)
    assert all(link.startswith("data:image/png") for link in page.links)
    assert "@import" not in page.style
    assert "http" not in page.style
    assert "prefers-color-scheme:dark" in page.style
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text
    assert page.tags.count("svg") == 4
    assert page.tags.count("img") == 9


def test_it_says_what_the_run_was(finished):
    run, early = finished
    record = read_run(run.folder)
    with (run.folder / "metrics.csv").open(newline="") as file:
        scores = {int(row["step"]): float(row["psnr"]) for row in csv.DictReader(file) if row["psnr"]}
    assert record.best == (max(scores, key=scores.get), pytest.approx(run.psnr))
    assert (record.step, record.steps, record.kind) == (12, 12, "rgb")
    log = record.log
    assert (log.pictures, log.sittings, log.ended) == ((3, 2), 2, "done")
    assert log.torch == torch.__version__
    assert "thread" in log.device
    assert log.pace > 0
    assert 0 < log.seconds < 600
    text = Reader((run.folder / PAGE).read_text()).text
    assert outcome(record) in text
    for words in ("Finished", "in 2 sittings", "3 to train on, 2 held out", "gaussian: sigma 25", "shotnet", "export"):
        assert words in text, words
    assert "--resume" not in text
    assert run.summary == run.folder / PAGE
    told = Reader(early).text
    assert "Ended early, as it was told" in told
    assert "was told to end at step 5 of 12" in told
    assert "train --resume" in told


def test_the_samples_have_the_scores_of_the_whole_samples(finished):
    samples, cells = read_run(finished[0].folder).samples
    assert (samples.step, samples.rows, samples.columns) == (12, 3, ("noisy", "result", "clean"))
    assert [len(row) for row in cells] == [3, 3, 3]
    assert all(cell.startswith(b"\x89PNG") for row in cells for cell in row)
    # sigma of 25 counts: 20.17 dB, a little more where values are limited to 0..1
    assert samples.noisy_psnr == pytest.approx(20.3, abs=0.5)
    for noisy, result in samples.psnr:
        assert noisy == pytest.approx(20.3, abs=1.5)
        assert 3 < result < 40


def test_without_clean_pictures_it_shows_the_loss_and_no_psnr(pictures, tmp_path):
    changes = {
        "noise": None,
        "pairs": {"name": "single-noisy", "crop": 16, "simulate": False},
        "method": {"name": "neighbor2neighbor", "epochs": 100},
        "validation": {"share": 0.3, "every": 6, "samples": 2, "crop": 24},
    }
    run = train(plan(pictures, **changes), tmp_path / "run", accelerator="cpu")
    record = read_run(run.folder)
    assert record.truthless
    assert record.samples[0].columns == ("noisy", "result")
    assert (record.samples[0].psnr, record.samples[0].noisy_psnr) == ((), None)
    text = Reader((run.folder / PAGE).read_text()).text
    assert "validation shows the loss on held-out samples in dB, and not a PSNR" in text
    assert "Validation loss" in text
    assert "Validation PSNR" not in text
    assert "above the noisy input" not in text


def test_raw_is_shown_developed(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    ramp = np.linspace(0.05, 0.4, 48, dtype=np.float32)
    for number in range(4):
        np.save(folder / f"{number}.npy", np.tile(ramp[:, None, None], (1, 48, 3)) * (1 + number / 9))
    changes = [
        "network={name: shotnet, in_nc: 4, widths: [8], encoder: [1], decoder: [], level: none}", "pairs.crop=16",
        "training={steps: 2, batch: 2}", "validation={share: 0.3, every: 2, samples: 3, crop: 16}", "noise.camera=sony",
    ]  # fmt: skip
    recipe = load_recipe("raw/ksigma", overrides=changes[:-1], data=[folder])
    run = train(recipe, tmp_path / "run", accelerator="cpu")
    record = read_run(run.folder)
    assert record.kind == "raw"
    assert record.samples[0].noisy_psnr > 0
    text = Reader((run.folder / PAGE).read_text()).text
    assert "RAW is shown developed" in text
    assert "raw/kodak24/iso1600" in text
    assert "denoise noisy.dng" in text


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ZeroDivisionError("a mistake of ours")])
def test_a_page_that_cannot_be_written_costs_nothing_else(pictures, tmp_path, monkeypatch, caplog, error):
    def fails(run):
        raise error

    monkeypatch.setattr("shotnoise.training.run.write_summary", fails)
    run = train(plan(pictures, training={"steps": 2, "batch": 2}), tmp_path / "run", accelerator="cpu")
    assert run.step == 2
    assert run.summary is None
    assert run.best.exists()
    assert f"no {PAGE}: {type(error).__name__}" in caplog.text


def test_a_training_that_fails_says_so(pictures, tmp_path):
    def trips(step, *_):
        if step == 3:
            raise RuntimeError("the progress bar\nbroke")

    with pytest.raises(RuntimeError, match="broke"):
        train(plan(pictures), tmp_path / "run", report=trips, accelerator="cpu")
    record = read_run(tmp_path / "run")
    assert record.log.ended == "failed"
    text = Reader((tmp_path / "run" / PAGE).read_text()).text
    assert "the training failed at step 3: RuntimeError: the progress bar broke" in text
    assert judge(record)[0].severity == "error"


def test_train_says_where_the_page_is(pictures, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(plan(pictures, training={"steps": 2, "batch": 2}).to_yaml())
    folder = tmp_path / "run"
    assert command(["train", str(tmp_path / "recipe.yaml"), "-o", str(folder), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"how it went: {folder / PAGE}"
    assert lines[2] == f"next: shotnoise evaluate {folder} --protocol kodak24 --data DIR"
    assert command(["train", "--resume", str(folder), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"] == str(folder / PAGE)


def test_train_says_when_it_has_not_validated_yet(pictures, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(plan(pictures).to_yaml())
    folder = tmp_path / "run"
    start = ["train", str(tmp_path / "recipe.yaml"), "-o", str(folder), "--device", "cpu", "--stop-at", "1"]
    assert command([*start[:-1], "0"]) == 2
    assert command(start) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{folder}: step 1, before its first validation"
    assert said[2:] == [f"next: shotnoise train --resume {folder}"], "there are no weights to measure yet"
    assert command(["train", "--resume", str(folder), "--device", "cpu", "--stop-at", "1", "--json"]) == 0

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    told = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert (told["best"], told["psnr"], told["step"]) == (None, None, 1)


def test_several_processes_go_on_as_many(finished, tmp_path):
    """Fewer would see other samples."""
    copy = Path(shutil.copytree(finished[0].folder, tmp_path / "run"))
    log = (copy / "train.log").read_text()
    (copy / "train.log").write_text(re.sub("runs on ", "runs on 4 x ", log))
    (copy / "metrics.csv").write_text("step,loss,lr,psnr,ssim\n3,0.1,1e-3,,\n")
    (copy / "recipe.yaml").write_text((copy / "recipe.yaml").read_text().replace("steps: 12", "steps: 120"))
    write_summary(copy)
    assert f"shotnoise train --resume {copy} --devices 4" in Reader((copy / PAGE).read_text()).text


def test_report_makes_it_again(finished, tmp_path, capsys):
    folder = str(finished[0].folder)
    page = tmp_path / "page.html"
    assert command(["report", folder, "-o", str(page)]) == 0
    assert Reader(page.read_text()).tags.count("svg") == 4
    assert capsys.readouterr().out.startswith("Best validation")
    page.unlink()
    assert command(["report", folder, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["best"]["psnr"] == pytest.approx(finished[0].psnr)
    assert (told["ended"], told["step"], told["pictures"]) == ("done", 12, {"training": 3, "held_out": 2})
    assert not page.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--level", "25"], "--level with the run .*; expected only -o and --json: leave it out"),
        (["-o", "x.pdf"], "x.pdf: ends in '.pdf'; expected .html: choose such a name"),
        (["-o", "/nowhere/x.html"], "there is no folder /nowhere; make it first"),
    ],
)
def test_report_of_a_run_refuses_what_it_cannot_use(finished, capsys, more, words):
    assert command(["report", str(finished[0].folder), *more]) == 1
    assert re.search(words, capsys.readouterr().err.replace("\n", " "))


def test_report_needs_a_run_or_two_files(tmp_path, capsys):
    assert command(["report", str(tmp_path / "misspelt")]) == 1
    assert "misspelt: does not exist; expected a run folder, or BEFORE and AFTER" in capsys.readouterr().err
    assert command(["report", str(tmp_path)]) == 1
    assert "a folder without recipe.yaml alone; expected a run folder, or BEFORE and AFTER" in capsys.readouterr().err
    with pytest.raises(RecipeError, match=r"no recipe\.yaml here; expected a run folder"):
        read_run(tmp_path)
    (tmp_path / "recipe.yaml").write_text("- no\n- recipe\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml is no mapping"):
        read_run(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    (tmp_path / "metrics.csv").write_text("step,loss\n1,many\n")
    with pytest.raises(RecipeError, match=r"this run cannot be read .*many.*; expected what `shotnoise train` left"):
        read_run(tmp_path)


def test_a_run_of_an_earlier_version_is_told_as_far_as_it_goes(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: old\ntraining: {steps: 30}\n")
    (tmp_path / "metrics.csv").write_text("step,loss,lr,psnr,ssim\n10,0.1,0.01,,\n10,,,25.5,\n20,0.05,0.01,,\n")
    (tmp_path / "train.log").write_text(
        "2026-01-02 10:00:00,000 old: 7 pictures to train on, 1 held out\n"
        "2026-01-02 10:01:30,500 step 20/30  loss 0.05000  12 samples/s  1 min to go\nno line of a log\n"
    )
    for name in ("best.safetensors", "samples.png"):
        (tmp_path / name).write_bytes(b"\x10\0\0\0\0\0\0\0 damaged")
    record = read_run(tmp_path)
    assert outcome(record) == "Best validation 25.50 dB at step 10 of 30; 1 min 30 s, 12 samples/s"
    assert (record.card, record.samples, record.log.ended) == (None, None, "")
    assert [one.code for one in judge(record)] == ["no-end"]
    text = Reader(write_summary(tmp_path).read_text()).text
    assert "Still going on, or killed" in text
    assert "There are no weights yet" in text


def test_a_long_run_is_told_in_no_time(tmp_path):
    """Half a million steps are no reason for a large page, or for a slow one."""
    steps = np.arange(10, 500_001, 10)
    rng = np.random.default_rng(0)
    rows = [f"{step},{value:.6g},0.001,," for step, value in zip(steps, rng.lognormal(-3, 1, len(steps)), strict=True)]
    (tmp_path / "metrics.csv").write_text("\n".join(["step,loss,lr,psnr,ssim", *rows]) + "\n")
    (tmp_path / "recipe.yaml").write_text("name: long\ntraining: {steps: 500000}\n")
    started = time.process_time()
    page = write_summary(tmp_path)
    assert time.process_time() - started < 3
    assert page.stat().st_size < 100_000
