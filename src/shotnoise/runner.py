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

from shotnoise.engines import Engine, OutOfMemoryError, open_engine
from shotnoise.errors import ModelError, RecipeError
from shotnoise.tiling import DEFAULT_BUDGET, Plan, Tile, plan_tiles

__all__ = ["COUNTS", "STRONGEST", "Medium", "ModelRunner", "Progress"]

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
    def model(self, noisy: Values) -> Values:
        """What the model makes of such a window."""

    @abstractmethod
    def write(self, tile: Tile, values: Values) -> None:
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
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Engine,
        engine: str,
        strength: float,
        tile: int | None,
        threads: int | None,
    ) -> None:
        if not 0 <= strength <= STRONGEST:
            raise RecipeError(f"strength is {strength}; expected 0 (unchanged) to 1 (the model's result), at most 2")
        self.engine = open_engine(model, engine, threads=threads) if isinstance(model, str | os.PathLike) else model
        self.card = self.engine.card
        self.strength = strength
        self.tile = tile

    def describe(self) -> dict[str, Any]:
        """What runs: see :class:`~shotnoise.engines.Engine`."""
        return self.engine.describe()

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
        halo = _FORCED_HALO if self.card.halo is None and self.tile is not None else self.card.halo or 0
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


def _pass(medium: Medium, plan: Plan, mix: float, progress: Progress | None) -> float:
    """One picture through all windows; the root mean square of the change."""
    squares, size = 0.0, 0
    for done, tile in enumerate(plan.tiles, start=1):
        noisy = medium.read(tile)
        clean = medium.model(noisy)
        keep = (slice(None), *tile.keep)
        change = clean[keep] - noisy[keep]
        if mix != 1:
            change *= np.float32(mix)
        squares += float(np.vdot(change, change))
        size += change.size
        change += noisy[keep]
        medium.write(tile, change)
        if progress is not None:
            progress(done / len(plan.tiles))
    medium.finish(math.isfinite(squares))
    if not math.isfinite(squares):
        raise ModelError("the result of the model has values that are not finite; the model file is damaged")
    return math.sqrt(squares / size)
