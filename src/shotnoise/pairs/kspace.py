"""Slices of which a scanner measured a part, twice: the MRI sample of Noise2Noise."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.mri.kspace import EDGE, Undersampled, density, undersample
from shotnoise.mri.slices import odd, to_signal
from shotnoise.noise import NoiseModel
from shotnoise.pairs.sample import Batch, PairSource, Sample

__all__ = ["KSpaceSlices"]


class KSpaceSlices(PairSource):
    """Whole slices in -0.5..0.5, under-sampled in k-space with a random mask; see :mod:`shotnoise.mri.kspace`.

    A sample carries what was measured, `spectrum` and `measured`, so that a method can put it back. Slices are cut to
    odd sides. They lie in a store made by `shotnoise pack-mri`; a slice is as likely as any other.

    Args:
        pictures: (1, H, W) uint8, all of one size.
        noise: must be None, as the mask is all that happens to a slice.
        translate: farthest shift along each axis, around the border; held-out slices are not moved.
        edge: probability of a frequency in the middle of the left and right edge of k-space.
        clean_target: compare with the clean slice instead. The slices to see stay the same ones to the last bit.
    """

    kind: ClassVar[str | None] = "mri"
    picture_channels: ClassVar[int | None] = 1

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel | None,
        translate: int = 64,
        edge: float = EDGE,
        clean_target: bool = False,
    ) -> None:
        if noise is not None:
            raise RecipeError("slices are under-sampled and get no other noise; set noise: null")
        sizes = sorted({picture.shape[1:] for picture in pictures})
        if len(sizes) > 1 or any(picture.dtype != np.uint8 for picture in pictures):
            found = ", ".join("x".join(map(str, size)) for size in sizes[:3])
            raise RecipeError(f"slices of {found}; expected 8-bit ones of one size, as `shotnoise pack-mri` makes them")
        height, width = odd(pictures[0]).shape[1:]
        if not 0 <= translate <= min(height, width) // 2:
            raise RecipeError(f"pairs.translate is {translate}; expected 0 to half of the slices' {height}x{width}")
        if not 0 < edge <= 1:
            raise RecipeError(f"pairs.edge is {edge}; expected a probability above 0, up to 1")
        self.pictures, self.translate, self.clean_target = pictures, translate, clean_target
        self.density = density(height, width, edge)

    @classmethod
    def held_out(cls, crop: int) -> Mapping[str, Any]:
        """Slices are whole, and where they are."""
        return {"translate": 0}

    def draw(self, generator: torch.Generator) -> Sample:
        """One slice. The mask to see is drawn before that of the target, so what the target is cannot change it."""
        index = int(torch.randint(len(self.pictures), (), generator=generator))
        image = to_signal(odd(np.asarray(self.pictures[index])[0]))
        if self.translate:
            shift = torch.randint(-self.translate, self.translate + 1, (2,), generator=generator).tolist()
            image = np.roll(image, shift, (0, 1))
        seen = self._undersampled(image, generator)
        target = image if self.clean_target else self._undersampled(image, generator).noisy
        return Sample(
            noisy=_plane(seen.noisy),
            target=_plane(target),
            clean=_plane(image + np.float32(0.5)),
            spectrum=torch.from_numpy(np.stack((seen.spectrum.real, seen.spectrum.imag))),
            measured=_plane(seen.measured.astype(np.float32)),
        )

    def to_unit(self, values: Tensor, batch: Batch) -> Tensor:
        """Signals -> 0..1."""
        return values + 0.5

    def _undersampled(self, image: npt.NDArray[np.float32], generator: torch.Generator) -> Undersampled:
        uniform = torch.rand(image.shape, generator=generator, dtype=torch.float64).numpy()
        return undersample(image, uniform, self.density)


def _plane(image: npt.NDArray[np.float32]) -> Tensor:
    """(H, W) -> (1, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image)[None])
