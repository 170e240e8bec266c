"""TFRecord files of pictures, as the data tool of Noise2Noise writes them, read and written without TensorFlow.

A file is a sequence of records::

    uint64    length of the data in bytes          little-endian, like all numbers here
    uint32    masked CRC-32C of these eight bytes
    data      one protobuf message
    uint32    masked CRC-32C of the data

The message is a `tf.train.Example`: a map from names to values. A picture has two of them: `shape`, three integers
channels, height, width; and `data`, the bytes of the uint8 array in that order.
"""

import mmap
import os
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError
from shotnoise.protobuf import fields, messages, varint
from shotnoise.store.crc32c import crc32c
from shotnoise.store.record import Record
from shotnoise.store.selection import RAW_PLANES, Failed, Picture, Selection, Unsuited, nothing_usable, planes

__all__ = ["TFRECORD_SUFFIXES", "TFRecordPictures", "read_tfrecord", "write_tfrecord"]

TFRECORD_SUFFIXES = (".tfrecord", ".tfrecords")

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_BYTES = 2  # protobuf's wire type of strings and messages


class TFRecordPictures:
    """The pictures of a TFRecord file, with the reading interface of a store.

    Opening looks at the lengths and shapes only; a picture is read and its checksum verified when it is asked for.
    Any order is as fast as the order in the file, so no shuffle buffer is needed, and batches will differ from those
    of the original, which has one. A record has one array, "clean": (C, H, W) uint8. Keys are the numbers of the
    records, "00000000" and so on. A pickled object is its path, opened again by the process that receives it.

    Args:
        path: the file.
        channels: 3 for RGB, 1 for gray; other pictures are converted by the rule of :func:`shotnoise.store.planes`.
        min_size: leave out pictures with a side shorter than this.
        max_size: leave out pictures with a side longer than this.

    Attributes:
        unsuited: pictures left out because of `min_size` or `max_size`.
        converted: how many pictures are turned from gray to RGB or from RGB to gray.

    Raises:
        StoreError: the file is not there, foreign, truncated or damaged, or holds no picture that can be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        channels: int = 3,
        min_size: int = 0,
        max_size: int | None = None,
    ) -> None:
        self.path = Path(path)
        self._selection = Selection(channels, min_size, max_size)
        _refuse_raw(self._selection)
        self._file = _File(self.path)
        self.unsuited: list[Unsuited] = []
        self.converted = 0
        self._chosen: list[int] = []
        for number in range(len(self._file)):
            depth, height, width = self._file.picture(number)[0]
            problem = self._selection.problem(height, width, depth)
            if problem:
                self.unsuited.append(Unsuited(_key(number), problem))
            else:
                self.converted += depth != channels
                self._chosen.append(number)
        if not self._chosen:
            raise StoreError(nothing_usable(self.path, [], self.unsuited))

    def __reduce__(self) -> tuple[Callable[..., "TFRecordPictures"], tuple[Any, ...]]:
        chosen = self._selection
        return _reopen, (os.path.abspath(self.path), chosen.channels, chosen.min_size, chosen.max_size)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Record:
        number = self._chosen[index]
        pixels = planes(self._file.pixels(number), self._selection.channels)
        pixels.flags.writeable = False  # as in a store: samples are shared, not owned
        return Record(_key(number), {"clean": pixels}, {"picture": _key(number)})

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    def keys(self) -> tuple[str, ...]:
        """The numbers of the records, in their order."""
        return tuple(map(_key, self._chosen))


def _refuse_raw(selection: Selection) -> None:
    if selection.channels == RAW_PLANES:
        raise StoreError("channels is 4; expected 3 (RGB) or 1 (gray): TFRecord files hold pictures, no camera RAW")


def _reopen(path: str, channels: int, min_size: int, max_size: int | None) -> TFRecordPictures:
    return TFRecordPictures(path, channels=channels, min_size=min_size, max_size=max_size)


def read_tfrecord(
    path: str | os.PathLike[str], selection: Selection
) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """The number of pictures in a file, and the pictures one by one, as :func:`read_pictures` gives a folder's.

    A damaged record is yielded as :class:`Failed`. A file that is cut off is refused as a whole.
    """
    _refuse_raw(selection)
    file = _File(Path(path))

    def read(number: int) -> Picture | Unsuited | Failed:
        try:
            (depth, height, width), _ = file.picture(number)
            problem = selection.problem(height, width, depth)
            if problem:
                return Unsuited(_key(number), problem)
            pixels = planes(file.pixels(number), selection.channels)
        except StoreError as error:
            return Failed(_key(number), str(error))
        return Picture(_key(number), pixels, selection.converted(depth))

    return len(file), map(read, range(len(file)))


def write_tfrecord(path: str | os.PathLike[str], pictures: Iterable[npt.NDArray[np.uint8]]) -> int:
    """Write pictures, each (C, H, W) uint8, as Noise2Noise's tool would; returns how many.

    The file appears complete or not at all.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    count = 0
    try:
        with temporary.open("wb") as file:
            for count, picture in enumerate(pictures, 1):
                if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[0] not in (1, 3):
                    raise StoreError(
                        f"{path}: picture {count} is {picture.dtype} of shape {picture.shape}; "
                        "expected uint8 of shape (3, height, width) or (1, height, width)"
                    )
                data = _example(picture)
                length = struct.pack("<Q", len(data))
                file.write(length + _CRC.pack(_masked(length)) + data + _CRC.pack(_masked(data)))
        if not count:
            raise StoreError(f"{path}: there is no picture to write")
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return count


class _File:
    """The places of the records in a file, and what they hold."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if not size:
                    raise StoreError(f"{path}: the file is empty; expected a TFRecord file of pictures")
                self._bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be read ({error.strerror}); expected a TFRecord file of pictures"
            ) from None
        self._places = self._index(size)
        self.picture(0)  # a file of something else should be refused now

    def __len__(self) -> int:
        return len(self._places)

    def picture(self, number: int) -> tuple[tuple[int, int, int], memoryview]:
        """Shape (C, H, W) and bytes of a picture, which are not looked at."""
        start, stop = self._places[number]
        try:
            shape, data = _features(self._bytes[start:stop])
        except (ValueError, IndexError):
            raise StoreError(
                f"{self._path}: record {number} is no picture; expected the features 'shape', three integers, and "
                "'data', as many bytes, as the data tool of Noise2Noise writes them"
            ) from None
        return shape, data

    def pixels(self, number: int) -> npt.NDArray[np.uint8]:
        """A picture as (H, W) or (H, W, 3), after its checksum was found right."""
        start, stop = self._places[number]
        (promised,) = _CRC.unpack_from(self._bytes, stop)
        if _masked(self._bytes[start:stop]) != promised:
            raise StoreError(f"{self._path}: the checksum of record {number} is wrong, so it is damaged; copy it again")
        shape, data = self.picture(number)
        picture = np.frombuffer(data, np.uint8).reshape(shape)
        return picture[0] if shape[0] == 1 else picture.transpose(1, 2, 0)

    def _index(self, size: int) -> list[tuple[int, int]]:
        places: list[tuple[int, int]] = []
        at = 0
        while at < size:
            if at + _HEADER.size > size:
                raise self._truncated(len(places))
            length, promised = _HEADER.unpack_from(self._bytes, at)
            if _masked(self._bytes[at : at + 8]) != promised:
                raise StoreError(
                    f"{self._path}: the length of record {len(places)} has a wrong checksum; "
                    + ("the file is damaged, copy it again" if places else "this is not a TFRecord file")
                )
            start = at + _HEADER.size
            at = start + length + _CRC.size
            if at > size:
                raise self._truncated(len(places))
            places.append((start, start + length))
        return places

    def _truncated(self, number: int) -> StoreError:
        return StoreError(f"{self._path}: the file is truncated in record {number}; copy it again")


def _key(number: int) -> str:
    return f"{number:08d}"


def _masked(data: bytes | memoryview) -> int:
    """The checksum as TFRecord stores it: turned by 15 bits and shifted, so that it can itself be checksummed."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _features(message: memoryview) -> tuple[tuple[int, int, int], memoryview]:
    """Shape and bytes out of an Example; ValueError or IndexError for anything else."""
    found: dict[bytes, memoryview] = {}
    for features in messages(message, 1):
        for entry in messages(features, 1):
            (name,), (value,) = messages(entry, 1), messages(entry, 2)
            found[bytes(name)] = value
    if not {b"shape", b"data"} <= found.keys():
        raise ValueError("features are missing")
    (integers,), (strings,) = messages(found[b"shape"], 3), messages(found[b"data"], 1)
    (data,) = messages(strings, 1)
    channels, height, width = _integers(integers)
    if channels not in (1, 3) or height < 1 or width < 1 or channels * height * width != len(data):
        raise ValueError("shape and data do not belong together")
    return (channels, height, width), data


def _integers(message: memoryview) -> list[int]:
    """An Int64List, packed or not."""
    values: list[int] = []
    for field, value in fields(message):
        if field != 1:
            continue
        if isinstance(value, int):
            values.append(value)
        else:
            at = 0
            while at < len(value):
                number, at = varint(value, at)
                values.append(number)
    return values


def _example(picture: npt.NDArray[np.uint8]) -> bytes:
    shape = _field(3, _field(1, b"".join(map(_coded, picture.shape))))
    data = _field(1, _field(1, np.ascontiguousarray(picture).tobytes()))
    entries = (_field(1, name) + _field(2, value) for name, value in ((b"shape", shape), (b"data", data)))
    return _field(1, b"".join(_field(1, entry) for entry in entries))


def _field(number: int, content: bytes) -> bytes:
    return _coded(number << 3 | _BYTES) + _coded(len(content)) + content


def _coded(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
