"""How much memory and time does a 16-megapixel RAW file take, from the command to the result?

Each case runs in a process of its own, whose largest resident size is what is reported; it includes Python, LibRaw and
the engine. The frame is smooth with simulated noise: what it shows does not change either number.

    python benchmarks/raw_frame.py [--model raw] [--threads 1] [--json benchmarks/results/raw_frame.json]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from shotnoise.images.raw import RawFrame, save_dng

HEIGHT, WIDTH, BLACK, WHITE = 3472, 4624, 1024, 16383
CASES = {
    "DNG": ["-o", "clean.dng"],
    "DNG, uncompressed": ["-o", "plain.dng", "--compression", "none"],
    "DNG and preview": ["-o", "second.dng", "--preview", "second.jpg"],
    "linear DNG": ["-o", "linear.dng", "--linear"],
    "developed": ["-o", "clean.jpg"],
}
RUN = """
import resource, sys, time
from shotnoise.cli import run
started = time.perf_counter()
assert run(["denoise", "frame.dng", *sys.argv[1:]]) == 0
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def frame() -> RawFrame:
    """Waves of light with the noise of a high ISO."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) / 300
    x = (0.3 + 0.25 * np.sin(rows) * np.cos(cols)).astype(np.float32)
    x += rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32) * np.sqrt(2e-3 * x + 1e-5)
    counts = np.clip(x * (WHITE - BLACK) + BLACK + 0.5, 0, WHITE).astype(np.uint16)
    return RawFrame(counts, "BGGR", (BLACK,) * 4, WHITE, iso=3200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="raw")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = str(Path(options.model).resolve()) if Path(options.model).exists() else options.model
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        save_dng(frame(), Path(folder) / "frame.dng")
        for name, arguments in CASES.items():
            command = [sys.executable, "-c", RUN, *arguments, "--model", model, "--threads", str(options.threads)]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            seconds, megabytes = (float(value) for value in done.stdout.split()[-2:])
            rows.append({"case": name, "seconds": round(seconds, 1), "peak_mb": round(megabytes)})
            print(f"{name:20s} {seconds:6.1f} s  {megabytes:6.0f} MB")
    if options.json:
        facts = {"model": options.model, "threads": options.threads, "size": [HEIGHT, WIDTH], "rows": rows}
        options.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
