"""The U-Net of the published RAW pipeline (HuiiJi/AISP), on packed Bayer planes.

Two convolutions per scale, five scales, a resampling that is itself learned. The published table gives it 43.58 dB and
SSIM 0.985 on a validation set that is not described further, and a cost that does not follow from the layers.

Differences: the original pads and crops inside, by up to 32 pixels; here the runner does, to a multiple of 16. Key
names are the published ones. 9,763,364 parameters, 19.08 GMAC for 4 planes of 256x256. The repository calls itself
MIT; nothing of it is used.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shotnoise.networks.network import Network

__all__ = ["RawUNet"]


def _stage(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(outside, outside, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class _Down(nn.Module):
    """Half the size; no activation, here or on the way up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 2, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(x)
        return result


class _Up(nn.Module):
    """Double the size by repeating pixels, mix, then append the skip."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2.0), nn.Conv2d(inside, outside, 3, padding=1))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat((self.up(x), skip), dim=1)


class RawUNet(Network):
    """noisy + correction(noisy).

    Args:
        in_nc: planes of the packed picture.
        width: features of the finest scale; each coarser one has twice as many.
    """

    source: ClassVar[str] = "HuiiJi/AISP, 2023"
    multiple = 16

    def __init__(self, *, in_nc: int = 4, width: int = 32) -> None:
        super().__init__()
        self.channels = in_nc
        w1, w2, w3, w4, w5 = (width * 2**scale for scale in range(5))
        self.conv_1 = _stage(in_nc, w1)
        self.pool1 = _Down(w1)
        self.conv_2 = _stage(w1, w2)
        self.pool2 = _Down(w2)
        self.conv_3 = _stage(w2, w3)
        self.pool3 = _Down(w3)
        self.conv_4 = _stage(w3, w4)
        self.pool4 = _Down(w4)
        self.conv_5 = _stage(w4, w5)
        self.upv6 = _Up(w5, w4)
        self.conv_6 = _stage(w5, w4)
        self.upv7 = _Up(w4, w3)
        self.conv_7 = _stage(w4, w3)
        self.upv8 = _Up(w3, w2)
        self.conv_8 = _stage(w3, w2)
        self.upv9 = _Up(w2, w1)
        self.conv_9 = _stage(w2, w1)
        self.conv_10 = nn.Conv2d(w1, in_nc, 1)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        skip1 = self.conv_1(noisy)  # (B, w, H, W)
        skip2 = self.conv_2(self.pool1(skip1))  # (B, 2w, H/2, W/2)
        skip3 = self.conv_3(self.pool2(skip2))
        skip4 = self.conv_4(self.pool3(skip3))
        x = self.conv_5(self.pool4(skip4))  # (B, 16w, H/16, W/16)
        x = self.conv_6(self.upv6(x, skip4))
        x = self.conv_7(self.upv7(x, skip3))
        x = self.conv_8(self.upv8(x, skip2))
        x = self.conv_9(self.upv9(x, skip1))  # (B, w, H, W)
        correction: Tensor = self.conv_10(x)
        return noisy + correction

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read planes and width off the first convolution."""
        first = state.get("conv_1.0.weight")
        if first is None or "pool1.down.1.weight" not in state or "upv6.up.1.weight" not in state:
            return None
        return {"in_nc": first.shape[1], "width": first.shape[0]}
