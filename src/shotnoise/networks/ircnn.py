"""IRCNN: seven dilated convolutions that predict the noise.

Zhang, Zuo, Gu, Zhang: "Learning Deep CNN Denoiser Prior for Image Restoration", CVPR 2017, arXiv 1704.03264. Published
as 25 models, one per noise level: CBSD68 31.16 dB, gray BSD68 29.15 dB at sigma 25.

Differences: the paper trains with batch norm, which the published weights have merged into the convolutions.
Colour: 188,163 parameters, 12.31 GMAC at 256x256. Reference code: MIT. Key names are the official ones, which are also
those of a DnCNN with seven layers: a file alone does not say which it is.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from shotnoise.networks.dncnn import read_stack
from shotnoise.networks.network import Network

__all__ = ["IRCNN"]

_DILATIONS = (1, 2, 3, 4, 3, 2, 1)


class IRCNN(Network):
    """noisy - stack(noisy).

    Args:
        in_nc: channels of the picture.
        nc: features of the hidden layers.
    """

    source: ClassVar[str] = "Zhang et al., CVPR 2017"

    def __init__(self, *, in_nc: int = 3, nc: int = 64) -> None:
        super().__init__()
        self.channels = in_nc
        widths = (in_nc, *(nc for _ in _DILATIONS[1:]), in_nc)
        layers: list[nn.Module] = []
        for inside, outside, dilation in zip(widths[:-1], widths[1:], _DILATIONS, strict=True):
            layers += [nn.Conv2d(inside, outside, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        residual: Tensor = self.model(noisy)
        return noisy - residual

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """A stack of exactly seven convolutions without norm."""
        found = read_stack(state)
        if not found or found["nb"] != len(_DILATIONS) or found["act_mode"] != "R" or found["in_nc"] != found["out_nc"]:
            return None
        return {"in_nc": found["in_nc"], "nc": found["nc"]}
