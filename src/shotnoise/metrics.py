"""How far two pictures are apart: float64, every choice an argument or written down here.

References: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 2004.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError

__all__ = ["METRICS", "SSIM_WINDOW", "Metrics", "luma", "psnr", "quantise", "ssim"]

SSIM_WINDOW = 11
"""Side of the window, and so of the smallest picture that has an SSIM."""

_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
_LUMA = (65.481, 128.553, 24.966)  # of 255, for R, G and B
_LUMA_BLACK = 16.0  # of 255


@dataclass(frozen=True)
class Metrics:
    """What is done to two pictures in 0..1 before they are compared; papers differ in it.

    Attributes:
        name: what `--metrics` takes.
        values: how both are taken. "clip, 8 bits": limited to 0..1 and rounded, data range 255. "clip": limited to
            0..1, not rounded. "as they are": not even limited, so that values beyond black and white count as errors.
        border: pixels that are left out at every edge.
        ssim: "per channel": the mean over R, G and B. "luma": of :func:`luma`, which comes out much higher.
        used_by: where these are the rules.
    """

    name: str
    values: Literal["clip, 8 bits", "clip", "as they are"]
    border: int
    ssim: Literal["per channel", "luma"]
    used_by: str

    @property
    def data_range(self) -> float:
        """The distance from black to white in what :meth:`compared` gives."""
        return 255.0 if self.values == "clip, 8 bits" else 1.0

    def compared(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(H, W, C) in 0..1 -> what PSNR is taken of."""
        height, width = picture.shape[:2]
        inner = picture[self.border : height - self.border, self.border : width - self.border]
        if self.values == "clip, 8 bits":
            return quantise(inner)
        return np.clip(inner, 0, 1) if self.values == "clip" else inner

    def structure(self, compared: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What PSNR is taken of -> what SSIM is taken of."""
        return luma(compared, self.data_range) if self.ssim == "luma" else compared


METRICS = {
    row.name: row
    for row in (
        Metrics("8bit", "clip, 8 bits", 0, "per channel", "shotnoise, and Neighbor2Neighbor"),
        Metrics(
            "invdn", "clip, 8 bits", 4, "per channel", "InvDN's validation during training, which takes PSNR alone"
        ),
        Metrics("invdn-paddle", "as they are", 0, "luma", "the published test of InvDN in Paddle"),
        Metrics("invdn-paddle-log", "as they are", 4, "luma", "the training log of InvDN in Paddle"),
        Metrics("cycleisp", "clip", 0, "per channel", "CycleISP's test, which takes PSNR alone"),
    )
}
"""By name."""


def quantise(picture: npt.NDArray[Any], precision: npt.DTypeLike = np.float64) -> npt.NDArray[np.uint8]:
    """Floating point in 0..1 -> 8 bits: floor(255 x + 0.5), limited to 0..255.

    Args:
        picture: of any shape.
        precision: type of the calculation. It shows where values lie on ties: half of the counts of Poisson noise
            with 30 events at white do, and float32 rounds nearly all of those up, as the published code does.

    >>> quantise(np.array([-0.1, 0.0, 0.5, 1.7])).tolist()
    [0, 0, 128, 255]
    """
    scaled = np.floor(np.asarray(picture, precision) * 255.0 + 0.5)
    if np.isnan(scaled).any():
        raise PictureError("a picture with NaN cannot be turned into 8 bits")
    return np.clip(scaled, 0, 255).astype(np.uint8)


def psnr(first: npt.NDArray[Any], second: npt.NDArray[Any], data_range: float) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(range^2 / mean squared difference) over all pixels and channels.

    Args:
        first: a picture of any shape and type.
        second: another of the same shape.
        data_range: the distance from black to white, 255 for 8 bits.

    Returns:
        infinity for equal pictures.
    """
    _check(first, second, data_range)
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    error = float(np.mean(difference**2))
    return math.inf if error == 0 else 10 * math.log10(data_range**2 / error)


def ssim(first: npt.NDArray[Any], second: npt.NDArray[Any], data_range: float) -> float:
    """Structural similarity, 1 for equal pictures.

    Window 11 x 11, Gaussian with sigma 1.5; K1 0.01, K2 0.03; variances and covariance divided by n (not n - 1);
    mean over the area where the window fits, per channel, then over channels.

    Args:
        first: (H, W) or (H, W, C), any type; at least 11 x 11.
        second: another of the same shape.
        data_range: the distance from black to white, 255 for 8 bits.
    """
    _check(first, second, data_range)
    if first.ndim not in (2, 3):
        raise PictureError(f"SSIM needs (H, W) or (H, W, C) pictures, not {first.ndim} axes")
    if min(first.shape[:2]) < SSIM_WINDOW:
        height, width = first.shape[:2]
        raise PictureError(
            f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, this one is {height} x {width}"
        )
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x**2
    variance_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    brightness = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float(np.mean(brightness * structure))  # channels have equal areas: one mean is the mean of means


def luma(picture: npt.NDArray[Any], data_range: float) -> npt.NDArray[np.float64]:
    """The Y of BT.601 in its limited range: (65.481 R + 128.553 G + 24.966 B) / 255 + 16 on the scale of 255.

    Args:
        picture: (H, W, 3), R first.
        data_range: the distance from black to white in it, and in the result.

    Returns:
        (H, W), not rounded and not limited.
    """
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise PictureError(f"luma needs a colour picture (H, W, 3), not {picture.shape}; choose metrics without it")
    weights = np.array(_LUMA) / 255
    result: npt.NDArray[np.float64] = picture.astype(np.float64) @ weights + _LUMA_BLACK / 255 * data_range
    return result


def _blur(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The window's weighted mean at each place where it fits: (H, W, ...) -> (H - 10, W - 10, ...)."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    height, width = picture.shape[0] - SSIM_WINDOW + 1, picture.shape[1] - SSIM_WINDOW + 1
    rows = sum((weight * picture[k : k + height] for k, weight in enumerate(weights)), np.zeros(()))
    return sum((weight * rows[:, k : k + width] for k, weight in enumerate(weights)), np.zeros(()))


def _check(first: npt.NDArray[Any], second: npt.NDArray[Any], data_range: float) -> None:
    if first.shape != second.shape:
        raise PictureError(f"only pictures of one shape can be compared, not {first.shape} and {second.shape}")
    if first.size == 0:
        raise PictureError("an empty picture cannot be compared")
    if not data_range > 0:
        raise PictureError(f"the data range is {data_range}; expected the distance from black to white, as in 255")
