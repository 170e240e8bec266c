"""How good is the bundled RAW model, against PMRID's published weights and a classical filter?

The frames are those of the protocols raw/kodak24/iso*: display pictures taken back to RAW, with the noise of PMRID's
own camera (OPPO Reno 10x, 10 bits) at each ISO. All methods are told the true law. The classical one is non-local means
over the four planes behind the same variance-stabilising root, with the asymptotically unbiased inverse; its strength
was chosen among five on training pictures of CID22, never on the frames of the table.

    python benchmarks/raw_denoise.py SETS --pmrid pmrid.safetensors --json benchmarks/results/raw_denoise.json

SETS holds kodak24/ and, for --choose, cid22/.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from skimage.restoration import denoise_nl_means

from shotnoise.evaluation import ModelUnderTest, find_pictures, get_protocol, psnr, ssim
from shotnoise.sensor.law import KSigma, NoiseLaw

ISOS = (800, 1600, 3200, 6400)
STRENGTHS = (0.4, 0.55, 0.7, 0.85, 1.0)
WRONG_AT, WRONG = 3200, (0.5, 0.67, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)
CHOSEN = 0.55  # by --choose


def classical(strength: float) -> Callable[[np.ndarray, NoiseLaw], np.ndarray]:
    """Non-local means where the noise is white: behind the root."""
    root = KSigma(root=True)

    def denoise(noisy: np.ndarray, law: NoiseLaw) -> np.ndarray:
        k, s2 = (np.resize(np.array(values), 4)[:, None, None] for values in (law.k, law.s2))
        stable = root.forward(noisy.astype(np.float64), k, s2)
        clean = denoise_nl_means(
            stable, patch_size=5, patch_distance=8, h=strength, sigma=1.0, fast_mode=True, channel_axis=0
        )
        return (root.inverse(clean, k, s2) + k / 4).astype(np.float32)  # the root of a mean is not the mean of roots

    return denoise


def choose(sets: Path) -> float:
    """The best strength on eight training pictures at two ISOs."""
    table = {}
    for strength in STRENGTHS:
        scores = []
        for iso in (1600, 6400):
            protocol = get_protocol(f"raw/folder/iso{iso}")
            for path in find_pictures(protocol, sets / "cid22")[1][::28]:
                trial = protocol.trial(path, 4, protocol.generator())
                scores.append(psnr(trial.judged(classical(strength)(trial.noisy, trial.told)), trial.clean, 1.0))
        table[strength] = statistics.fmean(scores)
        print(f"strength {strength:.2f}: {table[strength]:.3f} dB")
    return max(table, key=table.__getitem__)


def measure(denoise: Callable[..., np.ndarray], iso: int, sets: Path, limit: int | None) -> dict[str, float]:
    """Means over the pictures: in RAW, and after a simple development to 8 bits."""
    protocol = get_protocol(f"raw/kodak24/iso{iso}")
    rows = []
    for path in find_pictures(protocol, sets)[1][:limit]:
        trial = protocol.trial(path, 4, protocol.generator())
        result = denoise(trial.noisy, trial.told)
        judged, truth = trial.judged(result), trial.seen(trial.clean.transpose(2, 0, 1))
        rows.append(
            (
                psnr(judged, trial.clean, 1.0),
                ssim(judged, trial.clean, 1.0),
                psnr(trial.seen(result), truth, 255),
                math.log2(max(result.mean(), 1e-9) / trial.clean.mean()),
            )
        )
    names = ("psnr", "ssim", "psnr_developed", "brightness_stops")
    return {name: statistics.fmean(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--model", default="raw", help="what `shotnoise evaluate` takes")
    parser.add_argument("--pmrid", type=Path, help="the published weights")
    parser.add_argument("--choose", action="store_true", help="choose the strength of the classical filter, and stop")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.choose:
        print(f"chosen: {choose(options.sets)}")
        return
    methods: dict[str, Callable[..., np.ndarray]] = {
        "noisy": lambda noisy, law: noisy,
        "root + non-local means": classical(CHOSEN),
        options.model: ModelUnderTest(options.model),
    }
    if options.pmrid is not None:
        methods["PMRID, published weights"] = ModelUnderTest(options.pmrid)
    content: dict[str, Any] = {"strength_of_the_classical_filter": CHOSEN, "limit": options.limit, "isos": {}}
    print(f"{'':26s} {'ISO':>5s} {'RAW dB':>7s} {'SSIM':>7s} {'developed dB':>13s} {'stops':>7s}")
    for iso in ISOS:
        content["isos"][iso] = {}
        for name, denoise in methods.items():
            row = content["isos"][iso][name] = measure(denoise, iso, options.sets, options.limit)
            print(
                f"{name:26s} {iso:5d} {row['psnr']:7.2f} {row['ssim']:7.4f} {row['psnr_developed']:13.2f} "
                f"{row['brightness_stops']:7.4f}",
                flush=True,
            )
    print(f"\n{options.model} at ISO {WRONG_AT}, told noise that is stronger or weaker than the truth")
    content["wrong_law"] = {}
    model: Any = methods[options.model]
    for factor in WRONG:
        row = measure(lambda noisy, law, f=factor: model(noisy, law.scaled(f)), WRONG_AT, options.sets, options.limit)
        content["wrong_law"][factor] = row
        print(f"standard deviation x {factor:<5g} {row['psnr']:7.2f} {row['ssim']:7.4f} {row['psnr_developed']:13.2f}")
    if options.json is not None:
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
