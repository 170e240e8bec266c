"""Noisy pairs and single noisy crops: what is drawn, in which order, and what the truth may know."""

import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise.bernoulli import Bernoulli
from shotnoise.noise.gaussian import Gaussian
from shotnoise.noise.poisson import Poisson
from shotnoise.pairs import PAIRS, SampleStream, collate
from shotnoise.pairs.clean import CleanPictures
from shotnoise.pairs.noisy_pairs import NoisyPairs
from shotnoise.pairs.sample import generator_for
from shotnoise.pairs.single_noisy import SingleNoisy


def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (3, 40, 60), dtype=np.uint8), rng.integers(0, 256, (3, 50, 33), dtype=np.uint8)]


def test_a_sample_of_a_seed_is_what_it_always_was():
    """Recomputed by hand, draw by draw: changing the order of the draws would change every recipe's numbers."""
    sample = SampleStream(CleanPictures(pictures=pictures(), noise=Gaussian(sigma=(0, 50)), crop=16), seed=5)[0]

    mixed = (5 * 0x9E3779B97F4A7C15 + 0x94D049BB133111EB) % 2**63
    generator = torch.Generator().manual_seed(mixed)
    below = lambda limit: int(torch.randint(limit, (), generator=generator))  # noqa: E731
    picture = pictures()[int(below(40 * 60 + 50 * 33) >= 40 * 60)]
    top, left, pose = below(picture.shape[1] - 15), below(picture.shape[2] - 15), below(8)
    clean = np.rot90(picture[:, top : top + 16, left : left + 16], pose % 4, (1, 2))
    clean = clean[:, :, ::-1] if pose >= 4 else clean
    clean = torch.from_numpy(clean.astype(np.float32) / np.float32(255))
    sigma = 50 * torch.rand(1, 1, 1, 1, generator=generator)
    noise = torch.randn(1, 3, 16, 16, generator=generator)[0]

    assert torch.equal(sample.target, clean)
    assert torch.equal(sample.level, sigma[0] / 255)
    assert torch.equal(sample.noisy, clean + sigma[0] / 255 * noise)


def test_every_window_is_possible_the_last_one_too():
    picture = np.arange(18 * 17, dtype=np.uint16).reshape(1, 18, 17)
    stream = SampleStream(NoisyPairs(pictures=[picture], noise=Gaussian(sigma=0), crop=16), seed=0)
    corners = {round(float(stream[number].clean[0, 0, 0]) * 65535) for number in range(100)}
    assert corners == {row * 17 + column for row in range(3) for column in range(2)}, "and never turned or mirrored"


def test_pairs_are_two_independent_draws_with_strengths_of_their_own():
    flat = [np.full((1, 64, 64), 128, np.uint8)]
    source = NoisyPairs(pictures=flat, noise=Gaussian(sigma=(0, 50)), crop=64)
    samples = [source.draw(generator_for(0, number)) for number in range(60)]
    first = np.array([float((s.noisy - s.clean).std()) for s in samples])
    second = np.array([float((s.target - s.clean).std()) for s in samples])
    levels = np.array([float(s.level) for s in samples])
    assert first == pytest.approx(levels, rel=0.08), "the level is that of the input"
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.3
    noises = torch.stack(
        [torch.stack(((s.noisy - s.clean).flatten(), (s.target - s.clean).flatten())) for s in samples]
    )
    assert abs(float((noises[:, 0] * noises[:, 1]).mean() / noises.square().mean())) < 0.01
    assert all(s.mask is None for s in samples)


@pytest.mark.parametrize("noise", [Gaussian(sigma=(0, 50)), Poisson(photons=(5, 50)), Bernoulli(missing=(0, 0.9))])
def test_a_clean_target_changes_nothing_but_the_target(noise):
    make = lambda clean: SampleStream(  # noqa: E731
        NoisyPairs(pictures=pictures(), noise=noise, crop=24, augment=True, clean_target=clean), seed=4
    )
    for number in range(20):
        noisy, clean = make(False)[number], make(True)[number]
        assert torch.equal(noisy.noisy, clean.noisy)
        assert torch.equal(noisy.clean, clean.clean)
        assert noisy.level is clean.level is None or torch.equal(noisy.level, clean.level)
        assert torch.equal(clean.target, clean.clean)
        assert not torch.equal(noisy.target, clean.target)
        assert clean.mask is None


def test_the_mask_is_that_of_the_target():
    source = NoisyPairs(pictures=[np.full((3, 32, 32), 200, np.uint8)], noise=Bernoulli(missing=0.5), crop=32)
    sample = source.draw(generator_for(0, 0))
    assert sample.mask.shape == (1, 32, 32)
    assert torch.equal(sample.target, sample.clean * sample.mask)
    assert not torch.equal(sample.noisy, sample.clean * sample.mask)
    assert collate([sample, sample])["mask"].shape == (2, 1, 32, 32)


def test_single_noisy_is_its_own_target():
    source = SingleNoisy(pictures=pictures(), noise=Gaussian(sigma=25), crop=32)
    sample = source.draw(generator_for(0, 0))
    assert torch.equal(sample.noisy, sample.target)
    assert float((sample.noisy - sample.clean).std()) == pytest.approx(float(sample.level), rel=0.1)
    with pytest.raises(RecipeError, match=r"leaves pixels out.*use pairs: \{name: noisy-pairs\}"):
        SingleNoisy(pictures=pictures(), noise=Bernoulli(missing=0.5), crop=32).draw(generator_for(0, 0))


def test_pictures_that_are_noisy_already_stay_as_they_are():
    def draw(noise):
        return SingleNoisy(pictures=pictures(), noise=noise, crop=33, simulate=False).draw(generator_for(0, 2))

    sample = draw(None)
    assert sample.clean is None
    assert sample.level is None
    assert torch.equal(sample.noisy, sample.target)
    windows = [np.lib.stride_tricks.sliding_window_view(p, (3, 33, 33)).reshape(-1, 3, 33, 33) for p in pictures()]
    assert any((np.round(sample.noisy.numpy() * 255) == w).all((1, 2, 3)).any() for w in windows)
    assert float(draw(Gaussian(sigma=25)).level) == pytest.approx(25 / 255)
    assert draw(Gaussian(sigma=25)).level.shape == (1, 1, 1)
    assert draw(Gaussian(sigma=(5, 50))).level is None, "a range says nothing about this picture"
    assert draw(Poisson(photons=30)).level is None


@pytest.mark.parametrize("channels", [4, 8])
def test_planes_of_mosaics_are_not_turned_like_pictures(channels):
    """They would not be RGGB any more: after half a turn red lies where blue was."""
    planes = [np.zeros((channels, 40, 40), np.float32)]
    for source in (SingleNoisy, NoisyPairs):
        source(pictures=planes, noise=None, crop=16, simulate=False)
        with pytest.raises(RecipeError, match=r"planes of a mosaic RGGB; set pairs.augment: false, or use pairs: raw"):
            source(pictures=planes, noise=None, crop=16, simulate=False, augment=True)


def test_options_are_checked():
    with pytest.raises(RecipeError, match="has no option 'clean_targets': did you mean 'clean_target'"):
        PAIRS.create("noisy-pairs", {"clean_targets": True}, pictures=pictures(), noise=Gaussian(sigma=1))
    with pytest.raises(RecipeError, match=r"the recipe has no noise; expected .*pairs.simulate: false"):
        SingleNoisy(pictures=pictures(), noise=None)
    with pytest.raises(RecipeError, match="none of the 2 training pictures is at least 256 x 256"):
        NoisyPairs(pictures=pictures(), noise=Gaussian(sigma=1))
    with pytest.raises(RecipeError, match="crop is 0"):
        NoisyPairs(pictures=pictures(), noise=Gaussian(sigma=1), crop=0)
