"""DnCNN and FDnCNN: a plain stack of 3x3 convolutions.

Zhang, Zuo, Chen, Meng, Zhang: "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising",
IEEE Transactions on Image Processing 2017, arXiv 1608.03981. Target: gray BSD68 29.23 dB at sigma 25 (17 layers,
one model per noise level); colour models have 20 layers. FDnCNN, published with the same authors' code, is told the
noise level and predicts the picture instead of the noise: gray BSD68 29.22 dB at sigma 25, one model for all levels.

Differences: the paper trains with an L2 loss and batch norm; the weights its authors publish have the norm merged
into the convolutions, which is what `act_mode="R"` builds. Batch norm here uses eps 1e-4, as the published files.
DnCNN gray, 17 layers, merged: 555,137 parameters, 36.31 GMAC at 256x256; FDnCNN colour, 20 layers: 668,803 and 43.75.
Reference code: MIT. Key names are the official ones: one flat sequence `model.{i}`.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["DnCNN", "FDnCNN", "plain_stack", "read_stack"]

_ACTIVATIONS = {
    "R": "ReLU",
    "L": "leaky ReLU",
    "BR": "batch norm and ReLU",
    "BL": "batch norm and leaky ReLU",
}


def plain_stack(in_nc: int, out_nc: int, nc: int, nb: int, act_mode: str) -> nn.Sequential:
    """`nb` convolutions with activations between them, no norm in the first."""
    if act_mode not in _ACTIVATIONS:
        raise ModelError(f"act_mode is '{act_mode}'; expected one of {', '.join(_ACTIVATIONS)}")
    if nb < 2:
        raise ModelError(f"nb is {nb}; expected at least a first and a last convolution")

    def activation() -> nn.Module:
        return nn.ReLU(inplace=True) if act_mode.endswith("R") else nn.LeakyReLU(0.2, inplace=True)

    layers: list[nn.Module] = [nn.Conv2d(in_nc, nc, 3, padding=1), activation()]
    for _ in range(nb - 2):
        layers.append(nn.Conv2d(nc, nc, 3, padding=1))
        if act_mode.startswith("B"):
            layers.append(nn.BatchNorm2d(nc, eps=1e-4, momentum=0.9))
        layers.append(activation())
    layers.append(nn.Conv2d(nc, out_nc, 3, padding=1))
    return nn.Sequential(*layers)


def read_stack(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Arguments of :func:`plain_stack` by the shapes; leaky activations cannot be seen in a file."""
    if not all(re.fullmatch(r"model\.\d+\.\w+", key) for key in state):
        return None
    convs = {int(key.split(".")[1]): value for key, value in state.items() if value.ndim == 4}
    if len(convs) < 2 or any(value.shape[2:] != (3, 3) for value in convs.values()):
        return None
    norm = any(key.endswith("running_mean") for key in state)
    if max(convs) != (3 * len(convs) - 4 if norm else 2 * len(convs) - 2):
        return None
    first, last = convs[min(convs)], convs[max(convs)]
    return {
        "in_nc": first.shape[1],
        "out_nc": last.shape[0],
        "nc": first.shape[0],
        "nb": len(convs),
        "act_mode": "BR" if norm else "R",
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
        if in_nc != out_nc:
            raise ModelError(f"DnCNN subtracts its output from its input: in_nc {in_nc} must equal out_nc {out_nc}")
        self.channels = in_nc
        self.model = plain_stack(in_nc, out_nc, nc, nb, act_mode)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        residual: Tensor = self.model(noisy)
        return noisy - residual

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """A stack with as many channels at the end as at the start."""
        arguments = read_stack(state)
        return arguments if arguments and arguments["in_nc"] == arguments["out_nc"] else None


class FDnCNN(Network):
    """stack(noisy, level), the picture itself.

    Args:
        in_nc: channels of the noisy picture, and one for the noise level.
        out_nc: channels of the result.
        nc: features of the hidden layers.
        nb: number of convolutions, first and last included.
        act_mode: as in :class:`DnCNN`.
    """

    source: ClassVar[str] = "Zhang et al., IEEE TIP 2017"
    level = "sigma"

    def __init__(self, *, in_nc: int = 4, out_nc: int = 3, nc: int = 64, nb: int = 20, act_mode: str = "R") -> None:
        super().__init__()
        if in_nc != out_nc + 1:
            raise ModelError(f"FDnCNN takes the picture and a noise level: in_nc {in_nc} must be out_nc {out_nc} + 1")
        self.channels = out_nc
        self.model = plain_stack(in_nc, out_nc, nc, nb, act_mode)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        clean: Tensor = self.model(torch.cat((noisy, self.level_map(noisy, level)), dim=1))
        return clean

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """A stack with one channel more at the start; four at the end are an FFDNet, which looks the same."""
        arguments = read_stack(state)
        if not arguments or arguments["in_nc"] != arguments["out_nc"] + 1 or arguments["out_nc"] % 4 == 0:
            return None
        return arguments
