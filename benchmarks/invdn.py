"""InvDN learns from ten real pairs on a CPU: how far it gets, what ensembles add, and what a megapixel costs.

    shotnoise train invdn/sidd-quick --data PAIRS -o RUN
    python benchmarks/invdn.py RUN PAIRS [--json benchmarks/results/invdn.json]

All but one of the PAIRS are those that RUN learned from, so this shows that the training works, not what InvDN is
worth; the row "held out" is the pair that it has not seen.
"""

import argparse
import csv
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shotnoise.engines import open_engine
from shotnoise.engines.latent import draw_latent
from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.export import export

WAYS: dict[str, dict[str, Any]] = {
    "one draw": {},
    "x8": {"ensemble": "x8"},
    "4 draws": {"samples": 4},
}
SIDE = 512


def held_out(run: Path) -> list[dict[str, float]]:
    """The scores that the training wrote at its validations."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["psnr"]]
    return [{"step": int(row["step"]), "psnr": float(row["psnr"]), "ssim": float(row["ssim"])} for row in rows]


def seconds(model: Path, engine: str, rounds: int) -> float:
    """CPU time per megapixel on one thread, the least of some rounds."""
    opened = open_engine(model, engine, threads=1)
    noisy = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)
    latent = draw_latent(opened.card, noisy.shape)
    times = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        opened.run(noisy, None, latent)
        times.append(time.process_time() - begin)
    return min(times) / (SIDE * SIDE / 1e6)


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="measure the ensembles on the first pairs only; they take long")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trajectory = held_out(options.run)
    for row in trajectory:
        print(f"held out, step {row['step']:5d}  {row['psnr']:6.2f} dB  SSIM {row['ssim']:.4f}")
    model = options.run / "best.onnx"
    export(options.run, model)
    content: dict[str, Any] = {"pairs": options.limit, "held_out": trajectory, "ways": {}, "seconds_per_megapixel": {}}
    for way, asked in WAYS.items():
        tested = ModelUnderTest(model, **asked)
        result = evaluate(tested, get_protocol("pairs/folder"), options.pairs, channels=3, limit=options.limit)
        names = ("noisy_psnr", "psnr", "noisy_ssim", "ssim")
        content["ways"][way] = {name: result.mean(name) for name in names}
        content["ways"][way]["median"] = statistics.median(picture.psnr for picture in result.rows)
        row = content["ways"][way]
        print(f"{way:10s} {row['noisy_psnr']:.2f} -> {row['psnr']:.3f} dB", end="")
        print(f", SSIM {row['noisy_ssim']:.4f} -> {row['ssim']:.4f}", flush=True)
    for engine in ("onnxruntime", "openvino", "torch"):
        file = options.run if engine == "torch" else model
        content["seconds_per_megapixel"][engine] = seconds(file, engine, options.rounds)
        print(f"{engine:12s} {content['seconds_per_megapixel'][engine]:.2f} s of one core a megapixel")
    if options.json is not None:
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
