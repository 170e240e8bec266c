"""Protocols for display pictures: noise of a paper added to 8-bit values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import RecipeError, nearest
from shotnoise.evaluation.protocol import DataSet, Protocol, Trial
from shotnoise.images import open_image
from shotnoise.images.image import to_depth
from shotnoise.metrics import quantise
from shotnoise.store import planes

__all__ = ["PADDINGS", "PictureProtocol", "pad", "rows"]

Padding = Literal[
    "reflect, bottom and right, to the model's multiple",
    "reflect, bottom and right, to multiples of 32",
    "reflect, bottom and right, to a square with a side that is a multiple of 32",
]

# What `--padding` takes.
PADDINGS: dict[str, Padding] = {
    "model": "reflect, bottom and right, to the model's multiple",
    "32": "reflect, bottom and right, to multiples of 32",
    "square32": "reflect, bottom and right, to a square with a side that is a multiple of 32",
}


@dataclass(frozen=True, kw_only=True)
class PictureProtocol(Protocol):
    """Noise added to display pictures.

    A picture is taken as 8-bit values divided by 255. Noise is drawn by NumPy's legacy generator (``RandomState``,
    whose stream is frozen for all versions) in float64, in the order height, width, channel, and the noisy picture
    is cast to float32. It is not clipped: a network must see the noise whole. Where the strength is a range, the
    generator first draws one, uniformly, for each picture and repeat. A denoiser that asks for the level is told the
    true one; Poisson noise has none. The output is limited to 0..1 and rounded to 8 bits before it is compared with
    the 8-bit original. Scores are means over all pictures and repeats.

    The fields with only one possible value are there to be quoted; a protocol with another rule adds a value.

    Attributes:
        noise: the law of the noise: "gaussian" adds, "poisson" is Poisson(strength x) / strength.
        strength: its parameter, or the range from which it is drawn: for gaussian the standard deviation in units of
            8-bit values, for poisson the number of events at white.
        crop: part of the picture that is scored.
        padding: how a picture is brought to the size that a network needs; the padding is cut off again.
        quantisation: what happens to the output, and to the noisy picture, before it is scored; calculated in
            float64 where nothing is said.
        metrics: "psnr" over all pixels and channels, "ssim" per channel, both of
            :mod:`shotnoise.metrics` with data range 255.
    """

    noise: Literal["gaussian", "poisson"]
    strength: float | tuple[float, float]
    crop: Literal["none"] = "none"
    padding: Padding = PADDINGS["model"]
    quantisation: Literal["clip, 8 bits", "clip, 8 bits, in float32"] = "clip, 8 bits"
    metrics: tuple[Literal["psnr", "ssim"], ...] = ("psnr", "ssim")

    def trial(self, path: Path, channels: int, generator: np.random.RandomState) -> Trial:
        """Pictures of another number of channels are converted before noise is added."""
        image = open_image(path)
        clean = planes(to_depth(image.pixels, np.uint8), channels).transpose(1, 2, 0)
        height, width = clean.shape[:2]
        strength = self.draw(generator)
        noisy = self.add_noise(clean, generator, strength)
        planar = pad(np.ascontiguousarray(noisy.transpose(2, 0, 1)), self.padding)  # (H, W, C) -> (C, H, W)

        def judged(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
            return self.quantise(values[:, :height, :width].transpose(1, 2, 0))

        return Trial(planar, self.level(strength), clean, 255, judged, judged, image.channels != channels)

    def refusal(self, kind: str, level: str) -> str | None:
        """RAW models see no display pictures, and one that asks for the level cannot be told that of Poisson noise."""
        if kind not in ("rgb", "gray"):
            return f"is for {kind} data, and '{self.name}' measures on pictures; choose a protocol for {kind} data"
        if level == "sigma" and self.noise == "poisson":
            return (
                f"needs the noise level, and the Poisson noise of '{self.name}' has no single one; "
                "measure a model that takes no level, or choose a protocol with Gaussian noise"
            )
        return None

    def draw(self, generator: np.random.RandomState) -> float:
        """The strength for one picture; a fixed one takes nothing from the generator."""
        if isinstance(self.strength, tuple):
            return float(generator.uniform(*self.strength))
        return self.strength

    def level(self, strength: float) -> float | None:
        """The standard deviation of the noise in units of 0..1, what a denoiser may ask for; None for poisson."""
        return strength / 255.0 if self.noise == "gaussian" else None

    def add_noise(
        self, clean: npt.NDArray[np.uint8], generator: np.random.RandomState, strength: float | None = None
    ) -> npt.NDArray[np.float32]:
        """(H, W, C) 8-bit picture -> (H, W, C) noisy picture around 0..1, not clipped.

        Args:
            clean: the picture.
            generator: source of all randomness.
            strength: what :meth:`draw` gave; None to draw now.
        """
        strength = self.draw(generator) if strength is None else strength
        if self.noise == "gaussian":
            noise = generator.normal(0.0, strength / 255.0, clean.shape)
            return (clean / 255.0 + noise).astype(np.float32)
        # How many numbers the generator uses up depends on the last bit of the rate, so its type is that of the
        # published code: float32, or float64 where the strength was drawn.
        picture: npt.NDArray[np.float32] = clean.astype(np.float32) / np.float32(255)
        rate = picture.astype(np.float64) * strength if isinstance(self.strength, tuple) else picture * strength
        noisy: npt.NDArray[np.float32] = (generator.poisson(rate) / strength).astype(np.float32)
        return noisy

    def quantise(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """A picture around 0..1 as the 8-bit values that are scored."""
        return quantise(picture, np.float32 if self.quantisation == "clip, 8 bits, in float32" else np.float64)

    def _padding(self, name: str | None) -> str | None:
        if name is not None and name not in PADDINGS:
            raise RecipeError(f"unknown padding '{name}': {nearest(name, PADDINGS)}")
        return None if name is None else PADDINGS[name]


def pad(picture: npt.NDArray[np.float32], padding: Padding) -> npt.NDArray[np.float32]:
    """(C, H, W) -> the size that a protocol prescribes, by reflection at the bottom and to the right."""
    if padding == PADDINGS["model"]:
        return picture
    height, width = (-(-side // 32) * 32 for side in picture.shape[1:])
    if padding == PADDINGS["square32"]:
        height = width = max(height, width)
    return np.pad(picture, ((0, 0), (0, height - picture.shape[1]), (0, width - picture.shape[2])), mode="reflect")


def rows() -> list[PictureProtocol]:
    """The table: ours first, then those of the published systems."""
    sizes: dict[DataSet, int | None] = {"kodak24": 24, "bsd300": 100, "set14": 12, "folder": None}
    ours: tuple[DataSet, ...] = ("kodak24", "bsd300", "folder")
    table = [
        PictureProtocol(
            name=f"{data_set}/gaussian{sigma:g}",
            data_set=data_set,
            pictures=sizes[data_set],
            noise="gaussian",
            strength=sigma,
        )
        for data_set in ours
        for sigma in (2.0, 5.0, 15.0, 25.0, 50.0)
    ]
    short: dict[str, DataSet] = {"kodak": "kodak24", "bsd300": "bsd300", "set14": "set14"}
    # Noise2Noise works in -0.5..0.5, adds the same noise there and rounds (y + 0.5) 255: up to the last bit of
    # float32 that is this protocol. Its generator is not seeded, so its numbers differ in the third decimal.
    table += [
        PictureProtocol(
            name=f"noise2noise/{name}/{noise}{strength:g}",
            data_set=short[name],
            pictures=sizes[short[name]],
            noise=noise,
            strength=strength,
            seeding="each set",
            padding=PADDINGS["32"],
            quantisation="clip, 8 bits, in float32",
            metrics=("psnr",),
        )
        for name in ("kodak", "bsd300")
        for noise, strength in _NOISE2NOISE
    ]
    # Neighbor2Neighbor seeds once and measures Kodak, BSD300 and Set14 one after the other; here each set starts
    # from the seed, so that a set can be measured alone: Kodak is the same, the others differ in the third decimal.
    table += [
        PictureProtocol(
            name=f"neighbor2neighbor/{name}/{kind}",
            data_set=short[name],
            pictures=sizes[short[name]],
            noise=noise,
            strength=strength,
            seed=101,
            seeding="each set",
            repeats=repeats,
            padding=PADDINGS["32"],
            quantisation="clip, 8 bits, in float32",
        )
        for name, repeats in (("kodak", 10), ("bsd300", 3), ("set14", 20))
        for kind, noise, strength in _NEIGHBOR2NEIGHBOR
    ]
    return table


_NOISE2NOISE: tuple[tuple[Literal["gaussian", "poisson"], float], ...] = (("gaussian", 25.0), ("poisson", 30.0))
_NEIGHBOR2NEIGHBOR: tuple[tuple[str, Literal["gaussian", "poisson"], float | tuple[float, float]], ...] = (
    ("gauss25", "gaussian", 25.0),
    ("gauss5_50", "gaussian", (5.0, 50.0)),
    ("poisson30", "poisson", 30.0),
    ("poisson5_50", "poisson", (5.0, 50.0)),
)
