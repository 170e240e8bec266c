"""A folder or TFRecord file of pictures -> a store, whole or cut into patches."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError
from shotnoise.store.folders import Failed, Picture, Selection, Unsuited, nothing_usable, read_pictures
from shotnoise.store.tfrecord import TFRECORD_SUFFIXES, read_tfrecord
from shotnoise.store.writer import StoreWriter

__all__ = ["PackReport", "in_train", "pack"]


@dataclass
class PackReport:
    """What packing did.

    Attributes:
        store: the folder that was made.
        pictures: how many pictures went in.
        records: how many samples they became.
        total_bytes: size of all samples.
        converted: pictures that were turned from gray to RGB or from RGB to gray.
        failed: pictures that could not be used, with the reason.
        unsuited: pictures left out because of their size or, where they are not converted, their channels.
        notes: what a user should know about single pictures, one line each.
        splits: number of samples in each group; empty without a split.
    """

    store: Path
    pictures: int = 0
    records: int = 0
    total_bytes: int = 0
    converted: list[str] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    unsuited: list[Unsuited] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "store": str(self.store)}


def pack(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    crop: int | None = None,
    stride: int | None = None,
    min_size: int = 0,
    max_size: int | None = None,
    channels: int = 3,
    convert: bool = True,
    split: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Pack pictures into a store; each sample has one array, "clean": (C, H, W), type as on disk.

    Pictures that cannot be read are reported and left out; the rest goes on. An interrupted pack leaves nothing.

    Args:
        source: folder of pictures, searched with its subfolders; or a file of pictures that ends in .tfrecord or
            .tfrecords.
        store: folder to make.
        crop: cut each picture into square patches of this side; pictures with a shorter side are left out.
        stride: step between patches, the crop by default. The last patch of a row or column lies flush with the
            border, so every pixel is in some patch as long as the stride is not larger than the crop.
        min_size: leave out pictures with a side shorter than this.
        max_size: leave out pictures with a side longer than this; None for any length.
        channels: 3 for RGB, 1 for gray.
        convert: turn pictures of the other kind into gray or RGB; otherwise leave them out.
        split: share of pictures, between 0 and 1, that goes into the group "train"; the others are "val". Decided
            by a hash of the picture's path and the seed: more pictures do not move those that were there, and all
            patches of a picture stay together.
        seed: of the split.
        overwrite: replace an existing store.
        progress: called with (done, total) after each picture.
    """
    if crop is not None and crop < 1:
        raise StoreError(f"crop is {crop}; expected a side in pixels")
    if stride is not None and (crop is None or stride < 1):
        raise StoreError(f"stride is {stride}; expected a step in pixels, together with a crop")
    if split is not None and not 0 < split < 1:
        raise StoreError(f"split is {split}; expected the share of training pictures, between 0 and 1, as in 0.9")
    selection = Selection(channels, max(min_size, crop or 0), max_size, convert)
    made_by = {
        "source": Path(source).name, "crop": crop, "stride": stride, "min_size": min_size,
        "max_size": max_size, "channels": channels, "convert": convert, "split": split, "seed": seed,
    }  # fmt: skip
    is_tfrecord = Path(source).is_file() and Path(source).suffix.lower() in TFRECORD_SUFFIXES
    total, pictures = (read_tfrecord if is_tfrecord else read_pictures)(source, selection)
    report = PackReport(Path(store))
    groups: dict[str, list[str]] = {"train": [], "val": []}
    with StoreWriter(store, made_by=made_by, overwrite=overwrite) as writer:
        for done, picture in enumerate(pictures, 1):
            if isinstance(picture, Failed):
                report.failed.append(picture)
            elif isinstance(picture, Unsuited):
                report.unsuited.append(picture)
            else:
                keys = _add(writer, picture, crop, stride or crop, report)
                if split is not None:
                    groups["train" if in_train(picture.name, split, seed) else "val"].extend(keys)
            if progress:
                progress(done, total)
        if not len(writer):
            raise StoreError(nothing_usable(Path(source), report.failed, report.unsuited))
        if split is not None:
            writer.split(groups)
            report.splits = {name: len(keys) for name, keys in groups.items()}
        report.records, report.total_bytes = len(writer), writer.total_bytes
    return report


def in_train(name: str, share: float, seed: int) -> bool:
    """Whether a picture belongs to the training group: a hash of its name, not its place in a list, decides."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _add(writer: StoreWriter, picture: Picture, crop: int | None, stride: int | None, report: PackReport) -> list[str]:
    """Add a picture or its patches; the keys they got."""
    keys = []
    for suffix, pixels in _patches(picture.pixels, crop, stride):
        keys.append(picture.name + suffix)
        writer.add(keys[-1], {"clean": pixels}, {"picture": picture.name})
    report.pictures += 1
    if picture.converted:
        report.converted.append(picture.name)
    report.notes.extend(f"{picture.name}: {note}" for note in picture.notes)
    return keys


def _patches(pixels: npt.NDArray[Any], crop: int | None, stride: int | None) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """(suffix of the key, window); the suffix names row and column of the top left corner."""
    if crop is None or stride is None:
        yield "", pixels
        return
    rows, columns = (_starts(length, crop, stride) for length in pixels.shape[1:])
    for row in rows:
        for column in columns:
            yield f"#{row},{column}", np.ascontiguousarray(pixels[:, row : row + crop, column : column + crop])


def _starts(length: int, crop: int, stride: int) -> list[int]:
    starts = list(range(0, length - crop + 1, stride))
    if starts[-1] != length - crop:
        starts.append(length - crop)
    return starts
