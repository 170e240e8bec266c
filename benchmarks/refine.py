"""What a few real pairs of one's own camera add to the bundled `photo`.

    python benchmarks/refine.py RUNS PAIRS [--json benchmarks/results/refine.json]

PAIRS holds noisy/ and clean/. Half of the pairs refine the model by the recipe photo/pairs, the other half are scored,
and the other way round, so that no pair is scored by a model that has seen it. A third model learns from the same
pairs without starting from `photo`. RUNS keeps the trained models: what lies there is not trained again.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.recipe import Recipe, load_recipe
from shotnoise.training import train

SIDES = ("noisy", "clean")


def halves(pairs: Path, folder: Path) -> list[Path]:
    """Two folders of links: the first and the second half of the pairs by their names."""
    names = sorted(path.name for path in (pairs / "noisy").iterdir())
    made = []
    for number, chosen in enumerate((names[: len(names) // 2], names[len(names) // 2 :])):
        for side in SIDES:
            place = folder / f"half-{number}" / side
            place.mkdir(parents=True, exist_ok=True)
            for name in chosen:
                link = place / name
                if not link.exists():
                    link.symlink_to((pairs / side / name).resolve())
        made.append(folder / f"half-{number}")
    return made


def trained(recipe: Recipe, folder: Path) -> Path:
    """Train, unless that was done before."""
    if not (folder / "done").exists():
        begin = time.process_time()
        train(recipe, folder, accelerator="cpu", resume=(folder / "last.ckpt").exists())
        (folder / "done").write_text(f"{time.process_time() - begin:.0f}")
    return folder


def score(model: Any, pairs: Path) -> list[float]:
    """PSNR of each pair."""
    return [row.psnr for row in evaluate(ModelUnderTest(model), get_protocol("pairs/folder"), pairs, channels=3).rows]


def main() -> None:
    """Train what is missing, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folders = halves(options.pairs, options.runs)
    scores: dict[str, list[float]] = {"photo": [], "photo, refined": [], "the same pairs alone": []}
    seconds = []
    for mine, others in (folders, folders[::-1]):
        recipe = load_recipe("photo/pairs", data=[mine])
        refined = trained(recipe, options.runs / f"refined-{mine.name}")
        alone = trained(recipe.model_copy(update={"start_from": None}), options.runs / f"alone-{mine.name}")
        seconds += [float((run / "done").read_text()) for run in (refined, alone)]
        for name, model in zip(scores, ("photo", refined, alone), strict=True):
            scores[name] += score(model, others)
    noisy = evaluate(ModelUnderTest("photo"), get_protocol("pairs/folder"), options.pairs, channels=3).mean(
        "noisy_psnr"
    )
    print(f"{'noisy':22s} {noisy:6.2f} dB")
    for name, each in scores.items():
        print(f"{name:22s} {statistics.mean(each):6.2f} dB, {min(each):.2f} to {max(each):.2f}")
    if options.json is not None:
        content = {
            "pairs": len(scores["photo"]), "steps": recipe.training.steps, "noisy": noisy,
            "cpu_minutes": round(statistics.mean(seconds) / 60, 1), "models": scores,
        }  # fmt: skip
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
