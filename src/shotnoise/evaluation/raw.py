"""Protocols for RAW: pictures taken back to the counts of a sensor whose noise is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from shotnoise.evaluation.protocol import DataSet, Protocol, Trial
from shotnoise.images import open_image
from shotnoise.images.image import to_depth
from shotnoise.isp import camera_of, unprocess
from shotnoise.sensor.published import published_profile
from shotnoise.store import planes

__all__ = ["RawProtocol", "rows", "shown_planes"]


@dataclass(frozen=True, kw_only=True)
class RawProtocol(Protocol):
    """A camera's noise, added to the RAW that it would have recorded of a display picture.

    The picture, 8-bit values divided by 255 and cut to even sides, is taken back to packed planes of an RGGB sensor as
    in :func:`shotnoise.isp.unprocess`; the generator draws the camera: four weights, the normal number of the total
    gain, the red and the blue gain. Then x = k Poisson(clean / k) + N(0, s2) with the law of `camera` at `iso`, in
    float64, plane after plane, rounded to whole counts, limited to those that the file can hold, normalised and cast
    to float32: values below black stay negative. The denoiser is told the true law. Its output, limited to 0..1 and
    not rounded, is compared with the clean planes there: PSNR over all of them, SSIM per plane.

    Attributes:
        camera: a noise profile of :mod:`shotnoise.sensor.published`.
        iso: at which the law is taken.
        black: count without light.
        white: count of a full pixel, and the largest that there is.
        domain: where the scores are taken.
    """

    camera: str
    iso: float
    black: int = 64
    white: int = 1023
    domain: Literal["normalised RAW, clipped"] = "normalised RAW, clipped"

    def trial(self, path: Path, channels: int, generator: np.random.RandomState) -> Trial:
        """One noisy mosaic, as packed planes."""
        image = open_image(path)
        pixels = planes(to_depth(image.pixels, np.uint8), 3)
        even = torch.from_numpy(pixels[:, : pixels.shape[1] // 2 * 2, : pixels.shape[2] // 2 * 2] / np.float32(255))
        camera = camera_of(generator.uniform(size=4), generator.normal(), *generator.uniform(size=2))
        clean = unprocess(even[None], camera)[0].numpy()
        law = published_profile(self.camera).at(self.iso)
        k, s2 = (np.resize(values, 4)[:, None, None] for values in (law.k, law.s2))
        signal = k * generator.poisson(clean.astype(np.float64) / k)
        signal += generator.normal(size=clean.shape) * np.sqrt(s2)
        span = self.white - self.black
        counts = np.clip(np.rint(signal * span + self.black), 0, self.white)
        noisy = ((counts - self.black) / span).astype(np.float32)

        def judged(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            return np.clip(values, 0, 1).transpose(1, 2, 0)

        def seen(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
            red, first, second, blue = np.clip(values, 0, 1)
            gains = camera.rgb_gain * camera.balance[0]
            colours = np.stack((red, (first + second) / 2, blue), axis=2) * gains.numpy()
            result: npt.NDArray[np.uint8] = np.rint(255 * np.clip(colours, 0, 1) ** (1 / 2.2)).astype(np.uint8)
            return result

        return Trial(noisy, law, clean.transpose(1, 2, 0), 1.0, judged, seen)

    def refusal(self, kind: str, level: str) -> str | None:
        """Only RAW models see planes."""
        if kind != "raw":
            return f"is for {kind} pictures, and '{self.name}' measures on RAW; choose a protocol for pictures"
        return None


def shown_planes(planes: npt.NDArray[np.float32], gains: npt.ArrayLike = 1.0) -> npt.NDArray[np.uint8]:
    """(4, H, W) planes in 0..1 -> a picture to look at, (H, W, 3) with gains for its colours and a gamma of 2.2."""
    red, first, second, blue = np.clip(planes, 0, 1)
    colours = np.stack((red, (first + second) / 2, blue), axis=2) * np.asarray(gains)
    result: npt.NDArray[np.uint8] = np.rint(255 * np.clip(colours, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    return result


def rows() -> list[RawProtocol]:
    """The camera of PMRID, from its lowest ISO to its highest."""
    sets: tuple[tuple[DataSet, int | None], ...] = (("kodak24", 24), ("bsd300", 100), ("folder", None))
    return [
        RawProtocol(name=f"raw/{data_set}/iso{iso}", data_set=data_set, pictures=count, camera="oppo-reno-10x", iso=iso)
        for data_set, count in sets
        for iso in (100, 200, 400, 800, 1600, 3200, 6400)
    ]
