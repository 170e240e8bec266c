"""Random inputs that depend on where they lie, not on how a picture is cut.

A model that samples takes standard normal values z beside the picture. They come from a generator that counts
(Philox): block (row, column) of draw d is computed from (seed, d, row, column) alone. So windows that overlap see the
same values, a tiled result equals that in one piece, and a second run repeats the first.
"""

import numpy as np

from shotnoise.card import Card
from shotnoise.engines.engine import Array
from shotnoise.errors import RecipeError

__all__ = ["check_seed", "draw_latent", "flat_level"]

_BLOCK = 16  # positions on each side; fewer make more generators, more make more values that are thrown away
_WORD = 2**64


def draw_latent(
    card: Card, shape: tuple[int, ...], *, seed: int = 0, draw: int = 0, origin: tuple[int, int] = (0, 0)
) -> Array | None:
    """The values z that a model takes with a window of pictures; None if it takes none.

    Args:
        card: of the model.
        shape: (N, C, H, W) of the window.
        seed: of all values.
        draw: number of the draw; different draws are independent.
        origin: row and column of the window in its picture, multiples of `card.multiple`; may be negative.
    """
    if card.latent is None:
        return None
    pictures, step = shape[0], card.latent.reduction
    planes = pictures * card.latent.channels
    top, left, height, width = (length // step for length in (*origin, *shape[2:]))
    rows, cols = (
        range(first // _BLOCK, -(-(first + count) // _BLOCK)) for first, count in ((top, height), (left, width))
    )
    values = np.empty((planes, _BLOCK * len(rows), _BLOCK * len(cols)), np.float32)
    key = np.array([seed, draw], np.uint64)
    for y, row in enumerate(rows):
        for x, col in enumerate(cols):
            words = np.array([0, 0, row % _WORD, col % _WORD], np.uint64)
            philox = np.random.Philox(key=key, counter=words)
            block = np.random.Generator(philox).standard_normal((planes, _BLOCK, _BLOCK), np.float32)
            values[:, _BLOCK * y : _BLOCK * (y + 1), _BLOCK * x : _BLOCK * (x + 1)] = block
    top, left = top - _BLOCK * rows.start, left - _BLOCK * cols.start
    window = values[:, top : top + height, left : left + width]
    return window.reshape(pictures, card.latent.channels, height, width)


def flat_level(card: Card, shape: tuple[int, ...], level: float) -> Array | None:
    """One noise level for all values, in the shape that a model takes it; None if it takes none.

    Args:
        card: of the model.
        shape: (N, C, H, W) of its picture.
        level: standard deviation in units of the picture.
    """
    if card.level == "none":
        return None
    return np.full(shape if card.level_map else (shape[0], 1, 1, 1), level, np.float32)


def check_seed(seed: int) -> int:
    """The seed, if it is one."""
    if not 0 <= seed < _WORD:
        raise RecipeError(f"seed is {seed}; expected a whole number from 0 to 2^64 - 1")
    return seed
