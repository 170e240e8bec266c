"""How large is the error of a result, without the truth? Two answers, with what each takes for granted.

With the denoiser at hand, Stein's unbiased risk estimate: C. M. Stein, "Estimation of the Mean of a Multivariate Normal
Distribution", Annals of Statistics 1981, its divergence by one random probe after S. Ramani, T. Blu and M. Unser,
"Monte-Carlo SURE", IEEE TIP 2008. For noise of known variance v, Gaussian and independent from pixel to pixel,

    mean squared error = mean((y - f)^2 - v + 2 v df/dy)

of the result f of y, whatever the denoiser; v may differ from pixel to pixel. It is taken at the brightness of f, and
where black or white cuts the noise off, it is the variance of the rest, with the square of its mean in the second term.

With two files alone the last term is unknown. Written with the error e = f - x of the result, the noise y - x is
(y - f) + e, so that v = mean((y - f)^2) + mean(e^2) + 2 mean((y - f) e). Where the error has nothing in common with
what was taken away, the last term is 0 and

    mean squared error = v - mean((y - f)^2).

The best estimator of all has this property (what is left over must not help to guess better), and a well trained
network at its full strength comes near it. Taking away detail too makes this estimate too low, leaving noise too high.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shotnoise.images import Image
from shotnoise.images.image import to_depth
from shotnoise.images.raw import RawFrame
from shotnoise.images.raw.bayer import sites
from shotnoise.report.measure import Measured
from shotnoise.report.subject import Float, Noise, Subject, planes_of

__all__ = ["ERRORS", "ErrorEstimate", "Restore", "from_residual", "stein"]

Restore = Callable[[Image | RawFrame], Image | RawFrame]
Method = Literal["stein", "residual"]

ERRORS: dict[tuple[Method, str, bool], tuple[float, float]] = {
    ("stein", "picture", True): (0.18, 0.67),
    ("stein", "picture", False): (0.37, 1.08),
    ("stein", "raw", True): (0.06, 0.17),
    ("stein", "raw", False): (0.18, 1.37),
    ("residual", "picture", True): (2.18, 5.32),
    ("residual", "picture", False): (2.2, 5.63),
    ("residual", "raw", True): (1.41, 4.06),
    ("residual", "raw", False): (1.38, 4.56),
}
"""(method, kind, noise known) -> median and 90 % of the absolute error in dB; `benchmarks/sure.py`, up to 25 counts."""

_WINDOW = 512  # pixels of the file along a side
_ALONG = 3  # windows along a side of the picture
_PROBE = 0.1  # standard deviations of the noise
_GRAY = 0.18  # brightness at which the probe is measured out
_LEAST = 1000  # usable values
_STRONGEST = 30 / 255  # noise for which the errors were measured
_DOUBT = 0.02  # of the variance of the noise: a mean squared error below this drowns in that of the variance


@dataclass(frozen=True, slots=True)
class ErrorEstimate:
    """An estimate of the error of AFTER.

    Attributes:
        method: "stein" or "residual".
        psnr: dB, of values from 0 to 1; None where it cannot be said.
        before: dB of BEFORE by the same noise.
        share: of the values that were looked at, those far enough from black and white; the estimate is of these.
        error: median and 90 % of the absolute error of such estimates, in dB; None for noise so strong that it was not
            measured.
        why: without a number, why there is none.
    """

    method: Method
    psnr: float | None
    before: float
    share: float
    error: tuple[float, float] | None
    why: str = ""


def from_residual(subject: Subject, noise: Noise, measured: Measured) -> ErrorEstimate:
    """From two files alone; see the module."""
    expected, removed = ((value / 255) ** 2 for value in (measured.expected_counts, measured.removed_counts))
    return _estimate("residual", subject, noise, expected - removed, expected, measured.usable)


def stein(subject: Subject, noise: Noise, restore: Restore, before: Image | RawFrame, seed: int = 0) -> ErrorEstimate:
    """With the denoiser, run twice on windows of the picture, once of them on a picture moved a little.

    Args:
        subject: of the comparison.
        noise: of BEFORE.
        restore: the denoiser as it was applied, with the noise level that it was told then.
        before: the noisy picture or frame.
        seed: of the probe.
    """
    rng = np.random.default_rng(seed)
    error = expected = 0.0
    count = seen = 0
    for window in _windows(before):
        noisy, moved, change = _probe(window, noise, rng)
        y, first, second = (planes_of(picture) for picture in (noisy, restore(noisy), restore(moved)))
        usable = noise.usable(first) & (change != 0)
        slope = (second - first) / np.where(usable, change, 1)
        lift, variance = noise.moments(first)
        power = variance + lift**2
        error += float(((y - first) ** 2 - power + 2 * variance * slope)[usable].sum(dtype=np.float64))
        expected += float(power[usable].sum(dtype=np.float64))
        count += int(usable.sum())
        seen += usable.size
    if count < _LEAST:
        why = "the noise is cut off by black and white nearly everywhere"
        return ErrorEstimate("stein", None, math.nan, count / max(seen, 1), None, why)
    return _estimate("stein", subject, noise, error / count, expected / count, count / seen)


def _estimate(
    method: Method, subject: Subject, noise: Noise, error: float, expected: float, share: float
) -> ErrorEstimate:
    before = -10 * math.log10(expected) if expected > 0 else math.nan
    if error > _DOUBT * expected:
        known = ERRORS.get((method, subject.kind, noise.known)) if expected < _STRONGEST**2 else None
        return ErrorEstimate(method, -10 * math.log10(error), before, share, known)
    why = "as much was taken away as there is noise, or more: that says nothing about what is left"
    if method == "stein":
        why = "the estimate is not clearly above zero, as the noise is not known well enough"
    return ErrorEstimate(method, None, before, share, None, why)


def _windows(before: Image | RawFrame) -> list[Image | RawFrame]:
    """Squares at even places, from edge to edge: all of a small picture, a sample of a large one."""
    sides = [min(_WINDOW, side // 2 * 2) for side in (before.height, before.width)]
    tops, lefts = (
        np.unique(np.linspace(0, whole - side, min(_ALONG, -(-whole // side))).astype(int) // 2 * 2)
        for whole, side in zip((before.height, before.width), sides, strict=True)
    )
    result: list[Image | RawFrame] = []
    for top in tops:
        for left in lefts:
            part = slice(top, top + sides[0]), slice(left, left + sides[1])
            if isinstance(before, RawFrame):
                result.append(before.with_mosaic(np.ascontiguousarray(before.mosaic[part])))
            else:
                result.append(before.with_pixels(before.pixels[part].copy()))
    return result


def _probe(
    window: Image | RawFrame, noise: Noise, rng: np.random.Generator
) -> tuple[Image | RawFrame, Image | RawFrame, Float]:
    """A window, the same a little beside it, and by how much each value of its planes was moved."""
    steps = [_PROBE * math.sqrt(k * _GRAY + s2) for k, s2 in zip(noise.k, noise.s2, strict=True)]
    if isinstance(window, RawFrame):
        counts = window.mosaic.astype(np.int32)
        for (row, col), black, step in zip(sites(window.pattern), window.black, steps, strict=True):
            plane = counts[row::2, col::2]
            plane += max(1, round(step * (window.white - black))) * rng.choice((-1, 1), plane.shape)
        moved = window.with_mosaic(np.clip(counts, 0, 65535).astype(np.uint16))
        return window, moved, planes_of(moved) - planes_of(window)
    # In floating point, so that nothing is rounded on the way.
    noisy: Float = np.asarray(to_depth(window.pixels, np.float32), np.float32)
    sign: Float = rng.choice(np.array([-1, 1], np.float32), noisy.shape)
    sign *= np.asarray(steps if noisy.ndim == 3 else steps[0], np.float32)
    shifted = Image(noisy + sign)
    return Image(noisy), shifted, planes_of(shifted) - planes_of(Image(noisy))
