"""InvDN (Liu et al., "Invertible Denoising Network: A Light Solution for Real Noise Removal", CVPR 2021).

arXiv 2104.10546. An invertible network that turns a noisy picture into a clean one of a quarter of its size and a
latent that keeps the fine detail together with the noise. To denoise, the latent is thrown away, another one is drawn
from the standard normal distribution in its place, and the network runs backwards. The paper reports 39.28 dB on SIDD.

Letters: B pictures, C channels of the picture, r = scale. (B, C, H, W) <-> low (B, C, H/r, W/r) and latent
(B, C (r^2 - 1), H/r, W/r), as many numbers on both sides; nothing is rounded or clipped in between.

Differences from the released code: the log-scales of the blocks are returned and not kept between passes; under mixed
precision only the convolutions of the blocks run in half, so that the inverse stays one; the down-sampling may be
learned. 2,641,200 parameters of which 240 are the frozen Haar filters, 47.5 GMAC at 256x256 for both passes. The
reference is Apache-2.0; nothing of it is used but the key names, so that its weights load.
"""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["InvDN"]

# Rows: mean, difference of the columns, of the rows, of the diagonals, for the pixels of a 2x2 cell row by row.
_HAAR = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))
_WIDTHS = {"residual": 64, "dense": 32}
_DEPTHS = {"residual": 3, "dense": 5}
_SLOPE = 0.2  # of the rectifiers


def _in_full(x: Tensor) -> AbstractContextManager[None]:
    """Switches mixed precision off: what is cut off on the way there is missing on the way back."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


class _Downsampling(nn.Module):
    """(B, C, H, W) <-> (B, 4C, H/2, W/2), the same four orthogonal filters of length 2 on every channel.

    The result is sorted by filter, not by channel. Half an orthogonal matrix forwards, twice its transpose backwards.
    """

    def bank(self) -> Tensor:
        """The filters, (4C, 1, 2, 2)."""
        raise TypeError(f"{type(self).__name__} has no filters")

    def forward(self, x: Tensor) -> Tensor:
        with _in_full(x):
            bank = self.bank()
            y = functional.conv2d(x.to(bank.dtype), bank / 4, stride=2, groups=x.shape[1])
            return functional.channel_shuffle(y, x.shape[1])

    def inverse(self, y: Tensor) -> Tensor:
        with _in_full(y):
            bank, channels = self.bank(), y.shape[1] // 4
            y = functional.channel_shuffle(y.to(bank.dtype), 4)
            return functional.conv_transpose2d(y, bank, stride=2, groups=channels)

    def log_determinant(self, y: Tensor) -> Tensor:
        return y.new_full((len(y),), -math.log(16) * y[0].numel() / 4)


class _Haar(_Downsampling):
    def __init__(self, channels: int) -> None:
        super().__init__()
        filters = torch.tensor(_HAAR, dtype=torch.get_default_dtype()).view(4, 1, 2, 2)
        self.haar_weights = nn.Parameter(filters.repeat(channels, 1, 1, 1), requires_grad=False)

    def bank(self) -> Tensor:
        return self.haar_weights


class _Learned(_Downsampling):
    """Haar filters after a rotation that is learned, another one for every channel.

    The rotation is a product of reflections, so the filters stay orthogonal whatever is learned. They come in pairs
    that undo each other at first; three pairs leave every direction of rotation open.
    """

    haar: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("haar", torch.tensor(_HAAR, dtype=torch.get_default_dtype()), persistent=False)
        axes = torch.eye(4)[:3].repeat_interleave(2, dim=0)
        self.reflections = nn.Parameter(axes[:, None].repeat(1, channels, 1))  # (6, C, 4)

    def bank(self) -> Tensor:
        filters = self.haar  # (C, 4, 4) from the first reflection on
        for mirror in self.reflections.unbind():
            along = (filters * mirror[:, None]).sum(2, keepdim=True) / mirror.square().sum(1)[:, None, None]
            filters = filters - 2 * along * mirror[:, None]
        return filters.reshape(-1, 1, 2, 2)


class _Residual(nn.Module):
    """Two convolutions, and a third that sees their result beside the input."""

    def __init__(self, inside: int, outside: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(inside + width, outside, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        features = functional.leaky_relu(self.conv1(x), _SLOPE)
        features = functional.leaky_relu(self.conv2(features), _SLOPE)
        result: Tensor = self.conv3(torch.cat((x, features), dim=1))
        return result


class _Dense(nn.Module):
    """Five convolutions, each of which sees the input and all results before it; nothing at first."""

    def __init__(self, inside: int, outside: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, padding=1)
        self.conv2 = nn.Conv2d(inside + width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(inside + 2 * width, width, 3, padding=1)
        self.conv4 = nn.Conv2d(inside + 3 * width, width, 3, padding=1)
        self.conv5 = nn.Conv2d(inside + 4 * width, outside, 3, padding=1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias") or name.startswith("conv5"):
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_normal_(parameter, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = torch.cat((x, functional.leaky_relu(conv(x), _SLOPE)), dim=1)
        result: Tensor = self.conv5(x)
        return result


class _Block(nn.Module):
    """The low channels are shifted by what the others say, then the others scaled and shifted by what the low say."""

    def __init__(self, channels: int, low: int, subnet: str, width: int, clamp: float) -> None:
        super().__init__()
        self.low, self.clamp = low, clamp
        kind = _Residual if subnet == "residual" else _Dense
        self.F = kind(channels - low, low, width)
        self.G = kind(low, channels - low, width)
        self.H = kind(low, channels - low, width)

    def _log_scale(self, low: Tensor) -> Tensor:
        """Within -clamp..clamp, in the type of the picture: halves under mixed precision would not invert."""
        h: Tensor = self.H(low)
        return self.clamp * torch.tanh(h.to(low.dtype) / 2)

    def forward(self, x: Tensor) -> Tensor:
        low, rest = x[:, : self.low], x[:, self.low :]
        low = low + self.F(rest)
        return torch.cat((low, rest * self._log_scale(low).exp() + self.G(low)), dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        low, rest = y[:, : self.low], y[:, self.low :]
        rest = (rest - self.G(low)) * (-self._log_scale(low)).exp()
        return torch.cat((low - self.F(rest), rest), dim=1)

    def log_determinant(self, y: Tensor) -> Tensor:
        """Of the forward direction, from its result."""
        return self._log_scale(y[:, : self.low]).flatten(1).sum(1)


class InvDN(Network):
    """synthesise(low of analyse(noisy), latent).

    Args:
        channel_in: channels of the picture.
        channel_out: channels of the low picture; as many.
        block_num: invertible blocks after each halving of the size.
        scale: how many times smaller the low picture is, a power of 2.
        subnet: the three networks in a block, `residual` as published or `dense`, which nothing was published with.
        width: features of each of their convolutions; None: 64, or 32 of the dense ones.
        clamp: largest logarithm of the scale that a block applies; cannot be read off a state dict, the published 1
            is assumed there.
        downsampling: `haar`, or `learned`: orthogonal filters that start there.
    """

    source: ClassVar[str] = "Liu et al., CVPR 2021"

    def __init__(
        self,
        *,
        channel_in: int = 3,
        channel_out: int = 3,
        block_num: Sequence[int] = (8, 8),
        scale: int = 4,
        subnet: Literal["residual", "dense"] = "residual",
        width: int | None = None,
        clamp: float = 1.0,
        downsampling: Literal["haar", "learned"] = "haar",
    ) -> None:
        super().__init__()
        if channel_in != channel_out:
            raise ModelError(
                f"channel_in {channel_in} must equal channel_out {channel_out}: the low picture has the same channels"
            )
        if scale < 2 or scale & (scale - 1):
            raise ModelError(f"scale is {scale}; expected 2, 4, 8, ..., a power of 2")
        if len(block_num) != scale.bit_length() - 1 or min(block_num) < 1:
            raise ModelError(
                f"block_num is {list(block_num)}; expected a number of at least 1 for each of the "
                f"{scale.bit_length() - 1} halvings of scale {scale}"
            )
        if subnet not in _WIDTHS:
            raise ModelError(f"subnet is '{subnet}'; expected residual or dense")
        if downsampling not in ("haar", "learned"):
            raise ModelError(f"downsampling is '{downsampling}'; expected haar or learned")
        if clamp <= 0:
            raise ModelError(f"clamp is {clamp}; expected a positive number, 1 as published")
        self.channels = channel_in
        self.multiple = scale
        self.latent_shape = (channel_in * (scale**2 - 1), scale)
        operations: list[_Downsampling | _Block] = []
        channels = channel_in
        for count in block_num:
            operations.append(_Haar(channels) if downsampling == "haar" else _Learned(channels))
            channels *= 4
            operations += [
                _Block(channels, channel_out, subnet, _WIDTHS[subnet] if width is None else width, clamp)
                for _ in range(count)
            ]
        self.operations = nn.ModuleList(operations)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        low, _ = self.analyse(noisy)
        return self.synthesise(low, self.draw_latent(noisy) if latent is None else latent)

    def draw_latent(self, noisy: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A standard normal latent for a batch, drawn on the CPU unless the generator is elsewhere.

        Without a generator every picture gets the same one, which depends on nothing but the size.
        """
        shape = torch.Size((len(noisy), self._latent_channels, *(side // self.multiple for side in noisy.shape[2:])))
        if generator is not None:
            return torch.randn(shape, generator=generator, device=generator.device).to(noisy)
        numbers = torch.randn(shape[1:], generator=torch.Generator().manual_seed(0), device="cpu")
        return numbers.to(noisy).expand(shape)

    def analyse(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The low picture and the latent of a picture whose sides are multiples of `multiple`."""
        self._check_picture(picture)
        x = picture
        for operation in self.operations:
            x = operation(x)
        return x[:, : self.channels], x[:, self.channels :]

    def synthesise(self, low: Tensor, latent: Tensor) -> Tensor:
        """The picture of which :meth:`analyse` gives this low picture and this latent."""
        x = self._joined(low, latent)
        for operation in reversed(self._steps()):
            x = operation.inverse(x)
        return x

    def analysis_log_determinant(self, picture: Tensor) -> Tensor:
        """Logarithm of |det| of the Jacobian of :meth:`analyse` at each picture, (B,)."""
        self._check_picture(picture)
        x, total = picture, picture.new_zeros(len(picture))
        for operation in self._steps():
            x = operation(x)
            total = total + operation.log_determinant(x)
        return total

    def synthesis_log_determinant(self, low: Tensor, latent: Tensor) -> Tensor:
        """Logarithm of |det| of the Jacobian of :meth:`synthesise` at each pair, (B,)."""
        x, total = self._joined(low, latent), low.new_zeros(len(low))
        for operation in reversed(self._steps()):
            total = total - operation.log_determinant(x)
            x = operation.inverse(x)
        return total

    @property
    def _latent_channels(self) -> int:
        return self.channels * (self.multiple**2 - 1)

    def _steps(self) -> list[Any]:
        return list(self.operations)

    def _check_picture(self, picture: Tensor) -> None:
        if any(side % self.multiple for side in picture.shape[2:]):
            raise ModelError(
                f"a picture of {picture.shape[2]}x{picture.shape[3]} pixels; InvDN loses nothing only at multiples of "
                f"{self.multiple}: pad it, as shotnoise.Denoiser does"
            )

    def _joined(self, low: Tensor, latent: Tensor) -> Tensor:
        if latent.shape[1] != self._latent_channels or latent.shape[2:] != low.shape[2:]:
            raise ModelError(
                f"a latent of {'x'.join(map(str, latent.shape))}; expected {len(low)}x{self._latent_channels}x"
                f"{low.shape[2]}x{low.shape[3]} here: draw_latent makes one"
            )
        return torch.cat((low, latent), dim=1)

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read everything but the clamp off keys and shapes."""
        halvings: list[int] = []
        blocks: set[int] = set()
        for key in state:
            if match := re.fullmatch(r"operations\.(\d+)\.(haar_weights|reflections)", key):
                halvings.append(int(match[1]))
            elif match := re.match(r"operations\.(\d+)\.[FGH]\.conv1\.", key):
                blocks.add(int(match[1]))
        halvings.sort()
        if not halvings or not blocks or halvings[0] != 0:
            return None
        subnet = "dense" if "operations.1.F.conv5.weight" in state else "residual"
        haar, reflections = (state.get(f"operations.0.{name}") for name in ("haar_weights", "reflections"))
        ends = [*halvings[1:], max(blocks) + 1]
        return {
            "channel_in": haar.shape[0] // 4 if haar is not None else state["operations.0.reflections"].shape[1],
            "channel_out": state[f"operations.1.F.conv{_DEPTHS[subnet]}.weight"].shape[0],
            "block_num": [end - start - 1 for start, end in zip(halvings, ends, strict=True)],
            "scale": 2 ** len(halvings),
            "subnet": subnet,
            "width": state["operations.1.F.conv1.weight"].shape[0],
            "downsampling": "haar" if reflections is None else "learned",
        }
