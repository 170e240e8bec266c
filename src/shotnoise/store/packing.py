"""Pictures or camera RAW, in a folder or another program's file -> a store, whole or cut into patches."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shotnoise.errors import StoreError, nearest
from shotnoise.sensor.patches import patch_is_clean
from shotnoise.store.folders import read_pictures
from shotnoise.store.published import is_published, lost_patches, read_published
from shotnoise.store.raw import PREFILTERS, Prefilter, list_bursts, read_burst
from shotnoise.store.schema import DATA_FILE
from shotnoise.store.selection import RAW_PLANES, Failed, Picture, Selection, Unsuited, nothing_usable
from shotnoise.store.tfrecord import TFRECORD_SUFFIXES, read_tfrecord
from shotnoise.store.writer import StoreWriter

if TYPE_CHECKING:
    from shotnoise.store.baking import Baker

__all__ = ["PackReport", "in_train", "pack"]


@dataclass
class PackReport:
    """What packing did.

    Attributes:
        store: the folder that was made.
        pictures: how many pictures went in; of patches, from how many they were cut.
        records: how many samples they became.
        total_bytes: size of all samples.
        converted: pictures that were turned from gray to RGB or from RGB to gray.
        failed: pictures that could not be used, with the reason.
        unsuited: pictures left out because of their size or, where they are not converted, their channels.
        notes: what a user should know about the source or single pictures, one line each.
        rejected: how many patches `prefilter` has left out, by reason.
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
    rejected: dict[str, int] = field(default_factory=dict)
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
    average: bool = False,
    prefilter: Prefilter | None = None,
    bake: Mapping[str, Any] | None = None,
    split: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Pack pictures into a store; each sample has an array "clean": (C, H, W), type as on disk.

    Camera RAW becomes float32 planes, as :func:`shotnoise.store.raw_planes` makes them, with ISO, levels and the like
    in its meta; all sides are then counted in a plane, which is half of the mosaic. Pictures that cannot be read are
    reported and left out; the rest goes on. An interrupted pack leaves nothing.

    Args:
        source: folder of pictures or RAW files, searched with its subfolders; a file of pictures that ends in
            .tfrecord or .tfrecords; or the training data of the published RAW pipeline, a folder with an LMDB of its
            making, whose noisy patches come along as an array "noisy".
        store: folder to make.
        crop: cut each picture into square patches of this side; pictures with a shorter side are left out.
        stride: step between patches, the crop by default. The last patch of a row or column lies flush with the
            border, so every pixel is in some patch as long as the stride is not larger than the crop.
        min_size: leave out pictures with a side shorter than this.
        max_size: leave out pictures with a side longer than this; None for any length.
        channels: 3 for RGB, 1 for gray, 4 for camera RAW.
        convert: turn pictures of the other kind into gray or RGB; otherwise leave them out.
        average: the RAW files of a folder are exposures of one scene, and their average becomes one sample.
        prefilter: what is done to RAW files, as :func:`shotnoise.store.raw.read_raw` knows it, before patches that are
            too noisy, saturated or flat to learn from are left out. An average is not filtered again.
        bake: name and options of a noise model, as in a recipe, that makes an array "noisy", float32 in 0..1, with a
            strength drawn for each patch. Trainings draw noise of their own, fresh for every sample; baking it is for
            those that must not.
        split: share of pictures, between 0 and 1, that goes into the group "train"; the others are "val". Decided
            by a hash of the picture's path and the seed: more pictures do not move those that were there, and all
            patches of a picture stay together.
        seed: of the split and of baked noise.
        overwrite: replace an existing store.
        progress: called with (done, total) after each picture.
    """
    if crop is not None and crop < 1:
        raise StoreError(f"crop is {crop}; expected a side in pixels")
    if stride is not None and (crop is None or stride < 1):
        raise StoreError(f"stride is {stride}; expected a step in pixels, together with a crop")
    if split is not None and not 0 < split < 1:
        raise StoreError(f"split is {split}; expected the share of training pictures, between 0 and 1, as in 0.9")
    if channels != RAW_PLANES and (average or prefilter):
        raise StoreError(f"average and prefilter are for camera RAW, which has 4 channels, not {channels}")
    if prefilter is not None and prefilter not in PREFILTERS:
        raise StoreError(f"unknown prefilter '{prefilter}': {nearest(prefilter, PREFILTERS)}")
    selection = Selection(channels, max(min_size, crop or 0), max_size, convert)
    made_by = {
        "source": Path(source).name, "crop": crop, "stride": stride, "min_size": min_size,
        "max_size": max_size, "channels": channels, "convert": convert, "average": average, "prefilter": prefilter,
        "bake": None if bake is None else dict(bake), "split": split, "seed": seed,
    }  # fmt: skip
    report = PackReport(Path(store))
    total, pictures = _read(Path(source), selection, average, prefilter, report)
    baker = None
    if bake is not None:
        from shotnoise.store.baking import Baker  # which imports torch

        baker = Baker(bake, seed)
    judged: Counter[str] | None = None if prefilter is None else Counter()
    known: set[str] = set()
    groups: dict[str, list[str]] = {"train": [], "val": []}
    with StoreWriter(store, made_by=made_by, overwrite=overwrite) as writer:
        for done, picture in enumerate(pictures, 1):
            if isinstance(picture, Failed):
                report.failed.append(picture)
            elif isinstance(picture, Unsuited):
                report.unsuited.append(picture)
            else:
                known.add(picture.whole)
                report.converted += [picture.name] if picture.converted else []
                report.notes += [f"{picture.name}: {note}" for note in picture.notes]
                keys = _add(writer, picture, crop, stride or crop, baker, judged)
                if split is not None:
                    groups["train" if in_train(picture.whole, split, seed) else "val"].extend(keys)
            if progress:
                progress(done, total)
        if not len(writer):
            raise StoreError(nothing_usable(Path(source), report.failed, report.unsuited, judged))
        if split is not None:
            writer.split(groups)
            report.splits = {name: len(keys) for name, keys in groups.items()}
        report.rejected = {reason: count for reason, count in (judged or {}).items() if reason != "kept"}
        report.pictures, report.records, report.total_bytes = len(known), len(writer), writer.total_bytes
    return report


def in_train(name: str, share: float, seed: int) -> bool:
    """Whether a picture belongs to the training group: a hash of its name, not its place in a list, decides."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _read(
    source: Path, selection: Selection, average: bool, prefilter: Prefilter | None, report: PackReport
) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """How many pictures a source has, and the pictures."""
    if source.is_dir() and not (source / DATA_FILE).is_file():
        if average:
            bursts = list_bursts(source)
            return len(bursts), (read_burst(paths, name, selection) for name, paths in bursts)
        return read_pictures(source, selection, prefilter)
    if average or prefilter:
        raise StoreError(f"{source}: average and prefilter need a folder of RAW files")
    if source.is_file() and source.suffix.lower() in TFRECORD_SUFFIXES:
        return read_tfrecord(source, selection)
    if not (source / DATA_FILE).is_file():
        return read_pictures(source, selection)
    if not is_published(source):
        raise StoreError(f"{source}: is a store already; give the pictures that it was made from")
    lost = lost_patches(source)
    if lost:
        report.notes.append(f"{source}: {lost} patches had the name of an earlier one, which they have overwritten")
    return read_published(source, selection)


def _add(
    writer: StoreWriter,
    picture: Picture,
    crop: int | None,
    stride: int | None,
    baker: "Baker | None",
    judged: Counter[str] | None,
) -> list[str]:
    """Add a picture or its patches, those that are clean if it is counted why not; the keys they got."""
    keys = []
    meta = {"picture": picture.whole, **picture.meta}
    if baker is not None and picture.noisy is not None:
        raise StoreError(f"{picture.name}: has a noisy version already; leave out bake")
    for suffix, window in _windows(picture.pixels.shape[1:], crop, stride):
        key = picture.name + suffix
        arrays = {"clean": np.ascontiguousarray(picture.pixels[window])}
        if judged is not None and not patch_is_clean(arrays["clean"], counts=judged):
            continue
        facts: dict[str, Any] = {}
        if picture.noisy is not None:
            arrays["noisy"] = np.ascontiguousarray(picture.noisy[window])
        elif baker is not None:
            arrays["noisy"], facts = baker(key, arrays["clean"])
        writer.add(key, arrays, meta | ({"noise": facts} if facts else {}))
        keys.append(key)
    return keys


def _windows(
    size: tuple[int, ...], crop: int | None, stride: int | None
) -> Iterator[tuple[str, tuple[slice, slice, slice]]]:
    """(suffix of the key, window); the suffix names row and column of the top left corner."""
    if crop is None or stride is None:
        yield "", (slice(None), slice(None), slice(None))
        return
    rows, columns = (_starts(length, crop, stride) for length in size)
    for row in rows:
        for column in columns:
            yield f"#{row},{column}", (slice(None), slice(row, row + crop), slice(column, column + crop))


def _starts(length: int, crop: int, stride: int) -> list[int]:
    starts = list(range(0, length - crop + 1, stride))
    if starts[-1] != length - crop:
        starts.append(length - crop)
    return starts
