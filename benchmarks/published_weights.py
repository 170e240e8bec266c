"""Do the weights that authors published give the scores that they published, when we load and run them?

The noise is that of `shotnoise evaluate`: NumPy's legacy generator, seed 0 anew for each picture, float64, not clipped;
output limited to 0..1 and rounded to 8 bits. CBSD68 is the 68 of the 100 BSD300 test pictures that are known by that
name; BSD68 is the same in gray, converted by us (Rec. 601 luma, rounded). Kodak24 is measured twice: the whole pictures
of 768x512, and the 500x500 in their middle; papers use both and call both by this name. PMRID sees RAW made of Kodak24
(protocols raw/kodak24/iso*), for which nobody has published numbers.

    python benchmarks/published_weights.py WEIGHTS SETS --json benchmarks/results/published_weights.json

WEIGHTS holds the files named below, in any format that `shotnoise.networks.load` opens; what is missing is left out.
SETS holds kodak24/ and bsd300_test/. Rows that the JSON has already are kept, so a second run goes on.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from shotnoise import __version__
from shotnoise.evaluation import ModelUnderTest, evaluate, find_pictures, get_protocol
from shotnoise.networks.containers import SUFFIXES
from tables import published_weights

# Of the first 69 names in alphabetical order, all but this one.
NOT_IN_CBSD68 = "156065"


@dataclass(frozen=True)
class Row:
    """One number: weights, pictures, strength, what was published, what the authors' own code gave elsewhere."""

    weights: str
    pictures: str
    strength: int  # sigma of 255, or ISO
    published: float | None = None
    reference: float | None = None


ROWS = [
    Row("ffdnet_color", "CBSD68", 15, 33.87, 33.879),
    Row("ffdnet_color", "CBSD68", 25, 31.21, 31.220),
    Row("ffdnet_color", "CBSD68", 50, 27.96, 27.974),
    Row("ffdnet_color", "Kodak24 500x500", 15, 34.63, 34.627),
    Row("ffdnet_color", "Kodak24 500x500", 25, 32.13, 32.130),
    Row("ffdnet_color", "Kodak24 500x500", 50, 28.98, 28.980),
    Row("ffdnet_color", "Kodak24 768x512", 15),
    Row("ffdnet_color", "Kodak24 768x512", 25),
    Row("ffdnet_color", "Kodak24 768x512", 50),
    Row("ffdnet_gray", "BSD68", 15, 31.63, 31.639),
    Row("ffdnet_gray", "BSD68", 25, 29.19, 29.194),
    Row("ffdnet_gray", "BSD68", 50, 26.29, 26.295),
    Row("dncnn_s25", "BSD68", 25, 29.23, 29.233),
    Row("dncnn_color_blind", "CBSD68", 25, 31.24, 31.244),
    Row("dncnn_color_blind", "Kodak24 500x500", 25, 32.14),
    Row("dncnn_color_blind", "Kodak24 768x512", 25),
    Row("pmrid", "Kodak24 RAW", 800),
    Row("pmrid", "Kodak24 RAW", 3200),
    Row("pmrid", "Kodak24 RAW", 6400),
]


def folder(pictures: str, sets: Path, scratch: Path) -> Path:
    """A folder with exactly the pictures of a set."""
    if pictures in ("Kodak24 768x512", "Kodak24 RAW"):
        return sets
    place = scratch / pictures
    if place.exists():
        return place
    place.mkdir()
    if pictures == "Kodak24 500x500":
        for path in find_pictures(get_protocol("kodak24"), sets)[1]:
            with Image.open(path) as picture:
                pixels = np.asarray(picture)
            top, left = (pixels.shape[0] - 500) // 2, (pixels.shape[1] - 500) // 2
            Image.fromarray(pixels[top : top + 500, left : left + 500]).save(place / path.name)
        return place
    names = sorted(find_pictures(get_protocol("bsd300"), sets)[1], key=lambda path: path.stem)[:69]
    for path in names:
        if path.stem != NOT_IN_CBSD68:
            (place / path.name).symlink_to(path.resolve())
    return place


def protocol_of(row: Row) -> str:
    if row.pictures == "Kodak24 RAW":
        return f"raw/kodak24/iso{row.strength}"
    data_set = "kodak24" if row.pictures == "Kodak24 768x512" else "folder"
    return f"{data_set}/gaussian{row.strength}"


def find_weights(name: str, weights: Path) -> Path | None:
    return next((weights / f"{name}{suffix}" for suffix in SUFFIXES if (weights / f"{name}{suffix}").exists()), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", help="Words of the rows to measure now, with commas between: pmrid, CBSD68 ...")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    done = {}
    if options.json and options.json.exists():
        done = {(r["weights"], r["pictures"], r["strength"]): r for r in json.loads(options.json.read_text())["rows"]}
    rows, models = [], {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for number, row in enumerate(ROWS, 1):
            known = done.get((row.weights, row.pictures, row.strength))
            file = find_weights(row.weights, options.weights)
            asked = options.only is None or {row.weights, row.pictures} & set(options.only.split(","))
            if known is None and file is not None and asked:
                started = time.monotonic()
                if row.weights not in models:
                    models = {row.weights: ModelUnderTest(file)}
                model = models[row.weights]
                result = evaluate(
                    model,
                    get_protocol(protocol_of(row)),
                    folder(row.pictures, options.sets, scratch),
                    channels=model.channels,
                    progress=lambda now, total, row=row, number=number: print(
                        f"\r{number}/{len(ROWS)} {row.weights} {row.pictures} {row.strength}: {now}/{total}   ",
                        end="",
                        file=sys.stderr,
                    ),
                )
                known = {
                    "weights": row.weights,
                    "network": model.card.network,
                    "parameters": model.card.parameters,
                    "pictures": row.pictures,
                    "count": len(result.rows),
                    "protocol": protocol_of(row),
                    "strength": row.strength,
                    "noisy": round(result.mean("noisy_psnr"), 3),
                    "psnr": round(result.mean("psnr"), 3),
                    "ssim": round(result.mean("ssim"), 4),
                    "published": row.published,
                    "reference": row.reference,
                    "shotnoise": __version__,
                    "minutes": round((time.monotonic() - started) / 60, 1),
                }
            if known is not None:
                rows.append(known)
                done.pop((row.weights, row.pictures, row.strength), None)
                if options.json:  # with those of an earlier run that are still to come
                    options.json.parent.mkdir(parents=True, exist_ok=True)
                    options.json.write_text(json.dumps({"rows": [*rows, *done.values()]}, indent=2) + "\n")
    print(file=sys.stderr)
    print("\n".join(published_weights({"rows": rows})))


if __name__ == "__main__":
    main()
