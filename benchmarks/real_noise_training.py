"""Which made noise teaches a denoiser most about real photographs?

The same small network, pictures and CPU time three times; only the noise of the samples differs: white Gaussian of any
strength up to 50, shot and read noise through the classical camera, and the same through a learned one, whose samples
cost more, so that it has fewer steps. All are scored
on real pairs, which nothing was trained or chosen on, beside the bundled `gaussian`, which is told an estimate of the
noise level.

    python benchmarks/real_noise_training.py RUNS PAIRS --data PICTURES --camera RUN [--steps 3000] [--json FILE]

RUNS keeps the trained models: what lies there is not trained again. PAIRS holds noisy/ and clean/; RUN is that of
cycleisp/joint-quick.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.recipe import Recipe, load_recipe
from shotnoise.training import train

KINDS = {
    "white Gaussian": {"noise": {"name": "gaussian", "sigma": [0, 50]}, "pairs": {"name": "clean", "crop": 64}},
    "classical camera": {"pairs": {"name": "rendered", "renderer": "classical", "crop": 64}},
    "learned camera": {"pairs": {"name": "rendered", "renderer": "LEARNED", "crop": 64}},
}


def trained(kind: str, folder: Path, steps: int, data: list[str], camera: Path) -> Path:
    """Train, unless that was done before; the checkpoint of the last step, as the held-out noise differs by kind."""
    checkpoint = folder / "last.safetensors"
    if not checkpoint.exists():
        base = load_recipe("cycleisp/denoise-srgb-quick")
        content = base.model_dump(mode="json", exclude_defaults=True) | {"data": data} | KINDS[kind]
        if kind == "learned camera":
            content["pairs"] = content["pairs"] | {"renderer": str(camera)}
        content["training"] |= {"steps": steps}
        print(f"{kind}: {steps} steps", flush=True)
        train(Recipe.model_validate(content), folder, accelerator="cpu", resume=(folder / "last.ckpt").exists())
    return checkpoint


def main() -> None:
    """Train what is missing, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--camera", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--learned-steps", type=int, default=700, help="as many as fit into the CPU time of the others")
    parser.add_argument("--only", choices=KINDS, help="train this one and stop")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    models: dict[str, Any] = {"gaussian (bundled)": "gaussian"}
    steps: dict[str, int] = {}
    for kind in [options.only] if options.only else KINDS:
        folder = options.runs / kind.replace(" ", "-").lower()
        steps[kind] = options.learned_steps if kind == "learned camera" else options.steps
        models[kind] = trained(kind, folder, steps[kind], options.data, options.camera)
    if options.only:
        return
    rows: dict[str, dict[str, Any]] = {}
    for kind, model in models.items():
        result = evaluate(ModelUnderTest(model), get_protocol("pairs/folder"), options.pairs, channels=3)
        row = rows[kind] = {name: result.mean(name) for name in ("noisy_psnr", "psnr", "noisy_ssim", "ssim")}
        row["each"] = [picture.psnr for picture in result.rows]
        print(f"{kind:18s} {row['noisy_psnr']:6.2f} -> {row['psnr']:6.2f} dB, SSIM {row['ssim']:.4f}", flush=True)
    if options.json is not None:
        content = {"steps": steps, "batch": 8, "crop": 64, "pictures": len(rows[kind]["each"]), "models": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
