"""Tiles partition the picture, all windows are alike, and a network over tiles gives the result of the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotnoise.errors import ModelError
from shotnoise.tiling import Plan, Tile, plan_tiles, read_tile

sizes = st.integers(1, 60)


@st.composite
def plans(draw) -> Plan:
    multiple = draw(st.sampled_from([1, 2, 3, 4, 8]))
    halo = draw(st.integers(0, 9))
    height, width = draw(sizes), draw(sizes)
    smallest = 2 * (-(-halo // multiple) * multiple) + multiple
    tile = draw(st.none() | st.integers(smallest, smallest + 30))
    return plan_tiles(height, width, multiple=multiple, halo=halo, tile=tile, budget=draw(st.integers(1, 4000)))


def network(picture: np.ndarray, halo: int, multiple: int) -> np.ndarray:
    """Zero-padded box sum of radius `halo`, plus the mean of each `multiple` x `multiple` cell of the grid.

    The first part stands for convolutions, the second for strides and transposed convolutions; it reaches no further
    than the cell.
    """
    height, width = picture.shape
    assert height % multiple == 0
    assert width % multiple == 0
    padded = np.pad(picture, halo)
    box = np.zeros_like(picture)
    for dy in range(2 * halo + 1):
        for dx in range(2 * halo + 1):
            box += (dy + 2 * dx + 1) * padded[dy : dy + height, dx : dx + width]
    cells = picture.reshape(height // multiple, multiple, width // multiple, multiple).mean((1, 3))
    return box + np.kron(cells, np.ones((multiple, multiple)))


def whole(picture: np.ndarray, multiple: int) -> np.ndarray:
    """The picture continued by mirroring to the next multiple, by numpy's own padding."""
    return np.pad(picture, [(0, -side % multiple) for side in picture.shape], mode="reflect")


@given(plans())
def test_tiles_partition_the_picture_with_one_window_shape(plan):
    count = np.zeros((plan.height, plan.width), int)
    for tile in plan.tiles:
        count[tile.write] += 1
        for axis, size in enumerate((plan.height, plan.width)):
            read, write = tile.read[axis], tile.write[axis]
            assert read.stop - read.start == plan.window[axis]
            assert read.start % plan.multiple == 0
            assert plan.window[axis] % plan.multiple == 0
            assert read.start >= 0
            assert read.stop <= -(-size // plan.multiple) * plan.multiple
            assert write.start == 0 or write.start >= read.start + plan.halo
            assert write.stop == size or write.stop <= read.stop - plan.halo
    assert (count == 1).all()


@given(plans(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_a_network_over_tiles_equals_the_whole(plan, seed):
    picture = np.random.default_rng(seed).random((plan.height, plan.width))
    reach = plan.halo
    expected = network(whole(picture, plan.multiple), reach, plan.multiple)[: plan.height, : plan.width]
    result = np.full_like(picture, np.nan)
    for tile in plan.tiles:
        result[tile.write] = network(read_tile(picture, tile), reach, plan.multiple)[tile.keep]
    np.testing.assert_allclose(result, expected, atol=1e-10)


@given(sizes, sizes, st.sampled_from([1, 2, 8, 16]), st.integers(1, 3))
def test_windows_mirror_over_the_border_and_keep_type_and_channels(height, width, multiple, channels):
    picture = np.arange(height * width * channels).reshape(height, width, channels).astype(np.uint16)
    (tile,) = plan_tiles(height, width, multiple=multiple, halo=5, budget=10**6).tiles
    window = read_tile(picture, tile)
    expected = np.pad(picture, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="reflect")
    assert window.dtype == np.uint16
    np.testing.assert_array_equal(window, expected)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 12), st.integers(0, 12))
def test_windows_may_begin_before_the_picture(height, width, top, left):
    picture = np.arange(height * width).reshape(height, width)
    tile = Tile((slice(-top, height + 3), slice(-left, width + 3)), (slice(0, height), slice(0, width)))
    np.testing.assert_array_equal(read_tile(picture, tile), np.pad(picture, ((top, 3), (left, 3)), mode="reflect"))


def test_a_window_inside_the_picture_is_no_copy():
    picture = np.zeros((64, 64), np.uint8)
    tile = plan_tiles(64, 64, multiple=8, halo=4, tile=32).tiles[0]
    assert np.shares_memory(read_tile(picture, tile), picture)


def test_automatic_windows_stay_in_the_budget_and_waste_little():
    for height, width in ((3000, 4000), (8700, 11600), (100, 40000), (40000, 100)):
        plan = plan_tiles(height, width, multiple=8, halo=72, budget=2**21)
        assert plan.window[0] * plan.window[1] <= 2**21
        assert plan.work < 1.25
        assert len({(t.read[0].stop - t.read[0].start, t.read[1].stop - t.read[1].start) for t in plan.tiles}) == 1


def test_full_width_strips_where_they_are_least_work():
    plan = plan_tiles(40000, 100, multiple=8, halo=72, budget=2**18)
    assert plan.window[1] == 104


def test_a_small_picture_is_one_window():
    assert plan_tiles(512, 768, multiple=8, halo=200).describe() == {
        "tiles": 1,
        "window": [512, 768],
        "halo": 200,
        "multiple": 8,
        "work": 1.0,
    }


def test_the_tile_asked_for_is_the_tile_used():
    plan = plan_tiles(1000, 1000, multiple=8, halo=16, tile=256)
    assert max(plan.window) <= 256
    assert min(plan.window) >= 224  # even windows, but no smaller than the count demands
    assert plan_tiles(100, 90, multiple=8, halo=16, tile=256).window == (104, 96)


def test_a_tile_without_room_for_its_halo_is_refused_in_one_line():
    with pytest.raises(ModelError, match=r"a tile of 64 pixels .* halo of 32 .* expected at least 72") as caught:
        plan_tiles(500, 500, multiple=8, halo=30, tile=64)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="a tile of 0 pixels"):
        plan_tiles(500, 500, tile=0)


def test_a_budget_smaller_than_the_halo_still_makes_progress():
    plan = plan_tiles(300, 300, multiple=4, halo=40, budget=10)
    assert plan.window == (84, 84)


@pytest.mark.parametrize("size", [(20, 24), (48, 40), (90, 100)])
def test_a_fixed_window_is_never_changed(size):
    """A model file fixed to one size gets windows of that size, and the parts still make up the picture."""
    plan = plan_tiles(*size, multiple=4, halo=6, window=(40, 48))
    covered = np.zeros(size, int)
    for tile in plan.tiles:
        covered[tile.write] += 1
        assert read_tile(np.zeros(size), tile).shape == (40, 48)
    assert (covered == 1).all()


def test_a_fixed_window_without_room_for_the_halo_is_refused():
    with pytest.raises(ModelError, match="the model is fixed to 16 pixels, which leaves nothing beside a halo of 8"):
        plan_tiles(100, 16, multiple=4, halo=8, window=(16, 16))
