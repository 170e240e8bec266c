"""The k-space of a slice, and the image that a part of it gives.

J. Lehtinen et al., "Noise2Noise", ICML 2018, arXiv 1803.04189, section on MRI: each frequency is measured with a
probability that falls off exponentially with its distance to the centre, and what was measured is divided by that
probability. The mean over all masks is then the clean image, so that two draws of one slice are a Noise2Noise pair.

Spectra are those of the plain discrete Fourier transform without a factor, centred: the constant stands at
(H // 2, W // 2). Heights and widths are odd, so that every frequency has its mirror image on the grid. All functions
take leading axes.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError

__all__ = ["EDGE", "Undersampled", "density", "kept", "measure", "spectrum_of", "undersample", "with_measured"]

EDGE = 0.025
"""Probability of a frequency in the middle of the left and right edge; about a tenth of all are measured then."""

Mask = npt.NDArray[np.bool_]
Real = npt.NDArray[np.floating[Any]]
Complex = npt.NDArray[np.complexfloating[Any, Any]]

_PLANE = (-2, -1)


class Undersampled(NamedTuple):
    """A slice of which only some frequencies were measured.

    Attributes:
        noisy: (H, W) float32, the image that they give, each weighted by the inverse of its probability; not clipped.
        spectrum: (H, W) complex64, what was measured, unweighted; 0 elsewhere.
        measured: (H, W), where that is.
    """

    noisy: npt.NDArray[np.float32]
    spectrum: npt.NDArray[np.complex64]
    measured: Mask


def density(height: int, width: int, edge: float = EDGE) -> npt.NDArray[np.float64]:
    """The probability with which each frequency is measured, (H, W), 1 at the centre.

    It is edge^(r / h) at distance r to the centre in samples, with h = W // 2 on both axes.

    >>> density(255, 255)[127, [0, 127]].tolist()
    [0.025, 1.0]
    """
    if height % 2 == 0 or width % 2 == 0 or min(height, width) < 3:
        raise PictureError(f"a k-space of {height}x{width}; expected odd sides of 3 or more, cut off a row or column")
    if not 0 < edge <= 1:
        raise PictureError(f"the edge of the sampling density is {edge}; expected a probability above 0, up to 1")
    rows, columns = (np.arange(side) - side // 2 for side in (height, width))
    distance = np.hypot(rows[:, None], columns)
    result: npt.NDArray[np.float64] = edge ** (distance / (width // 2))
    return result


def kept(uniform: npt.ArrayLike, density: Real) -> Mask:
    """Which frequencies are measured, for numbers drawn uniformly from 0..1.

    Each is chosen with the root of its probability, and measured if its mirror image was chosen, too. So the
    probability of being measured is the density, and the mask is symmetric: the image of what is measured is real.
    """
    chosen = np.square(uniform) < density
    result: Mask = chosen & chosen[..., ::-1, ::-1]
    return result


def spectrum_of(image: Real) -> Complex:
    """Image -> centred spectrum, in the precision of the image."""
    return np.asarray(np.fft.fftshift(np.fft.fft2(image, axes=_PLANE), axes=_PLANE))


def _image_of(spectrum: Complex) -> Real:
    return np.asarray(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=_PLANE), axes=_PLANE).real)


def measure(image: Real, measured: Mask, density: Real) -> Undersampled:
    """Keep the frequencies of a mask, and see the image that they give."""
    spectrum: Complex = np.where(measured, spectrum_of(image), 0)
    weighted: Complex = spectrum / density
    return Undersampled(_image_of(weighted).astype(np.float32), spectrum.astype(np.complex64), measured)


def undersample(image: Real, uniform: npt.ArrayLike, density: Real) -> Undersampled:
    """Measure an image with a mask drawn from uniform numbers; see :func:`kept`."""
    return measure(image, kept(uniform, density), density)


def with_measured(image: Real, spectrum: Complex, measured: npt.NDArray[Any]) -> Real:
    """Put the frequencies that were measured back into an image, so that a network only has to know the others.

    Args:
        image: what a network made of :attr:`Undersampled.noisy`.
        spectrum: :attr:`Undersampled.spectrum`.
        measured: its mask.
    """
    return _image_of(np.where(measured, spectrum, spectrum_of(image))).astype(image.dtype)
