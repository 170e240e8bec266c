"""A display picture and the RAW of the same scene: what a camera is learned from, in both directions."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from shotnoise.errors import RecipeError
from shotnoise.images.raw.bayer import PATTERNS, sites
from shotnoise.isp import ClassicalISP
from shotnoise.noise import NoiseModel
from shotnoise.pairs.crops import Crops
from shotnoise.pairs.raw import turned
from shotnoise.pairs.sample import PairSource, Sample

__all__ = ["CameraPairs", "InventedCameras", "ScenePair"]

_FOLDERS = (("raw", "rgb"), ("RAW_npy", "RGB_npy"))  # ours, and those of the published preparation of FiveK
_PATTERNS = ("patterns.json", "fivek_bayer.pkl")


class _RawAndPicture(PairSource):
    """What both sources promise.

    A sample knows no `clean`: what is to be learned is a camera, not a picture, so trainings are judged by their loss.
    """

    def __init__(self, noise: NoiseModel | None, crop: int) -> None:
        if noise is not None:
            raise RecipeError("a camera is learned from pairs without noise; set noise: null")
        if crop < 2 or crop % 2:
            raise RecipeError(f"pairs.crop is {crop}; expected an even side in pixels of the display picture")
        self.crop = crop


class InventedCameras(_RawAndPicture):
    """Display pictures with the RAW that a simple camera, drawn anew for each crop, would have recorded of them.

    Args:
        pictures: (3, H, W) in display values, as :class:`~shotnoise.pairs.crops.Crops` takes them.
        noise: must be None, as there is nothing to add.
        crop: side of the crop in the display picture, even.
        augment: use the eight turns and mirrors of a square.
    """

    picture_channels: ClassVar[int | None] = 3

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel | None,
        crop: int = 128,
        augment: bool = True,
    ) -> None:
        super().__init__(noise, crop)
        self._crops = Crops(pictures, crop=crop, augment=augment)
        self._camera = ClassicalISP()

    def draw(self, generator: torch.Generator) -> Sample:
        """One display picture and its RAW planes, which are half as large."""
        rgb = self._crops.draw(generator)
        raw, _ = self._camera.to_raw(rgb[None], generator)
        return Sample(noisy=rgb, target=raw[0].clamp(0, 1))


class ScenePair:
    """A RAW mosaic and its display picture on disk, cell by cell; nothing is read before it is looked at.

    As an array it is (16, H/2, W/2): the planes R, Gr, Gb, B, then of red, green and blue the four pixels of each cell.

    Args:
        raw: (H, W) or (H, W, 1) normalised counts.
        rgb: (H, W, 3) in 0..1, or uint8.
        pattern: the phase of the mosaic. Another than RGGB loses its outermost rows or columns, as the picture does.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, raw: npt.NDArray[Any], rgb: npt.NDArray[Any], pattern: str) -> None:
        raw = raw[..., 0] if raw.ndim == 3 and raw.shape[2] == 1 else raw
        if raw.ndim != 2 or rgb.shape != (*raw.shape, 3):
            raise RecipeError(
                f"RAW of {_size(raw)} beside a picture of {_size(rgb)}; expected HxW or HxWx1, and HxWx3 of one scene"
            )
        if raw.dtype.kind != "f" or (rgb.dtype.kind != "f" and rgb.dtype != np.uint8):
            raise RecipeError(
                f"RAW of {raw.dtype} beside a picture of {rgb.dtype}; expected floating point where 1 is white, of the "
                "picture also uint8: divide by white, less black"
            )
        if pattern not in PATTERNS:
            raise RecipeError(f"its pattern is {pattern!r}; expected one of {', '.join(PATTERNS)}")
        row, column = sites(pattern)[0]
        height, width = (side - 2 * off - side % 2 for side, off in zip(raw.shape, (row, column), strict=True))
        window = slice(row, row + height), slice(column, column + width)
        self.raw, self.rgb = raw[window], rgb[window]
        self.shape = (16, height // 2, width // 2)

    def __getitem__(self, window: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
        _, rows, columns = window  # all channels, whatever is asked for
        pixels = slice(2 * rows.start, 2 * rows.stop), slice(2 * columns.start, 2 * columns.stop)
        seen = np.empty((4, pixels[0].stop - pixels[0].start, pixels[1].stop - pixels[1].start), np.float32)
        seen[0] = self.raw[pixels]
        seen[1:] = self.rgb[pixels].transpose(2, 0, 1)
        if self.rgb.dtype == np.uint8:
            seen[1:] /= 255
        return F.pixel_unshuffle(torch.from_numpy(seen), 2).numpy()


class CameraPairs(_RawAndPicture):
    """Crops of real pairs: what a camera recorded, and what its photographer saw.

    They lie in a folder as `raw/NAME.npy` and `rgb/NAME.npy` with `patterns.json` ({"NAME": "RGGB", ...}) beside them;
    as the published code prepares MIT-Adobe FiveK, in `RAW_npy` and `RGB_npy` with `fivek_bayer.pkl`; or as `NAME.npz`
    with the arrays `raw`, `rgb` and `pattern`. Without a pattern a mosaic is RGGB.

    Args:
        pictures: (16, H/2, W/2), see :class:`ScenePair`.
        noise: must be None.
        crop: side of the crop in the display picture, even.
        augment: mirror and transpose, in ways that leave the mosaic RGGB.
    """

    def __init__(
        self,
        *,
        pictures: Sequence[npt.NDArray[np.generic]],
        noise: NoiseModel | None,
        crop: int = 128,
        augment: bool = True,
    ) -> None:
        super().__init__(noise, crop)
        self.augment = augment
        # One cell more than asked for: mirroring a mosaic and going back to RGGB costs a row and a column.
        self._crops = Crops(pictures, crop=crop // 2 + augment, augment=False)

    @classmethod
    def largest_crop(cls, shape: Sequence[int], options: Mapping[str, Any]) -> int:
        """In pixels, of so many cells, with the one that turning costs."""
        return 2 * (min(shape[1:]) - 1)

    @classmethod
    def open(cls, folder: Path) -> Mapping[str, Any]:
        """The pairs of a folder by name."""
        pairs = dict(_npz_pairs(folder) if any(folder.glob("*.npz")) else _npy_pairs(folder))
        if not pairs:
            raise RecipeError(
                f"{folder}: holds no pairs of RAW and picture; expected raw/NAME.npy with rgb/NAME.npy, or NAME.npz"
            )
        return pairs

    def draw(self, generator: torch.Generator) -> Sample:
        """One display picture and its RAW planes, which are half as large."""
        window = self._crops.draw(generator)
        window = turned(window, generator) if self.augment else window
        return Sample(noisy=F.pixel_shuffle(window[4:], 2), target=window[:4].clone())


def _npy_pairs(folder: Path) -> "list[tuple[str, ScenePair]]":
    patterns = _patterns(folder)
    pairs = []
    held = next((names for names in _FOLDERS if (folder / names[0]).is_dir()), _FOLDERS[0])
    for path in sorted((folder / held[0]).glob("*.npy")):
        picture = folder / held[1] / path.name
        if not picture.is_file():
            raise RecipeError(f"{path}: has no picture beside it; expected {picture}")
        raw, rgb = (_read(file) for file in (path, picture))
        pairs.append((path.stem, _pair(path, raw, rgb, patterns.get(path.stem, "RGGB"))))
    return pairs


def _npz_pairs(folder: Path) -> "list[tuple[str, ScenePair]]":
    pairs = []
    for path in sorted(folder.glob("*.npz")):
        held = _read(path)
        if not {"raw", "rgb"} <= set(held):
            raise RecipeError(f"{path}: holds {', '.join(held) or 'nothing'}; expected the arrays raw and rgb")
        try:
            raw, rgb, pattern = held["raw"], held["rgb"], str(held["pattern"]) if "pattern" in held else "RGGB"
        except (OSError, ValueError) as error:
            raise RecipeError(f"{path}: is damaged ({error}); make it again") from None
        pairs.append((path.stem, _pair(path, raw, rgb, pattern)))
    return pairs


def _pair(path: Path, raw: npt.NDArray[Any], rgb: npt.NDArray[Any], pattern: str) -> ScenePair:
    try:
        return ScenePair(raw, rgb, pattern)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def _read(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecipeError(f"{path}: cannot be read as numbers of numpy ({error}); make it again") from None


class _Plain(pickle.Unpickler):
    """Reads dictionaries, lists, texts and numbers; anything that would run code is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _patterns(folder: Path) -> Mapping[str, str]:
    file = next((folder / name for name in _PATTERNS if (folder / name).is_file()), None)
    if file is None:
        return {}
    try:
        if file.suffix == ".json":
            content = json.loads(file.read_text(encoding="utf-8"))
        else:
            with file.open("rb") as stream:
                content = _Plain(stream).load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise RecipeError(f"{file}: cannot be read ({error}); expected names with their patterns") from None
    if not isinstance(content, dict) or not all(isinstance(part, str) for pair in content.items() for part in pair):
        raise RecipeError(f'{file}: expected names with their patterns, as in {{"a0001": "RGGB"}}')
    return content


def _size(array: npt.NDArray[Any]) -> str:
    return "x".join(str(side) for side in array.shape) or "one number"
