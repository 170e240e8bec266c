"""What the sources share: crops of pictures, and a draw of noise for one of them."""

import bisect
import itertools
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.images.image import full_scale
from shotnoise.noise import NoiseModel

__all__ = ["Crops", "Noisy", "Place", "add_noise", "posed", "single_level"]

_log = logging.getLogger(__name__)
_MOSAIC = 4  # planes; two mosaics on top of each other have twice as many


class Place(NamedTuple):
    """Where a crop lies: which picture, its first row and column there, and which of the eight poses it takes."""

    picture: int
    top: int
    left: int
    pose: int


def posed(window: npt.NDArray[np.generic], pose: int) -> npt.NDArray[np.generic]:
    """(C, H, W) in one of the eight turns and mirrors of a square, a view."""
    window = np.rot90(window, pose % 4, axes=(1, 2))
    return window[:, :, ::-1] if pose >= 4 else window


class Crops:
    """Random square windows of pictures as float32 in 0..1.

    A picture is chosen with probability proportional to its area, so that every pixel of the set is about equally
    likely, whatever the sizes. Every window of a picture is possible, those at the last row and column included.

    Args:
        pictures: (C, H, W) uint8, uint16 or float32; views into a store will do. Those smaller than a crop are left
            out.
        crop: side of the window.
        augment: use the eight turns and mirrors of a square; not of planes of a mosaic.
        grid: windows begin at rows and columns that are multiples of this.
    """

    def __init__(self, pictures: Sequence[npt.NDArray[np.generic]], *, crop: int, augment: bool, grid: int = 1) -> None:
        if crop < 1:
            raise RecipeError(f"pairs.crop is {crop}; expected a side in pixels")
        if augment and any(picture.shape[0] % _MOSAIC == 0 for picture in pictures):
            raise RecipeError(
                "pairs.augment turns pictures in ways that do not leave the planes of a mosaic RGGB; set "
                "pairs.augment: false, or use pairs: raw or stored, which know the others"
            )
        self.pictures = [p for p in pictures if min(p.shape[1:]) >= crop]
        if not self.pictures:
            raise RecipeError(
                f"none of the {len(pictures)} training pictures is at least {crop} x {crop}; "
                "lower pairs.crop or give larger pictures"
            )
        if len(self.pictures) < len(pictures):
            left_out = len(pictures) - len(self.pictures)
            _log.warning("%d of %d pictures are left out: smaller than %d x %d", left_out, len(pictures), crop, crop)
        self.crop, self.augment, self.grid = crop, augment, grid
        self._areas = list(itertools.accumulate(p.shape[1] * p.shape[2] for p in self.pictures))

    def draw(self, generator: torch.Generator) -> Tensor:
        """One window, (C, crop, crop)."""
        return self.cut(self.choose(generator))

    def choose(self, generator: torch.Generator) -> Place:
        """A random place for a window."""

        def below(limit: int) -> int:
            return int(torch.randint(limit, (), generator=generator))

        index = bisect.bisect_right(self._areas, below(self._areas[-1]))
        picture = self.pictures[index]
        top = self.grid * below((picture.shape[1] - self.crop) // self.grid + 1)
        left = self.grid * below((picture.shape[2] - self.crop) // self.grid + 1)
        return Place(index, top, left, below(8) if self.augment else 0)

    def cut(self, place: Place) -> Tensor:
        """The window at a place, (C, crop, crop)."""
        picture = self.pictures[place.picture]
        window = picture[:, place.top : place.top + self.crop, place.left : place.left + self.crop]
        window = posed(window, place.pose)
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


def single_level(noise: NoiseModel) -> Tensor | None:
    """The level of a law of one strength, (1, 1, 1). A range says nothing about any one picture: None."""
    strengths = noise.draw(2, torch.Generator().manual_seed(0))
    level = noise.level(strengths[:1])
    return None if level is None or not torch.equal(strengths[0], strengths[1]) else level[0]
