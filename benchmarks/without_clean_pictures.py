"""Do the quick recipes show what the papers claim? Three questions, one table.

(a) Noise2Noise: noisy targets against clean targets, the same budget; the papers' claim is that they come out equal.
(b) Neighbor2Neighbor: PSNR, and what its second term does: without it (increase_ratio 0) pictures come out smoother.
(c) The zero-shot fit: the gain on one picture that nothing was chosen on.

Train first, each about ten minutes on two cores, PICTURES being photographs (here CLIC 2025 and CID22, 250 pictures):

    shotnoise train noise2noise/gaussian-quick --data PICTURES --set training.steps=5000 -o RUNS/n2n-gaussian
    shotnoise train noise2noise/gaussian-quick ... --set pairs.clean_target=true -o RUNS/n2c-gaussian
    shotnoise train noise2noise/poisson-quick --data PICTURES --set training.steps=5000 -o RUNS/n2n-poisson
    shotnoise train noise2noise/poisson-quick ... --set pairs.clean_target=true -o RUNS/n2c-poisson
    shotnoise train neighbor2neighbor/gauss25-quick --data PICTURES -o RUNS/nb2nb
    shotnoise train neighbor2neighbor/gauss25-quick ... --set method.increase_ratio=0 -o RUNS/nb2nb-ratio0
    python benchmarks/without_clean_pictures.py RUNS SETS --json benchmarks/results/without_clean_pictures.json
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from shotnoise import open_image
from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.methods.zero_shot import fit_zero_shot

RUNS = {
    "n2n-gaussian": "noise2noise/kodak/gaussian25",
    "n2c-gaussian": "noise2noise/kodak/gaussian25",
    "n2n-poisson": "noise2noise/kodak/poisson30",
    "n2c-poisson": "noise2noise/kodak/poisson30",
    "nb2nb": "neighbor2neighbor/kodak/gauss25",
    "nb2nb-ratio0": "neighbor2neighbor/kodak/gauss25",
}
PICTURE = "kodim03.png"


def variation(pixels: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels: how much detail, or noise, a picture holds."""
    values = pixels.astype(float)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())


def detail(model: ModelUnderTest, folder: Path) -> float:
    """Variation of the denoised pictures over that of the clean ones, at sigma 25; below 1 is smoother than clean."""
    shares = []
    for number, path in enumerate(sorted(folder.glob("*.png"))[::4]):
        clean = open_image(path).pixels
        noise = np.random.default_rng(number).normal(0, 25 / 255, clean.shape)
        noisy = (clean / 255 + noise).astype(np.float32).transpose(2, 0, 1)
        result = 255 * np.clip(model(np.ascontiguousarray(noisy), 25 / 255), 0, 1)
        shares.append(variation(result.transpose(1, 2, 0)) / variation(clean))
    return float(np.mean(shares))


def zero_shot(path: Path) -> dict[str, Any]:
    clean = open_image(path).pixels.astype(float)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25, clean.shape) + 0.5, 0, 255).astype(np.uint8)
    result, report = fit_zero_shot(noisy)
    before, after = (10 * math.log10(255**2 / float(np.mean((x - clean) ** 2))) for x in (noisy, result))
    return {
        "picture": path.name,
        "before": round(before, 2),
        "after": round(after, 2),
        "seconds": round(report.seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("sets", type=Path, help="folder that holds kodak24")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kodak = next(path for path in options.sets.iterdir() if path.name.lower().startswith("kodak"))
    rows = []
    print(f"{'run':16}{'steps':>7}{'protocol':>46}{'noisy':>8}{'PSNR':>8}{'SSIM':>8}{'detail':>8}")
    for name, protocol in RUNS.items():
        if not (options.runs / name / "best.safetensors").exists():
            print(f"{name:16} is not trained")
            continue
        recipe = yaml.safe_load((options.runs / name / "recipe.yaml").read_text())
        model = ModelUnderTest(options.runs / name)
        kept = detail(model, kodak)
        # One realisation of the noise per picture: a second one moves the mean in the third decimal.
        score = evaluate(model, get_protocol(protocol).changed(repeats=1), options.sets).score()
        steps = recipe["training"]["steps"]
        rows.append({"run": name, "recipe": recipe["name"], "steps": steps, "detail": round(kept, 3), **dict(score)})
        print(f"{name:16}{steps:>7}{score.protocol:>46}{score.noisy_psnr:>8.2f}{score.psnr:>8.2f}{score.ssim:>8.4f}"
              f"{kept:>8.3f}")  # fmt: skip
    fit = zero_shot(kodak / PICTURE)
    print(f"zero-shot fit, {fit['picture']}, sigma 25: {fit['before']} -> {fit['after']} dB in {fit['seconds']} s")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"rows": rows, "zero_shot": fit}, indent=2) + "\n")


if __name__ == "__main__":
    main()
