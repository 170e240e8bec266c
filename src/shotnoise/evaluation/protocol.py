"""The Protocol contract: everything that must be fixed before a score can be compared with anybody else's.

A protocol is a row of a table. A measurement quotes its name, and the row says the rest.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from shotnoise.errors import RecipeError, StoreError
from shotnoise.images import list_pictures
from shotnoise.sensor.law import NoiseLaw

__all__ = ["DataSet", "Protocol", "Told", "Trial", "find_pictures"]

DataSet = Literal["kodak24", "bsd300", "set14", "folder", "pairs", "sidd", "mri"]
Told = float | NoiseLaw | None  # what a denoiser learns about the noise
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trial:
    """One picture of a protocol, ready to be denoised and judged.

    Attributes:
        noisy: (C, H, W), what the denoiser gets.
        told: the standard deviation of the noise in units of `noisy`, or the law of a sensor; None where there is none.
        clean: the truth, as it is compared.
        data_range: the distance from black to white in it.
        judged: what the denoiser gave, as it is compared with `clean`.
        seen: the same as a picture of 8 bits, to look at.
        converted: whether the channels of the picture had to be changed.
        structure: what SSIM is taken of, from what is compared; the same without it.
        finished: what the protocol does with what the denoiser gave, before it is judged; nothing without it.
    """

    noisy: Values
    told: Told
    clean: npt.NDArray[Any]
    data_range: float
    judged: Callable[[Values], npt.NDArray[Any]]
    seen: Callable[[Values], npt.NDArray[np.uint8]]
    converted: bool = False
    structure: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = lambda compared: compared
    finished: Callable[[Values], Values] = lambda values: values


@dataclass(frozen=True)
class Protocol(ABC):
    """How a denoiser is measured on a set of pictures.

    Attributes:
        name: what `--protocol` takes.
        data_set: the set of pictures, "folder" for any. "kodak24" means the 24 whole pictures of 768 x 512; papers
            that cut them to 500 x 500 print other numbers. "bsd300" means its 100 test pictures, "set14" its 12
            pictures in colour.
        pictures: how many the set has; None for any.
        seed: of the generator.
        seeding: when the generator starts anew. "each picture": for repeat r (0 is the first) from seed + r. "each
            set": once; then all pictures in their order, and all of them again for the next repeat.
        repeats: noise realisations per picture.
        simulated: whether the noise is drawn here; otherwise it came with the pictures.
    """

    simulated: ClassVar[bool] = True

    name: str
    data_set: DataSet
    pictures: int | None
    seed: int = 0
    seeding: Literal["each picture", "each set"] = "each picture"
    repeats: int = 1

    def generator(self, repeat: int = 0) -> np.random.RandomState:
        """A generator in the state in which a picture starts, or with seeding "each set" the whole set."""
        return np.random.RandomState(self.seed + repeat)

    def find(self, data: Path) -> tuple[Path, list[Path]]:
        """The folder of the set at or below `data`, and what :meth:`trial` takes, in its order.

        Where one file holds many pictures, the path of each goes on inside it.
        """
        return find_pictures(self, data)

    @abstractmethod
    def trial(self, path: Path, channels: int, generator: np.random.RandomState) -> Trial:
        """One noisy picture.

        Args:
            path: one that :meth:`find` gave: of the clean picture, or of the noisy one where the noise is real.
            channels: that the denoiser works on.
            generator: source of all randomness.
        """

    def refusal(self, kind: str, level: str) -> str | None:
        """Why a model of this kind that takes this level cannot be measured so; None where it can."""
        return None

    def changed(
        self,
        *,
        repeats: int | None = None,
        seed: int | None = None,
        padding: str | None = None,
        metrics: str | None = None,
        level: float | None = None,
    ) -> Self:
        """The same with other values; its name then says which, so that nobody takes the scores for the named ones.

        >>> from shotnoise.evaluation import get_protocol
        >>> get_protocol("kodak24/gaussian25").changed(repeats=2).name
        'kodak24/gaussian25[repeats=2]'
        """
        if repeats is not None and repeats < 1:
            raise RecipeError(f"repeats is {repeats}; expected at least 1")
        if seed is not None and not 0 <= seed < 2**32 - (repeats or self.repeats):
            raise RecipeError(f"seed is {seed}; expected a number from 0 to about 4 billion")
        if not self.simulated and (repeats is not None or seed is not None):
            option = "--seed" if repeats is None else "--repeats"
            raise RecipeError(f"the noise of '{self.name}' is real, there is none to draw; leave {option} out")
        said = {"repeats": repeats, "padding": padding, "seed": seed, "metrics": metrics, "level": level}
        values = said | {
            "padding": self._padding(padding),
            "metrics": self._metrics(metrics),
            "level": self._level(level),
        }
        new = {key: value for key, value in values.items() if value is not None and value != getattr(self, key)}
        if not new:
            return self
        words = ",".join(f"{key}={said[key]:g}" if key == "level" else f"{key}={said[key]}" for key in new)
        return replace(self, name=f"{self.name}[{words}]", **new)

    def _padding(self, name: str | None) -> Any:
        if name is not None:
            raise RecipeError(f"'{self.name}' has no padding to change; leave --padding out")
        return None

    def _metrics(self, name: str | None) -> Any:
        if name is not None:
            raise RecipeError(f"the metrics of '{self.name}' are fixed; leave --metrics out")
        return None

    def _level(self, counts: float | None) -> Any:
        if counts is not None:
            raise RecipeError(f"'{self.name}' says itself what is told about the noise; leave --level out")
        return None

    def facts(self) -> dict[str, Any]:
        """The whole row, for reports."""
        return asdict(self)


# How the folders of a set are called where people keep them.
_FOLDER_NAMES = {"kodak24": ("kodak",), "bsd300": ("bsd300", "bsds300"), "set14": ("set14",)}

# The gray pictures of Set14, which nobody measures in colour.
_NOT_MEASURED = {"set14": ("bridge", "man")}


def find_pictures(protocol: Protocol, data: Path) -> tuple[Path, list[Path]]:
    """The folder with a protocol's pictures and the pictures in their order.

    `data` is the folder itself or the one above it: a folder below `data` that is named like the set goes first
    (``kodak*``, ``bsd300*``, ``bsds300*``, ``set14*``, in any case; inside it ``test``, if there is one), `data`
    itself second. Of Set14 the gray pictures ``bridge`` and ``man`` are left out.
    """
    if not data.is_dir():
        what = "is not a folder" if data.exists() else "does not exist"
        raise StoreError(f"{data}: {what}; expected the folder of '{protocol.data_set}' or the one above it")
    prefixes = _FOLDER_NAMES.get(protocol.data_set, ())
    named = [
        folder for folder in sorted(data.iterdir()) if folder.is_dir() and folder.name.lower().startswith(prefixes)
    ]
    if len(named) > 1:
        names = ", ".join(folder.name for folder in named)
        raise StoreError(f"{data}: several folders may be '{protocol.data_set}' ({names}); give the right one itself")
    folder = named[0] if named else data
    if named and (folder / "test").is_dir():
        folder = folder / "test"
    pictures = list_pictures(folder, recursive=protocol.data_set == "folder")
    gray = _NOT_MEASURED.get(protocol.data_set, ())
    kept = [picture for picture in pictures if picture.stem.lower() not in gray]
    if not kept:
        raise StoreError(f"{folder}: holds only pictures that '{protocol.data_set}' leaves out ({', '.join(gray)})")
    return folder, kept
