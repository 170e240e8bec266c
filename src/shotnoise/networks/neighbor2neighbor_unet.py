"""The U-Net of Neighbor2Neighbor.

Huang, Li, Jia, Lu, Liu: "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images", CVPR 2021,
arXiv 2101.02824; the network follows Laine et al. 2019. Target with its own method: Kodak24 32.08 dB, BSD300
30.79 dB at sigma 25.

Differences from the authors' code: the output padding of the transposed convolutions is 0, where they pass a boolean
that current PyTorch refuses. The tail is 96 features wide whatever `n_feature` is, as there. The weights start at a
tenth of the Kaiming scale, so a fresh network is nearly the zero function. The blind-spot variant, which the paper
does not use for its own results, takes pictures of any proportion; theirs must be square.
1,259,475 parameters at 48 features, 19.47 GMAC at 256x256; blind-spot: 1,425,651 and 85.07 GMAC. Reference code:
BSD-3-Clause. Key names are the official ones.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.networks.network import Network

__all__ = ["Neighbor2NeighborUNet"]

_TAIL = 96


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class _UpwardConv(nn.Conv2d):
    """A 3x3 convolution of which a row sees itself and the two above, nothing below."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside, 3, padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 0, 2, 0)))


def _conv(inside: int, outside: int, *, upward: bool) -> nn.Conv2d:
    return _UpwardConv(inside, outside) if upward else nn.Conv2d(inside, outside, 3, padding=1)


def _lower(x: Tensor) -> Tensor:
    """Everything one row further down: row 0 is zero, the last row is gone."""
    return F.pad(x[:, :, :-1], (0, 0, 1, 0))


class _Up(nn.Module):
    """Double the size with a transposed convolution, then append the skip."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(features, features, 2, stride=2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat((self.deconv(x), skip), dim=1)


class Neighbor2NeighborUNet(Network):
    """Five poolings; the picture is predicted directly.

    Args:
        in_nc: channels of the noisy picture.
        out_nc: channels of the result.
        n_feature: features of the encoder; the decoder has twice as many.
        blindspot: never look at the pixel that is predicted. The network looks upwards only, at the picture in four
            rotations, and the last layers join what was seen in the four directions; that costs four times as much.
    """

    source: ClassVar[str] = "Huang et al., CVPR 2021"
    multiple = 32

    def __init__(self, *, in_nc: int = 3, out_nc: int = 3, n_feature: int = 48, blindspot: bool = False) -> None:
        super().__init__()
        self.channels = in_nc
        self.blindspot = blindspot
        conv = partial(_conv, upward=blindspot)
        f, f2, f3 = n_feature, 2 * n_feature, 3 * n_feature
        self.enc_conv0 = conv(in_nc, f)
        self.enc_conv1 = conv(f, f)
        self.enc_conv2 = conv(f, f)
        self.enc_conv3 = conv(f, f)
        self.enc_conv4 = conv(f, f)
        self.enc_conv5 = conv(f, f)
        self.enc_conv6 = conv(f, f)
        self.up5 = _Up(f)
        self.dec_conv5a = conv(f2, f2)
        self.dec_conv5b = conv(f2, f2)
        self.up4 = _Up(f2)
        self.dec_conv4a = conv(f3, f2)
        self.dec_conv4b = conv(f2, f2)
        self.up3 = _Up(f2)
        self.dec_conv3a = conv(f3, f2)
        self.dec_conv3b = conv(f2, f2)
        self.up2 = _Up(f2)
        self.dec_conv2a = conv(f3, f2)
        self.dec_conv2b = conv(f2, f2)
        self.up1 = _Up(f2)
        self.dec_conv1a = conv(f2 + in_nc, _TAIL)
        self.dec_conv1b = conv(_TAIL, _TAIL)
        joined = 4 * _TAIL if blindspot else _TAIL
        self.nin_a = nn.Conv2d(joined, joined, 1)
        self.nin_b = nn.Conv2d(joined, _TAIL, 1)
        self.nin_c = nn.Conv2d(_TAIL, out_nc, 1)
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.kaiming_normal_(layer.weight)
                    layer.weight.mul_(0.1)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x = self._four_directions(noisy) if self.blindspot else self._body(noisy)
        result: Tensor = self.nin_c(_act(self.nin_b(_act(self.nin_a(x)))))
        return result

    def _four_directions(self, noisy: Tensor) -> Tensor:
        """Features of what lies above, left, below and right of each pixel, (B, 4 x 96, H, W)."""
        # Half turns keep the shape, quarter turns swap height and width: two batches, so that both can differ.
        upright = torch.cat((noisy, torch.rot90(noisy, 2, (3, 2))))  # (2B, C, H, W)
        lying = torch.cat((torch.rot90(noisy, 1, (3, 2)), torch.rot90(noisy, 3, (3, 2))))  # (2B, C, W, H)
        # Not chunk(2), which would fix the batch size of an exported file.
        turn0, turn180 = torch.unflatten(_lower(self._body(upright)), 0, (2, -1)).unbind()
        turn90, turn270 = torch.unflatten(_lower(self._body(lying)), 0, (2, -1)).unbind()
        turned = (turn0, turn90, turn180, turn270)
        return torch.cat([torch.rot90(x, -quarters, (3, 2)) for quarters, x in enumerate(turned)], dim=1)

    def _body(self, noisy: Tensor) -> Tensor:
        """The U-Net up to its 96 features at full resolution."""

        def pool(x: Tensor) -> Tensor:
            return F.max_pool2d(_lower(x) if self.blindspot else x, 2)

        pool1 = pool(_act(self.enc_conv1(_act(self.enc_conv0(noisy)))))  # (B, F, H/2, W/2)
        pool2 = pool(_act(self.enc_conv2(pool1)))  # (B, F, H/4, W/4)
        pool3 = pool(_act(self.enc_conv3(pool2)))
        pool4 = pool(_act(self.enc_conv4(pool3)))
        pool5 = pool(_act(self.enc_conv5(pool4)))  # (B, F, H/32, W/32)
        x = _act(self.enc_conv6(pool5))
        x = _act(self.dec_conv5b(_act(self.dec_conv5a(self.up5(x, pool4)))))  # (B, 2F, H/16, W/16)
        x = _act(self.dec_conv4b(_act(self.dec_conv4a(self.up4(x, pool3)))))
        x = _act(self.dec_conv3b(_act(self.dec_conv3a(self.up3(x, pool2)))))
        x = _act(self.dec_conv2b(_act(self.dec_conv2a(self.up2(x, pool1)))))  # (B, 2F, H/2, W/2)
        return _act(self.dec_conv1b(_act(self.dec_conv1a(self.up1(x, noisy)))))  # (B, 96, H, W)

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read channels, features and the joining of four directions off the shapes."""
        first, joining, last = (state.get(f"{name}.weight") for name in ("enc_conv0", "nin_a", "nin_c"))
        if "up5.deconv.weight" not in state or first is None or joining is None or last is None:
            return None
        return {
            "in_nc": first.shape[1],
            "out_nc": last.shape[0],
            "n_feature": first.shape[0],
            "blindspot": joining.shape[1] == 4 * _TAIL,
        }
