"""The blind estimate against laws that were put in, and the order of trust."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from shotnoise.errors import ProfileError
from shotnoise.images.raw import RawFrame
from shotnoise.images.raw.bayer import PATTERNS, join
from shotnoise.sensor.estimate import estimate_frame, estimate_law, law_for
from shotnoise.sensor.profile import Entry, NoiseProfile
from shotnoise.sensor.published import published_profile

BLACK, WHITE = 64.0, 1023.0
ROUNDING = 1 / 12 / (WHITE - BLACK) ** 2


def scene(side=176) -> np.ndarray:
    """Four clean planes from near black to white: shading, edges, a textured part."""
    y, x = np.mgrid[:side, :side] / side
    steps = ((4 * x).astype(int) + 4 * (4 * y).astype(int)) / 15
    planes = 0.005 + 0.6 * steps**2 + 0.02 * x * y
    planes = planes + np.where(x > 0.85, 0.1 * y * np.sin(1.4 * side * x) * np.sin(1.7 * side * y), 0)
    return np.stack([planes * gain for gain in (0.5, 1.0, 1.0, 0.7)])


def unprocessed(path, exposure=0.8) -> np.ndarray:
    """Four clean planes of a photograph: display curve, colours and white balance undone."""
    srgb = np.asarray(Pillow.open(path).convert("RGB")) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.65, 0.28, 0.07], [0.15, 0.75, 0.10], [0.05, 0.25, 0.70]])
    camera = exposure * linear @ matrix.T / (2.0, 1.0, 1.6)
    height, width = (side // 2 * 2 for side in camera.shape[:2])
    camera = camera[: min(height, 900), : min(width, 1000)]
    return np.stack(
        [camera[::2, ::2, 0], camera[::2, 1::2, 1], camera[1::2, ::2, 1], camera[1::2, 1::2, 2]], dtype=np.float64
    )


def expose(planes, k, s2, *, pattern="RGGB", black=BLACK, white=WHITE, seed=0, **more) -> RawFrame:
    rng = np.random.default_rng(seed)
    noisy = k * rng.poisson(np.maximum(planes, 0) / k) + rng.normal(0, math.sqrt(s2), planes.shape)
    counts = np.clip(np.rint(noisy * (white - black) + black), 0, white).astype(np.uint16)
    return RawFrame(join(counts, pattern), pattern, (black,) * 4, white, **more)


def error(law, k, s2, planes, rounding=ROUNDING) -> float:
    """Relative error of the standard deviation, root mean square over the brightnesses of a picture."""
    x = np.quantile(planes, np.linspace(0.02, 0.98, 49))
    ratio = np.sqrt((law.k[0] * x + law.s2[0]) / (k * x + s2 + rounding))
    return math.exp(math.sqrt(float(np.mean(np.log(ratio) ** 2)))) - 1


@pytest.mark.parametrize("iso", [100, 800, 6400])
def test_a_made_up_scene(iso):
    truth = published_profile("oppo-reno-10x").at(iso)
    frame = expose(scene(), truth.k[0], truth.s2[0])
    estimate = estimate_frame(frame)
    assert error(estimate.law, truth.k[0], truth.s2[0], scene()) < 0.05
    assert estimate.law.k[0] == pytest.approx(truth.k[0], rel=0.1)
    assert estimate.factors == pytest.approx((1, 1, 1, 1), abs=0.1)
    assert estimate.notes == ()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_phase_of_the_mosaic_does_not_matter(pattern):
    truth = published_profile("oppo-reno-10x").at(1600)
    law = estimate_law(expose(scene(), truth.k[0], truth.s2[0], pattern=pattern))
    assert law == estimate_law(expose(scene(), truth.k[0], truth.s2[0]))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["val_604308447488", "test_2684452db505", "val_9466a908d088"])
def test_photographs(shared, name):
    planes = unprocessed(shared / "data" / "clic2025" / f"{name}.jpg")
    for iso, bound in ((400, 0.1), (3200, 0.05)):
        truth = published_profile("oppo-reno-10x").at(iso)
        law = estimate_law(expose(planes, truth.k[0], truth.s2[0], seed=iso))
        assert error(law, truth.k[0], truth.s2[0], planes) < bound, iso


@pytest.mark.shared
def test_a_real_camera_gives_the_same_law_in_each_of_its_phases(shared):
    """A 14-bit full-frame sensor: 0.2 to 0.8 counts per electron between ISO 100 and 400."""
    counts = np.fromfile(shared / "data" / "raw" / "nikon14_768x512_rggb.raw", "<u2").reshape(512, 768)
    estimate = estimate_frame(RawFrame(counts, "RGGB", (600.0,) * 4, 15520.0))
    assert 0.2 < estimate.law.k[0] * 14920 < 0.8
    assert 0.5 < math.sqrt(estimate.law.s2[0]) * 14920 < 4
    assert np.ptp(estimate.factors) < 0.15


def test_clipped_parts_do_not_count():
    truth = published_profile("oppo-reno-10x").at(1600)
    bright = scene() * 3  # a good part is beyond white
    assert (bright > 1.1).mean() > 0.15
    law = estimate_law(expose(bright, truth.k[0], truth.s2[0]))
    assert error(law, truth.k[0], truth.s2[0], np.minimum(bright, 0.95)) < 0.06


def test_noise_that_is_cut_at_black_is_named():
    dark = np.full((4, 128, 128), 1e-4)
    estimate = estimate_frame(expose(dark, 1e-4, 1e-5, black=0.0))
    assert "cut off at count 0" in estimate.notes[-1]
    assert estimate.law.s2[0] < 1e-5


def test_a_dark_frame_is_all_read_noise():
    estimate = estimate_frame(expose(np.zeros((4, 150, 150)), 1e-3, 1e-5))
    assert estimate.law.s2[0] == pytest.approx(1e-5 + ROUNDING, rel=0.03)


def test_a_flat_frame_says_that_its_split_is_a_guess():
    estimate = estimate_frame(expose(np.full((4, 150, 150), 0.3), 1e-3, 1e-5))
    assert float(estimate.law.variance(np.array(0.3))) == pytest.approx(0.3e-3 + 1e-5, rel=0.03)
    assert "is a guess" in estimate.notes[0]


def test_planes_that_differ_are_named():
    planes = scene()
    frame = expose(planes, 1e-3, 1e-6)
    counts = frame.mosaic.copy()
    rng = np.random.default_rng(5)
    counts[::2, ::2] = np.clip(64 + 959 * (planes[0] + rng.normal(0, 0.06, planes[0].shape)), 0, 1023)
    assert "the planes differ in their noise (R " in estimate_frame(frame.with_mosaic(counts)).notes[0]


def test_texture_everywhere_is_not_taken_for_a_measurement():
    counts = np.random.default_rng(0).integers(64, 1024, (300, 300)).astype(np.uint16)
    counts = np.kron(counts[:150, :150], np.ones((4, 4), np.uint16))  # blocks: no white noise
    estimate = estimate_frame(RawFrame(counts, "RGGB", (BLACK,) * 4, WHITE))
    assert any("quiet enough" in note for note in estimate.notes)


@pytest.mark.parametrize("counts", [np.full((300, 300), 300), np.full((300, 300), 1023), np.full((2, 2), 64)])
def test_nothing_to_measure_is_next_to_no_noise(counts):
    law = estimate_law(RawFrame(counts.astype(np.uint16), "GBRG", (BLACK,) * 4, WHITE))
    assert math.sqrt(law.k[0] * 0.5 + law.s2[0]) < 0.1 / 959


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 70), st.integers(2, 70), st.integers(0, 2**32 - 1), st.sampled_from([0, 64]), st.booleans())
def test_any_frame_gives_a_law(height, width, seed, black, narrow):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 65536 if not narrow else 70, (height, width)).astype(np.uint16)
    law = estimate_law(RawFrame(counts, "BGGR", (float(black),) * 4, 1023.0))
    assert law.k[0] <= 0.1
    assert law.s2[0] <= 0.02


def tagged(noise):
    truth = published_profile("oppo-reno-10x").at(800)
    return expose(scene(96), truth.k[0], truth.s2[0], noise=noise, iso=800.0), truth


def test_the_order_of_trust():
    frame, truth = tagged(None)
    assert law_for(frame).source == "blind estimate from the frame"
    stated = ((1.2 * truth.k[0], truth.s2[0]),) * 4
    frame, _ = tagged(stated)
    law = law_for(frame)
    assert (law.k, law.source) == ((1.2 * truth.k[0],) * 4, "NoiseProfile of the file")
    profile = published_profile("oppo-reno-10x")
    assert law_for(frame, profile) == profile.at(800)
    assert law_for(frame, profile, 400) == profile.at(400)
    mono = NoiseProfile(pattern="mono", entries=[Entry(k=1e-4, s2=1e-7)])
    assert law_for(frame, mono).k == (1e-4,) * 4
    with pytest.raises(ProfileError, match="ISO 99999 is outside"):
        law_for(frame, profile, 99999)


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (((0.0, 0.0),), "the NoiseProfile (0, 0) of the DNG is none"),
        (((math.nan, 1e-6),) * 4, "the NoiseProfile (nan, 1e-06), "),
        (((0.05, 1e-3),) * 4, "was not used: it states "),
        (((1e-8, 1e-12),) * 4, "was not used: it states 1/"),
    ],
)
def test_an_absurd_law_of_a_file_is_not_used_and_said(noise, words):
    frame, truth = tagged(noise)
    law = law_for(frame)
    assert law.source.startswith("blind estimate from the frame; the NoiseProfile")
    assert words in law.source
    assert law.k[0] == pytest.approx(truth.k[0], rel=0.1)
