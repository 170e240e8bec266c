"""FFDNet: a plain stack at half resolution that is told the noise level.

Zhang, Zuo, Zhang: "FFDNet: Toward a Fast and Flexible Solution for CNN based Image Denoising", IEEE Transactions on
Image Processing 2018, arXiv 1710.04026. One model for sigma 0 to 75: CBSD68 31.21 dB, Kodak24 (500x500) 32.13 dB,
gray BSD68 29.19 dB at sigma 25.

Differences: the original continues odd pictures by repeating their last row and column itself; here the runner
mirrors. A level that varies over the picture is averaged over the 2x2 pixels that share a position.
Colour (nc 96, nb 12): 852,108 parameters, 13.94 GMAC at 256x256; gray (nc 64, nb 15): 485,316 and 7.94. Reference
code: MIT. Key names are the official ones, the same as DnCNN's.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from shotnoise.errors import ModelError
from shotnoise.networks.dncnn import plain_stack, read_stack
from shotnoise.networks.network import Network

__all__ = ["FFDNet"]


class FFDNet(Network):
    """shuffle(stack(unshuffle(noisy), level)), the picture itself.

    Args:
        in_nc: channels of the noisy picture.
        out_nc: channels of the result; equal to `in_nc`.
        nc: features of the hidden layers.
        nb: number of convolutions.
        act_mode: R (ReLU), L (leaky ReLU, slope 0.2), BR or BL (batch norm before it).
    """

    source: ClassVar[str] = "Zhang et al., IEEE TIP 2018"
    multiple = 2
    level = "sigma"

    def __init__(self, *, in_nc: int = 3, out_nc: int = 3, nc: int = 96, nb: int = 12, act_mode: str = "R") -> None:
        super().__init__()
        if in_nc != out_nc:
            raise ModelError(f"FFDNet denoises: in_nc {in_nc} must equal out_nc {out_nc}")
        self.channels = in_nc
        self.model = plain_stack(4 * in_nc + 1, 4 * out_nc, nc, nb, act_mode)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        planes = F.pixel_unshuffle(noisy, 2)  # (B, C, H, W) -> (B, 4C, H/2, W/2)
        levels = F.avg_pool2d(self.level_map(noisy, level), 2)
        return F.pixel_shuffle(self.model(torch.cat((planes, levels), dim=1)), 2)

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """A stack that starts with four times the channels and one, and ends with four times the channels."""
        found = read_stack(state)
        if not found or found["in_nc"] != found["out_nc"] + 1 or found["out_nc"] % 4:
            return None
        return found | {"in_nc": found["out_nc"] // 4, "out_nc": found["out_nc"] // 4}
