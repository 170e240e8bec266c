"""Means and variances of rectangles against numpy on the same pixels, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.measure import measure, residual_variance, second_difference_variance
from shotnoise.sensor.calibration.result import Roi

ROI = Roi(0, 0, 60, 80)


def mono(counts, name="frame"):
    return Frame(name, np.rint(counts).clip(0, 4095).astype(np.uint16), None, 4095)


def noisy(mean, sigma, number, count=2, shape=(60, 80)):
    rng = np.random.default_rng(number)
    return [mono(rng.normal(mean, sigma, shape)) for _ in range(count)]


def test_two_frames_give_half_the_variance_of_their_difference():
    a, b = noisy(500, 10, 0)
    point = measure([a, b], [ROI], [100.0], white=4095).points[0]
    difference = a.pixels.astype(float) - b.pixels
    assert point.variance == pytest.approx(0.5 * difference.var(ddof=1), rel=1e-5)
    assert point.mean == pytest.approx((a.pixels.mean() + b.pixels.mean()) / 2 - 100, rel=1e-6)
    assert (point.pixels, point.dof, point.frames, point.used) == (4800, 4799, 2, True)


def test_nothing_is_clamped_below_black():
    a, b = noisy(100, 10, 1)
    point = measure([a, b], [ROI], [100.0], white=4095).points[0]
    assert abs(point.mean) < 1
    assert point.variance == pytest.approx(100, rel=0.1)


def test_patterns_that_stand_still_cancel():
    rng = np.random.default_rng(2)
    still = 400 + 100 * rng.random((60, 80)) + np.linspace(0, 300, 80)
    burst = measure([mono(still + rng.normal(0, 8, still.shape)) for _ in range(3)], [ROI], [0.0], white=4095)
    assert burst.points[0].variance == pytest.approx(64 + 1 / 12, rel=4 * np.sqrt(2 / 9600))
    assert burst.points[0].uniformity > 5
    assert burst.points[0].tilt == pytest.approx(300 / 600, rel=0.05)


def test_flicker_is_levelled_out():
    rng = np.random.default_rng(3)
    frames = [mono(rng.normal(1000 * factor, 20, (60, 80))) for factor in (1.0, 1.04)]
    burst = measure(frames, [ROI], [0.0], white=4095)
    assert burst.flicker == pytest.approx(0.04, abs=0.002)
    assert burst.points[0].variance == pytest.approx(400, rel=0.1)
    assert measure(noisy(1000, 20, 4), [ROI], [0.0], white=4095).flicker == 0


def test_flickering_rows_are_noticed():
    rng = np.random.default_rng(5)
    stripes = [1 + 0.02 * np.sin(np.arange(60) / 5 + phase)[:, None] for phase in (0, 2)]
    frames = [mono(1000 * stripe + rng.normal(0, 10, (60, 80))) for stripe in stripes]
    assert measure(frames, [ROI], [0.0], white=4095).stripes > 0.01
    assert measure(noisy(1000, 10, 6), [ROI], [0.0], white=4095).stripes == 0


def test_one_frame_is_measured_around_a_smooth_surface():
    rng = np.random.default_rng(7)
    rows, cols = np.mgrid[-1:1:60j, -1:1:80j]
    surface = 900 + 100 * rows - 50 * cols + 30 * rows * cols - 40 * rows**2
    clean = mono(surface + rng.normal(0, 12, surface.shape))
    point = measure([clean], [ROI], [0.0], white=4095).points[0]
    assert point.variance == pytest.approx(144 + 1 / 12, rel=4 * np.sqrt(2 / 4800))
    assert point.used
    edge = mono(surface + 200 * (cols > 0.3) + rng.normal(0, 12, surface.shape))
    point = measure([edge], [ROI], [0.0], white=4095).points[0]
    assert (point.used, point.reason) == (False, "not even")
    assert point.uniformity > 2


def test_dust_and_hot_pixels_do_not_count():
    x = np.random.default_rng(8).normal(0, 1, (60, 80))
    x[10, 10], x[30, 40] = 300, -300
    variance, dof, _ = residual_variance(x)
    assert variance == pytest.approx(1, rel=0.1)
    assert dof == 4800 - 2 - 6


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-1000, 1000))
def test_second_differences_see_no_slope(a, b, c):
    x = np.random.default_rng(9).normal(0, 1, (40, 40))
    rows, cols = np.mgrid[:40, :40]
    assert second_difference_variance(x + a * rows + b * cols + c) == pytest.approx(second_difference_variance(x))


@pytest.mark.parametrize(
    ("mean", "sigma", "roi", "reason"),
    [
        (4080, 10, ROI, "clipped at white"),
        (3000, 3, ROI, "brighter than 70 % of the range"),
        (10, 10, ROI, "clipped at zero"),
        (500, 10, Roi(0, 0, 20, 20), "only 400 pixels; expected 500 or more"),
        (500, 0, ROI, "all counts are equal"),
    ],
)
def test_points_that_mean_nothing_are_rejected_with_a_reason(mean, sigma, roi, reason):
    point = measure(noisy(mean, sigma, 10), [roi], [0.0], white=4095).points[0]
    assert (point.used, point.reason) == (False, reason)


def test_planes_of_a_mosaic_are_kept_apart():
    rng = np.random.default_rng(11)
    mosaic = np.empty((80, 80), np.uint16)
    for index, (row, col) in enumerate(((0, 1), (0, 0), (1, 1), (1, 0))):  # GRBG: R, Gr, Gb, B
        mosaic[row::2, col::2] = np.rint(rng.normal(500 * (index + 1), 5, (40, 40)))
    frame = Frame("x", mosaic, "GRBG", 4095)
    points = measure([frame, frame], [Roi(0, 0, 80, 80)], [100.0, 200.0, 300.0, 400.0], white=4095).points
    assert [point.plane for point in points] == ["R", "Gr", "Gb", "B"]
    assert [round(point.mean, -1) for point in points] == [400, 800, 1200, 1600]
