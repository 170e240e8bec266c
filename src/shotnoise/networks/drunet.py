"""DRUNet: a wide residual U-Net that is told the noise level.

Zhang, Li, Zuo, Zhang, Van Gool, Timofte: "Plug-and-Play Image Restoration with Deep Denoiser Prior", IEEE Transactions
on Pattern Analysis and Machine Intelligence 2021, arXiv 2008.13751. One model for sigma 0 to 50: CBSD68 31.69 dB,
Kodak24 (500x500) 32.89 dB, gray BSD68 29.48 dB at sigma 25.

The published weights have no biases at all, so a picture and a level that are scaled together give a scaled result.
Their numbers come from four overlapping quarters of each picture; whole pictures or tiles with the measured context
give the network's own result. Colour: 32,640,960 parameters, 138.78 GMAC at 256x256. Reference code: MIT. Key names are
the official ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["DRUNet"]


class _Residual(nn.Module):
    """x + conv(act(conv(x)))."""

    def __init__(self, width: int, activation: nn.Module, *, bias: bool) -> None:
        super().__init__()
        conv1 = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        conv2 = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.res = nn.Sequential(conv1, activation, conv2)

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.res(x)
        return x + correction


def _down(fine: int, coarse: int, mode: str, *, bias: bool) -> list[nn.Module]:
    if mode == "strideconv":
        return [nn.Conv2d(fine, coarse, 2, stride=2, bias=bias)]
    if mode in ("avgpool", "maxpool"):
        pool = nn.AvgPool2d(2) if mode == "avgpool" else nn.MaxPool2d(2)
        return [pool, nn.Conv2d(fine, coarse, 3, padding=1, bias=bias)]
    raise ModelError(f"downsample_mode is '{mode}'; expected strideconv, avgpool or maxpool")


def _up(coarse: int, fine: int, mode: str, *, bias: bool) -> list[nn.Module]:
    if mode == "convtranspose":
        return [nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=bias)]
    if mode == "pixelshuffle":
        return [nn.Conv2d(coarse, 4 * fine, 3, padding=1, bias=bias), nn.PixelShuffle(2)]
    if mode == "upconv":
        return [nn.Upsample(scale_factor=2.0), nn.Conv2d(coarse, fine, 3, padding=1, bias=bias)]
    raise ModelError(f"upsample_mode is '{mode}'; expected convtranspose, pixelshuffle or upconv")


class DRUNet(Network):
    """The picture itself: the skips inside are sums, and none goes around everything.

    Args:
        in_nc: channels of the noisy picture, and one for the noise level; without that one the network is blind.
        out_nc: channels of the result.
        nc: features on the four scales.
        nb: residual blocks per scale.
        act_mode: R (ReLU) or L (leaky ReLU, slope 0.2).
        downsample_mode: strideconv, avgpool or maxpool.
        upsample_mode: convtranspose, pixelshuffle or upconv.
        bias: whether convolutions have one.
    """

    source: ClassVar[str] = "Zhang et al., IEEE TPAMI 2021"
    multiple = 8

    def __init__(
        self,
        *,
        in_nc: int = 4,
        out_nc: int = 3,
        nc: Sequence[int] = (64, 128, 256, 512),
        nb: int = 4,
        act_mode: str = "R",
        downsample_mode: str = "strideconv",
        upsample_mode: str = "convtranspose",
        bias: bool = False,
    ) -> None:
        super().__init__()
        if in_nc not in (out_nc, out_nc + 1):
            raise ModelError(f"in_nc is {in_nc}; expected {out_nc} (out_nc), or {out_nc + 1} with the noise level")
        if act_mode not in ("R", "L"):
            raise ModelError(f"act_mode is '{act_mode}'; expected R or L")
        if len(nc) != 4:
            raise ModelError(f"nc has {len(nc)} numbers; expected one for each of the four scales")
        self.channels = out_nc
        self.level = "sigma" if in_nc > out_nc else "none"
        w1, w2, w3, w4 = nc

        def blocks(width: int) -> list[nn.Module]:
            def activation() -> nn.Module:
                return nn.ReLU(inplace=True) if act_mode == "R" else nn.LeakyReLU(0.2, inplace=True)

            return [_Residual(width, activation(), bias=bias) for _ in range(nb)]

        def down(fine: int, coarse: int) -> nn.Sequential:
            return nn.Sequential(*blocks(fine), *_down(fine, coarse, downsample_mode, bias=bias))

        def up(coarse: int, fine: int) -> nn.Sequential:
            return nn.Sequential(*_up(coarse, fine, upsample_mode, bias=bias), *blocks(fine))

        self.m_head = nn.Conv2d(in_nc, w1, 3, padding=1, bias=bias)
        self.m_down1 = down(w1, w2)
        self.m_down2 = down(w2, w3)
        self.m_down3 = down(w3, w4)
        self.m_body = nn.Sequential(*blocks(w4))
        self.m_up3 = up(w4, w3)
        self.m_up2 = up(w3, w2)
        self.m_up1 = up(w2, w1)
        self.m_tail = nn.Conv2d(w1, out_nc, 3, padding=1, bias=bias)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        if self.level == "sigma":
            noisy = torch.cat((noisy, self.level_map(noisy, level)), dim=1)
        x1 = self.m_head(noisy)
        x2 = self.m_down1(x1)  # (B, w2, H/2, W/2)
        x3 = self.m_down2(x2)
        x4 = self.m_down3(x3)  # (B, w4, H/8, W/8)
        x = self.m_up3(self.m_body(x4) + x4)
        x = self.m_up2(x + x3)
        x = self.m_up1(x + x2)
        clean: Tensor = self.m_tail(x + x1)
        return clean

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read everything off keys and shapes, save pooling (taken for the mean) and leaky activations."""
        head, tail = state.get("m_head.weight"), state.get("m_tail.weight")
        if head is None or tail is None or "m_body.0.res.0.weight" not in state:
            return None
        nb = sum(key.startswith("m_body.") and key.endswith("res.0.weight") for key in state)
        rise = state.get("m_up1.0.weight")
        upsample = "upconv" if rise is None else "convtranspose" if rise.shape[2] == 2 else "pixelshuffle"
        widths = [state[f"m_down{scale}.0.res.0.weight"].shape[0] for scale in (1, 2, 3)]
        return {
            "in_nc": head.shape[1],
            "out_nc": tail.shape[0],
            "nc": [*widths, state["m_body.0.res.0.weight"].shape[0]],
            "nb": nb,
            "act_mode": "R",
            "downsample_mode": "strideconv" if f"m_down1.{nb}.weight" in state else "avgpool",
            "upsample_mode": upsample,
            "bias": "m_head.bias" in state,
        }
