"""One sample as bytes: named arrays and JSON meta in a fixed layout, parsed without ever running code from it.

::

    0   4 bytes   magic "SNRC"
    4   uint32    length of the header in bytes
    8   uint64    length of the whole value in bytes
    16  header    JSON: {"arrays": [{"name", "dtype", "shape", "offset"}, ...], "meta": {...}}
    ..  arrays    C order, little-endian; offsets count from the end of the header rounded up to 16

All integers are little-endian. Every array starts at a multiple of 16 bytes, so that a value that LMDB keeps in
pages of its own can be used where it lies.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError

__all__ = ["Record", "decode", "encode", "encoded_key"]

_MAGIC = b"SNRC"
_FIXED = struct.Struct("<4sIQ")
_ALIGN = 16
_LONGEST_KEY = 511  # LMDB's compiled-in limit

# Fixed-size numbers only: an object array would be a pickle, a long double means something else on each machine.
_DTYPES = frozenset(
    np.dtype(code).name for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
)


@dataclass(frozen=True)
class Record:
    """One sample: its key, its arrays by name (read-only when they come from a store) and its meta."""

    key: str
    arrays: Mapping[str, npt.NDArray[Any]]
    meta: Mapping[str, Any] = field(default_factory=dict)


class _Borrowed:
    """Lends memory to numpy and keeps its owner alive as long as the array or a view of it lives."""

    def __init__(self, array: npt.NDArray[Any], owner: object) -> None:
        self.__array_interface__ = array.__array_interface__
        self.owner = owner


def encoded_key(key: str) -> bytes:
    """The bytes of a key; refuses what a store cannot hold or a terminal should not show."""
    try:
        name = key.encode()
    except UnicodeEncodeError:
        raise StoreError(f"the key {key!r} is not valid Unicode; rename the picture") from None
    if not 0 < len(name) <= _LONGEST_KEY or any(ord(letter) < 32 or ord(letter) == 127 for letter in key):
        raise StoreError(
            f"the key {key!r} cannot be used: expected 1 to {_LONGEST_KEY} bytes without control characters"
        )
    return name


def encode(arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    """Lay out a sample as one value; :func:`decode` gives back equal arrays and meta."""
    entries: list[dict[str, Any]] = []
    parts: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise StoreError(
                f"array '{name}' has type {array.dtype}, which a store cannot hold; "
                f"convert it to one of: {', '.join(sorted(_DTYPES))}"
            )
        entries.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "offset": offset})
        raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        parts.append(raw + b"\0" * (-len(raw) % _ALIGN))
        offset += len(parts[-1])
    try:
        header = json.dumps(
            {"arrays": entries, "meta": dict(meta)}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise StoreError(f"the meta of a sample must be plain JSON (no NaN, no objects): {error}") from None
    start = _FIXED.size + len(header)
    padding = b"\0" * (-start % _ALIGN)
    fixed = _FIXED.pack(_MAGIC, len(header), start + len(padding) + offset)
    return b"".join([fixed, header, padding, *parts])


def decode(value: memoryview, owner: object = None) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Arrays and meta of a value, the arrays as read-only views of it where its address allows.

    Args:
        value: what :func:`encode` made.
        owner: kept alive by the returned arrays; what `value` borrows its memory from.

    Raises:
        StoreError: `value` does not follow the layout; the caller adds the name of the store.
    """
    if len(value) < _FIXED.size:
        raise StoreError("a record is too short to be one of shotnoise")
    magic, header_length, total = _FIXED.unpack_from(value)
    if magic != _MAGIC:
        raise StoreError("a record does not follow the layout of shotnoise")
    if total != len(value) or _FIXED.size + header_length > total:
        raise StoreError(f"a record says it has {total} bytes, but {len(value)} are there")
    start = _FIXED.size + header_length
    try:
        header = json.loads(bytes(value[_FIXED.size : start]))
        meta = dict(header["meta"])
        entries = [(str(e["name"]), str(e["dtype"]), e["shape"], e["offset"]) for e in header["arrays"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StoreError("the header of a record is damaged") from None
    data = value[start + -start % _ALIGN :]
    arrays = {name: _view(data, dtype, shape, offset, owner) for name, dtype, shape, offset in entries}
    return arrays, meta


def _view(data: memoryview, dtype_name: str, shape: Any, offset: Any, owner: object) -> npt.NDArray[Any]:
    numbers = [offset, *shape] if isinstance(shape, list) else [None]
    if dtype_name not in _DTYPES or not all(type(n) is int and n >= 0 for n in numbers):
        raise StoreError("the header of a record describes an impossible array")
    dtype = np.dtype(dtype_name).newbyteorder("<")
    size = math.prod(shape) * dtype.itemsize
    if offset + size > len(data):
        raise StoreError("the header of a record describes an array beyond its end")
    flat: npt.NDArray[Any] = np.frombuffer(data[offset : offset + size], dtype=dtype)
    if not flat.flags.aligned:
        flat = flat.copy()  # small values lie inside LMDB's tree pages, at even addresses only
    elif owner is not None:
        flat = np.asarray(_Borrowed(flat, owner))
    try:
        array = flat.reshape(shape)
    except (ValueError, OverflowError):  # more axes than numpy has, or an empty array of immense width
        raise StoreError("the header of a record describes an impossible array") from None
    array.flags.writeable = False
    return array
