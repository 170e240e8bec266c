"""Two noisy versions of one picture: the sample of Noise2Noise."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from shotnoise.noise import NoiseModel
from shotnoise.pairs.crops import Crops, add_noise
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["NoisyPairs"]


class NoisyPairs(PairSource):
    """Two independent noisy versions of a crop, each with a strength of its own: one to see, one to be compared with.

    The defaults are those of the paper: 256-pixel crops, neither turned nor mirrored.

    Args:
        pictures: clean pictures, as :class:`~shotnoise.pairs.crops.Crops` takes them.
        noise: the noise model, for both.
        crop: side of the square crop.
        augment: use the eight turns and mirrors of a square.
        clean_target: compare with the clean crop instead. The noisy crops stay the same ones to the last bit, so two
            runs that differ in this alone show what clean targets are worth.
    """

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel,
        crop: int = 256,
        augment: bool = False,
        clean_target: bool = False,
    ) -> None:
        self.crops = Crops(pictures, crop=crop, augment=augment)
        self.noise, self.clean_target = noise, clean_target

    def draw(self, generator: torch.Generator) -> Sample:
        """One pair. The noisy crop is drawn before the target, so what the target is cannot change it."""
        clean = self.crops.draw(generator)  # (C, crop, crop)
        noisy = add_noise(clean, self.noise, generator)
        if self.clean_target:
            return Sample(noisy=noisy.picture, target=clean, clean=clean, level=noisy.level)
        target = add_noise(clean, self.noise, generator)
        return Sample(noisy=noisy.picture, target=target.picture, clean=clean, level=noisy.level, mask=target.mask)
