import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate

from shotnoise import tiling
from shotnoise.card import Card
from shotnoise.errors import ModelError
from shotnoise.evaluation import ModelUnderTest, get_protocol, model
from shotnoise.sensor.law import NoiseLaw

DETAIL = {"channels": 3, "reduction": 1}


class Blur:
    """An engine without a file: a 5x5 mean with black outside, as a convolution network pads."""

    def __init__(self, **card):
        self.card = Card(**{"name": "blur", "kind": "rgb", "channels": 3, "halo": 2} | card)
        self.windows = []
        self.levels = []

    def run(self, noisy, level=None):
        assert all(side % self.card.multiple == 0 for side in noisy.shape[2:])
        assert noisy.dtype == np.float32
        assert noisy.flags.c_contiguous
        self.windows.append(noisy.shape)
        self.levels.append(level)
        return correlate(noisy, np.full((1, 1, 5, 5), 1 / 25, np.float32), mode="constant")

    def describe(self):
        return {"engine": "blur"}


def under_test(monkeypatch, engine):
    monkeypatch.setattr(model, "open_engine", lambda name, choice, **_: engine)
    return ModelUnderTest("blur")


def test_a_picture_runs_in_one_piece_with_mirrored_padding(monkeypatch):
    engine = Blur(multiple=8)
    noisy = np.random.default_rng(0).random((3, 21, 30), np.float32)
    found = under_test(monkeypatch, engine)(noisy, 0.1)
    padded = np.pad(noisy, ((0, 0), (0, 3), (0, 2)), mode="reflect")
    np.testing.assert_array_equal(found, Blur().run(padded[None])[0, :, :21, :30])
    assert engine.windows == [(1, 3, 24, 32)]
    assert engine.levels == [None]


@given(height=st.integers(1, 60), width=st.integers(1, 60), multiple=st.sampled_from([1, 2, 8]))
def test_large_pictures_in_tiles_give_the_same(height, width, multiple):
    noisy = np.random.default_rng(height).random((3, height, width), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        whole = under_test(patch, Blur(multiple=multiple))(noisy, None)
        patch.setattr(model, "DEFAULT_BUDGET", 400)
        tiled = under_test(patch, Blur(multiple=multiple))(noisy, None)
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_a_network_without_a_limited_field_gets_the_whole_picture(monkeypatch):
    engine = Blur(halo=None, multiple=4)
    side = int(tiling.DEFAULT_BUDGET**0.5) + 10
    under_test(monkeypatch, engine)(np.zeros((3, side, side), np.float32), None)
    assert len(engine.windows) == 1


def test_the_level_goes_where_it_is_wanted(monkeypatch):
    engine = Blur(level="sigma")
    denoise = under_test(monkeypatch, engine)
    denoise(np.zeros((3, 8, 8), np.float32), 0.25)
    assert engine.levels[0].shape == (1, 1, 1, 1)
    assert engine.levels[0].item() == 0.25
    with pytest.raises(ModelError, match="needs the noise level"):
        denoise(np.zeros((3, 8, 8), np.float32), None)


class Detail:
    """Adds the random input and the level, and remembers the latter."""

    def __init__(self, **card):
        self.card = Card(**{"name": "detail", "kind": "rgb", "channels": 3, "halo": 0} | card)

    def run(self, noisy, level=None, latent=None):
        self.level = level
        self.noisy = noisy
        return noisy if latent is None else noisy + latent

    def describe(self):
        return {"engine": "detail"}


@pytest.mark.parametrize("options", [{}, {"ensemble": "x8"}, {"samples": 3, "seed": 4}])
def test_random_values_are_seeded_and_belong_to_places(monkeypatch, options):
    monkeypatch.setattr(model, "open_engine", lambda name, choice, **_: Detail(latent=DETAIL))
    noisy = np.zeros((3, 40, 50), np.float32)
    denoise = ModelUnderTest("x", **options)
    whole = denoise(noisy, None)
    monkeypatch.setattr(model, "DEFAULT_BUDGET", 400)
    np.testing.assert_allclose(denoise(noisy, None), whole, atol=1e-6)
    passes = {"x8": 8}.get(options.get("ensemble"), 1) * options.get("samples", 1)
    assert whole.std() == pytest.approx(passes**-0.5, rel=0.05)
    assert denoise.describe() == {
        "engine": "detail",
        "ensemble": options.get("ensemble", "none"),
        "samples": options.get("samples", 1),
        "seed": options.get("seed", 0),
    }
    if options:
        assert np.abs(ModelUnderTest("x")(noisy, None) - whole).max() > 0.1


@pytest.mark.parametrize("k_sigma", [None, {"gain": 0.5}, {"gain": 0.5, "root": True}])
def test_a_raw_model_is_told_the_noise_of_every_value(monkeypatch, k_sigma):
    engine = Detail(kind="raw", channels=4, level="sigma", k_sigma=k_sigma)
    law = NoiseLaw((1e-3, 2e-3, 3e-3, 4e-3), (1e-4, 2e-4, 3e-4, 4e-4))
    noisy = np.random.default_rng(0).normal(0.1, 0.2, (4, 9, 12)).astype(np.float32)
    found = under_test(monkeypatch, engine)(noisy, law)
    np.testing.assert_allclose(found, noisy, atol=1e-5)
    k, s2 = np.array(law.k)[:, None, None], np.array(law.s2)[:, None, None]
    deviation = np.sqrt(np.maximum(k * noisy + s2, 0))
    if k_sigma is None:
        np.testing.assert_allclose(engine.level[0], deviation, rtol=1e-4, atol=1e-6)
    elif "root" not in k_sigma:
        np.testing.assert_allclose(engine.level[0], 0.5 * deviation / k, rtol=1e-3, atol=1e-4)
    else:
        assert engine.level.shape == (1, 1, 1, 1)
        assert engine.level.item() == 0.5
    with pytest.raises(ModelError, match="needs the noise law of the sensor, and the protocol gives none"):
        under_test(monkeypatch, engine)(noisy, 0.1)


@pytest.mark.parametrize(
    ("protocol", "fits"),
    [
        ("kodak24", {"rgb", "gray"}),
        ("pairs/folder", {"rgb", "gray"}),
        ("raw/folder/iso800", {"raw"}),
        ("mri/kspace", {"mri"}),
    ],
)
def test_a_protocol_measures_models_of_its_kind_only(protocol, fits):
    for kind in ("rgb", "gray", "raw", "mri"):
        words = get_protocol(protocol).refusal(kind, "none")
        assert (words is None) == (kind in fits)
        assert words is None or f"is for {kind}" in words


def test_an_unknown_model():
    with pytest.raises(ModelError, match="unknown model 'phot': did you mean 'photo'"):
        ModelUnderTest("phot")


def test_scores_are_those_of_the_exact_model_unless_told_otherwise(monkeypatch):
    seen = []
    monkeypatch.setattr(model, "open_engine", lambda name, choice, **given: seen.append(given) or Blur())
    ModelUnderTest("x")
    ModelUnderTest("x", precision="int8", provider="cpu")
    assert [(given["precision"], given["provider"]) for given in seen] == [("fp32", None), ("int8", "cpu")]
