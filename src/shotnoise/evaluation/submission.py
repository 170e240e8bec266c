"""Benchmarks that keep the truth to themselves: denoise their pictures, and write the files that they ask for.

Every finished block is a file, so that a run that was stopped goes on where it was. What the blocks were made with
stands beside them in ``submission.json``; another model, or other options, never mix with them.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from shotnoise.errors import StoreError
from shotnoise.evaluation.protocol import Told, Values
from shotnoise.evaluation.report import told_in_words, write_json
from shotnoise.evaluation.run import Denoise
from shotnoise.store.matlab import mat_names, read_mat, write_mat

__all__ = ["Block", "Challenge", "Submission", "submit"]

MANIFEST = "submission.json"
_SECONDS = "Seconds"


@dataclass(frozen=True, slots=True)
class Block:
    """One picture of a benchmark.

    Attributes:
        noisy: (C, H, W), what the denoiser gets.
        told: what it is told about the noise.
        finish: what the denoiser gave -> as it is handed in.
    """

    noisy: Values
    told: Told
    finish: Callable[[Values], npt.NDArray[Any]]


class Challenge(ABC):
    """A benchmark whose files lie in a folder.

    Attributes:
        kind: of models that can take part, "rgb" or "raw".
        variable: what a block is called in its file.
        names: of the blocks, in their order; also of their files.
    """

    kind: ClassVar[str]
    variable: ClassVar[str]
    names: list[str]

    @abstractmethod
    def shape(self, index: int) -> tuple[int, ...]:
        """Of a block as it is handed in."""

    @abstractmethod
    def block(self, index: int) -> Block:
        """One block; those that follow each other are read fastest."""

    def place(self, out: Path, index: int) -> Path:
        """The file of a finished block."""
        return out / f"{self.names[index]}.mat"

    @abstractmethod
    def bundled(self, out: Path) -> list[Path]:
        """The files that are to be handed in."""

    @abstractmethod
    def bundle(self, blocks: "Finished", out: Path) -> None:
        """Write them, when all blocks are there."""


class Finished:
    """The finished blocks of a challenge, read from their files.

    Attributes:
        seconds: of the denoiser per megapixel of mosaic or picture, over all blocks.
    """

    def __init__(self, challenge: Challenge, out: Path) -> None:
        self._challenge, self._out = challenge, out
        seconds = [read_mat(self._path(index), _SECONDS).item() for index in range(len(self))]
        pixels = sum(np.prod(challenge.shape(index)[:2]) for index in range(len(self)))
        self.seconds = float(sum(seconds) / pixels * 1e6)

    def __len__(self) -> int:
        return len(self._challenge.names)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        return read_mat(self._path(index), self._challenge.variable)

    def _path(self, index: int) -> Path:
        return self._challenge.place(self._out, index)


@dataclass(frozen=True, slots=True)
class Submission:
    """What was done.

    Attributes:
        blocks: of the benchmark.
        denoised: in this run; the others were there.
        seconds_per_megapixel: of the denoiser.
        told: what it was told about the noise of the first and of the last block that this run denoised.
        files: to hand in.
    """

    blocks: int
    denoised: int
    seconds_per_megapixel: float
    told: tuple[str, ...]
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"told": list(self.told), "files": [str(path) for path in self.files]}


def submit(
    denoise: Denoise,
    challenge: Challenge,
    out: Path,
    *,
    origin: Mapping[str, Any],
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Submission:
    """Denoise what is not there yet, and bundle it.

    Args:
        denoise: what :func:`shotnoise.evaluation.evaluate` takes.
        challenge: the benchmark.
        out: folder of the results; made if it is not there.
        origin: all that the results depend on, as plain JSON values. Blocks of another origin are refused.
        overwrite: begin anew instead, whatever is there.
        progress: called with (done, total) after each block.
    """
    total = len(challenge.names)
    stale = [*(challenge.place(out, index) for index in range(total)), *challenge.bundled(out)]
    _claim(out, origin, stale if overwrite else None)
    told: list[str] = []
    denoised = 0
    for index in range(total):
        place = challenge.place(out, index)
        if not _is_there(place, challenge, index):
            block = challenge.block(index)
            start = time.perf_counter()
            clean = denoise(block.noisy, block.told)
            seconds = time.perf_counter() - start
            if clean.shape != block.noisy.shape:
                raise StoreError(
                    f"{challenge.names[index]}: the denoiser returned shape {clean.shape} for a picture of shape "
                    f"{block.noisy.shape}; expected the same"
                )
            place.parent.mkdir(parents=True, exist_ok=True)
            write_mat(place, {challenge.variable: block.finish(clean), _SECONDS: seconds})
            told = [*told[:1], told_in_words(block.told)]
            denoised += 1
        if progress:
            progress(index + 1, total)
    finished = Finished(challenge, out)
    challenge.bundle(finished, out)
    return Submission(total, denoised, finished.seconds, tuple(told), tuple(challenge.bundled(out)))


def _claim(out: Path, origin: Mapping[str, Any], stale: Sequence[Path] | None) -> None:
    """Refuse a folder with something else in it, and write down what is coming.

    Args:
        out: the folder.
        origin: of what is coming.
        stale: files to delete, as everything begins anew: a run that is stopped now must not find them when it goes on;
            None: nothing is to be lost.
    """
    path, overwrite = out / MANIFEST, stale is not None
    if out.exists() and not out.is_dir():
        raise StoreError(f"{out}: is a file; expected a folder for the results")
    if path.is_file() and not overwrite:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path}: cannot be read ({error}); take it away, or begin anew with --overwrite"
            ) from None
        now = json.loads(json.dumps(origin))
        changed = [key for key in {**now, **before} if before.get(key) != now.get(key)]
        if changed:
            key = changed[0]
            raise StoreError(
                f"{out}: its results were made with {key} {before.get(key)!r}, not {now.get(key)!r}; give another "
                "folder, or begin anew with --overwrite"
            )
    elif out.is_dir() and any(out.iterdir()) and not overwrite:
        raise StoreError(
            f"{out}: is not empty and holds no {MANIFEST}; give an empty folder, or write with --overwrite"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in stale or ():
            file.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written ({error.strerror}); choose another place") from None
    write_json(path, dict(origin))


def _is_there(place: Path, challenge: Challenge, index: int) -> bool:
    if not place.is_file():
        return False
    try:
        found = mat_names(place)
    except StoreError:
        return False
    return found.get(challenge.variable) == challenge.shape(index) and _SECONDS in found
