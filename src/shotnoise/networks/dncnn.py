"""DnCNN: a plain stack of 3x3 convolutions that predicts the noise.

Zhang, Zuo, Chen, Meng, Zhang: "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising",
IEEE Transactions on Image Processing 2017, arXiv 1608.03981. Target: gray BSD68 29.23 dB at sigma 25 (17 layers,
one model per noise level); colour models have 20 layers.

Differences: the paper trains with an L2 loss and batch norm; the weights its authors publish have the norm merged
into the convolutions, which is what `act_mode="R"` builds. Batch norm here uses eps 1e-4, as the published files.
Gray, 17 layers, merged: 555,137 parameters, 36.31 GMAC at 256x256. Reference code: MIT.
Key names are the official ones: one flat sequence `model.{i}`.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["DnCNN"]

_ACTIVATIONS = {
    "R": "ReLU",
    "L": "leaky ReLU",
    "BR": "batch norm and ReLU",
    "BL": "batch norm and leaky ReLU",
}


class DnCNN(Network):
    """noisy - stack(noisy).

    Args:
        in_nc: channels of the noisy picture.
        out_nc: channels of the result; equal to `in_nc`, as the result is a difference.
        nc: features of the hidden layers.
        nb: number of convolutions, first and last included.
        act_mode: R (ReLU), L (leaky ReLU, slope 0.2), BR or BL (batch norm before it).
    """

    source: ClassVar[str] = "Zhang et al., IEEE TIP 2017"

    def __init__(self, *, in_nc: int = 1, out_nc: int = 1, nc: int = 64, nb: int = 17, act_mode: str = "BR") -> None:
        super().__init__()
        if act_mode not in _ACTIVATIONS:
            raise ModelError(f"act_mode is '{act_mode}'; expected one of {', '.join(_ACTIVATIONS)}")
        if in_nc != out_nc:
            raise ModelError(f"DnCNN subtracts its output from its input: in_nc {in_nc} must equal out_nc {out_nc}")
        if nb < 2:
            raise ModelError(f"nb is {nb}; DnCNN has at least a first and a last convolution")
        self.channels = in_nc

        def activation() -> nn.Module:
            return nn.ReLU(inplace=True) if act_mode.endswith("R") else nn.LeakyReLU(0.2, inplace=True)

        layers: list[nn.Module] = [nn.Conv2d(in_nc, nc, 3, padding=1), activation()]
        for _ in range(nb - 2):
            layers.append(nn.Conv2d(nc, nc, 3, padding=1))
            if act_mode.startswith("B"):
                layers.append(nn.BatchNorm2d(nc, eps=1e-4, momentum=0.9))
            layers.append(activation())
        layers.append(nn.Conv2d(nc, out_nc, 3, padding=1))
        self.model = nn.Sequential(*layers)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        residual: Tensor = self.model(noisy)
        return noisy - residual

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read depth, width and batch norm off the shapes; leaky activations cannot be seen in a file."""
        if not all(re.fullmatch(r"model\.\d+\.\w+", key) for key in state):
            return None
        convs = {int(key.split(".")[1]): value for key, value in state.items() if value.ndim == 4}
        if len(convs) < 2 or any(value.shape[2:] != (3, 3) for value in convs.values()):
            return None
        first, last = convs[min(convs)], convs[max(convs)]
        if first.shape[1] != last.shape[0]:  # FDnCNN, FFDNet: extra input channels
            return None
        norm = any(key.endswith("running_mean") for key in state)
        if max(convs) != (3 * len(convs) - 4 if norm else 2 * len(convs) - 2):
            return None
        return {
            "in_nc": first.shape[1],
            "out_nc": last.shape[0],
            "nc": first.shape[0],
            "nb": len(convs),
            "act_mode": "BR" if norm else "R",
        }
