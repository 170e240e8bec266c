"""The denoisers of CycleISP: recursive groups of attention to channels and to places.

Zamir, Arora, Khan, Hayat, Khan, Yang, Shao: "CycleISP: Real Image Restoration via Improved Data Synthesis", CVPR 2020,
arXiv 2003.07761. Stated targets, not confirmed: DND 49.13 dB for RAW, 39.56 dB for sRGB; SIDD sRGB 39.52 dB.

The RAW network is told the variance of every value; here that is the square of the level. One slope per channel of the
rectifiers serves the whole network: files repeat it under many names. RAW: 2,838,404 parameters, 184.37 GMAC for 4
planes of 256x256; sRGB (`in_nc=3, level="none"`): 2,834,947 and 184.14; as the published RAW pipeline uses it
(`level="none"`): 2,836,100. Reference code: academic licence, of which nothing is used here. Key names are the
official ones.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from shotnoise.errors import ModelError
from shotnoise.networks.dual_attention import RecursiveGroup
from shotnoise.networks.network import Network

__all__ = ["CycleISPDenoiser"]


class CycleISPDenoiser(Network):
    """noisy + correction(noisy, variance).

    Args:
        in_nc: channels of the picture: 4 for packed RAW, 3 for RGB.
        level: 'sigma' to be told the noise, as the RAW network; 'none' as the RGB network.
        n_feats: features.
        num_rrg: recursive groups.
        num_dab: blocks in each.
        reduction: how many times fewer features channel attention has inside.
    """

    source: ClassVar[str] = "Zamir et al., CVPR 2020"
    whole = True

    def __init__(
        self,
        *,
        in_nc: int = 4,
        level: Literal["none", "sigma"] = "sigma",
        n_feats: int = 64,
        num_rrg: int = 4,
        num_dab: int = 8,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        if level not in ("none", "sigma"):
            raise ModelError(f"level is '{level}'; expected 'none' or 'sigma'")
        self.channels = in_nc
        self.level = level
        slope = nn.PReLU(n_feats)
        planes = 2 * in_nc if level == "sigma" else in_nc
        self.head = nn.Sequential(nn.Conv2d(planes, n_feats, 3, padding=1))
        groups = (RecursiveGroup(n_feats, num_dab, reduction, slope) for _ in range(num_rrg))
        self.body = nn.Sequential(*groups, nn.Conv2d(n_feats, n_feats, 3, padding=1), slope)
        self.tail = nn.Sequential(nn.Conv2d(n_feats, in_nc, 3, padding=1))

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        x = noisy
        if self.level == "sigma":
            x = torch.cat((noisy, self.level_map(noisy, level, self.channels).square()), dim=1)  # (B, 2C, H, W)
        correction: Tensor = self.tail(self.body(self.head(x)))
        return noisy + correction

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read everything off keys and shapes."""
        head, last = state.get("head.0.weight"), state.get("tail.0.weight")
        inside = state.get("body.0.body.0.CA.conv_du.0.weight")
        if head is None or last is None or inside is None or head.shape[1] not in (last.shape[0], 2 * last.shape[0]):
            return None

        def count(pattern: str) -> int:
            return len({match[1] for key in state if (match := re.match(pattern, key))})

        return {
            "in_nc": last.shape[0],
            "level": "none" if head.shape[1] == last.shape[0] else "sigma",
            "n_feats": head.shape[0],
            "num_rrg": count(r"body\.(\d+)\.body\.0\."),
            "num_dab": count(r"body\.0\.body\.(\d+)\.SA\."),
            "reduction": inside.shape[1] // inside.shape[0],
        }
