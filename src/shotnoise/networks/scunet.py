"""SCUNet: a U-Net of blocks that are half convolution, half attention within windows.

Zhang, Li, Liang, Cao, Zhang, Tang, Fan, Timofte, Van Gool: "Practical Blind Image Denoising via Swin-Conv-UNet and Data
Synthesis", Machine Intelligence Research 2023, arXiv 2203.13278. One model per noise level: CBSD68 31.79 dB,
Kodak24 (500x500) 32.92 dB, gray BSD68 29.55 dB at sigma 25; other weights are for unknown, real degradations.

Differences: the original continues pictures to a multiple of 64 by repeating the border, here the runner mirrors. The
size of heads and windows, constants there, are arguments; dropping paths at random, 0 in all published models, is left
out. Colour, four blocks per stage: 17,946,072 parameters, 78.74 GMAC at 256x256. Reference code: Apache-2.0. Key names
are the official ones.

Letters: R, S rows and columns of windows, N = window^2 pixels of one, C channels.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["SCUNet"]


class _WindowAttention(nn.Module):
    """Attention within windows, with a learned bias per offset; shifted by half a window if asked."""

    def __init__(self, width: int, head: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.head, self.window, self.shifted = head, window, shifted
        heads = width // head
        self.embedding_layer = nn.Linear(width, 3 * width)
        self.linear = nn.Linear(width, width)
        self.relative_position_params = nn.Parameter(torch.zeros(heads, 2 * window - 1, 2 * window - 1))
        nn.init.trunc_normal_(self.relative_position_params, std=0.02)
        side = torch.arange(window)
        rows, columns = side.repeat_interleave(window), side.repeat(window)  # of the N pixels of a window
        self.register_buffer("row_offset", rows[:, None] - rows + window - 1, persistent=False)
        self.register_buffer("column_offset", columns[:, None] - columns + window - 1, persistent=False)
        # Pairs of pixels that are neighbours only because the shift goes round.
        half = (window + 1) // 2
        self.register_buffer("row_seam", (rows < half)[:, None] != (rows < half), persistent=False)
        self.register_buffer("column_seam", (columns < half)[:, None] != (columns < half), persistent=False)

    row_offset: Tensor
    column_offset: Tensor
    row_seam: Tensor
    column_seam: Tensor

    def forward(self, x: Tensor) -> Tensor:
        w, shift = self.window, self.window // 2
        if self.shifted:
            x = x.roll((-shift, -shift), (1, 2))
        # (B, H, W, C) -> (B, R, S, w, w, C)
        x = torch.unflatten(torch.unflatten(x, 2, (-1, w)), 1, (-1, w)).transpose(2, 3)
        tokens = self.embedding_layer(x.flatten(3, 4))  # (B, R, S, N, 3C)
        query, key, value = (
            torch.unflatten(part, -1, (-1, self.head)).transpose(3, 4) for part in tokens.chunk(3, dim=-1)
        )  # each (B, R, S, heads, N, head)
        bias = self.relative_position_params[:, self.row_offset, self.column_offset]  # (heads, N, N)
        if self.shifted:
            bias = self._without_seams(bias, x)
        weights = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(self.head) + bias, dim=-1)
        mixed = weights @ value
        mixed = self.linear(mixed.transpose(3, 4).flatten(4))  # (B, R, S, N, C)
        x = torch.unflatten(mixed, 3, (w, w)).transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (B, H, W, C)
        return x.roll((shift, shift), (1, 2)) if self.shifted else x

    def _without_seams(self, bias: Tensor, x: Tensor) -> Tensor:
        """The bias of every window, (R, S, heads, N, N): minus infinity across the seams of the last ones."""
        rows, columns = (torch.arange(x.shape[axis], device=x.device) for axis in (1, 2))
        last_row = (rows == x.shape[1] - 1).view(-1, 1, 1, 1, 1)
        last_column = (columns == x.shape[2] - 1).view(1, -1, 1, 1, 1)
        return bias.masked_fill(last_row & self.row_seam | last_column & self.column_seam, -math.inf)


class _Transformer(nn.Module):
    """x + attention(norm(x)), then x + layers(norm(x)); channels last."""

    def __init__(self, width: int, head: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.msa = _WindowAttention(width, head, window, shifted=shifted)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.msa(self.ln1(x))
        result: Tensor = x + self.mlp(self.ln2(x))
        return result


class _Block(nn.Module):
    """Half of the channels through convolutions, half through attention, mixed, plus the input."""

    def __init__(self, width: int, head: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        half = width // 2
        self.trans_block = _Transformer(half, head, window, shifted=shifted)
        self.conv1_1 = nn.Conv2d(width, width, 1)
        self.conv1_2 = nn.Conv2d(width, width, 1)
        self.conv_block = nn.Sequential(
            nn.Conv2d(half, half, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        near, far = self.conv1_1(x).chunk(2, dim=1)
        near = self.conv_block(near) + near
        far = self.trans_block(far.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        result: Tensor = x + self.conv1_2(torch.cat((near, far), dim=1))
        return result


class SCUNet(Network):
    """The picture itself: the skips inside are sums, and none goes around everything.

    Args:
        in_nc: channels of the picture.
        config: blocks of the seven stages, from the first on the way down to the last on the way up.
        dim: features at full resolution, doubled by each scale.
        head_dim: channels of one attention head.
        window_size: side of the attention windows.
        input_resolution: side of the pictures that it is meant for: a stage that sees no more than one window of
            them does not shift.
    """

    source: ClassVar[str] = "Zhang et al., Machine Intelligence Research 2023"

    def __init__(
        self,
        *,
        in_nc: int = 3,
        config: Sequence[int] = (4, 4, 4, 4, 4, 4, 4),
        dim: int = 64,
        head_dim: int = 32,
        window_size: int = 8,
        input_resolution: int = 256,
    ) -> None:
        super().__init__()
        if len(config) != 7:
            raise ModelError(f"config has {len(config)} numbers; expected one for each of the seven stages")
        if dim % (2 * head_dim):
            raise ModelError(f"dim is {dim}; expected a multiple of 2 x head_dim ({head_dim}): half of it is attention")
        self.channels = in_nc
        self.multiple = 8 * window_size

        def blocks(stage: int, scale: int) -> list[nn.Module]:
            still = input_resolution // 2**scale <= window_size
            return [
                _Block(dim * 2**scale, head_dim, window_size, shifted=not still and index % 2 == 1)
                for index in range(config[stage])
            ]

        def down(scale: int) -> nn.Sequential:
            width = dim * 2**scale
            return nn.Sequential(*blocks(scale, scale), nn.Conv2d(width, 2 * width, 2, stride=2, bias=False))

        def up(scale: int) -> nn.Sequential:
            width = dim * 2**scale
            rise = nn.ConvTranspose2d(2 * width, width, 2, stride=2, bias=False)
            return nn.Sequential(rise, *blocks(6 - scale, scale))

        self.m_head = nn.Sequential(nn.Conv2d(in_nc, dim, 3, padding=1, bias=False))
        self.m_down1, self.m_down2, self.m_down3 = down(0), down(1), down(2)
        self.m_body = nn.Sequential(*blocks(3, 3))
        self.m_up3, self.m_up2, self.m_up1 = up(2), up(1), up(0)
        self.m_tail = nn.Sequential(nn.Conv2d(dim, in_nc, 3, padding=1, bias=False))

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x1 = self.m_head(noisy)
        x2 = self.m_down1(x1)  # (B, 2 dim, H/2, W/2)
        x3 = self.m_down2(x2)
        x4 = self.m_down3(x3)  # (B, 8 dim, H/8, W/8)
        x = self.m_up3(self.m_body(x4) + x4)
        x = self.m_up2(x + x3)
        x = self.m_up1(x + x2)
        clean: Tensor = self.m_tail(x + x1)
        return clean

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read everything off keys and shapes, save the resolution it is meant for."""
        head = state.get("m_head.0.weight")
        table = state.get("m_body.0.trans_block.msa.relative_position_params")
        if head is None or table is None or "m_tail.0.weight" not in state:
            return None
        config = [
            len({match[1] for key in state if (match := re.match(rf"{stage}\.(\d+)\.trans_block", key))})
            for stage in ("m_down1", "m_down2", "m_down3", "m_body", "m_up3", "m_up2", "m_up1")
        ]
        dim = head.shape[0]
        return {
            "in_nc": head.shape[1],
            "config": config,
            "dim": dim,
            "head_dim": 4 * dim // table.shape[0],
            "window_size": (table.shape[1] + 1) // 2,
        }
