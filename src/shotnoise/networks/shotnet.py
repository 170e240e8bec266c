"""ShotNet: the house's own network, built for speed on CPUs and for int8.

A residual U-Net of nothing but dense convolutions, ReLU and additions, which is what CPU engines run at nearly their
peak; the first layer works at half resolution, so full-resolution features never exist. The result is the input plus
a correction, which keeps int8 close to float. Conditioned on the noise level, so one file covers a range of noise and
the user can ask for more or less.

Weak noise is hard for such a network: what it has to see and to say is a hundredth of the picture's range. The
`relative` one counts both in units of the noise level: beside the picture it sees by how many levels each pixel differs
from its neighbourhood, and what it takes away is its output times the level. No noise, no change.

No paper. Size S, the default: 939,212 parameters, 2.38 GMAC at 256x256 colour; size M: 6,623,564 and 5.17 GMAC.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["ShotNet"]


# Per size: widths, blocks on the way down, blocks on the way up.
_SIZES = {
    "S": ((32, 64, 128), (1, 1, 2), (2, 1)),
    "M": ((32, 64, 128, 256), (2, 2, 2, 4), (2, 2, 2)),
}
_NEIGHBOURHOOD = 7  # pixels on a side
_FAR = 8.0  # levels; a pixel that differs by more from its neighbourhood has no noise worth a finer number
_FAINTEST = 1 / 255  # noise below this is seen in units of this
_USUAL = 0.1  # the level at which a relative network begins as what it has grown from


class _Residual(nn.Module):
    """x + conv(relu(conv(x))); the second convolution starts at zero, so that a fresh stack is nearly the identity."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + correction


class ShotNet(Network):
    """noisy + correction(noisy, level).

    Args:
        in_nc: channels of the picture.
        size: 'S' or 'M', which stand for the three numbers below.
        widths: features at 1/2, 1/4, 1/8 ... of the resolution; None: those of the size.
        encoder: residual blocks on each scale on the way down, as many numbers as `widths`; None: those of the size.
        decoder: residual blocks on each scale on the way up, one number fewer; coarse to fine; None likewise.
        level: 'sigma' to take the noise level as an input, 'none' for a blind network.
        relative: see and correct in units of the noise level, which 'sigma' tells.
    """

    source: ClassVar[str] = "this project"

    def __init__(
        self,
        *,
        in_nc: int = 3,
        size: Literal["S", "M"] = "S",
        widths: Sequence[int] | None = None,
        encoder: Sequence[int] | None = None,
        decoder: Sequence[int] | None = None,
        level: Literal["none", "sigma"] = "sigma",
        relative: bool = False,
    ) -> None:
        super().__init__()
        if size not in _SIZES:
            raise ModelError(f"size is '{size}'; expected 'S' or 'M'")
        stated = (widths, encoder, decoder)
        widths, encoder, decoder = (
            named if own is None else own for own, named in zip(stated, _SIZES[size], strict=True)
        )
        if len(encoder) != len(widths) or len(decoder) != len(widths) - 1:
            raise ModelError(
                f"ShotNet got {len(widths)} widths, {len(encoder)} encoder and {len(decoder)} decoder numbers; "
                "expected as many encoder numbers as widths and one decoder number fewer"
            )
        if level not in ("none", "sigma"):
            raise ModelError(f"level is '{level}'; expected 'none' or 'sigma'")
        if relative and level == "none":
            raise ModelError("relative is true and level 'none'; expected level 'sigma', in whose units it counts")
        self.channels = in_nc
        self.level = level
        self.relative = relative
        self.multiple = 2 ** len(widths)
        planes = in_nc + (level == "sigma") + relative * in_nc
        # 6x6 with stride 2 is pixel-unshuffle followed by a 3x3, in one layer that exports with free sizes.
        self.stem = nn.Conv2d(planes, widths[0], 6, stride=2, padding=2)
        self.encoder = nn.ModuleList(
            nn.Sequential(*(_Residual(width) for _ in range(count)))
            for width, count in zip(widths, encoder, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in itertools.pairwise(widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2)
            for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(*(_Residual(width) for _ in range(count)))
            for width, count in zip(widths[-2::-1], decoder, strict=True)
        )
        self.head = nn.Conv2d(widths[0], 4 * in_nc, 3, padding=1)
        for parameter in self.head.parameters():  # training starts from "change nothing"
            nn.init.zeros_(parameter)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x, unit = noisy, None
        if self.level == "sigma":
            sigma = self.level_map(noisy, level)
            x = torch.cat((noisy, sigma), dim=1)
            if self.relative:
                x, unit = torch.cat((x, _detail(noisy, sigma)), dim=1), sigma
        x = self.stem(x)  # (B, w0, H/2, W/2)
        skips: list[Tensor] = []
        for scale, blocks in enumerate(self.encoder):
            x = blocks(x)
            if scale < len(self.down):
                skips.append(x)
                x = self.down[scale](x)
        for up, blocks in zip(self.up, self.decoder, strict=True):
            x = blocks(up(x) + skips.pop())
        correction = F.pixel_shuffle(self.head(x), 2)  # (B, 4C, H/2, W/2) -> (B, C, H, W)
        return noisy + (correction if unit is None else unit * correction)

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read widths and block counts off the key names."""
        stem, head = state.get("stem.weight"), state.get("head.weight")
        if stem is None or head is None or stem.ndim != 4 or stem.shape[2:] != (6, 6):
            return None

        def blocks(side: str) -> list[int]:
            found: dict[int, int] = {}
            for key in state:
                part = key.split(".")
                if part[0] == side:
                    found[int(part[1])] = max(found.get(int(part[1]), 0), int(part[2]) + 1)
            return [found.get(scale, 0) for scale in range(max(found, default=-1) + 1)]

        downs = sorted(key for key in state if key.startswith("down.") and key.endswith("weight"))
        widths = [stem.shape[0], *(state[key].shape[0] for key in downs)]
        channels = head.shape[0] // 4
        return {
            "in_nc": channels,
            "widths": widths,
            "encoder": (blocks("encoder") + [0] * len(widths))[: len(widths)],
            "decoder": (blocks("decoder") + [0] * len(widths))[: len(widths) - 1],
            "level": "sigma" if stem.shape[1] > channels else "none",
            "relative": stem.shape[1] > channels + 1,
        }

    def grown_from(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Of a ShotNet with no more features, blocks and scales, and the same inputs.

        A relative one also grows from one that is not: it does the same at a usual noise level, and in proportion to
        the level at others.
        """
        own, smaller = self.state_dict(), self.arguments_from(state)
        if smaller is None or (smaller["in_nc"], smaller["level"]) != (self.channels, self.level):
            return None
        if smaller["relative"] and not self.relative:
            return None
        # The way up is counted from the coarsest scale, of which this network may have more.
        coarser = len(self.decoder) - len(smaller["decoder"])
        grown = {}
        for key, values in own.items():
            # A block more is the identity, a scale more is not listened to.
            ends = key.startswith("up") or ".conv2." in key
            grown[key] = torch.zeros_like(values) if ends else values.clone()
        for key, values in state.items():
            side, place, *rest = key.split(".")
            if side in ("up", "decoder"):
                place = str(int(place) + coarser)
            name = ".".join((side, place, *rest))
            if coarser < 0 or name not in own or any(a > b for a, b in zip(values.shape, own[name].shape, strict=True)):
                return None
            taken = tuple(slice(size) for size in values.shape)
            if values.ndim == 4:
                # Old features take nothing from new ones, which begin with the weights of a fresh network.
                outputs, inputs = (1, 0) if side == "up" else (0, 1)
                reach = [slice(None)] * 4
                reach[inputs] = slice(values.shape[inputs], None)
                reach[outputs] = slice(values.shape[outputs])
                grown[name] = own[name].clone()
                grown[name][tuple(reach)] = 0
            grown[name][taken] = values
        if self.relative and not smaller["relative"]:
            for name in ("head.weight", "head.bias"):
                grown[name] /= _USUAL
        return grown


def _detail(noisy: Tensor, sigma: Tensor) -> Tensor:
    """By how many noise levels each pixel differs from the mean around it; -2..2 stands for as many as matter."""
    mean = F.avg_pool2d(noisy, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False)
    return ((noisy - mean) / (_FAR / 2 * sigma.clamp_min(_FAINTEST))).clamp(-2, 2)
