"""Published parameters of the physics noise model, camera by camera.

Two sources. K. Wei, Y. Fu, Y. Zheng and J. Yang, "Physics-based Noise Modeling for Extreme Low-light Photography",
arXiv 2003.12751 and 2108.02158: five cameras with 14 bits. Of the shapes of four of them we have number, mean and
extremes only, and spread as many values so that they have those. SonyResearch/raw_image_denoising, arXiv 2505.00045:
five sets, each with one shape. The colour bias of both is not among the numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Any

import numpy as np

from shotnoise.errors import RecipeError, nearest
from shotnoise.noise.model import check_range, mean_power
from shotnoise.noise.tukey_lambda import check_shape

__all__ = ["CAMERAS", "Camera", "LogLaw", "camera_named", "own_camera"]


@dataclass(frozen=True, slots=True)
class LogLaw:
    """log y = slope log K + offset + N(0, spread), natural logarithms, y and K in counts."""

    slope: float
    offset: float
    spread: float = 0.0

    def mean_square(self, gain: tuple[float, float]) -> float:
        """E[y^2] where all log K of a range are equally likely."""
        return exp(2 * self.offset + 2 * self.spread**2) * mean_power(gain, 2 * self.slope)


@dataclass(frozen=True, slots=True)
class Camera:
    """The noise of a camera in its own counts.

    Attributes:
        counts: between black and white.
        gain: lowest and highest K, counts per electron.
        read: scale of the Tukey-lambda read noise given K; None: no such noise.
        row: standard deviation of the offset of a row given K; None: none.
        shapes: calibrated lambdas, all equally likely.
        gaussian: standard deviation of the read noise where it is taken for normal instead.
    """

    counts: float
    gain: tuple[float, float]
    read: LogLaw | None
    row: LogLaw | None
    shapes: tuple[float, ...]
    gaussian: LogLaw | None = None


def _spread(count: int, mean: float, low: float, high: float) -> tuple[float, ...]:
    """Values from low to high with this mean: equal steps, bent by the power that gives it."""
    steps = np.linspace(0, 1, count)
    least, most = 0.05, 20.0
    for _ in range(60):
        power = (least * most) ** 0.5
        least, most = (power, most) if low + (high - low) * float(np.mean(steps**power)) > mean else (least, power)
    return tuple(float(low + (high - low) * step**power) for step in steps)


_A7S2_SHAPES = (
    *(0.1143, 0.1286, 0.0571, 0.0429, 0.0, 0.0, -0.0429, -0.0571, -0.0857),
    *(-0.0857, -0.0857, -0.0857, -0.1143, -0.1143, -0.1429, -0.1286, -0.1429, -0.1429),
)
_D850_SHAPES = _spread(16, -0.1768, -0.243, -0.100)
_ELD = 16383.0 - 800.0
_BLACK_512 = 16383.0 - 512.0

CAMERAS = {
    "canon-5d4": Camera(
        counts=_ELD,
        gain=(0.2182, 13.9641),
        read=LogLaw(0.6559, 1.0927, 0.2860),
        row=LogLaw(0.4713, -0.8079, 0.2436),
        shapes=_spread(18, 0.0929, 0.014, 0.200),
        gaussian=LogLaw(0.6771, 1.5122, 0.2464),
    ),
    "canon-700d": Camera(
        counts=_ELD,
        gain=(0.4476, 28.6482),
        read=LogLaw(0.5982, 1.5370, 0.3888),
        row=LogLaw(0.6221, -0.7756, 0.2485),
        shapes=_spread(16, -0.0179, -0.157, 0.129),
        gaussian=LogLaw(0.6525, 2.0799, 0.2578),
    ),
    "canon-70d": Camera(
        counts=_ELD,
        gain=(0.4075, 26.0798),
        read=LogLaw(0.4868, 1.4643, 0.3820),
        row=LogLaw(0.7292, -0.9371, 0.2502),
        shapes=_spread(16, -0.0313, -0.171, 0.143),
        gaussian=LogLaw(0.5681, 1.9983, 0.2487),
    ),
    "imx385": Camera(  # of the CRVD videos, ISO 1600 to 25600
        counts=4095.0 - 240.0,
        gain=(exp(1.31339), exp(3.95448)),
        read=LogLaw(0.95495, 0.01618, 0.00790),
        row=LogLaw(0.93368, -2.19692, 0.02473),
        shapes=(0.015,),
        gaussian=LogLaw(0.95387, 0.01552, 0.00855),
    ),
    "imx686": Camera(  # a phone, ISO 640 to 6400
        counts=1023.0 - 64.0,
        gain=(exp(-0.19118), exp(2.16820)),
        read=LogLaw(0.85187, 0.07991, 0.02921),
        row=LogLaw(0.87611, -2.11455, 0.03274),
        shapes=(0.102,),
        gaussian=LogLaw(0.85187, 0.67991, 0.02921),
    ),
    "nikon-d850": Camera(
        counts=_ELD,
        gain=(0.4150, 26.5625),
        read=LogLaw(0.4774, -0.0904, 0.2392),
        row=LogLaw(0.4483, -1.7977, 0.2322),
        shapes=_D850_SHAPES,
        gaussian=LogLaw(0.5635, 0.7994, 0.2141),
    ),
    "nikon-d850-second": Camera(  # a second set of the first source; gains and shapes of its first one
        counts=_ELD,
        gain=(0.4150, 26.5625),
        read=LogLaw(1.0904, -1.2085, 0.0041),
        row=LogLaw(0.9662, -2.6953, 0.0293),
        shapes=_D850_SHAPES,
        gaussian=LogLaw(0.9547, 0.1802, 0.0231),
    ),
    "nikon-d850-high-iso": Camera(
        counts=_BLACK_512,
        gain=(exp(1.2), exp(2.4828)),
        read=LogLaw(0.906, -0.6754, 0.035165),
        row=LogLaw(0.8322, -2.3326, 0.301333),
        shapes=(-0.26,),
        gaussian=LogLaw(0.8322, -0.1754, 0.035165),
    ),
    "sony-a7s2": Camera(
        counts=_ELD,
        gain=(0.0939, 6.0106),
        read=LogLaw(0.4621, 0.5657, 0.2634),
        row=LogLaw(0.5275, -0.5917, 0.2943),
        shapes=_A7S2_SHAPES,
        gaussian=LogLaw(0.5407, 1.2182, 0.2675),
    ),
    "sony-a7s2-high-iso": Camera(  # the sensor changes its gain between these two
        counts=_BLACK_512,
        gain=(exp(0.64567), exp(2.51606)),
        read=LogLaw(0.74901, -0.12348, 0.00638),
        row=LogLaw(0.62945, -1.51040, 0.02609),
        shapes=(-0.025,),
        gaussian=LogLaw(0.82878, 0.44162, 0.00153),
    ),
    "sony-a7s2-low-iso": Camera(
        counts=_BLACK_512,
        gain=(exp(-1.67214), exp(0.42228)),
        read=LogLaw(0.74043, 0.86182, 0.00712),
        row=LogLaw(0.78782, -0.34227, 0.02832),
        shapes=(-0.026,),
        gaussian=LogLaw(0.82966, 1.49343, 0.00359),
    ),
}


def camera_named(name: str) -> Camera:
    """One of the published ones."""
    if name not in CAMERAS:
        raise RecipeError(f"noise.camera is '{name}', whose noise was not published: {nearest(str(name), CAMERAS)}")
    return CAMERAS[name]


def own_camera(parameters: Mapping[str, Any]) -> Camera:
    """From what a recipe says: counts, gain, read, row, shape."""
    known = ("counts", "gain", "read", "row", "shape")
    for name in parameters:
        if name not in known:
            raise RecipeError(f"noise.parameters has no entry '{name}': {nearest(str(name), known)}")
    missing = [name for name in ("counts", "gain", "read") if name not in parameters]
    if missing:
        raise RecipeError(f"noise.parameters lacks {' and '.join(missing)}; expected counts, gain and read at least")
    return Camera(
        counts=check_range("parameters.counts", parameters["counts"], positive=True)[0],
        gain=check_range("parameters.gain", parameters["gain"], positive=True),
        read=_own_law("read", parameters["read"]),
        row=_own_law("row", parameters.get("row", 0)),
        shapes=check_shape(parameters.get("shape", 0.0)),
    )


def _own_law(name: str, value: Any) -> LogLaw | None:
    parts = value if isinstance(value, list | tuple) else [value]
    numbers = [float(part) for part in parts if isinstance(part, int | float) and isfinite(part)]
    if len(numbers) == len(parts) == 3 and numbers[2] >= 0:
        return LogLaw(*numbers)
    if len(numbers) == len(parts) == 1 and numbers[0] >= 0:
        return LogLaw(0.0, log(numbers[0])) if numbers[0] > 0 else None
    raise RecipeError(
        f"noise.parameters.{name} is {value}; expected a number of counts >= 0, or [slope, offset, spread] of its "
        "logarithm over that of the gain"
    )
