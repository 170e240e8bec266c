"""Reading a store, from any number of processes, without locks and without trusting the file."""

import hashlib
import json
import os
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from shotnoise.errors import StoreError, nearest, require
from shotnoise.store.record import Record, decode, encoded_key
from shotnoise.store.schema import DATA_FILE, SCHEMA_KEY, SPLITS_FILE, Schema, checksum

__all__ = ["Store", "open_lmdb"]

# Page 0 and page 1 of an LMDB file are copies of its root; a page header of 16 bytes goes first.
_META_AT = 16
_META = struct.Struct("<IIQQ I44x 48x QQ")  # magic, version, address, map size, page size, last page, txn id
_LMDB_MAGIC = 0xBEEFC0DE
_LMDB_VERSION = 1
_PAGE_SIZES = frozenset(1 << bits for bits in range(8, 17))


class Store:
    """A store opened for reading: a sequence of records in key order.

    It never writes, takes no lock, and works in a read-only folder. Forked workers share it; a pickled store is
    its path, opened again by the process that receives it. Arrays are views into the file where possible, and
    stay valid after the store object is gone.

    Args:
        path: the folder.
        split: only the keys of this group, as in "train"; needs a store that was packed with a split.

    Raises:
        StoreError: there is no store, or it is foreign, truncated, half written, empty or too new.
    """

    def __init__(self, path: str | os.PathLike[str], *, split: str | None = None) -> None:
        self.path = Path(path)
        self.split = split
        self._environment = open_lmdb(self.path)
        text = self._environment.get(SCHEMA_KEY)
        if text is None:
            raise StoreError(
                f"{self.path}: this LMDB has no schema record, so it was not made by shotnoise or its making was "
                "interrupted; make it with `shotnoise pack`"
            )
        self.schema = Schema.parse(bytes(text), str(self.path))
        there = self._environment.entries - 1
        if there != self.schema.count:
            raise StoreError(
                f"{self.path}: the schema promises {self.schema.count} records, {there} are there; pack it again"
            )
        if split is not None and split not in self.splits:
            raise StoreError(
                f"{self.path}: no split '{split}'; {nearest(split, self.splits)}"
                if self.splits
                else f"{self.path}: the store was packed without a split; pack it with `--split 0.9`"
            )

    def __reduce__(self) -> tuple[Callable[[str, str | None], "Store"], tuple[str, str | None]]:
        return _reopen, (os.path.abspath(self.path), self.split)

    def __repr__(self) -> str:
        chosen = f", split={self.split!r}" if self.split else ""
        return f"Store({str(self.path)!r}{chosen}: {len(self)} records)"

    def __len__(self) -> int:
        return len(self._keys) if self.split else self.schema.count

    def __getitem__(self, index: int) -> Record:
        return self.get(self._keys[index])

    def __iter__(self) -> Iterator[Record]:
        return map(self.get, self._keys)

    def keys(self) -> tuple[str, ...]:
        """All keys in their order."""
        return self._keys

    def get(self, key: str) -> Record:
        """The record with this key."""
        return self._decode(key, self._value(key))

    def _value(self, key: str) -> memoryview:
        value = self._environment.get(encoded_key(key))
        if value is None:
            raise StoreError(f"{self.path}: no record '{key}'; {nearest(key, self._keys[:1000])}")
        return value

    def _decode(self, key: str, value: memoryview) -> Record:
        try:
            arrays, meta = decode(value, owner=self._environment)
        except StoreError as error:
            raise StoreError(f"{self.path}: record '{key}': {error}; the store is damaged, pack it again") from None
        return Record(key, arrays, meta)

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """The groups of keys kept beside the data; empty when it was packed without a split."""
        file = self.path / SPLITS_FILE
        try:
            splits = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            splits = None
        if not isinstance(splits, dict) or not all(
            isinstance(keys, list) and all(isinstance(key, str) for key in keys) for keys in splits.values()
        ):
            raise StoreError(f'{file}: expected JSON like {{"train": [keys], "val": [keys]}}; pack it again')
        return splits

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read everything and compare with the checksum in the schema; `progress` gets (done, total)."""
        keys = self._environment.keys()
        digests: list[tuple[str, bytes]] = []
        for done, key in enumerate(keys, 1):
            value = self._value(key)
            self._decode(key, value)
            digests.append((key, hashlib.sha256(value).digest()))
            if progress:
                progress(done, len(keys))
        if checksum(digests) != self.schema.checksum:
            raise StoreError(f"{self.path}: the checksum is wrong, so records were damaged or changed; pack it again")

    @cached_property
    def _keys(self) -> tuple[str, ...]:
        if self.split is None:
            return self._environment.keys()
        there = set(self._environment.keys())
        lost = [key for key in self.splits[self.split] if key not in there]
        if lost:
            raise StoreError(f"{self.path / SPLITS_FILE}: names '{lost[0]}', which is not in the store; pack it again")
        return tuple(self.splits[self.split])


def _reopen(path: str, split: str | None) -> Store:
    return Store(path, split=split)


class _Environment:
    """One LMDB file, opened once per process, with one read transaction for its whole life.

    Without locks a read transaction is plain memory, so threads and forked children can use the same one.
    It is closed when the last store and the last array that point into it are gone.
    """

    def __init__(self, folder: Path) -> None:
        lmdb = require("lmdb", "train", "a store")
        self._folder = folder
        self._error = lmdb.Error
        try:
            self._env = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, max_dbs=0)
            self._transaction = self._env.begin(buffers=True)
            self.entries = int(self._env.stat()["entries"])
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"{folder}: cannot be opened as a store ({error}); pack it again") from None

    def get(self, key: bytes) -> memoryview | None:
        try:
            value: memoryview | None = self._transaction.get(key)
        except self._error as error:
            raise StoreError(f"{self._folder}: the store is damaged ({error}); pack it again") from None
        return value

    def keys(self) -> tuple[str, ...]:
        try:
            names = [bytes(name) for name in self._transaction.cursor().iternext(values=False)]
            return tuple(name.decode() for name in names if name != SCHEMA_KEY)
        except (self._error, UnicodeDecodeError) as error:
            raise StoreError(f"{self._folder}: the store is damaged ({error}); pack it again") from None


# LMDB must not open a file twice in one process. Keyed by the file itself, not by its name: the name may be a link,
# and another store may have taken it since.
_environments: weakref.WeakValueDictionary[tuple[int, int], _Environment] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def open_lmdb(folder: Path) -> _Environment:
    """The LMDB of a folder, of whatever making, once it is certain that all of its pages are there."""
    if not folder.exists():
        raise StoreError(f"{folder}: no such store; make one with `shotnoise pack SOURCE {folder}`")
    file = folder / DATA_FILE
    if not file.is_file():
        raise StoreError(f"{folder}: not a store (a folder with '{DATA_FILE}'); make one with `shotnoise pack`")
    _check_complete(folder, file)
    with _opening:
        status = file.stat()
        identity = (status.st_dev, status.st_ino)
        environment = _environments.get(identity)
        if environment is None:
            environment = _environments[identity] = _Environment(folder)
        return environment


def _check_complete(folder: Path, file: Path) -> None:
    """Compare the file's size with what its root pages claim.

    LMDB maps the file: reading a page that is missing ends the process with SIGBUS, which Python cannot catch.
    """
    foreign = f"{folder}: '{DATA_FILE}' is not an LMDB file; make a store with `shotnoise pack`"
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            first = _root(stream.read(_META_AT + _META.size))
            page_size = first[0] if first else 0
            stream.seek(page_size)
            second = _root(stream.read(_META_AT + _META.size))
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror})") from None
    if first is None:
        raise StoreError(foreign if size else f"{folder}: '{DATA_FILE}' is empty; pack it again")
    last_page = max(first, second, key=lambda root: root[2])[1] if second else None
    if last_page is None or size < (last_page + 1) * page_size:
        expected = "" if last_page is None else f" of {(last_page + 1) * page_size}"
        raise StoreError(f"{folder}: the store is truncated ({size}{expected} bytes are there); copy or pack it again")


def _root(page: bytes) -> tuple[int, int, int] | None:
    """(page size, last page, transaction id) of a root page, or None when it is not one."""
    if len(page) < _META_AT + _META.size:
        return None
    magic, version, _address, _map_size, page_size, last_page, transaction = _META.unpack_from(page, _META_AT)
    if (magic, version) != (_LMDB_MAGIC, _LMDB_VERSION) or page_size not in _PAGE_SIZES:
        return None
    return page_size, last_page, transaction
