"""Noise that came with the data: pairs of a noisy and a clean picture, as they lie in a store."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from shotnoise.errors import RecipeError
from shotnoise.images.image import full_scale
from shotnoise.noise import NoiseModel
from shotnoise.pairs.crops import Crops
from shotnoise.pairs.raw import turned
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["Stacked", "StoredPairs"]

_MOSAIC = 4  # planes


class Stacked:
    """Arrays of one size on top of each other, as float32 in 0..1; nothing is copied before it is looked at.

    Args:
        parts: (C, H, W) each.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, parts: Sequence[npt.NDArray[Any]]) -> None:
        self.parts = parts
        self.shape = (sum(map(len, parts)), *parts[0].shape[1:])

    def __getitem__(self, window: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
        _, rows, cols = window  # all channels, whatever is asked for
        return np.concatenate(
            [part[:, rows, cols].astype(np.float32) / np.float32(full_scale(part.dtype)) for part in self.parts]
        )


class StoredPairs(PairSource):
    """Crops of stored pairs: baked by `shotnoise pack --bake`, or imported with their noise.

    Args:
        pictures: (2 C, H, W): the noisy channels, then the clean ones.
        noise: must be None, as there is nothing to add.
        crop: side of the crop.
        augment: turn and mirror; planes of a mosaic in the ways that leave it RGGB, which needs pictures that are a
            pixel larger than the crop.
    """

    arrays: ClassVar[tuple[str, ...]] = ("noisy", "clean")

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel | None,
        crop: int = 64,
        augment: bool = False,
    ) -> None:
        if noise is not None:
            raise RecipeError("stored pairs are noisy already; set noise: null, and validation.noise likewise")
        self.channels = pictures[0].shape[0] // 2
        self.turn = augment and self.channels == _MOSAIC
        self._crops = Crops(pictures, crop=crop + self.turn, augment=augment and not self.turn)

    def draw(self, generator: torch.Generator) -> Sample:
        """One crop of both."""
        window = self._crops.draw(generator)
        window = turned(window, generator) if self.turn else window
        noisy, clean = window[: self.channels], window[self.channels :]
        return Sample(noisy=noisy, target=clean, clean=clean)
