"""Noise out of RAW: a Bayer mosaic in, the same mosaic out, counts as the sensor would have given them without noise.

The mosaic is seen from its first red pixel as four planes, normalised so that black is 0 and white is 1; what noise
brought below black stays there. Where the card of the model says so, the k-Sigma transform then removes camera and
ISO from what the model sees, with the noise law of the frame. Nothing is scaled by what a tile or a picture holds, so
brightness stays and tiles do not show.

Levels of noise are in counts of 255, as everywhere: 255 stands for white - black.
"""

import math
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.engines import Engine, Ensemble, Poses
from shotnoise.errors import RecipeError
from shotnoise.images.raw import RawFrame
from shotnoise.images.raw.bayer import join, sites, split
from shotnoise.runner import COUNTS, Medium, ModelRunner, Progress, Values, log_notes, raw_level
from shotnoise.sensor import estimate_sigma
from shotnoise.sensor.estimate import estimate_frame, law_for
from shotnoise.sensor.law import KSigma, NoiseLaw
from shotnoise.sensor.profile import NoiseProfile
from shotnoise.sensor.published import open_profile
from shotnoise.tiling import Tile, read_tile

__all__ = ["RawDenoiser", "RawResult"]

_ROUNDING = 12**-0.5  # counts of the file: the noise of whole numbers, below which there is nothing to take out
_LEAST_LEFT = 0.02  # of the noise: so little is not told from none


@dataclass(frozen=True, slots=True)
class RawResult:
    """A denoised frame and what happened.

    Attributes:
        frame: the clean mosaic with everything else as it was; its `noise` is that of what is left.
        law: the noise that was taken for granted, and as its `source` where it comes from; None when nothing was done.
        sigma: root mean square of the noise by that law, in counts of 255; None when nothing was done.
        removed: root mean square of what was taken away, in counts of 255.
        left: estimate of the share of the noise that is still there, as a ratio of standard deviations.
        tiles: how the planes were cut (:meth:`shotnoise.tiling.Plan.describe`); sizes are in pixels of a plane.
        seconds: time of the whole, reading and writing files not included.
        notes: what a user should know, one line each.
        uncertainty: of two samples or more, their standard deviation at each pixel of the mosaic, float32, in units of
            white - black; otherwise None.
    """

    frame: RawFrame
    law: NoiseLaw | None
    sigma: float | None
    removed: float
    left: float
    tiles: dict[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()
    uncertainty: npt.NDArray[np.float32] | None = None


class RawDenoiser(ModelRunner):
    """Takes the noise out of RAW frames.

    Args:
        model: name of a bundled model, an .onnx file, a checkpoint, a run folder; or an engine that is already open.
        engine: "auto", "onnxruntime", "openvino", "torch" or "torch-compiled".
        strength: 0 returns the frame unchanged, 1 is the result of the model, between them the two are mixed. Up to 2,
            a model behind the k-Sigma transform, or one that takes the noise level, is told noise that many times
            stronger; any other model's correction is multiplied.
        profile: what the noise is: a profile of the camera, its file, the name of a published one, or a law. None:
            what the file itself says, or an estimate from the frame.
        iso: at which the profile is asked; None: that of the frame.
        tile: longest side of the windows in pixels of a plane; None: chosen, for about 0.5 GB of memory with the
            bundled model.
        threads: CPU threads; None: all cores.
        ensemble: "none", or "x8": the mean over the eight poses in which the mosaic is RGGB again, for eight times the
            work and a little more.
        samples: draws of the random input that are averaged, of models that have one; from two on the result has an
            `uncertainty`.
        seed: of the random input; None: 0.
        precision: to calculate in: "fp32", "bf16", "fp16", "int8", or "auto"; see
            :func:`shotnoise.engines.open_engine`, and so for `provider`.
        provider: "cpu", "cuda" or "tensorrt"; None: what works.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Engine = "raw",
        *,
        engine: str = "auto",
        strength: float = 1.0,
        profile: str | os.PathLike[str] | NoiseProfile | NoiseLaw | None = None,
        iso: float | None = None,
        tile: int | None = None,
        threads: int | None = None,
        ensemble: Poses = "none",
        samples: int = 1,
        seed: int | None = None,
        precision: str = "auto",
        provider: str | None = None,
    ) -> None:
        if isinstance(profile, str | os.PathLike):
            profile = open_profile(profile)
        if iso is not None and not isinstance(profile, NoiseProfile):
            raise RecipeError(f"ISO {iso:g} is given without a noise profile, and nothing else depends on it")
        super().__init__(model, engine, strength, tile, threads, ensemble, samples, seed, precision, provider)
        self._refuse_unless((("raw", 4),), "raw data of 4 channels, like the bundled 'raw'")
        self.profile = profile
        self.iso = iso
        self._transform = None if self.card.k_sigma is None else KSigma(**self.card.k_sigma.model_dump())

    def __call__(self, frame: RawFrame, *, progress: Progress | None = None) -> RawFrame:
        """Denoise one frame.

        Args:
            frame: any Bayer phase, any size.
            progress: called with the share that is done, up to 1.

        Returns:
            The same with a clean mosaic. What a user should know besides is logged; :meth:`run` returns it.
        """
        result = self.run(frame, progress=progress)
        log_notes(result.notes)
        return result.frame

    def run(self, frame: RawFrame, *, progress: Progress | None = None) -> RawResult:
        """Denoise one frame, and say what happened."""
        started = time.perf_counter()
        if self.strength == 0:
            seconds = time.perf_counter() - started
            return RawResult(frame, None, None, 0.0, 1.0, {}, seconds, uncertainty=self._untouched(frame.mosaic))
        law, notes = self._law(frame)
        span = frame.white - sum(frame.black) / 4
        deviation = _deviation(frame, law)
        sigma = COUNTS * deviation
        if deviation * span <= _ROUNDING and self.profile is None:
            # What a network does to a picture without noise can only harm it.
            notes.append("no noise was found, so nothing was changed; if you see some, give a noise profile")
            seconds = time.perf_counter() - started
            return RawResult(frame, law, sigma, 0.0, 1.0, {}, seconds, tuple(notes), self._untouched(frame.mosaic))
        told, mix = law, self.strength
        if (self._transform is not None or self.card.level == "sigma") and self.strength > 1:
            told, mix = law.scaled(self.strength), 1.0
        ensemble = self._ensemble_for(sigma, notes)
        work, change, plan = self._in_tiles(lambda: _Work(ensemble, frame, self._transform, told), mix, notes, progress)
        removed = COUNTS * change
        self._mention_idleness(sigma, removed, notes)
        left = _left(frame, work.result, change / deviation, mix)
        clean = frame.with_mosaic(work.result, noise=_noise_of(law, left, frame))
        seconds = time.perf_counter() - started
        return RawResult(clean, law, sigma, removed, left, plan.describe(), seconds, tuple(notes), work.uncertainty)

    def _law(self, frame: RawFrame) -> tuple[NoiseLaw, list[str]]:
        """The law to go by, and what the user should know about it."""
        if isinstance(self.profile, NoiseProfile):
            notes = [f"the noise profile warns: {warning}" for warning in self.profile.warnings]
            meant, found = self.profile.camera.model, frame.model
            if meant and found and meant.lower() not in found.lower() and found.lower() not in meant.lower():
                notes.append(f"the noise profile is that of {self.profile.camera}, the file is from {found}")
            return law_for(frame, self.profile, self.iso), notes
        if self.profile is None:
            seen = estimate_frame(frame)
            law = law_for(frame, seen=seen)
            return law, list(seen.notes) if law.k == seen.law.k else []
        law = self.profile
        if len(law.k) not in (1, 4):
            raise RecipeError(f"a noise law for {len(law.k)} planes; expected 4 for R, Gr, Gb, B, or one for all")
        return (law if len(law.k) == 4 else NoiseLaw(law.k * 4, law.s2 * 4, law.source)), []


class _Work(Medium):
    """One frame on its way through the model. Tiles are windows of its planes; the mosaic is never held as floats."""

    def __init__(self, ensemble: Ensemble, frame: RawFrame, transform: KSigma | None, law: NoiseLaw) -> None:
        self.result = np.empty_like(frame.mosaic)
        self.uncertainty = np.empty(frame.mosaic.shape, np.float32) if ensemble.samples > 1 else None
        self._ensemble, self._mosaic, self._transform = ensemble, frame.mosaic, transform
        # Seen from a red pixel, by reflection where there is none above or to the left: see `bayer.align`.
        self._top, self._left = sites(frame.pattern)[0]
        self.height = (self._top + frame.height + 1) // 2
        self.width = (self._left + frame.width + 1) // 2
        self._black = _column(frame.black)
        self._span = np.float32(frame.white) - self._black
        self._k, self._s2 = _column(law.k), _column(law.s2)
        self._highest = max(math.floor(frame.white), int(frame.mosaic.max()))

    def read(self, tile: Tile) -> Values:
        rows, cols = tile.read
        window = Tile((self._rows(rows), self._cols(cols)), tile.write)
        planes = split(read_tile(self._mosaic, window), "RGGB").astype(np.float32)
        planes -= self._black
        planes /= self._span
        return planes

    def model(self, tile: Tile, noisy: Values) -> tuple[Values, Values | None]:
        full = noisy >= 1
        counts = np.minimum(noisy, np.float32(1))  # a full pixel says no more than that it is full
        level = raw_level(self._ensemble.card, counts, self._transform, self._k, self._s2)
        seen = counts if self._transform is None else self._transform.forward(counts, self._k, self._s2)

        def planes(clean: Values) -> Values:
            if self._transform is not None:
                clean = self._transform.inverse(clean, self._k, self._s2)
            return np.where(full, noisy, clean[0])

        origin = tile.read[0].start, tile.read[1].start
        return self._ensemble.run(seen[None], level, origin=origin, values=planes)

    def write(self, tile: Tile, values: Values, spread: Values | None) -> None:
        values *= self._span
        values += self._black + np.float32(0.5)
        with np.errstate(invalid="ignore"):  # not a number: found out by the caller
            counts = join(np.clip(values, 0, self._highest, out=values).astype(np.uint16), "RGGB")
        self._place(tile, counts, self.result)
        if self.uncertainty is not None and spread is not None:
            self._place(tile, join(spread, "RGGB"), self.uncertainty)

    def _place(self, tile: Tile, mosaic: npt.NDArray[Any], whole: npt.NDArray[Any]) -> None:
        """Put the part that a tile is responsible for where it belongs."""
        rows, cols = self._rows(tile.write[0]), self._cols(tile.write[1])
        place = slice(max(rows.start, 0), rows.stop), slice(max(cols.start, 0), cols.stop)
        target = whole[place]
        top, left = place[0].start - rows.start, place[1].start - cols.start
        target[:] = mosaic[top : top + target.shape[0], left : left + target.shape[1]]

    def finish(self, finite: bool) -> None:
        """Every count is a usable one."""

    def _rows(self, rows: slice) -> slice:
        """Rows of a plane as rows of the mosaic; may begin above it and end below."""
        return slice(2 * rows.start - self._top, 2 * rows.stop - self._top)

    def _cols(self, cols: slice) -> slice:
        return slice(2 * cols.start - self._left, 2 * cols.stop - self._left)


def _column(values: tuple[float, ...]) -> Values:
    """Numbers per plane, to go with (4, H, W)."""
    return np.asarray(values, np.float32)[:, None, None]


def _deviation(frame: RawFrame, law: NoiseLaw) -> float:
    """Root mean square of the noise of a frame by its law, in 0..1."""
    variance = 0.0
    for plane, (row, col) in enumerate(sites(frame.pattern)):
        signal = (frame.mosaic[row::2, col::2].mean() - frame.black[plane]) / (frame.white - frame.black[plane])
        variance += law.k[plane] * max(float(signal), 0.0) + law.s2[plane]
    return math.sqrt(variance / 4)


def _left(frame: RawFrame, clean: npt.NDArray[np.uint16], removed: float, mix: float) -> float:
    """Share of the noise that is still there, as a ratio of standard deviations.

    The error of a good estimate is not correlated with the estimate, so that what a model took away and what it left
    add up to the noise, as variances. A model that took away more than there is leaves at least what can be seen: the
    fine noise in the greens, by the blind estimate, after and before.

    Args:
        frame: before.
        clean: the mosaic after.
        removed: what was taken away as a share of the noise.
        mix: share of the model's change that was applied.
    """
    rest = max(1 - (removed / mix) ** 2, 0.0)
    rest = (1 - mix) ** 2 + (1 - (1 - mix) ** 2) * rest
    before, after = (
        math.hypot(*(estimate_sigma(mosaic[row::2, col::2]) for row, col in sites(frame.pattern)[1:3]))
        for mosaic in (frame.mosaic, clean)
    )
    seen = after / before if before > 0 else 0.0
    return min(max(math.sqrt(rest), seen, _LEAST_LEFT), 1.0)


def _noise_of(law: NoiseLaw, left: float, frame: RawFrame) -> tuple[tuple[float, float], ...]:
    """The NoiseProfile of the result: the same law, weaker, and never below what rounding alone makes."""
    spans = [frame.white - black for black in frame.black]
    rest = law.scaled(left)
    return tuple((k, max(s2, (_ROUNDING / span) ** 2)) for k, s2, span in zip(rest.k, rest.s2, spans, strict=True))
