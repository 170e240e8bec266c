"""How far off are the estimates of the error that a report gives without a clean picture?

Photographs get known noise and go through the bundled denoisers; the PSNR that the report estimates is held against the
true one, of the values at which the noise is not cut off by black or white. White Gaussian noise of several levels on
the pictures as they are, rounded and clipped to 8 bits; and the noise of a simulated camera at several ISOs on the same
pictures taken back to RAW. The pictures are those that the recipes of the bundled models held out of the training.

    python benchmarks/sure.py CLIC2025 CID22 --json benchmarks/results/sure.json
"""

import argparse
import copy
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from shotnoise import Denoiser, Image, RawDenoiser, RawFrame, open_image
from shotnoise.images import list_pictures
from shotnoise.images.image import to_depth
from shotnoise.report import Report, compare
from shotnoise.runner import ModelRunner
from shotnoise.sensor.develop import Look
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.simulate import SimulatedSensor
from shotnoise.sensor.undevelop import undevelop

LEVELS = (5.0, 10.0, 15.0, 25.0, 50.0)
ISOS = (400.0, 1600.0, 6400.0)
QUOTED = 25.0  # counts: beyond, black and white cut off so much that the estimates are of little use
SIDE = 512
HELD_OUT = 0.05  # share, as the recipes have it


def held_out(folders: list[Path]) -> list[Path]:
    """The pictures that a training on these folders does not see."""
    paths = {f"{folder.name}/{path.stem}": path for folder in folders for path in list_pictures(folder)}
    names = sorted(paths, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return [paths[name] for name in names[: max(1, round(HELD_OUT * len(names)))]]


def middle(path: Path) -> np.ndarray:
    """A square out of the middle, 8 bits."""
    pixels = np.asarray(to_depth(open_image(path).pixels, np.uint8))
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, 2)
    height, width = (min(SIDE, side // 2 * 2) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def told(denoiser: ModelRunner, **facts: Any) -> ModelRunner:
    """The same denoiser, told what the noise is."""
    again = copy.copy(denoiser)
    for name, value in facts.items():
        setattr(again, name, value)
    return again


def measure_picture(clean: np.ndarray, level: float, denoiser: Denoiser, seed: int) -> list[dict[str, Any]]:
    """One picture with white noise, the level known to the report and not."""
    noise = np.random.default_rng(seed).normal(0, level, clean.shape)
    noisy = Image(np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8))
    rows = []
    for known in (True, False):
        sigma = level if known else denoiser.run(noisy).sigma
        again = told(denoiser, level=sigma)
        report = compare(
            noisy, again(noisy), Image(clean), noise=level if known else None, restore=lambda one, at=again: at(one)
        )
        rows += rows_of(report, "picture", level, known)
    return rows


def measure_raw(clean: np.ndarray, iso: float, denoiser: RawDenoiser, seed: int) -> list[dict[str, Any]]:
    """One picture through a simulated sensor, its law known to the report and not."""
    sensor = SimulatedSensor(height=clean.shape[0], width=clean.shape[1])

    def expose(scene: np.ndarray, noisy: bool) -> RawFrame:
        light = sensor.exposure_for(1.0, iso)
        return sensor.expose(scene, iso=iso, exposure=light, rng=np.random.default_rng(seed), noisy=noisy)

    scene = undevelop(clean, Look.of(expose(np.zeros(clean.shape), False))) / np.array(sensor.responsivity)
    frame, truth = expose(scene, True), expose(scene, False)
    frame = frame.with_mosaic(frame.mosaic, noise=None)
    law = sensor.noise(iso)
    rows = []
    for known in (True, False):
        again = told(denoiser, profile=NoiseLaw(law.k, law.s2, "known") if known else None)
        result = again.run(frame)
        fixed = told(again, profile=result.law)
        report = compare(
            frame, result.frame, truth, noise=law if known else None, restore=lambda one, at=fixed: at(one)
        )
        rows += rows_of(report, "raw", iso, known)
    return rows


def rows_of(report: Report, kind: str, strength: float, known: bool) -> list[dict[str, Any]]:
    # Like the estimates, without what lies so near to black or white that the noise is cut off.
    whole = slice(0, report.subject.height), slice(0, report.subject.width)
    after, clean = (report.subject.values(role, *whole) for role in ("after", "reference"))
    error = np.square(after - clean)[report.noise.usable(after)].mean(dtype=np.float64)
    return [
        {
            "kind": kind,
            "noise": strength,
            "known": known,
            "method": estimate.method,
            "before": round(estimate.before, 3),
            "usable": round(report.measured.usable, 3),
            "true_everywhere": round(report.truth.psnr_after, 3),
            "true": round(-10 * math.log10(error), 3),
            "estimate": None if estimate.psnr is None else round(estimate.psnr, 3),
        }
        for estimate in report.estimates
    ]


def measured(path: Path, seed: int, pictures: Denoiser, raw: RawDenoiser) -> list[dict[str, Any]]:
    """All rows of one photograph."""
    clean = middle(path)
    rows = [row for level in LEVELS for row in measure_picture(clean, level, pictures, seed)]
    rows += [row for iso in ISOS for row in measure_raw(clean, iso, raw, seed)]
    return [{"picture": path.name, **row} for row in rows]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the absolute errors in dB; how many rows there are, and how many of them had an estimate."""
    signed = [row["estimate"] - row["true"] for row in rows if row["estimate"] is not None]
    if not signed:
        return {"rows": len(rows), "estimated": 0}
    errors = np.abs(signed)
    return {
        "rows": len(rows),
        "estimated": len(errors),
        "median": round(float(np.median(errors)), 2),
        "error_90": round(float(np.quantile(errors, 0.9)), 2),
        "worst": round(float(errors.max()), 2),
        "bias": round(float(np.mean(signed)), 2),
    }


def tables(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Per method, kind, knowledge and strength; and what the report quotes: median and 90 % up to 25 counts."""
    found: dict[str, Any] = {}
    quoted: dict[str, list[float]] = {}
    for method in ("stein", "residual"):
        for kind, strengths in (("picture", LEVELS), ("raw", ISOS)):
            for known in (True, False):
                name = f"{method}/{kind}/{'known' if known else 'blind'}"
                own = [row for row in rows if (row["method"], row["kind"], row["known"]) == (method, kind, known)]
                found[name] = summarise([row for row in own if kind == "raw" or row["noise"] <= QUOTED])
                quoted[name] = [found[name]["median"], found[name]["error_90"]]
                for strength in strengths:
                    found[f"{name}/{strength:g}"] = summarise([row for row in own if row["noise"] == strength])
    return found, quoted


def write(path: Path | None, rows: list[dict[str, Any]]) -> None:
    if path is not None:
        found, quoted = tables(rows)
        content = {"models": ["gaussian", "raw"], "side": SIDE, "quoted": quoted, "errors_in_db": found, "rows": rows}
        path.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=int, help="so many pictures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="goes on with what stands there already")
    arguments = parser.parse_args()
    paths = held_out(arguments.folders)[: arguments.limit]
    pictures, raw = Denoiser("gaussian", threads=arguments.threads), RawDenoiser("raw", threads=arguments.threads)
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    for seed, path in enumerate(paths):
        if path.name in {row["picture"] for row in rows}:
            continue
        rows += measured(path, seed, pictures, raw)
        write(arguments.json, rows)
    write(arguments.json, rows)
    found, _ = tables(rows)
    print(f"{len({row['picture'] for row in rows})} pictures; absolute error of the estimated PSNR in dB")
    print("method, kind, noise, strength      median    90 %   worst    bias   with an estimate")
    for name, one in found.items():
        numbers = "  ".join(f"{one.get(key, math.nan):6.2f}" for key in ("median", "error_90", "worst", "bias"))
        print(f"{name:32} {numbers}   {one['estimated']} of {one['rows']}")


if __name__ == "__main__":
    main()
