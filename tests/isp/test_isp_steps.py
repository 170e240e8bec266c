"""Every step of the simple camera, both ways, against numbers computed from the paper's formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from shotnoise.errors import PictureError
from shotnoise.isp import Camera, camera_of, demosaic, draw_cameras, mosaic, process, unprocess
from shotnoise.isp.steps import (
    colours,
    gains,
    gamma,
    tone_curve,
    undo_colours,
    undo_gains,
    undo_gamma,
    undo_tone_curve,
)
from shotnoise.sensor import develop

seeds = st.integers(0, 2**32)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random(seed, *shape):
    return torch.rand(*shape, generator=seeded(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def golden(shared):
    data = load_file(shared / "golden" / "unprocess_steps.safetensors")
    return {name: value.permute(2, 0, 1)[None] if value.ndim == 3 else value for name, value in data.items()}


@pytest.fixture(scope="module")
def camera(golden):
    return Camera(golden["rgb2cam"][None], *(golden[name] for name in ("rgb_gain", "red_gain", "blue_gain")))


def close(result, expected):
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


@pytest.mark.shared
def test_the_way_to_raw(golden, camera):
    close(undo_tone_curve(golden["input"].clamp(0, 1)), golden["step1_inverse_smoothstep"])
    close(undo_gamma(golden["step1_inverse_smoothstep"]), golden["step2_gamma_expansion"])
    close(undo_colours(golden["step2_gamma_expansion"], camera), golden["step3_ccm"])
    close(undo_gains(golden["step3_ccm"], camera).clamp(0, 1), golden["step4_inverse_gains"])
    close(mosaic(golden["step4_inverse_gains"]), golden["step5_mosaic"])
    close(unprocess(golden["input"], camera), golden["step5_mosaic"])
    close(unprocess(golden["input"].float(), camera).double(), golden["step5_mosaic"])


@pytest.mark.shared
def test_the_way_back(golden, camera):
    balanced = gains(golden["step5_mosaic"], camera).clamp(0, 1)
    close(balanced, golden["process1_white_balance"])
    close(demosaic(balanced), golden["process2_demosaic"])
    close(colours(golden["process2_demosaic"], camera).clamp(0, 1), golden["process3_ccm"])
    close(gamma(golden["process3_ccm"]), golden["process4_gamma"])
    close(process(golden["step5_mosaic"], camera), golden["process4_gamma"])


@pytest.mark.shared
def test_the_colour_matrix_mixes_as_the_paper_does(golden):
    matrix = camera_of(golden["weights"], 0.0, 0.0, 0.0).rgb_to_camera
    close(matrix[0].double(), golden["rgb2cam"])
    close(torch.linalg.inv(matrix[0].double()), golden["cam2rgb"])
    close(matrix.sum(2), torch.ones(1, 3))


def test_gains_lie_where_the_paper_draws_them():
    cameras = draw_cameras(300, seeded())
    assert 1.9 <= cameras.red_gain.min() < 1.95 < 2.35 < cameras.red_gain.max() <= 2.4
    assert 1.5 <= cameras.blue_gain.min() < 1.55 < 1.85 < cameras.blue_gain.max() <= 1.9
    inverse = (1 / cameras.rgb_gain).numpy()
    assert inverse.mean() == pytest.approx(0.8, abs=0.02)
    assert inverse.std() == pytest.approx(0.1, abs=0.015)
    assert camera_of([1, 1, 1, 1], -9.0, 0.0, 0.0).rgb_gain.item() == pytest.approx(2.5)  # and not below zero


def test_cameras_come_one_after_the_other():
    """So that a sample is the same whatever batch it is drawn in."""
    generator = seeded(3)
    together, single = draw_cameras(3, seeded(3)), [draw_cameras(1, generator) for _ in range(3)]
    for part, parts in zip(together, zip(*single, strict=True), strict=True):
        assert torch.equal(part, torch.cat(parts))


def test_every_picture_has_the_camera_of_its_place():
    x, cameras = random(0, 3, 3, 8, 6), draw_cameras(3, seeded())
    raw = unprocess(x, cameras)
    back = process(raw, cameras, tone=True, rgb_gain=True)
    for i in range(3):
        own = Camera(*(part[i : i + 1] for part in cameras))
        close(unprocess(x[i : i + 1], own), raw[i : i + 1])
        close(process(raw[i : i + 1], own, tone=True, rgb_gain=True), back[i : i + 1])


def test_white_stays_white_and_black_black():
    camera = camera_of([1, 1, 1, 1], 0.0, 0.5, 0.5)
    assert unprocess(torch.ones(1, 3, 4, 4), camera).min() > 0.999
    assert unprocess(torch.zeros(1, 3, 4, 4), camera).max() < 1e-6
    white = torch.ones(1, 4, 2, 2)
    close(process(white, camera, tone=True, rgb_gain=True), torch.ones(1, 3, 4, 4))


@settings(deadline=None, max_examples=30)
@given(seed=seeds)
def test_each_step_undoes_its_inverse(seed):
    x, camera = random(seed, 2, 3, 6, 8), draw_cameras(2, seeded(seed))
    torch.testing.assert_close(tone_curve(undo_tone_curve(x)), x, atol=1e-12, rtol=0)
    torch.testing.assert_close(undo_tone_curve(tone_curve(x)), x, atol=1e-7, rtol=0)
    torch.testing.assert_close(gamma(undo_gamma(x)), x.clamp(1e-8**2.2), atol=3e-4, rtol=0)  # where it is below 1e-8
    torch.testing.assert_close(undo_gamma(gamma(x)), x.clamp(1e-8), atol=1e-12, rtol=0)
    torch.testing.assert_close(colours(undo_colours(x, camera), camera), x, atol=1e-12, rtol=0)
    dark = 0.85 * x  # their mean is below what counts as nearly white
    torch.testing.assert_close(gains(mosaic(undo_gains(dark, camera)), camera, rgb_gain=True), mosaic(dark))
    for filling in ("bilinear", "gradient"):
        torch.testing.assert_close(mosaic(demosaic(mosaic(x), filling)), mosaic(x), atol=1e-15, rtol=0)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, level=st.floats(0.01, 0.8))
def test_a_plain_colour_comes_back(seed, level):
    """Nothing is lost in the mosaic there: what remains is the arithmetic."""
    camera = draw_cameras(4, seeded(seed))
    camera = camera._replace(rgb_gain=camera.rgb_gain.clamp(min=1.05))  # below 1 bright values are beyond the sensor
    colour = level * (0.7 + 0.3 * random(seed, 4, 3, 1, 1))
    x = colour.expand(4, 3, 4, 4)
    torch.testing.assert_close(process(unprocess(x, camera), camera, tone=True, rgb_gain=True), x, atol=1e-6, rtol=0)
    single = process(unprocess(x.float(), camera), camera, tone=True, rgb_gain=True)
    torch.testing.assert_close(single.double(), x, atol=2e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(seed=seeds, rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_filling_in_is_linear_between_own_samples(seed, rows, columns):
    """Against interpolation of each plane on its own sites, without the turns."""
    planes = random(seed, 1, 4, rows, columns)

    def filled(plane, row, column):
        table = np.apply_along_axis(
            lambda line: np.interp(np.arange(2 * rows), 2 * np.arange(rows) + row, line), 0, plane
        )
        return np.apply_along_axis(
            lambda line: np.interp(np.arange(2 * columns), 2 * np.arange(columns) + column, line), 1, table
        )

    red, upper, lower, blue = (filled(planes[0, i].numpy(), i // 2, i % 2) for i in range(4))
    green = (upper + lower) / 2
    green[::2, 1::2], green[1::2, ::2] = upper[::2, 1::2], lower[1::2, ::2]
    np.testing.assert_allclose(demosaic(planes)[0], np.stack((red, green, blue)), atol=1e-12)


def test_filling_in_by_gradients_is_that_of_the_developer():
    """Two implementations of one paper: this one, and the one on arrays that takes the sites one by one."""
    mosaic_of = torch.rand(1, 1, 10, 14, generator=seeded())
    filled = demosaic(torch.nn.functional.pixel_unshuffle(mosaic_of, 2), "gradient")[0].permute(1, 2, 0)
    np.testing.assert_allclose(filled, develop.demosaic(mosaic_of[0, 0].numpy(), "RGGB"), atol=1e-6)


def test_gradients_are_those_of_the_formulas():
    camera = draw_cameras(1, seeded(1))
    x = (0.1 + 0.6 * random(2, 1, 3, 2, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: unprocess(x, camera), x)
    raw = (0.05 + 0.2 * random(2, 1, 4, 1, 2)).requires_grad_()
    every = {"tone": True, "rgb_gain": True, "filling": "gradient"}
    assert torch.autograd.gradcheck(lambda raw: process(raw, camera, **every), raw)
    assert torch.autograd.gradcheck(lambda raw: process(raw, camera), raw)


@pytest.mark.parametrize("value", [0.0, 1e-9, 1.0, -0.5, 1.5])
def test_gradients_are_finite_at_the_ends(value):
    camera = draw_cameras(1, seeded())
    x = torch.full((1, 3, 4, 4), value, requires_grad=True)
    process(unprocess(x, camera), camera, tone=True, rgb_gain=True).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_type_is_kept(dtype):
    camera = draw_cameras(1, seeded())
    raw = unprocess(torch.rand(1, 3, 4, 4).to(dtype), camera)
    assert raw.dtype == dtype
    assert process(raw, camera).dtype == dtype


@pytest.mark.parametrize("shape", [(1, 3, 5, 4), (1, 3, 4, 5), (1, 4, 4, 4), (3, 4, 4)])
def test_what_has_no_whole_cells_is_refused(shape):
    with pytest.raises(PictureError, match=r"expected RGB \(B, 3, H, W\) with even sides: crop a row"):
        unprocess(torch.rand(shape), draw_cameras(1, seeded()))


def test_an_unknown_way_to_fill_in():
    with pytest.raises(PictureError, match="filling 'cubic'; expected bilinear or gradient"):
        demosaic(torch.rand(1, 4, 2, 2), "cubic")
