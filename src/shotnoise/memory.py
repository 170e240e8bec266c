"""How much memory there is, and how much a call takes: for choosing the size of tiles, as far as the system tells."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["free_memory", "memory_of"]

_MEMINFO = Path("/proc/meminfo")
# The limit of a container and what it uses, of cgroups version 2 and 1.
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
_RESIDENT = Path("/proc/self/statm")  # in pages, as its second number
_EVERY = 1e-3  # seconds


def free_memory() -> int | None:
    """Bytes that can be taken without swapping, the limit of a container included; None where nobody says."""
    found = []
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        return None
    for limit, used in _LIMITS:
        try:
            found.append(max(int(limit.read_text()) - int(used.read_text()), 0))
        except (OSError, ValueError):  # none here, or "max"
            continue
    return min(found, default=None)


def memory_of(call: Callable[[], object]) -> int | None:
    """Bytes by which this process grew at most while it made a call; None where the system does not say."""
    try:
        before = peak = _resident()
    except (OSError, ValueError):
        return None
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_EVERY):
            peak = max(peak, _resident())

    watcher = threading.Thread(target=watch, name="memory", daemon=True)
    watcher.start()
    try:
        call()
        peak = max(peak, _resident())
    finally:
        done.set()
        watcher.join()
    return peak - before


def _resident() -> int:
    return int(_RESIDENT.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
