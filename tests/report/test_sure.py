"""Estimates of the error without the truth, where everything is known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from shotnoise import Image
from shotnoise.report import compare
from shotnoise.report.sure import ERRORS
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.simulate import SimulatedSensor


def smoothed(values):
    """The mean over 3 x 3 pixels, wrapped around."""
    return sum(np.roll(values, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9


def smooth_image(image):
    return Image(smoothed(image.pixels).astype(np.float32))


def true_psnr(clean, after):
    return -10 * math.log10(float(np.square(clean - after, dtype=np.float64).mean()))


def picture(seed, size=(256, 256)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    return (0.5 + 0.12 * np.sin(x / 2.5) * np.cos(y / 3.5) + 0.1 * np.sin(y / 40)).astype(np.float32), rng


@pytest.mark.parametrize("sigma", [0.02, 0.08])
def test_stein_knows_the_error_of_any_denoiser(sigma):
    clean, rng = picture(0, (512, 512))
    before = (clean + rng.normal(0, sigma, clean.shape)).astype(np.float32)
    report = compare(before, smooth_image(Image(before)).pixels, clean, noise=255 * sigma, restore=smooth_image)
    stein, residual = report.estimates
    assert stein.method == "stein"
    assert report.best_estimate is stein
    assert stein.psnr == pytest.approx(true_psnr(clean, smoothed(before)), abs=0.2)
    assert stein.psnr == pytest.approx(report.truth.psnr_after, abs=0.2)
    assert stein.before == pytest.approx(report.truth.psnr_before, abs=0.1)
    # A blur takes detail along, which the residual alone takes for a better result, as it says.
    assert residual.psnr is None or residual.psnr > stein.psnr


def test_stein_where_the_noise_grows_with_the_light():
    clean, rng = picture(1)
    law = NoiseLaw((4e-3,), (2e-4,), "known")
    before = (clean + np.sqrt(law.variance(clean)) * rng.standard_normal(clean.shape)).astype(np.float32)
    report = compare(before, smooth_image(Image(before)).pixels, clean, noise=law, restore=smooth_image)
    assert report.estimates[0].psnr == pytest.approx(report.truth.psnr_after, abs=0.15)


def test_stein_on_whole_counts_of_a_sensor():
    """The mosaic is moved by whole counts and its result rounded, and still the slope is found."""
    sensor = SimulatedSensor(height=192, width=256)
    view = np.repeat(picture(2, (192, 256))[0][:, :, None], 3, 2) * 0.8
    light = sensor.exposure_for(1.0, 3200)
    before, truth = (
        sensor.expose(view, iso=3200, exposure=light, rng=np.random.default_rng(0), noisy=noisy)
        for noisy in (True, False)
    )

    def restore(frame):
        mosaic = frame.mosaic.astype(np.float64)
        for row in (0, 1):
            for column in (0, 1):
                mosaic[row::2, column::2] = smoothed(mosaic[row::2, column::2])
        return frame.with_mosaic(np.rint(mosaic).astype(np.uint16))

    report = compare(before, restore(before), truth, noise=sensor.noise(3200), restore=restore)
    assert report.estimates[0].psnr == pytest.approx(report.truth.psnr_after, abs=0.2)


def test_the_residual_alone_tells_the_error_of_the_best_estimator():
    """Of Gaussian values in Gaussian noise the best estimator is a straight line, and nothing is assumed wrongly."""
    rng = np.random.default_rng(3)
    spread, sigma = 0.05, 0.05
    clean = 0.5 + rng.normal(0, spread, (256, 256))
    before = clean + rng.normal(0, sigma, clean.shape)
    after = 0.5 + spread**2 / (spread**2 + sigma**2) * (before - 0.5)
    report = compare(before, after, clean, noise=255 * sigma)
    (estimate,) = report.estimates
    assert estimate.psnr == pytest.approx(report.truth.psnr_after, abs=0.1)
    assert report.best_estimate is None  # it does not stand on its own


def test_no_number_where_there_is_none():
    clean, rng = picture(4)
    before = (clean + rng.normal(0, 0.05, clean.shape)).astype(np.float32)
    (estimate,) = compare(before, clean, noise=255 * 0.05).estimates
    assert estimate.psnr is None or estimate.psnr > 40
    (estimate,) = compare(before, clean, noise=255 * 0.04).estimates
    assert estimate.psnr is None
    assert "says nothing about what is left" in estimate.why


def test_the_errors_that_are_quoted_were_measured():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "sure.json"
    measured = json.loads(path.read_text(encoding="utf-8"))["quoted"]
    assert {
        f"{method}/{kind}/{'known' if known else 'blind'}": list(error)
        for (method, kind, known), error in ERRORS.items()
    } == measured
