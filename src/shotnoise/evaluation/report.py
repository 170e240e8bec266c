"""What a measurement found, as numbers, JSON and CSV."""

import csv
import io
import json
import math
import os
import statistics
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from shotnoise.card import Score
from shotnoise.errors import ModelError, StoreError
from shotnoise.evaluation.protocol import Protocol, Told
from shotnoise.sensor.law import NoiseLaw

__all__ = ["Evaluation", "PictureScore", "check_result", "read_scores", "told_in_words", "write_csv", "write_json"]


@dataclass(frozen=True)
class PictureScore:
    """The scores of one picture and noise realisation.

    Attributes:
        picture: its path below the folder.
        repeat: the number of the realisation, 0 for the first.
        height: rows.
        width: columns.
        noisy_psnr: dB of the noisy input, after the same quantisation as the output.
        noisy_ssim: structural similarity of the noisy input.
        psnr: dB of the output.
        ssim: structural similarity of the output.
        seconds: time of the denoiser alone.
        told: what the denoiser could know about the noise, in words; see :func:`told_in_words`.
    """

    picture: str
    repeat: int
    height: int
    width: int
    noisy_psnr: float
    noisy_ssim: float
    psnr: float
    ssim: float
    seconds: float
    told: str


_MEANS = ("noisy_psnr", "noisy_ssim", "psnr", "ssim", "seconds")


@dataclass(frozen=True)
class Evaluation:
    """A protocol's result for one denoiser.

    Attributes:
        protocol: the rules.
        folder: where the pictures were.
        rows: one per picture and repeat, in the order in which they were measured.
        failed: pictures that could not be measured, with the reason; not part of the means.
        warnings: why the numbers may not be comparable with published ones.
    """

    protocol: Protocol
    folder: Path
    rows: tuple[PictureScore, ...]
    failed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def pictures(self) -> int:
        """How many pictures were measured."""
        return len({row.picture for row in self.rows})

    def mean(self, column: str) -> float:
        """The mean of a column of numbers, as "psnr" or "noisy_ssim", over all pictures and repeats."""
        return statistics.fmean(getattr(row, column) for row in self.rows)

    def score(self) -> Score:
        """The means as a line for a model's card."""
        return Score(
            protocol=self.protocol.name,
            psnr=round(self.mean("psnr"), 3),
            ssim=round(self.mean("ssim"), 4),
            noisy_psnr=round(self.mean("noisy_psnr"), 3),
        )

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; an infinite PSNR (equal pictures) becomes null."""
        return {
            "protocol": self.protocol.facts(),
            "folder": str(self.folder),
            "pictures": self.pictures,
            "mean": {column: _finite(self.mean(column)) for column in _MEANS},
            "rows": [{name: _finite(value) for name, value in asdict(row).items()} for row in self.rows],
            "failed": list(self.failed),
            "warnings": list(self.warnings),
        }


def told_in_words(told: Told) -> str:
    """The standard deviation in counts of 8 bits, or a law, which says where it comes from; empty for nothing.

    >>> told_in_words(0.1)
    'sigma 25.5'
    """
    if isinstance(told, NoiseLaw):
        k, s2 = (", ".join(f"{value:.4g}" for value in dict.fromkeys(values)) for values in (told.k, told.s2))
        return f"k {k}, variance without light {s2}" + (f" ({told.source})" if told.source else "")
    return "" if told is None else f"sigma {255 * told:.4g}"


def read_scores(path: Path) -> list[Score]:
    """The scores in a file that `shotnoise evaluate --json` wrote."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [
            Score(
                protocol=evaluation["protocol"]["name"],
                psnr=round(evaluation["mean"]["psnr"], 3),
                ssim=round(evaluation["mean"]["ssim"], 4),
                noisy_psnr=round(evaluation["mean"]["noisy_psnr"], 3),
            )
            for evaluation in content["evaluations"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a file of `shotnoise evaluate --json` ({type(error).__name__}: {error})"
        ) from None


def check_result(path: Path) -> None:
    """Refuse, before hours of measuring, a file that :func:`write_json` or :func:`write_csv` could not write."""
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; expected the name of a file to write")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: there is no folder {path.parent}; make it first, or write somewhere else")


def write_json(path: Path, content: Any) -> None:
    """Write plain JSON values; the file appears complete or not at all."""
    _write(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, evaluations: list[Evaluation]) -> None:
    """Write one line per protocol, picture and repeat; the file appears complete or not at all."""
    text = io.StringIO(newline="")
    columns = [field.name for field in fields(PictureScore)]
    table = csv.writer(text)
    table.writerow(["protocol", *columns])
    for evaluation in evaluations:
        for row in evaluation.rows:
            table.writerow([evaluation.protocol.name, *(getattr(row, column) for column in columns)])
    _write(path, text.getvalue())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot write the result ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)
