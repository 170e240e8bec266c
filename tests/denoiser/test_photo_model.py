"""The bundled model: what its card says is true, and it does its job."""

import importlib.resources
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from shotnoise import Denoiser, open_image
from shotnoise.bundled import find_model
from shotnoise.demo import demonstrate
from shotnoise.engines import open_engine
from shotnoise.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def card():
    return open_engine(find_model("photo")).card


@pytest.fixture(scope="module")
def cat():
    with importlib.resources.as_file(importlib.resources.files("shotnoise.bundled") / "chelsea.png") as file:
        return open_image(file).pixels


def test_it_was_made_by_the_packaged_recipe(card):
    recipe = load_recipe("photo/sigma")
    assert card.recipe_sha256 == recipe.sha256()
    assert card.recipe == recipe.name
    assert card.licence == "Apache-2.0"
    assert any("CC BY-SA 4.0" in line for line in card.trained_on)
    assert any("Unsplash License" in line for line in card.trained_on)
    assert not re.search("kodak|bsd", " ".join(card.trained_on), re.IGNORECASE)
    assert card.limits


def test_card_docs_and_committed_scores_agree(card):
    measured = json.loads((ROOT / "benchmarks" / "results" / "photo_scores.json").read_text())["evaluations"]
    scores = {score.protocol: score for score in card.scores}
    assert {one["protocol"]["name"] for one in measured} == set(scores)
    docs = (ROOT / "docs" / "models.md").read_text()
    for one in measured:
        score = scores[one["protocol"]["name"]]
        assert score.psnr == round(one["mean"]["psnr"], 3)
        mean = one["mean"]
        assert f"| {mean['noisy_psnr']:.2f} | {mean['psnr']:.2f} | {mean['ssim']:.3f} |" in docs
    assert scores["kodak24/gaussian25"].psnr >= 30.3  # the floor set for the first bundled model


def test_it_denoises_without_being_told_the_level(tmp_path):
    shown = demonstrate(tmp_path)
    assert shown.psnr_before == pytest.approx(20.2, abs=0.1)
    assert shown.psnr_after > 32
    assert shown.sigma == pytest.approx(25, rel=0.05)
    assert open_image(shown.comparison).width > 900


@pytest.mark.parametrize("sigma", [5, 15, 50])
def test_it_gains_at_every_strength_in_colour_and_gray(cat, sigma):
    rng = np.random.default_rng(sigma)
    for clean in (cat, np.ascontiguousarray(cat[:, :, 1])):
        noisy = clean / 255 + rng.normal(0, sigma / 255, clean.shape)
        denoised = Denoiser("photo", level=sigma)(noisy.astype(np.float32))
        before, after = (10 * math.log10(1 / np.mean((x - clean / 255) ** 2)) for x in (noisy, denoised))
        assert after - before > {5: 2, 15: 6, 50: 11}[sigma], (sigma, clean.shape)


def test_brightness_is_kept(cat):
    """A denoiser may not make a picture, or a tile of it, lighter or darker."""
    noisy = np.clip(cat + np.random.default_rng(0).normal(0, 20, cat.shape), 0, 255).astype(np.uint8)
    clean = Denoiser("photo", tile=192)(noisy)
    blocks = [x[:288, :448].reshape(9, 32, 14, 32, 3).mean((1, 3)) for x in (noisy.astype(float), clean.astype(float))]
    assert np.abs(blocks[0] - blocks[1]).max() < 4  # 20 / sqrt(1024) = 0.6 is the noise of a block


@pytest.mark.shared
def test_kodak_and_bsd_numbers_can_be_repeated(shared):
    """The first pictures of the committed scores, measured again."""
    from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol

    committed = json.loads((ROOT / "benchmarks" / "results" / "photo_scores.json").read_text())["evaluations"]
    rows = {one["protocol"]["name"]: one["rows"] for one in committed}
    for name in ("kodak24/gaussian25", "bsd300/gaussian50"):
        again = evaluate(ModelUnderTest("photo"), get_protocol(name), shared / "data", limit=2)
        for row, old in zip(again.rows, rows[name], strict=False):
            assert (row.picture, row.psnr) == (old["picture"], pytest.approx(old["psnr"], abs=0.002))
