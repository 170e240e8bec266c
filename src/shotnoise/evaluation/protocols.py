"""Protocols: everything that must be fixed before a PSNR can be compared with anybody else's.

A protocol is a row of a table. A measurement quotes its name, and the row says the rest.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import RecipeError, StoreError, nearest
from shotnoise.images import list_pictures

__all__ = ["PROTOCOLS", "Protocol", "find_pictures", "get_protocol"]


@dataclass(frozen=True)
class Protocol:
    """How a denoiser is measured on a set of pictures.

    A picture is taken as 8-bit values divided by 255. Noise is drawn by NumPy's legacy generator (``RandomState``,
    whose stream is frozen for all versions) in float64, in the order height, width, channel, scaled, added and cast
    to float32. It is not clipped: a network for Gaussian noise must see it whole. The denoiser is told the true
    strength if it asks for one. Its output is limited to 0..1 and rounded to 8 bits before it is compared with the
    8-bit original. Scores are means over pictures.

    The fields with only one possible value are there to be quoted; a protocol with another rule adds a value.

    Attributes:
        name: what `--protocol` takes.
        data_set: the set of pictures, "folder" for any. "kodak24" means the 24 whole pictures of 768 x 512; papers
            that cut them to 500 x 500 print other numbers. "bsd300" means its 100 test pictures.
        pictures: how many the set has; None for any.
        noise: the law of the noise.
        strength: its parameter: for gaussian the standard deviation in units of 8-bit values.
        seed: of the generator.
        seeding: when the generator starts anew.
        repeats: noise realisations per picture.
        crop: part of the picture that is scored.
        padding: how a picture is brought to the size that a network needs.
        quantisation: what happens to the output before it is scored.
        metrics: "psnr" over all pixels and channels, "ssim" per channel, both of
            :mod:`shotnoise.evaluation.metrics` with data range 255.
    """

    name: str
    data_set: Literal["kodak24", "bsd300", "folder"]
    pictures: int | None
    noise: Literal["gaussian"]
    strength: float
    seed: int = 0
    seeding: Literal["each picture"] = "each picture"
    repeats: Literal[1] = 1
    crop: Literal["none"] = "none"
    padding: Literal["reflect, bottom and right, to the model's multiple"] = (
        "reflect, bottom and right, to the model's multiple"
    )
    quantisation: Literal["clip, 8 bits"] = "clip, 8 bits"
    metrics: tuple[Literal["psnr", "ssim"], ...] = ("psnr", "ssim")

    @property
    def sigma(self) -> float:
        """The standard deviation of the noise in units of 0..1: the level that a denoiser may ask for."""
        return self.strength / 255.0

    def generator(self) -> np.random.RandomState:
        """A generator in the state in which a picture starts."""
        return np.random.RandomState(self.seed)

    def add_noise(self, clean: npt.NDArray[np.uint8], generator: np.random.RandomState) -> npt.NDArray[np.float32]:
        """(H, W, C) 8-bit picture -> (H, W, C) noisy picture around 0..1, not clipped."""
        noise = generator.normal(0.0, self.sigma, clean.shape)
        return (clean / 255.0 + noise).astype(np.float32)

    def facts(self) -> dict[str, Any]:
        """The whole row, for reports."""
        return asdict(self)


_SETS: tuple[tuple[Literal["kodak24", "bsd300", "folder"], int | None], ...] = (
    ("kodak24", 24),
    ("bsd300", 100),
    ("folder", None),
)

PROTOCOLS: dict[str, Protocol] = {
    name: Protocol(name=name, data_set=data_set, pictures=pictures, noise="gaussian", strength=sigma)
    for data_set, pictures in _SETS
    for sigma in (15.0, 25.0, 50.0)
    for name in [f"{data_set}/gaussian{sigma:g}"]
}

# How the folders of a set are called where people keep them.
_FOLDER_NAMES = {"kodak24": ("kodak",), "bsd300": ("bsd300", "bsds300")}


def get_protocol(name: str) -> Protocol:
    """A protocol by name; the bare name of a set means Gaussian noise of strength 25."""
    full = name if "/" in name else f"{name}/gaussian25"
    if full not in PROTOCOLS:
        raise RecipeError(f"no protocol '{name}': {nearest(full, PROTOCOLS)}")
    return PROTOCOLS[full]


def find_pictures(protocol: Protocol, data: Path) -> tuple[Path, list[Path]]:
    """The folder with a protocol's pictures and the pictures in their order.

    `data` is the folder itself or the one above it: a folder below `data` that is named like the set goes first
    (``kodak*``, ``bsd300*``, ``bsds300*``, in any case; inside it ``test``, if there is one), `data` itself second.
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
    return folder, list_pictures(folder, recursive=protocol.data_set == "folder")
