"""Undeveloping is the inverse of developing."""

import numpy as np
import pytest

from shotnoise.sensor.develop import Look
from shotnoise.sensor.undevelop import undevelop

MATRIX = np.array([[1.6, -0.4, -0.2], [-0.2, 1.5, -0.3], [0.0, -0.5, 1.5]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("exposure", [0.5, 1.0, 1.25])
def test_developed_again_it_is_the_same_picture(dtype, exposure):
    look = Look((1.8, 1.0, 1.4), MATRIX, exposure)
    # what a sensor with this white balance can say: no balanced colour above full
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max * 6 // 10, (40, 50, 3)).astype(dtype)
    rgb = undevelop(pixels, look).astype(np.float32)
    again = look.render(rgb, dtype).astype(int)
    assert np.abs(again - pixels).max() <= (0 if dtype is np.uint8 else 4)


def test_gray_is_gray_to_the_balanced_camera():
    look = Look((2.0, 1.0, 1.5), MATRIX)
    gray = undevelop(np.full((1, 1, 3), 0.5), look)[0, 0] * look.white_balance
    np.testing.assert_allclose(gray, ((0.5 + 0.055) / 1.055) ** 2.4)
