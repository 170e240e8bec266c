"""A model file as the function that :func:`shotnoise.evaluation.evaluate` calls."""

import os
import sys

import numpy as np
import numpy.typing as npt

from shotnoise.bundled import find_model
from shotnoise.engines import Engine, open_engine
from shotnoise.errors import ModelError
from shotnoise.evaluation.protocol import Told
from shotnoise.sensor.law import KSigma, NoiseLaw
from shotnoise.tiling import DEFAULT_BUDGET, plan_tiles, read_tile

__all__ = ["ModelUnderTest"]


class ModelUnderTest:
    """Runs a model's network alone: nothing estimated, nothing mixed, so that scores are the network's.

    Pictures of up to 2 megapixels run in one piece, larger ones in tiles that overlap by the network's field of
    view, which gives the same result. A network without a limited field always gets the whole picture.

    Args:
        model: what `shotnoise evaluate` takes: a bundled name, an .onnx file, a run folder, a checkpoint.
        engine: name of an engine, or "auto".
        network: architecture of a checkpoint, where it cannot be recognised.
    """

    def __init__(self, model: str | os.PathLike[str], engine: str = "auto", *, network: str | None = None) -> None:
        self.engine: Engine = open_engine(find_model(model), engine, network=network)
        self.card = self.engine.card
        if self.card.kind not in ("rgb", "gray", "raw"):
            raise ModelError(f"{model}: a model for {self.card.kind} data; expected one for pictures or RAW")

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for gray, 4 for RAW."""
        return int(self.card.channels)

    def __call__(self, noisy: npt.NDArray[np.float32], told: Told) -> npt.NDArray[np.float32]:
        """Denoise (C, H, W) float32 around 0..1, knowing what the protocol tells."""
        if self.card.k_sigma is None:
            return self._tiled(noisy, told)
        if not isinstance(told, NoiseLaw):
            raise ModelError("this model needs the noise law of the sensor, and the protocol gives none")
        transform = KSigma(**self.card.k_sigma.model_dump())
        k, s2 = (np.resize(np.array(values, np.float32), len(noisy))[:, None, None] for values in (told.k, told.s2))
        level = transform.gain if transform.root else None
        return transform.inverse(self._tiled(transform.forward(noisy, k, s2), level), k, s2)

    def _tiled(self, noisy: npt.NDArray[np.float32], told: Told | None) -> npt.NDArray[np.float32]:
        level = None
        if self.card.level == "sigma":
            if not isinstance(told, float):
                raise ModelError("this model needs the noise level, and the protocol gives none")
            level = np.full((1, 1, 1, 1), told, np.float32)
        budget = sys.maxsize if self.card.halo is None else DEFAULT_BUDGET
        plan = plan_tiles(
            *noisy.shape[1:],
            multiple=self.card.multiple,
            halo=self.card.halo or 0,
            budget=budget,
            window=self.card.size,
        )
        pixels = noisy.transpose(1, 2, 0)
        result = np.empty_like(noisy)
        for tile in plan.tiles:
            window = np.ascontiguousarray(read_tile(pixels, tile).transpose(2, 0, 1))[None]
            rows, columns = tile.write
            keep_rows, keep_columns = tile.keep
            result[:, rows, columns] = self.engine.run(window, level)[0, :, keep_rows, keep_columns]
        return result
