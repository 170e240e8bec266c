"""The four phases of a Bayer mosaic: nothing is lost, and every colour stays in its place."""

import numpy as np
import pytest
from foreign_dng import coloured
from hypothesis import given
from hypothesis import strategies as st

from shotnoise.images.raw import open_raw
from shotnoise.images.raw.bayer import PATTERNS, align, join, seen_from, sites, split

patterns = st.sampled_from(PATTERNS)


def letters(pattern, height, width):
    """The colour of every pixel."""
    cell = np.array([list(pattern[:2]), list(pattern[2:])])
    return np.tile(cell, (-(-height // 2), -(-width // 2)))[:height, :width]


@given(
    patterns, st.integers(1, 9), st.integers(1, 9), st.sampled_from(["u1", "u2", ">u2", "i8", "f4", "f8", "?"])
)  # fmt: skip
def test_split_and_join_are_inverses(pattern, rows, cols, dtype):
    mosaic = np.random.default_rng(rows * cols).integers(0, 250, (2 * rows, 2 * cols)).astype(dtype)
    planes = split(mosaic, pattern)
    assert planes.shape == (4, rows, cols)
    assert planes.dtype == mosaic.dtype
    again = join(planes, pattern)
    assert again.dtype == mosaic.dtype
    assert np.array_equal(again, mosaic)
    assert np.array_equal(split(again, pattern), planes)
    planes[:] = 0
    assert np.array_equal(again, mosaic)  # copies, not views


@pytest.mark.parametrize("pattern", PATTERNS)
def test_planes_are_red_green_green_blue(pattern):
    planes = split(coloured(pattern, 8, 6), pattern)
    assert [np.unique(plane).tolist() for plane in planes] == [[1000], [2000], [3000], [4000]]
    assert "".join(letters(pattern, 2, 2)[site] for site in sites(pattern)) == "RGGB"
    red, on_red_row, on_blue_row, blue = sites(pattern)
    assert red[0] == on_red_row[0]
    assert blue[0] == on_blue_row[0]


@given(patterns, st.integers(0, 5), st.integers(0, 5))
def test_the_pattern_of_a_crop(pattern, row, col):
    cropped = letters(pattern, 8, 8)[row:, col:]
    assert "".join(cropped[:2, :2].ravel()) == seen_from(pattern, row, col)


@given(patterns, st.integers(2, 13), st.integers(2, 13))
def test_align_makes_rggb_and_takes_it_back(pattern, height, width):
    mosaic = np.random.default_rng(0).integers(0, 65536, (height, width), dtype=np.uint16)
    aligned, alignment = align(mosaic, pattern)
    assert aligned.shape[0] % 2 == aligned.shape[1] % 2 == 0
    assert aligned.shape[0] - height in (0, 1, 2)
    assert seen_from("RGGB", alignment.top, alignment.left) == pattern
    assert np.array_equal(alignment.undo(aligned), mosaic)
    assert aligned.dtype == mosaic.dtype


@given(patterns, st.integers(2, 13), st.integers(2, 13))
def test_align_keeps_colours_apart(pattern, height, width):
    aligned, _ = align(coloured(pattern, height, width), pattern)
    assert [np.unique(plane).tolist() for plane in split(aligned, "RGGB")] == [[1000], [2000], [3000], [4000]]


def test_a_mosaic_that_fits_is_not_copied():
    mosaic = np.zeros((4, 6), np.float32)
    aligned, alignment = align(mosaic, "RGGB")
    assert aligned is mosaic
    assert alignment == (0, 0, 4, 6)


@pytest.mark.shared
def test_one_scene_under_two_patterns(shared):
    """The second file holds the samples of each cell at other places: same red and blue, greens exchanged."""
    one = open_raw(shared / "data/raw/nikon14_768x512_rggb.dng")
    other = open_raw(shared / "data/raw/nikon14_768x512_gbrg.dng")
    assert (one.pattern, other.pattern) == ("RGGB", "GBRG")
    planes = split(one.mosaic, one.pattern)
    assert np.array_equal(split(other.mosaic, other.pattern), planes[[0, 2, 1, 3]])
    assert planes.reshape(4, -1).mean(axis=1).round() == pytest.approx([2140, 1739, 1740, 1152], abs=1)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_samples_moved_inside_the_cell(pattern):
    """Files made by permuting the four planes of one RGGB file: whatever the name, red is red."""
    source = np.random.default_rng(1).integers(0, 999, (4, 3, 5), dtype=np.uint16)  # R, first green, second green, B
    greens = iter((source[1], source[2]))
    cells = [source[0] if letter == "R" else source[3] if letter == "B" else next(greens) for letter in pattern]
    mosaic = np.zeros((6, 10), np.uint16)
    for place, plane in enumerate(cells):
        mosaic[place // 2 :: 2, place % 2 :: 2] = plane
    red, gr, gb, blue = split(mosaic, pattern)
    assert np.array_equal(red, source[0])
    assert np.array_equal(blue, source[3])
    first, second = (gr, gb) if pattern in ("RGGB", "GRBG") else (gb, gr)
    assert np.array_equal(first, source[1])
    assert np.array_equal(second, source[2])
