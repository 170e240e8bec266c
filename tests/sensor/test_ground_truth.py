"""Averages of bursts of a simulated camera: how good they are, and which frames are left out."""

import numpy as np
import pytest

from shotnoise.errors import PictureError
from shotnoise.images.raw.bayer import split
from shotnoise.sensor.ground_truth import average_frames
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.simulate import SimulatedSensor

ISO = 800
CAMERA = SimulatedSensor(height=192, width=256, row_noise=0.5, black=(250.0, 256.0, 258.0, 262.0))
SCALE = (CAMERA.white - np.array(CAMERA.black))[:, None, None]


def blurred(scene, radius):
    padded = np.pad(scene, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    shifts = [(y, x) for y in range(2 * radius + 1) for x in range(2 * radius + 1)]
    return sum(padded[y : y + scene.shape[0], x : x + scene.shape[1]] for y, x in shifts) / len(shifts)


@pytest.fixture(scope="module")
def scene():
    """Colours with detail of a few pixels, from dark to bright."""
    rng = np.random.default_rng(5)
    fine = blurred(rng.random((192, 256, 1)), 1)
    coarse = blurred(rng.random((192, 256, 3)), 6)
    rows, cols = np.mgrid[:192, :256] / 256
    light = (0.05 + 0.9 * rows[..., None]) * (0.4 + 0.5 * cols[..., None])
    return np.clip(light * (0.5 + 1.5 * (fine - 0.5) + 2 * (coarse - 0.5)), 0, 1)


@pytest.fixture(scope="module")
def shoot(scene):
    rng = np.random.default_rng(6)
    exposure = CAMERA.exposure_for(0.8, ISO)
    return lambda shown=scene, **options: CAMERA.expose(shown, iso=ISO, exposure=exposure, rng=rng, **options)


@pytest.fixture(scope="module")
def truth(shoot):
    frame = shoot(noisy=False)
    return (split(frame.mosaic, frame.pattern) - np.array(frame.black)[:, None, None]) / SCALE


def test_a_still_burst_has_its_noise_divided_by_the_root_of_its_length(shoot, truth):
    average = average_frames([shoot() for _ in range(9)])
    assert average.report.used == 9
    assert not average.report.rejected
    assert average.planes.dtype == np.float32
    law = CAMERA.noise(ISO)
    for plane in range(4):
        error = average.planes[plane] - truth[plane]
        expected = (law.variance(truth[plane], plane) / 9).mean()
        assert np.mean(error**2) == pytest.approx(expected + 1 / 12 / SCALE[plane, 0, 0] ** 2, rel=0.06)
        assert abs(error.mean()) < 4 * np.sqrt(expected / error.size) + 0.06 / SCALE[plane, 0, 0]
        middle = 0.3
        assert average.report.law.variance(np.array(middle), plane) == pytest.approx(
            law.variance(np.array(middle), plane), rel=0.05
        )
    assert average.report.left_out < 1e-3
    assert average.report.unsteady == 0
    assert "average of 9 of 9 frames" in average.report.lines[0]


def test_the_frame_holds_the_average_in_finer_counts_and_says_how_noisy_it_is(shoot):
    average = average_frames([shoot() for _ in range(4)])
    frame = average.frame
    assert frame.white == 4095 * 16
    assert frame.black == tuple(level * 16 for level in CAMERA.black)
    found = (split(frame.mosaic, frame.pattern) - np.array(frame.black)[:, None, None]) / (16 * SCALE)
    assert np.abs(found - average.planes).max() <= 0.5 / (16 * SCALE.min()) + 1e-6
    for (k, s2), one_k, one_s2 in zip(frame.noise, average.report.law.k, average.report.law.s2, strict=True):
        assert (4 * k, 4 * s2) == pytest.approx((one_k, one_s2))


@pytest.mark.parametrize("count", [3, 7])
def test_a_shifted_frame_is_left_out(shoot, scene, truth, count):
    frames = [shoot() for _ in range(count - 1)]
    frames.insert(1, shoot(np.roll(scene, 2, 1)))
    average = average_frames(frames)
    ((number, reason),) = average.report.rejected
    assert number == 1
    assert "moved" in reason
    variance = np.mean([CAMERA.noise(ISO).variance(truth[plane], plane).mean() for plane in range(4)])
    assert np.mean((average.planes - truth) ** 2) == pytest.approx(variance / (count - 1), rel=0.1)


def test_a_frame_out_of_focus_is_named_as_such(shoot, scene):
    average = average_frames([*(shoot() for _ in range(5)), shoot(blurred(scene, 1))])
    ((number, reason),) = average.report.rejected
    assert number == 5
    assert "out of focus or shaken" in reason


def test_flicker_is_divided_out_or_left_out(shoot, scene, truth):
    light = (1, 0.92, 1.05, 1, 1.6)
    average = average_frames([shoot(factor * scene) for factor in light])
    assert average.report.gains == pytest.approx(light, rel=0.01)
    ((number, reason),) = average.report.rejected
    assert number == 4
    assert "1.60 times" in reason or "1.59 times" in reason
    expected = np.mean([CAMERA.noise(ISO).variance(truth[plane], plane).mean() / 4 for plane in range(4)])
    assert np.mean((average.planes - truth) ** 2) == pytest.approx(expected, rel=0.12)


def test_a_small_thing_that_moved_costs_its_place_only(shoot, scene, truth):
    passing = scene.copy()
    passing[40:64, 60:84] = 0.8
    average = average_frames([*(shoot() for _ in range(7)), shoot(passing)])
    assert not average.report.rejected
    assert 0 < average.report.left_out < 0.05  # of one frame in eight, nine or twelve blocks of 48
    area = np.s_[:, 20:32, 30:42]
    expected = np.mean([CAMERA.noise(ISO).variance(truth[plane][20:32, 30:42], plane).mean() / 7 for plane in range(4)])
    assert np.mean((average.planes - truth)[area] ** 2) == pytest.approx(expected, rel=0.35)


def test_what_never_stands_still_is_reported_as_unsteady(shoot, scene):
    frames = []
    for number in range(6):
        waving = scene.copy()
        waving[40:70, 60:90] = (0.1, 0.7, 0.3, 0.9, 0.5, 0.0)[number]
        frames.append(shoot(waving))
    report = average_frames(frames).report
    assert report.used == 6
    assert 0.08 < report.unsteady < 0.4  # four blocks and those around them, of 48


def test_a_burst_that_moves_all_the_time_is_refused(shoot, scene):
    with pytest.raises(PictureError, match=r"no two of the 5 frames show the same picture; put the camera on a tripod"):
        average_frames([shoot(np.roll(scene, 4 * number, 1)) for number in range(5)])


def test_two_frames_need_the_law(shoot, scene):
    with pytest.raises(PictureError, match="three or more of the same scene, or of two and the noise law"):
        average_frames([shoot(), shoot()])
    law = CAMERA.noise(ISO)
    assert average_frames([shoot(), shoot()], law=law).report.used == 2
    tagged = [shoot().with_mosaic(shoot().mosaic, noise=tuple(zip(law.k, law.s2, strict=True))) for _ in range(2)]
    assert average_frames(tagged).report.law.k == law.k
    with pytest.raises(PictureError, match=r"of 2 frames show the same picture|moves in most of the 2 frames"):
        average_frames([shoot(), shoot(np.roll(scene, 60, 1))], law=law)


def test_defect_pixels_are_mended_and_points_of_light_are_not(shoot, scene, truth):
    frames = [shoot() for _ in range(5)]
    for frame in frames:
        frame.mosaic[51, 77] += 1500
        frame.mosaic[100:104, 120:124] = 4000  # a lamp: in all colours
    average = average_frames(frames)
    plane, row, col = 3, 25, 38
    assert average.report.repaired >= 1
    assert abs(average.planes[plane, row, col] - truth[plane, row, col]) < 0.1
    assert average.planes[:, 50:52, 60:62].min() > 0.95
    assert average_frames(frames, repair=False).planes[plane, row, col] - truth[plane, row, col] > 0.35


def test_dark_and_tiny_bursts_and_progress(shoot):
    rng = np.random.default_rng(0)
    average = average_frames([CAMERA.dark(iso=ISO, rng=rng) for _ in range(4)])
    assert average.report.used == 4
    assert abs(float(average.planes.mean())) < 1e-4
    assert average.planes.min() < 0
    small = SimulatedSensor(height=6, width=8)
    seen = []
    average = average_frames(
        [small.flat(0.5, iso=100, rng=rng) for _ in range(3)], progress=lambda done, total: seen.append((done, total))
    )
    assert average.planes.shape == (4, 3, 4)
    assert seen[-1] == (3, 3)


def test_frames_that_do_not_belong_together_are_refused(shoot):
    other = shoot().with_mosaic(shoot().mosaic, iso=1600)
    with pytest.raises(PictureError, match="frame 2 has ISO 1600, frame 0 has 800; expected a burst with the same"):
        average_frames([shoot(), shoot(), other])
    law = NoiseLaw((1e-4,) * 4, (1e-6,) * 4)
    with pytest.raises(PictureError, match=r"frame 1 has size \(190, 256\)"):
        average_frames([shoot(), shoot().with_mosaic(shoot().mosaic[2:])], law=law)
