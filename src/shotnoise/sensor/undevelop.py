"""The way back: from a finished picture to what a sensor would have seen, for simulated cameras."""

import numpy as np
import numpy.typing as npt

from shotnoise.images.image import full_scale
from shotnoise.sensor.develop import Look

__all__ = ["undevelop"]


def undevelop(pixels: npt.NDArray[np.generic], look: Look) -> npt.NDArray[np.float64]:
    """Undo :meth:`Look.render`: sRGB (H, W, 3), uint8, uint16 or 0..1 -> linear camera colours, not balanced.

    Colours that the camera cannot see as a mixture of light come out negative; what was clipped stays as it is.
    """
    curved = pixels.astype(np.float64) / full_scale(pixels.dtype)
    linear = np.where(curved <= 0.04045, curved / 12.92, ((curved + 0.055) / 1.055) ** 2.4)
    balanced = linear @ np.linalg.inv(look.to_srgb * look.exposure).T
    result: npt.NDArray[np.float64] = balanced / np.array(look.white_balance)
    return result
