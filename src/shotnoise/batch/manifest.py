"""What shotnoise made in a folder, and from what: so that a second run does only what is new.

One small file, `.shotnoise.json`, beside the results. It may be deleted at any time: then nothing is known to be
ours, and nothing is overwritten.
"""

import json
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shotnoise.images._disk import write

__all__ = ["MANIFEST", "Manifest", "Origin", "file_state"]

logger = logging.getLogger(__name__)

MANIFEST = ".shotnoise.json"

_VERSION = 1

State = Literal["absent", "current", "outdated", "foreign"]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a result is made from.

    Attributes:
        input: absolute path.
        input_state: size and modification time of the input, when it was read.
        model: SHA-256 of the model.
        options: everything else that changes the result.
    """

    input: str
    input_state: list[int] | None
    model: str
    options: dict[str, Any]


class Manifest:
    """The record of one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / MANIFEST
        self._entries = self._read()
        self._fresh: dict[str, dict[str, Any]] = {}
        self._saved_at = 0.0
        self._cost = 0.0

    def state(self, output: Path, origin: Origin) -> State:
        """What is to be done about a result.

        Returns:
            "absent": there is none. "current": it is there. "outdated": made by us from an older version of the same
            input, or with another model or other options. "foreign": not ours, made from another input, or changed
            since; not to be overwritten without being asked.
        """
        if not os.path.lexists(output):
            return "absent"
        entry = self._entries.get(output.name)
        if not isinstance(entry, dict) or entry.get("output_state") != file_state(output):
            return "foreign"
        if entry.get("input") != origin.input:
            return "foreign"
        same = all(entry.get(field) == getattr(origin, field) for field in ("input_state", "model", "options"))
        return "current" if same else "outdated"

    def add(self, output: Path, origin: Origin) -> None:
        """Record a finished result; written to disk soon, by :meth:`save` at the latest."""
        entry = {
            "input": origin.input,
            "input_state": origin.input_state,
            "model": origin.model,
            "options": origin.options,
            "output_state": file_state(output),
        }
        self._entries[output.name] = self._fresh[output.name] = entry
        # The whole file is written each time: for thousands of results only now and then.
        if time.monotonic() - self._saved_at > 20 * self._cost:
            self.save()

    def save(self) -> None:
        """Write what was added, together with what other processes have added meanwhile."""
        if not self._fresh:
            return
        started = time.monotonic()
        self._entries = self._read() | self._fresh
        content = json.dumps({"version": _VERSION, "files": self._entries}, separators=(",", ":"), sort_keys=True)
        try:
            write(self._path, lambda file: file.write(content.encode()))
            self._fresh = {}  # not before: Ctrl-C may come in between
        except OSError as error:
            logger.warning("%s: cannot be written (%s); a second run will not know what is done", self._path, error)
        self._saved_at = time.monotonic()
        self._cost = math.inf if self._fresh else self._saved_at - started

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):  # of the latter, writing will tell
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s: cannot be read (%s); taking nothing here for ours", self._path, error)
            return {}
        files = content.get("files") if isinstance(content, dict) and content.get("version") == _VERSION else None
        return files if isinstance(files, dict) else {}


def file_state(path: Path) -> list[int] | None:
    """Size and modification time, by which a file is recognised; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
