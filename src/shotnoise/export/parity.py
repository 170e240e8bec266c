"""How near a model file is to what it was made from, on noisy photographs."""

from collections.abc import Callable, Sequence

import numpy as np

from shotnoise.card import Parity
from shotnoise.engines.engine import Array
from shotnoise.export.pictures import Noisy, Step, psnr

__all__ = ["parity_of", "refusal"]

Restore = Callable[[Noisy], Array]
"""A noisy picture -> what a model makes of it, (C, H, W)."""


def parity_of(exact: Restore, found: Restore, steps: Sequence[Step], words: str) -> Parity:
    """Compare two ways to run a model.

    Args:
        exact: the one to be near to.
        found: the file.
        steps: noisy pictures.
        words: what they are.
    """
    difference, squares, losses = 0.0, [], []
    for step in steps:
        changes = []
        for one in step.pictures:
            wanted, got = exact(one), found(one)
            difference = float(np.fmax(difference, np.abs(got - wanted).max()))
            squares.append(np.square(one.judged(got) - one.judged(wanted), dtype=np.float64).mean())
            changes.append(psnr(one, wanted) - psnr(one, got))
        losses.append(float(np.mean(changes)))
    return Parity(
        difference=difference,
        psnr=round(float(-10 * np.log10(max(np.mean(squares), 1e-20))), 2),
        loss=round(losses[int(np.argmax(np.abs(losses)))], 5),
        pictures=words,
    )


def refusal(parity: Parity, loss: float) -> str | None:
    """Why a file is not near enough, in words; None if it is.

    Args:
        parity: as measured.
        loss: dB by which it may be worse, or better, which is no more trustworthy.
    """
    if np.isfinite((parity.difference, parity.psnr, parity.loss)).all() and abs(parity.loss) <= loss:
        return None
    worse = "worse" if not parity.loss < 0 else "better"
    return f"its results on noisy pictures are {abs(parity.loss):.3f} dB {worse} (limit {loss:g} dB)"
