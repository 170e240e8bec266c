"""The attention network of the published RAW pipeline (HuiiJi/AISP, there `My_network`), on packed Bayer planes.

A narrow U-Net with three skips per scale, of which every decoder block takes one, and self-attention over all pixels
at an eighth of the resolution. No quality is published for it.

Differences: the key names are ours, since no weights are published; attention runs in torch's fused kernel, which
never holds the matrix of all pairs of pixels. The original pads to a multiple of 32, three halvings would need 8; the
padded size is part of what attention sees, so it is kept. 381,556 parameters, 2.58 GMAC for 4 planes of 256x256, of
which 0.34 are products of the attention and grow with the square of the number of pixels. The repository calls itself
MIT; nothing of it is used.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["RawAttention"]

_GROUPS = 32  # of the norm before attention, and channels of one attention head


class _Residual(nn.Module):
    """shortcut(x) + conv(relu(conv(x)))."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.shortcut = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.shortcut(x) + self.conv2(F.relu(self.conv1(x)))
        return result


class _Attention(nn.Module):
    """x + attention over all pixels of norm(x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, HW, C)
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(tokens), key, value)
        )  # each (B, heads, HW, C / heads)
        mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = self.out(mixed.transpose(1, 2).flatten(2))
        result: Tensor = x + tokens.transpose(1, 2).unflatten(2, x.shape[2:])  # (B, HW, C) -> (B, C, H, W)
        return result


def _down(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 2, stride=2))


def _up(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2.0), nn.Conv2d(width, width, 3, padding=1))


class RawAttention(Network):
    """noisy + correction(noisy).

    Args:
        in_nc: planes of the packed picture.
        stem: features of the first convolution.
        widths: features at full, half and quarter resolution; the last also at an eighth, where attention needs a
            multiple of 32.
    """

    source: ClassVar[str] = "HuiiJi/AISP, 2023"
    multiple = 32
    whole = True

    def __init__(self, *, in_nc: int = 4, stem: int = 8, widths: Sequence[int] = (8, 16, 32)) -> None:
        super().__init__()
        if len(widths) != 3 or widths[-1] % _GROUPS:
            raise ModelError(
                f"widths are {list(widths)}; expected three numbers, the last a multiple of {_GROUPS} for the attention"
            )
        self.channels = in_nc
        fine, half, deep = widths
        self.stem = nn.Conv2d(in_nc, stem, 3, padding=1)
        self.encoder = nn.ModuleList(
            nn.ModuleList((_Residual(inside, width), _Residual(width, width), _down(width)))
            for inside, width in ((stem, fine), (fine, half), (half, deep))
        )
        self.bottom = nn.ModuleList(
            nn.Sequential(_Residual(deep, deep), _Attention(deep, deep // _GROUPS)) for _ in range(2)
        )
        self.middle = nn.Sequential(_Residual(deep, deep), _Residual(deep, deep))
        self.rise = nn.ModuleList(nn.Sequential(_Residual(2 * deep, deep), _Attention(deep, 1)) for _ in range(3))
        self.grow = nn.ModuleList((_up(deep), _up(deep), _up(half)))
        # Each block takes one skip: those of a scale, and the one that was made on the way down to it.
        self.decoder = nn.ModuleList(
            nn.ModuleList(
                (_Residual(inside + width, out), _Residual(out + width, out), _Residual(out + before, out)),
            )
            for inside, width, before, out in (
                (deep, deep, half, deep),
                (deep, half, fine, half),
                (half, fine, stem, fine),
            )
        )
        self.head = nn.Conv2d(fine, in_nc, 3, padding=1)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x = self.stem(noisy)
        skips = [x]
        for scale in self.encoder:
            for layer in scale.children():
                x = layer(x)
                skips.append(x)
        for layer in self.bottom:  # (B, C, H/8, W/8)
            x = layer(x)
            skips.append(x)
        x = self.middle(x)
        for layer in self.rise:
            x = layer(torch.cat((x, skips.pop()), dim=1))
        for grow, scale in zip(self.grow, self.decoder, strict=True):
            x = grow(x)
            for layer in scale.children():
                x = layer(torch.cat((x, skips.pop()), dim=1))
        correction: Tensor = self.head(x)
        return noisy + correction

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read planes and widths off the shapes."""
        stem = state.get("stem.weight")
        downs = [state.get(f"encoder.{scale}.2.1.weight") for scale in range(3)]
        if stem is None or "rise.0.1.key_value.weight" not in state:
            return None
        return {
            "in_nc": stem.shape[1],
            "stem": stem.shape[0],
            "widths": [down.shape[0] for down in downs if down is not None],
        }
