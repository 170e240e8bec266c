"""The Method contract."""

from abc import abstractmethod
from typing import TypedDict

from torch import Tensor, nn

from shotnoise.networks import Network
from shotnoise.pairs.sample import Batch

__all__ = ["Loss", "Method"]


class Loss(TypedDict):
    """What a step gives back: the number to minimise and its named parts for the log."""

    loss: Tensor
    parts: dict[str, Tensor]


class Method(nn.Module):
    """Trains one or more networks. The loop knows steps, schedules and checkpoints; only the method knows the loss."""

    @abstractmethod
    def loss(self, batch: Batch, progress: float) -> Loss:
        """The loss of one batch; `progress` runs from 0 to 1 over the training."""

    @abstractmethod
    def predictor(self) -> Network:
        """The network that is validated, exported and run."""
