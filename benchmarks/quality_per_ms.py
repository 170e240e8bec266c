"""What does a millisecond buy? Networks for RAW, all trained for the same time on one core, then scored and timed.

Every network gets the recipe raw/ksigma (same pictures, noise, loss, optimiser, cosine, seed) and as many steps as fit
into the budget of CPU time, by a probe of its own step in the faster of float32 and bfloat16. A published network keeps
its published widths. Scores are those of the protocols raw/kodak24/iso*, which no choice was made on; times are of one
thread, all networks taking turns, so carry over their ratios.

    python benchmarks/quality_per_ms.py RUNS SETS --data CLIC2025 --data CID22 [--minutes 10]

RUNS keeps the trained networks: what lies there is not trained again. SETS holds kodak24/.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shotnoise.engines import open_engine
from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.export import cost, export
from shotnoise.networks import create
from shotnoise.recipe import Recipe, load_recipe
from shotnoise.training import train

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ShotNet S": ("shotnet", {"size": "S", "in_nc": 4, "level": "none"}),
    "ShotNet M": ("shotnet", {"size": "M", "in_nc": 4, "level": "none"}),
    "FFDNet": ("ffdnet", {"in_nc": 4, "out_nc": 4}),
    "DnCNN": ("dncnn", {"in_nc": 4, "out_nc": 4}),
    "PMRID": ("pmrid", {}),
    "NAFNet-w16": ("nafnet", {"img_channel": 4, "width": 16}),
    "RAW U-Net": ("raw-unet", {}),
}
ISOS = (800, 1600, 3200, 6400)
BATCH, CROP = 8, 64
WINDOW = (448, 576)  # packed pixels, as in the reference measurements: 1.03 megapixels of a sensor
MEGAPIXELS = 4 * WINDOW[0] * WINDOW[1] / 1e6


def seconds_per_step(name: str, options: dict[str, Any], precision: str) -> float:
    """CPU time of one optimiser step on one thread, the median of five."""
    network = create(name, **options).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    noisy = torch.rand(BATCH, 4, CROP, CROP).contiguous(memory_format=torch.channels_last)
    level = torch.full((BATCH, 1, 1, 1), 0.0625)
    times = []
    for _ in range(7):
        begin = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = (network(noisy, level).float() - noisy).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        times.append(time.process_time() - begin)
    return statistics.median(times[2:])


def recipe_for(label: str, minutes: float, data: list[str]) -> tuple[Recipe, dict[str, Any]]:
    name, options = NETWORKS[label]
    probe = {precision: seconds_per_step(name, options, precision) for precision in ("fp32", "bf16")}
    precision = min(probe, key=probe.__getitem__)
    steps = max(20, round(60 * minutes / probe[precision]))
    base = load_recipe("raw/ksigma")
    content = base.model_dump(mode="json", exclude_defaults=True) | {"name": f"raw/{name}", "data": data}
    content["network"] = {"name": name, **options}
    content["training"] |= {
        "steps": steps,
        "batch": BATCH,
        "warmup": min(200, steps // 20),
        "ema": None,  # an average over a thousand steps would be older than some of these runs
        "precision": precision,
    }
    content["validation"] |= {"every": max(10, steps // 5)}
    content["pairs"] |= {"crop": CROP}
    return Recipe.model_validate(content), {"steps": steps, "precision": precision, "seconds_per_step": probe}


def trained(label: str, runs: Path, minutes: float, data: list[str]) -> dict[str, Any]:
    """Train, unless that was done before; how it was done."""
    folder = runs / label.lower().replace(" ", "-")
    note = folder / "budget.json"
    if note.exists():
        return json.loads(note.read_text(encoding="utf-8"))
    recipe, how = recipe_for(label, minutes, data)
    print(f"{label}: {how['steps']} steps of {BATCH} crops in {how['precision']}", flush=True)
    begin = time.process_time()
    run = train(recipe, folder, accelerator="cpu")
    how |= {"crops": how["steps"] * BATCH, "cpu_minutes": (time.process_time() - begin) / 60, "held_out_psnr": run.psnr}
    how["minutes"] = minutes
    note.write_text(json.dumps(how, indent=2) + "\n", encoding="utf-8")
    return how


def times(models: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of CPU time per megapixel of a sensor, one thread: the least of some rounds, as others disturb."""
    noisy = np.random.default_rng(0).random((1, 4, *WINDOW), np.float32)
    level = np.full((1, 1, 1, 1), 0.0625, np.float32)
    runs: dict[tuple[str, str], Callable[[], object]] = {}
    for label, checkpoint in models.items():
        onnx = checkpoint.with_suffix(".onnx")
        export(checkpoint, onnx)
        for engine in ("onnxruntime", "openvino"):
            opened = open_engine(onnx, engine, threads=1)
            sigma = level if opened.card.level == "sigma" else None
            runs[label, engine] = lambda opened=opened, sigma=sigma: opened.run(noisy, sigma)
        name, options = NETWORKS[label]
        network = create(name, **options).eval()
        runs[label, "torch eager"] = lambda network=network: network(torch.from_numpy(noisy), torch.from_numpy(level))
    best = dict.fromkeys(runs, float("inf"))
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for key, run in runs.items():
                begin = time.process_time()
                run()
                best[key] = min(best[key], time.process_time() - begin)
    return {
        label: {kind: 1e3 * value / MEGAPIXELS for (of, kind), value in best.items() if of == label} for label in models
    }


def main() -> None:
    """Train what is missing, then print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--data", action="append", required=True, help="training pictures; repeat for several folders")
    parser.add_argument("--minutes", type=float, default=10, help="CPU time for each network")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, dict[str, Any]] = {
        label: trained(label, options.runs, options.minutes, options.data) for label in NETWORKS
    }
    models = {label: options.runs / label.lower().replace(" ", "-") / "best.safetensors" for label in NETWORKS}
    for label, milliseconds in times(models, options.rounds).items():
        rows[label]["ms_per_megapixel"] = milliseconds
    for label, (name, arguments) in NETWORKS.items():
        measured = cost(create(name, **arguments), height=256, width=256)
        model = ModelUnderTest(models[label].with_suffix(".onnx"))
        scores = {iso: evaluate(model, get_protocol(f"raw/kodak24/iso{iso}"), options.sets, channels=4) for iso in ISOS}
        rows[label] |= {
            "parameters": measured.parameters,
            "kmac_per_packed_pixel": measured.macs / 256**2 / 1e3,
            "psnr": {iso: score.mean("psnr") for iso, score in scores.items()},
            "ssim": {iso: score.mean("ssim") for iso, score in scores.items()},
            "noisy_psnr": {iso: score.mean("noisy_psnr") for iso, score in scores.items()},
        }
        print(f"scored {label}", flush=True)
    table(rows)
    if options.json is not None:
        content = {"minutes": options.minutes, "batch": BATCH, "crop": CROP, "window": WINDOW, "networks": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(rows: dict[str, dict[str, Any]]) -> None:
    print(
        f"{'':12s} {'parameters':>10s} {'kMAC/px':>8s} {'crops':>7s} " + " ".join(f"{f'ISO {i}':>8s}" for i in ISOS),
        end="",
    )
    print(f" {'mean gain':>9s} {'eager ms':>9s} {'ORT ms':>8s} {'OpenVINO':>9s} {'dB/ORT ms':>9s}")
    for label, row in rows.items():
        gain = statistics.fmean(row["psnr"][iso] - row["noisy_psnr"][iso] for iso in ISOS)
        row["mean_gain"] = gain
        ms = row["ms_per_megapixel"]
        print(
            f"{label:12s} {row['parameters']:10,d} {row['kmac_per_packed_pixel']:8.1f} {row['crops']:7,d} "
            + " ".join(f"{row['psnr'][iso]:8.2f}" for iso in ISOS)
            + f" {gain:9.2f} {ms['torch eager']:9.0f} {ms['onnxruntime']:8.0f} {ms['openvino']:9.0f}"
            + f" {gain / ms['onnxruntime']:9.4f}"
        )


if __name__ == "__main__":
    main()
