"""Teaching an invertible network: half of what it makes of a picture is known, the rest is drawn.

Liu et al., Invertible Denoising Network: A Light Solution for Real Noise Removal, CVPR 2021, arXiv 2104.10546.
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from shotnoise.errors import RecipeError, nearest
from shotnoise.methods.method import Loss, Method
from shotnoise.networks import Network
from shotnoise.networks.invdn import InvDN
from shotnoise.pairs.sample import Batch

__all__ = ["Invertible"]

_FLOOR = 1e-3  # under the root of the smooth l1: a perfect picture still costs 0.0316 a value
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
# What each setting weighs its additional terms with: gradient, ssim.
_SETTINGS = {"reproduction": (0.0, 0.0), "official": (0.1, 1.0)}


class Invertible(Method):
    """The network analyses the noisy picture into a small clean one and a latent, and restores from the former.

    With y the noisy picture and z drawn anew from a unit normal distribution in every step::

        low, _   = analyse(y)
        restored = synthesise(low, z)
        forward        = 16 mean(sum (low - small)^2)                        small: the clean picture at 1/4
        reconstruction =    mean(sum sqrt((clean - restored)^2 + 1e-3))
        gradient       = 0.1 (mean |Sx(clean - restored)| + mean |Sy(clean - restored)|)       Sobel, zeros around
        ssim           =    mean(clamp((1 - SSIM) / 2, 0, 1))                windows of 3 x 3, reflected around

    where sum runs over one picture and mean over the batch, or over all values where there is no sum. Both parts of
    the network learn from the restored picture, as `low` is not detached. The latent of y is not compared with
    anything: z is met by being drawn.

    Args:
        network: one that can be run both ways, `invdn`.
        losses: "reproduction", the first two terms, which gave 39.29 dB on the validation set of SIDD; or "official",
            all four, as in the code of the authors.
        forward: weight of this term.
        reconstruction: weight of this term.
        gradient: weight of this term; None is that of `losses`. Only "official" has it.
        ssim: likewise.
    """

    def __init__(
        self,
        *,
        network: Network,
        losses: str = "reproduction",
        forward: float = 16.0,
        reconstruction: float = 1.0,
        gradient: float | None = None,
        ssim: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(network, InvDN):
            raise RecipeError(
                f"method 'invertible' got the network {type(network).__name__}; expected one that can be run both "
                "ways: network: {name: invdn}"
            )
        if losses not in _SETTINGS:
            raise RecipeError(f"unknown losses '{losses}': {nearest(losses, _SETTINGS)}")
        if losses == "reproduction" and (gradient is not None or ssim is not None):
            raise RecipeError(
                "a weight of the gradient or ssim term is given, and losses: reproduction has neither; "
                "choose losses: official"
            )
        standard = _SETTINGS[losses]
        self.network = network
        self.weights = {
            "forward": forward,
            "reconstruction": reconstruction,
            "gradient": standard[0] if gradient is None else gradient,
            "ssim": standard[1] if ssim is None else ssim,
        }

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Loss:  # noqa: D102
        if "low" not in batch:
            raise RecipeError(
                "method 'invertible' compares with the clean picture at low resolution, which these samples do not "
                "carry; use pairs: {name: stored, low: 4}"
            )
        low, _ = self.network.analyse(batch["noisy"])
        return self.compared(low, self.network.draw_latent(batch["noisy"], generator), batch)

    def compared(self, low: Tensor, latent: Tensor, batch: Batch) -> Loss:
        """The loss of what the analysis gave, restored with this latent.

        Args:
            low: (B, C, H/scale, W/scale).
            latent: (B, C (scale^2 - 1), H/scale, W/scale).
            batch: with `target` and `low`.
        """
        small, clean = batch["low"], batch["target"]
        if low.shape != small.shape:
            raise RecipeError(
                f"the network makes {low.shape[3]} x {low.shape[2]} of {clean.shape[3]} x {clean.shape[2]}, and the "
                f"samples carry {small.shape[3]} x {small.shape[2]}; pairs.low must be the scale of the network"
            )
        restored = self.network.synthesise(low, latent).float()
        terms = {
            "forward": (low.float() - small).square().sum((1, 2, 3)).mean(),
            "reconstruction": ((clean - restored).square() + _FLOOR).sqrt().sum((1, 2, 3)).mean(),
        }
        if self.weights["gradient"]:
            # The mean over both directions; the term is the sum of their means.
            terms["gradient"] = 2 * _edges(clean - restored).abs().mean()
        if self.weights["ssim"]:
            terms["ssim"] = ((1 - _ssim(clean, restored)) / 2).clamp(0, 1).mean()
        parts = {name: self.weights[name] * value for name, value in terms.items()}
        return {"loss": cast(Tensor, sum(parts.values())), "parts": parts}

    def predictor(self) -> Network:  # noqa: D102
        return self.network


def _edges(pictures: Tensor) -> Tensor:
    """Both Sobel filters of each channel, (B, C, H, W) -> (B, 2 C, H, W)."""
    across = pictures.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    both = torch.stack((across, across.T))[:, None]  # (2, 1, 3, 3)
    channels = pictures.shape[1]
    return F.conv2d(pictures, both.repeat(channels, 1, 1, 1), padding=1, groups=channels)


def _ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity over plain windows of 3 x 3, at every pixel."""

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(values, (1, 1, 1, 1), mode="reflect"), 3, stride=1)

    mean1, mean2 = mean(first), mean(second)
    var1, var2 = mean(first * first) - mean1 * mean1, mean(second * second) - mean2 * mean2
    covariance = mean(first * second) - mean1 * mean2
    similar = (2 * mean1 * mean2 + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    return similar / ((mean1 * mean1 + mean2 * mean2 + _SSIM_C1) * (var1 + var2 + _SSIM_C2))
