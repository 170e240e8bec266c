"""The noise of one exposure in two numbers per plane, and the k-Sigma transform that makes all exposures alike.

Transform: Y. Wang et al., "Practical Deep Raw Image Denoising on Mobile Devices", ECCV 2020, arXiv 2010.06935. With
variance k x + s2, f = x/k + s2/k^2 has a variance equal to its mean, whatever the camera and its ISO.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError

__all__ = ["KSigma", "NoiseLaw"]

Values = TypeVar("Values", bound=Any)  # arrays and tensors alike


@dataclass(frozen=True, slots=True)
class NoiseLaw:
    """variance = k x + s2, with x = (count - black) / (white - black).

    Attributes:
        k: per plane R, Gr, Gb, B; one number for a sensor without colours.
        s2: the variance without light (a variance, not a standard deviation), per plane.
        source: where it comes from, in words for the user.
    """

    k: tuple[float, ...]
    s2: tuple[float, ...]
    source: str = ""

    def __post_init__(self) -> None:
        finite = np.isfinite([*self.k, *self.s2]).all()
        if len(self.k) != len(self.s2) or not finite or min(self.k) <= 0 or min(self.s2) < 0:
            raise ProfileError(
                f"a noise law with k {_numbers(self.k)} and variance {_numbers(self.s2)}; expected one k > 0 and one "
                "variance >= 0 for each plane"
            )

    def variance(self, x: npt.NDArray[Any], plane: int = 0) -> npt.NDArray[Any]:
        """Of the signal x of a plane, x in 0..1; never below that without light."""
        result: npt.NDArray[Any] = self.k[plane] * np.maximum(x, 0) + self.s2[plane]
        return result

    def scaled(self, factor: float) -> "NoiseLaw":
        """The law of noise with `factor` times the standard deviation."""
        return NoiseLaw(
            tuple(factor**2 * k for k in self.k), tuple(factor**2 * s2 for s2 in self.s2), f"{self.source} x {factor:g}"
        )


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


@dataclass(frozen=True, slots=True)
class KSigma:
    """From normalised counts to what a network sees, and back: gain * f + offset, or gain * root(f) + offset.

    The root is that of the variance-stabilising transforms, continued to negative values so that it can be undone
    everywhere: 2 sqrt(|f| + 3/8) - 2 sqrt(3/8) with the sign of f. Behind it the noise has the standard deviation
    `gain`, at every brightness, ISO and camera.

    Attributes:
        gain: factor.
        offset: summand.
        root: whether the root is taken.
    """

    gain: float = 1.0
    offset: float = 0.0
    root: bool = False

    def forward(self, x: Values, k: Any, s2: Any) -> Values:
        """Normalised counts -> values for the network; k and s2 must broadcast against x."""
        f = x / k + s2 / (k * k)
        if self.root:
            f = 2 * f / ((abs(f) + 0.375) ** 0.5 + _ROOT)  # = sign(f) (2 sqrt(|f| + 3/8) - 2 sqrt(3/8))
        result: Values = self.gain * f + self.offset
        return result

    def inverse(self, y: Values, k: Any, s2: Any) -> Values:
        """The inverse of :meth:`forward`."""
        f = (y - self.offset) / self.gain
        if self.root:
            f = f * (abs(f) / 4 + _ROOT)
        result: Values = k * f - s2 / k
        return result

    def level(self, x: Values, k: Any, s2: Any) -> Any:
        """The standard deviation of the noise behind the transform, at noisy counts x; a number behind the root."""
        if self.root:
            return self.gain
        f = x / k + s2 / (k * k)  # its variance is its mean
        return self.gain * ((f + abs(f)) / 2) ** 0.5


_ROOT = 0.375**0.5
