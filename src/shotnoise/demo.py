"""The demonstration: a photograph that comes with shotnoise, made noisy, denoised and shown side by side.

Twice: as a finished picture with white noise, and as the RAW file of a simulated camera at a high ISO.
"""

import importlib.resources
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shotnoise.denoiser import Denoiser
from shotnoise.images import Image, open_image, save_image
from shotnoise.images._disk import make_folder
from shotnoise.images.raw import RawFrame, open_raw, save_dng
from shotnoise.raw_denoiser import RawDenoiser
from shotnoise.sensor.develop import Look, develop, normalised
from shotnoise.sensor.simulate import SimulatedSensor
from shotnoise.sensor.undevelop import undevelop

__all__ = ["Demo", "RawDemo", "demonstrate", "demonstrate_raw", "noisy_photograph"]

_SIGMA = 25.0
_WINDOW = (75, 150, 110, 165)  # top, left, height, width of the part shown enlarged
_GAP = 12

_ISO = 6400
# A camera with usual colours: one of the four that the unprocessing paper (Brooks et al., CVPR 2019) mixes.
_XYZ_TO_CAMERA = np.array([[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]])

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
    out = make_folder(folder)
    original = _photograph().astype(np.float64)
    noisy = noisy_photograph(seed)
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


@dataclass(frozen=True)
class RawDemo:
    """What the demonstration did with RAW.

    Attributes:
        noisy: the RAW file that went in.
        clean: the RAW file that came out.
        previews: both developed with the same look.
        comparison: these beside each other, with an enlarged part.
        iso: of the simulated camera.
        law: where the noise law came from that the denoiser used.
        psnr_before: dB of the noisy counts against those without noise, black to white.
        psnr_after: dB of the result.
        seconds: of the denoising.
    """

    noisy: Path
    clean: Path
    previews: tuple[Path, Path]
    comparison: Path
    iso: float
    law: str
    psnr_before: float
    psnr_after: float
    seconds: float


def demonstrate_raw(folder: str | os.PathLike[str], *, model: str | os.PathLike[str] = "raw", seed: int = 0) -> RawDemo:
    """Write a noisy RAW file, its denoised version, both developed, and a comparison into a folder.

    The scene is the same photograph, taken back to the light it was made from; a simulated sensor of 12 bits counts it
    at ISO 6400, where white is 300 electrons. The denoiser sees the file and nothing else.
    """
    out = make_folder(folder)
    noisy, truth = _exposures(seed)
    save_dng(noisy, out / "noisy.dng")
    result = RawDenoiser(str(model)).run(open_raw(out / "noisy.dng"))
    save_dng(result.frame, out / "clean.dng", noise_reduction=1 - result.left)
    look = Look.of(noisy)
    before, after = (_raw_psnr(frame, truth) for frame in (noisy, result.frame))
    pictures = [np.asarray(develop(frame, look, size="full").pixels, np.uint8) for frame in (noisy, result.frame)]
    previews = out / "raw-noisy.jpg", out / "raw-clean.jpg"
    for pixels, path in zip(pictures, previews, strict=True):
        save_image(Image(pixels), path)
    sheet = _sheet([(f"RAW before   {before:.1f} dB", pictures[0]), (f"RAW after   {after:.1f} dB", pictures[1])])
    save_image(Image(sheet), out / "raw-before-after.png")
    return RawDemo(
        noisy=out / "noisy.dng",
        clean=out / "clean.dng",
        previews=previews,
        comparison=out / "raw-before-after.png",
        iso=_ISO,
        law=result.law.source if result.law is not None else "",
        psnr_before=before,
        psnr_after=after,
        seconds=result.seconds,
    )


def noisy_photograph(seed: int = 0) -> Picture:
    """The photograph of the demonstration with white noise, sigma 25, clipped and rounded to 8 bits."""
    original = _photograph().astype(np.float64)
    noise = np.random.default_rng(seed).normal(0, _SIGMA, original.shape)
    return np.clip(original + noise + 0.5, 0, 255).astype(np.uint8)


def _photograph() -> Picture:
    with importlib.resources.as_file(importlib.resources.files("shotnoise.bundled") / "chelsea.png") as file:
        return np.asarray(open_image(file).pixels, np.uint8)


def _exposures(seed: int) -> tuple[RawFrame, RawFrame]:
    """The photograph through a simulated sensor, with its noise and without."""
    photograph = _photograph()
    photograph = photograph[: photograph.shape[0] // 2 * 2, : photograph.shape[1] // 2 * 2]
    sensor = SimulatedSensor(height=photograph.shape[0], width=photograph.shape[1])
    exposure = sensor.exposure_for(1.0, _ISO)  # white paper fills the range

    def expose(scene: npt.NDArray[np.float64], noisy: bool) -> RawFrame:
        rng = np.random.default_rng(seed)
        frame = sensor.expose(scene, iso=_ISO, exposure=exposure, rng=rng, noisy=noisy)
        return frame.with_mosaic(frame.mosaic, xyz_to_camera=_XYZ_TO_CAMERA)

    look = Look.of(expose(np.zeros(photograph.shape), noisy=False))
    scene = undevelop(photograph, look) / np.array(sensor.responsivity)
    return expose(scene, noisy=True), expose(scene, noisy=False)


def _raw_psnr(frame: RawFrame, truth: RawFrame) -> float:
    error = np.clip(normalised(frame), 0, 1) - np.clip(normalised(truth), 0, 1)
    return -10 * math.log10(float(np.square(error, dtype=np.float64).mean()))


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
