"""The plain method: compare the result with the target."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from shotnoise.errors import RecipeError, nearest
from shotnoise.methods.method import Loss, Method
from shotnoise.networks import Network
from shotnoise.pairs.sample import Batch

__all__ = ["Supervised"]


def _charbonnier(result: Tensor, target: Tensor) -> Tensor:
    return ((result - target).square() + 1e-6).sqrt().mean()


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "charbonnier": _charbonnier,
}


class Supervised(Method):
    """distance(network(noisy), target).

    Args:
        network: what is trained.
        distance: l1, l2 or charbonnier (smooth L1, epsilon 1e-3).
    """

    def __init__(self, *, network: Network, distance: str = "l1") -> None:
        super().__init__()
        if distance not in _DISTANCES:
            raise RecipeError(f"unknown distance '{distance}': {nearest(distance, _DISTANCES)}")
        self.network = network
        self._distance = _DISTANCES[distance]
        self._name = distance

    def loss(self, batch: Batch, progress: float) -> Loss:  # noqa: D102
        result = self.network(batch["noisy"], batch.get("level"))
        value = self._distance(result.float(), batch["target"])
        return {"loss": value, "parts": {self._name: value}}

    def predictor(self) -> Network:  # noqa: D102
        return self.network
