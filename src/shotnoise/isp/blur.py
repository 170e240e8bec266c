"""Gaussian blur, and the reflection that goes with it."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["blur", "gaussian_kernel", "reflected"]


def gaussian_kernel(size: int, sigma: float) -> Tensor:
    """(size, size) float32 weights that sum to 1, the largest in the middle."""
    distance = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    line = (-distance.square() / (2 * sigma**2)).exp()
    kernel = torch.outer(line, line)
    return (kernel / kernel.sum()).float()


def reflected(x: Tensor, rows: int, columns: int) -> Tensor:
    """Continued by so many rows above and below, and columns left and right, mirrored about the outermost sample.

    Colours of a mosaic keep their places. A picture smaller than the margin is mirrored several times.
    """
    for axis, margin in ((-2, rows), (-1, columns)):
        if margin:
            size = x.shape[axis]
            last = torch.arange(size, device=x.device)[-1:]  # a tensor, so that an exported file keeps its size free
            period = (2 * last).clamp(min=1)
            place = torch.arange(-margin, size + margin, device=x.device) % period
            x = x.index_select(axis, torch.minimum(place, period - place))
    return x


def blur(picture: Tensor, size: int = 5, sigma: float = 1.0) -> Tensor:
    """(B, C, H, W), each channel blurred by a Gaussian of so many pixels, reflected at the edges.

    The defaults are those with which CycleISP takes the noise off photographs before it learns from them.
    """
    channels = picture.shape[1]
    kernel = gaussian_kernel(size, sigma).to(picture).expand(channels, 1, size, size)
    return F.conv2d(reflected(picture, size // 2, size // 2), kernel, groups=channels)
