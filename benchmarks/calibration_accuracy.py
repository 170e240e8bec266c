"""Does calibration find the numbers that a sensor was made with? Five questions, printed, and written as JSON.

(a) One plane, 12 levels, 300 repeats: gain and dark variance, their errors, and how often the 95 % interval holds.
(b) Whole Bayer cameras at several ISOs through all of `calibrate`: the same per ISO, and the laws over ISO.
(c) Statistics over the mixed mosaic, as the published RAW pipeline takes them, beside ours over each plane.
(d) The published points of such a calibration: is the colour in them noticed?
(e) A real sensor with known results: the EMVA 1288 reference series of a 12-bit CCD.

    python benchmarks/calibration_accuracy.py --json benchmarks/results/calibration_accuracy.json [--emva INDEX]

Under three minutes on one core. "z" is the mean error over its standard error: within 3 is unbiased.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from shotnoise.sensor.calibration import Calibration, Frame, Roi, calibrate, calibrate_emva
from shotnoise.sensor.calibration.fit import fit_line
from shotnoise.sensor.calibration.measure import measure
from shotnoise.sensor.calibration.result import Point
from shotnoise.sensor.simulate import SimulatedSensor

# Mean and variance of ten patches at ISO 200 to "2500", read off the curves that the published RAW pipeline shows.
PUBLISHED = {
    200: (
        "0.00406 0.00626 0.00894 0.0123 0.01416 0.01434 0.01453 0.01534 0.01651 0.01731",
        "2.88e-6 5.68e-6 1.04e-5 1.82e-5 2.33e-5 2.37e-5 2.40e-5 2.62e-5 3.05e-5 3.36e-5",
    ),
    500: (
        "0.01308 0.01996 0.02833 0.03857 0.04358 0.04449 0.04502 0.04775 0.05154 0.05423",
        "2.61e-5 5.36e-5 1.00e-4 1.75e-4 2.18e-4 2.29e-4 2.29e-4 2.54e-4 2.94e-4 3.29e-4",
    ),
    1000: (
        "0.02633 0.03991 0.05642 0.0763 0.0866 0.08811 0.0898 0.09548 0.10364 0.10923",
        "9.93e-5 2.10e-4 3.93e-4 6.84e-4 8.52e-4 8.88e-4 9.05e-4 1.01e-3 1.19e-3 1.33e-3",
    ),
    2500: (
        "0.03387 0.05108 0.07181 0.09586 0.1057 0.1084 0.1109 0.1190 0.1295 0.1368",
        "1.68e-4 3.48e-4 6.43e-4 1.09e-3 1.28e-3 1.36e-3 1.39e-3 1.58e-3 1.88e-3 2.09e-3",
    ),
}
ONE_PLANE = 300  # repeats
EMVA = {"gain": 0.28077, "dark_noise": 3.0734, "quantum_efficiency": 0.4514, "responsivity": 0.126727, "prnu": 0.00433}
PLAIN = SimulatedSensor(height=96, width=128)
HARD = SimulatedSensor(
    height=96, width=128, pattern="GBRG", row_noise=0.6, prnu=0.01, dsnu=0.5, dark_current=2.0, hot_pixels=1e-4,
    dual_gain=1600, dual_read_before=1.0,
)  # fmt: skip
CAMERAS = {
    "plain": (PLAIN, (100, 400, 1600, 6400), 400),
    "hard": (HARD, (100, 200, 400, 800, 1600, 3200, 6400), 150),
}


def summary(values: list[float], errors: list[float], hits: list[bool], true: float) -> dict[str, float]:
    array = np.array(values)
    return {
        "true": true,
        "mean": float(array.mean()),
        "sd": float(array.std(ddof=1)),
        "se": float(np.mean(errors)),
        "z": float((array.mean() - true) / (array.std(ddof=1) / math.sqrt(len(array)))),
        "coverage": float(np.mean(hits)),
    }


def inside(interval: tuple[float, float], true: float) -> bool:
    return interval[0] <= true <= interval[1]


def show(name: str, row: dict[str, float]) -> None:
    print(f"  {name:24}{row['true']:11.5g}{row['mean']:11.5g}{row['sd']:10.2g}{row['se']:10.2g}{row['z']:+7.1f}"
          f"{row['coverage']:8.3f}")  # fmt: skip


def one_plane(k: float, read: float, repeats: int) -> dict[str, Any]:
    """5000 pixel pairs at 12 levels from 3 to 80 % of a 10-bit range, black 64."""
    rng = np.random.default_rng(1)
    fits = []
    for _ in range(repeats):
        points: list[Point] = []
        for level in np.linspace(0.03, 0.8, 12) * 959:
            electrons = rng.poisson(level / k, (2, 50, 100))
            counts = np.rint(electrons * k + rng.normal(64, read, electrons.shape)).clip(0, 1023).astype(np.uint16)
            frames = [Frame("", picture, None, 1023) for picture in counts]
            points += measure(frames, [Roi(0, 0, 50, 100)], [64.0], white=1023, max_signal=0.85).points
        fits.append(fit_line(points)[0])
    s2 = read**2 + 1 / 12
    return {
        "repeats": repeats,
        "k": summary([f.k for f in fits], [f.k_se for f in fits], [inside(f.k_interval, k) for f in fits], k),
        "s2": summary(
            [f.s2_free for f in fits], [f.s2_se for f in fits], [inside(f.s2_interval, s2) for f in fits], s2
        ),
        "chi2_per_dof": float(np.mean([f.chi2 / f.dof for f in fits])),
    }


def camera(sensor: SimulatedSensor, isos: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Black and flat frames of every ISO through all of `calibrate`."""
    found: list[Calibration] = []
    for number in range(repeats):
        black, flat = sensor.calibration_set(isos, rng=np.random.default_rng(number))
        frames = [[Frame.of(raw, name) for name, raw in part.items()] for part in (black, flat)]
        found.append(calibrate(*frames, shape=False))
    rows: dict[str, Any] = {}
    for index, iso in enumerate(isos):
        best = [c.fits[index].best[0] for c in found]
        k, s2 = sensor.k(iso), sensor.s2(iso, 1 / 1000)
        rows[f"k at ISO {iso}"] = summary(
            [f.k for f in best], [f.k_se for f in best], [inside(f.k_interval, k) for f in best], k
        )
        rows[f"s2 at ISO {iso}"] = summary(
            [f.s2 for f in best], [f.s2_se for f in best], [inside(f.s2_interval, s2) for f in best], s2
        )
    q = math.sqrt(sensor.read_after**2 + 1 / 12)
    before = [sensor.read_before] + ([sensor.dual_read_before] if sensor.dual_gain else [])
    truth = {("k", 0, 0): sensor.gain / 100}
    for piece, read in enumerate(before):
        truth["s2", piece, 0] = (
            sensor.gain / 100 * math.sqrt(read**2 + sensor.row_noise**2 + sensor.dark_current / 1000)
        )
        truth["s2", piece, 1] = q
    names = {("k", 0): "a", ("s2", 0): "p", ("s2", 1): "q"}
    laws = [{law.quantity: law for law in c.laws} for c in found]
    shaped = [own for own in laws if len(own["k"].pieces) == 1 and len(own["s2"].pieces) == len(before)]
    for (quantity, piece, which), true in truth.items():
        parts = [own[quantity].pieces[piece] for own in shaped]  # type: ignore[index]
        rows[f"law {names[quantity, which]}{' behind the break' if piece else ''}"] = summary(
            [p.params[which] for p in parts], [p.se[which] for p in parts],
            [inside(p.intervals[which], true) for p in parts], true,
        )  # fmt: skip
    return {
        "repeats": repeats,
        "rows": rows,
        "laws_of_the_right_shape": len(shaped) / repeats,
        "pooled": float(np.mean([fit.pooled is not None for c in found for fit in c.fits])),
        "errors": sum(len(c.errors) for c in found),
        "warnings": sum(f.severity == "warning" for c in found for f in c.findings),
    }


def mixing(k: float, s2: float, tilt: float) -> dict[str, Any]:
    """Ten bars of gray seen through colours 0.55 : 1 : 1 : 0.65; k and s2 in normalised units."""
    height, width, bars = 100, 200, 10
    probe = SimulatedSensor(height=2, width=2, bits=14, black=1024.0)
    scale = probe.white - 1024.0
    sensor = SimulatedSensor(
        height=height, width=width * bars, bits=14, black=1024.0, gain=k * scale, read_before=0.0,
        read_after=math.sqrt(s2) * scale,
    )  # fmt: skip
    slope = 1 + tilt * (np.arange(width) / (width - 1) - 0.5)
    shades = np.repeat(np.linspace(0.03, 0.12, bars), width) * np.tile(slope, bars)
    scene = np.broadcast_to(shades, (height, width * bars))
    rng = np.random.default_rng(3)
    exposure = sensor.exposure_for(1.0, 100)
    frames = [Frame.of(sensor.expose(scene, iso=100, exposure=exposure, rng=rng), f"wedge {n}") for n in range(2)]
    rois = [Roi(0, width * bar, height, width * (bar + 1)) for bar in range(bars)]
    x = (np.asarray(frames[0].pixels)[:height] - 1024.0) / scale
    patches = [x[roi.top : roi.bottom, roi.left : roi.right] for roi in rois]
    mixed = [Point(100, None, "all", float(p.mean()), float(p.var()), p.size - 1, p.size, 1) for p in patches]
    line = np.polyfit([p.mean for p in mixed], [p.variance for p in mixed], 1)
    pairs = calibrate([], frames, rois=rois, black_level=[1024.0])
    single = calibrate([], frames[:1], rois=rois, black_level=[1024.0])
    return {
        "k": k, "s2": s2, "tilt": tilt,
        "mixed_k": float(line[0]), "mixed_intercept": float(line[1]),
        "mixed_flags": list(fit_line(mixed)[0].flags),
        "two_frame_k": [fit.k / scale for fit in pairs.fits[0].planes],
        "two_frame_flags": sorted({flag for fit in pairs.fits[0].planes for flag in fit.flags}),
        "one_frame_k": [fit.k / scale for fit in single.fits[0].planes],
    }  # fmt: skip


def published() -> list[dict[str, Any]]:
    rows = []
    for iso, (means, variances) in PUBLISHED.items():
        points = [
            Point(iso, None, "all", float(m), float(v), 19999, 20000, 1)
            for m, v in zip(means.split(), variances.split(), strict=True)
        ]
        fit = fit_line(points)[0]
        rows.append({"iso": iso, "k": fit.k, "s2_free": fit.s2_free, "c": fit.curvature, "t": fit.curvature_t,
                     "k_curved": fit.k_curved, "flags": list(fit.flags)})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emva", type=Path, help="EMVA1288_Data.txt of the CCD 12-bit reference set")
    parser.add_argument("--share", type=float, default=1.0, help="of the repeats, for a quick look")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    start = time.process_time()
    result: dict[str, Any] = {"one_plane": [], "cameras": {}}
    print(f"  {'':24}{'true':>11}{'mean':>11}{'sd':>10}{'se':>10}{'z':>7}{'cover':>8}")
    for k, read in ((0.5, 1.5), (4.0, 5.0)):
        repeats = max(round(ONE_PLANE * options.share), 10)
        row = one_plane(k, read, repeats)
        print(f"one plane, {repeats} times; chi2/dof {row['chi2_per_dof']:.2f}")
        show("k", row["k"])
        show("s2", row["s2"])
        result["one_plane"].append({"k_true": k, "read_true": read, **row})
    for name, (sensor, isos, times) in CAMERAS.items():
        repeats = max(round(times * options.share), 10)
        found = camera(sensor, isos, repeats)
        print(f"camera '{name}', {repeats} times; laws of the right shape {found['laws_of_the_right_shape']:.2f}")
        print(f"  planes pooled {found['pooled']:.3f}, errors {found['errors']}, warnings {found['warnings']}")
        for label, row in found["rows"].items():
            show(label, row)
        result["cameras"][name] = found
    result["mixing"] = [mixing(k, s2, tilt) for k, s2 in ((0.002, 9e-6), (0.010, 6.4e-5)) for tilt in (0.0, 0.1)]
    print("colours mixed, as published, against planes kept apart (normalised)")
    for row in result["mixing"]:
        two, one = (f"{min(row[key]):.5f}..{max(row[key]):.5f}" for key in ("two_frame_k", "one_frame_k"))
        print(f"  k {row['k']:.3f} tilt {row['tilt']:.1f}: mixed {row['mixed_k']:.5f} / {row['mixed_intercept']:+.2e}, "
              f"flags {row['mixed_flags']}; ours {two}, from one frame {one}")  # fmt: skip
    result["published"] = published()
    print("the published points")
    for row in result["published"]:
        print(f"  ISO {row['iso']:5}: line k {row['k']:.5f}, curve c {row['c']:.4f} (t {row['t']:.0f}), k "
              f"{row['k_curved']:.2e}; flags {row['flags']}")  # fmt: skip
    if options.emva:
        emva = calibrate_emva(options.emva).emva
        result["emva"] = {name: {"ours": getattr(emva, name), "reference": value} for name, value in EMVA.items()}
        print("EMVA 1288 reference series, CCD 12 bit")
        for name, value in EMVA.items():
            ours = getattr(emva, name)
            print(f"  {name:24}{ours:11.5f}, reference {value:.5f} ({100 * (ours / value - 1):+.2f} %)")
    result["seconds"] = round(time.process_time() - start)
    print(f"{result['seconds']} s of one core")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
