"""Protocols for real noise: pairs of a noisy and a clean picture of one scene, nothing is added."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError, RecipeError, StoreError, nearest
from shotnoise.evaluation.protocol import Protocol, Trial
from shotnoise.images import open_image
from shotnoise.images.image import full_scale
from shotnoise.metrics import METRICS, Metrics, quantise
from shotnoise.sensor import estimate_sigma
from shotnoise.store import planes
from shotnoise.store.pair_folders import expect_pairs, partner
from shotnoise.store.selection import NOISY_CLEAN

__all__ = ["PairProtocol", "find_pairs", "pair_trial", "rows"]


@dataclass(frozen=True, kw_only=True)
class PairProtocol(Protocol):
    """Display pictures that a camera took twice, with noise and practically without.

    The noisy picture goes to the denoiser as it was stored, divided by its white. A denoiser that asks for the level
    of the noise is told one number for the whole picture: a blind estimate of :func:`shotnoise.sensor.estimate_sigma`,
    or what the user gave. Real noise is neither white nor the same at all brightnesses, so that this number is a
    makeshift; every row of the result says what it was.

    Attributes:
        metrics: how both are compared; a row of :data:`shotnoise.evaluation.METRICS`.
        level: standard deviation that is told, in 8-bit counts, or that it is estimated.
    """

    simulated: ClassVar[bool] = False

    metrics: Metrics = METRICS["8bit"]
    level: float | Literal["estimated"] = "estimated"

    def find(self, data: Path) -> tuple[Path, list[Path]]:
        """The noisy pictures of a folder of pairs; see :func:`find_pairs`."""
        return find_pairs(data)

    def trial(self, path: Path, channels: int, generator: np.random.RandomState) -> Trial:
        """A noisy picture with its partner; nothing is random."""
        noisy, clean = open_image(path), open_image(partner(path))
        if noisy.pixels.shape != clean.pixels.shape:
            raise PictureError(
                f"{path}: has shape {noisy.pixels.shape}, its clean partner {clean.pixels.shape}; expected the same"
            )
        return pair_trial(self, noisy.pixels, clean.pixels, channels)

    def refusal(self, kind: str, level: str) -> str | None:
        """RAW models see no display pictures."""
        if kind not in ("rgb", "gray"):
            return f"is for {kind} data, and '{self.name}' measures on pictures; choose a protocol for {kind} data"
        return None

    def _metrics(self, name: str | None) -> Any:
        if name is not None and name not in METRICS:
            raise RecipeError(f"unknown metrics '{name}': {nearest(name, METRICS)}")
        return None if name is None else METRICS[name]

    def _level(self, counts: float | None) -> Any:
        if counts is not None and not 0 <= counts <= 255:
            raise RecipeError(f"level is {counts:g}; expected a noise standard deviation in counts, 0 to 255")
        return counts


def pair_trial(rules: PairProtocol, noisy: npt.NDArray[Any], clean: npt.NDArray[Any], channels: int) -> Trial:
    """A trial from the pixels of both, (H, W) or (H, W, 3) of any depth."""
    metrics = rules.metrics
    sigma = estimate_sigma(noisy) if rules.level == "estimated" else rules.level / 255
    given, truth = (
        planes(pixels, channels).astype(np.float32) / np.float32(full_scale(pixels.dtype)) for pixels in (noisy, clean)
    )

    def judged(values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        return metrics.compared(values.transpose(1, 2, 0))

    def seen(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        return quantise(values.transpose(1, 2, 0))

    converted = (1 if noisy.ndim == 2 else 3) != channels
    return Trial(given, sigma, judged(truth), metrics.data_range, judged, seen, converted, metrics.structure)


def find_pairs(data: Path) -> tuple[Path, list[Path]]:
    """The folder of the noisy pictures and these, as :mod:`shotnoise.store.pair_folders` finds them for training."""
    if not data.is_dir():
        what = "is not a folder" if data.exists() else "does not exist"
        raise StoreError(f"{data}: {what}; expected a folder that holds 'noisy' and 'clean'")
    files = expect_pairs(data, NOISY_CLEAN).files
    name, _, noisy, _ = files[0]
    return noisy.parents[len(Path(name).parts) - 1], [noisy for _, _, noisy, _ in files]


def rows() -> list[PairProtocol]:
    """The table."""
    return [PairProtocol(name="pairs/folder", data_set="pairs", pictures=None)]
