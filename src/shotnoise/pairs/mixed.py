"""Several kinds of samples in one training, each with its own noise."""

import bisect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shotnoise.errors import RecipeError, nearest
from shotnoise.noise import NOISE, NoiseModel
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["MixedPictures"]

_KEYS = ("share", "pairs", "noise")


class MixedPictures(PairSource):
    """Each sample is of one of several kinds, drawn by their shares: a network that is to know more than one noise.

    Args:
        pictures: display pictures, from which all kinds are made.
        noise: none here; each kind brings its own.
        parts: the kinds: `share`, a positive weight; `pairs`, a source of pictures and its options without `crop`;
            `noise`, a noise model and its options.
        crop: side of the samples.

    Examples:
        >>> source = MixedPictures(
        ...     pictures=[np.full((3, 40, 40), 128, np.uint8)],
        ...     crop=16,
        ...     parts=[
        ...         {"share": 3, "pairs": {"name": "clean"}, "noise": {"name": "gaussian", "sigma": 25}},
        ...         {"share": 1, "pairs": {"name": "clean"}, "noise": {"name": "gaussian", "sigma": 0}},
        ...     ],
        ... )
        >>> generator = torch.Generator().manual_seed(0)
        >>> clean = [bool((s.noisy == s.target).all()) for s in (source.draw(generator) for _ in range(400))]
        >>> 80 < sum(clean) < 120
        True
    """

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel | None = None,
        parts: Sequence[Mapping[str, Any]],
        crop: int = 64,
    ) -> None:
        if noise is not None:
            raise RecipeError("pairs: mixed has noise in each of its parts; leave the noise of the recipe out")
        if not isinstance(parts, Sequence) or not parts:
            raise RecipeError("pairs.parts is empty; expected a list of {share: 1, pairs: {...}, noise: {...}}")
        self._sources = [_source(number, part, pictures, crop) for number, part in enumerate(parts)]
        self._shares = list(itertools.accumulate(_share(number, part) for number, part in enumerate(parts)))

    def draw(self, generator: torch.Generator) -> Sample:
        """One sample of one of the kinds."""
        point = float(torch.rand((), generator=generator)) * self._shares[-1]
        return self._sources[bisect.bisect_right(self._shares[:-1], point)].draw(generator)


def _share(number: int, part: Mapping[str, Any]) -> float:
    share = part.get("share", 1)
    if isinstance(share, bool) or not isinstance(share, int | float) or not share > 0:
        raise RecipeError(f"pairs.parts[{number}].share is {share}; expected a number above 0")
    return float(share)


def _source(number: int, part: Mapping[str, Any], pictures: Sequence[npt.NDArray[np.generic]], crop: int) -> PairSource:
    from shotnoise.pairs import PAIRS

    where = f"pairs.parts[{number}]"
    if not isinstance(part, Mapping):
        raise RecipeError(f"{where} is {part}; expected {{share: 1, pairs: {{...}}, noise: {{...}}}}")
    for key in part:
        if key not in _KEYS:
            raise RecipeError(f"{where} has the unknown key '{key}': {nearest(str(key), _KEYS)}")
    pairs, noise = (_choice(f"{where}.{key}", part.get(key)) for key in ("pairs", "noise"))
    kind: type[PairSource] = PAIRS.resolve(pairs[0])
    if kind.kind is not None or kind.arrays != PairSource.arrays or kind is MixedPictures:
        raise RecipeError(f"{where}.pairs is '{pairs[0]}'; expected a source of display pictures: clean, rendered")
    if kind.picture_channels not in (None, len(pictures[0])):
        raise RecipeError(f"{where}.pairs '{pairs[0]}' wants colour pictures; expected a network of 3 channels")
    if "crop" in pairs[1]:
        raise RecipeError(f"{where}.pairs has a crop of its own; give one for all, pairs.crop")
    model = NOISE.create(*noise)
    source: PairSource = PAIRS.create(pairs[0], {**pairs[1], "crop": crop}, pictures=pictures, noise=model)
    if source.k_sigma is not None:
        raise RecipeError(f"{where}.pairs transforms its samples, and not all parts could; leave k_sigma out")
    return source


def _choice(where: str, value: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise RecipeError(f"{where} is {value}; expected a name and options, for instance {{name: clean}}")
    return value["name"], {key: option for key, option in value.items() if key != "name"}
