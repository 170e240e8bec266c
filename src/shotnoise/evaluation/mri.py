"""Protocols for MRI: slices of which a part of k-space is taken for measured."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError, StoreError
from shotnoise.evaluation.protocol import Protocol, Trial
from shotnoise.mri import density, odd, open_volume, slices_of, to_signal, undersample, with_measured
from shotnoise.mri.kspace import EDGE
from shotnoise.mri.slices import FIRST, SIDE, STOP
from shotnoise.store.reader import Store
from shotnoise.store.schema import DATA_FILE
from shotnoise.store.volumes import list_volumes

__all__ = ["KSpaceProtocol", "rows"]

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class KSpaceProtocol(Protocol):
    """Slices under-sampled in k-space, as Noise2Noise validates.

    A slice, 8-bit counts / 255 - 0.5, is cut to odd sides. The generator draws one uniform number for each frequency,
    row after row, which decide what is measured as in :func:`shotnoise.mri.kept`; the image that this gives, float32
    and not clipped, is what the model sees, continued with black to its size multiple. With `put_back` the measured
    frequencies then replace those of its result. Result and slice are limited to -0.5..0.5 and compared with a data
    range of 1, which is the clamped dB of the published code; the noisy dB is that of the image the model sees,
    limited likewise. The published mask is drawn anew in every epoch and never seeded, so its numbers vary.

    The data is a store of `shotnoise pack-mri`, of which all slices are measured, or volumes, of which the slices of
    the published selection are.

    Attributes:
        edge: probability of a frequency in the middle of the left and right edge of k-space.
        put_back: whether the measured frequencies replace those of the result.
    """

    edge: float = EDGE
    put_back: bool = True

    def find(self, data: Path) -> tuple[Path, list[Path]]:
        """The slices of a store as STORE/NAME, those of volumes as VOLUME/NUMBER."""
        if (data / DATA_FILE).exists():
            return data, [data / key for key in _opened(data).keys()]  # noqa: SIM118  # a store is no mapping
        volumes = list_volumes(data)
        found = [volume / f"{number:03d}" for volume in volumes for number in range(FIRST, STOP)]
        return data if data.is_dir() else data.parent, found

    def trial(self, path: Path, channels: int, generator: np.random.RandomState) -> Trial:
        """One slice with a mask of its own."""
        counts = _stored(path) if (path.parent / DATA_FILE).exists() else _of_volume(path)
        clean = to_signal(odd(counts))
        height, width = clean.shape
        probability = density(height, width, self.edge)
        made = undersample(clean, generator.uniform(size=clean.shape), probability)

        def finished(values: Values) -> Values:
            if not self.put_back:
                return values
            return with_measured(values[0], made.spectrum, made.measured).astype(np.float32)[None]

        def judged(values: Values) -> Values:
            return np.clip(values, -0.5, 0.5).transpose(1, 2, 0)

        def seen(values: Values) -> npt.NDArray[np.uint8]:
            counts: npt.NDArray[np.uint8] = np.rint(255 * (np.clip(values[0], -0.5, 0.5) + 0.5)).astype(np.uint8)
            return counts

        return Trial(made.noisy[None], None, clean[:, :, None], 1.0, judged, seen, finished=finished)

    def refusal(self, kind: str, level: str) -> str | None:
        """Only MRI models see slices."""
        if kind != "mri":
            return f"is for {kind} data, and '{self.name}' measures on MRI slices; choose a protocol for {kind} data"
        return None


@functools.lru_cache(maxsize=1)
def _opened(store: Path) -> Store:
    held = Store(store)
    array = held.schema.arrays.get("clean")
    if array is None or array.shape[0] != 1 or array.dtypes != ("uint8",):
        raise StoreError(f"{store}: holds no slices; make it with `shotnoise pack-mri`")
    return held


@functools.lru_cache(maxsize=2)
def _numbers(store: Path) -> dict[str, int]:
    return {key: index for index, key in enumerate(_opened(store).keys())}


def _stored(path: Path) -> npt.NDArray[np.uint8]:
    counts: npt.NDArray[np.uint8] = _opened(path.parent)[_numbers(path.parent)[path.name]].arrays["clean"][0]
    return counts


@functools.lru_cache(maxsize=1)
def _volume(path: Path) -> dict[int, npt.NDArray[np.uint8] | None]:
    return dict(slices_of(open_volume(path).values, first=FIRST, stop=STOP, side=SIDE))


def _of_volume(path: Path) -> npt.NDArray[np.uint8]:
    counts = _volume(path.parent)[int(path.name)]
    if counts is None:
        raise PictureError(f"{path}: there is nothing in this slice")
    return counts


def rows() -> list[KSpaceProtocol]:
    """With what was measured put back, and the network alone."""
    return [
        KSpaceProtocol(name="mri/kspace", data_set="mri", pictures=None),
        KSpaceProtocol(name="mri/kspace-alone", data_set="mri", pictures=None, put_back=False),
    ]
