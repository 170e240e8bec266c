"""RIDNet: four blocks of dilated branches and channel attention, for photographs with real noise.

Anwar, Barnes: "Real Image Denoising with Feature Attention", ICCV 2019, arXiv 1904.07396. Published: SIDD validation
38.71 dB, DND 39.26 dB.

Differences from the paper, as in the authors' code, to which the weights belong: no skip goes around a block, and the
mean colour is added although the input, which has it, is added too; the last layer learned to make up for it. The
weights expect pictures in 0..255: `rgb_range` scales on the way in and out, so that here they are 0..1 as everywhere.
1,499,371 parameters, 97.94 GMAC at 256x256. The reference code has no licence; nothing of it is used. Key names are the
official ones.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.networks.network import Network

__all__ = ["RIDNet"]

_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, red to blue


def _shift(sign: float, rgb_range: float) -> nn.Conv2d:
    """Add or take away the mean colour: a 1x1 convolution, trained along in the published weights."""
    layer = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        if layer.bias is not None:
            layer.bias.copy_(sign * rgb_range * torch.tensor(_MEAN))
    return layer


def _conv(inside: int, outside: int, *, dilation: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]


class _Branches(nn.Module):
    """Two branches of growing dilation, merged; plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body1 = nn.Sequential(*_conv(width, width), *_conv(width, width, dilation=2))
        self.body2 = nn.Sequential(*_conv(width, width, dilation=3), *_conv(width, width, dilation=4))
        self.body3 = nn.Sequential(*_conv(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.body3(torch.cat((self.body1(x), self.body2(x)), dim=1))
        return merged + x


class _Residual(nn.Module):
    """relu(x + body(x))."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class _Layer(nn.Module):
    """A convolution under the name that the official files give it."""

    def __init__(self, inside: int, outside: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inside, outside, size, padding=size // 2))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(x)
        return result


class _ChannelAttention(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.c1 = _Layer(width, hidden, 1)
        self.c2 = _Layer(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.c2(F.relu(self.c1(mean))))


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.r1 = _Branches(width)
        self.r2 = _Residual(nn.Sequential(*_conv(width, width), nn.Conv2d(width, width, 3, padding=1)))
        self.r3 = _Residual(nn.Sequential(*_conv(width, width), *_conv(width, width), nn.Conv2d(width, width, 1)))
        self.ca = _ChannelAttention(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.ca(self.r3(self.r2(self.r1(x))))
        return result


class RIDNet(Network):
    """noisy + correction(noisy); colour only.

    Args:
        n_feats: features.
        reduction: how many times fewer the channel attention has inside.
        rgb_range: white in the pictures that the weights belong to.
    """

    source: ClassVar[str] = "Anwar and Barnes, ICCV 2019"
    whole = True
    channels = 3

    def __init__(self, *, n_feats: int = 64, reduction: int = 16, rgb_range: float = 255) -> None:
        super().__init__()
        self.rgb_range = rgb_range
        hidden = n_feats // reduction
        self.sub_mean = _shift(-1, rgb_range)
        self.add_mean = _shift(1, rgb_range)
        self.head = _Layer(3, n_feats, 3)
        self.b1 = _Block(n_feats, hidden)
        self.b2 = _Block(n_feats, hidden)
        self.b3 = _Block(n_feats, hidden)
        self.b4 = _Block(n_feats, hidden)
        self.tail = nn.Conv2d(n_feats, 3, 3, padding=1)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x = F.relu(self.head(self.sub_mean(self.rgb_range * noisy)))
        x = self.add_mean(self.tail(self.b4(self.b3(self.b2(self.b1(x))))))
        clean: Tensor = noisy + x / self.rgb_range
        return clean

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read the features off the shapes; published weights belong to pictures in 0..255."""
        head, inside = state.get("head.body.0.weight"), state.get("b1.ca.c1.body.0.weight")
        if head is None or inside is None or "b4.r1.body3.0.weight" not in state:
            return None
        return {"n_feats": head.shape[0], "reduction": inside.shape[1] // inside.shape[0], "rgb_range": 255}
