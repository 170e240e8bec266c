"""Does made noise look like that of real photographs? Statistics of what differs between the noisy and the clean one.

The clean pictures of real pairs get noise three ways: white Gaussian, shot and read noise through the classical camera,
and the same through a learned one. Of real and made noise alike: how much neighbours have in common (lags 0 to 3 down
and across), how much the colours have in common, and how strong it is at which brightness.

Nothing is fitted to the pairs but one number for each way, so that the overall strength is that of the real noise: the
deviation of the Gaussian, and the shot noise k of the sensor, whose read noise follows by the line of the sampler sidd.

    python benchmarks/realistic_noise.py PAIRS --camera RUN [--picture PICTURE --figure FILE] [--json FILE]

PAIRS holds clean/ and noisy/ with the same names, RUN is that of cycleisp/joint or cycleisp/joint-quick. The figure
shows statistics of PAIRS and none of its pictures; the noise in it is put on PICTURE, 2.5 times as strong.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shotnoise.images import list_pictures, open_image
from shotnoise.isp import Renderer
from shotnoise.noise import NOISE
from shotnoise.synthesis import Synthesizer, open_renderer

LAGS = range(4)
BINS = np.arange(0, 257, 16)
SEEN = 2.5  # times as strong is the noise that the figure shows
FEWEST = 2000  # values of a bin, below which it says nothing
COLOURS = ("R", "G", "B")
WORDS = {"real": "real", "gaussian": "white Gaussian", "classical": "classical camera", "learned": "learned camera"}

Maker = Callable[[np.ndarray, int], np.ndarray]


def read_s2(k: float) -> float:
    """The middle of the line by which the sampler sidd gives the read noise."""
    return float(10 ** (1.85 * np.log10(k) + 0.30))


def rendered(camera: Renderer, k: float) -> Maker:
    """(3, H, W) in 0..1 and a seed -> the same with noise made in RAW, in whole counts of 8 bits."""
    noise = NOISE.create("poisson-gaussian", {"k": k, "s2": read_s2(k), "shot": "gaussian"})
    synthesizer = Synthesizer(camera, noise)

    def make(clean: np.ndarray, seed: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(seed)
        made = synthesizer.srgb(torch.from_numpy(clean)[None], generator).noisy[0].numpy()
        return np.round(made * 255) / 255

    return make


def gaussian(sigma: float) -> Maker:
    """The same with white noise, cut and rounded as a file of 8 bits does it."""

    def make(clean: np.ndarray, seed: int) -> np.ndarray:
        noisy = clean + sigma / 255 * np.random.default_rng(seed).standard_normal(clean.shape)
        return np.round(noisy.clip(0, 1) * 255).astype(np.float32) / 255

    return make


def residuals(make: Maker, clean: list[np.ndarray]) -> list[np.ndarray]:
    return [255 * (make(picture, seed) - picture) for seed, picture in enumerate(clean)]


def strength(noise: list[np.ndarray]) -> float:
    return float(np.mean([part.std() ** 2 for part in noise]) ** 0.5)


def matched(family: Callable[[float], Maker], clean: list[np.ndarray], wanted: float, power: int) -> float:
    """The parameter at which the overall strength is the wanted one; it grows about with this power of the strength."""
    parameter = 10.0 if power == 1 else 0.003
    for _ in range(5):
        parameter *= (wanted / strength(residuals(family(parameter), clean))) ** power
    return parameter


def statistics(noise: list[np.ndarray], clean: list[np.ndarray]) -> dict[str, Any]:
    """Pooled over all pictures."""
    centred = [part - part.mean((1, 2), keepdims=True) for part in noise]
    power = np.sum([(part**2).mean() for part in centred])
    down = [float(np.sum([(p[:, lag:] * p[:, : p.shape[1] - lag]).mean() for p in centred]) / power) for lag in LAGS]
    across = [
        float(np.sum([(p[:, :, lag:] * p[:, :, : p.shape[2] - lag]).mean() for p in centred]) / power) for lag in LAGS
    ]
    values = np.concatenate([part.reshape(3, -1) for part in centred], axis=1)
    together = np.corrcoef(values)
    brightness = np.concatenate([255 * picture.reshape(3, -1) for picture in clean], axis=1)
    raw = np.concatenate([part.reshape(3, -1) for part in noise], axis=1)
    curve: dict[str, list[float | None]] = {}
    for channel, name in enumerate(COLOURS):
        place = np.digitize(brightness[channel], BINS) - 1
        held = [raw[channel][place == bin_] for bin_ in range(len(BINS) - 1)]
        curve[name] = [float(part.std()) if len(part) >= FEWEST else None for part in held]
    return {
        "strength": strength(noise),
        "down": down,
        "across": across,
        "colours": {"RG": float(together[0, 1]), "GB": float(together[1, 2]), "RB": float(together[0, 2])},
        "deviation": curve,
    }


def distances(found: dict[str, Any], real: dict[str, Any]) -> dict[str, float]:
    """Mean absolute differences: of correlations, and of logarithms of deviations at the same brightness."""
    space = [abs(a - b) for part in ("down", "across") for a, b in zip(found[part][1:], real[part][1:], strict=True)]
    colour = [abs(found["colours"][name] - real["colours"][name]) for name in real["colours"]]
    pairs = [
        (a, b)
        for name in COLOURS
        for a, b in zip(found["deviation"][name], real["deviation"][name], strict=True)
        if a and b
    ]
    return {
        "space": float(np.mean(space)),
        "colours": float(np.mean(colour)),
        "brightness": float(np.mean([abs(np.log(a / b)) for a, b in pairs])),
    }


def unit(path: Path) -> np.ndarray:
    return np.ascontiguousarray(open_image(path).pixels.transpose(2, 0, 1), np.float32) / np.float32(255)


def show(results: dict[str, dict[str, Any]]) -> None:
    print(f"{'':18}{'strength':>9}{'lag 1':>7}{'lag 2':>7}{'lag 3':>7}{'R-G':>7}{'G-B':>7}{'R-B':>7}   ", end="")
    print("distance to real: space  colours  brightness")
    for name, found in results.items():
        lags = "".join(f"{(found['down'][lag] + found['across'][lag]) / 2:7.2f}" for lag in (1, 2, 3))
        colours = "".join(f"{found['colours'][pair]:7.2f}" for pair in ("RG", "GB", "RB"))
        line = f"{WORDS[name]:18}{found['strength']:9.2f}{lags}{colours}"
        if "distance" in found:
            away = found["distance"]
            line += f"{away['space']:26.3f}{away['colours']:9.3f}{away['brightness']:12.3f}"
        print(line)


def draw(results: dict[str, dict[str, Any]], makers: dict[str, Maker], picture: Path, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shades = {"real": "#222222", "gaussian": "#bbbbbb", "classical": "#4477aa", "learned": "#cc6677"}
    figure = plt.figure(figsize=(11, 6.3), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.05))
    clean = unit(picture)
    top, left = (max(0, side // 2 - 40) for side in clean.shape[1:])
    window = (slice(None), slice(top, top + 80), slice(left, left + 104))
    panels = {"clean": clean[window]} | {name: make(clean, 5)[window] for name, make in makers.items()}
    for (name, pixels), axis in zip(panels.items(), above.subplots(1, 4), strict=True):
        axis.imshow(pixels.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
        axis.set_title(WORDS.get(name, name), loc="left", fontsize=10, fontweight="bold")
        axis.set_axis_off()
    space, colour, level = below.subplots(1, 3)
    places = (BINS[:-1] + BINS[1:]) / 2
    for number, (name, found) in enumerate(results.items()):
        style = {"color": shades[name], "label": WORDS[name], "lw": 2.4 if name == "real" else 1.6}
        space.plot(
            LAGS, [(a + b) / 2 for a, b in zip(found["down"], found["across"], strict=True)], "o-", ms=4, **style
        )
        colour.bar(np.arange(3) + 0.2 * number - 0.3, list(found["colours"].values()), 0.2, color=shades[name])
        curve = np.array([np.nan if value is None else value for value in found["deviation"]["G"]], float)
        level.plot(places, curve, "o-", ms=3, **style)
    space.set(xlabel="pixels apart", xticks=list(LAGS), title="correlation of neighbours")
    colour.set(xticks=range(3), xticklabels=["R, G", "G, B", "R, B"], title="correlation of colours")
    level.set(xlabel="brightness, counts", title="deviation of green, counts", ylim=(0, None))
    space.legend(frameon=False, fontsize=9)
    for axis in (space, colour, level):
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
    figure.savefig(file, dpi=110)
    print(f"wrote {file}: {file.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--camera", required=True, help="run folder or checkpoint of a network cycleisp")
    parser.add_argument("--limit", type=int, help="only so many pairs")
    parser.add_argument("--side", type=int, default=256, help="of the middle of each picture that is looked at")
    parser.add_argument("--picture", type=Path, help="what the figure shows the noise on")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    clean, noise = [], []
    for path in list_pictures(given.pairs / "clean")[: given.limit]:
        pair = [unit(folder / path.name) for folder in (given.pairs / "clean", given.pairs / "noisy")]
        top, left = (max(0, side - given.side) // 2 for side in pair[0].shape[1:])
        truth, noisy = (part[:, top : top + given.side, left : left + given.side] for part in pair)
        clean.append(np.ascontiguousarray(truth))
        noise.append(255 * (noisy - truth))
    real = statistics(noise, clean)
    classical, learned = open_renderer("classical"), open_renderer(given.camera)
    families: dict[str, tuple[Callable[[float], Maker], int]] = {
        "gaussian": (gaussian, 1),
        "classical": (lambda k: rendered(classical, k), 2),
        "learned": (lambda k: rendered(learned, k), 2),
    }
    results, shown, parameters = {"real": real}, {}, {}
    for name, (family, power) in families.items():
        parameters[name] = matched(family, clean, real["strength"], power)
        shown[name] = family(parameters[name] * SEEN**power)
        found = statistics(residuals(family(parameters[name]), clean), clean)
        results[name] = found | {"distance": distances(found, real)}
        print(f"{WORDS[name]}: {'sigma' if name == 'gaussian' else 'k'} {parameters[name]:.4g} matches", flush=True)
    show(results)
    if given.json:
        content = {"pairs": len(clean), "side": given.side, "parameters": parameters, "results": results}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if given.figure:
        if given.picture is None:
            parser.error("--figure shows the noise on a picture of yours: give --picture")
        draw(results, shown, given.picture, given.figure)


if __name__ == "__main__":
    main()
