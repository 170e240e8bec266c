"""MATLAB files of numbers: the form in which benchmark sets are published and results are handed in.

Read are files of version 5 to 7, and those of version 7.3, which are HDF5. Both give an array in the order of axes
that MATLAB shows: HDF5 lists them in reverse, and they are turned back. Written is version 5.

The older versions are read here, not by scipy: a changed byte in such a file can end a process that reads it with
scipy, and benchmark files come from anywhere. Their layout, as far as it concerns numbers::

    file      header of 128 bytes, the last two of them tell the byte order; then elements
    element   tag: uint32 type, uint32 length; its content. Short ones: uint16s of both in 4 bytes, content in 4 more
    type 15   an element of type 14, compressed with zlib
    type 14   an array: elements with its class and flags, its lengths, its name and its values, column by column,
              perhaps in a smaller type than its class; each begins at a multiple of 8 bytes
"""

import os
import re
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError, nearest, require

__all__ = ["mat_names", "read_mat", "write_mat"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_AT = (0, 512)  # MATLAB puts its own header of 512 bytes in front
_EXPANSION, _SMALL = 100, 2**28  # how many times larger than the file an array may be, if it is not small
_LARGEST = 2**31 - 2**16  # bytes of one array in a file of version 5
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_DTYPES = frozenset(np.dtype(code) for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "?"))

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_OTHERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function"}
_COMPLEX, _LOGICAL = 0x800, 0x200
_MOST_AXES = 32
_NUMERIC = frozenset(
    ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "single", "double", "logical")
)

Array = npt.NDArray[Any]


def mat_names(path: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """The arrays of real numbers in a file and their shapes; texts, cells, structures and the like are left out.

    Only the heads of the variables are looked at, so this is quick however large they are.

    Raises:
        StoreError: there is no such file, or it is not a whole MATLAB file.
    """
    with _opened(path) as variables:
        return {name: variable.shape for name, variable in variables.items() if not variable.problem}


def read_mat(path: str | os.PathLike[str], name: str) -> Array:
    """One array of real numbers, axes as MATLAB shows them; what is logical there is bool here.

    Args:
        path: the file, of version 5 to 7.3.
        name: of the variable.

    Raises:
        StoreError: there is no such file or variable, it is damaged, or no array of real numbers.
    """
    with _opened(path) as variables:
        if name not in variables:
            usable = [other for other, variable in variables.items() if not variable.problem]
            raise StoreError(f"has no variable '{name}'; {nearest(name, usable)}")
        if variables[name].problem:
            raise StoreError(f"its variable '{name}' {variables[name].problem}; expected an array of real numbers")
        return variables[name].read()


def write_mat(path: str | os.PathLike[str], arrays: Mapping[str, npt.ArrayLike], *, compress: bool = True) -> None:
    """Write arrays of numbers as a MATLAB file of version 5, completely or not at all.

    A scalar becomes 1 x 1 and a list of n numbers 1 x n, as everything in MATLAB has two axes or more.

    Args:
        path: where to; its folder must exist, a file that is there is replaced.
        arrays: by the names of the variables: integers of 8 to 64 bits, single, double or bool.
        compress: as MATLAB does it; takes longer.

    Raises:
        StoreError: a name or an array is nothing MATLAB could hold, or the place is not writable.
    """
    place = Path(path)
    given = {name: np.asarray(array) for name, array in arrays.items()}
    if not given:
        raise StoreError(f"{place}: no arrays to write; expected at least one")
    for name, array in given.items():
        if not _VARIABLE.fullmatch(name):
            raise StoreError(f"{place}: '{name}' cannot name a variable; expected a letter, then letters, digits or _")
        if array.dtype.newbyteorder("=") not in _DTYPES:
            raise StoreError(
                f"{place}: the array '{name}' has type {array.dtype}; convert it to float32, float64, bool or integers"
            )
        if array.nbytes > _LARGEST:
            raise StoreError(
                f"{place}: the array '{name}' has {array.nbytes / 1e9:.1f} GB, a file of version 5 holds 2.1 GB in "
                "each; split it into several"
            )
    scipy_io = require("scipy.io", "train", "writing a MATLAB file")
    # Made by open(), not tempfile, so that the file gets the permissions of any other new file.
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(temporary, "xb") as file:
            scipy_io.savemat(file, given, do_compression=compress, long_field_names=True)
        os.replace(temporary, place)
    except (OSError, ValueError) as error:
        raise StoreError(f"{place}: cannot be written ({_words(error)}); choose another place") from None
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


class _Variable:
    """A variable whose head was read: why it cannot be used, if so, and how to read the rest."""

    def __init__(self, shape: tuple[int, ...], problem: str, read: Callable[[], Array]) -> None:
        self.shape, self.problem, self.read = shape, problem, read


# What h5py raises over damaged files, and zlib.
_DAMAGE = (
    LookupError, OSError, RuntimeError, TypeError, ValueError, ArithmeticError, AttributeError, struct.error, zlib.error
)  # fmt: skip


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[dict[str, _Variable]]:
    """The variables of a file by name; whatever goes wrong with it becomes one line with its name."""
    try:
        if not os.path.isfile(path):
            what = "is not a file" if os.path.lexists(path) else "does not exist"
            raise StoreError(f"{what}; expected a MATLAB file")
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            heads = [file.read(len(_HDF5)) for at in _HDF5_AT if file.seek(at) == at]
            file.seek(0)
            if _HDF5 not in heads:
                yield dict(_variables(file, size))
                return
            h5py = require("h5py", "train", "reading a MATLAB file of version 7.3")
            with h5py.File(file, "r") as root:
                yield {name: _hdf5_variable(h5py, root, name, size) for name in root if not name.startswith("#")}
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    except MemoryError:
        raise StoreError(f"{path}: does not fit into memory; use a machine with more, or a smaller file") from None
    except _DAMAGE as error:
        raise StoreError(f"{path}: not a usable MATLAB file ({_words(error)}); get it again") from None


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _too_large(shape: tuple[int, ...], itemsize: int, size: int) -> str:
    if prod(shape, start=itemsize) <= max(_SMALL, _EXPANSION * size):  # Python's integers do not overflow
        return ""
    return f"claims {' x '.join(map(str, shape))} values in a file of {size:,} bytes and is refused"


class _Elements:
    """The elements of a file, or of a compressed element, in their order.

    Args:
        read: gives so many bytes of the content, fewer at its end.
        order: `<` or `>`.
    """

    def __init__(self, read: Callable[[int], bytes], order: str) -> None:
        self._read, self.order = read, order

    def take(self, count: int) -> bytes:
        content = self._read(count)
        if len(content) != count:
            raise StoreError("ends in the middle of a variable; get it again")
        return content

    def tag(self) -> tuple[int, int, int]:
        """(type, bytes of the content, bytes after it up to the next element)."""
        (kind,) = struct.unpack(f"{self.order}I", self.take(4))
        if kind >> 16:
            length = kind >> 16
            if length > 4:
                raise StoreError("is damaged: a short element is too long; get it again")
            return kind & 0xFFFF, length, 4 - length
        (length,) = struct.unpack(f"{self.order}I", self.take(4))
        return kind, length, -length % 8

    def small(self, kinds: tuple[int, ...], longest: int) -> bytes:
        """The content of an element that must be of one of these types."""
        kind, length, padding = self.tag()
        if kind not in kinds or length > longest:
            raise StoreError(f"is damaged: an element of type {kind} and {length} bytes at a wrong place; get it again")
        content = self.take(length)
        self.take(padding)
        return content


def _variables(file: BinaryIO, size: int) -> Iterator[tuple[str, _Variable]]:
    """Those of a file of version 5 to 7, by their heads."""
    header = file.read(_HEADER)
    order = {b"IM": "<", b"MI": ">"}.get(header[126:], "")
    if not order or struct.unpack(f"{order}H", header[124:126])[0] != 0x0100:
        raise StoreError("is no MATLAB file of version 5 to 7.3; save it in MATLAB with -v7")
    elements = _Elements(file.read, order)
    position = _HEADER
    while position < size:
        file.seek(position)
        kind, length, _ = elements.tag()
        start, position = position + 8, position + 8 + length
        if kind not in (_MATRIX, _COMPRESSED) or position > size:
            raise StoreError("is damaged or was cut off: a variable ends beyond its end; get it again")
        yield from _variable(file, start, length, kind == _COMPRESSED, order, size)


def _variable(
    file: BinaryIO, start: int, length: int, compressed: bool, order: str, size: int
) -> Iterator[tuple[str, _Variable]]:
    """The variable whose element has its content here; none if it is one of those that nobody sees."""

    def at_values() -> tuple[_Elements, tuple[int, int], tuple[int, ...], str]:
        file.seek(start)
        elements = _Elements(_Inflated(file, length) if compressed else file.read, order)
        if compressed and elements.tag()[0] != _MATRIX:
            raise StoreError("is damaged: what is compressed is no variable; get it again")
        flags, _ = struct.unpack(f"{order}II", elements.small((6,), 8))
        if flags & 0xFF not in _CLASSES | _OTHERS:
            return elements, (0, 0), (), ""
        lengths = np.frombuffer(elements.small((5,), 4 * _MOST_AXES), f"{order}i4")
        shape = tuple(int(length) for length in lengths)
        if len(shape) < 2 or min(shape) < 0:
            raise StoreError("is damaged: a variable has no shape; get it again")
        return elements, (flags & 0xFF, flags), shape, elements.small((1, 2), 255).decode("latin-1")

    def read() -> Array:
        elements, (kind, flags), shape, name = at_values()
        stored, count, _ = elements.tag()
        dtype = np.dtype(order + _STORED.get(stored, "V1"))
        if stored not in _STORED or count != prod(shape, start=dtype.itemsize):
            raise StoreError(f"is damaged: the values of '{name}' do not fit its shape; get it again")
        if refusal := _too_large(shape, dtype.itemsize, size):  # stored in a larger type than it has
            raise StoreError(f"its variable '{name}' {refusal}")
        values = np.frombuffer(elements.take(count), dtype).reshape(shape, order="F")
        return values.astype(bool if flags & _LOGICAL else _CLASSES[kind], copy=False)

    _, (kind, flags), shape, name = at_values()
    problem = f"is of the kind '{_OTHERS[kind]}'" if kind in _OTHERS else ""
    problem = problem or ("holds complex numbers" if flags & _COMPLEX else "")
    if name:
        problem = problem or _too_large(shape, np.dtype(_CLASSES[kind]).itemsize, size)
        yield name, _Variable(shape, problem, read)


class _Inflated:
    """Reads what a piece of a file holds in compressed form, without ever unpacking more than is asked for."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left, self._zlib, self._waiting = file, length, zlib.decompressobj(), b""

    def __call__(self, count: int) -> bytes:
        parts, wanted = [], count
        while wanted and not self._zlib.eof:
            if not self._waiting:
                self._waiting = self._file.read(min(self._left, 2**20))
                self._left -= len(self._waiting)
                if not self._waiting:
                    break
            parts.append(self._zlib.decompress(self._waiting, wanted))
            self._waiting = self._zlib.unconsumed_tail
            wanted -= len(parts[-1])
        return b"".join(parts)


def _hdf5_variable(h5py: Any, root: Any, name: str, size: int) -> _Variable:
    def nothing() -> Array:
        return np.zeros(0)

    if not isinstance(root.get(name, getlink=True), h5py.HardLink):  # others may lead nowhere, or into other files
        return _Variable((), "is a link to something else", nothing)
    item = root[name]
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        return _Variable((), "is of the kind 'struct'", nothing)
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    if item.dtype.kind not in "iufb" or (kind and kind not in _NUMERIC):
        return _Variable((), f"is of the kind '{kind or item.dtype}'", nothing)
    if item.external or item.is_virtual:
        return _Variable((), "points at other files and is refused", nothing)
    shape = tuple(int(length) for length in item.shape[::-1])
    final = np.dtype(bool) if kind == "logical" else item.dtype.newbyteorder("=")
    if item.attrs.get("MATLAB_empty", 0):  # its values are the lengths of the axes then
        shape = tuple(int(length) for length in np.ravel(item[()])) if item.size <= _MOST_AXES else ()
        problem = "" if 0 in shape else "is damaged: empty, but of some size"
        return _Variable(shape, problem, lambda: np.zeros(shape, final))
    problem = _too_large(shape, item.dtype.itemsize, size)
    return _Variable(shape, problem, lambda: np.asarray(item[()]).T.astype(final, copy=False))
