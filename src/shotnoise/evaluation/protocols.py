"""Protocols: everything that must be fixed before a PSNR can be compared with anybody else's.

A protocol is a row of a table. A measurement quotes its name, and the row says the rest.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shotnoise.errors import RecipeError, StoreError, nearest
from shotnoise.evaluation.metrics import quantise
from shotnoise.images import list_pictures

__all__ = ["PADDINGS", "PROTOCOLS", "Protocol", "find_pictures", "get_protocol", "pad"]

DataSet = Literal["kodak24", "bsd300", "set14", "folder"]
Padding = Literal[
    "reflect, bottom and right, to the model's multiple",
    "reflect, bottom and right, to multiples of 32",
    "reflect, bottom and right, to a square with a side that is a multiple of 32",
]

# What `--padding` takes.
PADDINGS: dict[str, Padding] = {
    "model": "reflect, bottom and right, to the model's multiple",
    "32": "reflect, bottom and right, to multiples of 32",
    "square32": "reflect, bottom and right, to a square with a side that is a multiple of 32",
}


@dataclass(frozen=True)
class Protocol:
    """How a denoiser is measured on a set of pictures.

    A picture is taken as 8-bit values divided by 255. Noise is drawn by NumPy's legacy generator (``RandomState``,
    whose stream is frozen for all versions) in float64, in the order height, width, channel, and the noisy picture
    is cast to float32. It is not clipped: a network must see the noise whole. Where the strength is a range, the
    generator first draws one, uniformly, for each picture and repeat. A denoiser that asks for the level is told the
    true one; Poisson noise has none. The output is limited to 0..1 and rounded to 8 bits before it is compared with
    the 8-bit original. Scores are means over all pictures and repeats.

    The fields with only one possible value are there to be quoted; a protocol with another rule adds a value.

    Attributes:
        name: what `--protocol` takes.
        data_set: the set of pictures, "folder" for any. "kodak24" means the 24 whole pictures of 768 x 512; papers
            that cut them to 500 x 500 print other numbers. "bsd300" means its 100 test pictures, "set14" its 12
            pictures in colour.
        pictures: how many the set has; None for any.
        noise: the law of the noise: "gaussian" adds, "poisson" is Poisson(strength x) / strength.
        strength: its parameter, or the range from which it is drawn: for gaussian the standard deviation in units of
            8-bit values, for poisson the number of events at white.
        seed: of the generator.
        seeding: when the generator starts anew. "each picture": for repeat r (0 is the first) from seed + r. "each
            set": once; then all pictures in their order, and all of them again for the next repeat.
        repeats: noise realisations per picture.
        crop: part of the picture that is scored.
        padding: how a picture is brought to the size that a network needs; the padding is cut off again.
        quantisation: what happens to the output, and to the noisy picture, before it is scored; calculated in
            float64 where nothing is said.
        metrics: "psnr" over all pixels and channels, "ssim" per channel, both of
            :mod:`shotnoise.evaluation.metrics` with data range 255.
    """

    name: str
    data_set: DataSet
    pictures: int | None
    noise: Literal["gaussian", "poisson"]
    strength: float | tuple[float, float]
    seed: int = 0
    seeding: Literal["each picture", "each set"] = "each picture"
    repeats: int = 1
    crop: Literal["none"] = "none"
    padding: Padding = PADDINGS["model"]
    quantisation: Literal["clip, 8 bits", "clip, 8 bits, in float32"] = "clip, 8 bits"
    metrics: tuple[Literal["psnr", "ssim"], ...] = ("psnr", "ssim")

    def generator(self, repeat: int = 0) -> np.random.RandomState:
        """A generator in the state in which a picture starts, or with seeding "each set" the whole set."""
        return np.random.RandomState(self.seed + repeat)

    def draw(self, generator: np.random.RandomState) -> float:
        """The strength for one picture; a fixed one takes nothing from the generator."""
        if isinstance(self.strength, tuple):
            return float(generator.uniform(*self.strength))
        return self.strength

    def level(self, strength: float) -> float | None:
        """The standard deviation of the noise in units of 0..1, what a denoiser may ask for; None for poisson."""
        return strength / 255.0 if self.noise == "gaussian" else None

    def add_noise(
        self, clean: npt.NDArray[np.uint8], generator: np.random.RandomState, strength: float | None = None
    ) -> npt.NDArray[np.float32]:
        """(H, W, C) 8-bit picture -> (H, W, C) noisy picture around 0..1, not clipped.

        Args:
            clean: the picture.
            generator: source of all randomness.
            strength: what :meth:`draw` gave; None to draw now.
        """
        strength = self.draw(generator) if strength is None else strength
        if self.noise == "gaussian":
            noise = generator.normal(0.0, strength / 255.0, clean.shape)
            return (clean / 255.0 + noise).astype(np.float32)
        # How many numbers the generator uses up depends on the last bit of the rate, so its type is that of the
        # published code: float32, or float64 where the strength was drawn.
        picture: npt.NDArray[np.float32] = clean.astype(np.float32) / np.float32(255)
        rate = picture.astype(np.float64) * strength if isinstance(self.strength, tuple) else picture * strength
        noisy: npt.NDArray[np.float32] = (generator.poisson(rate) / strength).astype(np.float32)
        return noisy

    def quantise(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """A picture around 0..1 as the 8-bit values that are scored."""
        return quantise(picture, np.float32 if self.quantisation == "clip, 8 bits, in float32" else np.float64)

    def changed(self, *, repeats: int | None = None, padding: str | None = None, seed: int | None = None) -> "Protocol":
        """The same with other values; its name then says which, so that nobody takes the scores for the named ones.

        >>> get_protocol("kodak24/gaussian25").changed(repeats=2).name
        'kodak24/gaussian25[repeats=2]'
        """
        if repeats is not None and repeats < 1:
            raise RecipeError(f"repeats is {repeats}; expected at least 1")
        if seed is not None and not 0 <= seed < 2**32 - (repeats or self.repeats):
            raise RecipeError(f"seed is {seed}; expected a number from 0 to about 4 billion")
        if padding is not None and padding not in PADDINGS:
            raise RecipeError(f"unknown padding '{padding}': {nearest(padding, PADDINGS)}")
        wanted = {"repeats": repeats, "padding": None if padding is None else PADDINGS[padding], "seed": seed}
        new = {key: value for key, value in wanted.items() if value not in (None, getattr(self, key))}
        if not new:
            return self
        said = ",".join(f"{key}={padding if key == 'padding' else value}" for key, value in new.items())
        return replace(self, name=f"{self.name}[{said}]", **new)  # type: ignore[arg-type]

    def facts(self) -> dict[str, Any]:
        """The whole row, for reports."""
        return asdict(self)


def pad(picture: npt.NDArray[np.float32], padding: Padding) -> npt.NDArray[np.float32]:
    """(C, H, W) -> the size that a protocol prescribes, by reflection at the bottom and to the right."""
    if padding == PADDINGS["model"]:
        return picture
    height, width = (-(-side // 32) * 32 for side in picture.shape[1:])
    if padding == PADDINGS["square32"]:
        height = width = max(height, width)
    return np.pad(picture, ((0, 0), (0, height - picture.shape[1]), (0, width - picture.shape[2])), mode="reflect")


def _rows() -> list[Protocol]:
    """The table: ours first, then those of the published systems."""
    sizes: dict[DataSet, int | None] = {"kodak24": 24, "bsd300": 100, "set14": 12, "folder": None}
    ours: tuple[DataSet, ...] = ("kodak24", "bsd300", "folder")
    rows = [
        Protocol(f"{data_set}/gaussian{sigma:g}", data_set, sizes[data_set], "gaussian", sigma)
        for data_set in ours
        for sigma in (15.0, 25.0, 50.0)
    ]
    short: dict[str, DataSet] = {"kodak": "kodak24", "bsd300": "bsd300", "set14": "set14"}
    # Noise2Noise works in -0.5..0.5, adds the same noise there and rounds (y + 0.5) 255: up to the last bit of
    # float32 that is this protocol. Its generator is not seeded, so its numbers differ in the third decimal.
    rows += [
        Protocol(
            f"noise2noise/{name}/{noise}{strength:g}",
            short[name],
            sizes[short[name]],
            noise,
            strength,
            seeding="each set",
            padding=PADDINGS["32"],
            quantisation="clip, 8 bits, in float32",
            metrics=("psnr",),
        )
        for name in ("kodak", "bsd300")
        for noise, strength in _NOISE2NOISE
    ]
    # Neighbor2Neighbor seeds once and measures Kodak, BSD300 and Set14 one after the other; here each set starts
    # from the seed, so that a set can be measured alone: Kodak is the same, the others differ in the third decimal.
    rows += [
        Protocol(
            f"neighbor2neighbor/{name}/{kind}",
            short[name],
            sizes[short[name]],
            noise,
            strength,
            seed=101,
            seeding="each set",
            repeats=repeats,
            padding=PADDINGS["32"],
            quantisation="clip, 8 bits, in float32",
        )
        for name, repeats in (("kodak", 10), ("bsd300", 3), ("set14", 20))
        for kind, noise, strength in _NEIGHBOR2NEIGHBOR
    ]
    return rows


_NOISE2NOISE: tuple[tuple[Literal["gaussian", "poisson"], float], ...] = (("gaussian", 25.0), ("poisson", 30.0))
_NEIGHBOR2NEIGHBOR: tuple[tuple[str, Literal["gaussian", "poisson"], float | tuple[float, float]], ...] = (
    ("gauss25", "gaussian", 25.0),
    ("gauss5_50", "gaussian", (5.0, 50.0)),
    ("poisson30", "poisson", 30.0),
    ("poisson5_50", "poisson", (5.0, 50.0)),
)

PROTOCOLS: dict[str, Protocol] = {row.name: row for row in _rows()}

# How the folders of a set are called where people keep them.
_FOLDER_NAMES = {"kodak24": ("kodak",), "bsd300": ("bsd300", "bsds300"), "set14": ("set14",)}

# The gray pictures of Set14, which nobody measures in colour.
_NOT_MEASURED = {"set14": ("bridge", "man")}


def get_protocol(name: str) -> Protocol:
    """A protocol by name; the bare name of a set means Gaussian noise of strength 25."""
    full = name if "/" in name else f"{name}/gaussian25"
    if full not in PROTOCOLS:
        raise RecipeError(f"no protocol '{name}': {nearest(full, PROTOCOLS)}")
    return PROTOCOLS[full]


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
