"""Noise that came with the data: pairs of a noisy and a clean picture, as they lie in a store or in two folders."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shotnoise.errors import RecipeError
from shotnoise.images.image import full_scale
from shotnoise.images.resize import resize_bicubic
from shotnoise.noise import NoiseModel
from shotnoise.pairs.crops import Crops, Place, posed
from shotnoise.pairs.raw import turned
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["Stacked", "StoredPairs"]

_MOSAIC = 4  # planes
_MARGIN = 2  # pixels of the low resolution that a bicubic kernel looks around


class Stacked:
    """Arrays of one size on top of each other, as float32 in 0..1; nothing is copied before it is looked at.

    Args:
        parts: (C, H, W) each.
        low: the last of them in a lower resolution, where it lies beside them.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, parts: Sequence[npt.NDArray[Any]], low: npt.NDArray[Any] | None = None) -> None:
        if len({part.shape[1:] for part in parts}) > 1:
            sizes = " and ".join(" x ".join(map(str, part.shape[1:])) for part in parts)
            raise RecipeError(f"a stored sample has pictures of {sizes} pixels; expected one size, pack it again")
        self.parts, self.low = parts, low
        self.shape = (sum(map(len, parts)), *parts[0].shape[1:])

    def __getitem__(self, window: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
        _, rows, cols = window  # all channels, whatever is asked for
        return np.concatenate(
            [part[:, rows, cols].astype(np.float32) / np.float32(full_scale(part.dtype)) for part in self.parts]
        )


class StoredPairs(PairSource):
    """Crops of pairs: from two folders, packed from them, baked by `shotnoise pack --bake`, or imported.

    Args:
        pictures: (2 C, H, W): the noisy channels, then the clean ones.
        noise: must be None, as there is nothing to add.
        crop: side of the crop.
        augment: turn and mirror; planes of a mosaic in the ways that leave it RGGB, which needs pictures that are a
            pixel larger than the crop.
        low: add the clean crop at this fraction of the resolution, as in 4 for a quarter: cut from the picture's
            stored array "low", or made from the clean pixels around the crop, so that it equals the crop of the whole
            picture made smaller (:func:`~shotnoise.images.resize.resize_bicubic`). Not clipped. Crops then begin at
            multiples of it.
    """

    arrays: ClassVar[tuple[str, ...]] = ("noisy", "clean")

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel | None,
        crop: int = 64,
        augment: bool = False,
        low: int | None = None,
    ) -> None:
        if noise is not None:
            raise RecipeError("stored pairs are noisy already; set noise: null, and validation.noise likewise")
        self.channels = pictures[0].shape[0] // 2
        self.low = low
        if low is not None:
            _check_low(pictures, low, crop, self.channels)
        self.turn = augment and self.channels == _MOSAIC
        self._crops = Crops(pictures, crop=crop + self.turn, augment=augment and not self.turn, grid=low or 1)

    @classmethod
    def largest_crop(cls, shape: Sequence[int], options: Mapping[str, Any]) -> int:
        """With the pixel that turning a mosaic costs."""
        return min(shape[1:]) - (shape[0] == 2 * _MOSAIC and bool(options.get("augment", False)))

    def draw(self, generator: torch.Generator) -> Sample:
        """One crop of both."""
        place = self._crops.choose(generator)
        window = self._crops.cut(place)
        window = turned(window, generator) if self.turn else window
        noisy, clean = window[: self.channels], window[self.channels :]
        return Sample(noisy=noisy, target=clean, clean=clean, low=None if self.low is None else self._low(place))

    def _low(self, place: Place) -> Tensor:
        """(C, crop / low, crop / low) of a place."""
        scale = self.low or 1
        picture, top, left, side = self._crops.pictures[place.picture], place.top, place.left, self._crops.crop
        stored = getattr(picture, "low", None)
        if stored is not None:
            rows, cols = (slice(first // scale, (first + side) // scale) for first in (top, left))
            window = stored[:, rows, cols].astype(np.float32) / np.float32(full_scale(stored.dtype))
        else:
            (rows, above), (cols, before) = (_around(first, side, scale) for first in (top, left))
            clean = picture[:, rows, cols][self.channels :]
            clean = clean.astype(np.float32) / np.float32(full_scale(picture.dtype))
            small = resize_bicubic(clean.transpose(1, 2, 0), 1 / scale).transpose(2, 0, 1)
            window = small[:, above : above + side // scale, before : before + side // scale]
        return torch.from_numpy(np.ascontiguousarray(posed(window, place.pose)))


def _around(first: int, side: int, scale: int) -> tuple[slice, int]:
    """The pixels that decide about a window made smaller, and at which small pixel of them the window begins."""
    margin = min(_MARGIN, first // scale)
    return slice(first - margin * scale, first + side + _MARGIN * scale), margin


def _check_low(pictures: Sequence[npt.NDArray[np.generic]], low: int, crop: int, channels: int) -> None:
    if low < 2:
        raise RecipeError(f"pairs.low is {low}; expected a whole number from 2 on, as in 4 for a quarter")
    if channels == _MOSAIC:
        raise RecipeError("pairs.low is for pictures, these are the planes of a mosaic; leave it out")
    if crop % low:
        raise RecipeError(
            f"a crop of {crop} pixels has no {low}th part; set pairs.crop and validation.crop to multiples of {low}"
        )
    for picture in pictures:
        stored = getattr(picture, "low", None)
        expected = tuple(-(-length // low) for length in picture.shape[1:])
        if stored is not None and stored.shape[1:] != expected:
            raise RecipeError(
                f"the store holds pictures of {picture.shape[1:]} pixels whose low resolution has {stored.shape[1:]}; "
                f"expected {expected} for pairs.low {low}: pack it again with `--low {low}` or without"
            )
