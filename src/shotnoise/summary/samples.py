"""`samples.png`: a few held-out samples beside each other, with their scores inside the file."""

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from shotnoise.images._disk import write

__all__ = ["SAMPLES", "Samples", "read_samples", "write_samples"]

SAMPLES = "samples.png"
_KEY = "shotnoise.samples"  # of the text in the PNG file

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Samples:
    """What the picture shows: one row per sample, cells of one size.

    Attributes:
        step: of the validation.
        rows: how many samples.
        columns: noisy, result and, where it is known, clean.
        psnr: dB of noisy and result against clean, per row; empty where no clean picture is known.
        noisy_psnr: mean over all held-out samples before denoising; None where no clean picture is known.
    """

    step: int
    rows: int
    columns: tuple[str, ...]
    psnr: tuple[tuple[float, ...], ...]
    noisy_psnr: float | None


def write_samples(folder: Path, picture: Picture, samples: Samples) -> None:
    """Write it into a run folder, in place of an earlier one."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    words = PngInfo()
    words.add_text(_KEY, json.dumps(asdict(samples)))

    def put(file: BinaryIO) -> None:
        Image.fromarray(picture).save(file, "PNG", compress_level=4, pnginfo=words)

    write(folder / SAMPLES, put)


def read_samples(folder: Path) -> tuple[Samples, list[list[bytes]]] | None:
    """What stands beside each other, and each cell as a PNG file, row by row; None where there is no such picture."""
    from PIL import Image

    try:
        with Image.open(folder / SAMPLES, formats=["PNG"]) as file:
            told = json.loads(str(file.info[_KEY]))
            picture = np.asarray(file.convert("RGB"))
        psnr = tuple(tuple(float(value) for value in row) for row in told["psnr"])
        noisy = None if told["noisy_psnr"] is None else float(told["noisy_psnr"])
        samples = Samples(int(told["step"]), int(told["rows"]), tuple(map(str, told["columns"])), psnr, noisy)
        cells = [np.hsplit(row, len(samples.columns)) for row in np.vsplit(picture, samples.rows)]
    except (OSError, KeyError, TypeError, ValueError, SyntaxError, ZeroDivisionError, Image.DecompressionBombError):
        return None
    return samples, [[_png(cell) for cell in row] for row in cells]


def _png(pixels: Picture) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
