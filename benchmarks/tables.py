"""The tables in the docs, made from benchmarks/results/*.json and from nothing else.

    python benchmarks/tables.py

writes them anew between their marks, `<!-- table: NAME -->` and `<!-- end -->`, in every page of docs/; each is
followed by the command that measures its numbers. The scripts that measure print the same tables. A test fails where a
page holds other numbers than the JSON, so after a measurement this is run, and both are committed together.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"

Content = Mapping[str, Any]
Lines = list[str]


@dataclass(frozen=True)
class Table:
    """What stands between two marks.

    Attributes:
        make: lines of Markdown from the content of the JSON.
        result: name of the JSON in benchmarks/results/; "" for a table made from the code.
        command: that measures it.
    """

    make: Callable[[Content], Lines]
    result: str
    command: str

    def lines(self) -> Lines:
        """With the numbers of today."""
        content = json.loads((RESULTS / f"{self.result}.json").read_text(encoding="utf-8")) if self.result else {}
        return [
            *self.make(content),
            "",
            f"Measured by `{self.command}`." if self.result else f"Made by `{self.command}`.",
        ]


def row(*cells: object) -> str:
    """A line of a table."""
    return f"|{'|'.join(f' {cell} ' if cell != '' else ' ' for cell in cells)}|"


def table(heads: Sequence[str], rows: Sequence[str]) -> Lines:
    """Heads and lines."""
    return [row(*heads), "|" + "---|" * len(heads), *rows]


def fill(text: str, only: Sequence[str] | None = None) -> str:
    """A page with its tables made anew; `only` names those to touch."""

    def anew(match: re.Match[str]) -> str:
        name = match[1]
        if name not in TABLES:
            raise SystemExit(f"a place is marked '{name}'; expected one of {', '.join(TABLES)}")
        if only is not None and name not in only:
            return match[0]
        return "\n".join([f"<!-- table: {name} -->", *TABLES[name].lines(), "<!-- end -->"])

    return re.sub(r"<!-- table: (.+?) -->\n.*?<!-- end -->", anew, text, flags=re.DOTALL)


def peers(content: Content) -> Lines:
    """Speed and quality beside others."""
    rows, noisy = content["rows"], content["noisy"]
    sigmas = [sigma for sigma in noisy if f"psnr_{sigma}" in rows[0]]
    heads = ["method", "runs in", "CPU ms/MP", "least to most", "times the first", *(f"PSNR at {s}" for s in sigmas)]
    lines = [row("noisy", "", "", "", "", *(f"{noisy[sigma]:.2f}" for sigma in sigmas))]
    for one in rows:
        least, most = one["spread"]
        lines.append(
            row(
                one["method"], one["engine"], f"{one['cpu_ms_per_mp']:.0f}", f"{least:.0f} to {most:.0f}",
                f"{one['times_first']:.2f}", *(f"{one[f'psnr_{sigma}']:.2f}" for sigma in sigmas),
            )
        )  # fmt: skip
    height, width = content["settings"]["crop"]
    processor = content["machine"]["processor"]
    about = f"The middle {width}x{height} of {len(content['pictures'])} pictures; {processor}, one core."
    return [about, "", *table(heads, lines), "", *(f"- {words}" for words in content["verdicts"])]


def engines(content: Content) -> Lines:
    """Networks, engines and precisions beside the RAW U-Net, and the ceilings of the machine."""
    settings, best, rows = content["settings"], content["ceilings"], content["rows"]
    threads = f"{settings['threads']} thread{'s' if settings['threads'] > 1 else ''}"
    clock = "time that passes" if content["clock"] == "wall" else "CPU time"
    height, width = settings["size"]
    lines = [
        f"4 x {height} x {width}, {threads} of {settings['processor']}; GOPS, shares and goals by {clock}.",
        "",
        *table(
            ["ceiling of", "GOPS", "measured with"],
            [row(precision, f"{one['gops']:.0f}", one["of"]) for precision, one in best.items()],
        ),
        "",
    ]
    measured, reasons = [], dict[str, list[str]]()
    for one in rows:
        if "cannot" in one:
            if one["network"] == rows[0]["network"]:
                reasons.setdefault(one["cannot"], []).append(f"{one['engine']} {one['precision']}")
            continue
        share = "" if one["of_ceiling"] is None else f"{one['of_ceiling']:.0%}"
        measured.append(
            row(
                one["network"], one["engine"], one["precision"], f"{one['wall_ms']:.0f}", f"{one['cpu_ms']:.0f}",
                f"{one['wall_ratio']:.2f}", f"{one['cpu_ratio']:.2f}", f"{one['gops']:.0f}", share,
                f"{one['peak_mb']:.0f}",
            )
        )  # fmt: skip
    heads = ("network", "engine", "precision", "ms", "CPU ms", "times the unit", "by CPU time", "GOPS", "of ceiling",
             "peak MB")  # fmt: skip
    lines += [*table(heads, measured), ""]
    lines += [f"not measured: {', '.join(what)}: {reason}" for reason, what in reasons.items()]
    return [*lines, "", *(f"- {words}" for words in [*content["verdicts"], *accounts(content["account"], best)])]


def accounts(found: Sequence[Content], best: Content) -> Lines:
    """Where the time of OpenVINO goes, layer by layer."""
    lines = []
    for one in found:
        total = sum(one["ms"].values())
        parts = []
        for kind, milliseconds in one["ms"].items():
            if milliseconds < 0.01 * total:
                continue
            words = f"{kind} {milliseconds:.0f} ms ({milliseconds / total:.0%}"
            if kind in one["gops"]:
                words += f", {one['gops'][kind]:.0f} GOPS"
                if one["precision"] in best:
                    words += f" = {one['gops'][kind] / best[one['precision']]['gops']:.0%} of the ceiling"
            parts.append(f"{words})")
        lines.append(f"{one['network']}, OpenVINO {one['precision']}: {', '.join(parts)}")
    return lines


def zoo(_: Content) -> Lines:
    """The networks with their limits."""
    import torch

    from shotnoise.networks import NETWORKS, create

    lines = []
    with torch.device("meta"):  # nothing but shapes: the largest have a hundred megabytes of weights
        for name, summary in NETWORKS.items():
            network = create(name)
            lines.append(row(f"`{name}`", summary, network.source, network.level, network.multiple))
    return table(["name", "what it is", "source", "level", "multiple"], lines)


def costs(content: Content) -> Lines:
    """What the networks cost."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    rows = [
        row(
            f"`{one['name']}`", f"{one['parameters']:,}", number(one["macs"] and one["macs"] / 1e9, ",.1f"),
            number(one["kmac_per_pixel"], ",.1f"), number(one["activations"] and one["activations"] / 2**20, ",.0f"),
            one["field"] or "whole", one["halo"] or "whole", one["remark"],
        )
        for one in content["networks"]
    ]  # fmt: skip
    heads = ("network", "parameters", "GMAC", "kMAC per pixel", "memory MiB", "field", "halo", "remark")
    return table(heads, rows)


def raw_pipeline_table(content: Content) -> Lines:
    """The table of the published RAW pipeline beside our counts."""
    rows = [
        row(
            one["title"], f"{one['psnr']:.3f}" if one["psnr"] else "-", f"{one['ssim']:.3f}" if one["psnr"] else "-",
            f"{one['claimed_gflop']} G", f"{one['parameters']:,}", f"{one['gmac_packed']:,.1f}",
            f"{one['gmac_unpacked']:,.0f}", f"{one['claimed_over_packed']:.1f}", one["remark"],
        )
        for one in content["raw_pipeline"]
    ]  # fmt: skip
    heads = ("there", "PSNR", "SSIM", "FLOPs there", "parameters", "GMAC 4x540x960", "GMAC 4x1080x1920", "ratio",
             "remark")  # fmt: skip
    return table(heads, rows)


def published_weights(content: Content) -> Lines:
    """Scores of published weights beside what was published."""

    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    rows = []
    for one in content["rows"]:
        difference = "" if one["published"] is None else f"{one['psnr'] - one['published']:+.3f}"
        rows.append(
            row(
                one["weights"], f"{one['pictures']} ({one['count']})", one["strength"], f"{one['psnr']:.3f}",
                f"{one['ssim']:.4f}", number(one["reference"], 3), number(one["published"], 2), difference,
            )
        )  # fmt: skip
    heads = (
        "weights",
        "pictures",
        "sigma, or ISO",
        "ours dB",
        "SSIM",
        "authors' code dB",
        "published dB",
        "difference",
    )
    return table(heads, rows)


def quality_per_ms(content: Content) -> Lines:
    """Networks for RAW after equal time."""
    isos = list(next(iter(content["networks"].values()))["psnr"])
    rows = [
        row(
            name, f"{one['parameters']:,}", f"{one['kmac_per_packed_pixel']:.1f}", f"{one['crops']:,}",
            *(f"{one['psnr'][iso]:.2f}" for iso in isos), f"{one['mean_gain']:.2f}",
            f"{one['ms_per_megapixel']['onnxruntime']:.0f}", f"{one['ms_per_megapixel']['openvino']:.0f}",
        )
        for name, one in sorted(content["networks"].items(), key=lambda item: -item[1]["mean_gain"])
    ]  # fmt: skip
    heads = ("", "parameters", "kMAC per packed pixel", "crops seen", f"ISO {isos[0]}", *isos[1:], "mean gain",
             "onnxruntime ms", "OpenVINO ms")  # fmt: skip
    return table(heads, rows)


def without_clean_pictures(content: Content) -> Lines:
    """What the quick recipes give."""
    names = {
        "n2n-gaussian": "Noise2Noise, sigma 25",
        "n2c-gaussian": "the same with clean targets",
        "n2n-poisson": "Noise2Noise, 30 photons",
        "n2c-poisson": "the same with clean targets",
        "nb2nb": "Neighbor2Neighbor, sigma 25",
        "nb2nb-ratio0": "the same without its second term",
    }
    rows = [
        row(
            names[one["run"]], f"{one['steps']:,}", f"{one['noisy_psnr']:.2f}", f"{one['psnr']:.2f}",
            f"{one['ssim']:.3f}", f"{one['detail']:.2f}",
        )
        for one in content["rows"]
    ]  # fmt: skip
    fit = content["zero_shot"]
    picture = Path(fit["picture"]).stem
    about = f"zero-shot fit, {picture} alone, sigma 25"
    rows.append(row(about, "2,000", f"{fit['before']:.2f}", f"{fit['after']:.2f}", "", ""))
    return table(["training", "steps", "noisy dB", "PSNR dB", "SSIM", "detail"], rows)


def sure(content: Content) -> Lines:
    """How far off the estimates of the error are."""
    columns = ("picture/known", "picture/blind", "raw/known", "raw/blind")
    rows = [
        row(title, *("{:.2f}, {:.2f}".format(*content["quoted"][f"{method}/{column}"]) for column in columns))
        for method, title in (("stein", "Stein"), ("residual", "two files"))
    ]
    return table(["", "pictures, level known", "pictures, blind", "RAW, law known", "RAW, blind"], rows)


def realistic_noise(content: Content) -> Lines:
    """Made noise beside that of photographs."""
    names = {
        "real": "real",
        "gaussian": "white Gaussian",
        "classical": "classical camera",
        "learned": "learned camera, trained for minutes",
    }
    rows = []
    for name, title in names.items():
        one = content["results"][name]
        lags = [abs(down + across) / 2 for down, across in zip(one["down"][1:4], one["across"][1:4], strict=True)]
        colours = [abs(one["colours"][pair]) for pair in ("RG", "GB", "RB")]
        apart = one.get("distance")
        far = "" if apart is None else f"{apart['space']:.3f}, {apart['colours']:.3f}, {apart['brightness']:.3f}"
        rows.append(row(title, _two(lags), _two(colours), far))
    heads = (
        "",
        "correlation at 1, 2, 3 pixels",
        "of R-G, G-B, R-B",
        "distance to real: neighbours, colours, brightness",
    )
    return table(heads, rows)


def _two(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def real_noise_training(content: Content) -> Lines:
    """What made noise teaches about real pairs."""
    names = {
        "white Gaussian": "white Gaussian noise of sigma 0 to 50",
        "classical camera": "noise through the classical camera",
        "learned camera": "noise through the small learned camera",
    }
    models, best = content["models"], max(one["psnr"] for one in content["models"].values())
    for name in models:
        if name.endswith(" (bundled)"):
            ours = name.removesuffix(" (bundled)")
            names[name] = f"white noise for 80 minutes, told an estimate: the bundled `{ours}`"
    first = next(iter(models.values()))
    rows = [row("nothing, the noisy pictures", "", f"{first['noisy_psnr']:.2f}", f"{first['noisy_ssim']:.3f}")]
    for name, title in names.items():
        one = models[name]
        score = f"**{one['psnr']:.2f}**" if one["psnr"] == best else f"{one['psnr']:.2f}"
        steps = f"{content['steps'][name]:,}" if name in content["steps"] else ""
        rows.append(row(title, steps, score, f"{one['ssim']:.3f}"))
    return table(["trained on", "steps", "PSNR dB", "SSIM"], rows)


def int8(content: Content) -> Lines:
    """What int8 costs the model for pictures, and what it gains."""
    name, one = next(iter(content["models"].items()))
    levels = list(one["noise"])
    times, sizes, kept = one["cpu_ms_per_megapixel"], one["bytes"], one["quantisation"]["onnxruntime"]

    def gain(kind: str) -> list[str]:
        return [f"{times[kind][engine] / times['fp32'][engine]:.2f}" for engine in ("onnxruntime", "openvino")]

    def size(kind: str) -> str:
        return f"{sizes[kind] / 1e6:.1f}"

    rows = [
        row("fp32, dB", *(f"{one['psnr']['fp32'][level]:.2f}" for level in levels), size("fp32"), 1, 1),
        row(
            "int8 loses, dB", *(f"{one['loss']['onnxruntime'][level]:.3f}" for level in levels), size("onnxruntime"),
            *gain("onnxruntime"),
        ),
        row(
            "rounded where onnxruntime's own tool does, dB",
            *(f"{one['loss']['placed by onnxruntime'][level]:.2f}" for level in levels), size("placed by onnxruntime"),
            *gain("placed by onnxruntime"),
        ),
        row(
            "int8, on the held-out training pictures that decided what stays float",
            *(f"{loss['loss']:.3f}" for loss in kept["losses"]), "", "", "",
        ),
    ]  # fmt: skip
    heads = (f"`{name}`", levels[0], *(level.split()[1] for level in levels[1:]), "MB", "onnxruntime, of fp32",
             "OpenVINO, of fp32")  # fmt: skip
    return table(heads, rows)


def int8_training(content: Content) -> Lines:
    """What training for int8 changes."""
    names = {
        "as it was": "as it was",
        "trained in float": "trained on in float",
        "trained with int8": "trained on with int8",
    }
    rows = []
    for name, title in names.items():
        for first, kind in ((title, "fp32"), ("", "int8")):
            rows.append(row(first, kind, *(f"{value:.2f}" for value in content["psnr"][name][kind])))
    levels = content["levels"]
    return table(["", "", f"sigma {levels[0]}", *map(str, levels[1:])], rows)


def mri(content: Content) -> Lines:
    """Under-sampled MRI."""
    names = {
        "noisy targets": "noisy targets",
        "clean targets": "clean targets",
        "noisy targets, measured frequencies put back only when scored": "noisy targets, measured frequencies put back "
        "only where scored",
        "noisy targets, never put back": "noisy targets, never put back",
    }
    found = [("nothing: what was measured, unweighted, the rest 0", content["zero_filled"])]
    found += [(names[one["training"]], one) for one in content["rows"]]
    rows = [row(title, f"{o['noisy_psnr']:.2f}", f"{o['psnr']:.2f}", f"{o['ssim']:.3f}") for title, o in found]
    first = content["rows"][0]
    heads = (f"training, {first['steps']} steps of {first['batch']} slices", "noisy dB", "PSNR dB", "SSIM")
    return table(heads, rows)


def full_frame_memory(content: Content) -> Lines:
    """Peaks above the loaded picture."""
    cases: dict[str, dict[str, int]] = {}
    for one in content["commands"]:
        cases.setdefault(one["case"], {})[one["engine"]] = one["above_loaded_mb"]
    rows = [row(case, mb["onnxruntime"], mb["openvino"]) for case, mb in cases.items() if len(mb) == 2]
    return table(["peak above the loaded picture, MB", "onnxruntime", "OpenVINO"], rows)


def full_frame_windows(content: Content) -> Lines:
    """What windows of several sizes cost."""
    sides: dict[int, list[str]] = {}
    for one in sorted(content["windows"], key=lambda one: one["engine"]):
        sides.setdefault(one["side"], []).extend([f"{one['cpu_ms_per_mp']} ms", f"{one['bytes_per_pixel']} B"])
    rows = [row(f"{side} x {side}", *cells) for side, cells in sides.items()]
    return table(["window", "onnxruntime", "", "OpenVINO", ""], rows)


def raw_denoise(content: Content) -> Lines:
    """The bundled model for RAW beside others."""
    names = {
        "noisy": "noisy",
        "root + non-local means": "root + non-local means",
        "PMRID, published weights": "PMRID, published weights",
        "raw": "**`raw`**",
    }
    isos = content["isos"]
    rows = []
    for name, title in names.items():
        cells = []
        for one in isos.values():
            best = max(other["psnr"] for other in one.values()) == one[name]["psnr"]
            score = f"**{one[name]['psnr']:.2f}**" if best else f"{one[name]['psnr']:.2f}"
            cells.append(f"{score} / {one[name]['ssim']:.3f} / {one[name]['psnr_developed']:.2f}")
        rows.append(row(title, *cells))
    first, *others = isos
    return table(["", f"ISO {first}", *others], rows)


def quality(content: Content, part: str) -> dict[str, dict[str, Content]]:
    """Rows of one part: by model, then by task, in the order in which they were first measured."""
    found: dict[str, dict[str, Content]] = {}
    order = ("photo", "photo, int8", "gaussian", "gaussian, int8", "gaussian-m", "raw", "raw, int8")
    rows = [one for one in content["rows"] if one["part"] == part]
    known = [name for name in order if any(one["model"] == name for one in rows)]
    for name in dict.fromkeys([*known, *(one["model"] for one in rows)]):
        found[name] = {one["task"]: one for one in rows if one["model"] == name}
    return found


WHITE = (2, 5, 15, 25, 50)


def quality_white(content: Content) -> Lines:
    """White noise of known strength, in colour and gray."""
    models = quality(content, "gaussian")
    lines = []
    for data, words in (
        ("kodak24", "Kodak24, 768x512"), ("bsd300", "BSD300 test, 481x321"),
        ("kodak24 gray", "Kodak24, gray"), ("bsd300 gray", "BSD300 test, gray"),
    ):  # fmt: skip
        tasks = [f"{data}, sigma {sigma}" for sigma in WHITE]
        noisy = [models["gaussian"][task]["noisy_psnr"] for task in tasks]
        lines.append(row(f"**{words}**, noisy", *(f"{value:.2f}" for value in noisy)))
        for name, rows in models.items():
            if tasks[0] in rows:
                cells = [f"{rows[task]['psnr']:.2f} / {rows[task]['ssim']:.3f}" for task in tasks]
                lines.append(row(name if name == "FFDNet" else f"`{name}`", *cells))
    return table(["PSNR / SSIM", f"sigma {WHITE[0]}", *map(str, WHITE[1:])], lines)


def quality_raw(content: Content) -> Lines:
    """RAW, in every precision."""
    models = quality(content, "raw")
    tasks = [*models["raw"]]
    lines = [row("noisy", *(f"{models['raw'][task]['noisy_psnr']:.2f}" for task in tasks))]
    for name, rows in models.items():
        lines.append(row(name, *(f"{rows[task]['psnr']:.2f} / {rows[task]['ssim']:.3f}" for task in tasks)))
    return table(["PSNR / SSIM", *tasks], lines)


def quality_real(content: Content) -> Lines:
    """Pairs of a phone, about which nothing is known."""
    models = quality(content, "real")
    noisy = models["photo"]["phone"]
    lines = [row("noisy", f"{noisy['noisy_psnr']:.2f}", "", "")]
    for name, rows in models.items():
        for one in rows.values():
            level = f", told sigma {one['level']:g}, the best for it here" if "level" in one else ""
            gain = one["psnr"] - one["noisy_psnr"]
            lines.append(row(f"{name}{level}", f"{one['psnr']:.2f}", f"{gain:+.2f}", f"{one['ssim']:.3f}"))
    return table(["ten pairs of a phone", "PSNR dB", "gain", "SSIM"], lines)


def quality_clean(content: Content) -> Lines:
    """What a model changes besides noise."""
    lines = []
    for name, rows in quality(content, "clean").items():
        for task, one in rows.items():
            lines.append(
                row(f"`{name}`", task, f"{one['psnr']:.2f}", f"{one['colour_drift']:.2f}", f"{one['detail']:.0%}")
            )
    heads = ["Kodak24", "noise", "PSNR dB", "colours drift, counts of 255", "gradients, of those of the original"]
    return table(heads, lines)


def learning(content: Content) -> Lines:
    """How the bundled models came to what they are."""
    lines = []
    for name, one in ((name, part) for name, model in content.items() for part in model["parts"]):
        points = one["validation"]
        step = max(1, len(points) // 8)
        shown = [point for place, point in enumerate(points, 1) if place % step == 0 or place == len(points)]
        said = f"{one['steps']:,} steps in {one['minutes']:.0f} minutes ({one['where']})"
        lines += ["", f"`{name}` by `{one['recipe']}`, {said}:"]
        rows = [row(f"{point[0]:,}", f"{point[1]:.2f}") for point in shown]
        lines += ["", *table(["step", "held-out PSNR, dB"], rows)]
    return lines[1:]


PERFECT = 60  # dB, the most that benchmarks/held_out.py states


def held_out(content: Content) -> Lines:
    """What the parts and trials of `photo` do to each kind of noise."""
    models = content["models"]
    rows = [
        row(kind, f"{noisy:.2f}" if noisy < PERFECT else "", *(f"{one[kind]:.2f}" for one in models.values()))
        for kind, noisy in content["noisy"].items()
    ]
    rows.append(row("clean, 512x512, 8 bits", "", *(f"{one['whole pictures']:.2f}" for one in models.values())))
    return table(["PSNR, dB", "noisy", *models], rows)


def refine(content: Content) -> Lines:
    """What a few pairs of one camera add."""
    rows = [row("noisy", f"{content['noisy']:.2f}", "")]
    for name, each in content["models"].items():
        rows.append(row(name, f"{sum(each) / len(each):.2f}", f"{min(each):.2f} to {max(each):.2f}"))
    return table([f"{content['pairs']} pairs, each scored by a model that has not seen it", "PSNR dB", ""], rows)


def camera_laws(content: Content) -> Lines:
    """The noise of a simulated camera, and what calibration finds."""
    rows = [
        row(iso, f"{one['k']:.4f}", f"{one['k_found']:.4f}", f"{one['read']:.3f}", f"{one['read_found']:.3f}")
        for iso, one in content["laws"].items()
    ]
    return table(["ISO", "k, DN/e-", "found", "noise without light, DN", "found"], rows)


def camera_psnr(content: Content) -> Lines:
    """What a profile and a model of one's own are worth."""
    ways = ("noisy", "blind", "bundled", "own")
    scores = content["psnr"]
    rows = [row(name.replace("_", " "), *(f"{one[way]:.2f}" for way in ways)) for name, one in scores.items()]
    means = [sum(one[way] for one in scores.values()) / len(scores) for way in ways]
    cells = [f"**{mean:.2f}**" if mean == max(means) else f"{mean:.2f}" for mean in means]
    return table(["scene", "noisy", "no profile", "profile", "own model"], [*rows, row("**mean**", *cells)])


def calibration(content: Content) -> Lines:
    """How accurate calibration is."""
    rows = []
    for one in content["one_plane"]:
        about = f"one plane, k {one['k_true']:g} DN/e-, read noise {one['read_true']:g} DN: k"
        for title, key in ((about, "k"), ("the same: variance without light", "s2")):
            rows.append(row(title, one["repeats"], f"{one[key]['z']:+.1f}", f"{one[key]['coverage']:.3f}"))
    names = {
        "plain": "a plain camera, 4 ISOs, all values and laws",
        "hard": "a hard one, 7 ISOs: rows, uneven pixels, hot pixels, dual gain",
    }
    for name, title in names.items():
        one = content["cameras"][name]
        found = one["rows"].values()
        shares = [value["coverage"] for value in found]
        worst = max(abs(value["z"]) for value in found)
        rows.append(row(title, one["repeats"], f"at most {worst:.1f}", f"{min(shares):.3f} to {max(shares):.3f}"))
    return table(["", "repeats", "bias, in its standard errors", "truth inside the 95 % interval"], rows)


QUALITY = "python benchmarks/quality.py SETS WEIGHTS --real PAIRS --json benchmarks/results/quality.json"
TABLES = {
    "peers": Table(
        peers, "peers",
        "python benchmarks/peers.py SETS WEIGHTS --json benchmarks/results/peers.json --figure docs/images/peers.png",
    ),
    "engines": Table(
        engines, "engine_ratios",
        "python benchmarks/engine_ratios.py --json benchmarks/results/engine_ratios.json",
    ),
    "zoo": Table(zoo, "", "python benchmarks/tables.py"),
    "costs": Table(costs, "networks_cost", "python benchmarks/networks_cost.py SETS"),
    "raw pipeline": Table(raw_pipeline_table, "networks_cost", "python benchmarks/networks_cost.py SETS"),
    "published weights": Table(
        published_weights, "published_weights",
        "python benchmarks/published_weights.py WEIGHTS SETS --json benchmarks/results/published_weights.json",
    ),
    "quality per ms": Table(
        quality_per_ms, "quality_per_ms",
        "python benchmarks/quality_per_ms.py RUNS SETS --data CLIC2025 --data CID22 --minutes 8 "
        "--json benchmarks/results/quality_per_ms.json",
    ),
    "without clean pictures": Table(
        without_clean_pictures, "without_clean_pictures",
        "python benchmarks/without_clean_pictures.py RUNS SETS --json benchmarks/results/without_clean_pictures.json",
    ),
    "sure": Table(
        sure, "sure", "python benchmarks/sure.py CLIC2025 CID22 --limit 7 --json benchmarks/results/sure.json"
    ),
    "realistic noise": Table(
        realistic_noise, "realistic_noise",
        "python benchmarks/realistic_noise.py PAIRS --camera RUN --picture src/shotnoise/bundled/chelsea.png "
        "--figure docs/images/realistic-noise.png --json benchmarks/results/realistic_noise.json",
    ),
    "real noise training": Table(
        real_noise_training, "real_noise_training",
        "python benchmarks/real_noise_training.py RUNS PAIRS --data CLIC2025 --data CID22 --camera RUN "
        "--json benchmarks/results/real_noise_training.json",
    ),
    "int8": Table(int8, "int8", "python benchmarks/int8.py SETS --json benchmarks/results/int8.json"),
    "int8 training": Table(
        int8_training, "int8_training",
        "python benchmarks/int8_training.py MODEL RUNS --data PICTURES --steps 300 --crop 64 "
        "--json benchmarks/results/int8_training.json",
    ),
    "mri": Table(
        mri, "mri",
        "python benchmarks/mri.py measure OUT --json benchmarks/results/mri.json --figure docs/images/mri.png",
    ),
    "full frame, memory": Table(
        full_frame_memory, "full_frame", "python benchmarks/full_frame.py --json benchmarks/results/full_frame.json"
    ),
    "full frame, windows": Table(
        full_frame_windows, "full_frame", "python benchmarks/full_frame.py --json benchmarks/results/full_frame.json"
    ),
    "raw denoise": Table(
        raw_denoise, "raw_denoise",
        "python benchmarks/raw_denoise.py SETS --pmrid WEIGHTS --json benchmarks/results/raw_denoise.json",
    ),
    "quality, white": Table(quality_white, "quality", QUALITY),
    "quality, raw": Table(quality_raw, "quality", QUALITY),
    "quality, real": Table(quality_real, "quality", QUALITY),
    "quality, clean": Table(quality_clean, "quality", QUALITY),
    "learning": Table(learning, "models", 'make models DATA="CLIC2025 CID22"'),
    "held out": Table(
        held_out, "held_out",
        "python benchmarks/held_out.py NAME=MODEL --data CLIC2025 --data CID22 --json benchmarks/results/held_out.json",
    ),
    "refine": Table(
        refine, "refine", "python benchmarks/refine.py RUNS PAIRS --json benchmarks/results/refine.json"
    ),
    "camera laws": Table(
        camera_laws, "camera_road",
        "python benchmarks/camera_road.py PHOTOS SETS/kodak24 OUT --json benchmarks/results/camera_road.json "
        "--figures docs/images",
    ),
    "camera psnr": Table(
        camera_psnr, "camera_road",
        "python benchmarks/camera_road.py PHOTOS SETS/kodak24 OUT --json benchmarks/results/camera_road.json "
        "--figures docs/images",
    ),
    "calibration": Table(
        calibration, "calibration_accuracy",
        "python benchmarks/calibration_accuracy.py --emva INDEX --json benchmarks/results/calibration_accuracy.json",
    ),
}  # fmt: skip


def main() -> None:
    """Write all pages anew."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        anew = fill(text)
        if anew != text:
            page.write_text(anew, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
