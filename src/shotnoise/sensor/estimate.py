"""The noise law of one ordinary RAW frame, without calibration: and which of several laws to trust.

The same observation as in :mod:`shotnoise.sensor.noise_level`: in the cosine transform of a small patch, the low
frequencies tell whether the patch is quiet, the high ones how noisy it is, and for white noise the two are
independent. Here the noise depends on the brightness, so "quiet" means quiet for noise of the law itself, which is
found by iteration: patches whose low frequencies hold no more than the law explains are kept, their high frequencies
give variances over brightness, a straight line through these is the next law.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError
from shotnoise.images.raw.bayer import PLANES, split
from shotnoise.images.raw.frame import RawFrame
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.noise_level import SIDE, cosine_transform, patches
from shotnoise.sensor.profile import NoiseProfile

__all__ = ["Estimate", "estimate_frame", "estimate_law", "law_for"]

_SAMPLE = 2**19  # samples looked at in a plane
_QUIET = 0.03  # share of the patches of a brightness from which the first law is made
_BINS = 32  # of brightness, at most
_LEAST = 40  # patches in a bin
_ENOUGH = 200  # patches that are worth a law
_KEEP = 0.9  # of the energy that the law expects in low frequencies: a patch with more is not quiet
_ROUNDS = 12
_FLOOR = 1e-9  # k of a frame without noise
_STEEP = 1e-3  # k is at least this share of the standard deviation without light
_HIGHEST = (0.1, 0.02)  # k and s2 that no camera exceeds
_FREQUENCIES = 36  # that are high
_MEDIAN = (1 - 2 / (9 * _FREQUENCIES)) ** 3  # over mean of a sum of so many squares (Wilson and Hilferty)
_RARE = 0.01  # share of quiet patches below which texture may be taken for noise
_APART = 4.0  # factor of the standard deviation by which a file's own law may differ from what is seen

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a frame says about its noise.

    Attributes:
        law: one for all planes.
        k_se: standard error of its k, of the scatter around the line.
        s2_se: of its s2.
        factors: per plane R, Gr, Gb, B, its standard deviation over that of the law; nan where nothing was measured.
        patches: how many quiet patches were measured.
        share: of the patches of the frame.
        signal: darkest and brightest of the measured patches, 0..1.
        notes: what limits the trust in it.
    """

    law: NoiseLaw
    k_se: float
    s2_se: float
    factors: tuple[float, float, float, float]
    patches: int
    share: float
    signal: tuple[float, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Measured:
    """Patches of all planes: mean, energy per low and high frequency, plane, whether they touch count 0 or white."""

    mean: Array
    low: Array
    high: Array
    plane: npt.NDArray[Any]
    empty: npt.NDArray[Any]
    full: npt.NDArray[Any]

    def only(self, which: npt.NDArray[Any]) -> "_Measured":
        return _Measured(*(getattr(self, field.name)[which] for field in fields(self)))


def estimate_law(frame: RawFrame) -> NoiseLaw:
    """The noise law of a frame from the frame alone; see :func:`estimate_frame`."""
    return estimate_frame(frame).law


def estimate_frame(frame: RawFrame) -> Estimate:
    """Measure the noise law of an ordinary exposure.

    On photographs taken back to RAW its standard deviation is within 20 % from ISO 400 on, and mostly within 3 %
    (`benchmarks/blind_estimate.py`); at low ISO the grain of the photograph itself counts as noise. The noise must be
    white: a camera that denoises or scales its RAW comes out too low. Texture everywhere, as in grass, comes out too
    high.
    """
    whole = _measure(frame)
    measured, cut = _without(whole, whole.full | whole.empty), False
    if len(measured.mean) < _ENOUGH:
        measured, cut = _without(whole, whole.full), True
    total = len(measured.mean)
    if total < _ENOUGH:
        nothing = NoiseLaw((_FLOOR,) * 4, (0.0,) * 4, "blind estimate: nothing to measure, taken as free of noise")
        note = f"only {total} patches of 8 x 8 are below white; a profile of the camera would help"
        return Estimate(nothing, 0.0, 0.0, (math.nan,) * 4, 0, 0.0, (math.nan, math.nan), (note,))
    rounding = 1 / (12 * (frame.white - sum(frame.black) / 4) ** 2)
    means, variances, counts = _first(measured)
    k, s2, _ = _line(means, variances, counts, rounding)
    for _ in range(_ROUNDS):
        quiet = measured.only(measured.low < _KEEP * np.maximum(k * measured.mean + s2, 1e-30))
        if len(quiet.mean) < _ENOUGH:
            break
        previous = k, s2
        means, variances, counts = _binned(quiet, k, s2)
        k, s2, _ = _line(means, variances, counts, rounding)
        if np.allclose((k, s2), previous, rtol=1e-3):
            break
    estimate = _judged(measured, means, variances, counts, rounding)
    if cut:
        note = "the noise is cut off at count 0 nearly everywhere, so that it looks weaker than it is"
        estimate = replace(estimate, notes=(*estimate.notes, note))
    return estimate


def law_for(
    frame: RawFrame, profile: NoiseProfile | None = None, iso: float | None = None, *, seen: Estimate | None = None
) -> NoiseLaw:
    """The law to be trusted most: a profile, else what the file says itself, else what is seen in the frame.

    A law that the file states is dropped where its noise differs from that seen by more than a factor of four.

    Args:
        frame: the exposure.
        profile: of the camera.
        iso: at which to ask the profile; None: that of the frame.
        seen: what :func:`estimate_frame` said, where that is known already.

    Returns:
        A law whose `source` says which it is, and why not another.
    """
    if profile is not None:
        law = profile.at(frame.iso if iso is None else iso)
        return law if len(law.k) == 4 else NoiseLaw(law.k * 4, law.s2 * 4, law.source)
    seen = seen or estimate_frame(frame)
    if frame.noise is None:
        return seen.law
    try:
        stated = NoiseProfile.from_dng_tag(frame.noise).at()
    except ProfileError as error:
        return replace(seen.law, source=f"{seen.law.source}; {error}")
    stated = replace(stated, source="NoiseProfile of the file")
    if not seen.patches:
        return stated
    low, high = seen.signal
    x = np.linspace(max(low, 0.0), max(high, 0.0), 9)
    ratio = math.exp(float(np.mean(np.log(stated.variance(x, 1) / np.maximum(seen.law.variance(x, 1), 1e-30)))) / 2)
    # Texture makes what is seen too much, never too little.
    if ratio > _APART or (ratio < 1 / _APART and seen.share > _RARE):
        many = f"{ratio:.3g} times" if ratio > 1 else f"1/{1 / ratio:.3g} of"
        return replace(
            seen.law,
            source=f"{seen.law.source}; the NoiseProfile of the file was not used: it states {many} that noise",
        )
    return stated


def _measure(frame: RawFrame) -> _Measured:
    """The patches of a frame that carry noise."""
    transform, low = cosine_transform()
    height, width = frame.height // 2 * 2, frame.width // 2 * 2
    parts = []
    for index, counts in enumerate(split(frame.mosaic[:height, :width], frame.pattern)):
        if min(counts.shape) < SIDE:
            continue
        taken = patches(counts, sample=_SAMPLE).astype(np.float32)
        black = frame.black[index]
        spectrum = ((taken - black) / (frame.white - black)) @ transform
        energy = np.square(spectrum)
        parts.append(
            _Measured(
                (spectrum[:, 0] / SIDE).astype(float),
                energy[:, 1:low].mean(axis=1).astype(float),
                energy[:, low:].mean(axis=1).astype(float),
                np.full(len(taken), index, np.int8),
                np.any(taken <= 0, axis=1),
                np.any(taken >= frame.white, axis=1),
            )
        )
    if not parts:
        nothing, none = np.empty(0), np.empty(0, bool)
        return _Measured(nothing, nothing, nothing, np.empty(0, int), none, none)
    return _Measured(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(_Measured)))


def _without(measured: _Measured, clipped: npt.NDArray[np.bool_]) -> _Measured:
    """Without the brightnesses at which noise reaches a limit; dropping only the patches that did would be a bias."""
    if not clipped.any():
        return measured
    group = np.searchsorted(np.quantile(measured.mean, np.linspace(0, 1, 65)[1:-1]), measured.mean)
    share = np.bincount(group, clipped, 64) / np.maximum(np.bincount(group, minlength=64), 1)
    return measured.only(~clipped & (share[group] < 0.1))


def _first(measured: _Measured) -> tuple[Array, Array, Array]:
    """Variances from the quietest patches of each brightness."""
    chosen = []
    for group in _groups(measured.mean):
        count = min(max(round(_QUIET * len(group)), _LEAST), len(group))
        chosen.append(group[np.argpartition(measured.low[group], count - 1)[:count]])
    return _moments(measured, chosen, 0.0, 1.0)


def _binned(quiet: _Measured, k: float, s2: float) -> tuple[Array, Array, Array]:
    return _moments(quiet, _groups(quiet.mean), k, s2)


def _groups(mean: Array) -> list[npt.NDArray[Any]]:
    """Indices of patches of about the same brightness: bins of equal counts, cut where they span too much."""
    edges = np.quantile(mean, np.linspace(0, 1, min(_BINS, max(len(mean) // _LEAST, 1)) + 1))
    low, high = (math.copysign(math.sqrt(abs(edge)), edge) for edge in (edges[0], edges[-1]))
    steps = np.linspace(low, high, _BINS + 1)
    edges = np.unique(np.concatenate((edges, np.copysign(np.square(steps), steps))))[1:-1]
    group = np.searchsorted(edges, mean)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(group))[:-1])
    return [part for part in parts if len(part) >= _LEAST // 4] or [order]


def _moments(measured: _Measured, groups: list[npt.NDArray[Any]], k: float, s2: float) -> tuple[Array, Array, Array]:
    """Brightness, variance and number of patches per group; k, s2: how variance depends on brightness in a group."""
    model = np.maximum(k * np.maximum(measured.mean, 0) + s2, 1e-30)
    means = np.array([np.median(measured.mean[group]) for group in groups])
    ratios = np.array([np.median(measured.high[group] / model[group]) / _MEDIAN for group in groups])
    return means, ratios * (k * np.maximum(means, 0) + s2), np.array([len(group) for group in groups], float)


def _line(means: Array, variances: Array, counts: Array, rounding: float) -> tuple[float, float, Array]:
    """k, s2 and their covariance: weights for relative errors, large residuals weigh less.

    s2 is at least what rounding to whole counts makes, where there is that much noise at all.
    """
    tiny = max(float(variances.max()), 1e-30) * 1e-6
    least = min(rounding, float(variances.min()))
    k, s2 = 0.0, float(np.median(variances))
    covariance = np.zeros((2, 2))
    for _ in range(20):
        model = np.maximum(k * means + s2, tiny)
        # 36 frequencies, patches that overlap; and 3 % because no photograph is without texture
        error = model * np.sqrt(2 / (9 * counts) + 0.03**2)
        residual = (variances - model) / error
        spread = max(1.0, 1.4826 * float(np.median(np.abs(residual))))
        weight = np.minimum(1, 1.5 * spread / np.maximum(np.abs(residual), 1e-12)) / error**2
        # a picture without dark parts says nothing about s2; cameras do, within a factor
        typical = min(3.3 * k**2.18 + rounding, float(model.mean()))
        normal = np.array([[(weight * means**2).sum(), (weight * means).sum()], [(weight * means).sum(), weight.sum()]])
        right = np.array([(weight * means * variances).sum(), (weight * variances).sum()])
        doubt = 3 * max(typical, s2) + tiny
        normal[1, 1] += 1 / doubt**2
        right[1] += typical / doubt**2
        new_k, new_s2 = np.linalg.lstsq(normal, right, rcond=None)[0]
        if new_s2 < least:
            new_k, new_s2 = (right[0] - least * normal[0, 1]) / max(normal[0, 0], 1e-300), least
        if new_k <= 0:
            new_k, new_s2 = 0.0, max(right[1] / normal[1, 1], least)
        done = np.allclose((k, s2), (new_k, new_s2), rtol=1e-4, atol=0)
        k, s2 = float(new_k), float(new_s2)
        covariance = np.linalg.pinv(normal, hermitian=True) * spread**2
        if done:
            break
    return k, s2, covariance


def _excess(low: Array, high: Array) -> float:
    """Variance of a plane over that of the law, from its own quiet patches; nan without any."""
    if len(low) < _LEAST:
        return math.nan
    factor = float(np.quantile(low, _QUIET))
    for _ in range(_ROUNDS):
        quiet: npt.NDArray[Any] = low < _KEEP * factor
        if np.count_nonzero(quiet) < _LEAST // 4:
            quiet = np.argpartition(low, _LEAST // 4)[: _LEAST // 4]
        factor = float(np.median(high[quiet])) / _MEDIAN
    return factor


def _judged(measured: _Measured, means: Array, variances: Array, counts: Array, rounding: float) -> Estimate:
    """The last law with what is known about it."""
    k, s2, covariance = _line(means, variances, counts, rounding)
    notes = []
    if k > _HIGHEST[0] or s2 > _HIGHEST[1]:
        notes.append(
            f"k {k:.2g} and variance {s2:.2g} are more than any camera has: the frame is all texture, or its levels "
            "are wrong"
        )
        k, s2 = min(k, _HIGHEST[0]), min(s2, _HIGHEST[1])
    k = max(k, _FLOOR, _STEEP * math.sqrt(s2))
    expected = np.maximum(k * np.maximum(measured.mean, 0) + s2, 1e-30)
    quiet = measured.low < _KEEP * expected
    count = int(np.count_nonzero(quiet))
    share = count / len(quiet)
    factors = [
        math.sqrt(_excess(measured.low[own] / expected[own], measured.high[own] / expected[own]))
        for own in (measured.plane == index for index in range(len(PLANES)))
    ]
    known = [factor for factor in factors if factor == factor]
    if known and max(known) > 1.25 * min(known):
        shown = ", ".join(f"{plane} {factor:.2f}" for plane, factor in zip(PLANES, factors, strict=True))
        notes.append(f"the planes differ in their noise ({shown} of the common law): levels, or a scaled colour")
    if share < _RARE:
        notes.append(f"only {100 * share:.1f} % of the frame is quiet enough to measure; a profile would be safer")
    if counts.sum() and means.max() < 2 * max(means.min(), 1e-4):
        notes.append("all quiet parts are about equally bright: the split into k and noise without light is a guess")
    return Estimate(
        NoiseLaw((k,) * 4, (s2,) * 4, "blind estimate from the frame"),
        math.sqrt(max(covariance[0, 0], 0.0)),
        math.sqrt(max(covariance[1, 1], 0.0)),
        (factors[0], factors[1], factors[2], factors[3]),
        count,
        share,
        (float(means.min()), float(means.max())),
        tuple(notes),
    )
