"""NAFNet: a U-Net whose only non-linearities are products of features, and its variant with local statistics.

L. Chen, Chu, Zhang, Sun: "Simple Baselines for Image Restoration", ECCV 2022, arXiv 2204.04676. Published: SIDD
validation 39.97 dB at width 32, 40.30 dB at width 64. The local variant is that of Chu, L. Chen, C. Chen, Lu:
"Improving Image Restoration by Revisiting Global Information Aggregation", ECCV 2022, arXiv 2112.04491.

Differences: the original continues pictures with black, here the runner mirrors; channel attention takes the mean of
the whole picture, so that changes results a little where it happens. Dropout, 0 in all published models, is left out.
Width 32: 29,159,715 parameters, 16.05 GMAC at 256x256; width 64: 115,982,915 and 63.24. Reference code: MIT. Key names
are the official ones. A file does not say which variant it is; the published SIDD results are those of the plain one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["NAFNet", "NAFNetLocal"]


class _Norm(nn.Module):
    """Mean 0 and variance 1 over the channels of each pixel, then scaled and shifted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        normal = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return normal * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


def _gate(x: Tensor) -> Tensor:
    """First half of the channels times the second."""
    first, second = x.chunk(2, dim=1)
    return first * second


class _Block(nn.Module):
    """Attention, then a feed-forward layer; both are scaled by numbers that start at zero."""

    def __init__(self, width: int, mean: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, 2 * width, 1)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.conv3 = nn.Conv2d(width, width, 1)
        self.sca = nn.Sequential(mean, nn.Conv2d(width, width, 1))
        self.conv4 = nn.Conv2d(width, 2 * width, 1)
        self.conv5 = nn.Conv2d(width, width, 1)
        self.norm1 = _Norm(width)
        self.norm2 = _Norm(width)
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = _gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(y * self.sca(y))
        result: Tensor = x + self.gamma * self.conv5(_gate(self.conv4(self.norm2(x))))
        return result


class NAFNet(Network):
    """noisy + correction(noisy).

    Args:
        img_channel: channels of the picture.
        width: features at full resolution, doubled by each scale.
        middle_blk_num: blocks at the coarsest scale.
        enc_blk_nums: blocks of each scale on the way down; as many scales as numbers.
        dec_blk_nums: blocks of each scale on the way up, coarse to fine.
    """

    source: ClassVar[str] = "Chen et al., ECCV 2022"
    whole = True

    def __init__(
        self,
        *,
        img_channel: int = 3,
        width: int = 32,
        middle_blk_num: int = 12,
        enc_blk_nums: Sequence[int] = (2, 2, 4, 8),
        dec_blk_nums: Sequence[int] = (2, 2, 2, 2),
    ) -> None:
        super().__init__()
        if len(enc_blk_nums) != len(dec_blk_nums):
            raise ModelError(
                f"enc_blk_nums has {len(enc_blk_nums)} numbers and dec_blk_nums {len(dec_blk_nums)}; expected as many"
            )
        self.channels = img_channel
        self.multiple = 2 ** len(enc_blk_nums)
        self.intro = nn.Conv2d(img_channel, width, 3, padding=1)
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        for scale, count in enumerate(enc_blk_nums):
            self.encoders.append(self._blocks(width, scale, count))
            self.downs.append(nn.Conv2d(width, 2 * width, 2, stride=2))
            width *= 2
        self.middle_blks = self._blocks(width, len(enc_blk_nums), middle_blk_num)
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for scale, count in zip(reversed(range(len(dec_blk_nums))), dec_blk_nums, strict=True):
            self.ups.append(nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)))
            width //= 2
            self.decoders.append(self._blocks(width, scale, count))

    def _blocks(self, width: int, scale: int, count: int) -> nn.Sequential:
        return nn.Sequential(*(_Block(width, self._mean(scale)) for _ in range(count)))

    def _mean(self, scale: int) -> nn.Module:
        """What channel attention sees: the mean of everything."""
        return nn.AdaptiveAvgPool2d(1)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x = self.intro(noisy)
        skips: list[Tensor] = []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)  # (B, W, H, W) -> (B, 2W, H/2, W/2)
        x = self.middle_blks(x)
        for up, blocks in zip(self.ups, self.decoders, strict=True):
            x = blocks(up(x) + skips.pop())
        correction: Tensor = self.ending(x)
        return noisy + correction

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read channels, width and block counts off the keys."""
        intro = state.get("intro.weight")
        if intro is None or "ups.0.0.weight" not in state or "ending.weight" not in state:
            return None

        def count(prefix: str) -> int:
            return len({match[1] for key in state if (match := re.match(rf"{prefix}\.(\d+)\.", key))})

        scales = count("downs")
        return {
            "img_channel": intro.shape[1],
            "width": intro.shape[0],
            "middle_blk_num": count("middle_blks"),
            "enc_blk_nums": [count(rf"encoders\.{scale}") for scale in range(scales)],
            "dec_blk_nums": [count(rf"decoders\.{scale}") for scale in range(scales)],
        }


class _LocalMean(nn.Module):
    """The mean of a window around each pixel; at the border that of the last window that fits."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        return _sliding_mean(_sliding_mean(x, 2, self.rows), 3, self.columns)


def _sliding_mean(x: Tensor, axis: int, window: int) -> Tensor:
    """Means of `window` samples along an axis, or of all if there are fewer, as differences of running sums."""
    index = torch.arange(x.shape[axis], device=x.device)
    last = index.max()  # tensors, not Python numbers, so that an exported file keeps its size free
    size = (last + 1).clamp(max=window)
    start = torch.minimum((index - (size - 1) // 2).clamp(min=0), last + 1 - size)
    sums = torch.cat((torch.zeros_like(x.narrow(axis, 0, 1)), x.cumsum(axis)), dim=axis)
    total = sums.index_select(axis, start + size) - sums.index_select(axis, start)
    return total / size.to(x.dtype)


class NAFNetLocal(NAFNet):
    """NAFNet with means over windows of 1.5 times the training size instead of the whole picture.

    Args:
        img_channel: channels of the picture.
        width: features at full resolution, doubled by each scale.
        middle_blk_num: blocks at the coarsest scale.
        enc_blk_nums: blocks of each scale on the way down; as many scales as numbers.
        dec_blk_nums: blocks of each scale on the way up, coarse to fine.
        train_size: height and width of the pictures that it was trained with.
    """

    def __init__(
        self,
        *,
        img_channel: int = 3,
        width: int = 32,
        middle_blk_num: int = 12,
        enc_blk_nums: Sequence[int] = (2, 2, 4, 8),
        dec_blk_nums: Sequence[int] = (2, 2, 2, 2),
        train_size: Sequence[int] = (256, 256),
    ) -> None:
        # Before the blocks are made, which ask for it; nn.Module takes plain attributes at any time.
        self.train_size = tuple(train_size)
        self.scales: int = len(enc_blk_nums)
        super().__init__(
            img_channel=img_channel,
            width=width,
            middle_blk_num=middle_blk_num,
            enc_blk_nums=enc_blk_nums,
            dec_blk_nums=dec_blk_nums,
        )

    def _mean(self, scale: int) -> nn.Module:
        def window(side: int) -> int:
            padded = side + -side % (1 << self.scales)
            return (padded >> scale) * int(1.5 * side) // side

        return _LocalMean(window(self.train_size[0]), window(self.train_size[1]))
