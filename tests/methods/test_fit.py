"""The zero-shot fit as a denoiser of many files, from Python and from the command line."""

import json

import numpy as np
import pytest

from shotnoise import open_image
from shotnoise.batch import denoise_files
from shotnoise.cli import run
from shotnoise.errors import RecipeError
from shotnoise.images import Image, save_image
from shotnoise.methods.fit import Fit, FitOptions


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A clean picture and a folder with its noisy version, alpha included."""
    y, x = np.mgrid[:48, :64] / 48
    clean = (255 * (0.5 + 0.4 * np.sin(5 * np.stack([x, y, x + y], axis=-1)))).astype(np.uint8)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
    folder = tmp_path_factory.mktemp("fit")
    alpha = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    save_image(Image(noisy, alpha=alpha), folder / "noisy.png")
    return clean, folder


def error(a, b):
    return float(np.sqrt(np.mean((a.astype(float) - b) ** 2)))


def test_a_fit_takes_noise_out_and_carries_the_rest(scene):
    clean, folder = scene
    image = open_image(folder / "noisy.png")
    shares = []
    result = Fit(steps=150).run(image, progress=shares.append)
    assert error(result.image.pixels, clean) < 0.6 * error(image.pixels, clean)
    assert np.array_equal(result.image.alpha, image.alpha)
    assert result.sigma == pytest.approx(25, rel=0.25)
    assert shares[-1] == 1.0
    half = Fit(steps=150, strength=0.5).run(image).image.pixels
    expected = (image.pixels.astype(float) + result.image.pixels) / 2
    assert np.abs(half - expected).max() <= 1
    with pytest.raises(RecipeError, match=r"strength is 1\.5; a fit takes 0"):
        Fit(strength=1.5)


def test_many_files_and_a_second_run(scene, tmp_path):
    _, folder = scene
    first = denoise_files([folder], tmp_path / "out", options=FitOptions(steps=5))
    again = denoise_files([folder], tmp_path / "out", options=FitOptions(steps=5))
    other = denoise_files([folder], tmp_path / "out", options=FitOptions(steps=6))
    assert [r.count("done") for r in (first, again, other)] == [1, 0, 1]
    assert again.count("skipped") == 1


def test_the_command(scene, tmp_path, capsys):
    _, folder = scene
    picture = str(folder / "noisy.png")
    assert run(["denoise", "--fit", picture, "-o", str(tmp_path / "a.png"), "--fit-steps", "5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"]["name"] == "fit"
    assert "5 steps" in report["engine"]["reason"]
    assert run(["denoise", "--fit", picture, "--level", "25"]) == 2
    assert "--fit uses no model" in capsys.readouterr().err
