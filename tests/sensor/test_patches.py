"""Mending single frames, and the rules for patches."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotnoise.errors import PictureError
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.patches import PatchRules, clean_planes, patch_is_clean

LAW = NoiseLaw((2e-3,) * 4, (1e-5,) * 4)


def noisy(clean, seed=0, law=LAW):
    rng = np.random.default_rng(seed)
    k, s2 = law.k[0], law.s2[0]
    return (k * rng.poisson(clean / k) + np.sqrt(s2) * rng.standard_normal(clean.shape)).astype(np.float32)


@pytest.fixture
def smooth():
    rows, cols = np.mgrid[:96, :128]
    plane = 0.25 + 0.2 * np.sin(rows / 17) * np.cos(cols / 23)
    return np.stack([plane, 0.9 * plane, 0.9 * plane, 0.6 * plane])


def test_the_filter_takes_noise_away_and_keeps_the_mean(smooth):
    given_planes = noisy(smooth)
    found = clean_planes(given_planes, LAW).planes
    before, after = (np.mean((one - smooth) ** 2) for one in (given_planes, found))
    assert after < 0.15 * before
    for plane in range(4):
        assert abs((found - given_planes)[plane].mean()) < 4 * np.sqrt(before / smooth[0].size)


def test_the_filter_keeps_an_edge(smooth):
    smooth[:, :, 60:] += 0.4
    found = clean_planes(noisy(smooth), LAW).planes
    jump = found[:, 10:-10, 60].mean() - found[:, 10:-10, 59].mean()
    assert jump == pytest.approx(0.4, abs=0.04)


def test_without_noise_nothing_is_changed(smooth):
    planes = smooth.astype(np.float32)
    law = NoiseLaw((1e-12,) * 4, (0.0,) * 4)
    for how in ("filter", "none"):
        np.testing.assert_allclose(clean_planes(planes, law, how=how).planes, planes, atol=3e-6)


def test_half_size_keeps_the_colours_where_they_are_in_the_mosaic():
    """A ramp over the mosaic is a ramp over the smaller mosaic: no colour has moved against another."""
    rows, cols = np.mgrid[:64, :80].astype(np.float32)
    mosaic = (0.3 * rows + 0.1 * cols) / 64
    planes = np.stack([mosaic[row::2, col::2] for row in (0, 1) for col in (0, 1)])
    law = NoiseLaw((1e-12,) * 4, (0.0,) * 4)
    half = clean_planes(planes, law, how="half").planes
    assert half.shape == (4, 16, 20)
    smaller = np.empty((32, 40), np.float32)
    for plane, (row, col) in zip(half, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        smaller[row::2, col::2] = plane
    np.testing.assert_allclose(np.diff(smaller, axis=0), 0.6 / 64, atol=1e-6)
    np.testing.assert_allclose(np.diff(smaller, axis=1), 0.2 / 64, atol=1e-6)


def test_half_size_leaves_39_percent_of_the_variance():
    flat = np.full((4, 128, 128), 0.3)
    found = clean_planes(noisy(flat), LAW, how="half").planes
    assert found.var() / LAW.variance(np.array(0.3)) == pytest.approx(0.390625, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(0, 11), st.integers(0, 15), st.sampled_from([-0.15, 0.5]))
def test_a_defect_pixel_is_mended_wherever_it_is(plane, row, col, height):
    clean = np.full((4, 12, 16), 0.2)
    law = NoiseLaw((2e-4,) * 4, (1e-6,) * 4)
    planes = noisy(clean, 1, law)
    planes[plane, row, col] = 0.2 + height
    before = planes.copy()
    found = clean_planes(planes, law, how="none")
    assert found.repaired == 1
    assert abs(found.planes[plane, row, col] - 0.2) < 0.1
    assert np.array_equal(planes, before)
    changed = found.planes != planes
    assert changed.sum() == 1


def test_detail_in_more_than_one_colour_is_no_defect():
    planes = noisy(np.full((4, 32, 32), 0.2))
    planes[:, 10, 10] = 0.8
    planes[:3, 20, 20] = 0.7
    assert clean_planes(planes, LAW, how="none").repaired == 0


def test_patches_are_dropped_for_a_reason_and_counted(smooth):
    rng = np.random.default_rng(0)
    quiet = (smooth + 0.001 * rng.standard_normal(smooth.shape)).astype(np.float32)
    counts = Counter()
    assert patch_is_clean(quiet, counts=counts)
    assert not patch_is_clean(quiet + 0.01 * rng.standard_normal(smooth.shape), counts=counts)
    lamp = quiet.copy()
    lamp[:, :20, :20] = 1
    assert not patch_is_clean(lamp, counts=counts)
    assert not patch_is_clean(np.full((4, 64, 64), 0.2) + 0.001 * rng.standard_normal((4, 64, 64)), counts=counts)
    assert counts == {"kept": 1, "noisy": 1, "saturated": 1, "flat": 1}
    assert patch_is_clean(np.full((4, 64, 64), 0.2), PatchRules(flat=0))
    assert patch_is_clean(lamp, PatchRules(saturated=0.1))
    assert PatchRules(noise=0.02).problem(quiet + 0.01 * rng.standard_normal(smooth.shape)) == ""


@pytest.mark.parametrize("sigma", [0.002, 0.01])
def test_the_noise_of_a_patch_is_measured_beside_its_detail(smooth, sigma):
    planes = smooth + sigma * np.random.default_rng(1).standard_normal(smooth.shape)
    planes[:, ::9] += 0.1
    assert PatchRules(noise=1.25 * sigma, flat=0).problem(planes) == ""
    assert PatchRules(noise=0.9 * sigma, flat=0).problem(planes) == "noisy"


def test_nonsense_is_refused(smooth):
    with pytest.raises(PictureError, match="how is 'blur'; expected 'filter', 'half' or 'none'"):
        clean_planes(smooth, LAW, how="blur")
    with pytest.raises(PictureError, match=r"shape \(96, 128\); expected \(4, H, W\)"):
        clean_planes(smooth[0], LAW)
