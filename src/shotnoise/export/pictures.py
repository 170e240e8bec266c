"""Noisy photographs on which a model file is judged: with the noise that its card names, of every kind of model.

They are crops of pictures in a folder, or of the photograph that the package brings. Colours are exchanged and light is
taken away at random, so that few pictures have many colours. Needs no torch.
"""

import importlib.resources
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shotnoise.card import Card
from shotnoise.engines.engine import Array
from shotnoise.engines.latent import draw_latent, flat_level
from shotnoise.images import list_pictures, open_image
from shotnoise.images.image import to_depth
from shotnoise.mri import bordered, odd, undersample
from shotnoise.mri.kspace import density
from shotnoise.runner import COUNTS, raw_level
from shotnoise.sensor.develop import Look
from shotnoise.sensor.law import KSigma, NoiseLaw
from shotnoise.sensor.published import published_profile
from shotnoise.sensor.undevelop import undevelop
from shotnoise.store import planes

__all__ = ["Noisy", "Pictures", "Step", "flat_fields", "noisy_steps", "psnr"]

_SIDE = 128  # of a crop, at least
_SIGMAS = (5.0, 15.0, 25.0, 50.0)
_CAMERA, _ISOS = "oppo-reno-10x", (100, 400, 1600, 6400)
_LOOK = Look((2.0, 1.0, 1.6), np.eye(3))
_DARKEST = 0.25  # share of the light that is left
_HALVES = 2
_WINDOWS = 5


@dataclass(frozen=True, slots=True)
class Noisy:
    """One noisy picture.

    Attributes:
        inputs: what the model takes, by name, a batch of one.
        clean: what it should give, judged, (C, H, W) in 0..1.
        judged: what a model gave, (C, H, W), in the units of `clean`, not limited.
    """

    inputs: dict[str, Array]
    clean: Array
    judged: Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Step:
    """Pictures with noise of one strength.

    Attributes:
        name: of the strength, in words.
        level: standard deviation of the noise, in units of 0..1.
        pictures: at least one.
    """

    name: str
    level: float
    pictures: tuple[Noisy, ...]


class Pictures:
    """Where crops come from, in two parts that share no picture.

    Args:
        folders: folders of pictures, or single ones; none: the left and the right half of the bundled photograph.
    """

    def __init__(self, folders: Sequence[str | os.PathLike[str]] = ()) -> None:
        self._files = [file for folder in folders for file in list_pictures(folder)]
        np.random.default_rng(0).shuffle(self._files)
        self._bundled: npt.NDArray[np.uint8] | None = None
        if len(self._files) < _HALVES:  # one alone has two halves, too
            place = importlib.resources.files("shotnoise.bundled") / "chelsea.png"
            with importlib.resources.as_file(place) as bundled:
                self._bundled = _eight_bits(self._files[0] if self._files else bundled)
        names = ", ".join(os.path.basename(os.path.normpath(folder)) for folder in folders)
        self.words = f"crops of {len(self._files)} picture(s), {names}" if folders else "crops of a photograph"

    def crops(self, card: Card, count: int, *, half: int, side: int | None = None) -> list[npt.NDArray[np.uint8]]:
        """Crops as (3, H, W), for a model that works on planes half as large twice the size.

        Args:
            card: whose size, or multiple, they have.
            count: how many.
            half: 0 or 1, which of the two parts.
            side: at least so many pixels of what the model sees; None: 128.
        """
        rng = np.random.default_rng(half)
        up = -(-(side or _SIDE) // card.multiple) * card.multiple
        height, width = card.size or (up, up)
        scale = 2 if card.kind == "raw" else 1
        files = self._files[half::_HALVES]
        crops = []
        for index in range(count):
            if self._bundled is None:
                whole = _eight_bits(files[index % len(files)])
            else:
                middle = self._bundled.shape[2] // 2
                whole = self._bundled[:, :, middle:] if half else self._bundled[:, :, :middle]
            crop = _crop(whole, scale * height, scale * width, rng)[rng.permutation(3)]
            light = rng.uniform(_DARKEST, 1) if rng.random() < 0.5 else 1.0
            crops.append(np.round(crop * light).astype(np.uint8))
        return crops


def noisy_steps(
    card: Card, crops: Sequence[npt.NDArray[np.uint8]], *, seed: int = 0, beyond: bool = False
) -> list[Step]:
    """The crops with noise, from the weakest to the strongest that the model is for.

    Pictures: sigma 5, 15, 25 and 50 of 255 within the range of the card, or its ends. RAW: four ISOs of a phone. MRI:
    the spectrum is under-sampled, in one strength.

    Args:
        card: of the model.
        crops: (3, H, W), as of :meth:`Pictures.crops`.
        seed: of the noise.
        beyond: add the ends of the range, where few pictures are; for ranges, not for judgement.
    """
    rng = np.random.default_rng(seed)
    if card.kind == "raw":
        profile = published_profile(_CAMERA)
        laws = [(f"ISO {iso}", profile.at(iso)) for iso in _ISOS]
        if beyond:  # k of 3e-5 and of 1.5e-2
            laws = [("", laws[0][1].scaled(0.65)), *laws, ("", laws[-1][1].scaled(1.9))]
        steps = [(name, [_raw(card, crop, law, rng) for crop in crops]) for name, law in laws]
        return [Step(name, _deviation(noisy), tuple(noisy)) for name, noisy in steps]
    if card.kind == "mri":
        slices = tuple(_slice(card, crop, rng) for crop in crops)
        return [Step("under-sampled", _deviation(slices), slices)]
    return [
        Step(f"sigma {COUNTS * sigma:g}", sigma, tuple(_picture(card, crop, sigma, rng) for crop in crops))
        for sigma in _sigmas(card, beyond)
    ]


def flat_fields(card: Card, level: float, *, seed: int = 0) -> Step:
    """Gray and coloured fields without any detail, with noise; only of pictures."""
    rng = np.random.default_rng(seed)
    up = -(-_SIDE // card.multiple) * card.multiple
    height, width = card.size or (up, up)
    colours = [(128, 128, 128), (40, 40, 40), (225, 225, 225), (200, 120, 60), (60, 120, 200), (110, 170, 80)]
    fields = [np.broadcast_to(np.array(rgb, np.uint8)[:, None, None], (3, height, width)) for rgb in colours]
    return Step("flat", level, tuple(_picture(card, field, level, rng) for field in fields))


def psnr(noisy: Noisy, result: Array) -> float:
    """Of what a model gave, (C, H, W), in dB; limited to 0..1 and not rounded."""
    error = np.clip(noisy.judged(result), 0, 1) - noisy.clean
    return float(-10 * np.log10(max(np.square(error, dtype=np.float64).mean(), 1e-12)))


def _sigmas(card: Card, beyond: bool) -> list[float]:
    """In units of 0..1."""
    low, high = card.sigma_range or (min(_SIGMAS) / COUNTS, max(_SIGMAS) / COUNTS)
    slack = 1e-3 / COUNTS
    inside = [sigma / COUNTS for sigma in _SIGMAS if low - slack <= sigma / COUNTS <= high + slack]
    if beyond or not inside:
        inside = sorted({*inside, *(end for end in (low, high) if all(abs(end - sigma) > slack for sigma in inside))})
    return inside if beyond else [sigma for sigma in inside if sigma > 0]


def _picture(card: Card, crop: npt.NDArray[np.uint8], sigma: float, rng: np.random.Generator) -> Noisy:
    clean = np.asarray(_channels(crop, card) / np.float32(COUNTS), np.float32)
    noisy = (clean + sigma * rng.standard_normal(clean.shape, np.float32)).astype(np.float32)
    return Noisy(_inputs(card, noisy, flat_level(card, noisy[None].shape, sigma)), clean, lambda values: values)


def _raw(card: Card, crop: npt.NDArray[np.uint8], law: NoiseLaw, rng: np.random.Generator) -> Noisy:
    linear = np.clip(undevelop(crop.transpose(1, 2, 0), _LOOK), 0, 1)
    sites = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2))  # row, column, colour of R, Gr, Gb, B
    clean = np.stack([linear[row::2, column::2, colour] for row, column, colour in sites]).astype(np.float32)
    k, s2 = (np.array(values, np.float32)[:, None, None] for values in (law.k, law.s2))
    signal = k * rng.poisson(clean / k) + np.sqrt(s2) * rng.standard_normal(clean.shape)
    counts = np.asarray(np.minimum(signal, 1), np.float32)
    transform = None if card.k_sigma is None else KSigma(**card.k_sigma.model_dump())
    seen = counts if transform is None else transform.forward(counts, k, s2)

    def judged(values: Array) -> Array:
        back: Array = values if transform is None else transform.inverse(values, k, s2)
        return back

    level = raw_level(card, counts, transform, k, s2)
    return Noisy(_inputs(card, seen, level), clean, judged)


def _slice(card: Card, crop: npt.NDArray[np.uint8], rng: np.random.Generator) -> Noisy:
    """Edges of the slice that make its sides odd are cut away, and continued with black."""
    image = odd(_channels(crop, card)[0] / np.float32(COUNTS) - np.float32(0.5))
    under = undersample(image, rng.random(image.shape), density(*image.shape))
    noisy = bordered(under.noisy[None], card.multiple, card.size)
    height, width = image.shape
    return Noisy(
        _inputs(card, noisy, None), image[None] + np.float32(0.5), lambda values: values[:, :height, :width] + 0.5
    )


def _inputs(card: Card, noisy: Array, level: Array | None) -> dict[str, Array]:
    inputs = {"noisy": noisy[None], "level": level, "z": draw_latent(card, noisy[None].shape)}
    return {name: np.asarray(value, np.float32) for name, value in inputs.items() if value is not None}


def _deviation(noisy: Sequence[Noisy]) -> float:
    """Root mean square of the noise."""
    return float(np.sqrt(np.mean([np.square(one.judged(one.inputs["noisy"][0]) - one.clean).mean() for one in noisy])))


def _channels(crop: npt.NDArray[np.uint8], card: Card) -> npt.NDArray[np.uint8]:
    return planes(crop.transpose(1, 2, 0), card.channels)


def _eight_bits(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    return np.asarray(planes(to_depth(open_image(path).pixels, np.uint8), 3), np.uint8)


def _crop(whole: npt.NDArray[np.uint8], height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Of some random windows the one with middling detail, which stands for its picture; what is too small is mirrored.

    A window of a white wall would say that a change nobody can see costs decibels.
    """
    missing = [(0, 0), *((0, max(0, want - have)) for want, have in zip((height, width), whole.shape[1:], strict=True))]
    whole = np.pad(whole, missing, mode="symmetric")
    windows = []
    for _ in range(_WINDOWS):
        top, left = (
            int(rng.integers(have - want + 1)) for have, want in zip(whole.shape[1:], (height, width), strict=True)
        )
        window = whole[:, top : top + height, left : left + width]
        windows.append((float(np.abs(np.diff(window.astype(np.int16), axis=2)).mean()), top, left))
    _, top, left = sorted(windows)[_WINDOWS // 2]
    return whole[:, top : top + height, left : left + width]
