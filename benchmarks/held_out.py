"""Which weights of `photo` to take: each kind of noise by itself, on pictures that no training saw.

    python benchmarks/held_out.py NAME=MODEL ... --data CLIC2025 --data CID22 [--json benchmarks/results/held_out.json]

The mean of a validation hides what one kind of noise wins at the cost of another. Here the held-out pictures of the
recipe photo/real-psnr get the noise of each of its parts, and the pictures themselves, 512x512 and rounded to 8 bits
as a file would be, say what is left of clean ones. MODEL is whatever `shotnoise evaluate` takes; models in the JSON
that are not named stay there.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shotnoise.bundled import find_model
from shotnoise.networks import Network, load
from shotnoise.pairs import PAIRS, collate
from shotnoise.pairs.sample import generator_for
from shotnoise.recipe import load_recipe
from shotnoise.training.run import _load, _split  # the pictures that trainings hold out, and no others

RECIPE = "photo/real-psnr"
SAMPLES, CROP, WHOLE = 32, 192, 512
SEED = 7


def decibels(result: Tensor, clean: Tensor) -> list[float]:
    """PSNR of each sample, 60 dB at most."""
    values: list[float] = (-10 * (result - clean).square().mean((1, 2, 3)).clamp_min(1e-6).log10()).tolist()
    return values


def name_of(part: dict[str, Any]) -> str:
    """The kind of noise, in a few words."""
    pairs, noise = part["pairs"], part["noise"]
    if pairs["name"] != "rendered":
        strengths = noise.get("sigma", noise.get("photons"))
        return f"{noise['name']} {strengths if isinstance(strengths, int | float) else '{} to {}'.format(*strengths)}"
    return "camera" + (", JPEG" if "jpeg" in pairs else "") + (", scaled" if "rescale" in pairs else "")


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(RECIPE, data=options.data)
    kind = PAIRS.resolve(recipe.pairs.name)
    _, held_out = _split(_load(recipe.data, 3, kind.wants(recipe.pairs.options), kind), recipe.validation.share)
    batches = {}
    for part in recipe.pairs.options["parts"]:
        source = PAIRS.create("mixed", {"parts": [part], "crop": CROP}, pictures=held_out, noise=None)
        batches[name_of(part)] = collate([source.draw(generator_for(SEED, number)) for number in range(SAMPLES)])
    content: dict[str, Any] = {"pictures": len(held_out), "samples": SAMPLES, "crop": CROP, "models": {}}
    if options.json is not None and options.json.exists():
        content["models"] = json.loads(options.json.read_text(encoding="utf-8"))["models"]
    content["noisy"] = {
        kind: statistics.mean(decibels(batch["noisy"], batch["target"])) for kind, batch in batches.items()
    }
    for word in options.models:
        name, _, model = word.rpartition("=")
        network: Network = load(find_model(model)).eval()
        with torch.no_grad():
            row = {
                kind: statistics.mean(decibels(network(batch["noisy"]).clamp(0, 1), batch["target"]))
                for kind, batch in batches.items()
            }
            left = []
            for picture in held_out:
                clean = torch.from_numpy(np.asarray(picture)[None, :, :WHOLE, :WHOLE].astype(np.float32) / 255)
                left += decibels((network(clean).clamp(0, 1) * 255).round() / 255, clean)
        content["models"][name or model] = row | {"whole pictures": statistics.mean(left)}
        print(name or model, {kind: round(value, 2) for kind, value in content["models"][name or model].items()})
    if options.json is not None:
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
