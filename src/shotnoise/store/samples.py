"""One way to open samples, whether they lie in a store, in a folder of pictures or in a TFRecord file."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from shotnoise.errors import StoreError
from shotnoise.store.folders import PictureFolder
from shotnoise.store.reader import Store
from shotnoise.store.record import Record
from shotnoise.store.schema import DATA_FILE
from shotnoise.store.tfrecord import TFRECORD_SUFFIXES, TFRecordPictures

__all__ = ["Samples", "open_samples"]

_LACKS = {
    "clean": "holds no clean pictures; two exposures of each scene are for pairs: {name: noisy-pairs, simulate: false}",
    "noisy": "holds no noisy samples; pack it with `--bake NOISE`, or from a folder with noisy/ and clean/",
    "first": "holds no exposures of the same scene; pack a folder with first/ and second/",
}


class Samples(Protocol):
    """What stores, picture folders and TFRecord files have in common: a sequence of records."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Record: ...

    def __iter__(self) -> Iterator[Record]: ...

    def keys(self) -> tuple[str, ...]:
        """All keys in their order."""
        ...


def open_samples(
    path: str | os.PathLike[str],
    channels: int = 3,
    min_size: int = 0,
    split: str | None = None,
    arrays: Sequence[str] = ("clean",),
) -> Samples:
    """Open a store, or else the pictures of a folder or TFRecord file.

    Args:
        path: a folder made by `shotnoise pack`, any folder with pictures, or a .tfrecords file of pictures.
        channels: of the samples; other pictures are converted, a store must have been packed with as many.
        min_size: shortest side; smaller pictures are left out, a store must not contain any.
        split: only this group of a store's samples, as in "train".
        arrays: what each sample must hold: "clean"; or, of a store or folder of pairs, "noisy" and "clean", or "first"
            and "second", two exposures of one scene.
    """
    path = Path(path)
    if not (path / DATA_FILE).exists():
        if split is not None:
            raise StoreError(
                f"{path}: only a store has splits, this is not one; make it with "
                f"`shotnoise pack {path} STORE --split 0.9`"
            )
        if path.is_file() and path.suffix.lower() in TFRECORD_SUFFIXES:
            if len(arrays) > 1:
                raise StoreError(f"{path}: a TFRecord file holds no pairs; give a folder with noisy/ and clean/")
            return TFRecordPictures(path, channels=channels, min_size=min_size)
        return PictureFolder(path, channels=channels, min_size=min_size, arrays=arrays)
    store = Store(path, split=split)
    missing = [name for name in arrays if name not in store.schema.arrays]
    if missing:
        names = ", ".join(f"'{name}'" for name in store.schema.arrays)
        raise StoreError(f"{path}: {_LACKS.get(missing[0], 'is no store for this')} (its arrays: {names})")
    for name in arrays:
        array = store.schema.arrays[name]
        if len(array.shape) != 3:
            continue
        if array.shape[0] != channels:
            held = array.shape[0] or "a varying number of"
            raise StoreError(
                f"{path}: its array '{name}' has {held} channels, {channels} are needed; "
                f"pack it with `--channels {channels}`"
            )
        if min(array.smallest[1:]) < min_size:
            raise StoreError(
                f"{path}: its array '{name}' goes down to {array.smallest[1]} x {array.smallest[2]}, at least "
                f"{min_size} x {min_size} is needed; pack it with `--min-size {min_size}`"
            )
    return store
