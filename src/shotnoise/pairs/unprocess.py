"""From a display picture back to what a sensor would have counted: the inverse of a simple camera.

T. Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, arXiv 1811.11127. Steps, constants and the
distributions of the camera's parameters are the paper's; the mosaic comes out as packed planes R, Gr, Gb, B.
"""

from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["Camera", "camera_of", "draw_camera", "unprocess"]

# XYZ -> camera of the four cameras that the paper mixes
_XYZ_TO_CAMERA = torch.tensor(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.613, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.838, -0.263, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.097, 0.1581, 0.5181]],
    ]
)
_SRGB_TO_XYZ = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_NEARLY_WHITE = 0.9


class Camera(NamedTuple):
    """One invented camera: display colours to its own (rows sum to 1), and its gains."""

    rgb_to_camera: Tensor
    rgb_gain: Tensor
    red_gain: Tensor
    blue_gain: Tensor


def draw_camera(generator: torch.Generator) -> Camera:
    """A random mixture of four real colour matrices, and random gains."""
    weights = torch.rand(4, generator=generator)
    return camera_of(weights, float(torch.randn((), generator=generator)), *torch.rand(2, generator=generator).tolist())


def camera_of(weights: ArrayLike, normal: float, red: float, blue: float) -> Camera:
    """The camera for numbers that were drawn elsewhere.

    Args:
        weights: four, from the uniform distribution on 0..1.
        normal: from the standard normal distribution.
        red: from the uniform one.
        blue: likewise.
    """
    mixed = torch.as_tensor(weights, dtype=torch.float32)[:, None, None]
    matrix = (mixed * _XYZ_TO_CAMERA).sum(0) / mixed.sum() @ _SRGB_TO_XYZ
    matrix = matrix / matrix.sum(1, keepdim=True)
    gain = 1 / max(0.8 + 0.1 * normal, 0.4)
    return Camera(matrix, torch.tensor(gain), torch.tensor(1.9 + 0.5 * red), torch.tensor(1.5 + 0.4 * blue))


def unprocess(picture: Tensor, camera: Camera) -> Tensor:
    """(3, 2H, 2W) display values in 0..1 -> (4, H, W) linear counts in 0..1 of an RGGB sensor."""
    x = 0.5 - torch.sin(torch.asin((1 - 2 * picture).clamp(-1, 1)) / 3)  # the tone curve was a smoothstep
    x = x.clamp(min=1e-8) ** 2.2
    x = torch.einsum("ij,jhw->ihw", camera.rgb_to_camera, x).clamp(0, 1)
    x = _without_gains(x, camera)
    return torch.stack((x[0, ::2, ::2], x[1, ::2, 1::2], x[1, 1::2, ::2], x[2, 1::2, 1::2]))


def _without_gains(x: Tensor, camera: Camera) -> Tensor:
    """Divided by the gains, but what is nearly white stays so: a saturated sensor is what made it white."""
    gains = torch.stack((1 / camera.red_gain, torch.ones(()), 1 / camera.blue_gain)) / camera.rgb_gain
    gains = gains[:, None, None]
    gray = x.mean(0, keepdim=True)
    white = ((gray - _NEARLY_WHITE).clamp(min=0) / (1 - _NEARLY_WHITE)) ** 2
    return x * torch.maximum(white + (1 - white) * gains, gains)
