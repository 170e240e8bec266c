"""The processor, as far as it decides which engine and which precision are fast."""

import functools
import os
import platform
from pathlib import Path

__all__ = ["busy", "cores", "instructions", "processor"]

# What the system calls them -> what people do. Without BF16 (or AMX) bf16 is slower than fp32, and without VNNI (or
# AMX) int8 gains little.
_X86 = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16", "amx_bf16"),
    "FP16": ("avx512_fp16", "amx_fp16"),
    "AMX": ("amx_tile",),
}
_ARM = {"NEON": ("asimd",), "I8MM": ("i8mm",), "BF16": ("bf16",), "FP16": ("asimdhp",), "SVE": ("sve",)}

_BUSY = 2.0  # processes for each core; one that uses all cores, as ours do, makes 1


@functools.cache
def processor() -> str:
    """Its name, as the system gives it."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


@functools.cache
def instructions() -> tuple[str, ...] | None:
    """The instruction sets that matter to networks, such as "VNNI"; None where the system does not say."""
    facts = _cpuinfo()
    for key, names in (("flags", _X86), ("Features", _ARM)):
        if key in facts:
            flags = set(facts[key].split())
            return tuple(name for name, any_of in names.items() if flags.intersection(any_of))
    return None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy() -> bool:
    """Whether so much has been running for the last minute that times say little."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)


def _cpuinfo() -> dict[str, str]:
    """What Linux says about the first processor."""
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                facts.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    return facts
