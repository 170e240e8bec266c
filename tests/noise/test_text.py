"""Coverage, colours and shapes of the text model."""

import pytest
import torch

from shotnoise.noise.text import Text


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("coverage", [0.1, 0.25, 0.5, 0.95])
def test_a_large_picture_is_covered_as_asked(coverage):
    clean = torch.full((1, 3, 256, 256), 2.0)  # a value that no random colour has
    noisy = Text(coverage=coverage).sample(clean, generator())
    changed = noisy != clean
    assert torch.equal(changed.all(1), changed.any(1))
    # One string decides: the longest in the largest size inks about 4000 pixels, a usual one below 1000.
    assert float(changed.float().mean()) == pytest.approx(coverage, abs=2000 / 256**2)


@pytest.mark.parametrize("shape", [(48, 64), (3, 5), (1, 1)])
def test_every_pixel_is_covered_with_the_asked_probability(shape):
    """Also at the borders, and in pictures smaller than a letter."""
    count = 600
    changed = Text(coverage=0.25).sample(torch.full((count, 1, *shape), 2.0), generator(1)) != 2.0
    share, per_pixel = changed.float().mean((1, 2, 3)), changed.float().mean(0)
    assert abs(float(share.mean()) - 0.25) < 4 * float(share.std()) / count**0.5
    assert (per_pixel - 0.25).abs().max() < 5 * (0.25 * 0.75 / count) ** 0.5


def test_neighbours_belong_together():
    """Unlike all pixelwise models: beside a covered pixel the next one is mostly covered too, in the same colour."""
    noisy = Text(coverage=0.25).sample(torch.full((1, 3, 256, 256), 2.0), generator())
    left, right = noisy[0, :, :, :-1], noisy[0, :, :, 1:]
    covered = left[0] != 2.0
    assert float((left == right).all(0)[covered].float().mean()) > 0.5
    colours = noisy[0].flatten(1).T.unique(dim=0)
    assert 10 < len(colours) < 200


def test_the_median_over_draws_is_the_clean_picture():
    clean = torch.rand(1, 1, 24, 24, generator=generator(5)).expand(301, -1, -1, -1)
    noisy = Text(coverage=(0, 0.5)).sample(clean, generator())
    assert torch.equal(noisy.median(0).values, clean[0])
