"""Stein's unbiased risk estimate: the error of a denoiser on Gaussian noise, measured without the truth.

Stein: "Estimation of the Mean of a Multivariate Normal Distribution", Annals of Statistics 1981; the divergence by
random probing after Ramani, Blu, Unser: "Monte-Carlo SURE", IEEE TIP 2008; as a training loss Soltanayev, Chun:
"Training Deep Learning Based Denoisers without Ground Truth Data", NeurIPS 2018.
"""

import torch

from shotnoise.errors import RecipeError
from shotnoise.methods.method import Loss, Method, known_level
from shotnoise.networks import Network
from shotnoise.pairs.sample import Batch

__all__ = ["Sure"]


class Sure(Method):
    """mean((f(y) - y)^2) - sigma^2 + 2 sigma^2 div f(y), whose mean is the mean squared error against the truth.

    The divergence per value is estimated with one probe b ~ N(0, 1): b (f(y + step b) - f(y)) / step. The loss of a
    single batch may be negative.

    Args:
        network: what is trained.
        step: length of the probe, for pictures in 0..1. In bf16 it must stay well above the rounding of the result.
    """

    def __init__(self, *, network: Network, step: float = 0.01) -> None:
        super().__init__()
        if step <= 0:
            raise RecipeError(f"method.step is {step}; expected the length of the probe, more than 0")
        self.network = network
        self.step = step

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Loss:  # noqa: D102
        noisy, variance = batch["noisy"], known_level(batch, "sure").square()
        probe = torch.randn(noisy.shape, generator=generator, device=noisy.device, dtype=noisy.dtype)
        result = self.network(noisy, batch["level"]).float()
        moved = self.network(noisy + self.step * probe, batch["level"]).float()
        residual = ((result - noisy).square() - variance).mean()
        divergence = (2 * variance * probe * (moved - result)).mean() / self.step
        return {"loss": residual + divergence, "parts": {"residual": residual, "divergence": divergence}}

    def predictor(self) -> Network:  # noqa: D102
        return self.network
