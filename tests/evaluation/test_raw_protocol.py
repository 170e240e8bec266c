import numpy as np
import pytest
from PIL import Image as PillowImage

from shotnoise.card import Card, Transform
from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol, model
from shotnoise.sensor.law import NoiseLaw


@pytest.fixture
def folder(tmp_path):
    pixels = np.random.default_rng(0).integers(40, 200, (5, 6, 3)).astype(np.uint8)
    picture = PillowImage.fromarray(pixels).resize((65, 49), PillowImage.Resampling.BICUBIC)
    picture.save(tmp_path / "a.png")
    return tmp_path


def trial(folder, name="raw/folder/iso1600", seed=0):
    return get_protocol(name).trial(folder / "a.png", 4, np.random.RandomState(seed))


def test_a_trial_is_whole_counts_of_a_ten_bit_sensor(folder):
    one = trial(folder)
    assert one.noisy.shape == (4, 24, 32)
    assert one.noisy.dtype == np.float32
    counts = one.noisy.astype(np.float64) * 959 + 64
    assert np.abs(counts - np.rint(counts)).max() < 1e-3
    assert isinstance(one.told, NoiseLaw)
    assert one.told.k[0] * 959 == pytest.approx(0.96793133, rel=1e-6)
    assert one.told.s2[0] * 959**2 == pytest.approx(2.97945289, rel=1e-6)


def test_the_noise_follows_the_law(folder):
    trials = [trial(folder, "raw/folder/iso3200", seed) for seed in range(60)]
    law = trials[0].told
    # the camera is drawn as well, so each is compared with its own truth
    normalised = [
        (t.noisy - t.clean.transpose(2, 0, 1))
        / np.sqrt(law.k[0] * t.clean.transpose(2, 0, 1) + law.s2[0] + 1 / 12 / 959**2)
        for t in trials
    ]
    assert np.mean(normalised) == pytest.approx(0, abs=0.01)
    assert np.std(normalised) == pytest.approx(1, abs=0.01)


def test_repeats_and_pictures_repeat_exactly(folder):
    assert np.array_equal(trial(folder, seed=3).noisy, trial(folder, seed=3).noisy)
    assert not np.array_equal(trial(folder, seed=3).noisy, trial(folder, seed=4).noisy)


def test_the_score_by_hand(folder):
    seen = []

    def halve(noisy, told):
        seen.append(told)
        return noisy / 2

    result = evaluate(halve, get_protocol("raw/folder/iso800"), folder, channels=4)
    one = get_protocol("raw/folder/iso800").trial(folder / "a.png", 4, np.random.RandomState(0))
    error = np.mean((np.clip(one.noisy / 2, 0, 1) - one.clean.transpose(2, 0, 1)) ** 2)
    assert result.rows[0].psnr == pytest.approx(-10 * np.log10(error), abs=1e-4)
    assert result.rows[0].height, result.rows[0].width == (24, 32)
    assert seen == [one.told]
    assert result.warnings == ()


def test_saved_pictures_can_be_looked_at(folder, tmp_path):
    out = tmp_path / "out"
    evaluate(lambda noisy, told: noisy, get_protocol("raw/folder/iso100"), folder, channels=4, save_pictures=out)
    saved = np.asarray(PillowImage.open(out / "noisy" / "a.png"))
    assert saved.shape == (24, 32, 3)
    original = np.asarray(PillowImage.open(folder / "a.png"))[:48:2, :64:2]
    assert np.corrcoef(saved.ravel(), original.ravel())[0, 1] > 0.8


class Remember:
    def __init__(self, **card):
        self.card = Card(**{"name": "same", "kind": "raw", "channels": 4, "multiple": 8} | card)

    def run(self, noisy, level=None):
        self.seen = noisy
        return noisy

    def describe(self):
        return {"engine": "same"}


def under_test(monkeypatch, engine):
    monkeypatch.setattr(model, "open_engine", lambda name, choice, **_: engine)
    return ModelUnderTest("same")


@pytest.mark.parametrize("root", [False, True])
def test_a_model_behind_the_transform(monkeypatch, folder, root):
    engine = Remember(k_sigma=Transform(gain=2, offset=1, root=root))
    one = trial(folder)
    result = under_test(monkeypatch, engine)(one.noisy, one.told)
    assert result == pytest.approx(one.noisy, abs=2e-6)
    if not root:
        law = one.told
        f = one.noisy / law.k[0] + law.s2[0] / law.k[0] ** 2
        assert engine.seen[0, :, :24, :32] == pytest.approx(2 * f + 1, rel=1e-5)


def test_who_can_be_measured_where():
    on_raw, on_pictures = get_protocol("raw/kodak24/iso800"), get_protocol("kodak24/gaussian25")
    assert on_raw.refusal("raw", "none") is None
    assert "measures on RAW; choose a protocol for pictures" in on_raw.refusal("rgb", "sigma")
    assert "measures on pictures; choose a protocol for raw data" in on_pictures.refusal("raw", "none")
    assert on_pictures.refusal("rgb", "sigma") is None
