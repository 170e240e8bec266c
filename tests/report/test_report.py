"""A report finds what was done to a picture, and nothing where only noise was taken away."""

import math

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageFilter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from shotnoise import Image, open_image, save_dng, save_image
from shotnoise.errors import PictureError, RecipeError
from shotnoise.images.raw import RawFrame
from shotnoise.report import compare
from shotnoise.report.closeups import choose, residual_crop, residual_preview
from shotnoise.report.measure import LAG
from shotnoise.report.subject import Noise, Place
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.simulate import SimulatedSensor

SIGMA = 12.0


def scene(height=192, width=256, channels=3):
    """Smooth shades with an area of stripes and crosses in the lower right quarter, within 60..190 of 255."""
    y, x = np.mgrid[:height, :width]
    shades = 110 + 40 * np.sin(x / 60) * np.cos(y / 50)
    texture = 30 * np.sign(np.sin(x * 1.1)) * np.sign(np.sin(y * 0.9))
    fine = (x > width // 2) & (y > height // 2)
    picture = shades + np.where(fine, texture, 0)
    colours = picture[:, :, None] + 8 * np.arange(channels)
    return np.rint(colours).astype(np.uint8)


def noisy(clean, sigma=SIGMA, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def codes(report):
    return {finding.code: finding for finding in report.findings}


@pytest.mark.parametrize("level", [SIGMA, None])
def test_exactly_the_noise_is_taken_away(level):
    clean = scene()
    report = compare(noisy(clean), clean, noise=level)
    assert report.findings == ()
    assert report.verdict == "note"
    measured = report.measured
    assert measured.removed == pytest.approx(1, abs=0.03)
    table = measured.sampled.autocorrelation.copy()
    table[LAG, LAG] = 0
    assert np.abs(table).max() < 6 * measured.sampled.chance
    assert measured.sampled.kurtosis == pytest.approx(0, abs=0.1)
    assert np.median(measured.sampled.power[4:]) == pytest.approx(1, abs=0.05)
    assert measured.brightness.variance[0][measured.brightness.count[0] > 2000] == pytest.approx(
        np.nanmean(measured.brightness.expected), rel=0.15
    )


def test_detail_that_a_blur_took_is_found_where_it_was():
    clean = scene()
    blurred = np.asarray(Pillow.fromarray(noisy(clean)).filter(ImageFilter.GaussianBlur(1.5)))
    report = compare(noisy(clean), blurred, noise=SIGMA)
    found = codes(report)
    assert report.verdict == "error"
    place = found["detail-removed"].place
    assert place.left >= 256 // 2 - 8
    assert place.top >= 192 // 2 - 8
    assert "times the noise, about" in found["detail-removed"].text
    assert found["follows-edges"].value > 0.3
    assert (report.structure[3:, 4:] > 0.6).mean() > 0.6
    assert (report.structure[:3, :4] < 0.6).all()


def test_a_colour_cast_and_a_brightness_shift_are_found():
    clean = scene()
    cast = clean.copy()
    cast[..., 0] += 4
    found = codes(compare(noisy(clean), cast, noise=SIGMA))
    assert found["colour-cast"].value == pytest.approx(4, abs=0.3)
    assert "red +4." in found["colour-cast"].text or "red +3.9" in found["colour-cast"].text
    found = codes(compare(noisy(clean), clean - 3, noise=SIGMA))
    assert "darker by " in found["brightness"].text
    assert found["brightness"].value == pytest.approx(-3, abs=0.2)
    local = clean.copy()
    local[128:, :128] += 6
    finding = codes(compare(noisy(clean), local, noise=SIGMA))["brightness"]
    assert finding.place is None or (finding.place.left, finding.place.top) == (0, 128)


def test_too_little_and_too_much():
    clean = scene()
    before = noisy(clean)
    report = compare(before, before)
    assert [finding.code for finding in report.findings] == ["nothing-removed"]
    assert "equal to BEFORE" in report.findings[0].text
    assert report.estimates == ()
    hardly = np.clip(0.95 * before + 0.05 * clean + 0.5, 0, 255).astype(np.uint8)
    assert "hardly anything was taken away" in codes(compare(before, hardly, noise=SIGMA))["nothing-removed"].text
    much = np.clip(clean + 0.4 * (clean.astype(float) - before), 0, 255).astype(np.uint8)
    assert (
        "more was taken away than there is noise" in codes(compare(before, much, noise=SIGMA))["too-much-removed"].text
    )


def test_bands_and_clipping():
    clean = scene()
    rows = np.random.default_rng(1).normal(0, 3, (clean.shape[0], 1, 1))
    banded = np.clip(np.rint(clean + rows), 0, 255).astype(np.uint8)
    found = codes(compare(noisy(banded), clean, noise=SIGMA))
    assert found["banding-rows"].value == pytest.approx(3 / SIGMA, rel=0.25)
    assert "banding-columns" not in found
    found = codes(compare(noisy(banded), banded, noise=SIGMA))
    assert "AFTER has bands: neighbouring rows" in found["bands-left-rows"].text
    turned = codes(compare(noisy(banded).swapaxes(0, 1), clean.swapaxes(0, 1), noise=SIGMA))
    assert "banding-columns" in turned
    burnt = clean.copy()
    burnt[:40, :40] = 255
    assert codes(compare(noisy(clean), burnt, noise=SIGMA))["clipped"].place.top == 0


def test_the_error_against_a_reference_is_that_of_others():
    clean = scene()
    before, after = noisy(clean), noisy(clean, 3, seed=1)
    truth = compare(before, after, clean).truth
    assert truth.psnr_after == pytest.approx(peak_signal_noise_ratio(clean, after), abs=1e-4)
    assert truth.psnr_before == pytest.approx(peak_signal_noise_ratio(clean, before), abs=1e-4)
    options = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    # the window of 11 wherever it fits, in strips or not
    _, full = structural_similarity(clean, after, data_range=255, full=True, **options)
    assert truth.ssim_after == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-4)


def test_strips_and_sampling_change_no_sum(monkeypatch):
    """What is measured in many strips of odd sizes is what numpy says of the whole."""
    clean = scene(201, 333)
    before = noisy(clean)
    monkeypatch.setattr("shotnoise.report.measure._STRIP", 333 * 40)
    monkeypatch.setattr("shotnoise.report.report._STRIP", 50)
    report = compare(before, clean, clean, noise=SIGMA)
    residual = (before.astype(float) - clean) / math.hypot(SIGMA, 12**-0.5)
    measured = report.measured
    assert measured.usable == 1
    assert measured.removed == pytest.approx(math.sqrt((residual**2).mean()), rel=1e-5)
    assert -255 * measured.shift == pytest.approx((clean.astype(float) - before).mean((0, 1)), abs=1e-4)
    assert measured.blocks.energy[1, 2] == pytest.approx((residual[32:64, 64:96] ** 2).mean(), rel=1e-4)
    assert report.truth.psnr_after == math.inf
    assert report.truth.ssim_after == pytest.approx(1)


def test_noise_that_is_cut_off_has_the_moments_of_what_is_left():
    sigma = 0.1
    noise = Noise((0.0,), (sigma**2,), "", True, ((0.0, 1.0),))
    rng = np.random.default_rng(0)
    for level in (0.0, 0.05, 0.15, 0.5, 0.9, 1.0):
        kept = np.clip(level + rng.normal(0, sigma, 400_000), 0, 1)
        mean, variance = noise.moments(np.full((1, 1, 1), level, np.float32))
        assert mean.item() == pytest.approx(kept.mean() - level, abs=6e-4)
        assert variance.item() == pytest.approx(kept.var(), rel=0.02)


def test_raw_is_judged_by_its_law(tmp_path):
    sensor = SimulatedSensor(height=192, width=256)
    light = sensor.exposure_for(0.8, 1600)
    view = np.clip(scene() / 255.0, 0, 1) ** 2

    def expose(seed, noisy):
        return sensor.expose(view, iso=1600, exposure=light, rng=np.random.default_rng(seed), noisy=noisy)

    before, truth = expose(0, True), expose(0, False)
    report = compare(before, truth, truth, noise=sensor.noise(1600))
    assert report.measured.removed == pytest.approx(1, abs=0.02)
    assert not [finding for finding in report.findings if finding.severity != "note"]
    for plane in range(4):
        bins = report.measured.brightness
        many = (bins.count[plane] > 800) & bins.usable[plane]
        assert many.any()
        assert bins.variance[plane][many] == pytest.approx(bins.expected[plane][many], rel=0.25)
    save_dng(before, tmp_path / "before.dng")
    save_dng(truth, tmp_path / "after.dng")
    files = compare(tmp_path / "before.dng", tmp_path / "after.dng")
    assert files.subject.kind == "raw"
    assert files.measured.removed == pytest.approx(1, abs=0.2)
    shifted = truth.with_mosaic((truth.mosaic.astype(int) + 12).astype(np.uint16))
    found = codes(compare(before, shifted, noise=sensor.noise(1600)))
    assert "brighter" in found["brightness"].text


@pytest.mark.parametrize("kind", ["gray", "uint16", "float32", "odd"])
def test_other_pictures(kind):
    clean = scene(97, 131) if kind == "odd" else scene(channels=1 if kind == "gray" else 3)
    before, after = noisy(clean), clean
    if kind == "gray":
        before, after = before[:, :, 0], after[:, :, 0]
    if kind == "uint16":
        before, after = before.astype(np.uint16) * 257, after.astype(np.uint16) * 257
    if kind == "float32":
        before, after = before.astype(np.float32) / 255, after.astype(np.float32) / 255
    report = compare(before, after, noise=SIGMA)
    assert report.findings == ()
    assert report.measured.removed == pytest.approx(1, abs=0.03)
    crop = report.subject.crop("after", Place(10, 20, 32, 40))
    assert crop.shape[:2] == (32, 40)
    assert crop.dtype == np.uint8
    assert residual_crop(report, Place(10, 20, 32, 40)).shape == crop.shape
    shown, step = residual_preview(report, 100)
    assert step == math.ceil(max(clean.shape) / 100)
    assert abs(float(shown.mean()) - 128) < 2


def test_tiny_pictures_are_still_judged():
    clean = scene()[:16, :18]
    report = compare(noisy(clean), clean, noise=SIGMA)
    assert report.measured.blocks.side == 4
    assert [close_up.place for close_up in choose(report)] == [Place(0, 0, 16, 16)]


def refusal(*arguments, **options):
    with pytest.raises((PictureError, RecipeError)) as caught:
        compare(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_refusals_say_what_to_do(tmp_path):
    clean = scene()
    frame = RawFrame(np.full((64, 64), 500, np.uint16), "RGGB", (64.0,) * 4, 1023.0)
    assert "BEFORE has 256 x 192 pixels and AFTER 255 x 192; expected one size" in refusal(clean, clean[:, 1:])
    assert "BEFORE is RGB and AFTER gray; expected both of one kind" in refusal(clean, clean[:, :, 0])
    assert "BEFORE is RAW, AFTER is a picture; expected files of one kind" in refusal(frame, clean)
    assert "REFERENCE 200 x 192" in refusal(clean, clean, clean[:, :200])
    assert "expected one size and pattern" in refusal(frame, RawFrame(frame.mosaic, "BGGR", (64.0,) * 4, 1023.0))
    assert "too small to say anything about" in refusal(clean[:9], clean[:9])
    assert "expected a noise profile or a law" in refusal(frame, frame, noise=5.0)
    assert "profiles are of RAW files" in refusal(clean, clean, noise="camera.profile.yaml")
    assert "above 0 to 255" in refusal(clean, clean, noise=-1.0)
    assert "2 planes; expected one" in refusal(clean, clean, noise=NoiseLaw((1e-4,) * 2, (1e-6,) * 2))
    assert "without a noise profile" in refusal(clean, clean, iso=100)
    assert "does not exist" in refusal(tmp_path / "none.png", clean)
    with pytest.raises(PictureError, match=r"ends in \.html, or in \.png"):
        compare(clean, noisy(clean)).save(tmp_path / "report.pdf")
    with pytest.raises(PictureError, match="there is no folder"):
        compare(clean, noisy(clean)).save(tmp_path / "none" / "report.html")


def test_a_law_for_pictures_and_an_icc_profile(tmp_path):
    """Noise that grows with the light, as under a microscope; the profile travels into the page's pictures."""
    clean = np.tile(np.linspace(0.1, 0.9, 256, dtype=np.float32), (128, 1))
    law = NoiseLaw((2e-3,), (1e-4,), "photons")
    before = clean + np.sqrt(law.variance(clean)) * np.random.default_rng(0).standard_normal(clean.shape)
    report = compare(before.astype(np.float32), clean, noise=law)
    assert report.noise.known
    assert report.measured.removed == pytest.approx(1, abs=0.02)
    assert report.findings == ()
    save_image(Image(scene(64, 64), icc=b"profile"), tmp_path / "a.tif")
    assert compare(open_image(tmp_path / "a.tif"), noisy(scene(64, 64))).subject.icc == b"profile"
