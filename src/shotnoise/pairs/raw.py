"""RAW samples: packed planes of a sensor, simulated noise of a known law, and the transform that removes the ISO."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from shotnoise.errors import RecipeError
from shotnoise.isp import draw_cameras, unprocess
from shotnoise.noise import NoiseModel
from shotnoise.noise.model import Range, check_range
from shotnoise.pairs.crops import Crops, add_noise
from shotnoise.pairs.sample import Batch, PairSource, Sample
from shotnoise.sensor.law import KSigma

__all__ = ["RawPlanes", "UnprocessedPictures", "turned"]


class RawPlanes(PairSource):
    """Crops of clean RAW planes with noise added on the fly.

    Args:
        pictures: (4, H, W) float32 planes R, Gr, Gb, B of RGGB mosaics, normalised: 0 is black, 1 is white.
        noise: a noise model with a law.
        crop: side of the crop, in pixels of a plane.
        augment: mirror and transpose, in ways that leave the mosaic RGGB.
        exposure: factor on the signal, a number or a range of which every octave is equally likely: darker scenes than
            the pictures show.
        k_sigma: the arguments of :class:`~shotnoise.sensor.law.KSigma`, for a network that works behind this transform;
            None for one that takes normalised counts.
        jitter: standard deviation of ln k and of ln s2 by which the law that the transform uses misses the true one, so
            that a wrong profile degrades the result gently.
        quiet: share of samples with less noise than their law says, down to none, so that clean areas stay untouched.
    """

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel,
        crop: int = 64,
        augment: bool = True,
        exposure: Range = 1.0,
        k_sigma: Mapping[str, float] | None = None,
        jitter: float = 0.0,
        quiet: float = 0.0,
    ) -> None:
        if not 0 <= quiet <= 1:
            raise RecipeError(f"pairs.quiet is {quiet}; expected a share between 0 and 1")
        if not 0 <= jitter <= 1:
            raise RecipeError(f"pairs.jitter is {jitter}; expected a standard deviation of logarithms, 0 to 1")
        if noise is None or noise.law(noise.draw(1, torch.Generator().manual_seed(0))) is None:
            raise RecipeError(
                "pairs of RAW planes need a noise model with a camera's law; use noise: {name: poisson-gaussian, ...}"
            )
        try:
            self.k_sigma = None if k_sigma is None else KSigma(**k_sigma)  # type: ignore[arg-type]
        except TypeError:
            raise RecipeError(f"pairs.k_sigma is {k_sigma}; expected gain, offset and root") from None
        self.crop, self.augment, self.noise = crop, augment, noise
        self.exposure = check_range("pairs.exposure", exposure, positive=True)
        self.jitter, self.quiet = jitter, quiet
        self._crops = self._cut(pictures)

    def _cut(self, pictures: Sequence[npt.NDArray[np.generic]]) -> Crops:
        # One pixel more than asked for: mirroring a mosaic and going back to RGGB costs a row and a column.
        return Crops(pictures, crop=self.crop + self.augment, augment=False)

    def _planes(self, generator: torch.Generator) -> Tensor:
        window = self._crops.draw(generator)
        return turned(window, generator) if self.augment else window

    @classmethod
    def largest_crop(cls, shape: Sequence[int], options: Mapping[str, Any]) -> int:
        """With the pixel that turning costs."""
        return min(shape[1:]) - 1

    def draw(self, generator: torch.Generator) -> Sample:
        """One noisy crop and its clean original, both as the network sees them."""
        low, high = self.exposure
        clean = self._planes(generator) * (low * (high / low) ** float(torch.rand((), generator=generator)))
        noisy, _, _, law = add_noise(clean, self.noise, generator)
        if law is None:
            raise RecipeError("this noise model has no law; use noise: {name: poisson-gaussian, ...}")
        if float(torch.rand((), generator=generator)) < self.quiet:
            noisy = clean + (noisy - clean) * float(torch.rand((), generator=generator))
        wrong = torch.randn(2, 1, 1, 1, generator=generator)
        told = law * (self.jitter * wrong).exp()
        k, s2 = told
        if self.k_sigma is None:
            level = (k * noisy + s2).clamp_min(0).sqrt()
            return Sample(noisy=noisy, target=clean, clean=clean, level=level, law=told)
        seen, target = (self.k_sigma.forward(values, k, s2) for values in (noisy, clean))
        level = self.k_sigma.level(noisy, k, s2)
        level = torch.full((1, 1, 1), level) if self.k_sigma.root else level
        return Sample(noisy=seen, target=target, clean=clean, level=level, law=told)

    def to_unit(self, values: Tensor, batch: Batch) -> Tensor:
        """Normalised counts again."""
        if self.k_sigma is None:
            return values
        k, s2 = batch["law"].unbind(1)
        return self.k_sigma.inverse(values, k, s2)


class UnprocessedPictures(RawPlanes):
    """The same from display pictures, each crop taken back to the RAW of an invented camera.

    Args:
        As for :class:`RawPlanes`, save that `pictures` are (3, H, W) in display values, and `crop` counts the pixels of
        a plane: the window in the picture is twice as wide.
    """

    picture_channels: ClassVar[int | None] = 3

    @classmethod
    def largest_crop(cls, shape: Sequence[int], options: Mapping[str, Any]) -> int:
        """Of a plane, which is half as wide as the picture."""
        return min(shape[1:]) // 2

    def _cut(self, pictures: Sequence[npt.NDArray[np.generic]]) -> Crops:
        return Crops(pictures, crop=2 * self.crop, augment=self.augment)

    def _planes(self, generator: torch.Generator) -> Tensor:
        picture = self._crops.draw(generator)
        return unprocess(picture[None], draw_cameras(1, generator))[0]


def turned(planes: Tensor, generator: torch.Generator) -> Tensor:
    """One of the eight poses of a mosaic that stays RGGB, a pixel smaller on each side: (4, n + 1, ...) -> (4, n, ...).

    Planes of several mosaics on top of each other, (4 m, ...), are turned alike.

    A mirrored RGGB mosaic begins with another colour; without its first and last column it is RGGB again. Transposing
    exchanges the two greens, which is what RGGB does.
    """
    mosaic = F.pixel_shuffle(planes, 2)  # (4 m, n + 1, ...) -> (m, 2n + 2, ...), each in the order R, Gr, Gb, B
    down, right, swap = (bool(bit) for bit in torch.randint(2, (3,), generator=generator))
    mosaic = mosaic.flip(1)[:, 1:-1] if down else mosaic[:, :-2]
    mosaic = mosaic.flip(2)[:, :, 1:-1] if right else mosaic[:, :, :-2]
    if swap:
        mosaic = mosaic.mT
    return F.pixel_unshuffle(mosaic, 2)
