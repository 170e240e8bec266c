import numpy as np
import pytest
import torch

from shotnoise.pairs.unprocess import Camera, camera_of, draw_camera, unprocess


def golden(shared):
    from safetensors.torch import load_file

    return load_file(shared / "golden" / "unprocess_steps.safetensors")


def test_the_steps_of_the_paper(shared):
    data = golden(shared)
    gains = (data[name][0].float() for name in ("rgb_gain", "red_gain", "blue_gain"))
    planes = unprocess(data["input"].permute(2, 0, 1).float(), Camera(data["rgb2cam"].float(), *gains))
    assert torch.allclose(planes.double(), data["step5_mosaic"].permute(2, 0, 1), atol=1e-6)


def test_the_colour_matrix_mixes_as_the_paper_does(shared):
    data = golden(shared)
    matrix = camera_of(data["weights"], 0.0, 0.0, 0.0).rgb_to_camera
    assert torch.allclose(matrix.double(), data["rgb2cam"], atol=1e-6)
    assert torch.allclose(matrix.sum(1), torch.ones(3), atol=1e-6)


def test_gains_lie_where_the_paper_draws_them():
    generator = torch.Generator().manual_seed(0)
    cameras = [draw_camera(generator) for _ in range(300)]
    red, blue = (np.array([float(getattr(camera, name)) for camera in cameras]) for name in ("red_gain", "blue_gain"))
    inverse = np.array([1 / float(camera.rgb_gain) for camera in cameras])
    assert 1.9 <= red.min() < 1.95 < 2.35 < red.max() <= 2.4
    assert 1.5 <= blue.min() < 1.55 < 1.85 < blue.max() <= 1.9
    assert inverse.mean() == pytest.approx(0.8, abs=0.02)
    assert inverse.std() == pytest.approx(0.1, abs=0.015)


def test_white_stays_white_and_black_black():
    camera = camera_of([1, 1, 1, 1], 0.0, 0.5, 0.5)
    assert unprocess(torch.ones(3, 4, 4), camera).min() > 0.999
    assert unprocess(torch.zeros(3, 4, 4), camera).max() < 1e-6
