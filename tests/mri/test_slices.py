"""Slices of volumes, as the published experiment prepares them."""

import numpy as np
import pytest

from shotnoise.errors import PictureError
from shotnoise.mri import BLACK, bordered, centred, odd, slices_of, to_signal
from shotnoise.mri.subjects import IXI, ixi_number


def test_slices_by_hand():
    """Over the maximum of the volume, in the middle of black, cut down to whole counts; negative values are black."""
    values = np.zeros((3, 4, 6))
    values[1, 2] = [0, 0, 127.5, 300, -8, 600]
    values[0, 0, 5] = 3
    made = dict(slices_of(values, first=1, stop=6, side=8))
    assert list(made) == [1, 2, 3, 4, 5]
    assert made[1] is None
    assert made[4] is None
    assert made[2].dtype == np.uint8
    assert made[2].shape == (8, 8)
    assert (made[2][3, 4], made[3][3, 4], made[5][3, 4], made[5][2, 2]) == (54, 127, 255, 1)  # 54.19, 127.5, 255, 1.28
    assert np.count_nonzero(made[2]) == 1


def test_nearly_empty_slices_are_left_out():
    values = np.zeros((4, 4, 3))
    values[0, 0] = [1.9, 2.1, 255]
    assert [None if counts is None else counts.max() for _, counts in slices_of(values, first=0, stop=3, side=4)] == [
        None, 2, 255,
    ]  # fmt: skip


def test_the_published_selection():
    values = np.ones((150, 256, 130))
    numbers = [number for number, _ in slices_of(values)]
    assert (numbers[0], numbers[-1], len(numbers)) == (25, 124, 100)
    assert next(slices_of(values))[1].shape == (256, 256)
    border = centred(np.ones((150, 255)), 256)
    assert (border[:53].max(), border[53:203, :255].min(), border[203:].max(), border[:, 255:].max()) == (0, 1, 0, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((4, 4, 20)), "the slices 25:125 are asked for, and it has 0:20"),
        (np.ones((300, 4, 130)), "its slices are 300x4; expected at most 256x256"),
        (np.zeros((4, 4, 130)), "its largest value is 0; expected a signal above 0"),
        (np.full((4, 4, 130), np.nan), "2080 of its values are not finite"),
    ],
)
def test_mistakes_are_named(values, words):
    with pytest.raises(PictureError, match=words):
        slices_of(values)


@pytest.mark.parametrize("height", range(1, 34))
def test_a_black_border_comes_off_again(height):
    for width in (1, 31, 32, 33):
        signal = np.random.default_rng(height).random((height, width)).astype(np.float32)
        seen = bordered(signal, 32)
        assert not any(side % 32 for side in seen.shape)
        np.testing.assert_array_equal(seen[:height, :width], signal)
        rest = seen.copy()
        rest[:height, :width] = BLACK
        assert np.all(rest == BLACK)
    assert bordered(signal, 32, (64, 96)).shape == (64, 96)
    with pytest.raises(PictureError, match=f"slices of {height}x33, and the model is fixed to 32x32"):
        bordered(signal, 32, (32, 32))


def test_signals():
    assert to_signal(np.array([0, 255], np.uint8)).tolist() == [BLACK, 0.5]
    assert [odd(np.zeros(shape)).shape for shape in ((64, 64), (63, 64), (2, 3, 9, 9))] == [
        (63, 63), (63, 63), (2, 3, 9, 9),
    ]  # fmt: skip


def test_the_published_subjects():
    assert (len(IXI["train"]), len(IXI["validation"])) == (50, 10)
    assert not set(IXI["train"]) & set(IXI["validation"])
    assert [ixi_number(name) for name in ("IXI064-Guys-0743-T1", "IXI64-x", "brain", "IXIabc-x")] == [
        64, None, None, None,
    ]  # fmt: skip
