"""A model file as the function that :func:`shotnoise.evaluation.evaluate` calls."""

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.engines import Engine, Ensemble, Poses, open_engine
from shotnoise.errors import ModelError
from shotnoise.evaluation.protocol import Told
from shotnoise.mri import bordered
from shotnoise.runner import raw_level
from shotnoise.sensor.law import KSigma, NoiseLaw
from shotnoise.tiling import DEFAULT_BUDGET, Tile, plan_tiles, read_tile

__all__ = ["ModelUnderTest"]

Values = npt.NDArray[np.float32]


class ModelUnderTest:
    """Runs a model's network alone: nothing estimated, nothing mixed, so that scores are the network's.

    Pictures of up to 3 megapixels run in one piece, larger ones in tiles that overlap by the network's field of
    view, which gives the same result. A network without a limited field always gets the whole picture.

    Args:
        model: what `shotnoise evaluate` takes: a bundled name, an .onnx file, a run folder, a checkpoint.
        engine: name of an engine, or "auto".
        network: architecture of a checkpoint, where it cannot be recognised.
        ensemble: "none", or "x8" for the mean over the eight poses of each picture.
        samples: draws of the random input that are averaged, of models that have one.
        seed: of it; None: 0.
        precision: what floating-point layers calculate in, those of an int8 model included; exactly by default, so
            that scores are those of the model. "int8" opens the quantised file beside the model.
        provider: "cpu", "cuda" or "tensorrt"; None: what works.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        engine: str = "auto",
        *,
        network: str | None = None,
        ensemble: Poses = "none",
        samples: int = 1,
        seed: int | None = None,
        precision: str = "fp32",
        provider: str | None = None,
    ) -> None:
        self.engine: Engine = open_engine(model, engine, network=network, precision=precision, provider=provider)
        self.ensemble = Ensemble(self.engine, ensemble, samples, seed)
        self.card = self.engine.card

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for gray and MRI, 4 for RAW."""
        return int(self.card.channels)

    def __call__(self, noisy: Values, told: Told) -> Values:
        """Denoise (C, H, W) float32 around 0..1, knowing what the protocol tells."""
        if self.card.kind == "raw" and (self.card.level == "sigma" or self.card.k_sigma is not None):
            return self._raw(noisy, told)
        if self.card.kind == "mri":
            height, width = noisy.shape[1:]
            clean, _ = self.ensemble.run(bordered(noisy, self.card.multiple, self.card.size)[None])
            return clean[0, :, :height, :width]
        if self.card.level == "none":
            return self._tiled(noisy, None)
        if not isinstance(told, float):
            raise ModelError("this model needs the noise level, and the protocol gives none")
        return self._tiled(noisy, np.full((1, 1, 1, 1), told, np.float32))

    def describe(self) -> dict[str, Any]:
        """What runs: see :class:`~shotnoise.engines.Engine`; with the keys `ensemble`, `samples` and `seed`."""
        return self.ensemble.describe()

    def _raw(self, noisy: Values, told: Told) -> Values:
        """By the law of the noise: behind the k-Sigma transform, or with a level for every value, or both."""
        if not isinstance(told, NoiseLaw):
            raise ModelError("this model needs the noise law of the sensor, and the protocol gives none")
        transform = None if self.card.k_sigma is None else KSigma(**self.card.k_sigma.model_dump())
        k, s2 = (np.resize(np.array(values, np.float32), len(noisy))[:, None, None] for values in (told.k, told.s2))
        level = raw_level(self.card, noisy, transform, k, s2)
        if transform is None:
            return self._tiled(noisy, level)
        back = transform.inverse
        return self._tiled(transform.forward(noisy, k, s2), level, lambda seen: back(seen, k, s2))

    def _tiled(self, noisy: Values, level: Values | None, values: Callable[[Values], Values] | None = None) -> Values:
        budget = sys.maxsize if self.card.halo is None else DEFAULT_BUDGET
        plan = plan_tiles(
            *noisy.shape[1:],
            multiple=self.card.multiple,
            halo=self.ensemble.halo or 0,
            budget=budget,
            window=self.card.size,
        )
        result = np.empty_like(noisy)
        for tile in plan.tiles:
            told = _window(level[0], tile) if level is not None and self.card.level_map else level
            origin = tile.read[0].start, tile.read[1].start
            clean, _ = self.ensemble.run(_window(noisy, tile), told, origin=origin, values=values)
            rows, columns = tile.write
            keep_rows, keep_columns = tile.keep
            result[:, rows, columns] = clean[0, :, keep_rows, keep_columns]
        return result


def _window(planes: Values, tile: Tile) -> Values:
    """(C, H, W) -> (1, C, h, w), contiguous."""
    return np.ascontiguousarray(read_tile(planes.transpose(1, 2, 0), tile).transpose(2, 0, 1))[None]
