"""MRI volumes -> a store of slices, as the MRI experiment of Noise2Noise prepares the IXI brains."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError, StoreError, nearest
from shotnoise.images import Image, save_image
from shotnoise.images._disk import make_folder
from shotnoise.mri.pickles import pickle_target, read_pickle, write_pickle
from shotnoise.mri.slices import FIRST, SIDE, STOP, slices_of
from shotnoise.mri.subjects import IXI, Group, ixi_number
from shotnoise.mri.volumes import is_volume, open_volume, volume_stem
from shotnoise.store.selection import Failed
from shotnoise.store.writer import StoreWriter

__all__ = ["VolumeReport", "list_volumes", "pack_volumes"]

_PICKLES = (".pkl", ".pickle")
_BLOCK = 10  # neighbouring slices of a volume that is alone, which a training holds out together
_HUNDRED = 100  # slices of each subject, one after the other, in a published data set

Slice = npt.NDArray[np.uint8]


@dataclass
class VolumeReport:
    """What packing volumes did.

    Attributes:
        store: the folder that was made.
        volumes: how many volumes went in.
        records: how many slices they became.
        empty: how many slices were left out because there is nothing in them.
        total_bytes: size of all slices.
        failed: volumes that could not be used, with the reason.
        notes: what a user should know, one line each.
    """

    store: Path
    volumes: int = 0
    records: int = 0
    empty: int = 0
    total_bytes: int = 0
    failed: list[Failed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "store": str(self.store)}


class _Source(NamedTuple):
    """One volume, or one published data set: its name, and its slices by number, None where they are empty."""

    path: Path
    name: str
    block: int | None  # neighbouring slices that belong together; None: all
    read: Callable[[], Iterator[tuple[int, Slice | None]]]


def list_volumes(place: Path) -> list[Path]:
    """A volume, or those of a folder and its subfolders, sorted by their path; hidden files are left out."""
    if not place.is_dir():
        if place.exists() and not is_volume(place):
            raise StoreError(f"{place}: is no volume; expected .nii or .nii.gz files, or a folder of them")
        if not place.exists():
            raise StoreError(f"{place}: does not exist; expected .nii or .nii.gz files, or a folder of them")
        return [place]
    volumes = sorted(path for path in place.rglob("*") if is_volume(path) and path.name[0] != "." and path.is_file())
    if not volumes:
        raise StoreError(f"{place}: holds no volumes; expected .nii or .nii.gz files")
    return volumes


def pack_volumes(
    source: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    first: int = FIRST,
    stop: int = STOP,
    side: int = SIDE,
    subjects: Group | None = None,
    png: str | os.PathLike[str] | None = None,
    pickle: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> VolumeReport:
    """Pack the slices of volumes into a store; each has an array "clean", (1, side, side) uint8.

    A volume is divided by its maximum; slices along its third axis are centred in a square, and cut down to 8 bits.
    Slices without anything in them are left out. The slices of a volume stay together when a training holds some out;
    of a single volume, blocks of ten do.
    Volumes that cannot be used are reported and left out; the rest goes on. An interrupted pack leaves no store.

    Args:
        source: a volume, a folder of them, or a pickled data set of the published code.
        store: folder to make.
        first: number of the first slice of each volume.
        stop: number of the slice behind the last one.
        side: of the square.
        subjects: of the IXI data set: take the subjects that the published experiment trains on, or those that it
            measures on; those that are not there are counted.
        png: folder for the slices as pictures, STEM_NUMBER.png.
        pickle: file for all slices and their spectra, as the published code reads them.
        overwrite: replace an existing store.
        progress: called with (done, total) after each volume.
    """
    if subjects is not None and subjects not in IXI:
        raise StoreError(f"unknown subjects '{subjects}': {nearest(subjects, IXI)}")
    if pickle is not None:
        pickle_target(pickle)  # a place that cannot be written should stop the first second, not the last
    report = VolumeReport(Path(store))
    sources = _sources(Path(source), first, stop, side, subjects, report)
    made_by = {
        "source": Path(source).name, "first": first, "stop": stop, "side": side, "subjects": subjects, "kind": "mri",
    }  # fmt: skip
    pickled: list[Slice] = []
    with StoreWriter(store, made_by=made_by, overwrite=overwrite) as writer:
        for done, one in enumerate(sources, 1):
            try:
                slices = list(one.read())
            except PictureError as error:
                reason = str(error)
                report.failed.append(Failed(one.name, reason if str(one.path) in reason else f"{one.path}: {reason}"))
            else:
                report.volumes += 1
                for number, counts in slices:
                    if counts is None:
                        report.empty += 1
                        continue
                    key = f"{one.name}_{number:03d}"
                    part = "" if one.block is None else f"_{number // one.block * one.block:03d}"
                    meta = {"picture": one.name + part, "volume": one.name, "slice": number}
                    writer.add(key, {"clean": counts[None]}, meta)
                    pickled += [counts] if pickle is not None else []
                    if png is not None:
                        save_image(Image(counts), make_folder(png) / f"{key}.png")
            if progress:
                progress(done, len(sources))
        if not len(writer):
            why = f" (the first: {report.failed[0].reason})" if report.failed else ": all their slices are empty"
            raise StoreError(f"{source}: none of its volumes can be used{why}")
        if pickle is not None:
            write_pickle(pickle, np.stack(pickled))
        report.records, report.total_bytes = len(writer), writer.total_bytes
    return report


def _sources(
    source: Path, first: int, stop: int, side: int, subjects: Group | None, report: VolumeReport
) -> list[_Source]:
    if source.suffix.lower() in _PICKLES and source.is_file():
        if (first, stop, side, subjects) != (FIRST, STOP, SIDE, None):
            raise StoreError(f"{source}: its slices are chosen already; leave slices, side and subjects out")
        return [_Source(source, source.stem, _HUNDRED, lambda: enumerate(read_pickle(source)))]
    volumes = list_volumes(source)
    if subjects is not None:
        wanted = set(IXI[subjects])
        volumes = [path for path in volumes if ixi_number(volume_stem(path)) in wanted]
        missing = sorted(wanted - {ixi_number(volume_stem(path)) for path in volumes})
        if not volumes:
            raise StoreError(
                f"{source}: holds none of the {len(wanted)} {subjects} subjects; expected names like "
                f"IXI{min(wanted):03d}-Guys-0828-T1.nii.gz"
            )
        if missing:
            names = ", ".join(f"IXI{number:03d}" for number in missing)
            report.notes.append(f"{len(missing)} of the {len(wanted)} {subjects} subjects are not there: {names}")
    stems = [volume_stem(path) for path in volumes]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise StoreError(f"{source}: holds several volumes named {twice}; give each a name of its own")

    def reading(path: Path) -> Callable[[], Iterator[tuple[int, Slice | None]]]:
        return lambda: slices_of(open_volume(path).values, first=first, stop=stop, side=side)

    alone = len(volumes) == 1
    if alone:
        report.notes.append(
            f"one volume: a training holds out blocks of {_BLOCK} of its slices, whose neighbours it has seen"
        )
    block = _BLOCK if alone else None
    return [_Source(path, stem, block, reading(path)) for path, stem in zip(volumes, stems, strict=True)]
