"""Pictures, pairs of them or camera RAW, in a folder or another program's file -> a store, whole or as patches."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError, nearest
from shotnoise.images.resize import resize_bicubic
from shotnoise.sensor.patches import patch_is_clean
from shotnoise.store.folders import read_pictures
from shotnoise.store.pair_folders import find_pairs, read_pairs
from shotnoise.store.published import is_published, lost_patches, read_published
from shotnoise.store.raw import PREFILTERS, Prefilter, list_bursts, read_burst
from shotnoise.store.schema import DATA_FILE
from shotnoise.store.selection import NOISY_CLEAN, RAW_PLANES, Failed, Picture, Selection, Unsuited, nothing_usable
from shotnoise.store.sidd import MAT_SUFFIX, has_truth, read_blocks
from shotnoise.store.tfrecord import TFRECORD_SUFFIXES, read_tfrecord
from shotnoise.store.writer import StoreWriter

if TYPE_CHECKING:
    from shotnoise.store.baking import Baker

__all__ = ["PackReport", "in_train", "pack"]

Window = tuple[slice, slice, slice]


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
    crops: int | None = None,
    low: int | None = None,
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
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Pack pictures into a store; each sample has an array "clean": (C, H, W), type as on disk.

    A folder of pairs (see :mod:`shotnoise.store.pair_folders`) and a pair of .mat files of SIDD give "noisy" as well,
    or "first" and "second" of two exposures.

    Camera RAW becomes float32 planes, as :func:`shotnoise.store.raw_planes` makes them, with ISO, levels and the like
    in its meta; all sides are then counted in a plane, which is half of the mosaic. Pictures that cannot be read are
    reported and left out; the rest goes on. An interrupted pack leaves nothing.

    Args:
        source: folder of pictures or RAW files, searched with its subfolders; folder of pairs of pictures; a file of
            pictures that ends in .tfrecord or .tfrecords; ValidationNoisyBlocksSrgb.mat of SIDD; or the training data
            of the published RAW pipeline, a folder with an LMDB of its making, whose noisy patches come along as an
            array "noisy".
        store: folder to make.
        crop: cut each picture into square patches of this side; pictures with a shorter side are left out.
        stride: step between patches, the crop by default. The last patch of a row or column lies flush with the
            border, so every pixel is in some patch as long as the stride is not larger than the crop.
        crops: instead of a grid, so many patches per picture at random places, all different; fewer where a picture
            has fewer. They depend on the seed and the picture's name alone.
        low: add an array "low", the clean pixels of the sample at this fraction of the resolution, as in 4 for a
            quarter (:func:`shotnoise.images.resize.resize_bicubic`), rounded and clipped to the type that "clean" has;
            floats are neither.
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
        seed: of the split, of random patches and of baked noise.
        overwrite: replace an existing store.
        resume: keep what is done when interrupted, in a hidden folder beside the store, and go on from there. Finished
            pictures of folders are not even read again; the options must be the same.
        progress: called with (done, total) after each picture.
    """
    if crop is not None and crop < 1:
        raise StoreError(f"crop is {crop}; expected a side in pixels")
    if stride is not None and (crop is None or stride < 1):
        raise StoreError(f"stride is {stride}; expected a step in pixels, together with a crop")
    if crops is not None and (crop is None or stride is not None or crops < 1):
        raise StoreError(
            f"crops is {crops}; expected a number of patches per picture, with a crop and without a stride"
        )
    if low is not None and (low < 2 or channels == RAW_PLANES or (crop or 0) % low):
        raise StoreError(
            f"low is {low}; expected a whole number from 2 on, for pictures and not for RAW, that the crop ({crop}) is "
            "a multiple of"
        )
    if split is not None and not 0 < split < 1:
        raise StoreError(f"split is {split}; expected the share of training pictures, between 0 and 1, as in 0.9")
    if channels != RAW_PLANES and (average or prefilter):
        raise StoreError(f"average and prefilter are for camera RAW, which has 4 channels, not {channels}")
    if prefilter is not None and prefilter not in PREFILTERS:
        raise StoreError(f"unknown prefilter '{prefilter}': {nearest(prefilter, PREFILTERS)}")
    selection = Selection(channels, max(min_size, crop or 0), max_size, convert)
    made_by = {
        "source": Path(source).name, "crop": crop, "stride": stride, "crops": crops, "low": low, "min_size": min_size,
        "max_size": max_size, "channels": channels, "convert": convert, "average": average, "prefilter": prefilter,
        "bake": None if bake is None else dict(bake), "split": split, "seed": seed,
    }  # fmt: skip
    report = PackReport(Path(store))
    baker = None
    if bake is not None:
        from shotnoise.store.baking import Baker  # which imports torch

        baker = Baker(bake, seed)
    known: set[str] = set()
    groups: dict[str, list[str]] = {"train": [], "val": []}
    rejected: Counter[str] | None = None if prefilter is None else Counter()
    with StoreWriter(store, made_by=made_by, overwrite=overwrite, resume=resume) as writer:
        total, pictures = _read(Path(source), selection, average, prefilter, report, frozenset(writer.done))
        for done, picture in enumerate(pictures, 1 + len(writer.done)):
            if isinstance(picture, Failed):
                report.failed.append(picture)
            elif isinstance(picture, Unsuited):
                report.unsuited.append(picture)
            else:
                windows = _windows(picture.pixels.shape[1:], crop, stride or crop)
                if crop is not None and crops is not None:
                    windows = _random_windows(picture.pixels.shape[1:], crop, crops, f"{seed}:{picture.name}")
                judged: Counter[str] | None = None if prefilter is None else Counter()
                keys = _add(writer, picture, windows, low, baker, judged)
                writer.finished(
                    picture.name,
                    {
                        "keys": keys,
                        "picture": picture.whole,
                        "converted": bool(picture.converted),
                        "notes": list(picture.notes),
                        "rejected": dict(judged or {}),
                    },
                )
            if progress:
                progress(done, total)
        for name, facts in writer.done.items():
            known.add(facts["picture"])
            report.converted += [name] if facts["converted"] else []
            report.notes += [f"{name}: {note}" for note in facts["notes"]]
            if rejected is not None:
                rejected.update(facts["rejected"])
            if split is not None:
                groups["train" if in_train(facts["picture"], split, seed) else "val"].extend(facts["keys"])
        if not len(writer):
            raise StoreError(nothing_usable(Path(source), report.failed, report.unsuited, rejected))
        if split is not None:
            writer.split(groups)
            report.splits = {name: len(keys) for name, keys in groups.items()}
        report.rejected = {reason: count for reason, count in (rejected or {}).items() if reason != "kept"}
        report.pictures, report.records, report.total_bytes = len(known), len(writer), writer.total_bytes
    return report


def in_train(name: str, share: float, seed: int) -> bool:
    """Whether a picture belongs to the training group: a hash of its name, not its place in a list, decides."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _read(
    source: Path,
    selection: Selection,
    average: bool,
    prefilter: Prefilter | None,
    report: PackReport,
    done: Container[str],
) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """How many pictures a source has, and those that are not done."""
    if source.is_dir() and not (source / DATA_FILE).is_file() and not average:
        pairs = None if selection.channels == RAW_PLANES else find_pairs(source)
        if pairs is not None:
            report.notes.append(f"{source}: packed as pairs, {' and '.join(pairs.arrays)}")
            return read_pairs(source, pairs.arrays, selection, done)
        return read_pictures(source, selection, prefilter, done)
    total, pictures = _read_all(source, selection, average, prefilter, report)
    return total, (picture for picture in pictures if picture.name not in done)


def _read_all(
    source: Path, selection: Selection, average: bool, prefilter: Prefilter | None, report: PackReport
) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """The same of sources that are read from one end to the other."""
    if source.is_dir() and not (source / DATA_FILE).is_file():
        bursts = list_bursts(source)
        return len(bursts), (read_burst(paths, name, selection) for name, paths in bursts)
    if average or prefilter:
        raise StoreError(f"{source}: average and prefilter need a folder of RAW files")
    if source.is_file() and source.suffix.lower() in TFRECORD_SUFFIXES:
        return read_tfrecord(source, selection)
    if source.is_file() and source.suffix.lower() == MAT_SUFFIX:
        if not has_truth(source):
            raise StoreError(
                f"{source}: has no clean blocks beside it, as in ValidationGtBlocksSrgb.mat; `shotnoise unpack` writes "
                "its noisy ones as pictures"
            )
        return read_blocks(source, selection)
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
    windows: Iterable[tuple[str, Window]],
    low: int | None,
    baker: "Baker | None",
    judged: Counter[str] | None,
) -> list[str]:
    """Add a picture or its patches, those that are clean if it is counted why not; the keys they got."""
    keys = []
    meta = {"picture": picture.whole, **picture.meta}
    if baker is not None and picture.noisy is not None:
        raise StoreError(f"{picture.name}: has a noisy version already; leave out bake")
    if low is not None and picture.names != NOISY_CLEAN:
        raise StoreError(f"{picture.name}: is two exposures, without a clean picture to make smaller; leave out low")
    for suffix, window in windows:
        key = picture.name + suffix
        arrays = {name: np.ascontiguousarray(array[window]) for name, array in picture.arrays.items()}
        if judged is not None and not patch_is_clean(arrays["clean"], counts=judged):
            continue
        facts: dict[str, Any] = {}
        if baker is not None:
            arrays["noisy"], facts = baker(key, arrays["clean"])
        if low is not None:
            arrays["low"] = _smaller(arrays["clean"], low)
        writer.add(key, arrays, meta | ({"noise": facts} if facts else {}))
        keys.append(key)
    return keys


def _smaller(clean: npt.NDArray[Any], low: int) -> npt.NDArray[Any]:
    small = resize_bicubic(clean.transpose(1, 2, 0), 1 / low).transpose(2, 0, 1)
    if clean.dtype.kind == "u":
        small = np.clip(np.rint(small), 0, np.iinfo(clean.dtype).max)
    return np.ascontiguousarray(small, clean.dtype)


def _random_windows(size: tuple[int, ...], crop: int, count: int, seed: str) -> Iterator[tuple[str, Window]]:
    """Different places, in a random order that the seed decides."""
    rows, columns = (length - crop + 1 for length in size)
    generator = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
    for place in generator.choice(rows * columns, min(count, rows * columns), replace=False).tolist():
        yield _window(place // columns, place % columns, crop)


def _windows(size: tuple[int, ...], crop: int | None, stride: int | None) -> Iterator[tuple[str, Window]]:
    """(suffix of the key, window); the suffix names row and column of the top left corner."""
    if crop is None or stride is None:
        yield "", (slice(None), slice(None), slice(None))
        return
    rows, columns = (_starts(length, crop, stride) for length in size)
    for row in rows:
        for column in columns:
            yield _window(row, column, crop)


def _window(row: int, column: int, crop: int) -> tuple[str, Window]:
    return f"#{row},{column}", (slice(None), slice(row, row + crop), slice(column, column + crop))


def _starts(length: int, crop: int, stride: int) -> list[int]:
    starts = list(range(0, length - crop + 1, stride))
    if starts[-1] != length - crop:
        starts.append(length - crop)
    return starts
