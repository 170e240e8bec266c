"""The Network contract: what every architecture of the zoo promises, as class data and one `forward`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from shotnoise.errors import ModelError
from shotnoise.sensor.law import KSigma

__all__ = ["Network", "Source"]

# Words for the table of `shotnoise networks`: title, authors, venue.
Source = str


class Network(nn.Module):
    """Base of all architectures.

    A subclass has a keyword constructor whose defaults are the published configuration, keeps the key names of the
    official state dicts, and states its limits as data. It never pads, crops, tiles, downloads or samples: the
    runner does, and randomness is an input.
    """

    source: ClassVar[Source] = ""
    multiple: int = 1  # height and width of the input must be multiples of this
    level: Literal["none", "sigma"] = "none"  # 'sigma': forward wants the noise level
    channels: int  # of input and output, without any level plane
    whole: ClassVar[bool] = False  # every pixel of the result depends on the whole picture: no tiling is exact
    k_sigma: ClassVar[KSigma | None] = None  # transform of packed RAW that the published weights expect
    # Channels and reduction of the random input: (B, channels, H / reduction, W / reduction). Not named `latent`, which
    # in official files is the name of a layer.
    latent_shape: tuple[int, int] | None = None

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:
        """Denoise a batch.

        Args:
            noisy: (B, C, H, W) float, the range of the training data.
            level: noise standard deviation in units of `noisy`, (B, 1, 1, 1) or (B, 1, H, W); None where unused.
                Networks for RAW that want it for every value also take (B, C, H, W).
            latent: extra random input of networks with a `latent_shape`, standard normal; None where unused. Such a
                network draws it itself from a generator with a fixed seed if None, so that the result repeats.
        """
        raise TypeError(f"{type(self).__name__} defines no forward pass")

    def level_map(self, noisy: Tensor, level: Tensor | None, planes: int = 1) -> Tensor:
        """The noise level at every pixel, (B, planes, H, W), in units of the picture."""
        if level is None:
            raise ModelError(f"{type(self).__name__} wants the noise level: pass level=sigma in units of the picture")
        if level.shape[1] > planes:
            raise ModelError(
                f"{type(self).__name__} takes one noise level, and was given one for each of {level.shape[1]} planes, "
                "as the noise of RAW asks for; use it behind the root of the k-Sigma transform, or a network like "
                "unprocessing-denoiser"
            )
        return torch.zeros_like(noisy[:, :planes]) + level  # a sum, so that an exported file keeps its size free

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Constructor arguments read off a state dict, or None when it belongs to another architecture."""
        return None

    def grown_from(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Weights for this network that do what those of a smaller one of its kind do; None where it knows no way.

        What is new adds nothing until it is trained, so that a training goes on where the smaller network ended.
        """
        return None
