"""The bundled models: what their cards say is true, and they do their job."""

import importlib.resources
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from shotnoise import Denoiser, open_image
from shotnoise.bundled import BUNDLED, find_model, sibling
from shotnoise.demo import demonstrate
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]


RECIPES = {"photo": "photo/real-psnr", "gaussian": "gaussian/s", "raw": "raw/ksigma"}


@pytest.fixture(scope="module")
def cat():
    with importlib.resources.as_file(importlib.resources.files("shotnoise.bundled") / "chelsea.png") as file:
        return open_image(file).pixels


def test_all_of_them_are_small():
    files = [
        path for name in BUNDLED for path in (find_model(name), sibling(find_model(name), "int8")) if path.exists()
    ]
    assert len(files) > len(BUNDLED)
    assert sum(path.stat().st_size for path in files) < 12e6


@pytest.mark.parametrize("name", BUNDLED)
def test_they_were_made_by_packaged_recipes_from_pictures_that_may_be_used(name):
    card, recipe = read_onnx(find_model(name)).card, load_recipe(RECIPES[name])
    assert card.recipe_sha256 == recipe.sha256()
    assert card.recipe == recipe.name
    assert card.licence == "Apache-2.0"
    assert any("CC BY-SA 4.0" in line for line in card.trained_on)
    assert any("Unsplash License" in line for line in card.trained_on)
    assert not re.search("kodak|bsd", " ".join(card.trained_on), re.IGNORECASE)
    assert card.limits


@pytest.mark.parametrize("name", BUNDLED)
def test_cards_and_committed_scores_agree(name):
    content = json.loads((ROOT / "benchmarks" / "results" / f"{name}_scores.json").read_text())
    scores = {score.protocol: score for score in read_onnx(find_model(name)).card.scores}
    for one in content["evaluations"]:
        assert scores.pop(one["protocol"]["name"]).psnr == round(one["mean"]["psnr"], 3)
    assert not scores


def test_photo_denoises_without_being_told_anything(tmp_path):
    shown = demonstrate(tmp_path)
    assert shown.psnr_before == pytest.approx(20.2, abs=0.1)
    assert shown.psnr_after > 30
    assert shown.sigma == pytest.approx(25, rel=0.05)
    assert open_image(shown.comparison).width > 900


def test_photo_hardly_touches_a_picture_without_noise(cat):
    change = Denoiser("photo")(cat).astype(float) - cat
    assert 10 * math.log10(255**2 / np.square(change).mean()) > 45
    assert np.abs(change.mean((0, 1))).max() < 0.5


@pytest.mark.parametrize("sigma", [5, 15, 50])
@pytest.mark.parametrize("name", ["photo", "gaussian"])
def test_they_gain_at_every_strength_in_colour_and_gray(cat, sigma, name):
    rng = np.random.default_rng(sigma)
    told = {} if name == "photo" else {"level": sigma}
    least = {"photo": {5: 1, 15: 5, 50: 9}, "gaussian": {5: 2, 15: 6, 50: 11}}[name][sigma]
    for clean in (cat, np.ascontiguousarray(cat[:, :, 1])):
        noisy = clean / 255 + rng.normal(0, sigma / 255, clean.shape)
        denoised = Denoiser(name, **told)(noisy.astype(np.float32))
        before, after = (10 * math.log10(1 / np.mean((x - clean / 255) ** 2)) for x in (noisy, denoised))
        assert after - before > least, (sigma, clean.shape)


def test_a_level_that_is_told_asks_for_the_model_that_takes_one():
    assert Denoiser().card.recipe == RECIPES["photo"]
    assert Denoiser(level=12).card.recipe == RECIPES["gaussian"]


@pytest.mark.parametrize("name", ["photo", "gaussian"])
def test_brightness_is_kept(cat, name):
    """A denoiser may not make a picture, or a tile of it, lighter or darker."""
    noisy = np.clip(cat + np.random.default_rng(0).normal(0, 20, cat.shape), 0, 255).astype(np.uint8)
    clean = Denoiser(name, tile=192)(noisy)
    blocks = [x[:288, :448].reshape(9, 32, 14, 32, 3).mean((1, 3)) for x in (noisy.astype(float), clean.astype(float))]
    assert np.abs(blocks[0] - blocks[1]).max() < 4  # 20 / sqrt(1024) = 0.6 is the noise of a block


@pytest.mark.shared
@pytest.mark.parametrize("name", ["photo", "gaussian"])
def test_kodak_and_bsd_numbers_can_be_repeated(shared, name):
    """The first pictures of the committed scores, measured again."""
    from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol

    committed = json.loads((ROOT / "benchmarks" / "results" / f"{name}_scores.json").read_text())["evaluations"]
    rows = {one["protocol"]["name"]: one["rows"] for one in committed}
    for protocol in ("kodak24/gaussian25", "bsd300/gaussian50"):
        again = evaluate(ModelUnderTest(name), get_protocol(protocol), shared / "data", limit=2)
        for row, old in zip(again.rows, rows[protocol], strict=False):
            assert (row.picture, row.psnr) == (old["picture"], pytest.approx(old["psnr"], abs=0.002))
