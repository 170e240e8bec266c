"""Clean pictures + a noise model: the supervised sample."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise import NoiseModel
from shotnoise.pairs.crops import Crops, add_noise
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["CleanPictures"]


class CleanPictures(PairSource):
    """Random crops of clean pictures, turned and mirrored, with noise added on the fly.

    Args:
        pictures: the clean pictures, as :class:`~shotnoise.pairs.crops.Crops` takes them.
        noise: the noise model.
        crop: side of the square crop.
        augment: use the eight turns and mirrors of a square.
        gray: share of samples whose channels are made equal, noise included, so that a colour network also serves
            gray pictures.
    """

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel,
        crop: int = 96,
        augment: bool = True,
        gray: float = 0.0,
    ) -> None:
        if not 0 <= gray <= 1:
            raise RecipeError(f"pairs.gray is {gray}; expected a share between 0 and 1")
        self.crops = Crops(pictures, crop=crop, augment=augment)
        self.noise, self.gray = noise, gray

    def draw(self, generator: torch.Generator) -> Sample:
        """One noisy crop and its clean original."""
        clean = self.crops.draw(generator)  # (C, crop, crop)
        is_gray = self.gray > 0 and float(torch.rand((), generator=generator)) < self.gray
        channels = len(clean)
        if is_gray:
            clean = clean.mean(0, keepdim=True)
        noisy = add_noise(clean, self.noise, generator)
        clean = clean.expand(channels, -1, -1)
        return Sample(noisy=noisy.picture.expand(channels, -1, -1), target=clean, clean=clean, level=noisy.level)
