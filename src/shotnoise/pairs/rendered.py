"""Display pictures with the noise of a camera: made in RAW, and developed with it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from shotnoise.errors import RecipeError
from shotnoise.noise import NoiseModel
from shotnoise.noise.model import Range, check_range
from shotnoise.pairs.crops import Crops
from shotnoise.pairs.sample import PairSource, Sample
from shotnoise.synthesis import Pair, Synthesizer, open_renderer

__all__ = ["RenderedPictures"]


class RenderedPictures(PairSource):
    """Crops of display pictures taken to RAW, made noisy there and, unless RAW is wanted, developed again.

    Args:
        pictures: (3, H, W) in display values, as :class:`~shotnoise.pairs.crops.Crops` takes them.
        noise: a noise model with the law of a sensor.
        crop: side of the sample, of RAW in pixels of a plane.
        augment: use the eight turns and mirrors of a square.
        renderer: "classical", for a camera drawn anew for every crop; or the run folder or checkpoint of a network
            `cycleisp`.
        domain: what the samples are: "srgb", or "raw" for packed planes with the deviation of their noise as level.
        pair: of sRGB: what is compared with what, see :class:`~shotnoise.synthesis.Synthesizer`.
        smooth: take the noise of the picture itself down first, by a Gaussian of sigma 1.
        resize: make the picture smaller first, by this factor.
        jpeg: quality, or range of qualities, by which the noisy crop is compressed; None: not at all.
        rescale: factor, or range of factors, by which both crops are made larger or smaller at the end, as pictures are
            on their way to a screen: it makes noise coarser or finer; None: not at all.
    """

    picture_channels: ClassVar[int | None] = 3

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel,
        crop: int = 64,
        augment: bool = True,
        renderer: str = "classical",
        domain: Literal["srgb", "raw"] = "srgb",
        pair: Pair = "transfer",
        smooth: bool = False,
        resize: float = 1.0,
        jpeg: Range | None = None,
        rescale: Range | None = None,
    ) -> None:
        if domain not in ("srgb", "raw"):
            raise RecipeError(f"pairs.domain is '{domain}'; expected srgb or raw")
        if domain == "raw" and (jpeg is not None or rescale is not None or pair != "transfer"):
            raise RecipeError(
                "pairs.jpeg, pairs.rescale and pairs.pair are about developed pictures; leave them out of domain: raw"
            )
        if noise is None:
            raise RecipeError(
                "rendered pictures need a sensor's noise; add noise: {name: poisson-gaussian, levels: sidd} or the like"
            )
        self.synthesizer = Synthesizer(
            open_renderer(renderer), noise, pair=pair, smooth=smooth, resize=resize, jpeg=jpeg
        )
        self.domain = domain
        self.side = 2 * crop if domain == "raw" else crop
        self._rescale = (1.0, 1.0) if rescale is None else check_range("pairs.rescale", rescale, positive=True)
        widest = self.side if rescale is None else math.ceil(self.side / self._rescale[0])
        self._crops = Crops(pictures, crop=math.ceil(widest / resize), augment=augment)

    @classmethod
    def largest_crop(cls, shape: Sequence[int], options: Mapping[str, Any]) -> int:
        """Of RAW, whose planes are half as wide; smaller still where pictures are made smaller."""
        return min(shape[1:]) // 2

    def draw(self, generator: torch.Generator) -> Sample:
        """One noisy crop and the clean one."""
        window = self._crops.draw(generator)[None]
        low, high = self._rescale
        factor = low * (high / low) ** float(torch.rand((), generator=generator)) if low < high else low
        side = math.ceil(self.side / factor)
        prepared = self.synthesizer.prepared(window)[:, :, :side, :side]
        if self.domain == "raw":
            raw = self.synthesizer.raw(prepared, generator)
            level = raw.variance[0].clamp_min(0).sqrt()
            return Sample(noisy=raw.noisy[0], target=raw.clean[0], clean=raw.clean[0], level=level, law=raw.law[0])
        made = self.synthesizer.srgb(prepared, generator)
        noisy, clean = made.noisy, made.clean
        if factor != 1:
            both = F.interpolate(
                torch.cat((noisy, clean)), (self.side, self.side), mode="bicubic", align_corners=False, antialias=True
            )
            noisy, clean = both.clamp(0, 1).chunk(2)
        return Sample(noisy=noisy[0], target=clean[0], clean=clean[0])
