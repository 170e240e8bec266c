"""Invented cameras: colours and gains as T. Brooks et al. draw them.

"Unprocessing Images for Learned Raw Denoising", CVPR 2019, arXiv 1811.11127. The inverse of the total gain is normal
about 0.8 with deviation 0.1; here it stops at 0.4, which one draw in 30,000 would pass.
"""

from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["Camera", "camera_of", "draw_cameras"]

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


class Camera(NamedTuple):
    """One camera for each picture of a batch.

    Attributes:
        rgb_to_camera: (B, 3, 3) from linear display colours to its own; rows sum to 1, so that gray stays gray.
        rgb_gain: (B,) by which it brightens all colours.
        red_gain: (B,) of red over green.
        blue_gain: (B,) of blue over green.
    """

    rgb_to_camera: Tensor
    rgb_gain: Tensor
    red_gain: Tensor
    blue_gain: Tensor

    @property
    def balance(self) -> Tensor:
        """(B, 3): the gains of red and blue, and 1 for green."""
        return torch.stack((self.red_gain, torch.ones_like(self.red_gain), self.blue_gain), dim=1)


def draw_cameras(count: int, generator: torch.Generator) -> Camera:
    """So many cameras: random mixtures of four real colour matrices, and random gains."""
    drawn = []
    for _ in range(count):
        weights = torch.rand(4, generator=generator, device=generator.device).cpu()
        normal = torch.randn((), generator=generator, device=generator.device)
        red, blue = torch.rand(2, generator=generator, device=generator.device).tolist()
        drawn.append(camera_of(weights, float(normal), red, blue))
    return Camera(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))


def camera_of(weights: ArrayLike, normal: float, red: float, blue: float) -> Camera:
    """The camera, for a batch of one picture, for numbers that were drawn elsewhere.

    Args:
        weights: four, from the uniform distribution on 0..1.
        normal: from the standard normal distribution.
        red: from the uniform one.
        blue: likewise.
    """
    mixed = torch.as_tensor(weights, dtype=torch.float32)[:, None, None]
    matrix = (mixed * _XYZ_TO_CAMERA).sum(0) / mixed.sum() @ _SRGB_TO_XYZ
    matrix = matrix / matrix.sum(1, keepdim=True)
    gains = (1 / max(0.8 + 0.1 * normal, 0.4), 1.9 + 0.5 * red, 1.5 + 0.4 * blue)
    return Camera(matrix[None], *(torch.tensor([gain]) for gain in gains))
