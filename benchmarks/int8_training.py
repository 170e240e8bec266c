"""Does a network that was trained with the rounding of int8 lose less to it?

A trained network is trained on, once in float and once with rounded convolutions: the same samples, steps and rates.
Each of the three is then scored in float, and as int8 after calibration: weights of convolutions in 127 steps per
output channel, their inputs in 256 steps between the ends that training pictures with noise have (all but 0.005 % of
the values), everything else in float. int8 is calculated here in float32, value by value what integers would give up to
the order of sums.

Scores are PSNR after rounding to 8 bits, means over the middles of the pictures that the recipe holds out of training.
No test set is touched.

    python benchmarks/int8_training.py gaussian RUNS --data CLIC2025 --data CID22 [--steps 400]

The model is a run, a checkpoint or an ONNX file of the network of gaussian/s; `gaussian` is the bundled one. RUNS keeps
the trained networks: what lies there is not trained again, and what was interrupted goes on.
"""

import argparse
import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shotnoise.bundled import find_model
from shotnoise.engines import open_engine
from shotnoise.networks import Network, create, load
from shotnoise.networks.checkpoint import save_checkpoint
from shotnoise.pairs import PAIRS
from shotnoise.pairs.sample import Batch, SampleStream, collate
from shotnoise.recipe import Recipe, load_recipe
from shotnoise.training import train
from shotnoise.training.quantised import Quantisation
from shotnoise.training.run import _load, _source, _split

LEVELS = (0, 5, 15, 25, 50)
CALIBRATION = 64  # batches
SIDE = 256  # of what is scored


def start(model: str, runs: Path) -> Path:
    """The trained network as a checkpoint from which trainings can start."""
    place = find_model(model) if not Path(model).exists() else Path(model)
    if place.suffix != ".onnx":
        return place
    import onnx
    import onnx.numpy_helper

    card = open_engine(place).card
    network = create(card.network, **card.arguments)
    stored = {item.name: item for item in onnx.load(place).graph.initializer}
    weights = {key: onnx.numpy_helper.to_array(stored[f"network.{key}"]) for key in network.state_dict()}
    network.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in weights.items()})
    file = runs / "start.safetensors"
    save_checkpoint(file, network, card)
    return file


def trained_on(label: str, recipe: Recipe, runs: Path, changes: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Train, or go on, unless it is done; the run and what it took."""
    folder = runs / label.replace(" ", "-")
    note = folder / "done.json"
    if not note.exists():
        training = recipe.training.model_dump() | changes
        plan = Recipe.model_validate(recipe.model_dump() | {"training": training})
        begin = time.process_time()
        train(plan, folder, accelerator="cpu", resume=(folder / "last.ckpt").exists())
        done = {"cpu_minutes": (time.process_time() - begin) / 60}
        note.write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")
    return folder / "last.safetensors", json.loads(note.read_text(encoding="utf-8"))


def calibration(recipe: Recipe) -> list[Batch]:
    """Samples of the training from which ranges are found."""
    pictures, _ = _split(_load(recipe.data, 3, PAIRS.resolve(recipe.pairs.name).wants({})), recipe.validation.share)
    stream = SampleStream(_source(recipe.pairs, recipe.noise, pictures), seed=77)
    return [collate([stream[4 * number + place] for place in range(4)]) for number in range(CALIBRATION)]


def as_int8(network: Network, float_layers: Sequence[str], batches: Sequence[Batch]) -> Network:
    """A copy whose convolutions are rounded, with the ranges of these samples."""
    rounded = copy.deepcopy(network)
    quantisation = Quantisation(rounded, float_layers)
    with torch.inference_mode():
        for batch in batches:
            rounded(batch["noisy"], batch["level"])
    quantisation.eval()
    return rounded


def held_out(recipe: Recipe) -> list[Tensor]:
    """The middles of the pictures that no training of this recipe sees, (1, C, SIDE, SIDE) in 0..1."""
    _, pictures = _split(_load(recipe.data, 3, PAIRS.resolve(recipe.pairs.name).wants({})), recipe.validation.share)
    middles = []
    for picture in pictures:
        top, left = ((side - SIDE) // 2 for side in picture.shape[1:])
        middle = np.asarray(picture[:, top : top + SIDE, left : left + SIDE])
        middles.append(torch.from_numpy(middle.copy())[None].float() / 255)
    return middles


def scores(network: nn.Module, pictures: Sequence[Tensor]) -> list[float]:
    """PSNR in dB at each level."""
    means = []
    for level in LEVELS:
        generator = torch.Generator().manual_seed(level)
        found = []
        for clean in pictures:
            sigma = torch.full((1, 1, 1, 1), level / 255)
            noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
            with torch.inference_mode():
                result = (network(noisy, sigma).clamp(0, 1) * 255).round() / 255
            found.append(-10 * (result - clean).square().mean().clamp_min(1e-10).log10().item())
        means.append(sum(found) / len(found))
    return means


def main() -> None:
    """Train what is missing, then print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", action="append", required=True, help="training pictures; repeat for several folders")
    parser.add_argument("--steps", type=int, default=400, help="of each of the two trainings; 0 for none")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--float-layers", nargs="*", default=["stem", "head"], help="convolutions that stay in float")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.runs.mkdir(parents=True, exist_ok=True)
    begin = start(options.model, options.runs)
    recipe = load_recipe(
        "gaussian/s-int8", overrides=[f"pairs.crop={options.crop}"], data=options.data, start_from=begin
    )
    networks, notes = {"as it was": begin}, {}
    if options.steps:
        common = {"steps": options.steps, "batch": options.batch, "lr": options.lr, "warmup": options.steps // 20}
        for label, changes in trainings(options.float_layers).items():
            networks[label], notes[label] = trained_on(label, recipe, options.runs, common | changes)
    pictures, batches = held_out(recipe), calibration(recipe)
    print(f"{len(pictures)} pictures; in float: {', '.join(options.float_layers) or 'no convolution'}")
    print(f"{'':26s}" + "".join(f"{f'sigma {level}':>10s}" for level in LEVELS))
    rows: dict[str, dict[str, list[float]]] = {}
    for label, place in networks.items():
        network = load(place)
        exact, rounded = (scores(one, pictures) for one in (network, as_int8(network, options.float_layers, batches)))
        rows[label] = {"fp32": exact, "int8": rounded}
        print(f"{label:21s}fp32 " + "".join(f"{value:10.3f}" for value in exact))
        print(f"{'':21s}int8 " + "".join(f"{value:10.3f}" for value in rounded))
        change = [after - before for before, after in zip(exact, rounded, strict=True)]
        print(f"{'':26s}" + "".join(f"{value:+10.3f}" for value in change), flush=True)
    if options.json is not None:
        content = {
            "levels": LEVELS, "pictures": len(pictures), "side": SIDE, "steps": options.steps, "batch": options.batch,
            "crop": options.crop, "lr": options.lr,
            "float_layers": options.float_layers, "torch": torch.__version__, "trainings": notes, "psnr": rows,
        }  # fmt: skip
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def trainings(float_layers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is trained, and what each changes in the training of the recipe."""
    return {
        "trained in float": {"quantise": None, "float_layers": (), "frozen_ranges": 0.25},
        "trained with int8": {"float_layers": tuple(float_layers)},
    }


if __name__ == "__main__":
    main()
