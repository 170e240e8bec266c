"""The plain method: compare the result with the target. With noisy targets it is Noise2Noise."""

from collections.abc import Callable

import torch
from torch import Tensor

from shotnoise.errors import RecipeError, nearest
from shotnoise.methods.method import Loss, Method
from shotnoise.networks import Network
from shotnoise.pairs.sample import Batch

__all__ = ["Supervised"]


def _annealed(difference: Tensor, progress: float) -> Tensor:
    """(|d| + 1e-8)^gamma with gamma from 2 down to 0."""
    exponent: float = 2.0 * (1.0 - progress)
    return (difference.abs() + 1e-8) ** exponent


_PERFECT = 50.0  # dB

# The penalty of each value, given its difference and the progress of the training.
_DISTANCES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "l0": _annealed,
    "l1": lambda difference, _: difference.abs(),
    "l2": lambda difference, _: difference.square(),
    "charbonnier": lambda difference, _: (difference.square() + 1e-6).sqrt(),
    "psnr": lambda difference, _: difference.square(),
}


class Supervised(Method):
    """distance(network(noisy), target), the mean over all values that the target holds.

    On the pair source ``noisy-pairs`` this is Noise2Noise (Lehtinen et al., ICML 2018, arXiv 1803.04189): the distance
    decides what about the noise of the targets must be right. l2 finds their mean (Gaussian and Poisson noise, missing
    pixels), l1 their median (text), l0 their mode (random impulses). A batch with a `mask` is compared only where its
    target was measured.

    Args:
        network: what is trained.
        distance: l1, l2, charbonnier (smooth L1, epsilon 1e-3) or l0: mean((|d| + 1e-8)^gamma) with gamma going
            linearly from 2 to 0 over the training. Or psnr: how many decibels each sample is below `perfect`, in
            effect, so that a sample with little noise counts as much as one with plenty: 10 log10(1 + mse / e) with
            e = 10^(-perfect / 10).
        perfect: of psnr alone: the PSNR in dB beyond which nothing is to be won, 50 where it is not stated. The lower
            it is, the less samples with little noise count.
    """

    def __init__(self, *, network: Network, distance: str = "l1", perfect: float | None = None) -> None:
        super().__init__()
        if distance not in _DISTANCES:
            raise RecipeError(f"unknown distance '{distance}': {nearest(distance, _DISTANCES)}")
        if perfect is not None and distance != "psnr":
            raise RecipeError(f"perfect is {perfect} with the distance {distance}; only psnr knows it: leave it out")
        self.network = network
        self._distance = _DISTANCES[distance]
        self._name = distance
        self._perfect = 10 ** (-(_PERFECT if perfect is None else perfect) / 10)

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Loss:  # noqa: D102
        result = self.network(batch["noisy"], batch.get("level"))
        penalty = self._distance(result.float() - batch["target"], progress)
        mask = batch["mask"].expand_as(penalty) if "mask" in batch else torch.ones_like(penalty)
        # Of each sample where each counts by itself, of all together otherwise.
        over = (1, 2, 3) if self._name == "psnr" else (0, 1, 2, 3)
        # A batch without a single measured pixel teaches nothing, and must not divide by zero.
        value = (penalty * mask).sum(over) / mask.sum(over).clamp_min(1)
        if self._name == "psnr":
            value = 10 * torch.log10(1 + value / self._perfect).mean()
        return {"loss": value, "parts": {self._name: value}}

    def predictor(self) -> Network:  # noqa: D102
        return self.network
