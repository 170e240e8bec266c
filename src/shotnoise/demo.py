"""The demonstration: a photograph that comes with shotnoise, made noisy, denoised and shown side by side."""

import importlib.resources
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shotnoise.denoiser import Denoiser
from shotnoise.images import Image, open_image, save_image

__all__ = ["Demo", "demonstrate"]

_SIGMA = 25.0
_WINDOW = (75, 150, 110, 165)  # top, left, height, width of the part shown enlarged
_GAP = 12

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Demo:
    """What the demonstration did.

    Attributes:
        noisy: the picture that went in.
        clean: the picture that came out.
        comparison: both beside each other, with an enlarged part.
        sigma: the noise level that was found in the picture, in 8-bit counts; the true one is 25.
        psnr_before: dB of the noisy picture against the original.
        psnr_after: dB of the result.
        seconds: of the denoising.
    """

    noisy: Path
    clean: Path
    comparison: Path
    sigma: float
    psnr_before: float
    psnr_after: float
    seconds: float


def demonstrate(folder: str | os.PathLike[str], *, model: str | os.PathLike[str] = "photo", seed: int = 0) -> Demo:
    """Write a noisy picture, its denoised version and a comparison into a folder.

    The photograph (Chelsea, by Stéfan van der Walt, CC0) is clean; the noise is simulated: white, sigma 25, clipped and
    rounded to 8 bits as a camera file would be. The denoiser is not told how strong it is.
    """
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    with importlib.resources.as_file(importlib.resources.files("shotnoise.bundled") / "chelsea.png") as file:
        original = np.asarray(open_image(file).pixels, dtype=np.float64)
    noise = np.random.default_rng(seed).normal(0, _SIGMA, original.shape)
    noisy = np.clip(original + noise + 0.5, 0, 255).astype(np.uint8)
    save_image(Image(noisy), out / "noisy.png")
    result = Denoiser(str(model)).run(open_image(out / "noisy.png"))
    clean = np.asarray(result.image.pixels, dtype=np.uint8)
    save_image(result.image, out / "clean.png")
    before, after = _psnr(noisy, original), _psnr(clean, original)
    sheet = _sheet([(f"before   {before:.1f} dB", noisy), (f"after   {after:.1f} dB", clean)])
    save_image(Image(sheet), out / "before-after.png")
    return Demo(
        noisy=out / "noisy.png",
        clean=out / "clean.png",
        comparison=out / "before-after.png",
        sigma=result.sigma if result.sigma is not None else math.nan,
        psnr_before=before,
        psnr_after=after,
        seconds=result.seconds,
    )


def _psnr(picture: Picture, original: npt.NDArray[np.float64]) -> float:
    return 10 * math.log10(255**2 / float(np.square(picture - original).mean()))


def _sheet(columns: list[tuple[str, Picture]]) -> Picture:
    """Pictures side by side under their titles, each with an enlarged part below."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw, ImageFont

    height, width = columns[0][1].shape[:2]
    top, left, rows, _ = _WINDOW
    zoom = width // _WINDOW[3]
    columns_wide = width // zoom
    title = 34
    size = (len(columns) * (width + _GAP) + _GAP, title + height + _GAP + rows * zoom + _GAP)
    sheet = PillowImage.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(20)
    for number, (text, pixels) in enumerate(columns):
        x = _GAP + number * (width + _GAP)
        picture = PillowImage.fromarray(pixels)
        part = picture.crop((left, top, left + columns_wide, top + rows))
        draw.text((x, 5), text, fill="black", font=font)
        sheet.paste(picture, (x, title))
        enlarged = part.resize((columns_wide * zoom, rows * zoom), PillowImage.Resampling.NEAREST)
        sheet.paste(enlarged, (x, title + height + _GAP))
        box = (x + left, title + top, x + left + columns_wide, title + top + rows)
        draw.rectangle(box, outline="white", width=1)
    return np.asarray(sheet)
