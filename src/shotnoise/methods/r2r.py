"""Recorrupted-to-Recorrupted: noise of a known law, split into two independent parts.

Pang, Zheng, Quan, Ji: "Recorrupted-to-Recorrupted: Unsupervised Deep Learning for Image Denoising", CVPR 2021; for
photon counts Monroy, Bacca, Tachella: "Generalized Recorrupted-to-Recorrupted: Self-Supervised Learning Beyond
Gaussian Noise", CVPR 2025.

Differences: the papers average a few recorrupted inputs when they denoise; here, as for every method, the network
runs once on the picture itself, whose noise is weaker than that of the inputs in training by the factor
sqrt(1 - alpha).
"""

import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.methods.method import Loss, Method, known_level
from shotnoise.networks import Network
from shotnoise.pairs.sample import Batch

__all__ = ["RecorruptedToRecorrupted", "split_gaussian", "split_poisson"]


def split_gaussian(noisy: Tensor, sigma: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Give y1 = y + sqrt(alpha / (1 - alpha)) n with n ~ N(0, sigma^2), and y2 = (y - (1 - alpha) y1) / alpha.

    Both have the mean of y, and their noises are independent, of variance sigma^2 / (1 - alpha) and sigma^2 / alpha.
    """
    fresh = sigma * torch.randn(noisy.shape, generator=generator, device=noisy.device, dtype=noisy.dtype)
    first = noisy + (alpha / (1 - alpha)) ** 0.5 * fresh
    return first, (noisy - (1 - alpha) * first) / alpha


def split_poisson(noisy: Tensor, photons: float, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Send each photon of photons * y to the second picture with probability alpha, else to the first.

    Both have the mean of y, and their noises are independent, those of (1 - alpha) and alpha times the photons.
    """
    counts = (noisy * photons).round().clamp_min(0)
    second = torch.binomial(counts, torch.full_like(counts, alpha), generator=generator)
    return (counts - second) / (photons * (1 - alpha)), second / (photons * alpha)


class RecorruptedToRecorrupted(Method):
    """mean((f(y1) - y2)^2) for the two parts of y; its mean is that of clean targets plus a constant.

    Args:
        network: what is trained.
        alpha: how the noise is shared out. Small: the input is nearly as good as y, the target far worse.
        photons: the pictures are photon counts divided by this number, which is Poisson noise of one strength;
            None: Gaussian noise, whose standard deviation comes with each sample.
    """

    def __init__(self, *, network: Network, alpha: float = 0.15, photons: float | None = None) -> None:
        super().__init__()
        if not 0 < alpha < 1:
            raise RecipeError(f"method.alpha is {alpha}; expected a share between 0 and 1, both excluded")
        if photons is not None and photons <= 0:
            raise RecipeError(f"method.photons is {photons}; expected the photons of a white value, more than 0")
        self.network = network
        self.alpha, self.photons = alpha, photons

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Loss:  # noqa: D102
        noisy, level = batch["noisy"], batch.get("level")
        if self.photons is not None:
            first, second = split_poisson(noisy, self.photons, self.alpha, generator)
        else:
            sigma = known_level(batch, "r2r")
            first, second = split_gaussian(noisy, sigma, self.alpha, generator)
            level = sigma / (1 - self.alpha) ** 0.5
        value = (self.network(first, level).float() - second).square().mean()
        return {"loss": value, "parts": {"l2": value}}

    def predictor(self) -> Network:  # noqa: D102
        return self.network
