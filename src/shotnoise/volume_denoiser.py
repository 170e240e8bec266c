"""Artefacts of under-sampling out of MRI volumes: slice by slice, with everything else in the file as it was.

A volume says no longer which frequencies were measured, so nothing is put back into k-space here: the model alone works
on the slices along the third axis. As in training, values are divided by the maximum of the volume and go from -0.5
(nothing) to 0.5, and slices are continued with black.
"""

import os
import time
from dataclasses import dataclass

import numpy as np

from shotnoise.engines import Engine, Poses
from shotnoise.errors import ModelError, PictureError
from shotnoise.mri import BLACK, Volume, bordered
from shotnoise.runner import COUNTS, ModelRunner, Progress, Values, log_notes

__all__ = ["VolumeDenoiser", "VolumeResult"]


@dataclass(frozen=True, slots=True)
class VolumeResult:
    """A denoised volume and what happened.

    Attributes:
        volume: the same header, affine, type and scaling with other values.
        removed: root mean square of what was taken away, in counts of 255 between nothing and the maximum.
        seconds: time of the whole, reading and writing files not included.
        notes: what a user should know, one line each.
    """

    volume: Volume
    removed: float
    seconds: float
    notes: tuple[str, ...] = ()


class VolumeDenoiser(ModelRunner):
    """Takes the artefacts of an under-sampled k-space out of volumes.

    Args:
        model: an .onnx file, a checkpoint, a run folder, whose card says mri; or an engine that is already open.
        engine: "auto", "onnxruntime", "openvino", "torch" or "torch-compiled".
        strength: 0 returns the volume unchanged, 1 is the result of the model; up to 2, its correction is multiplied.
        threads: CPU threads; None: all cores.
        ensemble: "none", or "x8": the mean over the eight poses of each slice.
        samples: draws of the random input that are averaged, of models that have one.
        seed: of the random input; None: 0.
        precision: to calculate in: "fp32", "bf16", "fp16", "int8", or "auto"; see
            :func:`shotnoise.engines.open_engine`, and so for `provider`.
        provider: "cpu", "cuda" or "tensorrt"; None: what works.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Engine,
        *,
        engine: str = "auto",
        strength: float = 1.0,
        threads: int | None = None,
        ensemble: Poses = "none",
        samples: int = 1,
        seed: int | None = None,
        precision: str = "auto",
        provider: str | None = None,
    ) -> None:
        super().__init__(model, engine, strength, None, threads, ensemble, samples, seed, precision, provider)
        self._refuse_unless((("mri", 1),), "mri data of 1 channel, as `shotnoise train noise2noise/mri-quick` makes it")
        if self.card.level != "none":
            raise ModelError(
                f"the model '{self.card.name}' takes the noise level, and under-sampling has none; expected a model "
                "without it"
            )

    def __call__(self, volume: Volume, *, progress: Progress | None = None) -> Volume:
        """Denoise one volume; what a user should know besides is logged, and :meth:`run` returns it."""
        result = self.run(volume, progress=progress)
        log_notes(result.notes)
        return result.volume

    def run(self, volume: Volume, *, progress: Progress | None = None) -> VolumeResult:
        """Denoise one volume, and say what happened."""
        started = time.perf_counter()
        if self.strength == 0:
            return VolumeResult(volume, 0.0, time.perf_counter() - started)
        bad = ~np.isfinite(volume.values)
        values: Values = np.where(bad, np.float32(0), volume.values)
        highest = np.float32(values.max())
        if highest <= 0:
            raise PictureError(f"the largest value of the volume is {highest:g}; expected a signal above 0")
        clean = np.empty_like(values)
        squares, slices = 0.0, values.shape[2]
        for number in range(slices):
            signal: Values = values[:, :, number] / highest + np.float32(BLACK)
            change = np.float32(self.strength) * (self._slice(signal) - signal)
            squares += float(np.vdot(change, change))
            clean[:, :, number] = values[:, :, number] + highest * change
            if progress is not None:
                progress((number + 1) / slices)
        if not np.isfinite(squares):
            raise ModelError("the result of the model has values that are not finite; the model file is damaged")
        notes = []
        if bad.any():
            np.copyto(clean, volume.values, where=bad)
            notes.append(f"{np.count_nonzero(bad)} values are not finite and were left as they are")
        removed = COUNTS * float(np.sqrt(squares / values.size))
        return VolumeResult(volume.with_values(clean), removed, time.perf_counter() - started, tuple(notes))

    def _slice(self, signal: Values) -> Values:
        """(H, W) in -0.5..0.5 through the model."""
        height, width = signal.shape
        seen = bordered(np.ascontiguousarray(signal), self.card.multiple, self.card.size)
        clean, _ = self.ensemble.run(seen[None, None])
        return clean[0, 0, :height, :width]
