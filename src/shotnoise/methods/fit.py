"""Denoise pictures with nothing but themselves: the zero-shot fit in the shape of a denoiser, for many files."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shotnoise.batch import Options, Worker
from shotnoise.batch.places import Kind
from shotnoise.denoiser import COUNTS, Progress, Result
from shotnoise.errors import RecipeError
from shotnoise.images import Image
from shotnoise.images.image import full_scale, to_depth
from shotnoise.methods.zero_shot import fit_zero_shot
from shotnoise.raw_denoiser import RawDenoiser
from shotnoise.sensor import estimate_sigma
from shotnoise.volume_denoiser import VolumeDenoiser

__all__ = ["Fit", "FitOptions"]


@dataclass(frozen=True, slots=True)
class FitOptions(Options):
    """Options of a batch in which each picture is fitted anew; model, engine, level and tile play no part."""

    steps: int = 2000

    def model_facts(self, kind: Kind = "picture") -> dict[str, str]:
        """There is no model file; what would change the result is among the options."""
        return {"name": "fit", "path": "", "sha256": "zero-shot 1"}

    def denoiser(self) -> Worker:
        """Ready to fit."""
        return Fit(steps=self.steps, seed=self.seed or 0, strength=self.strength, threads=self.threads)

    def raw_denoiser(self) -> RawDenoiser:
        """Never ready."""
        raise RecipeError("a fit learns from finished pictures, not from RAW; leave --fit out for RAW files")

    def volume_denoiser(self) -> VolumeDenoiser:
        """Never ready."""
        raise RecipeError("a fit learns from finished pictures, not from volumes; leave --fit out for volumes")


class Fit:
    """Learns a small network from the picture at hand and takes the noise out with it; about a minute per picture.

    Args:
        steps: of the optimiser.
        seed: of the fit.
        strength: 0 returns the picture unchanged, 1 is the result of the fit, between them the two are mixed.
        threads: CPU threads; None leaves it to torch.
    """

    def __init__(self, *, steps: int = 2000, seed: int = 0, strength: float = 1.0, threads: int | None = None) -> None:
        if not 0 <= strength <= 1:
            raise RecipeError(f"strength is {strength}; a fit takes 0 (unchanged) to 1 (its result)")
        self.steps, self.seed, self.strength, self.threads = steps, seed, strength, threads

    def describe(self) -> dict[str, Any]:
        """What runs, for reports."""
        return {
            "engine": "torch",
            "version": torch.__version__,
            "provider": "cpu",
            "threads": self.threads or torch.get_num_threads(),
            "precision": "fp32",
            "reason": f"fits a network to each picture, {self.steps} steps",
        }

    def run(self, image: Image, *, progress: Progress | None = None) -> Result:
        """Fit, denoise, and say what happened."""
        started = time.perf_counter()

        def tell(step: int, steps: int, loss: float) -> None:
            if progress is not None:
                progress(step / steps)

        white = full_scale(image.pixels.dtype)
        # In floating point, so that a partial strength is not rounded twice.
        noisy = np.asarray(image.pixels, np.float32) / np.float32(white)
        clean, report = fit_zero_shot(noisy, steps=self.steps, seed=self.seed, progress=tell, threads=self.threads)
        mixed = noisy + np.float32(self.strength) * (clean - noisy)
        return Result(
            image=image.with_pixels(to_depth(mixed, image.pixels.dtype)),
            sigma=COUNTS * estimate_sigma(image.pixels),
            removed=COUNTS * self.strength * report.removed,
            tiles={},
            seconds=time.perf_counter() - started,
        )
