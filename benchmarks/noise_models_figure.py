"""Draws docs/images/noise-models.png: one gray ramp under the RAW noise models, all with the same k and s2.

    python benchmarks/noise_models_figure.py [docs/images/noise-models.png]

The dark frames are those of a simulated sensor whose read noise has rows, a fixed pattern and a few hot pixels.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from shotnoise.noise import NOISE
from shotnoise.noise.tukey_lambda import variance
from shotnoise.sensor.profile import Entry, NoiseProfile
from shotnoise.sensor.simulate import SimulatedSensor

COUNTS, GAIN, READ, ROW, SHAPE = 3839.0, 2.0, 5.0, 2.4, -0.15  # in counts
HEIGHT, WIDTH = 96, 144  # of a plane
TOP = 0.02  # the right end of the ramp, as a share of white


def dark_frames(folder: Path) -> dict[str, object]:
    """Arguments for the model, with the frames and the profile in a folder."""
    iso = 100 * GAIN / 0.2
    sensor = SimulatedSensor(
        height=4 * HEIGHT,
        width=4 * WIDTH,
        read_before=1.0,
        read_after=3.35,
        row_noise=ROW / GAIN,
        dsnu=1.0,
        hot_pixels=4e-4,
    )
    rng = np.random.default_rng(1)
    for number in range(4):
        np.save(folder / f"dark_{number}_ISO_{iso:g}.npy", sensor.dark(iso=iso, rng=rng).mosaic)
    profile = folder / "camera.yaml"
    law = Entry(iso=iso, k=GAIN / COUNTS, s2=sensor.noise(iso).s2[0])
    NoiseProfile(entries=(law,), pattern="RGGB", black=sensor.blacks, white=sensor.white).save(profile)
    return {"frames": str(folder), "profile": str(profile), "shading": False}


def main(path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    ramp = torch.linspace(0, TOP, WIDTH).expand(1, 4, HEIGHT, WIDTH)
    tails = float(variance(torch.tensor(SHAPE))) ** 0.5
    physics = {"counts": COUNTS, "gain": GAIN, "read": (READ**2 - ROW**2) ** 0.5 / tails, "row": ROW, "shape": SHAPE}
    with tempfile.TemporaryDirectory() as folder:
        models = {
            "poisson-gaussian": {"k": GAIN / COUNTS, "electrons": READ / GAIN, "counts": COUNTS},
            "physics": {"parameters": physics},
            "dark-frames": dark_frames(Path(folder)),
        }
        made = {name: NOISE.create(name, arguments) for name, arguments in models.items()}
    figure, axes = plt.subplots(2, 3, figsize=(11, 5.4), height_ratios=(1.25, 1), layout="constrained")
    for (name, model), (above, below) in zip(made.items(), axes.T, strict=True):
        generator = torch.Generator().manual_seed(4)
        noisy = model.sample(ramp, generator)[0, 1].numpy() * COUNTS  # plane Gr
        above.imshow(noisy, cmap="gray", vmin=-25, vmax=TOP * COUNTS + 25, interpolation="nearest")
        above.set_title(name, loc="left", fontsize=11, fontweight="bold")
        above.set_axis_off()
        dark = model.sample(torch.zeros(16, 4, HEIGHT, WIDTH), generator).numpy().ravel() * COUNTS
        edges = np.arange(-60.5, 131.5, 1.0)
        share, _ = np.histogram(dark, edges, density=True)
        middle = (edges[:-1] + edges[1:]) / 2
        below.fill_between(middle, share + 1e-9, 1e-9, step="mid", color="#4477aa", alpha=0.6, linewidth=0)
        below.plot(middle, np.exp(-0.5 * (middle / READ) ** 2) / READ / (2 * np.pi) ** 0.5, color="#222222", lw=1)
        below.set(yscale="log", ylim=(1e-6, 0.2), xlim=(-60, 130), xlabel="counts above black, no light")
        below.spines[["top", "right"]].set_visible(False)
    axes[1, 0].set_ylabel("probability of a count")
    axes[1, 0].text(0.42, 0.82, "line: the normal law\nof the same profile", transform=axes[1, 0].transAxes, fontsize=9)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}: {Path(path).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parents[1] / "docs" / "images" / "noise-models.png"))
