"""What the machine's own meters say was used: the counters of the processor, and of a GPU where there is just one.

Both count everything that runs on the machine, and what it takes when idle. Linux shows the processor's counter (RAPL)
only to users who may read it, often root alone; then there is no number, and none is guessed.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Meter", "joules_between", "meters"]

_POWERCAP = Path("/sys/class/powercap")
_NVML = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class Meter:
    """A counter of energy that only grows, and starts again at 0 when it is full.

    Attributes:
        name: what it counts, for reports.
        read: joules so far.
        full: joules at which it starts again.
    """

    name: str
    read: Callable[[], float]
    full: float


def meters(*, gpu: bool = False, powercap: Path = _POWERCAP) -> list[Meter]:
    """Those that this machine has and that we may read.

    Args:
        gpu: also that of the GPU. With several GPUs it would not be known whose work is counted, so there is none.
        powercap: the folder in which Linux shows RAPL.
    """
    found = []
    # Only packages: their parts would be counted twice, and so would the whole board ("psys").
    for zone in sorted(powercap.glob("intel-rapl:[0-9]*")):
        if zone.name.count(":") > 1:
            continue
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            full = int((zone / "max_energy_range_uj").read_text(encoding="ascii")) / 1e6
            (zone / "energy_uj").read_bytes()
        except (OSError, ValueError):
            continue
        if name.startswith("package"):
            found.append(Meter(name, _microjoules(zone / "energy_uj"), full))
    if gpu and (counter := _gpu()) is not None:
        found.append(counter)
    return found


def joules_between(meter: Meter, before: float, after: float) -> float:
    """What was used between two readings, which are less than one full counter apart.

    >>> joules_between(Meter("package-0", lambda: 0.0, 100.0), 90.0, 15.0)
    25.0
    """
    return (after - before) % meter.full if after < before else after - before


def _microjoules(path: Path) -> Callable[[], float]:
    return lambda: int(path.read_text(encoding="ascii")) / 1e6


def _gpu() -> Meter | None:
    """The counter of an NVIDIA driver, which comes with a library but with no package for Python."""
    try:
        nvml = ctypes.CDLL(_NVML)
    except OSError:
        return None
    count, device, value = ctypes.c_uint(), ctypes.c_void_p(), ctypes.c_ulonglong()
    try:
        failed = (
            nvml.nvmlInit_v2()
            or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
            or count.value != 1
            or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device))
            or nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(value))
        )
    except AttributeError:  # a driver from before 2018
        return None
    if failed:
        return None

    def read() -> float:
        nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(value))
        return value.value / 1e3

    return Meter("GPU", read, 2**64 / 1e3)
