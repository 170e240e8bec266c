"""Under-sampled MRI: the network predicts, and what the scanner measured is put back."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from shotnoise.errors import RecipeError
from shotnoise.methods.method import Loss, Method
from shotnoise.mri.slices import BLACK
from shotnoise.networks import Network
from shotnoise.pairs.sample import Batch

__all__ = ["KSpace", "put_back"]

PostOp = Literal["none", "validation", "full"]
_POST_OPS = ("none", "validation", "full")


class KSpace(Method):
    """mean((post(network(noisy)) - target)^2), unclipped: the MRI experiment of Noise2Noise.

    Slices of odd size are continued with black at the bottom and right to the network's size multiple, and cut back.
    `post` replaces the frequencies that were measured in `noisy` by their measured values; so the network only has to
    know the others. It is a matter of the result alone: the network, and what is exported, is the same with it and
    without.

    Args:
        network: of one channel.
        post_op: "full": in training and validation; "validation": the network is trained without it; "none": never.
    """

    def __init__(self, *, network: Network, post_op: PostOp = "full") -> None:
        super().__init__()
        if post_op not in _POST_OPS:
            raise RecipeError(f"method.post_op is '{post_op}'; expected one of {', '.join(_POST_OPS)}")
        if network.channels != 1:
            raise RecipeError(
                f"method 'kspace' with a network of {network.channels} channels; slices have one, set network.in_nc: 1"
            )
        self.network, self.post_op = network, post_op

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Loss:  # noqa: D102
        value = (self._result(batch, self.post_op == "full") - batch["target"]).square().mean()
        return {"loss": value, "parts": {"l2": value}}

    def restore(self, batch: Batch) -> Tensor:
        """As it is validated."""
        return self._result(batch, self.post_op != "none")

    def predictor(self) -> Network:  # noqa: D102
        return self.network

    def _result(self, batch: Batch, post: bool) -> Tensor:
        noisy = batch["noisy"]
        if post and not {"spectrum", "measured"} <= batch.keys():
            raise RecipeError("method 'kspace' needs to know what was measured; use pairs: {name: kspace}")
        height, width = noisy.shape[2:]
        step = self.network.multiple
        padded = F.pad(noisy, (0, -width % step, 0, -height % step), value=BLACK)
        result = self.network(padded)[:, :, :height, :width].float()
        return put_back(result, batch["spectrum"], batch["measured"]) if post else result


def put_back(image: Tensor, spectrum: Tensor, measured: Tensor) -> Tensor:
    """:func:`shotnoise.mri.with_measured` on tensors; gradients pass through.

    Args:
        image: (B, 1, H, W) float32.
        spectrum: (B, 2, H, W), real and imaginary part of what was measured, centred.
        measured: (B, 1, H, W), 1 where that is.
    """
    # Half precision knows no transform of odd sizes, and autocast must not choose it.
    with torch.autocast(image.device.type, enabled=False):
        predicted = torch.fft.fftshift(torch.fft.fft2(image.float()), dim=(-2, -1))
        known = torch.complex(spectrum[:, :1].float(), spectrum[:, 1:].float())
        mixed = known * measured + predicted * (1 - measured)
        result: Tensor = torch.fft.ifft2(torch.fft.ifftshift(mixed, dim=(-2, -1))).real
        return result
