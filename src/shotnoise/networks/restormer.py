"""Restormer: a U-Net of attention between channels, so that its cost grows with the picture and no faster.

Zamir, Arora, Khan, Hayat, Khan, Yang: "Restormer: Efficient Transformer for High-Resolution Image Restoration", CVPR
2022, arXiv 2111.09881. CBSD68 31.79 dB, Kodak24 (500x500) 32.93 dB, gray BSD68 29.52 dB at sigma 25, one model per
noise level; SIDD validation 40.02 dB.

All denoising models use the norm without bias, which does not take the mean away. Differences: the branch for
dual-pixel pictures is left out. Colour: 26,111,668 parameters, 154.88 GMAC at 256x256, of which 13.89 are products of
the attention (the paper's 140 are the rest). Reference code: academic licence, of which nothing is used here. Key names
are the official ones.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["Restormer"]

_GROWTH = 2.66  # of the feed-forward layers in all published models
_STAGES = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")


class _BiasFree(nn.Module):
    """Variance 1 over the channels of each pixel; the mean only serves to find the variance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        variance = (x - x.mean(1, keepdim=True)).square().mean(1, keepdim=True)
        result: Tensor = x / (variance + 1e-5).sqrt() * self.weight.view(-1, 1, 1)
        return result


class _WithBias(nn.Module):
    """Mean 0 and variance 1 over the channels of each pixel, then scaled and shifted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        normal = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        result: Tensor = normal * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
        return result


class _Norm(nn.Module):
    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.body = _BiasFree(width) if kind == "BiasFree" else _WithBias(width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(x)
        return result


class _Attention(nn.Module):
    """Every channel is a mixture of the channels of its head, by how alike they look over the whole picture."""

    def __init__(self, width: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=bias)
        self.project_out = nn.Conv2d(width, width, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            torch.unflatten(part.flatten(2), 1, (self.heads, -1))
            for part in self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        )  # each (B, heads, C / heads, HW)
        alike = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        mixed = torch.softmax(alike * self.temperature, dim=-1) @ value
        result: Tensor = self.project_out(torch.unflatten(mixed.flatten(1, 2), 2, x.shape[2:]))
        return result


class _FeedForward(nn.Module):
    """gelu(a) * b of two branches."""

    def __init__(self, width: int, growth: float, *, bias: bool) -> None:
        super().__init__()
        hidden = int(width * growth)
        self.project_in = nn.Conv2d(width, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, width, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        result: Tensor = self.project_out(F.gelu(gate) * value)
        return result


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, growth: float, norm: str, *, bias: bool) -> None:
        super().__init__()
        self.norm1 = _Norm(width, norm)
        self.attn = _Attention(width, heads, bias=bias)
        self.norm2 = _Norm(width, norm)
        self.ffn = _FeedForward(width, growth, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.ffn(self.norm2(x))
        return result


class _Resize(nn.Module):
    """A convolution, then pixels to channels or back."""

    def __init__(self, inside: int, outside: int, shuffle: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1, bias=False), shuffle)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(x)
        return result


class _Embed(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inside, outside, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.proj(x)
        return result


class Restormer(Network):
    """noisy + correction(noisy).

    Args:
        inp_channels: channels of the noisy picture.
        out_channels: channels of the result; equal to `inp_channels`.
        dim: features at full resolution, doubled by each scale.
        num_blocks: blocks on the four scales.
        num_refinement_blocks: blocks at the end, at full resolution.
        heads: attention heads on the four scales.
        ffn_expansion_factor: growth of the feed-forward layers.
        bias: whether convolutions have one.
        layer_norm: BiasFree or WithBias; the denoising models have the first.
    """

    source: ClassVar[str] = "Zamir et al., CVPR 2022"
    multiple = 8
    whole = True

    def __init__(
        self,
        *,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = _GROWTH,
        bias: bool = False,
        layer_norm: Literal["BiasFree", "WithBias"] = "BiasFree",
    ) -> None:
        super().__init__()
        if inp_channels != out_channels:
            raise ModelError(f"Restormer denoises: inp_channels {inp_channels} must equal out_channels {out_channels}")
        if len(num_blocks) != 4 or len(heads) != 4:
            raise ModelError(f"{len(num_blocks)} num_blocks and {len(heads)} heads; expected one for each of 4 scales")
        if layer_norm not in ("BiasFree", "WithBias"):
            raise ModelError(f"layer_norm is '{layer_norm}'; expected BiasFree or WithBias")
        self.channels = inp_channels
        w1, w2, w3, w4 = (dim * 2**scale for scale in range(4))

        def blocks(width: int, scale: int, count: int) -> nn.Sequential:
            made = (_Block(width, heads[scale], ffn_expansion_factor, layer_norm, bias=bias) for _ in range(count))
            return nn.Sequential(*made)

        self.patch_embed = _Embed(inp_channels, w1)
        self.encoder_level1 = blocks(w1, 0, num_blocks[0])
        self.down1_2 = _Resize(w1, w1 // 2, nn.PixelUnshuffle(2))
        self.encoder_level2 = blocks(w2, 1, num_blocks[1])
        self.down2_3 = _Resize(w2, w2 // 2, nn.PixelUnshuffle(2))
        self.encoder_level3 = blocks(w3, 2, num_blocks[2])
        self.down3_4 = _Resize(w3, w3 // 2, nn.PixelUnshuffle(2))
        self.latent = blocks(w4, 3, num_blocks[3])
        self.up4_3 = _Resize(w4, 2 * w4, nn.PixelShuffle(2))
        self.reduce_chan_level3 = nn.Conv2d(w4, w3, 1, bias=bias)
        self.decoder_level3 = blocks(w3, 2, num_blocks[2])
        self.up3_2 = _Resize(w3, 2 * w3, nn.PixelShuffle(2))
        self.reduce_chan_level2 = nn.Conv2d(w3, w2, 1, bias=bias)
        self.decoder_level2 = blocks(w2, 1, num_blocks[1])
        self.up2_1 = _Resize(w2, 2 * w2, nn.PixelShuffle(2))
        self.decoder_level1 = blocks(w2, 0, num_blocks[0])  # no reduction at full resolution
        self.refinement = blocks(w2, 0, num_refinement_blocks)
        self.output = nn.Conv2d(w2, out_channels, 3, padding=1, bias=bias)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x1 = self.encoder_level1(self.patch_embed(noisy))
        x2 = self.encoder_level2(self.down1_2(x1))  # (B, 2 dim, H/2, W/2)
        x3 = self.encoder_level3(self.down2_3(x2))
        x = self.latent(self.down3_4(x3))  # (B, 8 dim, H/8, W/8)
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat((self.up4_3(x), x3), dim=1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat((self.up3_2(x), x2), dim=1)))
        x = self.decoder_level1(torch.cat((self.up2_1(x), x1), dim=1))  # (B, 2 dim, H, W)
        correction: Tensor = self.output(self.refinement(x))
        return noisy + correction

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read everything off keys and shapes."""
        embed, grown = state.get("patch_embed.proj.weight"), state.get("encoder_level1.0.ffn.project_out.weight")
        if embed is None or grown is None or "output.weight" not in state:
            return None

        def count(stage: str) -> int:
            return len({match[1] for key in state if (match := re.match(rf"{stage}\.(\d+)\.", key))})

        dim, hidden = embed.shape[0], grown.shape[1]
        return {
            "inp_channels": embed.shape[1],
            "out_channels": state["output.weight"].shape[0],
            "dim": dim,
            "num_blocks": [count(stage) for stage in _STAGES],
            "num_refinement_blocks": count("refinement"),
            "heads": [state[f"{stage}.0.attn.temperature"].shape[0] for stage in _STAGES],
            "ffn_expansion_factor": _GROWTH if int(_GROWTH * dim) == hidden else hidden / dim,
            "bias": "output.bias" in state,
            "layer_norm": "WithBias" if "encoder_level1.0.norm1.body.bias" in state else "BiasFree",
        }
