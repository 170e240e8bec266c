"""Noise that is drawn once and stored, for trainings that must see the same values as others did."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shotnoise.errors import StoreError
from shotnoise.images.image import full_scale
from shotnoise.noise import NOISE, NoiseModel

__all__ = ["Baker"]

Array = npt.NDArray[Any]


class Baker:
    """Makes a noisy version of a patch that depends on the patch's key and the seed alone.

    Args:
        noise: name and options of a noise model, as in a recipe.
        seed: of the noise.
    """

    def __init__(self, noise: Mapping[str, Any], seed: int) -> None:
        options = dict(noise)
        self.model: NoiseModel = NOISE.create(str(options.pop("name", "")), options)
        self.seed = seed

    def __call__(self, key: str, clean: Array) -> tuple[Array, dict[str, Any]]:
        """(C, H, W) -> its noisy version as float32 in 0..1, not clipped, and what is known about the noise."""
        digest = hashlib.sha256(f"{self.seed}:{key}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        unit = torch.from_numpy(np.asarray(clean, np.float32) / np.float32(full_scale(clean.dtype)))[None]
        strength = self.model.draw(1, generator)
        noisy, mask = self.model.sample_with_mask(unit, generator, strength)
        if mask is not None:
            raise StoreError("this noise leaves pixels out, and a store has no place to say which; bake another noise")
        return noisy[0].numpy().astype(np.float32), self._facts(strength)

    def _facts(self, strength: torch.Tensor) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        iso, law, level = self.model.iso(strength), self.model.law(strength), self.model.level(strength)
        if iso is not None:
            facts["iso"] = float(iso)
        if law is not None:
            facts["k"], facts["s2"] = law[0, :, :, 0, 0].tolist()
        if level is not None:
            facts["sigma"] = float(level)
        return facts
