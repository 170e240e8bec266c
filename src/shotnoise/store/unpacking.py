"""A store, or the blocks of a SIDD file -> folders of pictures, for eyes and for programs that read nothing else."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError
from shotnoise.images import READABLE, save_image
from shotnoise.store.reader import Store
from shotnoise.store.selection import Picture
from shotnoise.store.sidd import MAT_SUFFIX, read_blocks

__all__ = ["unpack"]

_WINDOW = re.compile(r"#(\d+),(\d+)$")

Array = npt.NDArray[Any]


def unpack(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write each array of a store as pictures into a folder of its name, as in noisy/ and clean/.

    Integers become PNG files, floats TIFF files, both without any loss. A picture is called after its sample; the patch
    `a/b.png#64,128` becomes `a/b_64_128.png`.

    Args:
        source: a store of pictures; or ValidationNoisyBlocksSrgb.mat or BenchmarkNoisyBlocksSrgb.mat of SIDD, the
            latter having noisy blocks alone.
        folder: folder to make; an empty one will do.
        overwrite: write into one that is not empty, replacing pictures of the same names.
        progress: called with (done, total) after each sample.

    Returns:
        How many pictures are in each of the folders.

    Raises:
        StoreError: the source cannot be read or holds no pictures, or the folder is not empty.
    """
    source, folder = Path(source), Path(folder)
    total, samples = _open(source)
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file; expected a folder to make")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise StoreError(f"{folder}: is not empty; choose another folder or ask to overwrite what is there")
    used: set[str] = set()
    counts: dict[str, int] = {}
    for done, (key, arrays) in enumerate(samples, 1):
        name = _file_name(key, used)
        for kind, array in arrays.items():
            _save(array, folder / kind / name)
            counts[kind] = counts.get(kind, 0) + 1
        if progress:
            progress(done, total)
    return counts


def _open(source: Path) -> tuple[int, Iterator[tuple[str, Mapping[str, Array]]]]:
    """The number of samples, and their keys and arrays."""
    if source.suffix.lower() == MAT_SUFFIX:
        total, blocks = read_blocks(source)
        return total, ((block.name, block.arrays) for block in blocks if isinstance(block, Picture))
    store = Store(source)
    for name, array in store.schema.arrays.items():
        if len(array.shape) != 3 or array.shape[0] not in (1, 3) or not name.isidentifier():
            raise StoreError(
                f"{source}: its array {name!r} is {' x '.join(str(n or '?') for n in array.shape)}; expected pictures "
                "of 3 channels or 1, as only these can be written as such"
            )
    return len(store), ((record.key, record.arrays) for record in store)


def _file_name(key: str, used: set[str]) -> str:
    """A path below the folder, without extension, that no other sample has; never one that leads out of it."""
    window = _WINDOW.search(key)
    whole = key[: window.start()] if window else key
    stem, extension = os.path.splitext(whole)
    place = f"_{window[1]}_{window[2]}" if window else ""
    for name in (stem + place if extension.lower() in READABLE else whole + place, whole + place):
        if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or ":" in name:
            raise StoreError(f"the sample {key!r} has no name that a file could have; pack it again from renamed files")
        if name not in used:
            used.add(name)
            return name
    raise StoreError(f"the sample {key!r} would get the file name of another one; pack it again from renamed files")


def _save(array: Array, path: Path) -> None:
    pixels = array[0] if len(array) == 1 else array.transpose(1, 2, 0)
    is_integer = array.dtype in (np.uint8, np.uint16)
    path = path.with_name(path.name + (".png" if is_integer else ".tif"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be made ({error.strerror}); choose another place") from None
    save_image(np.ascontiguousarray(pixels if is_integer else pixels.astype(np.float32)), path)
