"""Noise as a finished photograph has it: the picture goes back to RAW, is made noisy there, and is developed again.

In RAW the noise of every value is independent and its law is known. What makes it the soft, coloured, brightness-bound
noise of a photograph is the camera's own processing, so that processing is applied. The order of the steps is that of
CycleISP (Zamir et al., CVPR 2020, arXiv 2003.07761): RAW, cut to 0..1, noise by the law at that clean RAW, cut again,
variance by the law at what is then seen, development, cut.
"""

import io
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from shotnoise.errors import PictureError, RecipeError
from shotnoise.isp import Renderer
from shotnoise.isp.blur import blur
from shotnoise.noise import NoiseModel
from shotnoise.noise.model import Range, check_range

__all__ = ["FRAME", "NoisyRaw", "Pair", "Rendered", "Synthesizer"]

FRAME = 512
"""Side of the black frame into which the published code puts every picture."""

Pair = Literal["transfer", "round-trip", "published"]

_BLOCK = 16  # sides inside that frame are multiples of this


class NoisyRaw(NamedTuple):
    """(B, 4, H/2, W/2) each, and what the camera remembers of the development.

    Attributes:
        clean: RAW planes in 0..1.
        noisy: with noise, in 0..1.
        variance: of the noise as it can be told from `noisy`.
        law: (B, 2, 4, 1, 1), k and s2 of each plane.
        context: of the renderer, to develop either.
    """

    clean: Tensor
    noisy: Tensor
    variance: Tensor
    law: Tensor
    context: Any


class Rendered(NamedTuple):
    """A noisy picture and its clean counterpart, (B, 3, H, W) in 0..1, and the RAW that they were made of."""

    clean: Tensor
    noisy: Tensor
    raw: NoisyRaw
    quality: int | None


class Synthesizer:
    """Makes pairs from display pictures; the same generator state gives the same pair.

    Args:
        renderer: the camera, in both directions. What it remembers of one picture must do for any number of versions.
        noise: a noise model with the law of a sensor.
        pair: what is compared with what. "transfer": the picture itself, and on top of it what the noise has changed in
            the developed one; so the clean one stays as sharp as it came, and noise is all that differs.
            "round-trip": the developed picture with and without noise, for networks that should know pictures as this
            camera makes them, with all that its mosaic has lost. "published": the picture and the developed noisy one,
            as CycleISP has it; whoever learns from it is also taught to undo what the camera changed.
        smooth: take the noise of the picture itself down first, by a Gaussian of sigma 1.
        resize: make the picture smaller first, by this factor; that too takes its own noise down.
        jpeg: quality, or range of qualities, by which the noisy picture is compressed, as phones do; None: not at all.
        frame: put the picture into a black frame of 512 x 512 as the published code does, for comparisons with it.
    """

    def __init__(
        self,
        renderer: Renderer,
        noise: NoiseModel,
        *,
        pair: Pair = "transfer",
        smooth: bool = False,
        resize: float = 1.0,
        jpeg: Range | None = None,
        frame: bool = False,
    ) -> None:
        if pair not in get_args(Pair):
            raise RecipeError(f"pair is '{pair}'; expected {', '.join(get_args(Pair))}")
        if not 0 < resize <= 1:
            raise RecipeError(f"resize is {resize}; expected a factor above 0 and up to 1, for instance 0.5")
        _law(noise, noise.draw(1, torch.Generator().manual_seed(0)))
        low, high = (100.0, 100.0) if jpeg is None else check_range("jpeg", jpeg, positive=True, limit=100)
        if low != int(low) or high != int(high):
            raise RecipeError(f"jpeg is {jpeg}; expected whole numbers from 1 to 100")
        self.renderer, self.noise, self.pair = renderer, noise, pair
        self.smooth, self.resize, self.frame = smooth, resize, frame
        self._qualities = None if jpeg is None else (int(low), int(high))

    @torch.no_grad()
    def prepared(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) display values as they enter the camera: smaller, smoother, if so wished."""
        if self.resize < 1:
            size = [max(2, round(side * self.resize)) for side in pictures.shape[2:]]
            pictures = F.interpolate(pictures, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        if self.frame:
            height, width = (side - side % _BLOCK for side in pictures.shape[2:])
            if not (0 < height <= FRAME and 0 < width <= FRAME):
                raise PictureError(
                    f"{pictures.shape[3]} x {pictures.shape[2]} pixels do not go into the published frame; "
                    f"expected sides of {_BLOCK} to {FRAME + _BLOCK - 1}: cut or resize the picture"
                )
            pictures = pictures[:, :, :height, :width]
        return blur(pictures) if self.smooth else pictures

    @torch.no_grad()
    def raw(self, prepared: Tensor, generator: torch.Generator) -> NoisyRaw:
        """Noisy RAW planes; a picture of odd size is continued by reflection, so they cover up to a pixel more."""
        rgb, margins = self._padded(prepared)
        made = self._raw(rgb, generator)
        if not any(margins):
            return made
        left, right, top, bottom = (margin // 2 for margin in margins)
        rows, cols = slice(top, made.clean.shape[2] - bottom), slice(left, made.clean.shape[3] - right)
        clean, noisy, variance = (part[:, :, rows, cols] for part in made[:3])
        return NoisyRaw(clean, noisy, variance, made.law, made.context)

    @torch.no_grad()
    def srgb(self, prepared: Tensor, generator: torch.Generator) -> Rendered:
        """A noisy picture of the size that came in, and the clean one."""
        rgb, margins = self._padded(prepared)
        raw = self._raw(rgb, generator)
        height, width = prepared.shape[2:]
        left, _, top, _ = margins

        def developed(planes: Tensor) -> Tensor:
            picture = self.renderer.to_rgb(planes, raw.context).clamp(0, 1)
            return picture[:, :, top : top + height, left : left + width]

        if self.pair == "published":
            clean, noisy = prepared, developed(raw.noisy)
        elif len(prepared) == 1:  # two versions of one picture in one go, which is faster
            clean, noisy = developed(torch.cat((raw.clean, raw.noisy))).chunk(2)
        else:
            clean, noisy = developed(raw.clean), developed(raw.noisy)
        if self.pair == "transfer":
            clean, noisy = prepared, (prepared + noisy - clean).clamp(0, 1)
        quality = None
        if self._qualities is not None:
            low, high = self._qualities
            quality = int(torch.randint(low, high + 1, (), generator=generator))
            noisy = torch.stack([_compressed(picture, quality) for picture in noisy])
        return Rendered(clean, noisy, raw, quality)

    def _raw(self, rgb: Tensor, generator: torch.Generator) -> NoisyRaw:
        planes, context = self.renderer.to_raw(rgb, generator)
        clean = planes.clamp(0, 1)
        strength = self.noise.draw(len(clean), generator)
        noisy = self.noise.sample(clean, generator, strength).clamp(0, 1)
        law = _law(self.noise, strength)
        k, s2 = law.unbind(1)
        return NoisyRaw(clean, noisy, k * noisy + s2, law, context)

    def _padded(self, rgb: Tensor) -> tuple[Tensor, tuple[int, int, int, int]]:
        """The picture with what the camera needs around it, and how much: left, right, top, bottom."""
        height, width = rgb.shape[2:]
        if self.frame:
            top, left = (FRAME - height) // 2, (FRAME - width) // 2
            margins = (left, FRAME - width - left, top, FRAME - height - top)
            return F.pad(rgb, margins), margins
        right, bottom = width % 2, height % 2
        if not (right or bottom):
            return rgb, (0, 0, 0, 0)
        mode = "reflect" if min(height, width) > 1 else "replicate"
        return F.pad(rgb, (0, right, 0, bottom), mode=mode), (0, right, 0, bottom)


def _law(noise: NoiseModel, strength: Tensor) -> Tensor:
    law = noise.law(strength)
    if law is None:
        raise RecipeError(
            "this noise has no law of a sensor, and pictures are made noisy in RAW; "
            "use noise: {name: poisson-gaussian, levels: sidd} or that of your camera"
        )
    return law


def _compressed(picture: Tensor, quality: int) -> Tensor:
    """(3, H, W) after JPEG, with the chroma at half resolution that cameras write."""
    counts = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(counts).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    decoded = np.asarray(Image.open(file), np.float32) / np.float32(255)
    return torch.from_numpy(decoded).permute(2, 0, 1).contiguous()
