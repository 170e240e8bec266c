"""The uncertainty of a result as a picture: a map with a scale that says what its colours mean."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.runner import COUNTS

__all__ = ["picture_of"]

_LONGEST = 1600  # pixels of the map: enough to find places; the numbers are in the other file
_SMALL = 640  # shorter ones are enlarged, to leave room for the words
_DPI = 100
_SHARE = 99.9  # percentile at which the scale ends, so that single pixels do not darken the rest


def picture_of(uncertainty: npt.NDArray[np.float32], name: str, samples: int) -> npt.NDArray[np.uint8]:
    """Draw it.

    Args:
        uncertainty: (H, W) or (H, W, C), standard deviations in units of 0..1; of colours the root of the mean square
            is shown.
        name: of the result.
        samples: of which these are the standard deviations.

    Returns:
        (h, w, 3), with a scale in counts of 8 bits.
    """
    # Figures without pyplot: nothing global, no window, no thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    whole = COUNTS * np.asarray(uncertainty, np.float32)
    if whole.ndim == 3:
        whole = np.sqrt(np.square(whole).mean(axis=2))
    mean, largest = float(whole.mean()), float(whole.max())
    top = float(np.percentile(whole, _SHARE)) or largest or 1.0
    shown = _smaller(whole)
    zoom = max(1, _SMALL // max(shown.shape))
    high, wide = (max(side * zoom, 400) for side in shown.shape)
    figure = Figure(figsize=((wide + 140) / _DPI, (high + 60) / _DPI), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    picture = axes.imshow(shown, cmap="magma", vmin=0, vmax=top, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"{name}: spread of {samples} samples\nmean {mean:.2f}, largest {largest:.2f} counts", fontsize=10)
    bar = figure.colorbar(picture, ax=axes, extend="max" if largest > top else "neither", fraction=0.05)
    bar.set_label(f"standard deviation in counts of 255, 0 to {top:.4g}", fontsize=9)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])  # type: ignore[no-untyped-call]


def _smaller(whole: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Root mean squares of squares of pixels, so that no side is longer than is shown."""
    step = math.ceil(max(whole.shape) / _LONGEST)
    if step == 1:
        return whole
    height, width = (-(-side // step) * step for side in whole.shape)
    padded = np.pad(whole, ((0, height - whole.shape[0]), (0, width - whole.shape[1])), mode="edge")
    cells = np.square(padded).reshape(height // step, step, width // step, step)
    result: npt.NDArray[Any] = np.sqrt(cells.mean(axis=(1, 3)))
    return result
