"""Several passes of a model for one result: eight poses of the picture, several draws of its random input.

The passes are averaged in floating point. How far the draws lie apart is the model's own uncertainty, as far as its
random input shows it; `docs/ensembles.md` says what that does not mean.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import numpy as np

from shotnoise.engines.engine import Array, Engine
from shotnoise.engines.latent import check_seed, draw_latent
from shotnoise.errors import ModelError, RecipeError, nearest

__all__ = ["Ensemble", "Poses"]

Poses = Literal["none", "x8"]


class Ensemble:
    """An engine, asked once or more for every window.

    Args:
        engine: an open one.
        poses: "x8": the picture is also shown mirrored and transposed, in all eight ways, each with values z of its own
            where the model takes any.
        samples: draws of z, for models that take it.
        seed: of z; None: 0.
    """

    def __init__(self, engine: Engine, poses: Poses = "none", samples: int = 1, seed: int | None = None) -> None:
        card = engine.card
        if poses not in get_args(Poses):
            raise RecipeError(f"unknown ensemble '{poses}': {nearest(poses, get_args(Poses))}")
        if samples < 1:
            raise RecipeError(f"samples is {samples}; expected at least 1")
        if card.latent is None and (samples > 1 or seed is not None):
            what = (
                f"{samples} samples would all be the same" if samples > 1 else f"the seed {seed} would change nothing"
            )
            raise ModelError(
                f"the model '{card.name}' draws nothing at random, so {what}; leave {'it' if samples == 1 else 'them'} "
                "out, or take a model with a latent, like an invdn"
            )
        if poses == "x8" and card.size is not None:
            height, width = card.size
            if height != width:
                raise ModelError(
                    f"the model '{card.name}' is fixed to {height}x{width}, and four of the eight poses are "
                    f"{width}x{height}; export it with a free or square size, or leave the ensemble out"
                )
            if card.kind == "raw":
                raise ModelError(
                    f"the model '{card.name}' is fixed to {height}x{width}, and a mirrored mosaic needs more to be "
                    "RGGB again; export it with a free size, or leave the ensemble out"
                )
        self.engine, self.card, self.samples = engine, card, samples
        self.poses = range(8 if poses == "x8" else 1)
        self.seed = check_seed(seed or 0)
        self._turn = threading.Lock()  # an engine takes all cores, and memory, for one window at a time
        # A mirrored mosaic is RGGB again one pixel further, so that it looks half a cell farther on one side.
        self._mosaic = card.kind == "raw" and len(self.poses) > 1
        self.halo = card.halo + 1 if card.halo is not None and self._mosaic else card.halo

    def describe(self) -> dict[str, Any]:
        """What runs, see :class:`~shotnoise.engines.Engine`, and how often for every window."""
        return self.engine.describe() | {
            "ensemble": "x8" if len(self.poses) > 1 else "none",
            "samples": self.samples,
            "seed": None if self.card.latent is None else self.seed,
        }

    def run(
        self,
        noisy: Array,
        level: Array | None = None,
        *,
        origin: tuple[int, int] = (0, 0),
        values: Callable[[Array], Array] | None = None,
    ) -> tuple[Array, Array | None]:
        """Denoise a window.

        Args:
            noisy: as for the engine, and so is `level`.
            level: see there.
            origin: row and column of the window in its picture, on which the values z depend.
            values: what the result of each pass becomes before it is averaged; None: it stays as it is.

        Returns:
            The mean of the passes; and, of two samples or more, the standard deviation of the samples, with the same
            shape: in every pose about the mean of that pose, so that what the poses differ in does not count.
        """
        total: Array | None = None
        squares: Array | None = None
        for pose in self.poses:
            results = self._samples(noisy, level, pose, origin, values)
            mean = next(results)
            for count, result in enumerate(results, start=2):
                change = result - mean
                mean = mean + change / np.float32(count)
                squares = _plus(squares, change * (result - mean))
            total = _plus(total, mean)
        assert total is not None  # noqa: S101  # there is always a pose
        poses = np.float32(len(self.poses))
        spread = None if squares is None else np.sqrt(squares / (poses * np.float32(self.samples - 1)))
        return (total if poses == 1 else total / poses), spread

    def _samples(
        self,
        noisy: Array,
        level: Array | None,
        pose: int,
        origin: tuple[int, int],
        values: Callable[[Array], Array] | None,
    ) -> Iterator[Array]:
        """The passes in one pose."""
        seen = self._turned(noisy, pose)
        told = level if level is None or level.shape != noisy.shape else self._turned(level, pose)
        for sample in range(self.samples):
            latent = self._latent(noisy.shape, sample * len(self.poses) + pose, pose, origin)
            with self._turn:
                # An engine of a model that takes no latent need not know of it.
                clean = self.engine.run(seen, told) if latent is None else self.engine.run(seen, told, latent)
            clean = self._turned_back(clean, pose)
            yield clean if values is None else values(clean)

    def _latent(self, shape: tuple[int, ...], draw: int, pose: int, origin: tuple[int, int]) -> Array | None:
        """The values z of a window, turned with it: they belong to places in the picture."""
        down, right = (self._more(pose, bit) for bit in (_FLIP_ROWS, _FLIP_COLUMNS))
        larger = (*shape[:2], shape[2] + down, shape[3] + right)
        place = origin[0] - down, origin[1] - right
        latent = draw_latent(self.card, larger, seed=self.seed, draw=draw, origin=place)
        return None if latent is None else _turned(latent, pose)

    def _more(self, pose: int, flip: int) -> int:
        """Rows or columns of planes that a mirrored mosaic has more of, so that it is RGGB again."""
        return self.card.multiple if self._mosaic and pose & flip else 0

    def _turned(self, planes: Array, pose: int) -> Array:
        if not self._mosaic:
            return _turned(planes, pose)
        # Seen from the sample after its last, a mirrored mosaic begins with red.
        down, right = (self._more(pose, bit) for bit in (_FLIP_ROWS, _FLIP_COLUMNS))
        around = [(0, 0), *((2 * more - 1, 1) if more else (0, 0) for more in (down, right))]
        return _split(_turned(np.pad(_joined(planes), around, mode="reflect"), pose))

    def _turned_back(self, planes: Array, pose: int) -> Array:
        if not self._mosaic:
            return _turned_back(planes, pose)
        down, right = (self._more(pose, bit) for bit in (_FLIP_ROWS, _FLIP_COLUMNS))
        rows, columns = (slice(2 * more - 1, -1) if more else slice(None) for more in (down, right))
        return _split(_turned_back(_joined(planes), pose)[:, rows, columns])


# The bits of a pose, in the order in which they are done.
_FLIP_COLUMNS, _FLIP_ROWS, _TRANSPOSE = 1, 2, 4


def _turned(pictures: Array, pose: int) -> Array:
    """(..., H, W), or (..., W, H) where the pose is a transposed one; contiguous, as engines like it."""
    if pose & _FLIP_COLUMNS:
        pictures = pictures[..., ::-1]
    if pose & _FLIP_ROWS:
        pictures = pictures[..., ::-1, :]
    if pose & _TRANSPOSE:
        pictures = pictures.swapaxes(-1, -2)
    return np.ascontiguousarray(pictures)


def _turned_back(pictures: Array, pose: int) -> Array:
    if pose & _TRANSPOSE:
        pictures = pictures.swapaxes(-1, -2)
    if pose & _FLIP_ROWS:
        pictures = pictures[..., ::-1, :]
    if pose & _FLIP_COLUMNS:
        pictures = pictures[..., ::-1]
    return pictures


def _joined(planes: Array) -> Array:
    """(N, 4, H, W) packed R, Gr, Gb, B -> (N, 2H, 2W)."""
    count, _, height, width = planes.shape
    return planes.reshape(count, 2, 2, height, width).transpose(0, 3, 1, 4, 2).reshape(count, 2 * height, 2 * width)


def _split(mosaics: Array) -> Array:
    """The inverse of :func:`_joined`."""
    count, height, width = mosaics.shape
    cells = mosaics.reshape(count, height // 2, 2, width // 2, 2).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cells.reshape(count, 4, height // 2, width // 2))


def _plus(total: Array | None, value: Array) -> Array:
    return value if total is None else total + value
