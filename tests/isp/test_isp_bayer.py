"""Unification, augmentation and blur against the original implementation, and what they promise in general."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shotnoise.errors import PictureError
from shotnoise.images.raw.bayer import PATTERNS, sites
from shotnoise.isp import augment, blur, gaussian_kernel, unify
from shotnoise.isp.blur import reflected

WAYS = [(down, right, swap) for down in (0, 1) for right in (0, 1) for swap in (0, 1)]


@pytest.fixture(scope="module")
def golden(shared):
    data = load_file(shared / "golden" / "cycleisp_bayer_blur.safetensors")
    return {name: value.permute(2, 0, 1) if value.ndim == 3 else value for name, value in data.items()}


def colours(pattern, height=8, width=10):
    """A mosaic that says at each site which plane it belongs to."""
    table = torch.empty(height, width)
    for plane, (row, column) in enumerate(sites(pattern)):
        table[row::2, column::2] = plane
    return table


@pytest.mark.shared
@pytest.mark.parametrize("how", ["crop", "pad"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_unify_is_the_original(golden, pattern, how):
    for kind in ("raw", "rgb"):
        assert torch.equal(unify(golden[f"input_{kind}"], pattern, how=how), golden[f"unify_{pattern}_{how}/{kind}"])


@pytest.mark.shared
@pytest.mark.parametrize(("down", "right", "swap"), WAYS)
def test_augment_is_the_original(golden, down, right, swap):
    for kind in ("raw", "rgb"):
        turned = augment(golden[f"input_{kind}"], down=bool(down), right=bool(right), swap=bool(swap))
        assert torch.equal(turned, golden[f"aug_{down}{right}{swap}/{kind}"])


@pytest.mark.shared
def test_kernels_and_blur_are_the_original(golden):
    for size, sigma in ((5, 1), (21, 12), (21, 5)):
        torch.testing.assert_close(gaussian_kernel(size, sigma), golden[f"gauss_{size}_{sigma}"], atol=1e-6, rtol=0)
    torch.testing.assert_close(blur(golden["input_rgb"][None])[0], golden["blur_5_1"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("how", ["crop", "pad"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_everything_becomes_rggb(pattern, how):
    unified = unify(colours(pattern), pattern, how=how)
    assert torch.equal(unified, colours("RGGB", *unified.shape))


@pytest.mark.parametrize(("down", "right", "swap"), WAYS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_turn_stays_rggb(pattern, down, right, swap):
    """Transposing exchanges the two greens, never red and blue."""
    turned = augment(colours(pattern), pattern, down=bool(down), right=bool(right), swap=bool(swap))
    expected = colours("RGGB", *turned.shape)
    if swap:
        expected = torch.tensor([0.0, 2.0, 1.0, 3.0])[expected.long()]
    assert torch.equal(turned, expected)


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (4, 0), (10, 10), (0, 30)])
def test_reflection_is_that_of_numpy(rows, columns):
    x = np.random.default_rng(0).random((2, 5, 4))
    expected = np.pad(x, ((0, 0), (rows, rows), (columns, columns)), mode="reflect")
    np.testing.assert_array_equal(reflected(torch.from_numpy(x), rows, columns), expected)


def test_the_wide_kernel_is_nearly_a_mean():
    kernel = gaussian_kernel(21, 12)
    assert float(kernel.sum()) == pytest.approx(1)
    assert float(kernel[10, 10]) == pytest.approx(0.0028886, abs=1e-7)
    assert float(kernel[0, 0]) == pytest.approx(0.0014424, abs=1e-7)


def test_refusals():
    with pytest.raises(PictureError, match="pattern 'RGBG'; expected one of RGGB, GRBG, GBRG, BGGR"):
        unify(torch.zeros(4, 4), "RGBG")
    with pytest.raises(PictureError, match="how is 'cut'; expected crop or pad"):
        unify(torch.zeros(4, 4), "RGGB", how="cut")
    with pytest.raises(PictureError, match="a mosaic of 3x4; expected even sides"):
        augment(torch.zeros(3, 4), down=True)
