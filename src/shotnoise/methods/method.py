"""The Method contract."""

from abc import abstractmethod
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.errors import RecipeError
from shotnoise.networks import Network
from shotnoise.pairs.sample import Batch

__all__ = ["Loss", "Method", "known_level", "run_padded"]


class Loss(TypedDict):
    """What a step gives back: the number to minimise and its named parts for the log."""

    loss: Tensor
    parts: dict[str, Tensor]


class Method(nn.Module):
    """Trains one or more networks. The loop knows steps, schedules and checkpoints; only the method knows the loss."""

    @abstractmethod
    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Loss:
        """The loss of one batch.

        Args:
            batch: what :func:`~shotnoise.pairs.sample.collate` made of samples.
            progress: runs from 0 to 1 over the training.
            generator: source of all randomness, on the device of the batch. The loop seeds it anew for every step
                from the seed of the run, the step and the rank of the process, so a resumed run goes on as if it had
                never stopped.
        """

    @abstractmethod
    def predictor(self) -> Network:
        """The network that is validated, exported and run."""

    def restore(self, batch: Batch) -> Tensor:
        """What is made of a held-out batch: the network on its noisy pictures, of whatever size they are."""
        return run_padded(self.predictor(), batch["noisy"], batch.get("level"))


def run_padded(network: Network, noisy: Tensor, level: Tensor | None) -> Tensor:
    """Run a network on any size: reflect to its size multiple at the bottom and right, crop the result."""
    height, width = noisy.shape[2:]
    bottom, right = -height % network.multiple, -width % network.multiple
    if bottom or right:
        mode = "reflect" if bottom < height and right < width else "replicate"
        noisy = F.pad(noisy, (0, right, 0, bottom), mode=mode)
        if level is not None and level.shape[2:] == (height, width):  # a map; one number goes with any size
            level = F.pad(level, (0, right, 0, bottom), mode=mode)
    result: Tensor = network(noisy, level)
    return result[:, :, :height, :width]


def known_level(batch: Batch, method: str) -> Tensor:
    """The noise level of each sample, (B, 1, 1, 1), for a method that cannot do without it."""
    if "level" not in batch:
        raise RecipeError(
            f"method '{method}' must know the standard deviation of the noise, which these samples do not carry; "
            "use noise: {name: gaussian, ...}, with one sigma for pictures that are noisy already"
        )
    return batch["level"]
