"""Pictures of a folder as samples: what a store holds, without packing it first."""

import logging
import os
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path

from shotnoise.errors import PictureError, StoreError
from shotnoise.images import list_pictures, open_image
from shotnoise.store.pair_folders import read_pairs
from shotnoise.store.raw import Prefilter, holds_raws, list_raws, read_raw
from shotnoise.store.record import Record, encoded_key
from shotnoise.store.selection import RAW_PLANES, Failed, Picture, Selection, Unsuited, nothing_usable, planes

__all__ = ["PictureFolder", "read_pictures"]

log = logging.getLogger(__name__)

_BUDGET = 2 * 2**30


def read_pictures(
    folder: str | os.PathLike[str],
    selection: Selection,
    prefilter: Prefilter | None = None,
    done: Container[str] = (),
) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """The number of pictures in a folder, and the pictures one by one, sorted by their path below it.

    One that cannot be read is yielded as :class:`Failed`, so that it does not stop the rest. Four channels are camera
    RAW, one or three are pictures; the files of the other kind are not looked at. What `prefilter` does to RAW, see
    :func:`shotnoise.store.raw.read_raw`. Those whose names are `done` count, and are passed over.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise StoreError(f"{folder}: {what}; expected a folder of pictures or a .tfrecords file")
    if selection.channels == RAW_PLANES:
        raws = [(path, path.relative_to(folder).as_posix()) for path in list_raws(folder)]
        return len(raws), (read_raw(path, name, selection, prefilter) for path, name in raws if name not in done)
    paths = [(path, path.relative_to(folder).as_posix()) for path in _list_pictures(folder)]
    return len(paths), (_read(path, name, selection) for path, name in paths if name not in done)


def _list_pictures(folder: Path) -> list[Path]:
    try:
        return list_pictures(folder)
    except PictureError:
        if not holds_raws(folder):
            raise
        raise StoreError(
            f"{folder}: holds camera RAW and no pictures; RAW has four channels: give `--channels 4`"
        ) from None


def _read(path: Path, name: str, selection: Selection) -> Picture | Unsuited | Failed:
    try:
        encoded_key(name)
        image = open_image(path)
    except (StoreError, PictureError) as error:
        return Failed(name.encode(errors="backslashreplace").decode(), str(error))
    problem = selection.problem(image.height, image.width, image.channels)
    if problem:
        return Unsuited(name, problem)
    return Picture(name, planes(image.pixels, selection.channels), selection.converted(image.channels), image.notes)


class PictureFolder:
    """The pictures of a folder, decoded once into memory, with the reading interface of a store.

    Every record has one array, "clean": (C, H, W) in the type the picture had on disk; of camera RAW the planes that
    :func:`shotnoise.store.raw_planes` makes. A folder of pairs has two if they are asked for. Broken pictures are
    logged as warnings, listed in `failed` and left out.

    Args:
        path: the folder; searched with its subfolders.
        channels: 3 for RGB, 1 for gray, other pictures being converted by the rule of :func:`planes`; 4 for RAW.
        min_size: leave out pictures with a side shorter than this.
        max_size: leave out pictures with a side longer than this; None for any length.
        budget: bytes of memory that the decoded pictures may take.
        progress: called with (done, total) after each picture.
        arrays: "noisy" and "clean", or "first" and "second", if the folder is one of pairs, as
            :func:`shotnoise.store.pair_folders.find_pairs` knows them.

    Attributes:
        failed: pictures that could not be used, with the reason.
        unsuited: pictures left out because of `min_size` or `max_size`.
        converted: how many pictures were turned from gray to RGB or from RGB to gray.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        channels: int = 3,
        min_size: int = 0,
        max_size: int | None = None,
        budget: int = _BUDGET,
        progress: Callable[[int, int], None] | None = None,
        arrays: Sequence[str] = ("clean",),
    ) -> None:
        self.path = Path(path)
        self.failed: list[Failed] = []
        self.unsuited: list[Unsuited] = []
        self.converted = 0
        self._records: list[Record] = []
        used = 0
        selection = Selection(channels, min_size, max_size)
        total, pictures = (
            read_pictures(self.path, selection) if len(arrays) == 1 else read_pairs(self.path, arrays, selection)
        )
        for done, picture in enumerate(pictures, 1):
            if isinstance(picture, Failed):
                log.warning("left out: %s", picture.reason)
                self.failed.append(picture)
            elif isinstance(picture, Unsuited):
                self.unsuited.append(picture)
            else:
                self.converted += bool(picture.converted)
                used += sum(array.nbytes for array in picture.arrays.values())
                if used > budget:
                    kind = "" if channels == 3 else f" --channels {channels}"
                    raise StoreError(
                        f"{self.path}: its pictures take more than {budget / 2**30:.3g} GiB of memory ({done} of "
                        f"{total} decoded); pack the folder first with `shotnoise pack {self.path} STORE{kind}`"
                    )
                for array in picture.arrays.values():
                    array.flags.writeable = False  # as in a store: samples are shared, not owned
                meta = {"picture": picture.whole, **picture.meta}
                self._records.append(Record(picture.name, picture.arrays, meta))
            if progress:
                progress(done, total)
        if not self._records:
            raise StoreError(nothing_usable(self.path, self.failed, self.unsuited))
        if 0 < self.converted < len(self._records):
            log.warning(
                "%s: gray and RGB pictures are mixed; %d of %d were converted to %s",
                self.path,
                self.converted,
                len(self._records),
                "RGB" if channels == 3 else "gray",
            )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def keys(self) -> tuple[str, ...]:
        """The paths of the pictures below the folder, in their order."""
        return tuple(record.key for record in self._records)
