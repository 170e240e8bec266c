"""A run folder -> what happened: `recipe.yaml`, `metrics.csv`, `train.log`, the card, the samples, whatever is there.

Runs of earlier versions, and runs that are still going on, have less to tell.
"""

import csv
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from shotnoise.card import CARD_KEY, Card
from shotnoise.errors import ModelError, RecipeError
from shotnoise.summary.samples import Samples, read_samples

__all__ = ["PAGE", "Curve", "Log", "RunRecord", "is_run", "read_run"]

PAGE = "summary.html"
_MOST_HEADER = 2**24  # bytes of a safetensors header
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) (.*)")

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """One column of `metrics.csv`: where it has values, and which; not all are finite."""

    step: Values
    value: Values

    def __len__(self) -> int:
        return len(self.step)

    def finite(self) -> "Curve":
        """Without what is not a number."""
        good = np.isfinite(self.value)
        return Curve(self.step[good], self.value[good])


@dataclass(slots=True)
class Log:
    """What `train.log` tells.

    Attributes:
        pictures: to train on, and held out.
        seconds: of all sittings, from their first line to their last.
        sittings: how often the training was started.
        pace: samples per second of the last sitting that says so.
        device: what it ran on.
        processes: how many trained together.
        torch: version.
        start_from: whose weights were the first ones.
        without_truth: whether no clean pictures were known, so that validation shows the loss.
        remarks: what the training had to say about its own settings.
        skipped: at least so many updates.
        step: the last one that is named.
        ended: "done", "stopped", "failed" or "", if it is still going on or was killed.
        error: of a failed one.
    """

    pictures: tuple[int, int] | None = None
    seconds: float = 0.0
    sittings: int = 0
    pace: float | None = None
    device: str = ""
    processes: int = 1
    torch: str = ""
    start_from: str = ""
    without_truth: bool = False
    remarks: list[str] = field(default_factory=list)
    skipped: int = 0
    step: int = 0
    ended: str = ""
    error: str = ""


@dataclass(frozen=True)
class RunRecord:
    """A training as its folder has it.

    Attributes:
        folder: of the run.
        recipe: as it was resolved.
        yaml: the same as text.
        card: of the best weights, if there are any.
        loss: of the training.
        lr: the learning rate.
        psnr: of the validations, or the loss in dB where no clean picture is known.
        ssim: of the validations.
        log: what was told on the way.
        samples: held-out samples and their pictures.
    """

    folder: Path
    recipe: Mapping[str, Any]
    yaml: str
    card: Card | None
    loss: Curve
    lr: Curve
    psnr: Curve
    ssim: Curve
    log: Log
    samples: tuple[Samples, list[list[bytes]]] | None

    @property
    def step(self) -> int:
        """The last one known."""
        ends = [int(curve.step[-1]) for curve in (self.loss, self.psnr) if len(curve)]
        return max([self.log.step, *ends])

    @property
    def steps(self) -> int:
        """Of the whole schedule."""
        return int(self.section("training").get("steps") or 0)

    @property
    def metric(self) -> str:
        """By which the best weights are chosen: psnr or ssim."""
        return "ssim" if self.section("validation").get("best") == "ssim" else "psnr"

    @property
    def chosen(self) -> Curve:
        """The curve of that metric."""
        return self.ssim if self.metric == "ssim" else self.psnr

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the best validation, the first of equals; None before there is one."""
        curve = self.chosen.finite()
        if not len(curve):
            return None
        at = int(np.argmax(curve.value))
        return int(curve.step[at]), float(curve.value[at])

    @property
    def truthless(self) -> bool:
        """Whether validation could only show the loss."""
        return self.log.without_truth or (self.samples is not None and "clean" not in self.samples[0].columns)

    @property
    def noisy_psnr(self) -> float | None:
        """Mean PSNR of the held-out samples before denoising, if it is known."""
        return None if self.samples is None else self.samples[0].noisy_psnr

    @property
    def kind(self) -> str:
        """Of the model: rgb, gray, raw or mri; "" before there are weights."""
        return "" if self.card is None else self.card.kind

    def section(self, name: str) -> Mapping[str, Any]:
        """A part of the recipe, empty if it has none."""
        part = self.recipe.get(name)
        return part if isinstance(part, Mapping) else {}


def is_run(folder: Path) -> bool:
    """Whether this looks like a run folder."""
    return (folder / "recipe.yaml").is_file()


def read_run(run: str | os.PathLike[str]) -> RunRecord:
    """Read what is there.

    Args:
        run: its folder.

    Raises:
        RecipeError: this is no run folder, or its recipe or metrics cannot be read.
    """
    folder = Path(run)
    try:
        told = (folder / "recipe.yaml").read_text(encoding="utf-8")
        recipe = yaml.load(told, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are the safe one
        columns = _metrics(folder / "metrics.csv")
    except FileNotFoundError:
        raise RecipeError(f"{folder}: no recipe.yaml here; expected a run folder, as `shotnoise train` makes") from None
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        words = " ".join(str(error).split())
        raise RecipeError(
            f"{folder}: this run cannot be read ({words}); expected what `shotnoise train` left"
        ) from None
    if not isinstance(recipe, Mapping):
        raise RecipeError(f"{folder}: its recipe.yaml is no mapping; expected what `shotnoise train` left")
    return RunRecord(
        folder=folder,
        recipe=recipe,
        yaml=told,
        card=_card(folder / "best.safetensors"),
        log=_log(folder / "train.log"),
        samples=read_samples(folder),
        **columns,
    )


def _metrics(path: Path) -> dict[str, Curve]:
    names = ("loss", "lr", "psnr", "ssim")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            heads = next(csv.reader([next(file, "")]))
            places = [(heads.index(name), found[name]) for name in names if name in heads]
            for row in csv.reader(file):  # half as long as with names for each cell
                for place, pairs in places:
                    if place < len(row) and row[place]:
                        pairs.append((float(row[0]), float(row[place])))
    arrays = {name: np.asarray(pairs, np.float64).reshape(-1, 2) for name, pairs in found.items()}
    return {name: Curve(array[:, 0], array[:, 1]) for name, array in arrays.items()}


def _card(path: Path) -> Card | None:
    """From the header of the file, without what reads tensors."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _MOST_HEADER)))
        return Card.parse(header["__metadata__"][CARD_KEY], str(path))
    except (OSError, struct.error, ValueError, KeyError, TypeError, ModelError):
        return None


def _log(path: Path) -> Log:
    log = Log()
    first: datetime | None = None
    last: datetime | None = None
    for moment, said in _lines(path):
        if found := re.search(r": (\d+) pictures to train on, (\d+) held out$", said):
            if first is not None and last is not None:
                log.seconds += (last - first).total_seconds()
            first = moment
            log.pictures = int(found[1]), int(found[2])
            log.sittings += 1
            log.ended, log.error = "", ""
        last = moment
        _understand(said, log)
    if first is not None and last is not None:
        log.seconds += (last - first).total_seconds()
    return log


def _understand(said: str, log: Log) -> None:
    if found := re.match(r"runs on (.+), torch (\S+)$", said):
        log.device, log.torch = found[1], found[2]
        many = re.match(r"(\d+) x ", log.device)
        log.processes = int(many[1]) if many else 1
    elif found := re.match(r"starts from the weights of (.+)$", said):
        log.start_from = found[1]
    elif said.startswith("no clean pictures:"):
        log.without_truth = True
    elif said.startswith("trains in fp32 instead of"):
        log.remarks[:] = [said]
    elif found := re.match(r"step (\d+).*update skipped \((\d+) so far\)$", said):
        log.skipped = max(log.skipped, int(found[2]))
        log.step = int(found[1])
    elif found := re.match(r"step (\d+)/\d+  loss \S+  (\d+) samples/s", said):
        log.step, log.pace = int(found[1]), float(found[2])
    elif found := re.match(r"step (\d+)  validation ", said):
        log.step = int(found[1])
    elif found := re.match(r"done at step (\d+)", said):
        log.step, log.ended = int(found[1]), "done"
    elif found := re.match(r"stopped by Ctrl-C at step (\d+)$", said):
        log.step, log.ended = int(found[1]), "stopped"
    elif found := re.match(r"failed at step (\d+): (.+)$", said):
        log.step, log.ended, log.error = int(found[1]), "failed", found[2]


def _lines(path: Path) -> Iterator[tuple[datetime, str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        found = _STAMP.match(line)
        if found:
            yield datetime.fromisoformat(f"{found[1]}.{found[2]}"), found[3]
