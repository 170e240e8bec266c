"""The training data of the published RAW pipeline (HuiiJi/AISP), to be packed into a store.

Its tool cuts RAW frames into patches, adds noise to each and leaves an LMDB of ``gt_idx_{image}_iso_{iso}`` and
``noisy_idx_{image}_iso_{iso}``. A value is float32, (side, side, 4), planes last, without any header; the planes are
those of an RGGB mosaic, 0..1. A text file beside it lists ``idx_{image}_iso_{iso}`` in the order of making. As the ISO
is drawn anew for each patch and nothing else tells them apart, patches of one image that drew the same ISO have
overwritten each other; the text file still lists them all.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError
from shotnoise.store.reader import open_lmdb
from shotnoise.store.schema import DATA_FILE, SCHEMA_KEY
from shotnoise.store.selection import RAW_PLANES, Failed, Picture, Selection, Unsuited

__all__ = ["is_published", "lost_patches", "read_published"]

_CLEAN, _NOISY = "gt_", "noisy_"
_NAME = re.compile(r"idx_(.+)_iso_(\d+(?:\.\d+)?)")
_LISTS = ("train_data_idx.txt", "valid_data_idx.txt")


def is_published(path: Path) -> bool:
    """Whether a folder holds an LMDB that is not a store of ours."""
    return (path / DATA_FILE).is_file() and open_lmdb(path).get(SCHEMA_KEY) is None


def lost_patches(path: Path) -> int:
    """How many patches the list beside the data names more often than there is data; 0 without a list."""
    for file in (folder / name for folder in (path, path.parent) for name in _LISTS):
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").split()
            return len(lines) - len(set(lines))
    return 0


def read_published(path: Path, selection: Selection) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """The number of patches, and the patches one by one; each knows the image it was cut from."""
    if selection.channels != RAW_PLANES:
        raise StoreError(f"{path}: holds RAW patches of four planes, not {selection.channels}; give `--channels 4`")
    environment = open_lmdb(path)
    keys = environment.keys()
    names = [key.removeprefix(_CLEAN) for key in keys if key.startswith(_CLEAN)]
    if not any(_NAME.fullmatch(name) for name in names):
        raise StoreError(
            f"{path}: is neither a store nor training data of the published RAW pipeline, whose keys begin with "
            f"'{_CLEAN}idx_'; give a folder of pictures"
        )

    def value(key: str) -> npt.NDArray[np.float32]:
        content = environment.get(key.encode())
        if content is None:
            raise StoreError(f"there is no '{key}'")
        side = math.isqrt(len(content) // (4 * RAW_PLANES))
        if side == 0 or 4 * RAW_PLANES * side * side != len(content):
            raise StoreError(f"'{key}' has {len(content)} bytes, which is no square of four float32 planes")
        patch = np.frombuffer(content, "<f4").reshape(side, side, RAW_PLANES)
        if not np.isfinite(patch).all():
            raise StoreError(f"'{key}' has values that are not finite")
        return np.ascontiguousarray(patch.transpose(2, 0, 1), np.float32)

    def read(name: str) -> Picture | Unsuited | Failed:
        match = _NAME.fullmatch(name)
        try:
            if match is None:
                raise StoreError(f"'{_CLEAN}{name}' does not tell image and ISO")
            clean, noisy = value(_CLEAN + name), value(_NOISY + name)
            if clean.shape != noisy.shape:
                raise StoreError(f"'{name}' has patches of different sizes")
        except StoreError as error:
            return Failed(name, f"{path}: {error}")
        problem = selection.problem(clean.shape[1], clean.shape[2], RAW_PLANES)
        if problem:
            return Unsuited(name, problem)
        return Picture(name, clean, meta={"noise": {"iso": float(match[2])}}, noisy=noisy, cut_from=f"image {match[1]}")

    return len(names), map(read, names)
