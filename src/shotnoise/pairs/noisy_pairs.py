"""Two noisy versions of one picture: the sample of Noise2Noise."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise import NoiseModel
from shotnoise.pairs.crops import Crops, add_noise, single_level
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["NoisyPairs"]


class NoisyPairs(PairSource):
    """Two independent noisy versions of a crop: one to see, one to be compared with.

    They are made from clean pictures, each with a strength of its own, or taken from two exposures of one scene. The
    defaults are those of the paper: 256-pixel crops, neither turned nor mirrored.

    Args:
        pictures: clean pictures, as :class:`~shotnoise.pairs.crops.Crops` takes them; without `simulate`, (2 C, H, W):
            the channels of the first exposure, then those of the second.
        noise: the noise model, for both. Of exposures it only says how strong their noise is, for networks that must
            know; None where none of them does.
        crop: side of the square crop.
        augment: use the eight turns and mirrors of a square.
        clean_target: compare with the clean crop instead. The noisy crops stay the same ones to the last bit, so two
            runs that differ in this alone show what clean targets are worth.
        simulate: the pictures are clean and get noise; False: they are two exposures, of which either may be the one
            that is seen. Then no sample knows the truth, and a training chooses its best weights by the loss on
            held-out samples.
    """

    exposures: ClassVar[tuple[str, ...]] = ("first", "second")

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel | None,
        crop: int = 256,
        augment: bool = False,
        clean_target: bool = False,
        simulate: bool = True,
    ) -> None:
        if noise is None and simulate:
            raise RecipeError(
                "the recipe has no noise; expected noise: {name: gaussian, sigma: 25} or the like, or "
                "pairs.simulate: false for two exposures of each scene"
            )
        if clean_target and not simulate:
            raise RecipeError("pairs.clean_target needs clean pictures, two exposures have none; leave one of them out")
        self.crops = Crops(pictures, crop=crop, augment=augment)
        self.noise, self.clean_target = noise if simulate else None, clean_target
        self.level = None if noise is None or simulate else single_level(noise)

    @classmethod
    def wants(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Clean pictures, or two exposures."""
        return cls.arrays if options.get("simulate", True) else cls.exposures

    def draw(self, generator: torch.Generator) -> Sample:
        """One pair. The noisy crop is drawn before the target, so what the target is cannot change it."""
        crop = self.crops.draw(generator)  # (C, crop, crop); (2 C, crop, crop) of exposures
        if self.noise is None:
            exposures = crop.chunk(2)
            seen = int(torch.randint(2, (), generator=generator))
            return Sample(noisy=exposures[seen], target=exposures[1 - seen], level=self.level)
        noisy = add_noise(crop, self.noise, generator)
        if self.clean_target:
            return Sample(noisy=noisy.picture, target=crop, clean=crop, level=noisy.level)
        target = add_noise(crop, self.noise, generator)
        return Sample(noisy=noisy.picture, target=target.picture, clean=crop, level=noisy.level, mask=target.mask)
