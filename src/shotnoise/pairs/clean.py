"""Clean pictures + a noise model: the supervised sample."""

import bisect
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.images.image import full_scale
from shotnoise.noise import NoiseModel
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["CleanPictures"]


class CleanPictures(PairSource):
    """Random crops of clean pictures, turned and mirrored, with noise added on the fly.

    A picture is chosen with probability proportional to its area, so that every pixel of the set is about equally
    likely, whatever the sizes.

    Args:
        pictures: the clean pictures, (C, H, W) uint8, uint16 or float32; views into a store will do.
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
        if crop < 1:
            raise RecipeError(f"pairs.crop is {crop}; expected a side in pixels")
        self.pictures = [p for p in pictures if min(p.shape[1:]) >= crop]
        if not self.pictures:
            raise RecipeError(
                f"none of the {len(pictures)} training pictures is at least {crop} x {crop}; "
                "lower pairs.crop or give larger pictures"
            )
        self.noise, self.crop, self.augment, self.gray = noise, crop, augment, gray
        self._areas = list(itertools.accumulate(p.shape[1] * p.shape[2] for p in self.pictures))

    def draw(self, generator: torch.Generator) -> Sample:
        """One noisy crop and its clean original."""
        clean = self._crop(generator)  # (C, crop, crop)
        is_gray = self.gray > 0 and float(torch.rand((), generator=generator)) < self.gray
        channels = len(clean)
        if is_gray:
            clean = clean.mean(0, keepdim=True)
        strength = self.noise.draw(1, generator)
        noisy = self.noise.sample(clean[None], generator, strength)[0]
        level = self.noise.level(strength)
        return Sample(
            noisy=noisy.expand(channels, -1, -1),
            target=clean.expand(channels, -1, -1),
            clean=clean.expand(channels, -1, -1),
            level=None if level is None else level[0],
        )

    def _crop(self, generator: torch.Generator) -> Tensor:
        def below(limit: int) -> int:
            return int(torch.randint(limit, (), generator=generator))

        index = bisect.bisect_right(self._areas, below(self._areas[-1]))
        picture = self.pictures[index]
        top = below(picture.shape[1] - self.crop + 1)
        left = below(picture.shape[2] - self.crop + 1)
        window = picture[:, top : top + self.crop, left : left + self.crop]
        if self.augment:
            pose = below(8)
            window = np.rot90(window, pose % 4, axes=(1, 2))
            if pose >= 4:
                window = window[:, :, ::-1]
        scaled = np.ascontiguousarray(window, dtype=np.float32) / np.float32(full_scale(picture.dtype))
        return torch.from_numpy(scaled)
