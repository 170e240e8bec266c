"""What the networks of the zoo cost, what the published RAW pipeline says they cost, and what quality the cost buys.

    python benchmarks/networks_cost.py SETS

writes benchmarks/results/networks_cost.json and the picture docs/images/quality_over_cost.png, and prints the tables
that `python benchmarks/tables.py` puts into docs/networks.md. Scores of published weights come from
benchmarks/results/published_weights.json; the bundled model is measured here, on the same pictures. SETS holds
kodak24/.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from published_weights import folder
from shotnoise.bundled import BUNDLED
from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.export import compare, cost
from shotnoise.networks import create
from tables import costs, raw_pipeline_table

ROOT = Path(__file__).resolve().parents[1]
FRAME = (1, 4, 1736, 2312)  # a packed frame of 16 megapixels
PACKED, UNPACKED = (540, 960), (1080, 1920)

# The table of the published RAW pipeline, "FP32 at 1080P", and the sizes that its code gives these networks.
_MPRNET = {"in_c": 4, "out_c": 4, "n_feat": 64, "scale_unetfeats": 48, "scale_orsnetfeats": 32}
_RESTORMER = {"inp_channels": 4, "out_channels": 4, "dim": 16, "layer_norm": "WithBias"}
RAW_PIPELINE = [
    ("UNet", 43.577, 0.985, 439, "raw-unet", {}, ""),
    ("PMRID", 42.967, 0.981, 37, "pmrid", {}, ""),
    ("MPRNet", 43.133, 0.979, 8300, "mprnet", _MPRNET, "narrower than MPRNet's own"),
    ("CycleISP", 43.512, 0.991, 2653, "cycleisp-denoiser", {}, "there without variance planes, 2,836,100 parameters"),
    ("Restormer", 45.133, 0.989, 8300, "restormer", _RESTORMER, "width 16, not 48; elsewhere 5400 G of MACs"),
    ("NAFNet", None, None, 2109, "nafnet", {"img_channel": 4}, "the code there is a placeholder; here width 32"),
]

# Kodak24 at sigma 25 as papers print it, of 500x500 or whole pictures, for networks without weights at hand.
LITERATURE = {"ircnn": 32.18, "drunet": 32.89, "scunet": 32.92, "restormer": 32.93}
TITLES = {
    "dncnn_color_blind": "DnCNN colour, blind",
    "ffdnet_color": "FFDNet",
    "gaussian": "shotnoise gaussian",
    "ircnn": "IRCNN",
    "drunet": "DRUNet",
    "scunet": "SCUNet",
    "restormer": "Restormer",
}
# Where names would meet: whether they stand to the left, and how high.
LABELS = {"ircnn": (True, -3.5), "scunet": (True, -3.5), "restormer": (False, 1), "drunet": (False, -9)}


def raw_pipeline() -> list[dict]:
    rows = []
    for title, psnr, ssim, claimed, name, arguments, remark in RAW_PIPELINE:
        network = create(name, **arguments)
        packed, unpacked = (cost(network, height=h, width=w) for h, w in (PACKED, UNPACKED))
        rows.append(
            {
                "title": title,
                "psnr": psnr,
                "ssim": ssim,
                "claimed_gflop": claimed,
                "network": name,
                "arguments": arguments,
                "parameters": packed.parameters,
                "gmac_packed": round(packed.macs / 1e9, 2),
                "gmac_unpacked": round(unpacked.macs / 1e9, 1),
                "claimed_over_packed": round(claimed / (packed.macs / 1e9), 2),
                "remark": remark,
            }
        )
    return rows


def quality(sets: Path, measured: list[dict]) -> list[dict]:
    """Points of the picture: Kodak24 in its 500x500, sigma 25, against multiply-accumulates per pixel."""
    points = []
    for row in measured:
        if (row["pictures"], row["strength"]) == ("Kodak24 500x500", 25):
            network = create("ffdnet" if row["network"] == "ffdnet" else "dncnn", **_arguments(row["weights"]))
            points.append((row["weights"], row["psnr"], True, network))
    with tempfile.TemporaryDirectory() as scratch:
        model = ModelUnderTest("gaussian")
        result = evaluate(model, get_protocol("folder/gaussian25"), folder("Kodak24 500x500", sets, Path(scratch)))
    points.append(("gaussian", round(result.mean("psnr"), 3), True, create(model.card.network, **model.card.arguments)))
    points += [(name, psnr, False, create(name)) for name, psnr in LITERATURE.items()]
    return [
        {
            "name": name,
            "title": TITLES[name],
            "psnr": psnr,
            "measured": here,
            "kmac_per_pixel": round(cost(network, height=512, width=512).macs / 512**2 / 1000, 2),
        }
        for name, psnr, here, network in points
    ]


def _arguments(weights: str) -> dict:
    colour = {"in_nc": 3, "out_nc": 3}
    return colour | ({"nb": 20, "act_mode": "R"} if weights.startswith("dncnn") else {})


def draw(points: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 4.3), layout="constrained")
    for point in points:
        ours = point["name"] in BUNDLED
        colour = "#c2410c" if ours else "#1d4ed8"
        axes.plot(
            point["kmac_per_pixel"], point["psnr"], "o", ms=8, mec=colour, mew=1.6,
            mfc=colour if point["measured"] else "white",
        )  # fmt: skip
        left, lift = LABELS.get(point["name"], (False, -3.5))
        axes.annotate(
            point["title"], (point["kmac_per_pixel"], point["psnr"]), xytext=(-9 if left else 9, lift),
            textcoords="offset points", color=colour, fontsize=9.5, ha="right" if left else "left",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(20, 7000)
    axes.margins(y=0.1)
    axes.set_xticks([30, 100, 300, 1000, 3000], ["30", "100", "300", "1000", "3000"])
    axes.minorticks_off()
    axes.set_xlabel("thousand multiply-accumulates per pixel")
    axes.set_ylabel("PSNR in dB")
    axes.set_title(
        "Kodak24 (500x500), noise of sigma 25: quality over cost\nfilled: measured here; empty: as published",
        fontsize=10.5, loc="left",
    )  # fmt: skip
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    options = parser.parse_args()
    results = ROOT / "benchmarks" / "results"
    measured = json.loads((results / "published_weights.json").read_text())["rows"]
    content = {
        "shape": FRAME,
        "networks": [
            asdict(row) for row in compare(FRAME, progress=lambda done, total, name: print(f"{done}/{total} {name}"))
        ],
        "raw_pipeline": raw_pipeline(),
        "quality": quality(options.sets, measured),
    }
    (results / "networks_cost.json").write_text(json.dumps(content, indent=2) + "\n")
    draw(content["quality"], ROOT / "docs" / "images" / "quality_over_cost.png")
    print("\n".join([*costs(content), "", *raw_pipeline_table(content)]))


if __name__ == "__main__":
    main()
