"""Resizing against stored results of the reference, against the definition and against what must hold."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from shotnoise.errors import PictureError
from shotnoise.images.resize import resize_bicubic


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("scale", ["0.25", "0.5"])
def test_golden(shared, number, scale):
    tensors = load_file(shared / "golden" / "invdn_imresize_metrics.safetensors")
    picture = tensors[f"{number}/clean"].astype(np.float32) / 255
    small = resize_bicubic(picture, float(scale))
    np.testing.assert_allclose(small, tensors[f"{number}/imresize_{scale}"], rtol=0, atol=1e-5)
    assert small.dtype == np.float32
    np.testing.assert_allclose(resize_bicubic(picture[..., 1], float(scale)), small[..., 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("scale", "length"), [(0.25, 13), (0.5, 7), (0.3, 20), (2.0, 6), (1.5, 5), (0.25, 2)])
def test_one_row_by_the_definition(scale, length):
    """Every output sample, written out: kernel stretched by 1/scale, samples mirrored, weights of sum 1."""
    row = np.random.default_rng(length).random(length)

    def kernel(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    mirrored = np.concatenate([row, row[::-1]])
    stretch = min(scale, 1)
    expected = []
    for x in range(1, int(np.ceil(length * scale)) + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)  # counted from 1, as in MATLAB
        places = range(int(u) - 20, int(u) + 20)
        weights = [kernel(stretch * (u - place)) for place in places]
        total = sum(
            weight * mirrored[(place - 1) % (2 * length)] for place, weight in zip(places, weights, strict=True)
        )
        expected.append(total / sum(weights))
    np.testing.assert_allclose(resize_bicubic(row[:, None], scale)[:, 0], expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(resize_bicubic(row[None], scale)[0], expected, rtol=0, atol=2e-6)


def test_a_flat_picture_stays_flat_and_nothing_is_clipped():
    assert np.allclose(resize_bicubic(np.full((9, 14, 3), 200.0), 0.25), 200)
    edge = np.repeat([0.0, 1.0], 16)[None].repeat(8, 0)
    small = resize_bicubic(edge, 0.25)
    assert small.min() < -0.01
    assert small.max() > 1.01


def test_errors():
    with pytest.raises(PictureError, match=r"shape \(0, 4\) cannot be resized; expected \(H, W\)"):
        resize_bicubic(np.zeros((0, 4)), 0.5)
    for scale in (0, -1, float("nan")):
        with pytest.raises(PictureError, match=f"resized by {scale}; expected a factor above 0"):
            resize_bicubic(np.zeros((4, 4)), scale)
