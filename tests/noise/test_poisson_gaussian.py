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


def test_the_levels_of_brooks():
    noise = PoissonGaussian(levels="brooks")
    k, s2 = noise.law(noise.draw(5000, generator()))[:, :, 0, 0, 0].double().unbind(1)
    assert float(k.log().min()) == pytest.approx(math.log(1e-4), abs=0.01)
    assert float(k.log().max()) == pytest.approx(math.log(0.012), abs=0.01)
    assert float(k.log().mean()) == pytest.approx(math.log(1e-4 * 0.012) / 2, abs=4 * 4.79 / (12 * 5000) ** 0.5)
    rest = s2.log() - 2.18 * k.log() - 1.20
    assert float(rest.mean()) == pytest.approx(0, abs=4 * 0.26 / 5000**0.5)
    assert float(rest.std()) == pytest.approx(0.26, rel=4 / 10_000**0.5)


@pytest.mark.parametrize(
    ("levels", "shots", "line", "mean", "spread", "ends"),
    [
        ("dnd", (1e-4, 0.012), (2.18, 1.20, 0.26), -5.24, 1.33, (-8.4, -2.3)),
        ("sidd", (6.8674e-4, 0.02194856), (1.85, 0.30, 0.20), -4.16, 0.83, None),
    ],
)
def test_the_levels_of_cycleisp(levels, shots, line, mean, spread, ends):
    """Decimal logarithms; the numbers at the end were measured on the authors' distributions over as many draws."""
    noise = PoissonGaussian(levels=levels)
    k, s2 = noise.law(noise.draw(20_000, generator()))[:, :, 0, 0, 0].double().log10().unbind(1)
    slope, offset, deviation = line
    assert 10 ** float(k.min()) == pytest.approx(shots[0], rel=0.003)
    assert 10 ** float(k.max()) == pytest.approx(shots[1], rel=0.003)
    rest = s2 - slope * k - offset
    assert float(rest.mean()) == pytest.approx(0, abs=4 * deviation / 20_000**0.5)
    assert float(rest.std()) == pytest.approx(deviation, rel=4 / 40_000**0.5)
    assert float(s2.mean()) == pytest.approx(mean, abs=0.03)
    assert float(s2.std()) == pytest.approx(spread, abs=0.02)
    if ends is not None:
        assert (float(s2.min()), float(s2.max())) == pytest.approx(ends, abs=0.25)


def test_the_base_of_the_logarithm_matters():
    """The same line in decimal logarithms: read noise of 4.8 times the variance at the same shot noise."""
    laws = [
        noise.law(noise.draw(20_000, generator()))[:, :, 0, 0, 0].double().log().unbind(1)
        for noise in (PoissonGaussian(levels=levels) for levels in ("brooks", "dnd"))
    ]
    (k, natural), (same, decimal) = laws
    assert torch.equal(k, same)
    assert math.exp(float((decimal - natural).mean())) == pytest.approx(10**1.2 / math.e**1.2, rel=0.02)


@pytest.mark.parametrize("levels", ["brooks", "dnd", "sidd"])
def test_the_variance_of_levels_is_the_mean_of_what_is_drawn(levels):
    noise = PoissonGaussian(levels=levels, shot="gaussian")
    clean = torch.tensor([0.0, 0.1, 0.4, 1.0]).view(1, 4, 1, 1)
    k, s2 = noise.law(noise.draw(200_000, generator())).double().unbind(1)
    torch.testing.assert_close(
        noise.variance(clean).double(), (k * clean + s2).mean(0, keepdim=True), rtol=0.05, atol=0
    )


def test_read_noise_given_as_a_variance():
    noise = PoissonGaussian(k=0.01, s2=1e-4)
    k, s2 = noise.law(noise.draw(1, generator()))[0, :, 0, 0, 0].tolist()
    assert (k, s2) == pytest.approx((0.01, 1e-4))
    noise = PoissonGaussian(k=[1e-3, 1e-2], s2=[1e-6, 1e-4])
    s2 = noise.law(noise.draw(4000, generator()))[:, 1, 0, 0, 0]
    assert 1e-6 <= s2.min() <= s2.max() <= 1e-4
    assert float(s2.log10().mean()) == pytest.approx(-5, abs=0.05)
    assert noise.variance(torch.zeros(1, 4, 1, 1)).flatten().tolist() == pytest.approx([float(s2.mean())] * 4, rel=0.05)


def test_normal_noise_has_the_same_variance_and_no_skew():
    clean = torch.tensor([0.0, 0.02, 0.2, 0.8]).view(1, 4, 1, 1).expand(4, -1, 160, 160)
    for shot, lobsided in (("gaussian", 0.0), ("poisson", 1.0)):
        noise = PoissonGaussian(k=0.05, s2=1e-3, shot=shot)
        error = (noise.sample(clean, generator()) - clean).double()
        expected = noise.variance(clean)[0, :, 0, 0].double()
        assert (error.mean((0, 2, 3)).abs() < 4 * (expected / (4 * 160**2)).sqrt()).all()
        torch.testing.assert_close(error.var((0, 2, 3)), expected, rtol=0.03, atol=0)
        third = (error**3).mean((0, 2, 3))  # k^2 x for photons
        torch.testing.assert_close(third[2:], lobsided * 0.05**2 * clean[0, 2:, 0, 0].double(), rtol=0.15, atol=8e-5)


def test_clipped_as_cycleisp_trains():
    clean = torch.rand(2, 4, 32, 32)
    options = {"levels": "dnd", "shot": "gaussian"}
    free, clipped = (
        PoissonGaussian(**options, **ends).sample(clean, generator())
        for ends in ({}, {"saturate": True, "pedestal": 0})
    )
    assert free.min() < 0
    assert torch.equal(clipped, free.clamp(0, 1))


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
        ({"k": 0.1, "levels": "dnd"}, RecipeError, r"needs one source .* levels: brooks \| dnd \| sidd"),
        ({"levels": "brook"}, RecipeError, r"noise\.levels is 'brook': did you mean 'brooks'"),
        ({"levels": "dnd", "electrons": 2}, RecipeError, r"noise\.electrons and noise\.s2 go with noise\.k"),
        ({"k": 0.1, "s2": 0.1, "electrons": 2}, RecipeError, "both say how large the read noise is; give one"),
        ({"k": 0.1, "s2": -1}, RecipeError, "s2 is -1; expected a number >= 0"),
        ({"k": 0.1, "shot": "normal"}, RecipeError, "shot is 'normal'; expected poisson or gaussian"),
        ({"k": 0.1, "iso": 100}, RecipeError, r"noise\.iso goes with noise\.profile"),
        ({"levels": "dnd", "iso_draw": "uniform"}, RecipeError, r"noise\.iso_draw goes with noise\.profile"),
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
