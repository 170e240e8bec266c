"""How fast is denoising a picture, per megapixel, beside torch eager and OpenCV's non-local means?

All contestants take turns on the same noisy picture in one process, so that a busy machine hurts them alike; quote the
ratios. CPU time counts the work, wall time is what a user waits. PSNR is against the clean original.

    python benchmarks/denoise_speed.py [--rounds 7] [--json benchmarks/results/denoise_speed.json]
"""

import argparse
import importlib.resources
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from shotnoise import Denoiser, open_image
from shotnoise.bundled import find_model
from shotnoise.engines import available_engines, open_engine
from shotnoise.networks import create

Picture = npt.NDArray[np.uint8]
SIGMA = 25


def pictures(height: int, width: int) -> tuple[Picture, Picture]:
    """The bundled photograph, mirrored until it fills the size, and its noisy version."""
    with importlib.resources.as_file(importlib.resources.files("shotnoise.bundled") / "chelsea.png") as file:
        tile = np.asarray(open_image(file).pixels)
    pad = ((0, max(0, height - tile.shape[0])), (0, max(0, width - tile.shape[1])), (0, 0))
    clean = np.ascontiguousarray(np.pad(tile, pad, mode="symmetric")[:height, :width]).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape)
    return clean, np.clip(clean + noise + 0.5, 0, 255).astype(np.uint8)


def eager(model: Path) -> Callable[[Picture], Picture]:
    """The network of the model in plain torch: float32, contiguous, no tricks. Weights do not change the time."""
    card = open_engine(model).card
    network = create(card.network, **card.arguments).eval()

    def run(noisy: Picture) -> Picture:
        with torch.inference_mode():
            batch = torch.from_numpy(noisy).permute(2, 0, 1)[None].float().div(255).contiguous()
            result = network(batch, torch.full((1, 1, 1, 1), SIGMA / 255))
            return result[0].clamp(0, 1).mul(255).add(0.5).byte().permute(1, 2, 0).contiguous().numpy()

    return run


def contestants(threads: int) -> dict[str, Callable[[Picture], Picture]]:
    model = find_model("photo")
    table: dict[str, Callable[[Picture], Picture]] = {"torch eager, same network": eager(model)}
    for engine in available_engines():
        if engine.available and engine.name != "torch":
            table[f"shotnoise photo, {engine.name}"] = Denoiser(
                "photo", engine=engine.name, level=SIGMA, threads=threads
            )
    table["shotnoise photo, level estimated"] = Denoiser("photo", threads=threads)
    table["OpenCV fastNlMeansDenoisingColored h=15"] = lambda noisy: cv2.fastNlMeansDenoisingColored(
        noisy, None, 15, 15
    )
    return table


def psnr(a: Picture, b: Picture) -> float:
    return 10 * math.log10(255**2 / float(np.square(a.astype(float) - b).mean()))


def measure(run: Callable[[Picture], Picture], noisy: Picture) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run(noisy)
    return time.perf_counter() - wall, time.process_time() - cpu


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--width", type=int, default=1152)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    clean, noisy = pictures(options.height, options.width)
    megapixels = clean.shape[0] * clean.shape[1] / 1e6
    table = contestants(options.threads)
    scores = {name: psnr(run(noisy), clean) for name, run in table.items()}  # also the warm-up
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in table}
    for _ in range(options.rounds):
        for name, run in table.items():
            times[name].append(measure(run, noisy))
    # The eager network has fresh weights: it is here for its time alone.
    scores["torch eager, same network"] = math.nan
    base = "torch eager, same network"
    rows: list[dict[str, Any]] = []
    for name in table:
        wall = [seconds / megapixels * 1e3 for seconds, _ in times[name]]
        cpu = [seconds / megapixels * 1e3 for _, seconds in times[name]]
        ratios = [mine[1] / other[1] for mine, other in zip(times[name], times[base], strict=True)]
        rows.append(
            {
                "what": name,
                "cpu_ms_per_mp": round(statistics.median(cpu), 1),
                "wall_ms_per_mp": round(statistics.median(wall), 1),
                "spread": round((max(cpu) - min(cpu)) / statistics.median(cpu), 3),
                "cpu_over_eager": round(statistics.median(ratios), 3),
                "psnr": None if math.isnan(scores[name]) else round(scores[name], 2),
            }
        )
    print(f"{clean.shape[1]}x{clean.shape[0]}, sigma {SIGMA} clipped to 8 bits, noisy {psnr(noisy, clean):.2f} dB, "
          f"{options.threads} thread(s), median of {options.rounds}")  # fmt: skip
    print(f"{'':44}{'CPU ms/MP':>10}{'wall ms/MP':>12}{'CPU / eager':>13}{'PSNR':>8}")
    for row in rows:
        shown = "-" if row["psnr"] is None else f"{row['psnr']:.2f}"
        print(
            f"{row['what']:44}{row['cpu_ms_per_mp']:>10}{row['wall_ms_per_mp']:>12}{row['cpu_over_eager']:>13}{shown:>8}"
        )
    if options.json:
        report = {
            "rows": rows,
            "size": [clean.shape[0], clean.shape[1]],
            "threads": options.threads,
            "rounds": options.rounds,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "versions": {
                name: installed(name) for name in ("torch", "onnxruntime", "openvino", "opencv-python-headless")
            },
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
