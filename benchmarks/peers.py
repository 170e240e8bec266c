"""Speed and quality together: the bundled model, published networks and classical filters on the same noisy pictures.

The noise is that of `shotnoise evaluate`: white, Gaussian, not clipped, the same for everybody; everybody is told its
strength, except where a row says that it is estimated; results are limited and rounded to 8 bits and compared with the
8-bit original. OpenCV takes 8 bits alone, so its input is limited and rounded too. What is timed begins with the noisy
picture in float32 and ends with 8 bits; it is the time of all cores for one thread, which a busy machine hardly
changes. On each picture all methods take turns, so ratios are of the same minutes.

    OMP_NUM_THREADS=1 python benchmarks/peers.py SETS WEIGHTS --json benchmarks/results/peers.json \
        --figure docs/images/peers.png

SETS holds kodak24/; every sixth picture is taken, and of it the middle, because BM3D needs minutes for a whole one.
WEIGHTS holds ffdnet_color and dncnn_color_blind in any format that `shotnoise.networks.load` opens. With --json the
run can be stopped and goes on where it was; BM3D is then not measured again on pictures where it was before, all others
are as soon as one of them changes. BM3D comes from the package `bm3d`, whose licence is for non-commercial use; without
it, or without OpenCV or scikit-image, a line says so and the others are measured.

    python benchmarks/peers.py SETS WEIGHTS --choose PHOTOS

finds the strengths of the classical filters on other photographs; the numbers in this file came from that.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from shotnoise import Denoiser
from shotnoise.bundled import find_model
from shotnoise.engines import Engine, open_engine
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.evaluation import find_pictures, get_protocol, psnr, quantise
from shotnoise.evaluation.benchmark import machine
from shotnoise.export import export
from shotnoise.networks import Network, create, load
from shotnoise.networks.containers import SUFFIXES
from tables import peers

Values = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

SIGMAS = (15, 25, 50)
NETWORKS = {"FFDNet": "ffdnet_color", "DnCNN, blind": "dncnn_color_blind"}
# Strengths by sigma, from `--choose` with four photographs each of CID22 and CLIC 2025, as the bundled model saw.
OPENCV_H = {15: 6.0, 25: 12.5, 50: 25.0}
SCIKIT_H = {15: 0.6, 25: 0.5, 50: 0.4}
NAMED_BELOW = ("wavelets",)  # in the figure
CANDIDATES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Method:
    """A denoiser.

    Attributes:
        family: what it is; methods of one family have nearly the same PSNR.
        engine: what calculates.
        identity: changes when its results may.
        run: (H, W, 3) around 0..1, sigma of 255 -> 8 bits.
        slow: run once for each picture, and kept from earlier runs.
        ours: for the figure.
    """

    family: str
    engine: str
    identity: str
    run: Callable[[Values, int], Bytes]
    slow: bool = False
    ours: bool = False

    @property
    def name(self) -> str:
        """For people, and as a key."""
        return f"{self.family}, {self.engine}"


def in_engine(engine: Engine) -> Callable[[Values, int], Bytes]:
    def run(noisy: Values, sigma: int) -> Bytes:
        level = np.full((1, 1, 1, 1), sigma / 255, np.float32) if engine.card.level == "sigma" else None
        clean = engine.run(np.ascontiguousarray(noisy.transpose(2, 0, 1)[None]), level)
        return quantise(clean[0].transpose(1, 2, 0), np.float32)

    return run


def eager(network: Network) -> Callable[[Values, int], Bytes]:
    """In plain torch: float32, contiguous, no tricks."""
    network.eval()

    def run(noisy: Values, sigma: int) -> Bytes:
        with torch.inference_mode():
            batch = torch.from_numpy(noisy).permute(2, 0, 1)[None].contiguous()
            level = torch.full((1, 1, 1, 1), sigma / 255) if network.level == "sigma" else None
            return quantise(network(batch, level)[0].permute(1, 2, 0).numpy(), np.float32)

    return run


def network_of(file: Path) -> Network:
    """The network inside one of our fp32 .onnx files, for torch."""
    import onnx

    card = read_onnx(file).card
    network = create(card.network, **card.arguments)
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer}
    state = {name: torch.tensor(tensors[f"network.{name}"]) for name in network.state_dict()}
    network.load_state_dict(state)
    return network


def estimated(engine: Engine) -> Callable[[Values, int], Bytes]:
    """As `shotnoise denoise` does it, without being told the noise."""
    denoiser = Denoiser(engine)
    return lambda noisy, sigma: quantise(denoiser(noisy), np.float32)


def ours(models: Sequence[str]) -> list[Method]:
    methods = []
    for number, model in enumerate(models):
        file = find_model(model)
        family = f"shotnoise {file.stem}"
        identity = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for name in ("onnxruntime", "openvino"):
            if installed(name) is not None:
                engine = open_engine(file, name, threads=1)
                run = in_engine(engine)
                methods.append(Method(family, name, f"{identity} {installed(name)}", run, ours=True))
                if number == 0 and name == "onnxruntime":
                    identity_too = f"{identity} {installed(name)} estimated"
                    words = "onnxruntime, level estimated"
                    methods.append(Method(family, words, identity_too, estimated(engine), ours=True))
        if read_onnx(file).card.precision == "fp32":
            identity += f" {installed('torch')}"
            methods.append(Method(family, "torch eager", identity, eager(network_of(file)), ours=True))
    return methods


def published(weights: Path, scratch: Path) -> list[Method]:
    methods = []
    for family, name in NETWORKS.items():
        file = next(
            (weights / f"{name}{suffix}" for suffix in SUFFIXES if (weights / f"{name}{suffix}").exists()), None
        )
        if file is None:
            print(f"{family} is left out: no {name} in {weights}")
            continue
        identity = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        methods.append(Method(family, "torch eager", f"{identity} {installed('torch')}", eager(load(file))))
        engine = open_engine(export(file, scratch / f"{name}.onnx").path, "onnxruntime", threads=1)
        methods.append(Method(family, "onnxruntime", f"{identity} {installed('onnxruntime')}", in_engine(engine)))
    return methods


def opencv(strength: Callable[[int], float]) -> Callable[[Values, int], Bytes]:
    import cv2

    cv2.setNumThreads(1)

    def run(noisy: Values, sigma: int) -> Bytes:
        seen = np.ascontiguousarray(quantise(noisy, np.float32)[:, :, ::-1])
        h = strength(sigma)
        return np.ascontiguousarray(cv2.fastNlMeansDenoisingColored(seen, None, h, h)[:, :, ::-1])

    return run


def scikit_means(strength: Callable[[int], float]) -> Callable[[Values, int], Bytes]:
    from skimage.restoration import denoise_nl_means

    def run(noisy: Values, sigma: int) -> Bytes:
        level = sigma / 255
        return quantise(
            denoise_nl_means(
                noisy, 5, 6, h=strength(sigma) * level, sigma=level, fast_mode=True, channel_axis=-1
            ),
            np.float32,
        )  # fmt: skip

    return run


def scikit_wavelet(noisy: Values, sigma: int) -> Bytes:
    from skimage.restoration import denoise_wavelet

    clean = denoise_wavelet(
        noisy, sigma=sigma / 255, method="BayesShrink", convert2ycbcr=True, rescale_sigma=True, channel_axis=-1
    )
    return quantise(clean, np.float32)


def bm3d(noisy: Values, sigma: int) -> Bytes:
    import bm3d

    return quantise(bm3d.bm3d_rgb(noisy.astype(np.float64), sigma / 255))


def classical() -> list[Method]:
    table = [
        ("OpenCV", "NL-means", f"h {OPENCV_H}", lambda: opencv(OPENCV_H.__getitem__), False),
        ("scikit-image", "NL-means", f"h {SCIKIT_H}", lambda: scikit_means(SCIKIT_H.__getitem__), False),
        ("scikit-image", "wavelets", "BayesShrink", lambda: scikit_wavelet, False),
        ("bm3d", "BM3D", "", lambda: bm3d, True),
    ]
    packages = {"OpenCV": ("opencv-python-headless", "opencv-python")}
    methods = []
    for package, family, identity, make, slow in table:
        found = next((v for name in packages.get(package, (package,)) if (v := installed(name)) is not None), None)
        if found is None:
            print(f"{family} of {package} is left out: pip install {packages.get(package, (package,))[0]}")
            continue
        methods.append(Method(family, package, f"{found} {identity}".strip(), make(), slow))
    return methods


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def middle(pixels: Bytes, crop: tuple[int, int]) -> Bytes:
    """The middle of a picture; a standing one is turned first."""
    if pixels.shape[0] > pixels.shape[1]:
        pixels = pixels.transpose(1, 0, 2)
    top, left = ((side - asked) // 2 for side, asked in zip(pixels.shape[:2], crop, strict=True))
    if min(top, left) < 0:
        raise SystemExit(f"a picture of {pixels.shape[0]}x{pixels.shape[1]} has no {crop[0]}x{crop[1]} in it")
    return np.ascontiguousarray(pixels[top : top + crop[0], left : left + crop[1]])


def noisy_of(clean: Bytes, sigma: int) -> Values:
    protocol = get_protocol(f"kodak24/gaussian{sigma}")
    return protocol.add_noise(clean, protocol.generator())


def timed(method: Method, noisy: Values, sigma: int) -> tuple[Bytes, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    clean = method.run(noisy, sigma)
    return clean, time.process_time() - cpu, time.perf_counter() - wall


def measure_cell(methods: Sequence[Method], clean: Bytes, sigma: int, rounds: int, known: dict[str, Any]) -> dict:
    """All methods on one picture: their PSNR, and medians of times in milliseconds per megapixel."""
    noisy = noisy_of(clean, sigma)
    scale = 1e3 / (clean.shape[0] * clean.shape[1] / 1e6)
    results: dict[str, Any] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds):
        for method in methods:
            kept = known.get(method.name)
            if method.slow and (number or (kept and kept["identity"] == method.identity)):
                if kept and not number:
                    results[method.name] = kept
                continue
            result, cpu, wall = timed(method, noisy, sigma)
            times.setdefault(method.name, []).append((scale * cpu, scale * wall))
            results[method.name] = {"identity": method.identity, "psnr": psnr(clean, result, 255)}
    for name, values in times.items():
        results[name]["cpu"], results[name]["wall"] = (
            round(statistics.median(v), 2) for v in zip(*values, strict=True)
        )
    return {"noisy": psnr(clean, quantise(noisy), 255), "methods": results}


def summary(methods: Sequence[Method], cells: dict[str, Any], first: str) -> list[dict[str, Any]]:
    rows = []
    for method in methods:
        row: dict[str, Any] = {"method": method.family, "engine": method.engine, "ours": method.ours}
        mine = [cell["methods"][method.name] for cell in cells.values()]
        base = [cell["methods"][first] for cell in cells.values()]
        row["cpu_ms_per_mp"] = round(statistics.median(one["cpu"] for one in mine), 1)
        row["spread"] = [round(pick(one["cpu"] for one in mine), 1) for pick in (min, max)]
        row["wall_ms_per_mp"] = round(statistics.median(one["wall"] for one in mine), 1)
        row["times_first"] = round(
            statistics.median(one["cpu"] / other["cpu"] for one, other in zip(mine, base, strict=True)), 3
        )
        for sigma in SIGMAS:
            here = [cell["methods"][method.name] for key, cell in cells.items() if key.endswith(f"/{sigma}")]
            if here:
                row[f"psnr_{sigma}"] = round(statistics.fmean(one["psnr"] for one in here), 3)
        rows.append(row)
    return rows


def verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The fastest of ours beside the classical filters: how many times faster, and how much better or worse."""
    mine = min((row for row in rows if row["ours"]), key=lambda row: row["times_first"])
    lines = []
    for row in rows:
        if not row["ours"]:
            gains = [f"{mine[key] - row[key]:+.2f}" for key in row if key.startswith("psnr_")]
            faster = row["times_first"] / mine["times_first"]
            lines.append(
                f"{mine['method']}, {mine['engine']}, against {row['method']}, {row['engine']}: "
                f"{faster:.1f} times as fast, {', '.join(gains)} dB"
            )
    return lines


def draw(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """PSNR over time, a panel for each sigma; a family of methods is joined by a line and named once."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    marks = {"torch eager": "o", "onnxruntime": "s", "openvino": "D"}
    shown = [row for row in rows if "estimated" not in row["engine"]]
    sigmas = [sigma for sigma in SIGMAS if f"psnr_{sigma}" in rows[0]]
    figure, panels = plt.subplots(1, len(sigmas), figsize=(4.4 * len(sigmas), 4.6), layout="constrained", squeeze=False)
    times = [row["cpu_ms_per_mp"] / 1e3 for row in shown]
    for axes, sigma in zip(panels[0], sigmas, strict=True):
        scores = [row[f"psnr_{sigma}"] for row in shown]
        spread = max(scores) - min(scores)
        for family in dict.fromkeys(
            (row["method"], row["engine"] if row["engine"] not in marks else "") for row in shown
        ):
            mine = sorted(
                (
                    row
                    for row in shown
                    if (row["method"], row["engine"] if row["engine"] not in marks else "") == family
                ),
                key=lambda row: row["cpu_ms_per_mp"],
            )
            x, y = [row["cpu_ms_per_mp"] / 1e3 for row in mine], [row[f"psnr_{sigma}"] for row in mine]
            colour = "#c2410c" if mine[0]["ours"] else "#1d4ed8" if mine[0]["engine"] in marks else "#4b5563"
            axes.plot(x, y, "-", color=colour, alpha=0.4, linewidth=1)
            for row, one, other in zip(mine, x, y, strict=True):
                axes.plot(one, other, marks.get(row["engine"], "^"), color=colour, ms=6.5, mec="white", mew=0.6)
            words = family[0] if not family[1] else f"{family[0]}\n({family[1]})"
            below = family[0] in NAMED_BELOW or family[0].endswith("int8")
            axes.annotate(
                words, (x[0], y[0]), xytext=(-1, -7 if below else 7), textcoords="offset points", color=colour,
                fontsize=8.5, va="top" if below else "bottom", linespacing=0.95,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(min(times) / 2, max(times) * 3.5)
        axes.set_ylim(min(scores) - 0.1 * spread, max(scores) + 0.16 * spread)
        axes.set_title(f"sigma {sigma}", fontsize=10.5, loc="left")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter("{x:g}")
    panels[0][0].set_ylabel("PSNR in dB")
    figure.supxlabel("seconds of one core per megapixel", fontsize=10)
    handles = [
        Line2D([], [], linestyle="none", marker=mark, color="#6b7280", label=name) for name, mark in marks.items()
    ]
    handles.append(Line2D([], [], linestyle="none", marker="^", color="#6b7280", label="its own package"))
    panels[0][0].legend(handles=handles, fontsize=8, frameon=False, loc="lower right")
    figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)


def choose(folders: Sequence[Path], crop: tuple[int, int], count: int = 4) -> None:
    """Mean PSNR of the filters that need a strength, for each candidate, on a few other photographs of each folder."""
    pictures = []
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
        for file in files[:: max(1, len(files) // count)][:count]:
            with Image.open(file) as picture:
                pictures.append(middle(np.asarray(picture.convert("RGB")), crop))
    for sigma in SIGMAS:
        trials = [(clean, noisy_of(clean, sigma)) for clean in pictures]
        for name, make, scale in (("OpenCV", opencv, float(sigma)), ("scikit-image", scikit_means, 1.0)):
            scores = {}
            for share in CANDIDATES:
                run = make(lambda _, h=share * scale: h)
                scores[share * scale] = statistics.fmean(psnr(clean, run(noisy, sigma), 255) for clean, noisy in trials)
            best = max(scores, key=scores.__getitem__)
            print(f"{name} at sigma {sigma}: h {best:g}; " + ", ".join(f"{h:g}: {s:.2f}" for h, s in scores.items()))


def load_cells(path: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Of an earlier run on the same pictures and the same machine."""
    if path is None or not path.exists():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    return before.get("cells", {}) if before.get("settings") == settings else {}


def main() -> None:
    """Measure what is missing, then print the table, the verdicts, and write JSON and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", action="append", help="one of ours: gaussian, photo ...; may be repeated")
    parser.add_argument("--pictures", type=int, default=4, help="of Kodak, evenly spaced")
    parser.add_argument("--crop", type=int, nargs=2, default=(256, 384), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--sigma", type=int, action="append", choices=SIGMAS)
    parser.add_argument("--rounds", type=int, default=2, help="on each picture, except for BM3D")
    parser.add_argument("--without-bm3d", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--choose", type=Path, nargs="+", metavar="PHOTOS")
    options = parser.parse_args()
    crop = tuple(options.crop)
    if any(side % 16 for side in crop):
        parser.error(f"--crop {crop[0]} {crop[1]}: expected multiples of 16, which every network takes as they are")
    torch.set_num_threads(1)
    if options.choose is not None:
        choose(options.choose, crop)
        return
    files = find_pictures(get_protocol("kodak24"), options.sets)[1]
    files = files[:: max(1, len(files) // options.pictures)][: options.pictures]
    here = machine()
    settings = {"crop": list(crop), "processor": here["processor"], "cores": here["cores"], "threads": 1}
    cells, done = load_cells(options.json, settings), {}
    with tempfile.TemporaryDirectory() as folder:
        methods = [*ours(options.model or ["gaussian"]), *published(options.weights, Path(folder)), *classical()]
        if options.without_bm3d:
            methods = [method for method in methods if not method.slow]
        wanted = {method.name: method.identity for method in methods}
        warm = False
        for file in files:
            with Image.open(file) as picture:
                clean = middle(np.asarray(picture.convert("RGB")), crop)
            for sigma in options.sigma or SIGMAS:
                key = f"{file.stem}/{sigma}"
                known = cells.get(key, {"methods": {}})
                if {name: one["identity"] for name, one in known["methods"].items() if name in wanted} != wanted:
                    if not warm:  # the first run of an engine prepares it
                        for method in methods:
                            if not method.slow:
                                method.run(noisy_of(clean, sigma), sigma)
                        warm = True
                    known = measure_cell(methods, clean, sigma, options.rounds, known["methods"])
                    print(f"{key} done", flush=True)
                done[key] = cells[key] = known
                if options.json:  # with the cells of earlier runs that are still to come
                    write(options.json, {"settings": settings, "cells": cells})
    rows = summary(methods, done, methods[0].name)
    noisy = {
        str(sigma): statistics.fmean(cell["noisy"] for key, cell in done.items() if key.endswith(f"/{sigma}"))
        for sigma in options.sigma or SIGMAS
    }
    content = {"settings": settings, "machine": here, "pictures": [file.stem for file in files], "noisy": noisy}
    content |= {"rows": rows, "verdicts": verdicts(rows), "cells": done}
    print("\n".join(peers(content)))
    if options.json:
        write(options.json, content)
    if options.figure:
        title = f"Kodak24, the middle {crop[1]}x{crop[0]} of {len(files)} pictures: quality over time"
        draw(rows, options.figure, title)


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main()
