"""The same kind comes out, the strength and level mean what they say, and memory stays flat."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shotnoise.runner as runner
from shotnoise.card import Card
from shotnoise.denoiser import Denoiser, Result
from shotnoise.engines import OutOfMemoryError
from shotnoise.errors import ModelError, PictureError, RecipeError
from shotnoise.images import Image
from tiny_models import write_model


class FakeEngine:
    """An engine that is a function, and remembers what it was given."""

    def __init__(self, function=lambda noisy: noisy, **card):
        values = {"name": "fake", "kind": "rgb", "channels": 3, **card}
        self.card = Card(**values)
        self.function = function
        self.shapes, self.levels = [], []

    def run(self, noisy, level=None):
        assert noisy.dtype == np.float32
        assert noisy.flags.c_contiguous
        self.shapes.append(noisy.shape)
        self.levels.append(None if level is None else level.ravel().tolist())
        return self.function(noisy)

    def describe(self):
        return {}


def picture(*shape, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    values = np.clip(rng.normal(0.5, 0.1, shape), 0, 1)
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    return np.round(values * np.iinfo(dtype).max).astype(dtype)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        (shape, channels): Denoiser(write_model(folder / f"{shape}{channels}.onnx", shape=shape, channels=channels))
        for shape in ("plain", "strided", "pooled", "blur")
        for channels in (1, 3)
    }


@given(
    st.sampled_from([("plain", 1), ("strided", 1), ("strided", 3), ("pooled", 3)]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([(), (1,), (2,), (3,), (4,)]),
    st.sampled_from([np.uint8, np.uint16, np.float16, np.float32, np.float64]),
)
@settings(deadline=None)
def test_the_same_kind_shape_and_type_come_out(models, model, height, width, channels, dtype):
    noisy = picture(height, width, *channels, dtype=dtype)
    before = noisy.copy()
    clean = models[model](noisy)
    assert clean.shape == noisy.shape
    assert clean.dtype == noisy.dtype
    np.testing.assert_array_equal(noisy, before)
    if channels in ((2,), (4,)):
        np.testing.assert_array_equal(clean[:, :, -1], noisy[:, :, -1])
    assert not np.shares_memory(clean, noisy)


def test_a_blur_against_numpy(models):
    noisy = picture(40, 50, 3)
    padded = np.pad(noisy.astype(float), ((1, 1), (1, 1), (0, 0)))
    mean = sum(padded[dy : dy + 40, dx : dx + 50] for dy in range(3) for dx in range(3)) / 9
    np.testing.assert_allclose(models["blur", 3](noisy), mean, atol=0.501)


def test_gray_through_a_colour_model_is_the_mean_of_its_colours(models):
    gray = picture(21, 34, dtype=np.float32)
    colour = models["strided", 3](np.repeat(gray[:, :, None], 3, axis=2))
    np.testing.assert_allclose(models["strided", 3](gray), colour.mean(axis=2), atol=1e-6)
    np.testing.assert_array_equal(models["strided", 3](gray[:, :, None])[:, :, 0], models["strided", 3](gray))


def test_colour_through_a_gray_model_goes_channel_by_channel(models):
    colour = picture(21, 34, 3, dtype=np.float32)
    result = models["strided", 1](colour)
    for c in range(3):
        np.testing.assert_allclose(result[:, :, c], models["strided", 1](colour[:, :, c]), atol=1e-6)


@pytest.mark.parametrize("shape", ["plain", "strided", "blur"])
def test_tiles_do_not_show(tmp_path, shape):
    path = write_model(tmp_path / "m.onnx", shape=shape)
    noisy = picture(101, 75, 3, dtype=np.float32)
    whole, tiled = Denoiser(path).run(Image(noisy)), Denoiser(path, tile=32).run(Image(noisy))
    assert whole.tiles["tiles"] == 1
    assert tiled.tiles["tiles"] > 8
    np.testing.assert_allclose(tiled.image.pixels, whole.image.pixels, atol=1e-5)
    assert tiled.removed == pytest.approx(whole.removed, rel=1e-3)


def test_a_network_that_sees_everything_gets_the_whole_picture(tmp_path):
    path = write_model(tmp_path / "m.onnx", shape="pooled")
    big = Image(picture(1500, 1600))
    assert Denoiser(path).run(big).tiles["tiles"] == 1
    forced = Denoiser(path, tile=512).run(big)
    assert forced.tiles["tiles"] > 1
    assert forced.tiles["halo"] == 64
    assert "tiles change its result" in forced.notes[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_strength_zero_is_the_input_bit_for_bit(dtype):
    engine = FakeEngine()
    noisy = picture(9, 7, 3, dtype=dtype)
    clean = Denoiser(engine, strength=0)(noisy)
    np.testing.assert_array_equal(clean, noisy)
    assert not np.shares_memory(clean, noisy)
    assert engine.shapes == []


@given(st.floats(0.01, 2))
@settings(deadline=None, max_examples=20)
def test_strength_mixes_and_extrapolates(strength):
    noisy = picture(9, 7, 3, dtype=np.float32)
    clean = Denoiser(FakeEngine(lambda x: x * x), strength=strength)(noisy)
    np.testing.assert_allclose(clean, noisy + strength * (noisy * noisy - noisy), atol=1e-6)


def test_strength_above_one_raises_the_level_of_a_model_that_takes_it():
    engine = FakeEngine(lambda x: 0 * x, level="sigma")
    noisy = picture(9, 7, 3, dtype=np.float32)
    for strength, level, mix in ((0.5, 25, 0.5), (1, 25, 1), (1.6, 40, 1)):
        clean = Denoiser(engine, level=25, strength=strength)(noisy)
        assert engine.levels[-1] == [pytest.approx(level / 255)]
        np.testing.assert_allclose(clean, noisy * (1 - mix), atol=1e-6)


def test_levels_are_counts_and_estimated_where_not_given():
    engine = FakeEngine(level="sigma")
    noisy = picture(64, 64, 3, seed=1)  # noise of 25.5 counts
    assert Denoiser(engine).run(Image(noisy)).sigma == pytest.approx(25.5, rel=0.1)
    assert engine.levels[-1][0] == pytest.approx(0.1, rel=0.1)
    Denoiser(engine)(noisy.astype(np.uint16) * 257)
    assert engine.levels[-1] == pytest.approx(engine.levels[-2], rel=1e-3)
    given = Denoiser(engine, level=10).run(Image(noisy))
    assert given.sigma == 10
    assert engine.levels[-1] == [pytest.approx(10 / 255)]


def test_a_level_beyond_the_training_is_lowered_and_said():
    engine = FakeEngine(level="sigma", sigma_range=(0, 50 / 255))
    result = Denoiser(engine, level=40, strength=2).run(Image(picture(9, 9)))
    assert engine.levels == [[pytest.approx(50 / 255)]]
    assert "a noise level of 80 is more than the model was trained for; took its highest, 50" in result.notes


def test_one_level_for_the_three_colours_of_a_gray_model():
    engine = FakeEngine(level="sigma", kind="gray", channels=1)
    Denoiser(engine, level=51)(picture(8, 8, 3))
    assert engine.shapes == [(3, 1, 8, 8)]
    assert engine.levels == [[pytest.approx(0.2)] * 3]


def test_integers_round_half_up_and_clip():
    noisy = np.array([[0, 10, 254, 255]], np.uint8)
    for shift, expected in ((0.4, noisy), (0.6, [[1, 11, 255, 255]]), (-0.4, noisy), (-0.6, [[0, 9, 253, 254]])):
        engine = FakeEngine(lambda x, shift=shift: x + np.float32(shift / 255))
        np.testing.assert_array_equal(Denoiser(engine)(noisy), expected)
    halves = FakeEngine(lambda x: np.full_like(x, 0.5))  # 127.5 -> 128, 32767.5 -> 32768
    assert Denoiser(halves)(noisy)[0, 0] == 128
    assert Denoiser(halves)(noisy.astype(np.uint16))[0, 0] == 32768


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_survives_a_model_that_changes_nothing(dtype):
    noisy = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 64)
    np.testing.assert_array_equal(Denoiser(FakeEngine())(noisy), noisy)
    np.testing.assert_array_equal(Denoiser(FakeEngine(), strength=0.3)(noisy), noisy)


def test_floating_point_is_not_clipped():
    noisy = np.array([[-0.5, 0.25, 1.5]], np.float32)
    np.testing.assert_allclose(Denoiser(FakeEngine(lambda x: 2 * x))(noisy), [[-1, 0.5, 3]])


def test_values_that_are_not_finite_stay_where_they_are(models):
    noisy = picture(40, 40, dtype=np.float32)
    expected = noisy.copy()
    expected[5, 5] = 0
    noisy[5, 5], noisy[30, 30] = np.nan, np.inf
    expected[30, 30] = 0
    result = models["plain", 3].run(Image(noisy))
    assert np.isnan(result.image.pixels[5, 5])
    assert np.isinf(result.image.pixels[30, 30])
    assert "2 values are not finite and were left as they are" in result.notes
    finite = np.isfinite(noisy)
    np.testing.assert_array_equal(result.image.pixels[finite], models["plain", 3](expected)[finite])


def test_floating_point_in_the_wrong_scale_is_noticed(models):
    result = models["plain", 3].run(Image(255 * picture(20, 20, dtype=np.float32)))
    assert any("taken as 0..1; divide by the value of white" in note for note in result.notes)


def test_what_travels_with_an_image_stays():
    alpha = picture(9, 7, seed=3)
    image = Image(picture(9, 7, 3), alpha=alpha, icc=b"profile", exif=b"exif", notes=("read",))
    clean = Denoiser(FakeEngine(lambda x: 1 - x))(image)
    assert isinstance(clean, Image)
    assert clean.alpha is alpha
    assert (clean.icc, clean.exif) == (b"profile", b"exif")
    np.testing.assert_array_equal(clean.pixels, 255 - image.pixels)


def test_the_result_says_what_happened():
    noisy = picture(50, 60, 3)
    result = Denoiser(FakeEngine(lambda x: x + np.float32(5 / 255)), tile=32).run(Image(noisy))
    assert isinstance(result, Result)
    assert result.removed == pytest.approx(5, rel=1e-3)
    assert result.sigma == pytest.approx(25.5, rel=0.15)
    assert result.tiles["tiles"] == 4
    assert result.seconds > 0
    assert any("nearly identical to the input: 5.0 counts" in note for note in result.notes)
    strong = Denoiser(FakeEngine(lambda x: x + np.float32(20 / 255))).run(Image(noisy))
    assert strong.notes == ()
    weak = Denoiser(FakeEngine(lambda x: x + np.float32(20 / 255)), strength=0.1).run(Image(noisy))
    assert weak.notes == ()  # little was asked for


def test_a_plain_call_logs_what_it_cannot_return(caplog):
    Denoiser(FakeEngine())(picture(50, 60, 3))
    assert "nearly identical to the input" in caplog.text


def test_progress_rises_to_one():
    seen = []
    Denoiser(FakeEngine(), tile=16)(picture(40, 40), progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) == 9
    assert seen[-1] == 1


def test_memory_that_runs_out_means_smaller_tiles(monkeypatch):
    def small_windows_only(noisy):
        if noisy.shape[2] * noisy.shape[3] > 3_000:
            raise OutOfMemoryError("no memory")
        return noisy

    monkeypatch.setattr(runner, "DEFAULT_BUDGET", 20_000)
    engine = FakeEngine(small_windows_only, halo=8)
    noisy = picture(120, 100)
    result = Denoiser(engine).run(Image(noisy))
    np.testing.assert_array_equal(result.image.pixels, noisy)
    assert result.notes.count("the memory did not suffice for the usual tiles; worked in smaller ones") == 1
    with pytest.raises(OutOfMemoryError):
        Denoiser(engine, tile=80)(noisy)  # what the user asked for is not changed behind his back
    with pytest.raises(OutOfMemoryError):
        Denoiser(FakeEngine(small_windows_only, halo=None))(noisy)

    def never(noisy):
        raise OutOfMemoryError("no memory")

    with pytest.raises(OutOfMemoryError):
        Denoiser(FakeEngine(never, halo=8))(noisy)


def test_options_that_make_no_sense():
    for strength in (-0.1, 2.1, float("nan")):
        with pytest.raises(RecipeError, match=r"strength is .* expected 0"):
            Denoiser(FakeEngine(), strength=strength)
    for level in (-1, 256, float("nan")):
        with pytest.raises(RecipeError, match=r"level is .* in counts, 0 to 255"):
            Denoiser(FakeEngine(level="sigma"), level=level)
    with pytest.raises(ModelError, match="'fake' takes no noise level; leave the level out"):
        Denoiser(FakeEngine(), level=25)
    with pytest.raises(ModelError, match="'fake' is for raw data of 4 channels; expected one for rgb or gray"):
        Denoiser(FakeEngine(kind="raw", channels=4))
    with pytest.raises(ModelError, match="a tile of 16 pixels leaves nothing"):
        Denoiser(FakeEngine(halo=20), tile=16)(picture(99, 99))


def test_arrays_that_are_no_pictures():
    for shape in ((5,), (5, 5, 5), (2, 5, 5, 3), (0, 5)):
        with pytest.raises(PictureError, match=r"shape .* expected .H, W."):
            Denoiser(FakeEngine())(np.zeros(shape, np.uint8))
    for dtype in (np.int16, bool, np.complex64):
        with pytest.raises(PictureError, match="expected uint8, uint16"):
            Denoiser(FakeEngine())(np.zeros((5, 5), dtype))
    with pytest.raises(PictureError, match=r"values up to 1e.30; expected floating-point pixels in 0..1"):
        Denoiser(FakeEngine(lambda x: 2 * x))(np.full((5, 5), 1e30, np.float32))


def test_big_endian_arrays():
    noisy = picture(9, 7, dtype=np.uint16)
    clean = Denoiser(FakeEngine(lambda x: 1 - x))(noisy.astype(">u2"))
    assert clean.dtype == np.dtype(">u2")
    np.testing.assert_array_equal(clean, 65535 - noisy)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_model_that_gives_nonsense_is_an_error(dtype):
    with pytest.raises(ModelError, match="not finite; the model file is damaged"):
        Denoiser(FakeEngine(lambda x: x * np.float32(np.nan)))(picture(9, 9, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_memory_beyond_input_and_output_does_not_grow_with_the_picture(dtype):
    denoiser = Denoiser(FakeEngine(lambda x: x.copy(), halo=16), tile=512)

    def peak(height, width):
        image = Image(picture(height, width, 3, dtype=dtype))
        tracemalloc.start()
        denoiser.run(image)
        used = tracemalloc.get_traced_memory()[1] - image.pixels.nbytes  # the result
        tracemalloc.stop()
        return used

    peak(600, 600)
    assert peak(2048, 4096) < 1.2 * peak(1024, 1024) + 2**20


def test_a_picture_without_noise_is_left_alone():
    """At level 0 a network can only do harm; the user may still insist with a level."""
    flat = np.full((40, 30, 3), 90, np.uint8)
    flat[:, 15:] = 200
    engine = FakeEngine(lambda noisy: noisy * 0.5, level="sigma")
    result = Denoiser(engine).run(Image(flat))
    assert np.array_equal(result.image.pixels, flat)
    assert result.notes == ("no noise was found, so nothing was changed; if you see some, say how much with the level",)
    assert not np.array_equal(Denoiser(engine, level=5)(flat), flat)
