"""NIfTI volumes on disk: read as they are meant, written back as they were.

Only single files, `.nii` and `.nii.gz`. A volume is written with the affine, the header with its extensions, the type
and the scaling of the one that it was made from. Every failure is a PictureError with one line that names the file.
"""

import gzip
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError, require
from shotnoise.images._disk import opened, shown, target, write

__all__ = ["ENDINGS", "Volume", "is_volume", "open_volume", "save_volume", "volume_ending", "volume_stem"]

ENDINGS = (".nii.gz", ".nii")

_GROWTH = 1100  # times that gzip can grow at most, and a little more
_LARGEST = 2**31  # voxels
_THREE = 3

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume and everything that its file says about it.

    Attributes:
        values: (X, Y, Z) in the units of the file, its scaling applied.
        source: the image of nibabel with affine and header.
        shape: that it has in the file, where axes of length 1 may follow.
        dtype: of the numbers in the file.
        slope: value = slope number + inter.
        inter: see there.
    """

    values: Values
    source: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    slope: float = 1.0
    inter: float = 0.0

    def with_values(self, values: Values) -> "Volume":
        """The same with other values."""
        if values.shape != self.values.shape:
            raise PictureError(f"values of shape {values.shape} for a volume of {self.values.shape}")
        return replace(self, values=values)

    def stored(self) -> npt.NDArray[Any]:
        """The values as the numbers of the file: rounded half up and limited where these are integers."""
        numbers = (self.values.astype(np.float64) - self.inter) / self.slope
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            numbers = np.clip(np.floor(numbers + 0.5), limits.min, limits.max)
        return numbers.astype(self.dtype).reshape(self.shape)


def volume_ending(path: str | os.PathLike[str]) -> str:
    """`.nii.gz` or `.nii`, in the case it is written in; empty for the name of anything else."""
    name = os.path.basename(os.fspath(path))
    return next((name[-len(ending) :] for ending in ENDINGS if name.lower().endswith(ending)), "")


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Whether a file is named like a volume."""
    return bool(volume_ending(path))


def volume_stem(path: str | os.PathLike[str]) -> str:
    """The name without its ending.

    >>> volume_stem("scans/IXI002-Guys-0828-T1.nii.gz")
    'IXI002-Guys-0828-T1'
    """
    name = os.path.basename(os.fspath(path))
    return name.removesuffix(volume_ending(path)) if is_volume(path) else name


def open_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a volume; values that are not finite stay as they are."""
    try:
        with opened(path):  # says what is wrong with a place
            pass
        if not is_volume(path):
            raise PictureError(f"is no volume by its name; expected one that ends in {' or '.join(ENDINGS)}")
        return _read(Path(path))
    except PictureError as error:
        raise PictureError(f"{shown(path)}: {error}") from None
    except OSError as error:
        if error.strerror is None:
            raise PictureError(f"{shown(path)}: is damaged ({_line(error)}); expected a NIfTI volume") from None
        raise PictureError(f"{shown(path)}: cannot be read ({error.strerror})") from None


def _read(path: Path) -> Volume:
    nibabel = require("nibabel", "mri", "reading volumes")
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):  # NIfTI-2 is one, too
            raise PictureError(f"is a {type(image).__name__}; expected NIfTI in one file")
        shape, dtype = tuple(image.shape), image.get_data_dtype()
        while len(shape) > _THREE and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != _THREE or not all(shape):
            size = "x".join(map(str, image.shape)) or "no size"
            raise PictureError(f"has {size}; expected three axes, take a series apart first")
        if dtype.kind not in "iuf":
            raise PictureError(f"has values of type {dtype}; expected integers or floating point")
        voxels = int(np.prod(shape, dtype=object))
        if voxels > _LARGEST or voxels * dtype.itemsize > _GROWTH * path.stat().st_size:
            size = "x".join(map(str, shape))
            raise PictureError(f"says it has {size} values, more than the file can hold; it is damaged")
        numbers = np.asanyarray(image.dataobj.get_unscaled()).reshape(shape)
        slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    except PictureError:
        raise
    except Exception as error:  # nibabel, gzip and zlib raise a dozen kinds
        raise PictureError(f"is damaged, or of another kind ({_line(error)}); expected a NIfTI volume") from None
    values = (numbers * slope + inter).astype(np.float32)
    return Volume(values, image, tuple(image.shape), dtype.newbyteorder("="), slope, inter)


def save_volume(volume: Volume, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write a volume, completely or not at all; the name says whether it is compressed."""
    ending = volume_ending(path)
    try:
        if not ending:
            raise PictureError(f"ends in neither of {', '.join(ENDINGS)}; a volume is written as one of them")
        place = target(path, overwrite)
        image = type(volume.source)(volume.stored(), volume.source.affine, volume.source.header)
        image.header.set_slope_inter(volume.slope, volume.inter)
        content: bytes = image.to_bytes()
        if ending.lower().endswith(".gz"):
            content = gzip.compress(content, mtime=0)  # the same volume makes the same file
        write(place, lambda file: file.write(content))
    except PictureError as error:
        raise PictureError(f"{shown(path)}: {error}") from None
    except OSError as error:
        raise PictureError(f"{shown(path)}: cannot be written ({error.strerror or error})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
