"""An MRI model that puts the measured frequencies back itself: for programs that know what was measured.

Written into the graph are no complex numbers and no Fourier operator, which many runtimes lack, but the transform as
products with matrices of cosines and sines, which it makes for the size at hand.
"""

import math

import torch
from torch import Tensor, nn

from shotnoise.networks import Network

__all__ = ["WithMeasured"]


class WithMeasured(nn.Module):
    """The network, and what :func:`shotnoise.methods.kspace.put_back` does.

    Args:
        network: of one channel.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor, spectrum: Tensor, measured: Tensor) -> Tensor:
        """Restore slices.

        Args:
            noisy: (B, 1, H', W'), continued with black to sides that the network takes.
            spectrum: (B, 2, H, W), odd: real and imaginary part of what was measured, centred, 0 elsewhere.
            measured: (B, 1, H, W), 1 where that is.
        """
        height, width = measured.shape[2:]
        image = self.network(noisy)[:, :, :height, :width]
        (cos_h, sin_h), (cos_w, sin_w) = _waves(height, noisy), _waves(width, noisy)
        # exp(-i a) = cos a - i sin a along the columns, then along the rows
        above, below = cos_h @ image, sin_h @ image
        real = above @ cos_w.mT - below @ sin_w.mT
        imaginary = -(above @ sin_w.mT) - below @ cos_w.mT
        real = measured * spectrum[:, :1] + (1 - measured) * real
        imaginary = measured * spectrum[:, 1:] + (1 - measured) * imaginary
        # and back with exp(+i a), of which the real part is wanted
        across = real @ cos_w - imaginary @ sin_w, real @ sin_w + imaginary @ cos_w
        total = torch.ones_like(measured[:1]).sum()  # of the frequencies
        result: Tensor = (cos_h.mT @ across[0] - sin_h.mT @ across[1]) / total
        return result


def _waves(side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi (k - side // 2) x / side, (side, side) each, with the angle taken modulo a turn."""
    places = torch.arange(side, device=like.device)
    size = places[-1:] + 1  # the side as a tensor, which the exporter can calculate with
    turns = torch.remainder((places[:, None] - places[-1:] // 2) * places, size)
    angles = turns.to(like.dtype) * (2 * math.pi) / size
    return angles.cos(), angles.sin()
