"""The simulated camera against its own formulas."""

from dataclasses import replace

import numpy as np
import pytest

from shotnoise.errors import ProfileError
from shotnoise.images.raw.bayer import PATTERNS, split
from shotnoise.sensor.simulate import SimulatedSensor

SENSOR = SimulatedSensor(height=128, width=160, row_noise=0.8, dark_current=30.0)


def pairs(frames):
    return [split(frame.mosaic, frame.pattern).astype(float) for frame in frames]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_mean_and_variance_follow_the_formulas(pattern):
    sensor = replace(SENSOR, pattern=pattern)
    rng = np.random.default_rng(0)
    a, b = pairs(sensor.flat(0.5, iso=400, rng=rng) for _ in range(2))
    exposure = sensor.exposure_for(0.5, 400)
    n = a[0].size
    for plane, share in enumerate((0.55, 1.0, 1.0, 0.65)):
        signal = 0.5 * share * (sensor.white - 256) + sensor.k(400) * sensor.dark_current * exposure
        variance = sensor.k(400) * 0.5 * share * (sensor.white - 256) + sensor.s2(400, exposure)
        mean = (a[plane].mean() + b[plane].mean()) / 2 - 256
        assert mean == pytest.approx(signal, abs=5 * np.sqrt(variance / 2 / n + (0.8 * sensor.k(400)) ** 2 / 128))
        assert np.var(a[plane] - b[plane]) / 2 == pytest.approx(variance, rel=5 * np.sqrt(2 / n))


def test_rows_share_their_noise_across_colours():
    sensor = replace(SENSOR, row_noise=20.0, read_before=0.0)
    mosaic = sensor.dark(iso=100, rng=np.random.default_rng(0)).mosaic.astype(float)
    even, odd = mosaic[:, ::2].mean(1), mosaic[:, 1::2].mean(1)
    assert np.corrcoef(even, odd)[0, 1] > 0.99


def test_defects_stay_with_the_camera():
    sensor = replace(SENSOR, hot_pixels=0.01, prnu=0.01, dsnu=3.0)
    first, second = (sensor.dark(iso=400, rng=np.random.default_rng(n)).mosaic.astype(float) for n in (0, 1))
    other = replace(sensor, serial=2).dark(iso=400, rng=np.random.default_rng(0)).mosaic.astype(float)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.6
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05


def test_exposure_fills_the_range_and_white_is_the_end():
    frame = SENSOR.flat(1.5, iso=100, rng=np.random.default_rng(0))
    assert frame.mosaic.max() == SENSOR.white
    clean = SENSOR.expose(np.ones((128, 160)), iso=100, exposure=SENSOR.exposure_for(0.25, 100),
                          rng=np.random.default_rng(0), noisy=False)  # fmt: skip
    green = split(clean.mosaic, "RGGB")[1].astype(float) - 256
    dark = SENSOR.k(100) * SENSOR.dark_current * SENSOR.exposure_for(0.25, 100)
    assert green.mean() == pytest.approx(0.25 * (SENSOR.white - 256) + dark, abs=0.5)


def test_colours_gain_and_truth():
    sensor = replace(SENSOR, dual_gain=800, dual_read_before=1.0, dual_factor=1.1)
    assert sensor.k(1600) == pytest.approx(1.1 * 16 * sensor.gain)
    assert sensor.s2(800) == pytest.approx(sensor.k(800) ** 2 * (1 + 0.8**2) + 1.2**2 + 1 / 12)
    law = sensor.noise(400)
    assert law.k[2] == pytest.approx(sensor.k(400) / (sensor.white - 256))
    scene = np.zeros((128, 160, 3))
    scene[..., 2] = 1
    planes = split(sensor.expose(scene, iso=100, exposure=0.1, rng=np.random.default_rng(0)).mosaic, "RGGB")
    assert planes[3].mean() > 400 > 300 > planes[:3].mean()
    with pytest.raises(ProfileError, match="a scene of shape"):
        sensor.expose(np.zeros((2, 2)), iso=100, exposure=0.1, rng=np.random.default_rng(0))
    with pytest.raises(ProfileError, match="even sides"):
        SimulatedSensor(height=7)
