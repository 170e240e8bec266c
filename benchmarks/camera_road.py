"""The whole road with a camera of which everything is known: frames -> profile -> model -> DNG, as the docs walk it.

A simulated 12-bit sensor photographs black frames, evenly lit paper and four pictures. The commands are those that a
user types; what they find is compared with the truth. It also makes the figures of docs/camera.md.

    python benchmarks/camera_road.py PHOTOS SCENES OUT --json benchmarks/results/camera_road.json --figures docs/images

PHOTOS are training photographs, SCENES those to be photographed and denoised, never trained on; OUT is a new folder, or
one of an earlier run, whose profile and model are then used again.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from shotnoise import NoiseProfile, open_image, open_raw, save_dng
from shotnoise.images.raw import RawFrame
from shotnoise.sensor.develop import Look, develop
from shotnoise.sensor.simulate import SimulatedSensor
from shotnoise.sensor.undevelop import undevelop

ISOS = (100, 400, 1600, 6400)
SHOOT_AT = (1600, 6400)
EXPOSE = 0.7  # share of the range that white fills
SIZE = (512, 768)


def camera() -> SimulatedSensor:
    """A camera with the faults that cameras have."""
    return SimulatedSensor(
        *SIZE, pattern="GRBG", gain=0.16, read_before=2.2, read_after=1.4, prnu=0.006, dark_current=2.0, hot_pixels=1e-5
    )


def shotnoise(*arguments: object) -> float:
    """One command, shown; its seconds."""
    line = [str(argument) for argument in arguments]
    print("$ shotnoise " + " ".join(line), flush=True)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "shotnoise", *line], check=False)
    if done.returncode:
        raise SystemExit(f"that ended with status {done.returncode}")
    return round(time.perf_counter() - start, 1)


def capture(sensor: SimulatedSensor, folder: Path) -> None:
    """Black frames and flat ones, as DNG."""
    black, flat = sensor.calibration_set(ISOS, rng=np.random.default_rng(1))
    for kind, frames in (("black", black), ("flat", flat)):
        (folder / kind).mkdir(parents=True)
        for name, frame in frames.items():
            save_dng(frame, folder / kind / f"{name}.dng")


def shoot(sensor: SimulatedSensor, scenes: list[Path], folder: Path) -> dict[str, RawFrame]:
    """Each scene at each ISO; the truth by the name of the file."""
    folder.mkdir()
    truth = {}
    look = Look.of(sensor.flat(0.5, iso=100, rng=np.random.default_rng(0)))
    for number, path in enumerate(scenes):
        pixels = open_image(path).pixels
        if pixels.shape[0] > pixels.shape[1]:
            pixels = pixels.transpose(1, 0, 2)
        light = undevelop(pixels[: SIZE[0], : SIZE[1]], look) / np.array(sensor.responsivity)
        for iso in SHOOT_AT:
            exposure = sensor.exposure_for(EXPOSE, iso)
            name = f"{path.stem}_ISO_{iso}"
            rng = np.random.default_rng([number, iso])
            save_dng(sensor.expose(light, iso=iso, exposure=exposure, rng=rng), folder / f"{name}.dng")
            truth[name] = sensor.expose(light, iso=iso, exposure=exposure, rng=rng, noisy=False)
    return truth


def decibels(frame: RawFrame, truth: RawFrame, sensor: SimulatedSensor) -> float:
    """PSNR of the counts, clipped to black and white."""
    span = sensor.white - sensor.blacks[0]
    first, second = (np.clip((f.mosaic.astype(float) - sensor.blacks[0]) / span, 0, 1) for f in (frame, truth))
    return float(-10 * np.log10(np.mean((first - second) ** 2)))


def figure(name: str, folders: dict[str, Path], truth: RawFrame, target: Path) -> None:
    """The same cut of a picture from every folder, side by side, developed alike."""
    look = Look.of(truth)
    parts = [develop(open_raw(folder / f"{name}.dng"), look, size="full").pixels for folder in folders.values()]
    parts.append(develop(truth, look, size="full").pixels)
    height, width = parts[0].shape[:2]
    top, left, side = height // 3, width // 3, 200
    cuts = [np.repeat(np.repeat(part[top : top + side, left : left + side], 2, 0), 2, 1) for part in parts]
    gap = np.full((2 * side, 8, 3), 255, np.uint8)
    PillowImage.fromarray(np.concatenate([x for cut in cuts for x in (cut, gap)][:-1], axis=1)).save(
        target, optimize=True
    )


def main() -> None:
    """Walk the road; print the table, write the JSON and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=7500, help="of the training")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    out, sensor = options.out, camera()
    profile, run, model = out / "camera.profile.yaml", out / "run", out / "mine.onnx"
    measured = out / "seconds.json"
    if not measured.exists():
        out.mkdir(parents=True)
        capture(sensor, out / "capture")
        black, flat = out / "capture/black", out / "capture/flat"
        learn = ["--set", f"noise.profile={profile}", "--set", f"training.steps={options.steps}"]
        seconds = {
            "calibrate": shotnoise("calibrate", "--black", black, "--flat", flat, "-o", profile),
            "pack": shotnoise("pack", options.photos, out / "store"),
            "train": shotnoise("train", "raw/camera", "--data", out / "store", *learn, "-o", run),
            "export": shotnoise("export", run, "-o", model),
        }
        measured.write_text(json.dumps(seconds))
    seconds = json.loads(measured.read_text())
    for folder in ("noisy", "bundled", "own", "blind"):
        shutil.rmtree(out / folder, ignore_errors=True)
    truth = shoot(sensor, sorted(options.scenes.glob("*.png"))[1::6], out / "noisy")
    told = ("--level", profile)
    seconds |= {
        "evaluate": shotnoise("evaluate", model, "--protocol", "raw/kodak24/iso3200", "--data", options.scenes),
        "denoise": shotnoise("denoise", out / "noisy", "-o", out / "bundled", *told),
        "denoise with one's own": shotnoise("denoise", out / "noisy", "-o", out / "own", *told, "--model", model),
        "denoise without a profile": shotnoise("denoise", out / "noisy", "-o", out / "blind"),
    }
    found = NoiseProfile.load(profile)
    content: dict[str, Any] = {"steps": options.steps, "seconds": seconds, "laws": {}, "psnr": {}}
    print(f"\n{'ISO':>5s} {'k, DN/e':>9s} {'found':>9s} {'read DN':>9s} {'found':>9s}")
    for iso in ISOS:
        law, span = found.at(iso), sensor.white - sensor.blacks[0]
        row = {
            "k": sensor.k(iso),
            "k_found": float(np.mean(law.k)) * span,
            "read": sensor.s2(iso) ** 0.5,
            "read_found": float(np.mean(law.s2)) ** 0.5 * span,
        }
        content["laws"][iso] = row
        print(f"{iso:5d} {row['k']:9.4f} {row['k_found']:9.4f} {row['read']:9.3f} {row['read_found']:9.3f}")
    folders = {name: out / name for name in ("noisy", "blind", "bundled", "own")}
    print(f"\n{'':28s}" + "".join(f"{name:>9s}" for name in folders))
    for name, clean in truth.items():
        scores = {kind: decibels(open_raw(folder / f"{name}.dng"), clean, sensor) for kind, folder in folders.items()}
        content["psnr"][name] = scores
        print(f"{name:28s}" + "".join(f"{score:9.2f}" for score in scores.values()))
    if options.json is not None:
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if options.figures is not None:
        options.figures.mkdir(parents=True, exist_ok=True)
        name = next(iter(name for name in truth if name.endswith("6400")))
        figure(
            name,
            {key: folders[key] for key in ("noisy", "own", "bundled")},
            truth[name],
            options.figures / "camera-road.png",
        )
        plots = {"photon-transfer-iso1600.png": "calibration-photon-transfer.png", "laws.png": "calibration-laws.png"}
        for plot, name in plots.items():
            shutil.copy(out / "camera.report" / plot, options.figures / name)


if __name__ == "__main__":
    main()
