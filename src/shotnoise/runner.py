"""A model at work: opened, told how strongly and in which windows, and led over a picture tile by tile.

What a :class:`~shotnoise.denoiser.Denoiser` and a :class:`~shotnoise.raw_denoiser.RawDenoiser` have in common. Each
brings a :class:`Medium` that knows how its pixels become values for the model, and back.
"""

import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from shotnoise.card import Card
from shotnoise.engines import Engine, Ensemble, OutOfMemoryError, Poses, open_engine
from shotnoise.errors import ModelError, RecipeError
from shotnoise.sensor.law import KSigma
from shotnoise.tiling import DEFAULT_BUDGET, Plan, Tile, plan_tiles

__all__ = ["COUNTS", "STRONGEST", "Medium", "ModelRunner", "Progress", "raw_level"]

COUNTS = 255.0  # noise levels in counts per noise level in 0..1
STRONGEST = 2.0

_FORCED_HALO = 64  # for tiles of a network that looks at the whole picture, where the user insists
_VISIBLE = 2.0  # counts of noise from which a result that changes nothing deserves a word

Progress = Callable[[float], None]
Values = npt.NDArray[np.float32]


class Medium(ABC):
    """One picture on its way through a model, window by window. `read`, `model` and `write` follow one another.

    Attributes:
        height: rows of what the model sees.
        width: columns of it.
    """

    height: int
    width: int

    @abstractmethod
    def read(self, tile: Tile) -> Values:
        """(C, h, w): the window of a tile, in the values that are mixed by the strength."""

    @abstractmethod
    def model(self, tile: Tile, noisy: Values) -> tuple[Values, Values | None]:
        """What the model makes of such a window, and how far its samples lie apart; see :class:`Ensemble`."""

    @abstractmethod
    def write(self, tile: Tile, values: Values, spread: Values | None) -> None:
        """Store the part that the tile is responsible for; `values` may be worked in."""

    @abstractmethod
    def finish(self, finite: bool) -> None:
        """All tiles are through. Refuses, or adds notes, on account of what was seen in the picture."""


AnyMedium = TypeVar("AnyMedium", bound=Medium)


class ModelRunner:
    """An open model, and how it is applied.

    Args:
        model: name of a bundled model, a file, a run folder; or an engine that is already open.
        engine: which engine opens it.
        strength: 0 to :data:`STRONGEST`.
        tile: longest side of the windows; None: chosen.
        threads: CPU threads; None: all cores.
        ensemble: "none", or "x8" for the mean over the eight poses of the picture.
        samples: draws of the random input, of models that have one.
        seed: of it; None: 0.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Engine,
        engine: str,
        strength: float,
        tile: int | None,
        threads: int | None,
        ensemble: Poses,
        samples: int,
        seed: int | None,
    ) -> None:
        if not 0 <= strength <= STRONGEST:
            raise RecipeError(f"strength is {strength}; expected 0 (unchanged) to 1 (the model's result), at most 2")
        self.engine = open_engine(model, engine, threads=threads) if isinstance(model, str | os.PathLike) else model
        self.card = self.engine.card
        self.ensemble = Ensemble(self.engine, ensemble, samples, seed)
        self.strength = strength
        self.tile = tile

    def describe(self) -> dict[str, Any]:
        """What runs: see :class:`~shotnoise.engines.Engine`; with the keys `ensemble`, `samples` and `seed`."""
        return self.ensemble.describe()

    def _in_tiles(
        self, medium: Callable[[], AnyMedium], mix: float, notes: list[str], progress: Progress | None
    ) -> tuple[AnyMedium, float, Plan]:
        """Lead a picture through the model in the planned windows, and smaller ones while the memory does not suffice.

        Args:
            medium: makes the picture ready to begin; called once more for each new attempt.
            mix: factor on what the model changes.
            notes: what is worth telling is added here.
            progress: called with the share that is done.

        Returns:
            The medium with all its tiles written, the root mean square of the change, and the tiles.
        """
        if self.card.halo is None and self.tile is not None:
            notes.append("this network looks at the whole picture, so tiles change its result; seams are possible")
        budget = sys.maxsize if self.card.halo is None else DEFAULT_BUDGET
        halo = _FORCED_HALO if self.card.halo is None and self.tile is not None else self.ensemble.halo or 0
        multiple = self.card.multiple
        while True:
            work = medium()
            plan = plan_tiles(
                work.height,
                work.width,
                multiple=multiple,
                halo=halo,
                tile=self.tile,
                budget=budget,
                window=self.card.size,
            )
            try:
                return work, _pass(work, plan, mix, progress), plan
            except OutOfMemoryError:
                area = plan.window[0] * plan.window[1]
                fixed = self.tile is not None or self.card.halo is None or self.card.size is not None
                if fixed or area <= (2 * halo + multiple) ** 2:
                    raise
                del work  # before the next one asks for as much
                budget = area // 2
                note = "the memory did not suffice for the usual tiles; worked in smaller ones"
                notes.extend([note] if note not in notes else [])

    def _mention_idleness(self, sigma: float, removed: float, notes: list[str]) -> None:
        """Add a note where there is noise and nearly nothing of it was taken away; both in counts."""
        if sigma > _VISIBLE and removed < 0.2 * sigma * min(self.strength, 1):
            notes.append(
                f"the result is nearly identical to the input: {removed:.1f} counts taken away where the noise is "
                f"about {sigma:.1f}; try a higher strength or another model"
            )


def raw_level(card: Card, counts: Values, transform: KSigma | None, k: Values, s2: Values) -> Values | None:
    """The noise level that a RAW model is told with a window, from the law of its noise; None if it takes none.

    Args:
        card: of the model.
        counts: (4, H, W) normalised, as they are before any transform.
        transform: what is done with them before the model sees them.
        k: of the law, (4, 1, 1), and so is `s2`.
        s2: see there.
    """
    if card.level == "none":
        return None
    # Without a transform, the root of k x + s2; there is no light below none.
    level = np.sqrt(np.maximum(k * counts + s2, 0)) if transform is None else transform.level(counts, k, s2)
    return np.asarray(level, np.float32)[None] if card.level_map else np.full((1, 1, 1, 1), level, np.float32)


def _pass(medium: Medium, plan: Plan, mix: float, progress: Progress | None) -> float:
    """One picture through all windows; the root mean square of the change."""
    squares, size = 0.0, 0
    for done, tile in enumerate(plan.tiles, start=1):
        noisy = medium.read(tile)
        clean, spread = medium.model(tile, noisy)
        keep = (slice(None), *tile.keep)
        change = clean[keep] - noisy[keep]
        if mix != 1:
            change *= np.float32(mix)
        squares += float(np.vdot(change, change))
        size += change.size
        change += noisy[keep]
        if spread is not None:
            spread = spread[keep] * np.float32(mix)
        medium.write(tile, change, spread)
        if progress is not None:
            progress(done / len(plan.tiles))
    medium.finish(math.isfinite(squares))
    if not math.isfinite(squares):
        raise ModelError("the result of the model has values that are not finite; the model file is damaged")
    return math.sqrt(squares / size)
