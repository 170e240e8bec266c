"""The denoiser of "unprocessing": a plain U-Net on RAW that is told the variance of every value.

Brooks, Mildenhall, Xue, Chen, Sharlet, Barron: "Unprocessing Images for Learned Raw Denoising", CVPR 2019, arXiv
1811.11127. Stated targets, not confirmed: DND 48.89 dB in RAW, 40.35 dB after rendering. Trained with an L1 loss
between rendered pictures.

The variance is the square of the level. Pictures are doubled as early TensorFlow did it: every second sample is an old
one, those between are means of two, the last one is repeated. Key names are ours, since the published weights are for
TensorFlow. 11,776,708 parameters, 19.55 GMAC for 4 planes of 256x256. Reference code: Apache-2.0, of which nothing is
used here.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.isp.mosaic import doubled
from shotnoise.networks.network import Network

__all__ = ["UnprocessingDenoiser"]


def _stage(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for planes in (inside, outside, outside):
        layers += [nn.Conv2d(planes, outside, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers)


def _up(x: Tensor, skip: Tensor) -> Tensor:
    return torch.cat((doubled(doubled(x, 2), 3), skip), dim=1)


class UnprocessingDenoiser(Network):
    """noisy + correction(noisy, variance).

    Args:
        in_nc: planes of the packed picture.
        width: features of the finest scale; each coarser one has twice as many.
    """

    source: ClassVar[str] = "Brooks et al., CVPR 2019"
    multiple = 16
    level = "sigma"

    def __init__(self, *, in_nc: int = 4, width: int = 32) -> None:
        super().__init__()
        self.channels = in_nc
        w1, w2, w3, w4, w5 = (width * 2**scale for scale in range(5))
        self.down1 = _stage(2 * in_nc, w1)
        self.down2 = _stage(w1, w2)
        self.down3 = _stage(w2, w3)
        self.down4 = _stage(w3, w4)
        self.bottom = _stage(w4, w5)
        self.up4 = _stage(w5 + w4, w4)
        self.up3 = _stage(w4 + w3, w3)
        self.up2 = _stage(w3 + w2, w2)
        self.up1 = _stage(w2 + w1, w1)
        self.last = nn.Conv2d(w1, in_nc, 3, padding=1)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        variance = self.level_map(noisy, level, self.channels).square()
        x1 = self.down1(torch.cat((noisy, variance), dim=1))  # (B, 2C, H, W) -> (B, w, H, W)
        x2 = self.down2(F.max_pool2d(x1, 2))
        x3 = self.down3(F.max_pool2d(x2, 2))
        x4 = self.down4(F.max_pool2d(x3, 2))
        x = self.bottom(F.max_pool2d(x4, 2))  # (B, 16w, H/16, W/16)
        x = self.up4(_up(x, x4))
        x = self.up3(_up(x, x3))
        x = self.up2(_up(x, x2))
        x = self.up1(_up(x, x1))
        correction: Tensor = self.last(x)
        return noisy + correction

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read planes and width off the first convolution."""
        first, last = state.get("down1.0.weight"), state.get("last.weight")
        if first is None or last is None or "bottom.4.weight" not in state:
            return None
        return {"in_nc": last.shape[0], "width": first.shape[0]}
