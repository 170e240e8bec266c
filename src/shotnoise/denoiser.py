"""The thing a user holds: a model, an engine, a strength; pictures of any size and depth in, the same kind out.

Units: every noise level here and on the command line (`level`, `Result.sigma`, `Result.removed`) is a standard
deviation in counts of 8 bits, 0..255, whatever the type of the picture, as the literature gives it. Everything below
this module works in 0..1.
"""

import math
import os
import time
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from shotnoise.bundled import default_model
from shotnoise.engines import Engine, Ensemble, Poses
from shotnoise.errors import ModelError, PictureError, RecipeError
from shotnoise.images import Image
from shotnoise.images.image import full_scale
from shotnoise.runner import COUNTS, STRONGEST, Medium, ModelRunner, Progress, Values, log_notes
from shotnoise.sensor import estimate_sigma
from shotnoise.tiling import Tile, read_tile

__all__ = ["COUNTS", "STRONGEST", "Denoiser", "Progress", "Result"]

_SILENT = 0.1  # counts of noise below which there is nothing to take out; rounding to 8 bits alone makes 0.3
_BRIGHTEST = 4.0  # floating-point values above this are not a picture in 0..1

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Result:
    """A denoised picture and what happened.

    Attributes:
        image: the picture; alpha, ICC profile and EXIF are those of the input.
        sigma: noise level of the input in counts: given, or estimated; None when nothing was done.
        removed: root mean square of what was taken away, in counts.
        tiles: how the picture was cut (:meth:`shotnoise.tiling.Plan.describe`).
        seconds: time of the whole, reading and writing files not included.
        notes: what a user should know, one line each.
        uncertainty: of two samples or more, their standard deviation at each pixel and channel, in units of 0..1,
            float32 in the shape of the pixels; otherwise None.
    """

    image: Image
    sigma: float | None
    removed: float
    tiles: dict[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()
    uncertainty: npt.NDArray[np.float32] | None = None


class Denoiser(ModelRunner):
    """Takes the noise out of pictures.

    Args:
        model: name of a bundled model, an .onnx file, a checkpoint, a run folder; or an engine that is already open;
            None: "photo", or "gaussian" where a level is given.
        engine: "auto", "onnxruntime", "openvino", "torch" or "torch-compiled".
        strength: 0 returns the picture unchanged, 1 is the result of the model, between them the two are mixed. Up to
            2, a model that takes the noise level is told a level that many times higher; any other model's correction
            is multiplied.
        level: standard deviation of the noise in counts (0..255), for models that take it; None: estimated for each
            picture.
        tile: longest side of the windows in pixels; None: chosen, for about 0.5 GB of memory with the bundled models.
        threads: CPU threads; None: all cores.
        ensemble: "none", or "x8": the mean over the eight poses of the picture, for eight times the work.
        samples: draws of the random input that are averaged, of models that have one, like an `invdn`; from two on the
            result has an `uncertainty`.
        seed: of the random input; None: 0. The same seed gives the same result.
        precision: to calculate in: "fp32", "bf16", "fp16", "int8", or "auto"; see
            :func:`shotnoise.engines.open_engine`, and so for `provider`.
        provider: "cpu", "cuda" or "tensorrt"; None: what works.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Engine | None = None,
        *,
        engine: str = "auto",
        strength: float = 1.0,
        level: float | None = None,
        tile: int | None = None,
        threads: int | None = None,
        ensemble: Poses = "none",
        samples: int = 1,
        seed: int | None = None,
        precision: str = "auto",
        provider: str | None = None,
    ) -> None:
        if level is not None and not 0 <= level <= COUNTS:
            raise RecipeError(f"level is {level}; expected a noise standard deviation in counts, 0 to 255")
        if model is None:
            model = default_model("picture", told=level is not None)
        super().__init__(model, engine, strength, tile, threads, ensemble, samples, seed, precision, provider)
        self._refuse_unless((("rgb", 3), ("gray", 1)), "rgb or gray pictures, like the bundled 'photo'")
        if level is not None and self.card.level == "none":
            raise ModelError(
                f"the model '{self.card.name}' takes no noise level; leave the level out and use the strength, or take "
                "'gaussian'"
            )
        self.level = level

    @overload
    def __call__(self, picture: Image, *, progress: Progress | None = None) -> Image: ...
    @overload
    def __call__(self, picture: Array, *, progress: Progress | None = None) -> Array: ...
    def __call__(self, picture: Image | Array, *, progress: Progress | None = None) -> Image | Array:
        """Denoise one picture.

        Args:
            picture: an :class:`~shotnoise.images.Image`, or an array (H, W), (H, W, 1), (H, W, 3) or, with alpha,
                (H, W, 2), (H, W, 4); uint8, uint16 or floating point in 0..1. Floating-point results are not clipped,
                and alpha is not touched.
            progress: called with the share that is done, up to 1.

        Returns:
            The same kind, shape and type. What a user should know besides is logged; :meth:`run` returns it.
        """
        if isinstance(picture, Image):
            return self._run_and_log(picture, progress)
        if picture.dtype.kind == "b":
            raise PictureError("array of type bool; expected uint8, uint16 or floating point in 0..1")
        image = Image.from_array(picture)
        result = picture.copy()  # with its alpha, and in its own type where that is wider than float32
        if self.strength != 0:
            first = result if result.ndim == 2 else result[:, :, 0]
            colours = first if image.channels == 1 else result[:, :, :3]
            colours[:] = self._run_and_log(image, progress).pixels
        return result

    def _run_and_log(self, image: Image, progress: Progress | None) -> Image:
        result = self.run(image, progress=progress)
        log_notes(result.notes)
        return result.image

    def run(self, image: Image, *, progress: Progress | None = None) -> Result:
        """Denoise one picture, and say what happened."""
        started = time.perf_counter()
        if self.strength == 0:
            return Result(
                image, None, 0.0, {}, time.perf_counter() - started, uncertainty=self._untouched(image.pixels)
            )
        sigma = COUNTS * estimate_sigma(image.pixels) if self.level is None else self.level
        if sigma < _SILENT and self.level is None and self.card.level == "sigma":
            # What a network does to a picture without noise can only harm it.
            note = "no noise was found, so nothing was changed; if you see some, say how much with the level"
            return Result(image, sigma, 0.0, {}, time.perf_counter() - started, (note,), self._untouched(image.pixels))
        level, notes = self._model_level(sigma)
        # Beyond 1 a model that takes the level has been told a higher one instead.
        mix = self.strength if level is None else min(self.strength, 1.0)
        ensemble = self._ensemble_for(sigma, notes)
        work, change, plan = self._in_tiles(lambda: _Work(ensemble, image.pixels, level, notes), mix, notes, progress)
        removed = COUNTS * change
        self._mention_idleness(sigma, removed, notes)
        seconds = time.perf_counter() - started
        clean = image.with_pixels(work.result)
        return Result(clean, sigma, removed, plan.describe(), seconds, tuple(notes), work.uncertainty)

    def _model_level(self, sigma: float) -> tuple[float | None, list[str]]:
        """What the model is told, in 0..1, and what to tell the user about it."""
        if self.card.level == "none":
            return None, []
        wanted = sigma * max(self.strength, 1)
        highest = COUNTS * self.card.sigma_range[1] if self.card.sigma_range else math.inf
        if wanted <= highest:
            return wanted / COUNTS, []
        note = f"a noise level of {wanted:.0f} is more than the model was trained for; took its highest, {highest:.0f}"
        return highest / COUNTS, [note]


class _Work(Medium):
    """One picture on its way through the model: from its own type to float32 and back, tile by tile."""

    def __init__(self, ensemble: Ensemble, pixels: Array, level: float | None, notes: list[str]) -> None:
        self.height, self.width = pixels.shape[:2]
        self.result = np.empty_like(pixels)
        self.uncertainty = np.empty(pixels.shape, np.float32) if ensemble.samples > 1 else None
        self._ensemble, self._pixels, self._level, self._notes = ensemble, pixels, level, notes
        self._white = full_scale(pixels.dtype)
        self._floating = pixels.dtype.kind == "f"
        self._strange: list[int] = []  # of each tile, and so the brightest: lists, as tiles come from several threads
        self._brightest = [0.0]

    def read(self, tile: Tile) -> Values:
        window = _planes(read_tile(self._pixels, tile))
        noisy = np.multiply(window, np.float32(1 / self._white), dtype=np.float32, order="C")
        if self._floating:
            noisy[~np.isfinite(noisy)] = 0  # or the network would spread it
            self._brightest.append(float(np.abs(noisy).max()))
        return noisy

    def write(self, tile: Tile, values: Values, spread: Values | None) -> None:
        target = _planes(self.result[tile.write])
        target[:] = self._in_own_type(values)
        if self.uncertainty is not None:
            _planes(self.uncertainty[tile.write])[:] = spread
        if self._floating:
            pixels = _planes(self._pixels[tile.write])
            bad = ~np.isfinite(pixels)
            np.copyto(target, pixels, where=bad)
            self._strange.append(int(np.count_nonzero(bad)))
            if self.uncertainty is not None:
                np.copyto(_planes(self.uncertainty[tile.write]), 0, where=bad)

    def finish(self, finite: bool) -> None:
        strange, brightest = sum(self._strange), max(self._brightest)
        if brightest > _BRIGHTEST and not finite:
            raise PictureError(f"values up to {brightest:.4g}; expected floating-point pixels in 0..1")
        if strange:
            self._notes.append(f"{strange} values are not finite and were left as they are")
        if brightest > _BRIGHTEST:
            self._notes.append(
                f"values up to {brightest:.4g}: floating-point pictures are taken as 0..1; divide by the value of white"
            )

    def model(self, tile: Tile, noisy: Values) -> tuple[Values, Values | None]:
        """Planes (P, H, W) through the engine, whatever channels the model has."""
        if self._ensemble.card.channels == 1:  # a gray model sees the three colours as three pictures
            batch = noisy[:, None]
        else:
            batch = np.ascontiguousarray(np.broadcast_to(noisy, (3, *noisy.shape[1:])))[None]
        level = None if self._level is None else np.full((len(batch), 1, 1, 1), self._level, np.float32)
        origin = tile.read[0].start, tile.read[1].start

        def planes(clean: Values) -> Values:
            if len(noisy) == 1:  # a gray picture: the mean of the three colours, or the only plane there is
                return np.asarray(clean[0].mean(axis=0, keepdims=True))
            return clean.reshape(noisy.shape)

        return self._ensemble.run(batch, level, origin=origin, values=planes)

    def _in_own_type(self, values: Values) -> Array:
        """Round half up and clip for integers; floating point as it is. Works in `values`."""
        if self._floating:
            return values
        values *= np.float32(self._white)
        values += np.float32(0.5)
        with np.errstate(invalid="ignore"):  # not a number: found out by the caller
            return np.clip(values, 0, self._white, out=values).astype(self._pixels.dtype)


def _planes(pixels: Array) -> Array:
    """(H, W) or (H, W, 3) -> a view (1, H, W) or (3, H, W)."""
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
