"""The steps of a simple camera and their inverses: display values <-> counts of an RGGB sensor.

T. Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, arXiv 1811.11127. Tensors are
(B, 3, H, W), in any floating type; a :class:`Camera` has one entry for each picture.
"""

import torch
from torch import Tensor

from shotnoise.isp.camera import Camera
from shotnoise.isp.mosaic import Filling, check_rgb, demosaic, mosaic

__all__ = [
    "colours",
    "gains",
    "gamma",
    "process",
    "tone_curve",
    "undo_colours",
    "undo_gains",
    "undo_gamma",
    "undo_tone_curve",
    "unprocess",
]

_GAMMA = 2.2
_DARKEST = 1e-8  # below it the slope of the power is no use to anybody
_NEARLY_WHITE = 0.9


def unprocess(rgb: Tensor, camera: Camera) -> Tensor:
    """Display values (B, 3, 2h, 2w) in 0..1 -> packed planes (B, 4, h, w) in 0..1: linear counts, not balanced."""
    check_rgb(rgb)
    return mosaic(undo_gains(undo_colours(undo_gamma(undo_tone_curve(rgb)), camera), camera).clamp(0, 1))


def process(
    raw: Tensor, camera: Camera, *, tone: bool = False, rgb_gain: bool = False, filling: Filling = "bilinear"
) -> Tensor:
    """Packed planes (B, 4, h, w) -> display values (B, 3, 2h, 2w) in 0..1.

    As published neither the tone curve nor the total gain of :func:`unprocess` is undone, and colours are filled in by
    means of neighbours: results are darker, flatter and softer than the pictures that the planes came from.

    Args:
        raw: planes R, Gr, Gb, B.
        camera: whose white balance and colours to use.
        tone: apply the tone curve too.
        rgb_gain: apply the total gain too.
        filling: how missing colours are filled in, "bilinear" or "gradient".
    """
    balanced = gains(raw, camera, rgb_gain=rgb_gain).clamp(0, 1)
    rgb = gamma(colours(demosaic(balanced, filling), camera).clamp(0, 1))
    return tone_curve(rgb) if tone else rgb


def tone_curve(x: Tensor) -> Tensor:
    """3 x^2 - 2 x^3: darker shadows, brighter highlights."""
    return x * x * (3 - 2 * x)


def undo_tone_curve(x: Tensor) -> Tensor:
    """The inverse of :func:`tone_curve`; values outside 0..1 count as 0 and 1."""
    y = 1 - 2 * x
    inside = y.abs() < 1
    # At the ends the slope is infinite: gradients there are 0 instead, and never reach the arc sine.
    return torch.where(inside, 0.5 - torch.sin(torch.asin(torch.where(inside, y, 0)) / 3), (y < 0).to(x.dtype))


def gamma(x: Tensor) -> Tensor:
    """x^(1 / 2.2): linear light -> display values."""
    return x.clamp(min=_DARKEST) ** (1 / _GAMMA)


def undo_gamma(x: Tensor) -> Tensor:
    """x^2.2."""
    return x.clamp(min=_DARKEST) ** _GAMMA


def undo_colours(x: Tensor, camera: Camera) -> Tensor:
    """Linear display colours -> the camera's."""
    return torch.einsum("bij,bjhw->bihw", camera.rgb_to_camera.to(x), x)


def colours(x: Tensor, camera: Camera) -> Tensor:
    """The camera's colours -> linear display colours."""
    return torch.einsum("bij,bjhw->bihw", torch.linalg.inv(camera.rgb_to_camera.double()).to(x), x)


def gains(raw: Tensor, camera: Camera, *, rgb_gain: bool = False) -> Tensor:
    """Packed planes times the gains of red and blue, and times the total gain where asked; nothing is cut off."""
    red, green, blue = camera.balance.unbind(1)
    factors = torch.stack((red, green, green, blue), dim=1)
    if rgb_gain:
        factors = factors * camera.rgb_gain[:, None]
    return raw * factors.to(raw)[..., None, None]


def undo_gains(x: Tensor, camera: Camera) -> Tensor:
    """Divided by all gains, but what is nearly white stays so: a saturated sensor is what made it white."""
    inverse = (1 / camera.balance / camera.rgb_gain[:, None]).to(x)[..., None, None]
    gray = x.mean(1, keepdim=True)
    white = ((gray - _NEARLY_WHITE).clamp(min=0) / (1 - _NEARLY_WHITE)) ** 2
    return x * torch.maximum(white + (1 - white) * inverse, inverse)
