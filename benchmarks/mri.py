"""Under-sampled MRI on two small volumes: noisy against clean targets, and what putting measured frequencies back does.

This shows that the method works, and cannot reproduce the published numbers: those are of 50 and 10 volumes of the IXI
data set, here one volume is trained on and one is measured.

Both volumes are brought to about the same scale, slices of 80 x 80 with voxels of about 3 mm in the slice: means of
3 x 3 voxels of the first, which has 1 mm, and the second as it is, with 2.75 mm:

    python benchmarks/mri.py prepare mni_icbm152_t1_1mm.nii.gz someones_anatomy.nii.gz OUT
    shotnoise train noise2noise/mri-quick --data OUT/train -o OUT/n2n
    shotnoise train noise2noise/mri-quick --data OUT/train --set pairs.clean_target=true -o OUT/n2c
    shotnoise train noise2noise/mri-quick --data OUT/train --set method.post_op=none -o OUT/none
    python benchmarks/mri.py measure OUT --json benchmarks/results/mri.json --figure docs/images/mri.png
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import shotnoise
from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.mri import open_volume, save_volume, spectrum_of
from shotnoise.mri.volumes import Volume
from shotnoise.store.volumes import pack_volumes

BLOCK = 3  # voxels of the first volume
SHOWN = 24  # number of the slice in the figure
RUNS = (
    ("noisy targets", "n2n", "mri/kspace"),
    ("clean targets", "n2c", "mri/kspace"),
    ("noisy targets, measured frequencies put back only when scored", "none", "mri/kspace"),
    ("noisy targets, never put back", "none", "mri/kspace-alone"),
)


def smaller(volume: Volume) -> Volume:
    """Means of squares in each slice; the affine says so."""
    width, height = (side // BLOCK * BLOCK for side in volume.values.shape[:2])
    squares = volume.values[:width, :height].reshape(width // BLOCK, BLOCK, height // BLOCK, BLOCK, -1)
    values = np.ascontiguousarray(squares.mean((1, 3)), np.float32)
    affine = volume.source.affine @ np.diag([BLOCK, BLOCK, 1, 1])
    image = type(volume.source)(values, affine)
    return Volume(values, image, values.shape, values.dtype)


def prepare(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    reduced = options.out / "train.nii.gz"
    save_volume(smaller(open_volume(options.first)), reduced)
    for source, store, first, stop in ((reduced, "train", 20, 150), (options.second, "test", 8, 48)):
        report = pack_volumes(source, options.out / store, first=first, stop=stop, side=80, overwrite=True)
        print(f"{store}: {report.records} slices, {report.empty} empty")


def measure(options: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    for title, name, protocol in RUNS:
        if not (options.out / name / "best.safetensors").exists():
            print(f"{title}: not trained")
            continue
        recipe = yaml.safe_load((options.out / name / "recipe.yaml").read_text())["training"]
        result = evaluate(ModelUnderTest(options.out / name), get_protocol(protocol), options.out / "test", channels=1)
        scores = result.score()
        rows.append(
            {"training": title, "run": name, "steps": recipe["steps"], "batch": recipe["batch"], **dict(scores)}
            | {"slices": result.pictures}
        )
        print(f"{title:64}{scores.noisy_psnr:8.2f} -> {scores.psnr:6.2f} dB, SSIM {scores.ssim:.4f}")
    nothing = evaluate(lambda noisy, told: noisy, get_protocol("mri/kspace"), options.out / "test", channels=1).score()
    print(
        f"{'no network: measured frequencies alone, unweighted':64}{nothing.noisy_psnr:8.2f} -> {nothing.psnr:6.2f} dB"
    )
    if options.json:
        content = {
            "rows": rows,
            "zero_filled": dict(nothing),
            "shotnoise": shotnoise.__version__,
            "machine": f"{platform.system()} {platform.machine()}, trained on one CPU core",
            "note": "one volume trained on, slices of another measured; not the published data set",
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    if options.figure:
        figure(options.out, options.figure)


def figure(out: Path, path: Path) -> None:
    """Clean, under-sampled, restored, and their spectra."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    protocol = get_protocol("mri/kspace")
    found, paths = protocol.find(out / "test")
    trial = protocol.trial(paths[SHOWN], 1, protocol.generator())
    result = trial.finished(ModelUnderTest(out / "n2n")(trial.noisy, None))[0]
    clean, noisy = trial.clean[:, :, 0], trial.noisy[0]

    def decibels(image: np.ndarray) -> float:
        return float(-10 * np.log10(np.mean((np.clip(image, -0.5, 0.5) - clean) ** 2)))

    columns = (
        ("fully sampled", clean, ""),
        ("a tenth of k-space", noisy, f", {decibels(noisy):.1f} dB"),
        ("restored", result, f", {decibels(result):.1f} dB"),
    )
    shown, axes = plt.subplots(2, 3, figsize=(9, 6.3), layout="constrained")
    for (title, image, score), (above, below) in zip(columns, axes.T, strict=True):
        above.imshow(np.rot90(image)[4:-4, 4:-4], cmap="gray", vmin=-0.5, vmax=0.5)
        above.set_title(title + score, fontsize=11)
        spectrum = np.log10(np.abs(spectrum_of(image)) + 1e-2)
        below.imshow(np.rot90(spectrum), cmap="magma", vmin=-1, vmax=3)
        for one in (above, below):
            one.set_axis_off()
    axes[1, 0].text(0.02, 0.03, "k-space, log", color="white", transform=axes[1, 0].transAxes, fontsize=9)
    shown.savefig(path, dpi=110)
    print(f"wrote {path}: {path.stat().st_size / 1000:.0f} kB, slice {paths[SHOWN].name} of {found.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    first = verbs.add_parser("prepare")
    first.add_argument("first", type=Path)
    first.add_argument("second", type=Path)
    first.add_argument("out", type=Path)
    first.set_defaults(run=prepare)
    second = verbs.add_parser("measure")
    second.add_argument("out", type=Path)
    second.add_argument("--json", type=Path)
    second.add_argument("--figure", type=Path)
    second.set_defaults(run=measure)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
