"""How far off is the blind estimate of the noise law from one ordinary RAW frame?

Display photographs are taken back to RAW (curve, colours and white balance undone), get the noise of a known camera at
several ISOs, rounding and clipping included, and are measured with `estimate_law`. The error is that of the standard
deviation, root mean square over the brightnesses of each picture (its 2nd to 98th percentile).

    python benchmarks/blind_estimate.py PICTURES --json benchmarks/results/blind_estimate.json
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shotnoise.images import list_pictures
from shotnoise.images.raw import RawFrame
from shotnoise.images.raw.bayer import join
from shotnoise.sensor.estimate import estimate_frame
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.published import published_profile

# name -> ISOs, black, white
CAMERAS = {
    "oppo-reno-10x": ((100, 400, 1600, 6400), 64.0, 1023.0),
    "nikon-d850": ((400, 800, 3200, 6400), 512.0, 16383.0),
}
MATRIX = np.array([[0.65, 0.28, 0.07], [0.15, 0.75, 0.10], [0.05, 0.25, 0.70]])  # display colours to the camera's
GAINS = (2.0, 1.0, 1.6)  # white balance


def planes_of(path: Path) -> np.ndarray:
    """A photograph as four clean planes in 0..1."""
    display = np.asarray(Image.open(path).convert("RGB")) / 255.0
    linear = np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
    camera = 0.8 * linear @ MATRIX.T / GAINS
    height, width = (side // 2 * 2 for side in camera.shape[:2])
    camera = camera[:height, :width]
    return np.stack((camera[::2, ::2, 0], camera[::2, 1::2, 1], camera[1::2, ::2, 1], camera[1::2, 1::2, 2]))


def expose(planes: np.ndarray, law: NoiseLaw, black: float, white: float, rng: np.random.Generator) -> RawFrame:
    """Counts with noise."""
    noisy = law.k[0] * rng.poisson(planes / law.k[0]) + rng.normal(0, math.sqrt(law.s2[0]), planes.shape)
    counts = np.clip(np.rint(noisy * (white - black) + black), 0, white).astype(np.uint16)
    return RawFrame(join(counts, "RGGB"), "RGGB", (black,) * 4, white)


def measure(planes: np.ndarray, name: str, iso: float) -> dict[str, float]:
    """One picture at one ISO."""
    _, black, white = CAMERAS[name]
    truth = published_profile(name).at(iso)
    s2 = truth.s2[0] + 1 / (12 * (white - black) ** 2)
    frame = expose(planes, truth, black, white, np.random.default_rng(int(iso)))
    started = time.perf_counter()
    estimate = estimate_frame(frame)
    seconds = time.perf_counter() - started
    x = np.quantile(planes, np.linspace(0.02, 0.98, 49))
    ratio = np.sqrt((estimate.law.k[0] * x + estimate.law.s2[0]) / (truth.k[0] * x + s2))
    return {
        "error": math.exp(math.sqrt(float(np.mean(np.log(ratio) ** 2)))) - 1,
        "bias": float(np.median(ratio)) - 1,
        "black": math.sqrt(estimate.law.s2[0] / s2) - 1,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    paths = list_pictures(arguments.pictures)[:: arguments.every]
    found: dict[tuple[str, float], list[dict[str, float]]] = {}
    for path in paths:
        planes = planes_of(path)
        for name, (isos, _, _) in CAMERAS.items():
            for iso in isos:
                found.setdefault((name, iso), []).append(measure(planes, name, iso))
    rows: list[dict[str, Any]] = []
    print(f"{len(paths)} pictures; relative errors of the standard deviation of the noise")
    print("camera          ISO   median   90 %    worst  within 20 %   median bias")
    for (name, iso), results in found.items():
        errors = sorted(result["error"] for result in results)
        row = {
            "camera": name,
            "iso": iso,
            "pictures": len(results),
            "error_median": statistics.median(errors),
            "error_90": float(np.quantile(errors, 0.9)),
            "error_worst": errors[-1],
            "within_20_percent": sum(error <= 0.2 for error in errors) / len(errors),
            "bias_median": statistics.median(result["bias"] for result in results),
            "black_median": statistics.median(result["black"] for result in results),
            "seconds_median": statistics.median(result["seconds"] for result in results),
        }
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
        print(
            f"{name:14} {iso:5} {row['error_median']:8.1%} {row['error_90']:7.1%} {row['error_worst']:7.1%} "
            f"{row['within_20_percent']:9.0%} {row['bias_median']:+14.1%}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"pictures": str(arguments.pictures.name), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
