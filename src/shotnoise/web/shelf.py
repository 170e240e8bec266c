"""Temporary files of a server: one folder of its own, in it one for each piece of work, and none of it stays.

A folder goes when its request has been answered, when the page that holds it takes another file, soon after that page
is closed, when such a page was idle for a while, and all of them when the server ends. What a killed server could not
remove is removed by the next one.
"""

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Item", "Shelf", "private_folder"]

_PREFIX = "shotnoise-serve-"
_RETURN = 60.0  # seconds that a page has to come back: a lost connection looks like a closed page


@dataclass(slots=True)
class Item:
    """One folder, under a name that cannot be guessed.

    Attributes:
        key: the name.
        folder: where it is.
        owner: the page that holds it; "" for requests over HTTP.
        results: files to hand out, by the name under which they are handed out.
        report: what was done to the files of a pile.
        touched: when somebody last asked for it, by the monotonic clock.
    """

    key: str
    folder: Path
    owner: str = ""
    results: dict[str, Path] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    touched: float = 0.0

    def inside(self, name: str) -> Path:
        """A folder in it, made where it is not there yet."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder


class Shelf:
    """All items of a server.

    Args:
        root: the folder of the server.
        idle: seconds after which an item of a page that nobody asks for is removed.
    """

    def __init__(self, root: Path, idle: float) -> None:
        self.root, self.idle = root, idle
        self._items: dict[str, Item] = {}
        self._lock = threading.Lock()

    def new(self, owner: str = "") -> Item:
        """An empty item."""
        self.sweep()
        key = secrets.token_urlsafe(16)
        item = Item(key, self.root / key, owner, touched=time.monotonic())
        self.root.mkdir(mode=0o700, exist_ok=True)  # again, where somebody tidied the place of temporary files
        item.folder.mkdir()
        with self._lock:
            self._items[key] = item
        return item

    def get(self, key: str) -> Item | None:
        """The item of this name, which somebody asks for now."""
        with self._lock:
            item = self._items.get(key)
            if item is not None:
                item.touched = time.monotonic()
        return item

    def drop(self, key: str) -> None:
        """Remove an item, if it is there."""
        with self._lock:
            item = self._items.pop(key, None)
        if item is not None:
            shutil.rmtree(item.folder, ignore_errors=True)

    def leave(self, owner: str) -> None:
        """Remove everything that a page holds."""
        for key in self._keys(lambda item: item.owner == owner):
            self.drop(key)

    def part(self, owner: str) -> None:
        """Let go of everything that a page holds, unless the page comes back and asks for it."""
        soon = time.monotonic() + _RETURN - self.idle
        with self._lock:
            for item in self._items.values():
                if item.owner == owner:
                    item.touched = min(item.touched, soon)

    def sweep(self) -> None:
        """Remove what pages hold and nobody asked for in a while; a request removes its own, however long it waits."""
        now = time.monotonic()
        for key in self._keys(lambda item: bool(item.owner) and now - item.touched > self.idle):
            self.drop(key)

    def __len__(self) -> int:
        return len(self._items)

    def _keys(self, chosen: Callable[[Item], bool]) -> list[str]:
        with self._lock:
            return [key for key, item in self._items.items() if chosen(item)]


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can look into, gone at the end together with those of servers that were killed."""
    _sweep_killed(Path(tempfile.gettempdir()))
    root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _sweep_killed(place: Path) -> None:
    if not hasattr(os, "getuid"):  # Windows, where asking for a process by its number ends it
        return
    for folder in place.glob(f"{_PREFIX}*-*"):
        number = folder.name.removeprefix(_PREFIX).split("-")[0]
        with suppress(OSError):
            if number.isdigit() and folder.stat().st_uid == os.getuid() and not _alive(int(number)):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
