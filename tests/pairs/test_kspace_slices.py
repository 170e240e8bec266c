"""The MRI sample: two independent masks of one slice, and what was measured of the first."""

import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.mri import density, kept, spectrum_of, with_measured
from shotnoise.noise.gaussian import Gaussian
from shotnoise.pairs.kspace import KSpaceSlices
from shotnoise.pairs.sample import collate


def pictures(count=3, side=32):
    return [np.random.default_rng(seed).integers(0, 256, (1, side, side)).astype(np.uint8) for seed in range(count)]


def draw(source, seed=0):
    return source.draw(torch.Generator().manual_seed(seed))


def test_a_sample_is_what_it_says():
    source = KSpaceSlices(pictures=pictures(), noise=None, translate=5)
    sample = draw(source)
    assert [tuple(part.shape) for part in (sample.noisy, sample.target, sample.clean, sample.spectrum)] == [
        (1, 31, 31), (1, 31, 31), (1, 31, 31), (2, 31, 31),
    ]  # fmt: skip
    measured = sample.measured[0].numpy().astype(bool)
    assert np.array_equal(measured, measured[::-1, ::-1])
    signal = (sample.clean - 0.5)[0].numpy()
    spectrum = sample.spectrum[0].numpy() + 1j * sample.spectrum[1].numpy()
    np.testing.assert_allclose(spectrum, np.where(measured, spectrum_of(signal), 0), atol=1e-3)
    weighted = np.fft.ifft2(np.fft.ifftshift(spectrum / density(31, 31))).real
    np.testing.assert_allclose(sample.noisy[0], weighted, atol=1e-5)
    np.testing.assert_allclose(with_measured(signal, spectrum, measured), signal, atol=1e-5)
    assert not torch.equal(sample.noisy, sample.target)
    everything = KSpaceSlices(pictures=pictures(1), noise=None, translate=0, edge=1.0)
    torch.testing.assert_close(everything.to_unit(draw(everything).noisy, {}), draw(everything).clean)
    torch.testing.assert_close(draw(everything).clean[0], torch.from_numpy(pictures(1)[0][0, :31, :31]) / 255)


def test_clean_targets_change_nothing_else():
    noisy, clean = (
        KSpaceSlices(pictures=pictures(), noise=None, translate=9, clean_target=clean) for clean in (False, True)
    )
    for seed in range(5):
        first, second = draw(noisy, seed), draw(clean, seed)
        for name in ("noisy", "clean", "spectrum", "measured"):
            assert torch.equal(getattr(first, name), getattr(second, name))
        torch.testing.assert_close(second.target, second.clean - 0.5)


def test_the_two_masks_are_independent_and_as_dense_as_they_should_be():
    """Of a single bright pixel, whose spectrum is 1 everywhere: the weighted spectrum is mask / density."""
    picture = np.zeros((1, 15, 15), np.uint8)
    picture[0, 0, 0] = 255
    source = KSpaceSlices(pictures=[picture], noise=None, translate=0)
    probability, masks = density(15, 15), []
    for seed in range(600):
        sample = draw(source, seed)
        both = [spectrum_of(image[0].numpy() + 0.5).real * probability for image in (sample.noisy, sample.target)]
        masks.append(np.stack(both))
    masks = np.round(np.array(masks)) == 1
    rest = np.ones((15, 15), bool)
    rest[7, 7] = False  # the constant, which the black of -0.5 shifts
    mean = masks.mean(0)[:, rest]
    deviation = np.sqrt(probability * (1 - probability) / 600)[rest]
    assert np.all(np.abs(mean - probability[rest]) < 5 * deviation)
    together = (masks[:, 0] & masks[:, 1]).mean(0)[rest]
    squares = probability[rest] ** 2
    assert np.all(np.abs(together - squares) < 5 * np.sqrt(squares * (1 - squares) / 600) + 1e-3)
    assert kept(np.zeros((15, 15)), probability).all()


def test_slices_are_moved_around_the_border_in_training_only():
    picture = np.zeros((1, 33, 33), np.uint8)
    picture[0, 2, 3] = 255
    training = KSpaceSlices(pictures=[picture], noise=None, translate=4)
    places = {tuple(np.argwhere(draw(training, seed).clean[0].numpy() > 0.5)[0]) for seed in range(300)}
    assert {row for row, _ in places} == {31, 32, *range(7)}
    assert {column for _, column in places} == {32, *range(8)}
    assert KSpaceSlices.held_out(192) == {"translate": 0}
    held_out = KSpaceSlices(pictures=[picture], noise=None, **KSpaceSlices.held_out(192))
    assert np.argwhere(draw(held_out).clean[0].numpy() > 0.5).tolist() == [[2, 3]]


def test_samples_come_together_in_batches():
    source = KSpaceSlices(pictures=pictures(), noise=None, translate=0)
    batch = collate([draw(source, seed) for seed in range(3)])
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "noisy": (3, 1, 31, 31), "target": (3, 1, 31, 31), "clean": (3, 1, 31, 31),
        "spectrum": (3, 2, 31, 31), "measured": (3, 1, 31, 31),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise": Gaussian(sigma=25)}, "set noise: null"),
        ({"pictures": [*pictures(1), *pictures(1, 48)]}, "slices of 32x32, 48x48; expected 8-bit ones of one size"),
        ({"pictures": [np.zeros((1, 32, 32), np.float32)]}, "expected 8-bit ones of one size"),
        ({"translate": 16}, "pairs.translate is 16"),
        ({"edge": 0}, "pairs.edge is 0"),
    ],
)
def test_mistakes_are_named(options, words):
    with pytest.raises(RecipeError, match=words):
        KSpaceSlices(**{"pictures": pictures(), "noise": None, "translate": 4} | options)
