"""What the sources of simulated noise share: crops of pictures, and a draw of noise for one of them."""

import bisect
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.images.image import full_scale
from shotnoise.noise import NoiseModel

__all__ = ["Crops", "Noisy", "add_noise"]


class Crops:
    """Random square windows of pictures as float32 in 0..1.

    A picture is chosen with probability proportional to its area, so that every pixel of the set is about equally
    likely, whatever the sizes. Every window of a picture is possible, those at the last row and column included.

    Args:
        pictures: (C, H, W) uint8, uint16 or float32; views into a store will do. Those smaller than a crop are left
            out.
        crop: side of the window.
        augment: use the eight turns and mirrors of a square.
    """

    def __init__(self, pictures: Sequence[npt.NDArray[np.generic]], *, crop: int, augment: bool) -> None:
        if crop < 1:
            raise RecipeError(f"pairs.crop is {crop}; expected a side in pixels")
        self.pictures = [p for p in pictures if min(p.shape[1:]) >= crop]
        if not self.pictures:
            raise RecipeError(
                f"none of the {len(pictures)} training pictures is at least {crop} x {crop}; "
                "lower pairs.crop or give larger pictures"
            )
        self.crop, self.augment = crop, augment
        self._areas = list(itertools.accumulate(p.shape[1] * p.shape[2] for p in self.pictures))

    def draw(self, generator: torch.Generator) -> Tensor:
        """One window, (C, crop, crop)."""

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


class Noisy(NamedTuple):
    """A noisy crop: its values, their deviation where it is a single one, which were measured, and a camera's law."""

    picture: Tensor
    level: Tensor | None
    mask: Tensor | None
    law: Tensor | None


def add_noise(clean: Tensor, noise: NoiseModel, generator: torch.Generator) -> Noisy:
    """One noisy version of a (C, H, W) crop, with a strength of its own."""
    strength = noise.draw(1, generator)
    picture, mask = noise.sample_with_mask(clean[None], generator, strength)
    parts = (noise.level(strength), mask, noise.law(strength))
    return Noisy(picture[0], *(None if part is None else part[0] for part in parts))
