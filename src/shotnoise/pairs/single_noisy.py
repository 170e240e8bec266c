"""One noisy picture and nothing else: the sample of the self-supervised methods."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise import NoiseModel
from shotnoise.pairs.crops import Crops, add_noise, single_level
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["SingleNoisy"]


class SingleNoisy(PairSource):
    """One noisy version of a crop, which is its own target.

    The defaults are those of Neighbor2Neighbor: 256-pixel crops, neither turned nor mirrored.

    Args:
        pictures: as :class:`~shotnoise.pairs.crops.Crops` takes them.
        noise: the noise model. Of pictures that are noisy already it only says how strong their noise is, for
            networks and methods that must know; None where none of them does.
        crop: side of the square crop.
        augment: use the eight turns and mirrors of a square.
        simulate: the pictures are clean and get noise; False: they are noisy already. Then no sample knows the truth,
            and a training chooses its best weights by the loss on held-out samples.
    """

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel | None,
        crop: int = 256,
        augment: bool = False,
        simulate: bool = True,
    ) -> None:
        if noise is None and simulate:
            raise RecipeError(
                "the recipe has no noise; expected noise: {name: gaussian, sigma: 25} or the like, or "
                "pairs.simulate: false for pictures that are noisy already"
            )
        self.crops = Crops(pictures, crop=crop, augment=augment)
        self.noise = noise if simulate else None
        self.level = None if noise is None or simulate else single_level(noise)

    def draw(self, generator: torch.Generator) -> Sample:
        """One noisy crop."""
        crop = self.crops.draw(generator)  # (C, crop, crop)
        if self.noise is None:
            return Sample(noisy=crop, target=crop, level=self.level)
        noisy = add_noise(crop, self.noise, generator)
        if noisy.mask is not None:
            raise RecipeError(
                "this noise leaves pixels out, and 'single-noisy' has nothing else to compare with; "
                "use pairs: {name: noisy-pairs}"
            )
        return Sample(noisy=noisy.picture, target=noisy.picture, clean=crop, level=noisy.level)
