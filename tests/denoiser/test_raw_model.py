"""The bundled `raw`: that it removes noise at every ISO, and changes nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest

from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.raw_denoiser import RawDenoiser
from shotnoise.recipe import load_recipe
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.simulate import SimulatedSensor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():
    return ModelUnderTest("raw")


def test_its_card_is_that_of_its_recipe(model):
    recipe = load_recipe("raw/ksigma")
    assert model.card.recipe_sha256 == recipe.sha256()
    assert model.card.k_sigma.model_dump() == {"offset": 0.0, **recipe.pairs.options["k_sigma"]}
    assert {score.protocol for score in model.card.scores} >= {"raw/kodak24/iso800", "raw/kodak24/iso6400"}


@pytest.mark.shared
def test_numbers_can_be_repeated(model, shared):
    """The first pictures of the committed scores, measured again."""
    committed = json.loads((ROOT / "benchmarks" / "results" / "raw_scores.json").read_text())["evaluations"]
    rows = {one["protocol"]["name"]: one["rows"] for one in committed}
    for name in ("raw/kodak24/iso800", "raw/kodak24/iso6400"):
        again = evaluate(model, get_protocol(name), shared / "data", channels=4, limit=2)
        for row, old in zip(again.rows, rows[name], strict=False):
            assert (row.picture, row.psnr) == (old["picture"], pytest.approx(old["psnr"], abs=0.002))


def test_it_beats_the_published_weights_of_pmrid_on_their_own_camera():
    table = json.loads((ROOT / "benchmarks" / "results" / "raw_denoise.json").read_text())["isos"]
    for iso, rows in table.items():
        assert rows["raw"]["psnr"] > rows["PMRID, published weights"]["psnr"], iso
        assert rows["raw"]["psnr"] > rows["root + non-local means"]["psnr"], iso


def test_an_even_surface_becomes_even_and_keeps_its_brightness():
    sensor = SimulatedSensor(height=192, width=192)
    for iso in (200, 3200):
        frame = sensor.flat(0.3, iso=iso, rng=np.random.default_rng(0))
        clean = RawDenoiser(profile=sensor.noise(iso))(frame)
        for row, col in ((0, 0), (0, 1), (1, 0), (1, 1)):
            before, after = (f.mosaic[row::2, col::2].astype(float) for f in (frame, clean))
            assert after.mean() - 256 == pytest.approx(before.mean() - 256, rel=0.01)
            assert after.std() < 0.2 * before.std()


def test_a_frame_with_almost_no_noise_is_almost_unchanged():
    sensor = SimulatedSensor(height=128, width=128)
    rows, cols = np.mgrid[:128, :128] / 9
    scene = 0.5 + 0.3 * np.sin(rows) * np.cos(cols)
    frame = sensor.expose(
        scene, iso=100, exposure=sensor.exposure_for(0.6, 100), rng=np.random.default_rng(0), noisy=False
    )
    result = RawDenoiser(profile=NoiseLaw((2e-5,), (5e-8,))).run(frame)
    assert result.removed < 0.35 * result.sigma  # which the law claims, and which is not there
