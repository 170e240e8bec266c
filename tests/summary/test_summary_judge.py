"""Warnings in words, from curves made up for each of them."""

import numpy as np
import pytest

from shotnoise.summary import judge, read_run
from shotnoise.summary.samples import Samples, write_samples

LOG = "2026-01-02 10:00:00,000 x: 7 pictures to train on, 1 held out\n"


def told(folder, psnr, *, losses=None, log="", steps=1000, recipe=""):
    """The findings about a run of so many validations, spread evenly over its steps."""
    (folder / "recipe.yaml").write_text(f"name: x\ntraining: {{steps: {steps}}}\n{recipe}")
    rows = ["step,loss,lr,psnr,ssim"]
    losses = np.full(100, 0.1) if losses is None else losses
    rows += [f"{10 * (number + 1)},{loss},0.001,," for number, loss in enumerate(losses)]
    rows += [f"{10 * len(losses) * (number + 1) // len(psnr)},,,{value}," for number, value in enumerate(psnr)]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    done = f"2026-01-02 10:01:00,000 {log or f'done at step {10 * len(losses)}, best validation'}\n"
    (folder / "train.log").write_text(LOG + done)
    return {one.code: one for one in judge(read_run(folder))}


def test_a_good_run_has_nothing_to_be_said(tmp_path):
    assert told(tmp_path, [25, 27, 28, 28.5, 28.8, 28.95, 29.0, 29.03, 29.04, 29.05]) == {}


def test_a_loss_that_is_no_number(tmp_path):
    losses = np.full(100, 0.1)
    losses[[40, 41]] = np.nan, np.inf
    found = told(tmp_path, [25, 26, 27], losses=losses)["loss-not-finite"]
    assert found.severity == "warning"
    assert "in 2 of 100 logged steps, first at step 410; try a lower training.lr" in found.text
    losses[60:] = np.nan
    found = told(tmp_path, [25, np.nan, np.nan], losses=losses)["loss-not-finite"]
    assert found.severity == "error"
    assert "and to the end" in found.text
    assert told(tmp_path, [np.nan, np.nan])["validation-not-finite"].severity == "error"


@pytest.mark.parametrize(("skipped", "severity"), [(64, "warning"), (1, "note")])
def test_skipped_updates(tmp_path, skipped, severity):
    line = f"step 2000: a gradient is not finite, update skipped ({skipped} so far)"
    found = told(tmp_path, [25, 26, 27], log=line)["updates-skipped"]
    assert found.severity == severity
    assert f"at least {skipped} updates were skipped" in found.text


def test_the_best_one_long_ago(tmp_path):
    found = told(tmp_path, [25, 28, 29, 29.2, 29, 28.8, 28.6, 28.4, 28.3, 28.2])["best-long-ago"]
    assert found.severity == "warning"
    assert "step 400, 60% of the run before its end, and the last one is 1.00 dB worse" in found.text


@pytest.mark.parametrize(
    ("noisy", "severity", "words"), [(27.5, "error", "is no better"), (26.95, "warning", "hardly")]
)
def test_no_gain(tmp_path, noisy, severity, words):
    samples = Samples(step=1000, rows=1, columns=("noisy", "result", "clean"), psnr=((20.0, 27.0),), noisy_psnr=noisy)
    write_samples(tmp_path, np.zeros((2, 6, 3), np.uint8), samples)
    found = told(tmp_path, [25, 26, 27])["no-gain"]
    assert found.severity == severity
    assert words in found.text
    assert f"than its noisy input, {noisy:.2f} dB" in found.text


def test_no_more_gain(tmp_path):
    found = told(tmp_path, [25, 28, 29, 29.1, 29.15, 29.15, 29.155, 29.158, 29.154, 29.153])["no-more-gain"]
    assert found.severity == "note"
    assert "gained 0.01 dB in the last third" in found.text


def test_still_rising(tmp_path):
    psnr = [25, 26, 27, 28, 29, 30, 31, 32, 33, 34]
    assert "by 2.00 dB in the last fifth" in told(tmp_path, psnr)["still-rising"].text
    found = told(tmp_path, psnr, steps=5000)
    assert set(found) == {"before-its-schedule"}, "that it would rise on is no news then"
    words = "it was told to end at step 1,000 of 5,000, with a learning rate that was still 0.001"
    assert words in found["before-its-schedule"].text


def test_the_score_that_chooses_is_the_one_that_is_judged(tmp_path):
    found = told(tmp_path, [25, 28, 29, 29.2, 29, 28.8, 28.6, 28.4, 28.3, 28.2], recipe="validation: {best: ssim}\n")
    assert set(found) == {"no-validation"}, "there is no SSIM in these"
