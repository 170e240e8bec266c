"""CycleISP: a camera learned in both directions, sRGB -> RAW and RAW -> sRGB.

Zamir, Arora, Khan, Hayat, Khan, Yang, Shao: "CycleISP: Real Image Restoration via Improved Data Synthesis", CVPR 2020,
arXiv 2003.07761. Its authors published no training code: means instead of sums, the floor of the logarithms and the
weight of the two terms are our reading of the paper.
"""

from typing import Literal, cast, get_args

import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.methods.method import Loss, Method
from shotnoise.networks import Network
from shotnoise.networks.cycleisp import CycleISP
from shotnoise.pairs.sample import Batch

__all__ = ["CycleISPStages", "Stage"]

Stage = Literal["raw", "rgb", "joint"]

# What each stage changes; the others are frozen, so that a run hands on what an earlier one has learned.
_TRAINED: dict[Stage, tuple[str, ...]] = {
    "raw": ("rgb2raw",),
    "rgb": ("ccm", "raw2rgb"),
    "joint": ("rgb2raw", "ccm", "raw2rgb"),
}


class CycleISPStages(Method):
    """One stage of the training of CycleISP, on pairs of a display picture (`noisy`) and its RAW planes (`target`).

    - raw: sRGB -> RAW against the true RAW, by L1 and by L1 of logarithms, without which highlights rule.
    - rgb: true RAW -> sRGB, with the colours of the display picture as a guide, by L1.
    - joint: sRGB -> RAW -> sRGB. The way back is judged by its picture alone, the way there by its RAW and by the
      picture that is made of it: the gradient runs through the whole chain.

    No noise is added in any of them.

    Args:
        network: the network `cycleisp`.
        stage: raw, rgb or joint.
        beta: joint: weight of the RAW term; the sRGB term has 1 - beta.
        eps: below this all values of RAW have the same logarithm.
    """

    def __init__(self, *, network: Network, stage: Stage, beta: float = 0.5, eps: float = 1e-3) -> None:
        super().__init__()
        if not isinstance(network, CycleISP):
            raise RecipeError(
                f"method 'cycleisp' got a {type(network).__name__}; it trains the network cycleisp: "
                "network: {name: cycleisp}"
            )
        if stage not in get_args(Stage):
            raise RecipeError(f"method.stage is '{stage}'; expected raw, rgb or joint")
        if not 0 <= beta <= 1:
            raise RecipeError(f"method.beta is {beta}; expected the weight of the RAW term, 0 to 1")
        if eps <= 0:
            raise RecipeError(f"method.eps is {eps}; expected a number above 0, for instance 1e-3")
        self.network, self.stage, self.beta, self.eps = network, stage, beta, eps
        for name, child in network.named_children():
            if name not in _TRAINED[stage]:
                child.requires_grad_(False)

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> Loss:  # noqa: D102
        rgb, raw = batch["noisy"], batch["target"]
        if raw.shape[1] != 4:
            raise RecipeError(
                f"method 'cycleisp' got targets of {raw.shape[1]} channels; expected the RAW planes of the pictures: "
                "pairs: {name: invented-cameras} or {name: camera-pairs}"
            )
        if self.stage == "raw":
            made = cast(Tensor, self.network.rgb2raw(rgb)).float()
            parts = self._raw_terms(made, raw)
            return {"loss": parts["raw"] + parts["log"], "parts": parts}
        if self.stage == "rgb":
            picture = self.network.to_rgb(raw, rgb).float()
            value = (picture - rgb).abs().mean()
            return {"loss": value, "parts": {"rgb": value}}
        made = cast(Tensor, self.network.rgb2raw(rgb))
        # What is handed on is what a sensor can hold, as in use.
        picture = self.network.to_rgb(made.clamp(0, 1), rgb).float()
        parts = self._raw_terms(made.float(), raw) | {"rgb": (picture - rgb).abs().mean()}
        value = self.beta * (parts["raw"] + parts["log"]) + (1 - self.beta) * parts["rgb"]
        return {"loss": value, "parts": parts}

    def _raw_terms(self, made: Tensor, raw: Tensor) -> dict[str, Tensor]:
        logs = made.clamp_min(self.eps).log() - raw.clamp_min(self.eps).log()
        return {"raw": (made - raw).abs().mean(), "log": logs.abs().mean()}

    def predictor(self) -> Network:
        """The whole chain: its picture is the one it was given, and its parts are what is used."""
        return self.network
