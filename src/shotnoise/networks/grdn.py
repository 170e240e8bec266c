"""GRDN: groups of densely connected residual blocks, at half resolution.

Kim, Chung, Jung: "GRDN: Grouped Residual Dense Network for Real Image Denoising and GAN-based Real-world Noise
Modeling", CVPR Workshops 2019, arXiv 1905.11172; first of the sRGB track of the NTIRE 2019 challenge with 39.93 dB.

The weights of that track expect pictures in 0..255 with blue first: `rgb_range` and `bgr` translate on the way in and
out, so that here they are RGB in 0..1 as everywhere. Those of the RAW track (`input_channel=1`, `numofmodules=0`,
`numoffilters=67`, `relu=True`, `rgb_range=1`, `bgr=False`) take a whole mosaic as one gray picture.
sRGB: 34,412,267 parameters, 564.00 GMAC at 256x256; RAW: 24,135,246 and 395.48. The reference code has no licence;
nothing of it is used. Key names are the official ones.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.errors import ModelError
from shotnoise.networks.dual_attention import SpatialAttention
from shotnoise.networks.network import Network

__all__ = ["GRDN"]


class _Dense(nn.Module):
    """Append what one convolution makes of everything so far."""

    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, F.relu(self.conv(x))), dim=1)


class _DenseBlock(nn.Module):
    """x + fused dense layers."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.dense_layers = nn.Sequential(*(_Dense((1 + layer) * width, width) for layer in range(count)))
        self.conv_1x1 = nn.Conv2d((1 + count) * width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.conv_1x1(self.dense_layers(x))
        return x + correction


class _Group(nn.Module):
    """x + the fused results of all its dense blocks."""

    def __init__(self, width: int, blocks: int, layers: int) -> None:
        super().__init__()
        self.rdbs = nn.ModuleList(_DenseBlock(width, layers) for _ in range(blocks))
        self.conv_1x1 = nn.Conv2d(blocks * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        results: list[Tensor] = []
        for block in self.rdbs:
            results.append(block(results[-1] if results else x))
        correction: Tensor = self.conv_1x1(torch.cat(results, dim=1))
        return x + correction


class _Groups(nn.Module):
    """x + groups(x)."""

    def __init__(self, width: int, groups: int, blocks: int, layers: int) -> None:
        super().__init__()
        self.grdbs = nn.Sequential(*(_Group(width, blocks, layers) for _ in range(groups)))

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.grdbs(x)
        return x + correction


class _ChannelGate(nn.Module):
    """Channels weighted by their means and their largest values."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        gate = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        return x * torch.sigmoid(gate)[:, :, None, None]


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ChannelGate = _ChannelGate(width, max(width // 16, 1))
        self.SpatialGate = SpatialAttention(7, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.SpatialGate(self.ChannelGate(x))
        return result


class GRDN(Network):
    """noisy + correction(noisy).

    Args:
        input_channel: channels of the picture.
        numofmodules: groups in each group of groups; 0 for plain groups.
        numforrg: dense blocks in each group.
        numofrdb: dense blocks in all; what does not fill a group of groups becomes plain groups.
        numofconv: layers of each dense block.
        numoffilters: features.
        t: how many times each group is applied.
        relu: rectify after the first layer and after the attention, as the RAW track.
        rgb_range: white in the pictures that the weights belong to.
        bgr: whether those had blue first.
    """

    source: ClassVar[str] = "Kim et al., CVPR Workshops 2019"
    multiple = 2
    whole = True

    def __init__(
        self,
        *,
        input_channel: int = 3,
        numofmodules: int = 2,
        numforrg: int = 4,
        numofrdb: int = 16,
        numofconv: int = 8,
        numoffilters: int = 80,
        t: int = 1,
        relu: bool = False,
        rgb_range: float = 255,
        bgr: bool = True,
    ) -> None:
        super().__init__()
        if numofrdb % numforrg:
            raise ModelError(f"numofrdb is {numofrdb}; expected a multiple of numforrg ({numforrg})")
        self.channels = input_channel
        self.t, self.relu, self.rgb_range, self.bgr = t, relu, rgb_range, bgr
        width = numoffilters
        nested = numofrdb // (numofmodules * numforrg) if numofmodules else 0
        single = numofrdb // numforrg - nested * numofmodules
        self.layer1 = nn.Conv2d(input_channel, width, 3, padding=1)
        self.layer3 = nn.Conv2d(width, width, 4, stride=2, padding=1)
        self.rglayer = nn.ModuleList(
            [_Groups(width, numofmodules, numforrg, numofconv) for _ in range(nested)]
            + [_Group(width, numforrg, numofconv) for _ in range(single)]
        )
        self.layer7 = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.cbam = _Attention(width)
        self.layer9 = nn.Conv2d(width, input_channel, 3, padding=1)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x = self.layer1(self.rgb_range * (noisy.flip(1) if self.bgr else noisy))
        x = self.layer3(F.relu(x) if self.relu else x)  # (B, w, H/2, W/2)
        for group in self.rglayer:
            for _ in range(self.t):
                x = group(x)
        x = self.cbam(self.layer7(x))
        correction: Tensor = self.layer9(F.relu(x) if self.relu else x) / self.rgb_range
        return noisy + (correction.flip(1) if self.bgr else correction)

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read the sizes off keys and shapes; what cannot be seen is that of the challenge models."""
        first, dense = state.get("layer1.weight"), "dense_layers.0.conv.weight"
        if first is None or "cbam.SpatialGate.spatial.conv.weight" not in state:
            return None

        def indices(prefix: str) -> int:
            rest = [key.removeprefix(prefix) for key in state if key.startswith(prefix)]
            return len({part.partition(".")[0] for part in rest if part[0].isdigit()})

        modules = indices("rglayer.0.grdbs.")
        group = "rglayer.0.grdbs.0." if modules else "rglayer.0."
        return {
            "input_channel": first.shape[1],
            "numofmodules": modules,
            "numforrg": indices(f"{group}rdbs."),
            "numofrdb": sum(key.endswith(dense) for key in state),
            "numofconv": indices(f"{group}rdbs.0.dense_layers."),
            "numoffilters": first.shape[0],
            "relu": first.shape[1] == 1,
            "rgb_range": 1 if first.shape[1] == 1 else 255,
            "bgr": first.shape[1] == 3,
        }
