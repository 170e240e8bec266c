"""RAW in, the same RAW out without noise: no phase, tile, level or scene may show in how that is done."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shotnoise.runner as runner
from shotnoise.card import Card
from shotnoise.engines import OutOfMemoryError
from shotnoise.errors import ModelError, ProfileError, RecipeError
from shotnoise.images.raw import RawFrame
from shotnoise.images.raw.bayer import PATTERNS, align, join, seen_from, split
from shotnoise.raw_denoiser import RawDenoiser
from shotnoise.sensor.law import KSigma, NoiseLaw
from shotnoise.sensor.profile import Camera, Entry, NoiseProfile
from shotnoise.sensor.simulate import SimulatedSensor
from tiny_models import write_model

LAW = NoiseLaw((1e-3, 1.1e-3, 0.9e-3, 1.2e-3), (1e-5, 2e-5, 3e-5, 4e-5), "the test")
ROOT = {"gain": 0.0625, "root": True}


class FakeEngine:
    """A RAW engine that is a function, and remembers what it was given."""

    def __init__(self, function=lambda noisy: noisy, **card):
        self.card = Card(**{"name": "fake", "kind": "raw", "channels": 4, **card})
        self.function = function
        self.seen = []

    def run(self, noisy, level=None):
        assert noisy.dtype == np.float32
        assert noisy.flags.c_contiguous
        assert noisy.shape[:2] == (1, 4)
        self.seen = [*self.seen[-3:], noisy]
        self.level = level
        return self.function(noisy)

    def describe(self):
        return {}


def frame(height=40, width=50, pattern="RGGB", seed=0, low=200, high=3000, **changed):
    rng = np.random.default_rng(seed)
    mosaic = rng.integers(low, high, (height, width), dtype=np.uint16)
    return RawFrame(mosaic, pattern, **{"black": (256.0, 250.0, 260.5, 256.0), "white": 4095.0, **changed})


def exposed(iso=3200, height=256, width=320, noisy=True, **camera):
    """A smooth scene through a simulated sensor, with the law that is true for it."""
    sensor = SimulatedSensor(height=height, width=width, **camera)
    rows, cols = np.mgrid[:height, :width] / 100
    scene = np.stack([0.5 + 0.4 * np.sin(rows + c) * np.cos(cols - c) for c in range(3)], axis=2)
    exposure = sensor.exposure_for(0.5, iso)
    seen = sensor.expose(scene, iso=iso, exposure=exposure, rng=np.random.default_rng(1), noisy=noisy)
    return seen, sensor.noise(iso)


def box(noisy):
    """The mean of 3x3 pixels of a plane."""
    padded = np.pad(noisy, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    height, width = noisy.shape[2:]
    return sum(padded[..., dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)) / np.float32(9)


@pytest.fixture(scope="module")
def blur(tmp_path_factory):
    """The mean of 3x3 pixels of a plane, behind the root of the k-Sigma transform."""
    return write_model(tmp_path_factory.mktemp("models") / "blur.onnx", channels=4, shape="blur", k_sigma=ROOT)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two convolutions with random weights."""
    path = tmp_path_factory.mktemp("models") / "plain.onnx"
    return write_model(path, channels=4, shape="plain", k_sigma={"gain": 0.01})


@given(
    st.sampled_from(PATTERNS),
    st.integers(2, 21),
    st.integers(2, 21),
    st.sampled_from([None, {"gain": 0.1}, ROOT]),
    st.floats(0.01, 2),
)
@settings(deadline=None, max_examples=60)
def test_a_model_that_changes_nothing_leaves_every_count(pattern, height, width, k_sigma, strength):
    given = frame(height, width, pattern, low=0, high=4300)
    engine = FakeEngine(k_sigma=k_sigma, multiple=4)
    result = RawDenoiser(engine, profile=LAW, strength=strength)(given)
    np.testing.assert_array_equal(result.mosaic, given.mosaic)
    assert result.mosaic is not given.mosaic
    assert (result.pattern, result.black, result.white) == (pattern, given.black, given.white)


def test_what_the_model_sees_is_the_law_of_the_spec():
    """Planes of the RGGB mosaic that holds the frame, each with its own black and its own law; negative values stay."""
    for pattern in PATTERNS:
        given = frame(31, 27, pattern)
        engine = FakeEngine(k_sigma={"gain": 0.5, "offset": 0.25})
        RawDenoiser(engine, profile=LAW)(given)
        planes = split(align(given.mosaic, pattern)[0], "RGGB").astype(float)
        for plane in range(4):
            x = (planes[plane] - given.black[plane]) / (given.white - given.black[plane])
            f = x / LAW.k[plane] + LAW.s2[plane] / LAW.k[plane] ** 2
            np.testing.assert_allclose(engine.seen[0][0, plane], 0.5 * f + 0.25, rtol=1e-5, atol=1e-4)
        assert planes.min() < 250  # or nothing was negative


def test_without_a_transform_the_model_sees_normalised_counts():
    engine = FakeEngine()
    given = frame(black=(100.0,) * 4)
    RawDenoiser(engine, profile=LAW)(given)
    np.testing.assert_allclose(engine.seen[0][0], (split(given.mosaic, "RGGB") - 100.0) / 3995, atol=1e-6)


@pytest.mark.parametrize("k_sigma", [None, {"gain": 0.5, "offset": 0.25}, ROOT])
def test_the_level_that_a_model_is_told(k_sigma):
    """The standard deviation of the noise of what it sees, for every value, by the law; behind the root one for all."""
    given = frame(high=4200, pattern="GBRG")
    engine = FakeEngine(level="sigma", k_sigma=k_sigma)
    RawDenoiser(engine, profile=LAW)(given)
    if k_sigma == ROOT:
        assert engine.level.shape == (1, 1, 1, 1)
        assert engine.level.item() == np.float32(0.0625)
        return
    planes = split(align(given.mosaic, "GBRG")[0], "RGGB").astype(float)
    for plane in range(4):
        x = np.minimum((planes[plane] - given.black[plane]) / (given.white - given.black[plane]), 1)
        deviation = np.sqrt(np.maximum(LAW.k[plane] * x + LAW.s2[plane], 0))
        if k_sigma is not None:
            deviation *= 0.5 / LAW.k[plane]
        np.testing.assert_allclose(engine.level[0, plane], deviation, rtol=1e-4, atol=1e-5)
    assert (planes > 4095).any()
    assert (planes < 200).sum() == 0 or engine.level.min() == 0
    RawDenoiser(engine, profile=LAW, strength=2)(given)
    assert engine.level.mean() > 0


def test_the_noise_a_model_sees_has_one_strength():
    for iso in (200, 6400):
        dark = SimulatedSensor(height=200, width=200).flat(0.3, iso=iso, rng=np.random.default_rng(0))
        engine = FakeEngine(k_sigma=ROOT)
        RawDenoiser(engine, profile=SimulatedSensor().noise(iso))(dark)
        assert engine.seen[0].std(axis=(2, 3)).mean() == pytest.approx(0.0625, rel=0.03)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [(96, 80), (65, 63), (2, 3)])
def test_tiles_do_not_show(plain, pattern, size):
    given = frame(*size, pattern)
    whole = RawDenoiser(plain, profile=LAW).run(given)
    tiled = RawDenoiser(plain, profile=LAW, tile=10).run(given)
    assert whole.tiles["tiles"] == 1
    if size[0] > 2:
        assert tiled.tiles["tiles"] > 20
    assert whole.frame.mosaic.shape == size
    off = np.abs(tiled.frame.mosaic.astype(int) - whole.frame.mosaic)
    assert off.max() <= 1  # where float32 falls to the other side of a half
    assert (off > 0).mean() < 0.001
    assert tiled.removed == pytest.approx(whole.removed, rel=1e-3)


def test_tiles_do_not_show_through_strides(tmp_path):
    model = write_model(tmp_path / "m.onnx", channels=4, shape="strided", k_sigma={"gain": 0.01})
    given = frame(131, 97, "GBRG")
    whole, tiled = (RawDenoiser(model, profile=LAW, tile=tile)(given).mosaic for tile in (None, 16))
    assert np.abs(tiled.astype(int) - whole).max() <= 1


@given(st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None, max_examples=36)
def test_a_crop_of_any_phase_is_a_crop_of_the_result(plain, top, left):
    law = NoiseLaw((1e-3,) * 4, (1e-5,) * 4)
    given = frame(60, 64, black=(256.0,) * 4)
    whole = RawDenoiser(plain, profile=law)(given).mosaic[top:, left:]
    pattern = seen_from("RGGB", top, left)
    crop = given.with_mosaic(np.ascontiguousarray(given.mosaic[top:, left:]), pattern=pattern)
    inside = (slice(6, -6), slice(6, -6))  # the network looks at 2 pixels of a plane
    off = np.abs(RawDenoiser(plain, profile=law)(crop).mosaic[inside].astype(int) - whole[inside])
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001


def test_a_blur_against_numpy(blur):
    given = frame(20, 30, "GRBG", black=(256.0,) * 4)
    law = NoiseLaw((1e-3,) * 4, (1e-5,) * 4)
    transform = KSigma(**ROOT)
    mosaic, alignment = align(given.mosaic, "GRBG")
    seen = transform.forward((split(mosaic, "RGGB") - 256.0) / (4095 - 256), 1e-3, 1e-5)
    padded = np.pad(seen, ((0, 0), (1, 1), (1, 1)))
    height, width = seen.shape[1:]
    mean = sum(padded[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)) / 9
    expected = join(transform.inverse(mean, 1e-3, 1e-5) * (4095 - 256) + 256, "RGGB")
    result = RawDenoiser(blur, profile=law)(given)
    np.testing.assert_allclose(result.mosaic, np.clip(alignment.undo(expected), 0, 4095), atol=0.51)


def test_noise_goes_and_brightness_stays():
    for pattern in ("RGGB", "BGGR"):
        noisy, law = exposed(pattern=pattern)
        truth, _ = exposed(pattern=pattern, noisy=False)
        result = RawDenoiser(FakeEngine(box, halo=1, k_sigma=ROOT), profile=law, tile=64).run(noisy)
        error = [np.std(seen.mosaic.astype(float) - truth.mosaic) for seen in (noisy, result.frame)]
        assert error[1] < 0.4 * error[0]
        # in blocks, so that no tile is lighter or darker
        blocks = (seen.mosaic.reshape(8, 32, 10, 32).mean((1, 3)) for seen in (result.frame, truth))
        assert np.abs(np.subtract(*blocks)).max() < 0.01 * 4095
        span = noisy.white - noisy.black[0]
        assert result.sigma == pytest.approx(255 * error[0] / span, rel=0.03)
        assert result.removed == pytest.approx(result.sigma, rel=0.12)


def test_full_pixels_stay_and_counts_stay_in_range():
    given = frame(24, 24, low=4000, high=4500)
    full = given.mosaic >= 4095
    up = RawDenoiser(FakeEngine(lambda x: x + 2), profile=LAW)(given).mosaic
    np.testing.assert_array_equal(up[full], given.mosaic[full])
    assert (up[~full] == given.mosaic.max()).all()
    assert given.mosaic.max() > 4095  # the sensor may count beyond what the file calls white
    down = RawDenoiser(FakeEngine(lambda x: x - 2), profile=LAW)(given).mosaic
    np.testing.assert_array_equal(down[full], given.mosaic[full])
    assert (down[~full] == 0).all()


def test_counts_above_white_do_not_reach_the_model():
    engine = FakeEngine()
    RawDenoiser(engine, profile=LAW)(frame(8, 8, low=4000, high=65535))
    assert engine.seen[0].max() == 1


def test_strength_zero_is_the_frame_itself():
    engine, given = FakeEngine(), frame()
    result = RawDenoiser(engine, strength=0).run(given)
    assert result.frame is given
    assert (engine.seen, result.removed, result.law) == ([], 0, None)


def test_strength_mixes():
    given = frame(low=1000, high=2000, black=(256.0,) * 4)
    for k_sigma in (None, ROOT):
        whole = RawDenoiser(FakeEngine(lambda x: 0.9 * x, k_sigma=k_sigma), profile=LAW)(given).mosaic
        half = RawDenoiser(FakeEngine(lambda x: 0.9 * x, k_sigma=k_sigma), profile=LAW, strength=0.5)(given).mosaic
        np.testing.assert_allclose(half, (whole.astype(float) + given.mosaic) / 2, atol=1.01)


def test_strength_above_one_tells_of_stronger_noise():
    given = frame(black=(256.0,) * 4)
    engine = FakeEngine(k_sigma={"gain": 1.0})
    result = RawDenoiser(engine, profile=LAW, strength=1.5).run(given)
    x = (split(given.mosaic, "RGGB") - 256.0) / (4095 - 256)
    k, s2 = (2.25 * np.array(values)[:, None, None] for values in (LAW.k, LAW.s2))
    np.testing.assert_allclose(engine.seen[0][0], x / k + s2 / k**2, rtol=1e-4, atol=1e-3)
    assert result.law == LAW  # which is what is true
    untold = RawDenoiser(FakeEngine(lambda x: x - np.float32(0.1)), profile=LAW, strength=1.5)(
        frame(low=2000, high=2001, black=(256.0,) * 4)
    )
    assert (untold.mosaic == round(2000 - 0.15 * (4095 - 256))).all()


def test_the_noise_of_the_result_is_written_down():
    noisy, law = exposed()
    truth, _ = exposed(noisy=False)
    engine = FakeEngine(box, halo=1, k_sigma=ROOT)
    result = RawDenoiser(engine, profile=law).run(noisy)
    errors = [seen.mosaic.astype(float) - truth.mosaic for seen in (result.frame, noisy)]
    assert result.left == pytest.approx(np.std(errors[0]) / np.std(errors[1]), rel=0.25)
    for (k, s2), k0, s20 in zip(result.frame.noise, law.k, law.s2, strict=True):
        assert k == pytest.approx(result.left**2 * k0)
        assert s2 == pytest.approx(max(result.left**2 * s20, 1 / 12 / (4095 - 256) ** 2))
    half = RawDenoiser(engine, profile=law, strength=0.3).run(noisy)
    error = half.frame.mosaic.astype(float) - truth.mosaic
    assert half.left == pytest.approx(np.std(error) / np.std(errors[1]), rel=0.1)
    none = RawDenoiser(FakeEngine(), profile=law).run(noisy)
    assert none.left == 1


def test_a_frame_without_noise_stays_as_it_is():
    truth, law = exposed(noisy=False)
    quiet = truth.with_mosaic(truth.mosaic, noise=((1e-9, 1e-9),) * 4)
    engine = FakeEngine(lambda x: 0 * x)
    result = RawDenoiser(engine).run(quiet)
    assert result.frame is quiet
    assert result.notes == ("no noise was found, so nothing was changed; if you see some, give a noise profile",)
    assert RawDenoiser(engine, profile=law).run(quiet).frame is not quiet  # the user insists


def test_the_order_of_trust(tmp_path):
    noisy, law = exposed(iso=800)
    profile = NoiseProfile(
        camera=Camera(model="Cam"), entries=(Entry(iso=400, k=1e-3, s2=0), Entry(iso=1600, k=4e-3, s2=0))
    )
    tagged = noisy.with_mosaic(noisy.mosaic, noise=((2e-3, 1e-6),) * 4)

    def used(frame, **options):
        return RawDenoiser(FakeEngine(), **options).run(frame).law

    profile.save(tmp_path / "cam.profile.yaml")
    for said in (profile, tmp_path / "cam.profile.yaml", str(tmp_path / "cam.profile.yaml")):
        assert used(tagged, profile=said).k == pytest.approx((2e-3,) * 4)
        assert "Cam" in used(tagged, profile=said).source
    assert used(tagged, profile=profile, iso=1600).k == pytest.approx((4e-3,) * 4)
    assert used(tagged).k == (2e-3,) * 4
    assert used(tagged).s2 == (1e-6,) * 4
    blind = used(noisy)
    assert len(blind.k) == 4
    x = 0.4
    assert blind.variance(x, 1) == pytest.approx(law.variance(x, 1), rel=0.5)
    assert len({used(tagged).source, blind.source, used(tagged, profile=profile).source}) == 3


def test_a_published_profile_by_its_name_and_its_warnings():
    result = RawDenoiser(FakeEngine(), profile="iphone-7", iso=400).run(frame())
    assert result.law.k == pytest.approx((0.00116461,) * 4)
    assert any(note.startswith("the noise profile warns: ") and "variance" in note for note in result.notes)


def test_a_law_for_all_planes_is_for_each():
    one = RawDenoiser(FakeEngine(), profile=NoiseLaw((1e-3,), (1e-5,))).run(frame())
    assert one.law.k == (1e-3,) * 4


def test_memory_that_runs_out_means_smaller_tiles(monkeypatch):
    def small_windows_only(noisy):
        if noisy.shape[2] * noisy.shape[3] > 2_000:
            raise OutOfMemoryError("no memory")
        return noisy

    monkeypatch.setattr(runner, "DEFAULT_BUDGET", 10_000)
    given = frame(240, 200)
    result = RawDenoiser(FakeEngine(small_windows_only, halo=8), profile=LAW).run(given)
    np.testing.assert_array_equal(result.frame.mosaic, given.mosaic)
    assert "the memory did not suffice for the usual tiles; worked in smaller ones" in result.notes


def test_memory_beyond_input_and_output_does_not_grow_with_the_frame():
    denoiser = RawDenoiser(FakeEngine(lambda x: x.copy(), halo=16, k_sigma=ROOT), profile=LAW, tile=256)

    def peak(height, width):
        denoiser.engine.seen.clear()
        given = frame(height, width, "BGGR")
        tracemalloc.start()
        denoiser.run(given)
        used = tracemalloc.get_traced_memory()[1] - given.mosaic.nbytes  # the result
        tracemalloc.stop()
        return used

    peak(600, 600)
    assert peak(4096, 2048) < 1.1 * peak(1024, 1024) + 2**20


def test_progress_rises_to_one():
    seen = []
    RawDenoiser(FakeEngine(), profile=LAW, tile=16)(frame(80, 80), progress=seen.append)
    assert (len(seen), seen[-1]) == (9, 1)
    assert seen == sorted(seen)


def test_notes_are_returned_and_logged(caplog):
    given = frame()
    result = RawDenoiser(FakeEngine(), profile=LAW.scaled(2)).run(given)
    assert "nearly identical to the input: 0.0 counts taken away where the noise is about" in result.notes[0]
    RawDenoiser(FakeEngine(), profile=LAW.scaled(2))(given)
    assert "nearly identical" in caplog.text


def test_what_cannot_work_is_said(tmp_path):
    with pytest.raises(ModelError, match="'fake' is for rgb data of 3 channels; expected one for raw data of 4"):
        RawDenoiser(FakeEngine(kind="rgb", channels=3))
    for strength in (-0.1, 2.1, float("nan")):
        with pytest.raises(RecipeError, match=r"strength is .* expected 0"):
            RawDenoiser(FakeEngine(), strength=strength)
    with pytest.raises(RecipeError, match="ISO 800 is given without a noise profile"):
        RawDenoiser(FakeEngine(), iso=800)
    with pytest.raises(RecipeError, match="a noise law for 2 planes; expected 4"):
        RawDenoiser(FakeEngine(), profile=NoiseLaw((1.0, 1.0), (0.0, 0.0)))(frame())
    (tmp_path / "x.yaml").write_text("a: 1")
    with pytest.raises(ProfileError, match="is not a noise profile"):
        RawDenoiser(FakeEngine(), profile=tmp_path / "x.yaml")
    with pytest.raises(ModelError, match="not finite; the model file is damaged"):
        RawDenoiser(FakeEngine(lambda x: x * np.float32(np.nan)), profile=LAW)(frame())


@pytest.mark.parametrize(("model", "said"), [("D850", True), ("NIKON D750", False), ("", False)])
def test_a_profile_of_another_camera_is_mentioned(model, said):
    profile = NoiseProfile(camera=Camera(make="Nikon", model="D750"), entries=(Entry(iso=800, k=1e-3, s2=1e-5),))
    result = RawDenoiser(FakeEngine(), profile=profile).run(frame(make="NIKON", model=model, iso=800))
    assert any("the file is from D850" in note for note in result.notes) is said
