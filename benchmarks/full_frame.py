"""What does a full frame cost from command to file: 16-megapixel RAW, and 24 megapixels of RGB with 8 and 16 bits?

Every row is a process of its own. Pictures are smooth with noise; what they show changes neither time nor memory.

- **commands**: `shotnoise denoise` of one file: wall and CPU seconds from start to end, the seconds of each stage, peak
  memory, and how much of it is above what the process holds once the picture is loaded.
- **latency**: a small picture, and what Python alone takes.
- **overlap**: with one window and one file at a time, with two windows, with files that overlap, and with processes
  instead (`--jobs`).
- **windows**: milliseconds and memory of the engines for windows of several sizes.

    python benchmarks/full_frame.py [--parts commands,latency] [--json benchmarks/results/full_frame.json]

takes about 8 minutes on two quiet cores. Parts that the JSON has already are replaced only where they are asked for.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise import RawFrame, save_dng, save_image

RAW_SIZE, BLACK, WHITE = (3472, 4624), 1024, 16383
RGB_SIZE = (4000, 6000)
FRAMES = {
    "RAW 16 MP, DNG to DNG": ("frame.dng", "clean.dng", []),
    "RAW 16 MP, DNG to DNG and preview": ("frame.dng", "second.dng", ["--preview", "second.jpg"]),
    "RAW 16 MP, DNG to linear DNG": ("frame.dng", "linear.dng", ["--linear"]),
    "RGB 24 MP, JPEG to JPEG": ("frame.jpg", "clean.jpg", []),
    "RGB 24 MP, TIFF of 16 bits to PNG of 16 bits": ("frame.tif", "clean.png", []),
}
BOTH_ENGINES = ("RAW 16 MP, DNG to DNG", "RGB 24 MP, JPEG to JPEG", "RGB 24 MP, TIFF of 16 bits to PNG of 16 bits")
SIDES = (256, 512, 1024, 1736, 2048)
ENGINES = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name)]

# In the process that is measured. Seconds of the engine are inside those of the model.
COMMAND = """
import json, sys, time
import shotnoise.batch.file as file
from shotnoise.engines.ensemble import Ensemble
import shotnoise.denoiser, shotnoise.raw_denoiser
seconds, memory = {}, {}
def status(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / 1e6
def timed(place, name, stage, after=False):
    plain = getattr(place, name)
    def run(*arguments, **options):
        started = time.perf_counter()
        try:
            return plain(*arguments, **options)
        finally:
            seconds[stage] = seconds.get(stage, 0) + time.perf_counter() - started
            if after:
                memory[stage] = status("VmRSS")
    setattr(place, name, run)
timed(file, "open_image", "read", True)
timed(file, "open_raw", "read", True)
timed(file, "save_image", "write")
timed(file, "_save_raw", "write")
timed(shotnoise.denoiser.Denoiser, "run", "denoise")
timed(shotnoise.raw_denoiser.RawDenoiser, "run", "denoise")
timed(shotnoise.denoiser, "estimate_sigma", "estimate")
timed(shotnoise.raw_denoiser, "estimate_frame", "estimate")
plain = Ensemble.__init__
def init(self, engine, *arguments):
    plain(self, engine, *arguments)
    timed(engine, "run", "engine")
Ensemble.__init__ = init
from shotnoise.cli import run
assert run(["denoise", *sys.argv[1:]]) == 0
print(json.dumps({"seconds": seconds, "loaded": memory["read"], "peak": status("VmHWM")}))
"""
MANY = """
import sys
import shotnoise.runner as runner
from shotnoise.batch import work
windows, files = (int(word) for word in sys.argv[1:3])
runner._UNDER_WAY = windows
if not files:
    work.LARGE = -1
from shotnoise.cli import run
if __name__ == "__main__":
    assert run(["denoise", *sys.argv[3:]]) == 0
"""
WINDOW = """
import json, sys, time
import numpy as np
from shotnoise.engines import open_engine
from shotnoise.memory import memory_of
name, side = sys.argv[1], int(sys.argv[2])
engine = open_engine("gaussian", name, threads=1)
noisy = np.random.default_rng(0).random((1, 3, side, side), np.float32)
level = np.full((1, 1, 1, 1), 0.1, np.float32)
grown, times = memory_of(lambda: engine.run(noisy, level)), []
for _ in range(max(2, min(20, 3_000_000 // side**2))):
    started = time.process_time()
    engine.run(noisy, level)
    times.append(time.process_time() - started)
print(json.dumps([1e3 * min(times) / (side**2 / 1e6), grown / side**2]))
"""


def raw(height: int, width: int) -> RawFrame:
    """Waves of light with the noise of a high ISO."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:height, :width].astype(np.float32) / 300
    x = (0.3 + 0.25 * np.sin(rows) * np.cos(cols)).astype(np.float32)
    x += rng.standard_normal((height, width), dtype=np.float32) * np.sqrt(2e-3 * x + 1e-5)
    counts = np.clip(x * (WHITE - BLACK) + BLACK + 0.5, 0, WHITE).astype(np.uint16)
    return RawFrame(counts, "BGGR", (BLACK,) * 4, WHITE, iso=3200)


def rgb(height: int, width: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Coloured waves with noise of 15 counts."""
    rng = np.random.default_rng(0)
    white = np.iinfo(np.dtype(dtype)).max
    rows, cols = np.mgrid[:height, :width].astype(np.float32) / 300
    picture = np.empty((height, width, 3), dtype)
    for colour in range(3):
        x = 0.5 + 0.3 * np.sin(rows + colour) * np.cos(cols - colour)
        x += rng.standard_normal((height, width), dtype=np.float32) * (15 / 255)
        picture[:, :, colour] = np.clip(x * white + 0.5, 0, white)
    return picture


def measure(command: list[str], folder: str) -> tuple[float, float, str]:
    """Wall and CPU seconds of a process and those that it started, and what it printed."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, done.stdout


def commands(folder: str, threads: list[str]) -> list[dict[str, Any]]:
    save_dng(raw(*RAW_SIZE), Path(folder) / "frame.dng")
    save_image(rgb(*RGB_SIZE, np.uint8), Path(folder) / "frame.jpg")
    save_image(rgb(*RGB_SIZE, np.uint16), Path(folder) / "frame.tif")
    rows = []
    for case, (given, result, options) in FRAMES.items():
        for engine in ENGINES if case in BOTH_ENGINES else ENGINES[:1]:
            arguments = [given, "-o", result, "--overwrite", "--engine", engine, *threads, *options]
            wall, cpu, printed = measure([sys.executable, "-c", COMMAND, *arguments], folder)
            found = json.loads(printed.splitlines()[-1])
            seconds = found["seconds"]
            height, width = RAW_SIZE if given.endswith("dng") else RGB_SIZE
            row = {
                "case": case,
                "engine": engine,
                "wall_s": round(wall, 2),
                "cpu_s": round(cpu, 2),
                "cpu_ms_per_mp": round(1e3 * cpu / (height * width / 1e6)),
                "stages_s": {stage: round(value, 2) for stage, value in seconds.items()}
                | {"start and model": round(wall - sum(seconds[stage] for stage in ("read", "denoise", "write")), 2)},
                "peak_mb": round(found["peak"]),
                "loaded_mb": round(found["loaded"]),
                "above_loaded_mb": round(found["peak"] - found["loaded"]),
            }
            rows.append(row)
            stages = ", ".join(f"{stage} {value}" for stage, value in row["stages_s"].items())
            print(f"{case:46}{engine:12}{wall:7.1f} s{cpu:7.1f} CPU s  {row['cpu_ms_per_mp']:5} ms/MP"
                  f"{row['peak_mb']:6} MB, {row['above_loaded_mb']} above loaded; {stages}")  # fmt: skip
    return rows


def latency(folder: str, threads: list[str]) -> list[dict[str, Any]]:
    save_image(rgb(200, 300, np.uint8), Path(folder) / "small.png")
    python, rows = [sys.executable, "-m", "shotnoise"], []
    for what, command in {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        "shotnoise --help": [*python, "--help"],
        "shotnoise denoise, 300x200 PNG": [*python, "denoise", "small.png", "-o", "out.png", "--overwrite", *threads],
    }.items():
        measure(command, folder)  # so that everything is compiled, and in the cache of the disk
        found = [measure(command, folder)[:2] for _ in range(5)]
        rows.append({"what": what, **{key: round(min(times), 3) for key, times in zip(("wall_s", "cpu_s"), zip(*found, strict=True), strict=True)}})  # fmt: skip  # noqa: E501
        print(f"{what:46}{rows[-1]['wall_s']:7.3f} s{rows[-1]['cpu_s']:7.3f} CPU s")
    return rows


def overlap(folder: str, threads: list[str]) -> list[dict[str, Any]]:
    kinds = {"4 RAW of 6 MP": ("dng", 4), "4 JPEG of 4 MP": ("jpg", 4), "24 PNG of 0.4 MP": ("png", 24)}
    for kind, (ending, count) in kinds.items():
        place = Path(folder) / kind
        place.mkdir()
        for number in range(count):
            name = place / f"{number:02}.{ending}"
            if number:
                shutil.copy(place / f"00.{ending}", name)
            elif ending == "dng":
                save_dng(raw(2000, 3000), name)
            else:
                save_image(rgb(*((1600, 2500) if ending == "jpg" else (512, 768)), np.uint8), name)
    (Path(folder) / "many.py").write_text(MANY)
    ways = {
        "one window, one file": ["1", "0"],
        "two windows, one file": ["2", "0"],
        "one window, files overlap": ["1", "1"],
        "two windows, files overlap": ["2", "1"],
        "two processes of one thread": ["2", "1"],
    }
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        for given in ("1", None):
            times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for _ in range(2):  # in turns
                for way, switches in ways.items():
                    processes = way.startswith("two processes")
                    if processes and given is not None:
                        continue
                    command = [sys.executable, "many.py", *switches, kind, "-o", f"{kind} clean", "--overwrite"]
                    command += ["--jobs", "2"] if processes else (["--threads", given] if given else threads)
                    times[way].append(measure(command, folder)[:2])
            for way, found in times.items():
                if found:
                    wall, cpu = (min(values) for values in zip(*found, strict=True))
                    shown = "1" if given else "all"
                    rows.append({"files": kind, "threads": shown, "way": way, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2)})  # fmt: skip  # noqa: E501
                    print(f"{kind:20}{shown:>4} threads  {way:30}{wall:7.2f} s{cpu:7.2f} CPU s")
    return rows


def windows(folder: str, threads: list[str]) -> list[dict[str, Any]]:
    rows = []
    for engine in ENGINES:
        for side in SIDES:
            milliseconds, taken = json.loads(measure([sys.executable, "-c", WINDOW, engine, str(side)], folder)[2])
            rows.append({"engine": engine, "side": side, "cpu_ms_per_mp": round(milliseconds), "bytes_per_pixel": round(taken)})  # fmt: skip  # noqa: E501
            print(f"{engine:12} {side:5} x {side:<5}{milliseconds:7.0f} CPU ms/MP{taken:7.0f} bytes per pixel")
    return rows


PARTS = {"commands": commands, "latency": latency, "overlap": overlap, "windows": windows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--threads", type=int, help="all cores without it")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threads = [] if options.threads is None else ["--threads", str(options.threads)]
    report: dict[str, Any] = {}
    if options.json and options.json.exists():
        report = json.loads(options.json.read_text())
    # What an installed package has too: modules that are compiled already.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as compiled:
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        for part in options.parts.split(","):
            with tempfile.TemporaryDirectory() as folder:
                report[part] = PARTS[part](folder, threads)
            report["machine"] = {
                "cores": len(os.sched_getaffinity(0)),
                "threads": options.threads or "all",
                "load_before": round(os.getloadavg()[1], 1),
                "python": platform.python_version(),
            }
            if options.json:
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
