"""The PairSource contract, and the endless stream of samples that training reads."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from shotnoise.sensor.law import KSigma

__all__ = ["Batch", "PairSource", "Sample", "SampleStream", "collate", "generator_for"]

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Sample:
    """One training sample, everything (C, H, W) float.

    Attributes:
        noisy: what the network sees.
        target: what it is compared with; may be noisy itself.
        clean: the truth in 0..1, where it exists; for measurements only.
        level: noise standard deviation in units of the picture, (1, 1, 1), where the network wants it.
        mask: 1 where the target was measured, 0 where it holds nothing to compare with, (1, H, W) or (C, H, W);
            None where all of it was.
        law: of RAW samples, (2, 4, 1, 1): what is taken for k and s2 of each plane.
        low: the truth in a lower resolution, (C, H / n, W / n), for methods that compare with it on the way.
        spectrum: of under-sampled MRI, (2, H, W): real and imaginary part of the centred k-space, what was measured of
            `noisy` and 0 elsewhere.
        measured: where that is 1, elsewhere 0, (1, H, W).
        meta: where the sample comes from.
    """

    noisy: Tensor
    target: Tensor
    clean: Tensor | None = None
    level: Tensor | None = None
    mask: Tensor | None = None
    law: Tensor | None = None
    low: Tensor | None = None
    spectrum: Tensor | None = None
    measured: Tensor | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class PairSource(ABC):
    """Draws samples. The same generator state gives the same sample.

    Attributes:
        kind: of the data that a network trained on it is for, as the card says it; None where its channels tell.
        picture_channels: of the pictures it is made from; None where these are the network's.
        arrays: which arrays of a stored sample it is made from; several come on top of each other.
        k_sigma: the transform that its samples went through, for the card of the model.
    """

    kind: ClassVar[str | None] = None
    picture_channels: ClassVar[int | None] = None
    arrays: ClassVar[tuple[str, ...]] = ("clean",)
    k_sigma: KSigma | None = None

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Sample:
        """One random sample."""

    @classmethod
    def open(cls, folder: Path) -> Mapping[str, Any] | None:
        """Name -> picture of a folder that only this source can read; None: as all read it, stores and pictures."""
        return None

    @classmethod
    def wants(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Which arrays of a stored sample it is made from if it is given these options; `arrays` for most."""
        return cls.arrays

    @classmethod
    def largest_crop(cls, shape: Sequence[int], options: Mapping[str, Any]) -> int:
        """The largest `crop` that it can cut from a picture of this shape, (C, H, W), if it is given these options."""
        return min(shape[1:])

    @classmethod
    def held_out(cls, crop: int) -> Mapping[str, Any]:
        """The options that differ for held-out samples, which are to have this `crop` where there is one."""
        return {"crop": crop}

    def to_unit(self, values: Tensor, batch: Batch) -> Tensor:
        """What a network gave for a batch, as values in 0..1 that can be compared with `clean`."""
        return values


class SampleStream(Dataset[Sample]):
    """Sample number i is a function of (seed, i) alone.

    So a resumed run continues with the samples it would have seen, and neither the number of loader processes nor
    the number of training processes changes which samples a step sees.

    Args:
        source: where samples come from.
        seed: of the run.
    """

    def __init__(self, source: PairSource, *, seed: int) -> None:
        self.source = source
        self.seed = seed

    def __getitem__(self, number: int) -> Sample:
        return self.source.draw(generator_for(self.seed, number))


def generator_for(seed: int, number: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for sample `number` of a run, independent of all others."""
    mixed = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
    return torch.Generator(device).manual_seed(mixed)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples -> (B, C, H, W) tensors; optional parts appear only when all samples have them."""
    batch: Batch = {}
    for name in ("noisy", "target", "clean", "level", "mask", "law", "spectrum", "measured", "low"):
        parts = [getattr(sample, name) for sample in samples]
        if all(part is not None for part in parts):
            batch[name] = torch.stack(parts)
    return batch
