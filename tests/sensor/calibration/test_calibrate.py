"""Whole calibrations of simulated cameras: the truth is found, and what is wrong is named."""

from dataclasses import replace

import numpy as np
import pytest

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration import Frame, Roi, calibrate
from shotnoise.sensor.calibration.capture import bursts, iso_in_name
from shotnoise.sensor.simulate import SimulatedSensor

CAMERA = SimulatedSensor(height=160, width=200, prnu=0.004)


def frames(named):
    return [Frame.of(raw, f"{name}.dng") for name, raw in named.items()]


def capture(camera=CAMERA, isos=(100, 400, 1600), number=0, **options):
    black, flat = camera.calibration_set(isos, rng=np.random.default_rng(number), **options)
    return frames(black), frames(flat)


def wedges(camera=CAMERA, isos=(400,), number=1, count=2, level=0.6, **options):
    rng = np.random.default_rng(number)
    return [
        Frame.of(camera.wedge(level, iso=iso, rng=rng, steps=5, **options), f"wedge{n}_ISO_{iso}.dng")
        for iso in isos
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def plain():
    return capture()


def codes(result, severity=None):
    return {finding.code for finding in result.findings if severity in (None, finding.severity)}


def test_a_camera_is_found(plain):
    ticks = []
    result = calibrate(*plain, progress=lambda done, total: ticks.append((done, total)))
    assert result.isos == (100, 400, 1600)
    for fit in result.fits:
        best = fit.best[0]
        assert best.k == pytest.approx(CAMERA.k(fit.iso), abs=4 * best.k_se)
        assert best.s2 == pytest.approx(CAMERA.s2(fit.iso), abs=4 * best.s2_se)
        assert best.k_se < 0.01 * best.k
        assert fit.pooled is not None
    gain, read = result.laws
    assert gain.pieces[0].params[0] == pytest.approx(0.002, rel=0.02)
    assert read.pieces[0].params == pytest.approx((0.005, np.sqrt(1.44 + 1 / 12)), rel=0.03)
    assert gain.accepted
    assert read.accepted
    assert result.errors == ()
    assert ticks[-1] == (12 + 96, 12 + 96)
    assert (result.camera, result.pattern, result.step) == ("Shotnoise Simulated", "RGGB", 1)
    truth, found = CAMERA.noise(400), result.noise(400)
    assert found.k == pytest.approx(truth.k, rel=0.03)
    assert found.s2 == pytest.approx(truth.s2, rel=0.06)
    assert result.noise(800).k == pytest.approx(CAMERA.noise(800).k, rel=0.03)
    assert {law.quantity for law in result.log_laws} == {"tukey-lambda", "gaussian"}


@pytest.mark.parametrize("pattern", ["GRBG", "BGGR"])
def test_colours_stay_apart_in_every_phase(pattern):
    camera = replace(CAMERA, pattern=pattern, responsivity=(0.2, 1.0, 0.5))
    result = calibrate(*capture(camera, isos=(400,)), shape=False)
    assert result.fits[0].pooled is not None
    assert result.fits[0].pooled.k == pytest.approx(camera.k(400), rel=0.04)
    means = {plane: max(p.mean for p in result.points if p.plane == plane) for plane in result.planes}
    assert means["R"] < means["B"] < means["Gr"]


def test_a_wedge_is_searched_for_even_patches(plain):
    camera = replace(CAMERA, height=240, width=320)
    result = calibrate(plain[0], wedges(camera, tilt=0.1))
    fit = result.fits[0]
    assert fit.best[0].k == pytest.approx(CAMERA.k(400), abs=4 * fit.best[0].k_se)
    greens = sorted(point.mean for point in result.points if point.plane == "Gr" and point.roi)
    assert greens[-1] > 10 * greens[0]  # from the darkest bar to the brightest
    assert max(point.uniformity for point in result.points if point.roi) < 2
    rois = result.rois[0][1]
    assert all(edge % 2 == 0 for roi in rois for edge in roi)
    overlap = np.zeros((240, 320), int)
    for roi in rois:
        overlap[roi.top : roi.bottom, roi.left : roi.right] += 1
    assert overlap.max() == 1


def test_rectangles_of_the_user_are_checked(plain):
    given = [Roi(51, 61, 110, 120), Roi(0, 100, 41, 199), Roi(60, 20, 120, 190)]
    result = calibrate(plain[0], wedges(), rois=given)
    assert result.rois[0][1][0] == (52, 62, 110, 120)
    finding = next(finding for finding in result.findings if finding.code == "non-uniform")
    assert "rectangles are not even" in finding.text
    with pytest.raises(ProfileError, match="inside the frame"):
        calibrate(plain[0], wedges(), rois=[Roi(0, 0, 500, 20)])


def test_one_frame_per_level_is_worse_and_said_so(plain):
    result = calibrate(plain[0], wedges(count=1))
    assert "missing" in codes(result, "warning")
    assert result.fits[0].best[0].k == pytest.approx(CAMERA.k(400), rel=0.1)
    assert {point.frames for point in result.points if point.roi} == {1}


def test_without_black_frames_the_file_is_believed(plain):
    result = calibrate([], plain[1])
    assert {black.source for black in result.blacks} == {"file"}
    assert result.fits[0].best[0].k == pytest.approx(CAMERA.k(100), rel=0.03)
    assert "no-dark" in result.fits[0].best[0].flags
    unknown = [replace(frame, black=None) for frame in plain[1]]
    with pytest.raises(ProfileError, match="no black level is known"):
        calibrate([], unknown)
    mine = calibrate([], unknown, black_level=[256.0])
    assert {black.source for black in mine.blacks} == {"user"}
    with pytest.raises(ProfileError, match="expected one, or one for each of R, Gr, Gb, B"):
        calibrate([], unknown, black_level=[1.0, 2.0])


def test_without_flat_frames_there_is_no_gain(plain):
    result = calibrate(plain[0], [])
    assert result.fits == ()
    assert "missing" in codes(result, "error")
    assert len(result.blacks) == 12
    with pytest.raises(ProfileError, match="no noise for ISO 100"):
        result.noise(100)
    with pytest.raises(ProfileError, match="no frames to calibrate from"):
        calibrate([], [])


def test_a_black_frame_with_light_in_it_is_found(plain):
    leaky = Frame.of(CAMERA.dark(iso=100, rng=np.random.default_rng(7), leak=6.0), "leaky_ISO_100.dng")
    result = calibrate([*plain[0], leaky], plain[1], shape=False)
    assert [finding.frame for finding in result.findings if finding.code == "light-leak"] == ["leaky_ISO_100.dng"]
    assert result.fits[0].best[0].s2 == pytest.approx(CAMERA.s2(100), rel=0.05)


def test_a_wrong_iso_is_found_by_gain_and_brightness(plain):
    isos = (100, 200, 400, 800)
    lie = {200: 1600}
    flats = [
        replace(frame, iso=lie.get(frame.iso, frame.iso), name=frame.name.replace("ISO_200", "ISO_1600"))
        for frame in wedges(isos=isos)
    ]
    result = calibrate(plain[0], flats, shape=False)
    finding = next(finding for finding in result.findings if finding.code == "mislabelled-iso")
    assert (finding.severity, finding.iso) == ("error", 1600)
    assert "fit ISO 200" in finding.text
    assert result.laws[0].isos == (100, 400, 800)  # it does not spoil the laws


def test_a_name_that_contradicts_the_metadata(plain):
    flats = [replace(frame, name=frame.name.replace("ISO_100", "ISO_2500")) for frame in plain[1]]
    strict = calibrate(plain[0], flats, shape=False)
    assert "the name says ISO 2500, the metadata say ISO 100" in strict.errors[0].text
    assert strict.isos == (100, 400, 1600)
    loose = calibrate(plain[0], flats, iso_conflict="name", shape=False)
    assert 2500 in loose.isos
    nameless = [replace(frame, iso=None) for frame in plain[1]]
    assert calibrate(plain[0], nameless, shape=False).isos == (100, 400, 1600)


def test_mono_arrays_without_iso():
    rng = np.random.default_rng(3)

    def take(level, name):
        counts = 0.5 * rng.poisson(2 * level, (120, 120)) + rng.normal(100, 2, (120, 120))
        return Frame(name, np.rint(counts).astype(np.uint16), None, 1023, exposure=level / 100 or 0.001)

    black = [take(0, f"dark{n}") for n in range(3)]
    flats = [take(level, f"flat{level}-{n}") for level in (30, 90, 200, 400, 600) for n in range(2)]
    result = calibrate(black, flats)
    assert (result.planes, result.isos, result.laws) == (("Y",), (None,), ())
    fit = result.fits[0].best[0]
    assert fit.k == pytest.approx(0.5, abs=4 * fit.k_se)
    assert fit.s2 == pytest.approx(4 + 1 / 12, abs=4 * fit.s2_se)
    assert result.noise(None).k[0] == pytest.approx(fit.k / (1023 - result.black[0]))
    assert "no ISO is known" in next(finding.text for finding in result.findings if finding.code == "law")


def test_frames_are_loaded_only_when_needed(plain):
    loads = []

    def lazy(frame):
        def load():
            loads.append(frame.name)
            return frame.pixels

        return replace(frame, pixels=load)

    result = calibrate([lazy(f) for f in plain[0]], [lazy(f) for f in plain[1]], shape=False)
    assert result.fits == calibrate(*plain, shape=False).fits
    assert max(loads.count(name) for name in set(loads)) <= 4


def test_clipping_flicker_and_saturation_are_handled(plain):
    rng = np.random.default_rng(5)
    flats = [
        Frame.of(CAMERA.flat(level, iso=400, rng=rng, flicker=1 + 0.02 * n), f"f{level}_{n}")
        for level in (0.05, 0.1, 0.2, 0.4, 0.65, 1.4)
        for n in range(2)
    ]
    result = calibrate(plain[0], flats, shape=False)
    reasons = {point.reason for point in result.points}
    assert {"clipped at white"} <= reasons
    assert {"flicker", "clipping"} <= codes(result)
    fit = result.fits[0].best[0]
    assert fit.k == pytest.approx(CAMERA.k(400), abs=4 * fit.k_se)


def test_a_camera_that_doubles_its_counts(plain):
    doubled = [
        [replace(f, pixels=(2 * f.pixels).astype(np.uint16), white=2 * f.white, black=None) for f in part]
        for part in plain
    ]
    result = calibrate(*doubled, shape=False)
    assert result.step == 2
    assert result.fits[0].best[0].k == pytest.approx(2 * CAMERA.k(100), rel=0.03)


def test_noise_below_the_rounding_is_not_trusted():
    camera = replace(CAMERA, read_before=0.1, read_after=0.1, gain=0.05)
    result = calibrate(*capture(camera, isos=(100,)), shape=False)
    assert "quantisation" in codes(result, "warning")


def test_planes_with_their_own_gain_keep_it():
    """Some cameras multiply red and blue before they store them."""

    def multiplied(frame):
        mosaic = frame.pixels.astype(float) - 256
        mosaic[::2, ::2] *= 1.5
        return replace(frame, pixels=np.rint(mosaic + 256).clip(0, 4095).astype(np.uint16))

    black, flat = capture(isos=(400,), levels=(0.05, 0.1, 0.2, 0.3, 0.4))
    result = calibrate([multiplied(f) for f in black], [multiplied(f) for f in flat], shape=False)
    assert result.fits[0].pooled is None
    assert result.fits[0].best[0].k == pytest.approx(1.5 * CAMERA.k(400), rel=0.05)
    assert result.fits[0].best[1].k == pytest.approx(CAMERA.k(400), rel=0.05)
    assert {law.planes for law in result.laws} == {("R",), ("Gr",), ("Gb",), ("B",)}


def test_frames_of_two_sensors_are_refused(plain):
    other = replace(plain[1][0], pattern="GRBG")
    with pytest.raises(ProfileError, match="expected frames of one sensor"):
        calibrate(plain[0], [*plain[1], other])


def test_names_that_state_an_iso():
    known = {
        "ISO_800.dng": 800, "gray_iso3200_2.tif": 3200, "flat_1600.dng": 1600, "a\\b\\ISO 200.raw": 200,
        "IMG_1600.dng": None, "DSC_0400.NEF": None, "_MG_1234.CR2": None, "flat_0400.dng": None, "black.dng": None,
    }  # fmt: skip
    assert {name: iso_in_name(name) for name in known} == known


def test_bursts_are_frames_of_the_same_light():
    def frame(iso, exposure):
        return Frame("x", np.zeros((2, 2), np.uint16), None, 255, iso=iso, exposure=exposure)

    same = [frame(100, 0.1), frame(100, 0.1), frame(100, 0.2), frame(200, 0.1), frame(100, 0.1), frame(100, 0.1)]
    assert bursts(same, [100, 101, 200, 100, 300, 303]) == [[0, 1], [2], [3], [4, 5]]
