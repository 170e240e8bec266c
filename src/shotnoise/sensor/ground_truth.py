"""Clean pictures to learn from, without a laboratory: the average of a burst.

A burst of a scene that stands still, camera on a tripod, is the cleanest picture there is of it. Nothing is registered:
moving a mosaic mixes its colours. What moved, flickered or lost focus is found by comparing it, block by block, with
the median of all frames, in units of the noise, and left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from shotnoise.errors import PictureError
from shotnoise.images.raw.bayer import join, split
from shotnoise.images.raw.frame import RawFrame
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.patches import block_means, repair_defects

__all__ = ["Average", "AverageReport", "average_frames"]

Planes = npt.NDArray[np.float32]

_BLOCK = 16  # pixels of a plane along the side of a block
_FAR = 5.0  # standard errors beyond which a block has changed
_STEADY = 0.004  # relative changes of a block's light that are nobody's fault: lamps, and shutters rolling under them
_MOVED = 0.05  # share of changed blocks from which the whole frame is left out
_RESTLESS = 0.34  # share of the frames in which a block changed from which it counts against none of them
_FLICKER = 0.25  # relative change of the light from which a frame is left out
_BLURRED = 0.85  # of the usual sharpness
_CLIP = 4.5  # standard deviations beyond which a single value is left out
_SCATTER = 0.35  # relative spread of the noise of equally bright blocks, 0.09 in a still burst
_ADVICE = "put the camera on a tripod, switch stabiliser and autofocus off, and take at least three"
_STRIP = 2**23  # values that are averaged at a time


@dataclass(frozen=True, slots=True)
class AverageReport:
    """What was done to a burst.

    Attributes:
        used: how many frames the average is of.
        rejected: number of each frame left out, from 0, and why.
        gains: light of each frame relative to the median, by which it was divided.
        law: the noise of one frame.
        left_out: share of the values of the used frames that were left out as moved or struck.
        unsteady: share of the picture where fewer than half of the used frames agree: not to be learnt from.
        repaired: defect pixels replaced by the median of their neighbours.
        saturated: share of the pixels that reach white.
    """

    used: int
    rejected: tuple[tuple[int, str], ...]
    gains: tuple[float, ...]
    law: NoiseLaw
    left_out: float
    unsteady: float
    repaired: int
    saturated: float

    @property
    def lines(self) -> list[str]:
        """For people."""
        result = [f"average of {self.used} of {self.used + len(self.rejected)} frames"]
        result += [f"frame {number} left out: {reason}" for number, reason in self.rejected]
        result.append(
            f"{self.left_out:.2%} of the values left out, {self.unsteady:.2%} of the picture unsteady, "
            f"{self.saturated:.2%} saturated, {self.repaired} defect pixels repaired"
        )
        return result


class Average(NamedTuple):
    """The mean of a burst: normalised planes, signed; a frame of it with the counts a finer converter would give."""

    planes: Planes
    frame: RawFrame
    report: AverageReport


def average_frames(
    frames: Sequence[RawFrame],
    *,
    law: NoiseLaw | None = None,
    repair: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Average:
    """One clean picture from a burst of the same scene.

    Args:
        frames: three or more, with the same settings; two will do where the noise is known.
        law: the noise of one frame; None: measured on the differences between the frames, or, of two, what their
            NoiseProfile says.
        repair: replace defect pixels.
        progress: called with (done, total).

    Raises:
        PictureError: the frames do not belong together, or more than half of them moved.
    """
    first = _checked(frames, law)
    black = np.array(first.black, np.float32)[:, None, None]
    scale = np.float32(first.white) - black
    height, width = first.height // 2, first.width // 2
    counts = [split(frame.mosaic[: 2 * height, : 2 * width], frame.pattern) for frame in frames]
    side = min(_BLOCK, height, width)
    blocks = np.stack([(block_means(one, side) - black) / scale for one in counts])  # (N, 4, rows, cols)
    if law is None and len(frames) == 2 and first.noise:
        law = NoiseLaw(
            tuple(k for k, _ in first.noise), tuple(s2 for _, s2 in first.noise), "NoiseProfile of the frames"
        )
    noise = law or _burst_law(counts, black, scale, side, careful=True)
    gains, rejected, changed = _judge(counts, blocks, noise, side, black, scale)
    used = [number for number in range(len(frames)) if number not in rejected]
    if len(used) < max(2, (len(frames) + 1) // 2):
        reasons = "; ".join(f"frame {number}: {reason}" for number, reason in sorted(rejected.items())[:3])
        raise PictureError(f"only {len(used)} of {len(frames)} frames show the same picture ({reasons}); {_ADVICE}")
    masks = {number: _widened(changed[number]) for number in used}  # (rows, cols): not to be used
    unsteady = float(np.mean(np.stack([masks[number] for number in used]).sum(0) * 2 > len(used)))
    if unsteady > 0.5:
        raise PictureError(f"{unsteady:.0%} of the picture moves in most of the {len(frames)} frames; {_ADVICE}")
    if law is None:
        noise = _burst_law([counts[number] for number in used], black, scale, side, careful=False)

    planes = np.empty((4, height, width), np.float32)
    dropped = 0
    strip = max(side, _STRIP // (4 * width * len(used)) // side * side)
    for top in range(0, height, strip):
        rows = slice(top, min(top + strip, height))
        stack = np.stack([(counts[n][:, rows] - black) / (scale * gains[n]) for n in used]).astype(np.float32)
        planes[:, rows], lost = _clipped_mean(
            stack, noise, 1 / scale, [_enlarged(masks[n], side, (height, width))[rows] for n in used]
        )
        dropped += lost
        if progress:
            progress(rows.stop, height)
    share = len(used)
    mean_law = NoiseLaw(tuple(k / share for k in noise.k), tuple(s2 / share for s2 in noise.s2), "average")
    repaired = repair_defects(planes, mean_law) if repair else 0
    report = AverageReport(
        used=share,
        rejected=tuple(sorted(rejected.items())),
        gains=tuple(float(gain) for gain in gains),
        law=noise,
        left_out=dropped / (share * planes.size),
        unsteady=unsteady,
        repaired=repaired,
        saturated=float(np.mean(planes >= _saturated_from(scale))),
    )
    return Average(planes, _finer(first, planes, mean_law), report)


def _checked(frames: Sequence[RawFrame], law: NoiseLaw | None) -> RawFrame:
    if len(frames) < 2 or (len(frames) == 2 and law is None and frames[0].noise is None):
        raise PictureError(
            f"{len(frames)} frames; expected a burst of three or more of the same scene, or of two and the noise law "
            "of the camera"
        )
    first = frames[0]
    for number, frame in enumerate(frames):
        for name, one, other in (
            ("size", first.mosaic.shape, frame.mosaic.shape),
            ("colour pattern", first.pattern, frame.pattern),
            ("levels", (first.black, first.white), (frame.black, frame.white)),
            ("ISO", first.iso, frame.iso),
            ("exposure time", first.exposure, frame.exposure),
        ):
            if one != other:
                raise PictureError(
                    f"frame {number} has {name} {other}, frame 0 has {one}; expected a burst with the same settings"
                )
    return first


def _judge(
    counts: list[npt.NDArray[Any]],
    blocks: npt.NDArray[np.float64],
    law: NoiseLaw,
    side: int,
    black: npt.NDArray[Any],
    scale: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float64], dict[int, str], npt.NDArray[np.bool_]]:
    """Light of each frame, frames left out and why, and (N, rows, cols) blocks that changed."""
    sharpness, doubt = np.array([_sharpness(one, black, scale, law) for one in counts]).T
    left: dict[int, str] = {}
    while True:
        rest = [number for number in range(len(blocks)) if number not in left]
        reference = np.median(blocks[rest], axis=0)
        gains = np.array([_gain(one, reference, law, side) for one in blocks])
        reference = np.median(blocks[rest] / gains[rest, None, None, None], axis=0)
        variance = np.stack([law.variance(reference[plane], plane) for plane in range(4)]) / side**2
        error = np.sqrt(variance * (1 + np.pi / 2 / len(rest)) + (_STEADY * np.maximum(reference, 0)) ** 2)
        distance = np.abs(blocks / gains[:, None, None, None] - reference) / error
        distance /= max(
            1.0, 1.4826 * float(np.median(distance[rest]))
        )  # stripes make blocks differ more than pixels do
        changed = (distance > _FAR).any(axis=1)
        restless = changed[rest].mean(axis=0) > _RESTLESS  # leaves in the wind: no frame's own fault
        share = (changed & ~restless).mean(axis=(1, 2))
        detail = sharpness / gains**2
        usual = np.median(detail[rest])
        for number in sorted(rest, key=lambda one: -share[one]):
            blurred = detail[number] < min(_BLURRED * usual, usual - 8 * doubt[number] / gains[number] ** 2)
            if reason := _reason(gains[number], detail[number] / usual if blurred else None, share[number]):
                left[number] = reason
                break
        else:
            return gains, left, changed
        if len(left) == len(blocks):
            return gains, left, changed


def _reason(gain: float, sharpness: float | None, share: float) -> str:
    if abs(gain - 1) > _FLICKER:
        return f"its light is {gain:.2f} times that of the others"
    if sharpness is not None:
        return f"it is out of focus or shaken, with {sharpness:.0%} of the others' fine detail"
    return f"{share:.0%} of it moved" if share > _MOVED else ""


def _gain(blocks: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], law: NoiseLaw, side: int) -> float:
    """Light of a frame relative to the reference: weighted median of the ratios where there is light."""
    error = np.sqrt(np.stack([law.variance(reference[plane], plane) for plane in range(4)])) / side
    lit = (reference > 10 * error) & (reference < 0.9)
    if lit.sum() < 8:
        return 1.0
    ratios, weights = blocks[lit] / reference[lit], (reference[lit] / error[lit]) ** 2
    order = np.argsort(ratios)
    reached = np.cumsum(weights[order])
    return max(float(ratios[order][np.searchsorted(reached, reached[-1] / 2)]), 1e-3)


def _sharpness(
    counts: npt.NDArray[Any], black: npt.NDArray[Any], scale: npt.NDArray[Any], law: NoiseLaw
) -> tuple[float, float]:
    """Energy of the horizontal and vertical differences of green less that of the noise, and its standard error."""
    green = (counts[1].astype(np.float32) - black[1]) / scale[1]
    energy = np.mean((green[:, 1:] - green[:, :-1]) ** 2) + np.mean((green[1:] - green[:-1]) ** 2)
    noise = 4 * float(np.mean(law.variance(green, 1)))
    return max(float(energy) - noise, 0.0), noise * (3 / green.size) ** 0.5 + 1e-12


def _burst_law(
    counts: list[npt.NDArray[Any]], black: npt.NDArray[Any], scale: npt.NDArray[Any], side: int, *, careful: bool
) -> NoiseLaw:
    """From the differences of pairs of frames, which no scene is in.

    Args:
        counts: planes of each frame.
        black: per plane.
        scale: white - black per plane.
        side: of a block.
        careful: some frames may have moved: take the lower of the pairs' variances.

    Raises:
        PictureError: equally bright places differ so much that this cannot be noise: no two frames are alike.
    """
    height, width = counts[0].shape[1:]
    pairs = list(combinations(range(len(counts)), 2))
    pairs = pairs[:: -(-len(pairs) // 10)]
    step = side * max(1, height * width // 2**20)  # rows of blocks looked at
    tops = range(0, height - side + 1, step)
    laws, scatter = [], []
    for plane in range(4):
        strips = [
            np.concatenate([one[plane, top : top + side] for top in tops]).astype(np.float64)
            / float(scale[plane, 0, 0])
            for one in counts
        ]
        strips = [strip - float(black[plane, 0, 0] / scale[plane, 0, 0]) for strip in strips]
        light = np.array([strip.mean() for strip in strips])
        if light.min() > 0.003:  # lamps flicker, and then the scene would be left in the differences
            strips = [strip * (np.median(light) / own) for strip, own in zip(strips, light, strict=True)]
        means = np.median([block_means(strip[None], side)[0] for strip in strips], axis=0).ravel()
        variances = np.sort([_block_variances(strips[a] - strips[b], side).ravel() / 2 for a, b in pairs], axis=0)
        chosen = variances[(len(pairs) - 1) // 4] if careful else np.median(variances, axis=0)
        fine = means < 0.85  # higher up the brightest pixels of a block are cut off
        if fine.sum() < 4:
            fine[:] = True
        k, s2 = _line(means[fine], chosen[fine])
        laws.append((k, s2))
        ratio = chosen[fine] / (k * np.maximum(means[fine], 0) + s2)
        scatter.append(1.4826 * float(np.median(np.abs(ratio - np.median(ratio)))))
    if careful and np.median(scatter) > max(_SCATTER, 5 * (2 / (side**2 - 1)) ** 0.5):
        raise PictureError(f"no two of the {len(counts)} frames show the same picture; {_ADVICE}")
    return NoiseLaw(tuple(k for k, _ in laws), tuple(s2 for _, s2 in laws), "measured on the burst")


def _line(means: npt.NDArray[np.float64], variances: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Of variance = k mean + s2, k > 0 and s2 >= 0: weighted least squares on medians of equally bright groups."""
    order = np.array_split(np.argsort(means), min(24, max(1, len(means) // 4)))
    m = np.array([np.median(means[group]) for group in order])
    v = np.maximum([np.median(variances[group]) for group in order], 1e-15)
    weights = 1 / v
    (k, s2), *_ = np.linalg.lstsq(np.stack((m, np.ones_like(m)), 1) * weights[:, None], v * weights, rcond=None)
    if s2 < 0 or len(m) < 2:
        lit = np.maximum(m, 0)
        k, s2 = float((weights**2 * lit * v).sum() / max(float((weights**2 * lit**2).sum()), 1e-30)), 0.0
    if k <= 0:
        k, s2 = 1e-12, float(np.average(v, weights=weights**2))
    return float(k), float(s2)


def _clipped_mean(
    stack: Planes, law: NoiseLaw, step: npt.NDArray[Any], moved: list[npt.NDArray[np.bool_]]
) -> tuple[Planes, int]:
    """Mean over the frames (N, 4, h, w) without values far from their median, and how many those are."""
    centre = np.median(stack, axis=0)
    sigma = np.sqrt(np.stack([law.variance(centre[plane], plane) for plane in range(4)])).astype(np.float32)
    keep = np.abs(stack - centre) <= _CLIP * sigma + step
    keep &= ~np.stack(moved)[:, None]
    count = keep.sum(axis=0)
    total = np.where(keep, stack, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), centre).astype(np.float32), int(keep.size - keep.sum())


def _finer(first: RawFrame, planes: Planes, law: NoiseLaw) -> RawFrame:
    """A frame whose counts are as fine as 16 bits allow, with the noise that is left."""
    factor = max(1, int(65535 // first.white))
    black = np.array(first.black)[:, None, None]
    counts = (planes * (first.white - black) + black) * factor
    mosaic = join(np.clip(np.rint(counts), 0, 65535).astype(np.uint16), first.pattern)
    low, mid, mid_too, high = (level * factor for level in first.black)
    return first.with_mosaic(
        mosaic,
        black=(low, mid, mid_too, high),
        white=first.white * factor,
        noise=tuple(zip(law.k, law.s2, strict=True)),
    )


def _saturated_from(scale: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Normalised planes from here up were cut off."""
    result: npt.NDArray[Any] = 1 - 1 / scale
    return result


def _block_variances(plane: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    mean, square = block_means(plane[None], side)[0], block_means(plane[None] ** 2, side)[0]
    result: npt.NDArray[np.float64] = (square - mean**2) * side**2 / (side**2 - 1)
    return result


def _widened(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """And the blocks around."""
    result: npt.NDArray[np.bool_] = np.asarray(sliding_window_view(np.pad(mask, 1), (3, 3)).any(axis=(2, 3)))
    return result


def _enlarged(mask: npt.NDArray[np.bool_], side: int, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Blocks -> pixels; what is left over at the end belongs to the last block."""
    rows = np.minimum(np.arange(shape[0]) // side, mask.shape[0] - 1)
    cols = np.minimum(np.arange(shape[1]) // side, mask.shape[1] - 1)
    result: npt.NDArray[np.bool_] = mask[rows[:, None], cols[None]]
    return result
