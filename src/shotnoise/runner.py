"""A model at work: opened, told how strongly and in which windows, and led over a picture tile by tile.

What a :class:`~shotnoise.denoiser.Denoiser` and a :class:`~shotnoise.raw_denoiser.RawDenoiser` have in common. Each
brings a :class:`Medium` that knows how its pixels become values for the model, and back.
"""

import contextlib
import functools
import logging
import math
import os
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from shotnoise.bundled import find_model
from shotnoise.card import Card
from shotnoise.engines import Engine, Ensemble, OutOfMemoryError, Poses, open_engine
from shotnoise.engines.latent import draw_latent, flat_level
from shotnoise.engines.onnx_file import exact_sibling
from shotnoise.errors import ModelError, RecipeError
from shotnoise.memory import free_memory, memory_of
from shotnoise.sensor.law import KSigma
from shotnoise.tiling import DEFAULT_BUDGET, Plan, Tile, plan_tiles

__all__ = ["COUNTS", "STRONGEST", "Medium", "ModelRunner", "Progress", "log_notes", "raw_level"]

logger = logging.getLogger(__name__)

COUNTS = 255.0  # noise levels in counts per noise level in 0..1
STRONGEST = 2.0

_FORCED_HALO = 64  # for tiles of a network that looks at the whole picture, where the user insists
_SMALL = 384  # side of the window that measures the memory
_OURS = 40  # bytes for each value of a window outside of the engine
_WASTED = 2**21  # pixels of context that are too few to think about
_WASTEFUL = 1.5  # times the work: from here on larger windows are worth their memory
_SHARE, _MOST = 0.5, 4 * 2**30  # of the free memory, and in bytes: what larger windows may take
_UNDER_WAY = 2  # windows at a time: more would only wait for the engine
_VISIBLE = 2.0  # counts of noise from which a result that changes nothing deserves a word

Progress = Callable[[float], None]
Values = npt.NDArray[np.float32]


class Medium(ABC):
    """One picture on its way through a model, window by window.

    For each window, `read`, `model` and `write` follow one another in one thread; another thread may be at another
    window meanwhile.

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
_Result = TypeVar("_Result")


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
        precision: to calculate in; see :func:`~shotnoise.engines.open_engine`.
        provider: device; see there.
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
        precision: str = "auto",
        provider: str | None = None,
    ) -> None:
        if not 0 <= strength <= STRONGEST:
            raise RecipeError(f"strength is {strength}; expected 0 (unchanged) to 1 (the model's result), at most 2")
        self._exact: Callable[[], Ensemble] | None = None
        if isinstance(model, str | os.PathLike):
            self.engine = open_engine(model, engine, threads=threads, precision=precision, provider=provider)
            path, held = find_model(model, precision), self.engine.card.quantisation
            if held is not None and (beside := exact_sibling(path, held.source_sha256)) is not None:
                self._exact = functools.cache(
                    lambda: Ensemble(
                        open_engine(beside, engine, threads=threads, provider=provider), ensemble, samples, seed
                    )
                )
        else:
            self.engine = model
        self.card = self.engine.card
        self.ensemble = Ensemble(self.engine, ensemble, samples, seed)
        self.strength = strength
        self.tile = tile

    def describe(self) -> dict[str, Any]:
        """What runs: see :class:`~shotnoise.engines.Engine`; with the keys `ensemble`, `samples` and `seed`."""
        return self.ensemble.describe()

    def _refuse_unless(self, kinds: Sequence[tuple[str, int]], expected: str) -> None:
        """The model must be for one of these kinds of data and numbers of channels; `expected` says so in words."""
        card = self.card
        if (card.kind, card.channels) not in kinds:
            raise ModelError(
                f"the model '{card.name}' is for {card.kind} data of {card.channels} channels; "
                f"expected one for {expected}"
            )

    def _untouched(self, pixels: npt.NDArray[Any]) -> Values | None:
        """The uncertainty of a picture in which nothing was changed."""
        return np.zeros(pixels.shape, np.float32) if self.ensemble.samples > 1 else None

    def _ensemble_for(self, sigma: float, notes: list[str]) -> Ensemble:
        """What runs for a picture with noise of so many counts: not an int8 model below the level it was made for.

        The float model that it was made from takes its place, where that lies beside it; if not, a note says what
        this costs.
        """
        held = self.card.quantisation
        if held is None or sigma >= COUNTS * held.lowest:
            return self.ensemble
        found = f"noise of {sigma:.1f} counts is below {COUNTS * held.lowest:.1f}, from which the int8 model is as good"
        if self._exact is None:
            notes.append(f"{found} as the fp32 model; with that one the result would be better")
            return self.ensemble
        notes.append(f"{found}; took the fp32 model beside it")
        return self._exact()

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
        halo = _FORCED_HALO if self.card.halo is None and self.tile is not None else self.ensemble.halo or 0
        multiple, fixed = self.card.multiple, self.tile is not None or self.card.size is not None
        cut = functools.partial(plan_tiles, multiple=multiple, halo=halo, tile=self.tile, window=self.card.size)
        budget: int | None = None
        while True:
            work = medium()
            plan = cut(work.height, work.width, budget=budget or DEFAULT_BUDGET)
            if budget is None and not fixed:
                budget = sys.maxsize if self.card.halo is None else self._budget(plan)
                plan = cut(work.height, work.width, budget=budget)
            try:
                return work, _pass(work, plan, mix, progress), plan
            except OutOfMemoryError:
                area = plan.window[0] * plan.window[1]
                if fixed or self.card.halo is None or area <= (2 * halo + multiple) ** 2:
                    raise
                del work  # before the next one asks for as much
                budget = area // 2
                note = "the memory did not suffice for the usual tiles; worked in smaller ones"
                notes.extend([note] if note not in notes else [])

    def _budget(self, usual: Plan) -> int:
        """Pixels per window: the usual ones, or what the memory allows where their context would be most of the work.

        How much a network takes for a pixel is measured with one small window.
        """
        wasted = (usual.work - 1) * usual.height * usual.width
        free = free_memory() if usual.work > _WASTEFUL and wasted > _WASTED else None
        if free is None or self._pixel is None:
            return DEFAULT_BUDGET
        return max(DEFAULT_BUDGET, int(min(free * _SHARE, _MOST) / self._pixel))

    @functools.cached_property
    def _pixel(self) -> float | None:
        """Bytes that the model takes for a pixel of a window; None if that cannot be measured."""
        if self.engine.describe().get("provider") != "cpu":
            return None
        side = -(-_SMALL // self.card.multiple) * self.card.multiple
        noisy = np.zeros((1, self.card.channels, side, side), np.float32)
        inputs = (flat_level(self.card, noisy.shape, 0.1), draw_latent(self.card, noisy.shape))
        given = inputs if self.card.latent is not None else inputs[:1]
        try:
            grown = memory_of(lambda: self.engine.run(noisy, *given))
        except OutOfMemoryError:
            return None
        return None if grown is None else grown / side**2 + _OURS * self.card.channels

    def _mention_idleness(self, sigma: float, removed: float, notes: list[str]) -> None:
        """Add a note where there is noise and nearly nothing of it was taken away; both in counts."""
        if sigma > _VISIBLE and removed < 0.2 * sigma * min(self.strength, 1):
            notes.append(
                f"the result is nearly identical to the input: {removed:.1f} counts taken away where the noise is "
                f"about {sigma:.1f}; try a higher strength or another model"
            )


def log_notes(notes: Sequence[str]) -> None:
    """For a caller who sees the picture alone."""
    for note in notes:
        logger.warning("%s", note)


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
    """One picture through all windows; the root mean square of the change.

    Two windows are under way at a time: while one is in the engine, the other is made ready for it or written back.
    """

    def through(tile: Tile) -> tuple[float, int]:
        """Sum and number of the squared changes of a tile."""
        noisy = medium.read(tile)
        clean, spread = medium.model(tile, noisy)
        keep = (slice(None), *tile.keep)
        change = clean[keep] - noisy[keep]
        if mix != 1:
            change *= np.float32(mix)
        squares = float(np.vdot(change, change))
        change += noisy[keep]
        if spread is not None:
            spread = spread[keep] * np.float32(mix)
        medium.write(tile, change, spread)
        return squares, change.size

    squares, size = 0.0, 0
    with contextlib.closing(_side_by_side(through, plan.tiles)) as results:
        for done, (more, values) in enumerate(results, start=1):
            squares += more
            size += values
            if progress is not None:
                progress(done / len(plan.tiles))
    medium.finish(math.isfinite(squares))
    if not math.isfinite(squares):
        raise ModelError("the result of the model has values that are not finite; the model file is damaged")
    return math.sqrt(squares / size)


def _side_by_side(through: Callable[[Tile], _Result], tiles: Sequence[Tile]) -> Generator[_Result, None, None]:
    """The results of all tiles, in order, with two under way. What goes wrong ends it, and so does Ctrl-C."""
    if len(tiles) == 1:
        yield through(tiles[0])
        return
    with ThreadPoolExecutor(_UNDER_WAY, "tiles") as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for tile in tiles:
                if len(waiting) == _UNDER_WAY:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(through, tile))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
