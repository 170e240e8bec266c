"""Make the bundled models again, from the packaged recipes to the files in the package, and say what it cost.

    python benchmarks/make_models.py --data CLIC2025 --data CID22 [--sets SETS] [--only photo,raw] [--install]

CLIC2025 and CID22 are folders of pictures (or stores of `shotnoise pack`) whose licences allow it; every card names
them. Each model takes the steps that a user would take, and prints the commands: train, evaluate where --sets is given
(a folder with kodak24/ and bsd300_test/), export with weights in half precision, export in int8. What is there already
is not made again, and an interrupted training goes on, so the command can be repeated. A model for which int8 cannot
hold its budget has none.

What it cost the last time that everything was made is in benchmarks/results/models.json, and --plan prints it.
--install puts the files into the package; without it they stay in the folder of --out.
"""

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COSTS = ROOT / "benchmarks" / "results" / "models.json"
PACKAGE = ROOT / "src" / "shotnoise" / "bundled"
WHITE = tuple(f"{data}/gaussian{sigma}" for data in ("kodak24", "bsd300") for sigma in (15, 25, 50))


@dataclass(frozen=True)
class Model:
    """What is made.

    Attributes:
        name: of the file.
        recipes: that it is trained by, one after the other; each starts from the weights of the one before.
        protocols: whose scores go onto its card.
        bundled: whether the package has it.
    """

    name: str
    recipes: tuple[str, ...]
    protocols: tuple[str, ...]
    bundled: bool = True


MODELS = (
    Model("photo", ("photo/real", "photo/real-psnr"), WHITE),
    Model("gaussian", ("gaussian/s",), WHITE),
    Model("raw", ("raw/ksigma",), tuple(f"raw/kodak24/iso{iso}" for iso in (800, 1600, 3200, 6400))),
    Model("gaussian-m", ("gaussian/m",), WHITE, bundled=False),
)


def shotnoise(*words: object, check: bool = True) -> tuple[int, float]:
    """Run a command of ours as a user would, and say so; its exit status and seconds."""
    print(f"$ shotnoise {' '.join(map(str, words))}", flush=True)
    start = time.monotonic()
    status = subprocess.run([sys.executable, "-m", "shotnoise", *map(str, words)], check=False).returncode
    if check and status:
        raise SystemExit(status)
    return status, time.monotonic() - start


def trained(recipe: str, run: Path, start: Path | None, options: argparse.Namespace) -> dict[str, Any]:
    """Train one recipe, or go on; what that took, which a resumed training adds up in its run folder."""
    spent = run / "seconds.json"
    seconds = json.loads(spent.read_text()) if spent.exists() else 0.0
    if not (run / "done").exists():
        words: list[object] = ["train", "--resume", run]
        if not (run / "last.ckpt").exists():
            words = ["train", recipe, "-o", run]
            words += ["--start-from", start] if start else []
            words += [word for place in options.data for word in ("--data", place)]
            words += [word for setting in options.set for word in ("--set", setting)]
        status, taken = shotnoise(*words, check=False)
        seconds += taken
        run.mkdir(parents=True, exist_ok=True)
        spent.write_text(json.dumps(seconds))
        if status:
            raise SystemExit(status)
        (run / "done").touch()
    return facts_of(recipe, run) | {"minutes": round(seconds / 60, 1), "where": where()}


def facts_of(recipe: str, run: Path) -> dict[str, Any]:
    """What a finished run says of itself."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    steps = max(int(row["step"]) for row in rows)
    curve = [[int(row["step"]), round(float(row["psnr"]), 3)] for row in rows if row["psnr"]]
    return {"recipe": recipe, "steps": steps, "validation": curve}


def made(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """One model, from its recipes to its files."""
    exact, int8 = options.out / f"{model.name}.onnx", options.out / f"{model.name}.int8.onnx"
    parts: list[dict[str, Any]] = []
    run = None
    for number, recipe in enumerate(model.recipes, 1):
        last = number == len(model.recipes)
        before, run = run, options.out / (model.name if last else f"{model.name}-{number}")
        parts.append(trained(recipe, run, before, options))
    given: list[object] = [word for place in options.data for word in ("--calibration", place)]
    scores: list[object] = []
    if options.sets is not None:
        measured = options.out / f"{model.name}.scores.json"
        if not measured.exists():
            shotnoise(
                "evaluate", run, "--protocol", ",".join(model.protocols), "--data", options.sets, "--json", measured
            )
        scores = ["--scores", measured]
    if not exact.exists():
        shotnoise("export", run, "-o", exact, "--half-weights", *scores, *given)
    if not int8.exists():
        status, _ = shotnoise("export", exact, "-o", int8, "--int8", *given, check=False)
        print(f"{model.name}: no int8, for the reason above" if status else f"{model.name}: done", flush=True)
    return {"parts": parts} | {path.name: path.stat().st_size for path in (exact, int8) if path.exists()}


def plan(models: tuple[Model, ...]) -> None:
    """What it cost the last time; of what was made before this was written down, what the recipe says."""
    costs = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}
    for model in models:
        known = {part["recipe"]: part for part in costs.get(model.name, {}).get("parts", [])}
        for name in model.recipes:
            if part := known.get(name):
                what = f"{part['minutes']:.0f} minutes for {part['steps']:,} steps ({part['where']})"
            else:
                recipe = ROOT / "src" / "shotnoise" / "recipes" / f"{name}.yaml"
                what = re.search(r"^# cost +(.*)$", recipe.read_text(encoding="utf-8"), re.MULTILINE)[1]  # type: ignore[index]
            print(f"{model.name:12s} {name:16s} {what}")


def main() -> None:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", default=[], help="pictures to train on; may be repeated")
    parser.add_argument("--sets", type=Path, help="folder with kodak24/ and bsd300_test/, for the scores on the cards")
    parser.add_argument("--only", default=",".join(model.name for model in MODELS))
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "models")
    parser.add_argument("--set", action="append", default=[], help="changes the recipes, as in `shotnoise train`")
    parser.add_argument("--plan", action="store_true", help="say what it costs, and stop")
    parser.add_argument("--install", action="store_true", help="put the files into the package")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - {model.name for model in MODELS}:
        parser.error(f"unknown models {', '.join(sorted(unknown))}; there are {', '.join(m.name for m in MODELS)}")
    models = tuple(model for model in MODELS if model.name in names)
    if options.plan:
        plan(models)
        return
    if not options.data:
        parser.error("no pictures to train on; give folders with --data")
    plan(models)
    for model in models:
        facts = made(model, options)
        costs = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}
        if not options.set:
            costs[model.name] = facts
            COSTS.write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")
        minutes, steps = (sum(part[key] for part in facts["parts"]) for key in ("minutes", "steps"))
        print(f"{model.name}: {minutes:.0f} minutes of training, {steps:,} steps", flush=True)
        if options.install and model.bundled:
            install(model, options.out)


def where() -> str:
    """The machine, in words."""
    import torch

    from shotnoise.evaluation.benchmark import machine

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    found = machine()
    return f"{found['processor']}, {os.cpu_count()} cores, load {found['load']:.1f}"


def install(model: Model, out: Path) -> None:
    """Put the files of a model into the package; int8 that is not there any more goes."""
    for name in (f"{model.name}.onnx", f"{model.name}.int8.onnx"):
        if (out / name).exists():
            shutil.copyfile(out / name, PACKAGE / name)
        else:
            (PACKAGE / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
