"""Are the bundled models better than published weights that people know? The same pictures, noise and seeds for all.

- **gaussian**: white noise of known strength on Kodak24 and BSD300, in colour and gray: our models in every precision,
  FFDNet. By the protocols of `shotnoise evaluate`.
- **raw**: RAW made of Kodak24 with the noise of PMRID's own camera at ISO 800 to 6400, the law told: `raw`, PMRID.
- **real**: pairs of phone photographs, about which nothing is told. What wants a noise level has a blind estimate, as
  in use; and, in a second row, the one level that turned out to be the best for it, which nobody could know.
- **clean**: pictures without noise, which should stay as they are; white noise of sigma 25, whose removal should change
  neither mean colour nor the strength of fine detail (mean absolute gradient, as a share of that of the original).

    python benchmarks/quality.py SETS WEIGHTS --real PAIRS --json benchmarks/results/quality.json

SETS holds kodak24/ and bsd300_test/; WEIGHTS ffdnet_color, ffdnet_gray, dncnn_color_blind and pmrid in any format that
`shotnoise.networks.load` opens; PAIRS noisy/ and clean/. A row that the JSON has of the same file is not measured
again, so a run can be stopped. All of it takes about half an hour of one core, most of it for FFDNet.
"""

import argparse
import hashlib
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.bundled import find_model, sibling
from shotnoise.errors import ModelError
from shotnoise.evaluation import ModelUnderTest, evaluate, find_pictures, get_protocol, psnr, quantise
from shotnoise.evaluation.benchmark import machine
from shotnoise.images import open_image

SIGMAS = (2, 5, 15, 25, 50)
LEVELS = (2, 4, 6, 8, 10, 12, 15, 18, 22)
SETS = ("kodak24", "bsd300")
ISOS = (800, 1600, 3200, 6400)
ENDINGS = (".safetensors", ".pth", ".pt", ".mat")
Values = npt.NDArray[np.float32]
Row = dict[str, float]


@dataclass(frozen=True)
class Candidate:
    """A model: its name in the table, and its file."""

    name: str
    path: Path

    def identity(self) -> str:
        """Changes with the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Job:
    """One row to measure."""

    task: str
    one: Candidate
    run: Callable[[ModelUnderTest], Row]


@cache
def opened(path: Path) -> ModelUnderTest:
    """The floating-point part is calculated exactly."""
    return ModelUnderTest(path)


def ours(*names: str) -> Iterator[Candidate]:
    """Bundled models, each also in int8 if it has that."""
    for name in names:
        path = find_model(name)
        yield Candidate(name, path)
        if sibling(path, "int8").is_file():
            yield Candidate(f"{name}, int8", sibling(path, "int8"))


def published(folder: Path, **names: str) -> Iterator[Candidate]:
    """Weights of others."""
    for stem, name in names.items():
        found = [path for ending in ENDINGS if (path := folder / f"{stem}{ending}").is_file()]
        if not found:
            raise ModelError(f"{folder}: has no {stem} with one of the endings {', '.join(ENDINGS)}")
        yield Candidate(name, found[0])


def gaussian(options: argparse.Namespace) -> Iterator[Job]:
    """White noise of known strength, in colour and gray."""
    others = published(options.weights, ffdnet_color="FFDNet")
    colour = [*ours("gaussian", "photo"), *(Candidate(path.stem, path) for path in options.model), *others]
    gray = [*ours("gaussian"), *published(options.weights, ffdnet_gray="FFDNet")]
    for channels, models in ((3, colour), (1, gray)):
        for one in models:
            for data in SETS:
                for sigma in SIGMAS:
                    kind = data if channels == 3 else f"{data} gray"
                    run = partial(by_protocol, options, f"{data}/gaussian{sigma}", options.sets, channels)
                    yield Job(f"{kind}, sigma {sigma}", one, run)


def raw(options: argparse.Namespace) -> Iterator[Job]:
    """RAW of PMRID's camera."""
    for one in (*ours("raw"), *published(options.weights, pmrid="PMRID")):
        for iso in ISOS:
            yield Job(f"ISO {iso}", one, partial(by_protocol, options, f"raw/kodak24/iso{iso}", options.sets, 4))


def real(options: argparse.Namespace) -> Iterator[Job]:
    """Pairs of a phone."""
    if options.real is None:
        print("real: left out, there are no --real pairs")
        return
    others = published(options.weights, ffdnet_color="FFDNet", dncnn_color_blind="DnCNN, blind")
    for one in (*ours("photo", "gaussian"), *(Candidate(path.stem, path) for path in options.model), *others):
        yield Job("phone", one, partial(by_protocol, options, "pairs/folder", options.real, 3))
        if opened(one.path).card.level == "sigma":
            yield Job("phone, the best level told", one, partial(at_best_level, options))


def clean(options: argparse.Namespace) -> Iterator[Job]:
    """What a model does to pictures that need nothing, and what it does besides removing noise."""
    for one in ours("photo", "gaussian"):
        for sigma in (0, 25):
            yield Job(f"sigma {sigma}" if sigma else "no noise", one, partial(harm, options, sigma))


def by_protocol(
    options: argparse.Namespace,
    name: str,
    folder: Path,
    channels: int,
    model: ModelUnderTest,
    level: float | None = None,
) -> Row:
    """Means over the pictures of a protocol."""

    def denoise(noisy: Values, told: Any) -> Values:
        told = told if level is None else level / 255
        if len(noisy) == model.channels:
            return model(noisy, told)
        return model(np.repeat(noisy, 3, 0), told).mean(0, keepdims=True)  # gray, as a colour model meets it

    result = evaluate(denoise, get_protocol(name), folder, channels=channels, limit=options.limit)
    if result.failed:
        raise SystemExit(f"not every picture could be measured: {result.failed[0]}")
    return {name: result.mean(name) for name in ("noisy_psnr", "psnr", "ssim")}


def at_best_level(options: argparse.Namespace, model: ModelUnderTest) -> Row:
    """Of the levels told to all pictures, the one after which they are the best."""
    rows = [
        by_protocol(options, "pairs/folder", options.real, 3, model, level) | {"level": float(level)}
        for level in LEVELS
    ]
    return max(rows, key=lambda row: row["psnr"])


def harm(options: argparse.Namespace, sigma: int, model: ModelUnderTest) -> Row:
    """PSNR, the largest change of the mean of a colour in counts, and what is left of the gradients."""
    rows = []
    for path in find_pictures(get_protocol("kodak24/gaussian25"), options.sets)[1][: options.limit]:
        picture = open_image(path).pixels
        values = picture.transpose(2, 0, 1) / np.float32(255)
        noise = np.random.default_rng(0).normal(0, sigma / 255, values.shape).astype(np.float32)
        result = quantise(model(values + noise, sigma / 255).transpose(1, 2, 0))
        drift = np.abs(result.mean((0, 1)) - picture.mean((0, 1))).max()
        rows.append((min(psnr(result, picture, 255), 99.0), drift, detail(result) / detail(picture)))
    columns = ("psnr", "colour_drift", "detail")
    return {name: statistics.fmean(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)}


def detail(picture: npt.NDArray[np.uint8]) -> float:
    """Mean absolute gradient."""
    values = picture.astype(np.float32)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())


PARTS = {"gaussian": gaussian, "raw": raw, "real": real, "clean": clean}


def main() -> None:
    """Measure what is missing, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--real", type=Path, help="folder with noisy/ and clean/")
    parser.add_argument("--model", type=Path, action="append", default=[], help="another colour model; may be repeated")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--only", action="append", help="measure only the model of this name; may be repeated")
    parser.add_argument("--limit", type=int, help="only the first pictures of each set")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := set(options.parts.split(",")) - {*PARTS}:
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    rows: list[dict[str, Any]] = []
    if options.json is not None and options.json.exists():
        rows = json.loads(options.json.read_text(encoding="utf-8"))["rows"]
    for part in options.parts.split(","):
        for job in PARTS[part](options):
            if options.only and job.one.name not in options.only:
                continue
            key = {"part": part, "task": job.task, "model": job.one.name}
            known = key | {"file": job.one.identity(), "limit": options.limit}
            row = next((row for row in rows if known.items() <= row.items()), None)
            if row is None:
                measured = job.run(opened(job.one.path))
                row = known | {name: round(value, 4) for name, value in measured.items()}
                rows = [other for other in rows if not key.items() <= other.items()] + [row]
                if options.json is not None:
                    content = {"machine": machine(), "rows": rows}
                    options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            more = ("ssim", "level", "colour_drift", "detail")
            rest = ", ".join(f"{name} {row[name]:.3f}" for name in more if name in row)
            before = f"{row['noisy_psnr']:6.2f} -> " if "noisy_psnr" in row else " " * 10
            print(f"{part:9s} {job.task:28s} {job.one.name:16s} {before}{row['psnr']:6.2f} dB, {rest}", flush=True)


if __name__ == "__main__":
    main()
