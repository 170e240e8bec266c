"""Attention to channels and to places, and the groups that all networks of CycleISP are made of.

Zamir et al., "CycleISP", CVPR 2020, arXiv 2003.07761. One slope per channel of the rectifiers serves a whole network:
:class:`DualAttention` is given it, and a state dict lists it under many names. Key names are the official ones.
"""

import torch
from torch import Tensor, nn

__all__ = ["ChannelAttention", "DualAttention", "RecursiveGroup", "SpatialAttention"]


class ChannelAttention(nn.Module):
    """Channels weighted by what their means say.

    Args:
        width: channels.
        reduction: how many times fewer features there are inside.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        hidden = width // reduction
        self.conv_du = nn.Sequential(
            nn.Conv2d(width, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, width, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        result: Tensor = x * self.conv_du(x.mean((2, 3), keepdim=True))
        return result


class _Spatial(nn.Module):
    def __init__(self, size: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, size, padding=size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


class SpatialAttention(nn.Module):
    """Pixels weighted by what the largest and the mean of their channels say, in that order.

    Args:
        size: side of the neighbourhood that is looked at.
        bias: whether the weights may have an offset.
    """

    def __init__(self, size: int = 3, *, bias: bool = False) -> None:
        super().__init__()
        self.spatial = _Spatial(size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        seen = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), dim=1)
        return x * torch.sigmoid(self.spatial(seen))


class DualAttention(nn.Module):
    """x + both attentions of conv(prelu(conv(x))), side by side.

    Args:
        width: channels.
        reduction: of the attention to channels.
        slope: the rectifier that the network shares.
    """

    def __init__(self, width: int, reduction: int, slope: nn.PReLU) -> None:
        super().__init__()
        self.SA = SpatialAttention()
        self.CA = ChannelAttention(width, reduction)
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), slope, nn.Conv2d(width, width, 3, padding=1))
        self.conv1x1 = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        seen = self.body(x)
        correction: Tensor = self.conv1x1(torch.cat((self.SA(seen), self.CA(seen)), dim=1))
        return x + correction


class RecursiveGroup(nn.Module):
    """x + convolution(blocks(x)).

    Args:
        width: channels.
        count: of blocks.
        reduction: of the attention to channels.
        slope: the rectifier that the network shares.
    """

    def __init__(self, width: int, count: int, reduction: int, slope: nn.PReLU) -> None:
        super().__init__()
        blocks = (DualAttention(width, reduction, slope) for _ in range(count))
        self.body = nn.Sequential(*blocks, nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        correction: Tensor = self.body(x)
        return x + correction
