"""The Smartphone Image Denoising Dataset: 40 pictures of five phones, cut into 32 blocks of 256 x 256 each.

A. Abdelhamed, S. Lin, M. S. Brown, "A High-Quality Denoising Dataset for Smartphone Cameras", CVPR 2018. Its blocks are
published as MATLAB files with one variable that is called like the file: 8-bit RGB (40, 32, 256, 256, 3), or RAW
normalised to 0..1 (40, 32, 256, 256). For the validation set both noisy and clean blocks are given, for the benchmark
only the noisy ones.

The RAW blocks tell neither the colours of their mosaics nor their noise. Both can be given in a table beside them,
``blocks.csv`` with the columns ``image`` (0 to 39), ``pattern`` (RGGB, GRBG, GBRG, BGGR), ``shot`` and ``read``
(variance = shot x + read, of values in 0..1).
"""

import codecs
import csv
import functools
import io
import pickle  # only through a reader that knows nothing but arrays
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError, ProfileError, StoreError
from shotnoise.evaluation.pairs import PairProtocol, pair_trial
from shotnoise.evaluation.phases import to_planes
from shotnoise.evaluation.protocol import Protocol, Trial
from shotnoise.evaluation.raw import shown_planes
from shotnoise.images.raw.bayer import PATTERNS, Pattern, join
from shotnoise.images.raw.frame import RawFrame
from shotnoise.metrics import METRICS, Metrics
from shotnoise.sensor.estimate import estimate_law
from shotnoise.sensor.law import NoiseLaw
from shotnoise.store.matlab import mat_names, read_mat
from shotnoise.store.pair_folders import find_pairs

__all__ = ["BLOCKS", "Facts", "SiddRawProtocol", "SiddSrgbProtocol", "read_blocks", "read_facts", "rows", "seen_law"]

BLOCKS = 1280
"""In the validation set, and in the benchmark."""

TABLE = "blocks.csv"
_COLUMNS = ("image", "pattern", "shot", "read")
_WHITE = 65535


@dataclass(frozen=True, kw_only=True)
class SiddSrgbProtocol(PairProtocol):
    """The validation set as display pictures.

    It is found as ``ValidationNoisyBlocksSrgb.mat`` with ``ValidationGtBlocksSrgb.mat``, or as a folder of the blocks
    cut out of them, as :class:`~shotnoise.evaluation.pairs.PairProtocol` takes them.
    """

    def find(self, data: Path) -> tuple[Path, list[Path]]:
        """Blocks are called `image`_`block`, both from 0, in the folder of their file."""
        noisy = data / "ValidationNoisyBlocksSrgb.mat"
        if noisy.is_file():
            return data, _block_paths(noisy, colours=True)
        if find_pairs(data) is None:
            raise StoreError(
                f"{data}: holds no {noisy.name}; expected it and ValidationGtBlocksSrgb.mat as downloaded, or folders "
                "'noisy' and 'clean' with the blocks as pictures"
            )
        return super().find(data)

    def trial(self, path: Path, channels: int, generator: np.random.RandomState) -> Trial:
        """One block with its truth."""
        if path.parent.suffix != ".mat":
            return super().trial(path, channels, generator)
        noisy, clean = _both(path)
        return pair_trial(self, noisy, clean, channels)

    def refusal(self, kind: str, level: str) -> str | None:
        """Scores in gray would be compared with nothing."""
        if kind != "rgb":
            return f"is for {kind} data, and '{self.name}' measures on colour pictures; measure a model for rgb"
        return None


@dataclass(frozen=True, kw_only=True)
class SiddRawProtocol(Protocol):
    """The validation set as RAW.

    It is found as ``ValidationNoisyBlocksRaw.mat`` with ``ValidationGtBlocksRaw.mat``, or as the files of CycleISP: a
    ``.pkl`` for each block, with `clean`, `noisy` and `variance` as (128, 128, 4). A mosaic is mirrored to RGGB and
    taken apart into four planes. The denoiser is told a law: what ``blocks.csv`` says, or the straight line through
    the variances of a ``.pkl``, or a blind estimate from the block. Its output is limited to 0..1, not rounded, and
    compared there: PSNR over all planes, SSIM per plane.
    """

    simulated: ClassVar[bool] = False

    metrics: Metrics = METRICS["cycleisp"]
    domain: Literal["normalised RAW, clipped"] = "normalised RAW, clipped"

    def find(self, data: Path) -> tuple[Path, list[Path]]:
        """Blocks of the two files, or the files of the blocks."""
        noisy = data / "ValidationNoisyBlocksRaw.mat"
        if noisy.is_file():
            return data, _block_paths(noisy, colours=False)
        files = sorted(data.glob("*.pkl"), key=lambda path: [int(part) for part in re.findall(r"\d+", path.stem)])
        if not files:
            raise StoreError(
                f"{data}: holds no {noisy.name}; expected it and ValidationGtBlocksRaw.mat as downloaded, or the .pkl "
                "files of CycleISP"
            )
        return data, files

    def trial(self, path: Path, channels: int, generator: np.random.RandomState) -> Trial:
        """One block with its truth."""
        if path.suffix == ".pkl":
            noisy, clean, law = _read_pickle(path)
        else:
            facts = read_facts(path.parent.parent).get(int(path.name.split("_")[0]), Facts())
            noisy, clean = (to_planes(mosaic.astype(np.float32), facts.pattern) for mosaic in _both(path))
            law = facts.law or seen_law(noisy)

        def judged(values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
            return self.metrics.compared(values.transpose(1, 2, 0))

        return Trial(noisy, law, judged(clean), 1.0, judged, shown_planes)

    def refusal(self, kind: str, level: str) -> str | None:
        """Only RAW models see planes."""
        if kind != "raw":
            return f"is for {kind} pictures, and '{self.name}' measures on RAW; choose a protocol for pictures"
        return None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a table says about the blocks of one picture.

    Attributes:
        pattern: of their mosaics.
        law: of their noise; None where nothing is said.
    """

    pattern: Pattern = "RGGB"
    law: NoiseLaw | None = None


def read_facts(folder: Path) -> dict[int, Facts]:
    """The table of a folder by the numbers of the pictures; empty where there is none."""
    path = folder / TABLE
    return _facts(path, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.lru_cache(maxsize=4)
def _facts(path: Path, changed: int) -> dict[int, Facts]:
    try:
        table = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        columns = [name.strip() for name in table.fieldnames or ()]
        table.fieldnames = columns
        unknown = set(columns) - set(_COLUMNS)
        if "image" not in columns or unknown or ("shot" in columns) != ("read" in columns):
            raise StoreError(
                f"{path}: has the columns {', '.join(columns) or '(none)'}; expected image and pattern, or image, shot "
                "and read, or all four"
            )
        return {int(row["image"]): _fact(row) for row in table}
    except (OSError, ValueError, TypeError, ProfileError) as error:
        raise StoreError(f"{path}: cannot be used ({error}); expected a table of {', '.join(_COLUMNS)}") from None


def _fact(row: dict[str, Any]) -> Facts:
    if None in row.values():
        raise ValueError(f"the line of image {row['image']} is short")
    pattern = row.get("pattern", "RGGB").strip().upper()
    if pattern not in PATTERNS:
        raise ValueError(f"pattern '{pattern}' of image {row['image']} is none of {', '.join(PATTERNS)}")
    law = None
    if "shot" in row:
        law = NoiseLaw((float(row["shot"]),) * 4, (float(row["read"]),) * 4, TABLE)
    return Facts(pattern, law)


def read_blocks(path: Path, *, colours: bool) -> npt.NDArray[Any]:
    """All blocks of a file: (pictures, blocks, height, width[, 3]). The last two files are kept in memory."""
    try:
        state = path.stat()
    except OSError:
        raise StoreError(f"{path}: does not exist; get it from where the other files of the set are from") from None
    return _blocks(path, colours, (state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=2)
def _blocks(path: Path, colours: bool, state: tuple[int, int]) -> npt.NDArray[Any]:
    blocks = read_mat(path, path.stem)
    kinds = "u" if colours else "fu"
    if blocks.ndim != 4 + colours or (colours and blocks.shape[4] != 3) or blocks.dtype.kind not in kinds:
        wanted = (
            "8-bit RGB blocks (pictures, blocks, 256, 256, 3)" if colours else "RAW blocks (pictures, blocks, 256, 256)"
        )
        raise StoreError(f"{path}: '{path.stem}' is {blocks.dtype} of shape {blocks.shape}; expected {wanted}")
    if blocks.dtype.kind == "u" and not colours:
        raise StoreError(f"{path}: '{path.stem}' holds counts; expected RAW normalised to 0..1, as it is published")
    return blocks


def _block_paths(noisy: Path, *, colours: bool) -> list[Path]:
    clean = _truth(noisy)
    if not clean.is_file():
        raise StoreError(f"{clean}: does not exist; expected it beside {noisy.name}, as downloaded")
    shapes = [mat_names(path).get(path.stem, ()) for path in (noisy, clean)]
    if shapes[0] != shapes[1] or len(shapes[0]) != 4 + colours:
        raise StoreError(
            f"{noisy}: holds blocks of shape {shapes[0]}, {clean.name} of {shapes[1]}; expected the same with "
            f"{4 + colours} axes, in variables called like the files"
        )
    return [noisy / f"{image}_{block}" for image in range(shapes[0][0]) for block in range(shapes[0][1])]


def _truth(noisy: Path) -> Path:
    return noisy.with_name(noisy.name.replace("NoisyBlocks", "GtBlocks"))


def _both(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """A noisy block and its truth."""
    image, block = (int(part) for part in path.name.split("_"))
    colours = path.parent.stem.endswith("Srgb")
    noisy, clean = (read_blocks(file, colours=colours)[image, block] for file in (path.parent, _truth(path.parent)))
    return noisy, clean


def seen_law(planes: npt.NDArray[np.float32]) -> NoiseLaw:
    """The noise of RGGB planes in 0..1 where nobody says it, estimated from them."""
    counts = np.rint(np.clip(planes, 0, 1) * _WHITE).astype(np.uint16)
    return estimate_law(RawFrame(join(counts, "RGGB"), "RGGB", (0.0,) * 4, _WHITE))


class _Numbers(pickle.Unpickler):
    """Knows how to build arrays of numbers, and nothing else; a file that wants more is refused."""

    def find_class(self, module: str, name: str) -> Any:
        core: Any = np._core  # type: ignore[attr-defined]  # where arrays and numbers are rebuilt
        known = {
            "numpy.ndarray": np.ndarray,
            "numpy.dtype": np.dtype,
            "numpy._core.multiarray._reconstruct": core.multiarray._reconstruct,
            "numpy._core.multiarray.scalar": core.multiarray.scalar,
            "numpy._core.numeric._frombuffer": core.numeric._frombuffer,
            "_codecs.encode": codecs.encode,  # bytes, in the form of Python 2
        }
        wanted = f"{module}.{name}".replace("numpy.core.", "numpy._core.")
        if wanted not in known:
            raise pickle.UnpicklingError(f"it holds '{wanted}', and only arrays of numbers are read")
        return known[wanted]


def _read_pickle(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], NoiseLaw]:
    """Noisy and clean planes of a block of CycleISP, and its law."""
    try:
        with path.open("rb") as file:
            content = _Numbers(file, encoding="latin1").load()
        arrays = [np.asarray(content[name]) for name in ("noisy", "clean", "variance")]
    except Exception as error:  # a damaged pickle raises whatever it likes
        raise PictureError(f"{path}: not a block of CycleISP ({type(error).__name__}: {error})") from None
    shape = arrays[0].shape
    if len(shape) != 3 or shape[2] != 4 or any(array.shape != shape or array.dtype.kind != "f" for array in arrays):
        raise PictureError(
            f"{path}: holds arrays of shapes {', '.join(str(array.shape) for array in arrays)}; expected noisy, clean "
            "and variance of one shape (height, width, 4)"
        )
    noisy, clean, variance = (np.ascontiguousarray(array.transpose(2, 0, 1), np.float32) for array in arrays)
    x = noisy.astype(np.float64).ravel()
    k, s2 = np.polynomial.Polynomial.fit(x, variance.ravel().astype(np.float64), 1).convert().coef[::-1]
    law = NoiseLaw((max(float(k), 1e-9),) * 4, (max(float(s2), 0.0),) * 4, "variance in the file")
    return noisy, clean, law


def rows() -> list[Protocol]:
    """The table."""
    return [
        SiddSrgbProtocol(name="sidd/srgb", data_set="sidd", pictures=BLOCKS),
        SiddRawProtocol(name="sidd/raw", data_set="sidd", pictures=BLOCKS),
    ]
