"""Neighbor2Neighbor: one noisy picture is split into two of half the size, which teach each other.

Huang, Li, Jia, Lu, Liu: "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images", CVPR 2021,
arXiv 2101.02824. Assumes noise of mean zero that is independent between neighbouring pixels: right for sensors and
for the planes of a packed RAW picture, wrong for camera JPEGs.

Differences: the paper writes a constant weight of the regulariser, its code ramps it up epoch by epoch; the code is the
default here, `gamma` gives the constant. The index of the sub-sampler comes from the generator of the step, not from
a global counter. Reference code: BSD-3-Clause.
"""

import math

import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.methods.method import Loss, Method
from shotnoise.networks import Network
from shotnoise.pairs.sample import Batch

__all__ = ["Neighbor2Neighbor", "draw_index", "neighbours"]

# Places in a 2x2 cell: 0 top left, 1 top right, 2 bottom left, 3 bottom right. The four edges, both ways; no diagonals.
_PAIRS = ((0, 1), (0, 2), (1, 3), (2, 3), (1, 0), (2, 0), (3, 1), (3, 2))


def draw_index(noisy: Tensor, generator: torch.Generator) -> Tensor:
    """A row of the table of pairs for each 2x2 cell of each picture, all channels alike: (B, H/2, W/2)."""
    batch, _, height, width = noisy.shape
    return torch.randint(len(_PAIRS), (batch, height // 2, width // 2), generator=generator, device=noisy.device)


def neighbours(picture: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Two pixels that share an edge, from each 2x2 cell.

    Args:
        picture: (B, C, H, W), height and width even.
        index: which pair of the cell, and in which order, (B, H/2, W/2) in 0..7.

    Returns:
        Two pictures (B, C, H/2, W/2), of the first and of the second pixels.
    """
    batch, channels, height, width = picture.shape
    if height % 2 or width % 2:
        raise RecipeError(f"samples are {height} x {width}; expected an even height and width, set pairs.crop")
    cells = picture.reshape(batch, channels, height // 2, 2, width // 2, 2).movedim(3, 4)
    cells = cells.reshape(batch, channels, height // 2, width // 2, 4)
    places = torch.tensor(_PAIRS, device=index.device)[index]  # (B, H/2, W/2, 2)
    chosen = cells.gather(4, places[:, None].expand(-1, channels, -1, -1, -1))  # (B, C, H/2, W/2, 2)
    return chosen[..., 0], chosen[..., 1]


class Neighbor2Neighbor(Method):
    """lambda1 mean(d^2) + lambda2 gamma mean((d - e)^2), d = f(g1(y)) - g2(y), e = g1(f(y)) - g2(f(y)) held constant.

    g1 and g2 are the two sub-samplers of :func:`neighbours`, with a fresh index in every step. The second term takes
    out what the two half-size pictures truly differ by, as far as the network itself sees it.

    Args:
        network: what is trained.
        increase_ratio: where gamma ends: in epoch n of `epochs` it is n / epochs * increase_ratio.
        epochs: in how many equal steps gamma rises over the training.
        gamma: a constant in place of the rise.
        lambda1: weight of the first term.
        lambda2: weight of the second term.
    """

    def __init__(
        self,
        *,
        network: Network,
        increase_ratio: float = 2.0,
        epochs: int = 100,
        gamma: float | None = None,
        lambda1: float = 1.0,
        lambda2: float = 1.0,
    ) -> None:
        super().__init__()
        if epochs < 1:
            raise RecipeError(
                f"method.epochs is {epochs}; expected the number of steps in which gamma rises, 1 or more"
            )
        if min(increase_ratio, lambda1, lambda2, 0.0 if gamma is None else gamma) < 0:
            raise RecipeError("a weight of method 'neighbor2neighbor' is negative; expected numbers >= 0")
        self.network = network
        self.increase_ratio, self.epochs, self.constant = increase_ratio, epochs, gamma
        self.lambda1, self.lambda2 = lambda1, lambda2

    def gamma(self, progress: float) -> float:
        """Weight of the regulariser, constant within an epoch; epochs count from 1."""
        if self.constant is not None:
            return self.constant
        # The first step of an epoch has progress n / epochs, give or take rounding.
        epoch = min(math.floor(progress * self.epochs + 1e-9) + 1, self.epochs)
        return epoch / self.epochs * self.increase_ratio

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Loss:  # noqa: D102
        noisy = batch["noisy"]
        return self.loss_at(noisy, batch.get("level"), draw_index(noisy, generator), self.gamma(progress))

    def loss_at(self, noisy: Tensor, level: Tensor | None, index: Tensor, gamma: float) -> Loss:
        """The loss for a given index of the sub-sampler and weight of the regulariser."""
        step = 2 * self.network.multiple
        if noisy.shape[2] % step or noisy.shape[3] % step:
            raise RecipeError(
                f"samples are {noisy.shape[2]} x {noisy.shape[3]}, and this network needs halves that are multiples of "
                f"{self.network.multiple}; set pairs.crop to a multiple of {step}"
            )
        with torch.no_grad():
            denoised = self.network(noisy, level).float()
        # Until 2025 torch's autocast kept the weights converted above, which know no gradient, and used them again
        # below, where nothing was learned then (pytorch issue 112583).
        torch.clear_autocast_cache()
        first, second = neighbours(noisy, index)
        told = level
        if level is not None and level.shape[2:] == noisy.shape[2:]:  # a map, of which each pixel keeps its own
            told = neighbours(level, index)[0]
        difference = self.network(first, told).float() - second
        denoised_first, denoised_second = neighbours(denoised, index)
        fit = self.lambda1 * difference.square().mean()
        consistency = self.lambda2 * gamma * (difference - (denoised_first - denoised_second)).square().mean()
        return {"loss": fit + consistency, "parts": {"fit": fit, "consistency": consistency}}

    def predictor(self) -> Network:  # noqa: D102
        return self.network
