"""Random inputs belong to places: windows that overlap see the same values, and every run repeats the first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotnoise.card import Card
from shotnoise.engines.latent import check_seed, draw_latent, flat_level
from shotnoise.errors import RecipeError


def card(channels=2, reduction=4, **others):
    latent = {"channels": channels, "reduction": reduction}
    return Card(name="x", kind="rgb", channels=3, multiple=reduction, latent=latent, **others)


@given(
    st.integers(-40, 40),
    st.integers(-40, 40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**64 - 1),
    st.integers(0, 200),
)
@settings(max_examples=30, deadline=None)
def test_a_window_is_a_part_of_the_whole(top, left, height, width, seed, draw):
    whole = draw_latent(card(), (1, 3, 4 * 120, 4 * 120), seed=seed, draw=draw, origin=(-160, -160))
    part = draw_latent(card(), (1, 3, 4 * height, 4 * width), seed=seed, draw=draw, origin=(4 * top, 4 * left))
    assert part.shape == (1, 2, height, width)
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, whole[:, :, 40 + top : 40 + top + height, 40 + left : 40 + left + width])


def test_values_are_standard_normal_and_independent():
    shape = (1, 3, 1024, 1024)
    draws = [draw_latent(card(), shape, seed=seed, draw=draw) for seed, draw in ((0, 0), (0, 1), (1, 0))]
    rows = [*draws[0].reshape(2, -1), *draws[1].reshape(2, -1), *draws[2].reshape(2, -1)]
    rows += [draws[0][0, 0].T.ravel(), np.roll(draws[0][0, 0], 16, axis=1).ravel()]  # no block is another's
    count = len(rows[0])
    for row in rows:
        assert abs(row.mean()) < 5 / count**0.5
        assert abs(row.var() - 1) < 5 * (2 / count) ** 0.5
        assert abs((row**4).mean() - 3) < 5 * (96 / count) ** 0.5
    correlations = np.corrcoef(rows)[~np.eye(len(rows), dtype=bool)]
    assert np.abs(correlations).max() < 5 / count**0.5


def test_more_pictures_do_not_change_the_first():
    one, three = (draw_latent(card(), (count, 3, 40, 48)) for count in (1, 3))
    np.testing.assert_array_equal(three[:1], one)
    assert not np.array_equal(three[1], three[0])


def test_a_model_without_a_latent_gets_none():
    assert draw_latent(Card(name="x", kind="rgb", channels=3), (1, 3, 8, 8)) is None


def test_the_shape_of_one_level():
    shape = (2, 4, 6, 8)
    assert flat_level(Card(name="x", kind="raw", channels=4), shape, 0.1) is None
    assert flat_level(Card(name="x", kind="raw", channels=4, level="sigma"), shape, 0.1).shape == shape
    root = Card(name="x", kind="raw", channels=4, level="sigma", k_sigma={"root": True})
    assert flat_level(root, shape, 0.1).shape == (2, 1, 1, 1)
    assert flat_level(Card(name="x", kind="rgb", channels=3, level="sigma"), (2, 3, 6, 8), 0.1).max() == np.float32(0.1)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_that_are_none(seed):
    with pytest.raises(RecipeError, match="expected a whole number from 0 to"):
        check_seed(seed)
