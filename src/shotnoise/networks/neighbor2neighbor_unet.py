"""The U-Net of Neighbor2Neighbor.

Huang, Li, Jia, Lu, Liu: "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images", CVPR 2021,
arXiv 2101.02824; the network follows Laine et al. 2019. Target with its own method: Kodak24 32.08 dB, BSD300
30.79 dB at sigma 25.

Differences from the authors' code: the output padding of the transposed convolutions is 0, where they pass a boolean
that current PyTorch refuses. The tail is 96 features wide whatever `n_feature` is, as there. The weights start at a
tenth of the Kaiming scale, so a fresh network is nearly the zero function.
1,259,475 parameters at 48 features, 19.47 GMAC at 256x256. Reference code: BSD-3-Clause. Key names are the
official ones.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.networks.network import Network

__all__ = ["Neighbor2NeighborUNet"]

_TAIL = 96


def _conv(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=1)


class _Up(nn.Module):
    """Double the size with a transposed convolution, then append the skip."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(features, features, 2, stride=2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat((self.deconv(x), skip), dim=1)


class Neighbor2NeighborUNet(Network):
    """Five poolings, additive nothing: the picture is predicted directly.

    Args:
        in_nc: channels of the noisy picture.
        out_nc: channels of the result.
        n_feature: features of the encoder; the decoder has twice as many.
    """

    source: ClassVar[str] = "Huang et al., CVPR 2021"
    multiple = 32

    def __init__(self, *, in_nc: int = 3, out_nc: int = 3, n_feature: int = 48) -> None:
        super().__init__()
        self.channels = in_nc
        f, f2, f3 = n_feature, 2 * n_feature, 3 * n_feature
        self.enc_conv0 = _conv(in_nc, f)
        self.enc_conv1 = _conv(f, f)
        self.enc_conv2 = _conv(f, f)
        self.enc_conv3 = _conv(f, f)
        self.enc_conv4 = _conv(f, f)
        self.enc_conv5 = _conv(f, f)
        self.enc_conv6 = _conv(f, f)
        self.up5 = _Up(f)
        self.dec_conv5a = _conv(f2, f2)
        self.dec_conv5b = _conv(f2, f2)
        self.up4 = _Up(f2)
        self.dec_conv4a = _conv(f3, f2)
        self.dec_conv4b = _conv(f2, f2)
        self.up3 = _Up(f2)
        self.dec_conv3a = _conv(f3, f2)
        self.dec_conv3b = _conv(f2, f2)
        self.up2 = _Up(f2)
        self.dec_conv2a = _conv(f3, f2)
        self.dec_conv2b = _conv(f2, f2)
        self.up1 = _Up(f2)
        self.dec_conv1a = _conv(f2 + in_nc, _TAIL)
        self.dec_conv1b = _conv(_TAIL, _TAIL)
        self.nin_a = nn.Conv2d(_TAIL, _TAIL, 1)
        self.nin_b = nn.Conv2d(_TAIL, _TAIL, 1)
        self.nin_c = nn.Conv2d(_TAIL, out_nc, 1)
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.kaiming_normal_(layer.weight)
                    layer.weight.mul_(0.1)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        def act(x: Tensor) -> Tensor:
            return F.leaky_relu(x, 0.2)

        pool1 = F.max_pool2d(act(self.enc_conv1(act(self.enc_conv0(noisy)))), 2)  # (B, F, H/2, W/2)
        pool2 = F.max_pool2d(act(self.enc_conv2(pool1)), 2)  # (B, F, H/4, W/4)
        pool3 = F.max_pool2d(act(self.enc_conv3(pool2)), 2)
        pool4 = F.max_pool2d(act(self.enc_conv4(pool3)), 2)
        pool5 = F.max_pool2d(act(self.enc_conv5(pool4)), 2)  # (B, F, H/32, W/32)
        x = act(self.enc_conv6(pool5))
        x = act(self.dec_conv5b(act(self.dec_conv5a(self.up5(x, pool4)))))  # (B, 2F, H/16, W/16)
        x = act(self.dec_conv4b(act(self.dec_conv4a(self.up4(x, pool3)))))
        x = act(self.dec_conv3b(act(self.dec_conv3a(self.up3(x, pool2)))))
        x = act(self.dec_conv2b(act(self.dec_conv2a(self.up2(x, pool1)))))  # (B, 2F, H/2, W/2)
        x = act(self.dec_conv1b(act(self.dec_conv1a(self.up1(x, noisy)))))  # (B, 96, H, W)
        x = act(self.nin_b(act(self.nin_a(x))))
        result: Tensor = self.nin_c(x)
        return result

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read channels and features off the first and last convolution."""
        if "up5.deconv.weight" not in state or "nin_c.weight" not in state or "enc_conv0.weight" not in state:
            return None
        if state["nin_a.weight"].shape[1] != _TAIL:  # the blind-spot variant sees four rotations
            return None
        first, last = state["enc_conv0.weight"], state["nin_c.weight"]
        return {"in_nc": first.shape[1], "out_nc": last.shape[0], "n_feature": first.shape[0]}
