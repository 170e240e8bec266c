"""Black frames: level and noise, what is found in them, and the shape of the noise against scipy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.dark import examine, log_law, tukey_lambda
from shotnoise.sensor.simulate import SimulatedSensor

SENSOR = SimulatedSensor(height=160, width=192, black=(256.0, 257.3, 255.6, 256.2))


def rng(number=0):
    return np.random.default_rng(number)


def darks(sensor=SENSOR, count=3, iso=400, start=0, **options):
    return [Frame.of(sensor.dark(iso=iso, rng=rng(start + n), **options), f"black {start + n}") for n in range(count)]


def test_level_and_variance_are_those_of_the_sensor():
    found = examine(darks(), rng=rng())
    assert [black.plane for black in found.blacks] == ["R", "Gr", "Gb", "B"]
    for black, level in zip(found.blacks, SENSOR.blacks, strict=True):
        assert black.level == pytest.approx(level, abs=4 * black.level_se + 0.01)
        assert black.variance == pytest.approx(SENSOR.s2(400), rel=4 * np.sqrt(2 / black.variance_dof))
        assert (black.frames, black.leak, black.hot_pixels) == (3, False, 0)
    assert found.findings == ()
    assert found.row_variance < 0.01


def test_one_frame_will_do():
    black = examine(darks(count=1), rng=rng()).blacks[0]
    assert black.variance == pytest.approx(SENSOR.s2(400), rel=0.1)
    assert black.spread == 0


def test_hot_pixels_are_counted_and_do_not_move_the_level():
    sensor = replace(SENSOR, hot_pixels=0.002, dsnu=0.3)
    found = examine(darks(sensor), rng=rng())
    assert sum(black.hot_pixels for black in found.blacks) == pytest.approx(0.002 * 160 * 192, abs=30)
    assert found.blacks[0].level == pytest.approx(256, abs=0.1)


def test_unequal_pixels_are_no_noise_over_time():
    black = examine(darks(replace(SENSOR, dsnu=4.0), count=4), rng=rng()).blacks[0]
    assert black.variance == pytest.approx(SENSOR.s2(400), rel=0.06)


def test_a_frame_with_light_in_it_is_named_and_left_out():
    frames = [*darks(), *darks(count=1, start=9, leak=4.0)]
    found = examine(frames, rng=rng())
    (finding,) = found.findings
    assert (finding.code, finding.frame, finding.severity) == ("light-leak", "black 9", "warning")
    assert "cover lens and viewfinder" in finding.text
    assert found.blacks[0].frames == 3
    assert found.blacks[0].level == pytest.approx(256, abs=0.1)


def test_light_in_all_frames_is_said_of_all():
    found = examine(darks(leak=4.0), rng=rng())
    assert [finding.frame for finding in found.findings] == ["black 0", "black 1", "black 2"]
    assert all(black.leak and black.shading > 0.5 for black in found.blacks)


def test_rows_are_no_light_leak():
    found = examine(darks(replace(SENSOR, row_noise=1.5)), rng=rng())
    assert found.findings == ()
    assert np.sqrt(found.row_variance) == pytest.approx(1.5 * SENSOR.k(400), rel=0.2)
    assert found.blacks[0].row_std == pytest.approx(1.5 * SENSOR.k(400), rel=0.3)
    assert found.blacks[0].column_std < 0.3
    assert found.blacks[0].variance_dof < 2 * 80 * 96 / 2


def test_a_frame_far_from_the_others_is_left_out():
    strange = darks(replace(SENSOR, black=270.0), count=1, start=5)
    found = examine([*darks(), *strange], rng=rng())
    assert [finding.frame for finding in found.findings] == ["black 5"]
    assert "it is left out" in found.findings[0].text


def test_noise_that_is_cut_off_at_zero_is_said_to_be():
    found = examine(darks(replace(SENSOR, black=2.0)), rng=rng())
    assert found.clipped
    assert found.findings[0].code == "clipping"


@pytest.mark.parametrize("lam", [-0.2, 0.0, 0.14, 0.3])
def test_tukey_lambda_is_what_scipy_finds(lam):
    sample = 2.5 * stats.tukeylambda.rvs(lam, size=20_000, random_state=3)
    shape, scale, correlation = tukey_lambda(sample)
    assert shape == pytest.approx(lam, abs=0.03)
    assert scale == pytest.approx(2.5, rel=0.06)
    assert correlation > 0.999
    assert shape == pytest.approx(stats.ppcc_max(sample, brack=(-0.3, 0.4)), abs=0.005)


def test_the_shape_of_the_noise_is_found_through_the_rounding():
    draw = 1.5 * stats.tukeylambda.rvs(-0.1, size=(2, 200, 200), random_state=4)
    rows = 0.4 * np.random.default_rng(5).standard_normal((2, 200, 1))
    frames = [Frame("x", np.rint(64 + part).astype(np.uint16), None, 1023, iso=100) for part in draw + rows]
    noise = examine(frames, rng=rng()).bias[0]
    assert noise.lam == pytest.approx(-0.1, abs=0.04)
    assert noise.scale == pytest.approx(1.5, rel=0.08)
    assert noise.row == pytest.approx(0.4, rel=0.2)
    assert noise.sigma == pytest.approx(1.5 * stats.tukeylambda.std(-0.1), rel=0.05)


def test_log_law():
    law = log_law("row", [1, 2, 4, 8], [0.3 * k**0.8 for k in (1, 2, 4, 8)])
    assert (law.slope, law.intercept) == (pytest.approx(0.8), pytest.approx(np.log(0.3)))
    assert law.residual == pytest.approx(0, abs=1e-9)
    assert log_law("row", [1, 2], [1, 2]) is None


def test_frames_of_two_sizes_and_of_a_few_pixels_are_refused():
    small = SimulatedSensor(height=160, width=96)
    frames = [*darks(), *darks(small, start=3)]
    with pytest.raises(ProfileError, match=r"black 3: has 80 x 48 pixels of a colour, black 0 has 80 x 96; .*one size"):
        examine(frames, rng=rng())
    for pattern, shape in (("RGGB", (4, 8)), (None, (1, 1))):
        frame = Frame("dot.tif", np.ones(shape, np.uint16), pattern, 255)
        with pytest.raises(
            ProfileError, match=rf"dot\.tif: has {shape[0]} x {shape[1]} pixels, too few .*a whole frame"
        ):
            examine([frame, frame], rng=rng())
