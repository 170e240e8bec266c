"""Writing a store: into a folder beside the target, renamed when complete."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from shotnoise import __version__
from shotnoise.errors import StoreError, require
from shotnoise.store.reader import Store
from shotnoise.store.record import decode, encode, encoded_key
from shotnoise.store.schema import DATA_FILE, SCHEMA_KEY, SPLITS_FILE, ArraySchema, Schema, checksum

__all__ = ["StoreWriter"]

_BATCH_BYTES = 32 * 2**20  # held in memory between two transactions
_JOURNAL_KEY = b"\0journal"  # of an unfinished store: what it was made by, and what is done


class StoreWriter:
    """Makes a store; use it as a context manager.

    Nothing exists at `path` until the block ends without an exception; then the whole store does. After an
    exception, Ctrl-C included, no file is left behind.

    ::

        with StoreWriter("pictures.store", made_by={"source": "photos"}) as writer:
            writer.add("kodim01", {"clean": pixels}, {"iso": 100})

    Args:
        path: folder to make.
        made_by: free JSON that tells how the store was made; kept in its schema.
        overwrite: replace an existing store. A folder that holds anything else is never replaced.
        resume: after an exception keep what was written and marked with :meth:`finished`, in a hidden folder beside
            the store, and begin with what such a folder holds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        made_by: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        self.path = Path(path)
        self._made_by = dict(made_by or {})
        self._overwrite = overwrite
        self._resume = resume
        self._temporary = self.path.parent / f".{self.path.name}.{'' if resume else uuid.uuid4().hex + '.'}partial"
        self._done: dict[str, dict[str, Any]] = {}
        self._digests: dict[str, bytes] = {}
        self._arrays: dict[str, ArraySchema] = {}
        self._bytes = 0
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        self._splits: dict[str, list[str]] = {}
        self._lmdb = require("lmdb", "train", "a store")
        self._environment: Any = None
        self._claim: int | None = None

    def __enter__(self) -> Self:
        _check_target(self.path, self._overwrite)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir(exist_ok=self._resume)
            if self._resume:
                self._claim_folder()
            size = self._temporary / DATA_FILE
            # No lock file: nobody else knows this folder. No sync per transaction: one at the end is enough,
            # because an interrupted store is thrown away, or else synced when the block ends.
            self._environment = self._lmdb.open(
                str(self._temporary),
                map_size=2 * _BATCH_BYTES + (size.stat().st_size if size.exists() else 0),
                lock=False,
                sync=False,
                metasync=False,
            )
            if self._resume:
                self._read_journal()
        except BaseException as error:
            if self._resume:
                self._close()  # what lies there is not ours to delete
            else:
                self._discard()
            if isinstance(error, OSError | self._lmdb.Error):
                raise StoreError(f"{self.path}: cannot make a store here ({error}); choose another place") from None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._resume and self._environment is not None and self._done:
                self._keep()
            else:
                self._discard()

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def total_bytes(self) -> int:
        """Size of all records so far."""
        return self._bytes

    def add(self, key: str, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any] | None = None) -> None:
        """Add one sample.

        Args:
            key: unique; 1 to 511 bytes of UTF-8 without control characters.
            arrays: numbers of any shape; all samples of a store have the same names, each with the same number
                of axes.
            meta: anything JSON can hold.
        """
        if self._environment is None:
            raise StoreError(f"{self.path}: a StoreWriter takes samples only inside its `with` block")
        name = encoded_key(key)
        if key in self._digests:
            raise StoreError(f"{self.path}: the key '{key}' was already added; keys of a store are unique")
        given = {label: np.asarray(array) for label, array in arrays.items()}
        self._check_arrays(key, given)
        value = encode(given, meta or {})
        self._count(key, value, given)
        self._pending.append((name, value))
        self._pending_bytes += len(value)
        if self._pending_bytes >= _BATCH_BYTES:
            self._flush()

    @property
    def done(self) -> Mapping[str, Mapping[str, Any]]:
        """What was marked as finished, in this block or in the one that it resumes."""
        return self._done

    def finished(self, part: str, facts: Mapping[str, Any]) -> None:
        """Mark a part of the work, all of whose samples are added: a resumed block finds its name and facts.

        Args:
            part: name of the part.
            facts: JSON with a list "keys" of its samples.
        """
        self._done[part] = dict(facts)

    def split(self, splits: Mapping[str, Sequence[str]]) -> None:
        """Name groups of keys, as in {"train": [...], "val": [...]}; kept beside the data as ``splits.json``."""
        unknown = [key for keys in splits.values() for key in keys if key not in self._digests]
        if unknown:
            raise StoreError(f"{self.path}: the split names '{unknown[0]}', which was not added to the store")
        self._splits = {name: sorted(keys) for name, keys in splits.items()}

    def _check_arrays(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        if not arrays:
            raise StoreError(f"{self.path}: the sample '{key}' has no arrays")
        if self._arrays and arrays.keys() != self._arrays.keys():
            raise StoreError(
                f"{self.path}: the sample '{key}' has the arrays {_listed(arrays)}, the samples before it "
                f"{_listed(self._arrays)}; all samples of a store have the same"
            )
        for label, array in arrays.items():
            known = self._arrays.get(label)
            if known and array.ndim != len(known.smallest):
                raise StoreError(
                    f"{self.path}: array '{label}' of the sample '{key}' has {array.ndim} axes, in the samples "
                    f"before it {len(known.smallest)}; all samples of a store have the same"
                )

    def _claim_folder(self) -> None:
        """For this process alone: two that resume the same store would write into one file without knowing."""
        try:
            import fcntl
        except ImportError:  # no Unix
            return
        self._claim = os.open(self._temporary, os.O_RDONLY)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{self.path}: is being packed by another process; wait until that one ends") from None
        except OSError:  # a file system without locks
            pass

    def _read_journal(self) -> None:
        """Take over what an interrupted block has finished; samples of a part that it had not are deleted."""
        again = f"delete {self._temporary} to begin anew"
        try:
            with self._environment.begin(write=True) as transaction:
                journal = json.loads(transaction.get(_JOURNAL_KEY) or b"null")
                if journal is not None and journal["made_by"] != json.loads(json.dumps(self._made_by)):
                    raise StoreError(f"{self.path}: was interrupted with other options; repeat those, or {again}")
                self._done = {} if journal is None else journal["done"]
                kept = {key for facts in self._done.values() for key in facts["keys"]}
                for name in [bytes(name) for name, _ in transaction.cursor()]:
                    key = name.decode()
                    if key in kept:
                        value = bytes(transaction.get(name))
                        try:
                            arrays, _ = decode(memoryview(value))
                        except StoreError as error:  # which does not name the store
                            raise ValueError(error) from None
                        self._count(key, value, arrays)
                    elif name != _JOURNAL_KEY:
                        transaction.delete(name)
                if len(self._digests) != len(kept):
                    raise StoreError(f"{self.path}: what an interrupted pack has left is damaged; {again}")
        except (self._lmdb.Error, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.path}: what an interrupted pack has left cannot be read ({error}); {again}"
            ) from None

    def _count(self, key: str, value: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for label, array in arrays.items():
            known = self._arrays.get(label)
            self._arrays[label] = known.including(array) if known else ArraySchema.of(array)
        self._digests[key] = hashlib.sha256(value).digest()
        self._bytes += len(value)

    def _flush(self) -> None:
        """Write the pending records in one transaction, with a larger map whenever it does not fit."""
        if self._resume:
            journal = {"made_by": self._made_by, "done": self._done}
            self._pending.append((_JOURNAL_KEY, json.dumps(journal).encode()))
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value)
                break
            except self._lmdb.MapFullError:
                size = self._environment.info()["map_size"]
                self._environment.set_mapsize(size * 2)
            except self._lmdb.Error as error:
                raise StoreError(f"{self.path}: cannot write the store ({error})") from None
        self._pending.clear()
        self._pending_bytes = 0

    def _finish(self) -> None:
        if not self._digests:
            raise StoreError(f"{self.path}: no sample was added, so no store was made")
        schema = Schema(
            count=len(self._digests),
            arrays=self._arrays,
            total_bytes=self._bytes,
            checksum=checksum(self._digests),
            made_with=__version__,
            made_by=self._made_by,
        )
        self._pending.append((SCHEMA_KEY, schema.model_dump_json().encode()))
        self._flush()
        try:
            with self._environment.begin(write=True) as transaction:
                transaction.delete(_JOURNAL_KEY)
            self._environment.sync(True)
            self._close()
            if self._splits:
                text = json.dumps(self._splits, ensure_ascii=False, indent=1)
                (self._temporary / SPLITS_FILE).write_text(text + "\n", encoding="utf-8")
            self._move_into_place()
        except (OSError, self._lmdb.Error) as error:
            raise StoreError(f"{self.path}: cannot finish the store ({error})") from None

    def _move_into_place(self) -> None:
        _check_target(self.path, self._overwrite)  # once more: hours may have passed
        if not self.path.exists():
            self._temporary.rename(self.path)
            return
        # No system renames over a folder that is not empty, so the old store steps aside for a moment.
        aside = self._temporary.with_suffix(".old")
        self.path.rename(aside)
        try:
            self._temporary.rename(self.path)
        except BaseException:
            aside.rename(self.path)
            raise
        shutil.rmtree(aside, ignore_errors=True)

    def _keep(self) -> None:
        """Leave what is finished to the next attempt."""
        self._flush()
        self._environment.sync(True)
        self._close()

    def _close(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _discard(self) -> None:
        self._close()
        if self._temporary.exists():
            shutil.rmtree(self._temporary, ignore_errors=True)


def _check_target(path: Path, overwrite: bool) -> None:
    """Refuse a target that must stay: a store, or with `overwrite` anything that is not one."""
    if not path.exists() and not path.is_symlink():
        return
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        return
    if not _is_store(path):
        raise StoreError(f"{path}: exists and is not a readable store, so it is not replaced; choose another name")
    if not overwrite:
        raise StoreError(f"{path}: this store exists already; choose another name or ask to overwrite it")


def _is_store(path: Path) -> bool:
    """Whether `path` is a store and nothing else: replacing it deletes all that is there."""
    if path.is_symlink() or not path.is_dir() or {entry.name for entry in path.iterdir()} - {DATA_FILE, SPLITS_FILE}:
        return False
    try:
        Store(path)
    except StoreError:
        return False
    return True


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
