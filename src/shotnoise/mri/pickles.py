"""The data sets of the published MRI code: a pickle of the slices and of their spectra.

It is a pair of arrays: uint8 slices (N, 256, 256), and the complex64 spectra (N, 255, 255) that follow from them. They
are read without running anything that the file asks for: only plain values are built, and descriptions of arrays that
are looked at before one is made of them. Spectra are not looked at, as they are computed anew.
"""

import math
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images._disk import opened, shown, target, write
from shotnoise.mri.kspace import spectrum_of
from shotnoise.mri.slices import odd, to_signal

__all__ = ["pickle_target", "read_pickle", "write_pickle"]

_AXES = 3


class _Kind:
    """Stands for a type of numbers, as it was called."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and the like; one byte per number has none."""


class _Array:
    """Stands for an array, as it was described."""

    def __init__(self, *_: object) -> None:
        self.described: object = None

    def __setstate__(self, state: object) -> None:
        self.described = state


class _FromBuffer(_Array):
    """The same in the newest protocol: (bytes, kind, shape, order, and of arrays that lie otherwise how)."""

    def __init__(self, *parts: object) -> None:
        self.described = None
        if len(parts) >= 4 and parts[3] in ("C", "F") and all(part is None for part in parts[4:]):
            data, kind, shape, order = parts[:4]
            self.described = (1, shape, kind, order == "F", data)


_STANDS_FOR: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    """Builds plain values and the stand-ins above; whatever else is asked for is refused."""

    def find_class(self, module: str, name: str) -> type:
        found = _STANDS_FOR.get((module, name))
        if found is None:
            raise PictureError(f"refused, it asks for {module}.{name}; expected two arrays of numbers and nothing else")
        return found


def read_pickle(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """The slices of a published data set, (N, H, W)."""
    try:
        with opened(path) as file:
            content = _load(file)
        if not isinstance(content, tuple) or len(content) != 2:
            raise PictureError("holds something else; expected a pair of slices and spectra")
        return _slices(content[0])
    except PictureError as error:
        raise PictureError(f"{shown(path)}: {error}") from None
    except OSError as error:
        raise PictureError(f"{shown(path)}: cannot be read ({error.strerror or error})") from None


def _load(file: BinaryIO) -> Any:
    try:
        # A place in the list of what was read; the reader makes that list as long as the largest one says.
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if any(
            "PUT" in opcode.name and isinstance(place, int) and place > size
            for opcode, place, _ in pickletools.genops(file)
        ):
            raise PictureError("is a damaged pickle; expected a pair of arrays")
        file.seek(0)
        return _Reader(file).load()
    except (PictureError, OSError):
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PictureError(f"is no pickle, or a damaged one ({reason}); expected a pair of arrays") from None


def _slices(first: object) -> npt.NDArray[np.uint8]:
    """The array that was described, if it is one of slices."""
    problem = PictureError("its first part is no array of 8-bit slices; expected uint8 of (N, H, W)")
    described = first.described if isinstance(first, _Array) else None
    if not isinstance(described, tuple) or len(described) != 5:
        raise problem
    _, shape, kind, by_columns, data = described
    if not isinstance(kind, _Kind) or kind.name not in ("u1", "uint8", "|u1"):
        raise problem
    if not isinstance(shape, tuple) or len(shape) != _AXES or not all(type(side) is int and side > 0 for side in shape):
        raise problem
    if not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape):
        raise PictureError(f"its slices are said to be {shape}, and it does not hold as many numbers; it is damaged")
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")


def pickle_target(path: str | os.PathLike[str]) -> Path:
    """Where :func:`write_pickle` would write; refuses what it could not."""
    try:
        return target(Path(path), overwrite=True)
    except PictureError as error:
        raise PictureError(f"{shown(path)}: {error}") from None


def write_pickle(path: str | os.PathLike[str], slices: npt.NDArray[np.uint8]) -> None:
    """Write slices, (N, H, W), as the published code reads them; with their spectra, 8 times as large as they are."""
    spectra = np.stack([spectrum_of(to_signal(odd(one))).astype(np.complex64) for one in slices])
    try:
        write(
            pickle_target(path),
            lambda file: pickle.dump((np.ascontiguousarray(slices), spectra), file, protocol=4),
        )
    except OSError as error:
        raise PictureError(f"{shown(path)}: cannot be written ({error.strerror or error})") from None
