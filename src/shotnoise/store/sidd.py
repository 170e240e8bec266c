"""Blocks of the SIDD validation and benchmark sets, as published: .mat files of (images, blocks, height, width, 3).

`ValidationNoisyBlocksSrgb.mat` and `ValidationGtBlocksSrgb.mat` belong together; the benchmark has no ground truth.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError
from shotnoise.store.matlab import mat_names, read_mat
from shotnoise.store.selection import NOISY_CLEAN, RAW_PLANES, Failed, Picture, Selection, Unsuited, planes

__all__ = ["MAT_SUFFIX", "has_truth", "read_blocks"]

MAT_SUFFIX = ".mat"

_AXES = 5  # images, blocks, height, width, colours
_MARK = re.compile("NoisyBlocks|GtBlocks", re.IGNORECASE)

Blocks = npt.NDArray[np.uint8]


def has_truth(path: Path) -> bool:
    """Whether the clean blocks of a file of noisy ones lie beside it; or it is the clean one."""
    return _partner(path, "Gt").is_file()


def read_blocks(path: Path, selection: Selection | None = None) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """The number of blocks, and the blocks one by one, named `<image>_<block>`, noisy and clean.

    Of a file without ground truth the noisy blocks alone come, as the pixels of each picture. Both files are held in
    memory, half a gigabyte for the validation set.

    Args:
        path: either file of a pair.
        selection: which blocks are taken; all in RGB by default.
    """
    selection = selection or Selection()
    if selection.channels == RAW_PLANES:
        raise StoreError(f"{path}: holds blocks of RGB pictures, which have 3 channels, not {RAW_PLANES}")
    noisy_file, clean_file = _partner(path, "Noisy"), _partner(path, "Gt")
    noisy = _blocks(noisy_file)
    clean = _blocks(clean_file) if clean_file.is_file() else None
    if clean is not None and clean.shape != noisy.shape:
        sizes = [" x ".join(map(str, blocks.shape)) for blocks in (noisy, clean)]
        raise StoreError(
            f"{noisy_file} holds blocks of {sizes[0]}, {clean_file} of {sizes[1]}; a pair has one size, get them again"
        )
    images, count, height, width, colours = noisy.shape

    def read(number: int) -> Picture | Unsuited:
        image, block = divmod(number, count)
        name = f"{image}_{block}"
        problem = selection.problem(height, width, colours)
        if problem:
            return Unsuited(name, problem)
        parts = [planes(blocks[image, block], selection.channels) for blocks in (noisy, clean) if blocks is not None]
        return Picture(
            name,
            parts[-1],
            selection.converted(colours),
            noisy=parts[0] if clean is not None else None,
            cut_from=f"image {image}",
            names=NOISY_CLEAN if clean is not None else ("", "noisy"),
        )

    return images * count, map(read, range(images * count))


def _partner(path: Path, kind: str) -> Path:
    """The file of this kind that belongs to one of the pair."""
    if not _MARK.search(path.name):
        raise StoreError(
            f"{path}: is not named like a file of SIDD blocks; expected ValidationNoisyBlocksSrgb.mat with "
            "ValidationGtBlocksSrgb.mat beside it"
        )
    return path.with_name(_MARK.sub(f"{kind}Blocks", path.name))


def _blocks(path: Path) -> Blocks:
    """The blocks in one file: its only variable, or the one that has its name."""
    names = mat_names(path)
    name = path.stem if path.stem in names or len(names) != 1 else next(iter(names))
    values = read_mat(path, name)
    if values.ndim != _AXES or values.shape[-1] != 3 or values.dtype != np.uint8 or 0 in values.shape:
        raise StoreError(
            f"{path}: '{name}' is {' x '.join(map(str, values.shape))} of {values.dtype}; expected images x blocks x "
            "height x width x 3 of uint8, the sRGB blocks of SIDD"
        )
    return np.ascontiguousarray(values)  # MATLAB counts along the images first, blocks would be gathered byte by byte
