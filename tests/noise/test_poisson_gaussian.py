"""Moments, sources of parameters and the converter of the Poisson-Gaussian model."""

import math

import pytest
import torch

from shotnoise.errors import ProfileError, RecipeError
from shotnoise.noise import NOISE
from shotnoise.noise.iso import IsoDraw
from shotnoise.noise.poisson_gaussian import PoissonGaussian
from shotnoise.sensor.profile import Entry, NoiseProfile
from shotnoise.sensor.published import published_profile


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def profile(tmp_path):
    """k and s2 that differ from plane to plane."""
    entries = tuple(
        Entry(iso=iso, plane=plane, k=1e-6 * iso * (1 + 0.2 * i), s2=1e-9 * iso * (1 + i))
        for iso in (100, 1600)
        for i, plane in enumerate(("R", "Gr", "Gb", "B"))
    )
    path = tmp_path / "camera.yaml"
    NoiseProfile(entries=entries, black=(64.0,) * 4, white=1023.0).save(path)
    return str(path)


def test_moments_match_the_law_of_each_plane(profile):
    clean = torch.tensor([0.0, 0.02, 0.2, 0.8]).view(1, 4, 1, 1).expand(8, -1, 160, 160)
    noise = PoissonGaussian(profile=profile, iso=1600)
    strength = noise.draw(8, generator())
    k, s2 = noise.law(strength).double().unbind(1)
    torch.testing.assert_close(k[0].flatten(), 1.6e-3 * torch.tensor([1.0, 1.2, 1.4, 1.6]).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(s2[0].flatten(), 1.6e-6 * torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), rtol=1e-5, atol=0)
    error = (noise.sample(clean, generator(), strength) - clean).double()
    expected = (k * clean + s2)[0, :, 0, 0]
    assert (error.mean((0, 2, 3)).abs() < 4 * (expected / (8 * 160**2)).sqrt()).all()
    torch.testing.assert_close(error.var((0, 2, 3)), expected, rtol=0.02, atol=0)
    torch.testing.assert_close(noise.variance(clean)[0, :, 0, 0].double(), expected, rtol=1e-5, atol=0)


def test_what_the_published_phone_does_at_iso_400():
    noise = PoissonGaussian(profile="oppo-reno-10x", iso=400)
    k, s2 = noise.law(noise.draw(1, generator()))[0, :, 0, 0, 0].tolist()
    assert (k, s2) == pytest.approx((2.5912e-4, 5.3215e-7), rel=1e-4)


def test_the_unprocessing_law():
    noise = PoissonGaussian(unprocessing=True)
    k, s2 = noise.law(noise.draw(5000, generator()))[:, :, 0, 0, 0].double().unbind(1)
    assert float(k.log().min()) == pytest.approx(math.log(1e-4), abs=0.01)
    assert float(k.log().max()) == pytest.approx(math.log(0.012), abs=0.01)
    assert float(k.log().mean()) == pytest.approx(math.log(1e-4 * 0.012) / 2, abs=4 * 4.79 / (12 * 5000) ** 0.5)
    rest = s2.log() - 2.18 * k.log() - 1.20
    assert float(rest.mean()) == pytest.approx(0, abs=4 * 0.26 / 5000**0.5)
    assert float(rest.std()) == pytest.approx(0.26, rel=4 / 10_000**0.5)


def test_counts_are_whole_and_the_converter_ends_at_black_and_white():
    clean = torch.tensor([0.0, 0.3, 0.9, 1.0]).view(1, 4, 1, 1).expand(4, -1, 64, 64)
    noise = PoissonGaussian(k=0.02, electrons=3, counts=200, saturate=True, pedestal=0.05)
    noisy = noise.sample(clean, generator())
    torch.testing.assert_close((noisy * 200).round() / 200, noisy, rtol=0, atol=1e-6)
    assert float(noisy.min()) == pytest.approx(-0.05)
    assert noisy.max() == 1
    assert PoissonGaussian(k=0.02, electrons=3).sample(clean, generator()).max() > 1


def test_black_without_read_noise_stays_black_and_negative_signal_stays():
    noise = PoissonGaussian(k=0.05, electrons=0)
    assert not noise.sample(torch.zeros(1, 4, 8, 8), generator()).any()
    below = torch.full((1, 4, 8, 8), -0.1)
    assert torch.equal(noise.sample(below, generator()), below)


def test_isos_are_drawn_by_octaves_evenly_or_from_a_list():
    known = published_profile("oppo-reno-10x")
    octaves, even = IsoDraw(known, [100, 6400], "log"), IsoDraw(known, [100, 6400], "uniform")
    assert octaves.at(0.5) == pytest.approx(800)
    assert even.at(0.5) == pytest.approx(3250)
    listed = IsoDraw(known, [1600, 100, 400], "log")
    assert [listed.at(share) for share in (0, 0.4, 0.99)] == [100, 400, 1600]
    assert listed.spread() == [100, 400, 1600]
    assert IsoDraw(known, 400, "log").at(0.3) == pytest.approx(400)
    assert len(IsoDraw(known, None, "log").spread(9)) == 9
    without = NoiseProfile(entries=(Entry(k=1e-3, s2=1e-6),))
    assert IsoDraw(without, None, "log").at(0.5) is None


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, RecipeError, "needs one source of its parameters"),
        ({"k": 0.1, "unprocessing": True}, RecipeError, "needs one source"),
        ({"k": 0.1, "iso": 100}, RecipeError, r"noise\.iso goes with noise\.profile"),
        ({"k": 0}, RecipeError, "k is 0; expected a number > 0"),
        ({"k": 0.1, "pedestal": -1}, RecipeError, "pedestal is -1"),
        ({"profile": "oppo-reno-10x", "iso_draw": "linear"}, RecipeError, "iso_draw is 'linear'"),
        ({"profile": "oppo-reno-10x", "iso": [100, 99999]}, ProfileError, "ISO 99999 is outside"),
        ({"profile": "oppo-reno-10x", "iso": [100, 200, "auto"]}, RecipeError, "iso is auto"),
        ({"profile": "oppo-reno-10y"}, ProfileError, "did you mean 'oppo-reno-10x'"),
    ],
)
def test_nonsense_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        NOISE.create("poisson-gaussian", arguments)
