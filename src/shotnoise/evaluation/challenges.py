"""The benchmarks that take submissions: what their files look like, and the files that they want back.

T. Plötz, S. Roth, "Benchmarking Denoising Algorithms with Real Photographs", CVPR 2017 (DND): 50 pictures of 20 boxes
each. ``info.mat`` is HDF5 in which every field of `info` is a list of references, one for each picture. SIDD: see
:mod:`shotnoise.evaluation.sidd`.
"""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ProfileError, RecipeError, StoreError, nearest, require
from shotnoise.evaluation.phases import to_mosaic, to_planes
from shotnoise.evaluation.protocol import Told, Values
from shotnoise.evaluation.sidd import Facts, read_blocks, read_facts, seen_law
from shotnoise.evaluation.submission import Block, Challenge, Finished
from shotnoise.images.raw.bayer import Pattern, seen_from
from shotnoise.metrics import quantise
from shotnoise.sensor import estimate_sigma
from shotnoise.sensor.law import NoiseLaw
from shotnoise.store.matlab import mat_names, read_mat, write_mat

__all__ = ["CHALLENGES", "DndRaw", "DndSrgb", "SiddRaw", "SiddSrgb", "open_challenge"]

_BOXES = 20
# The cells of `pattern` in the order in which HDF5 keeps them, by which the published results were made.
_CODES: dict[tuple[int, ...], Pattern] = {
    (1, 2, 2, 3): "RGGB",
    (2, 1, 3, 2): "GRBG",
    (2, 3, 1, 2): "GBRG",
    (3, 2, 2, 1): "BGGR",
}


class _Dnd(Challenge):
    """What both halves of DND share."""

    variable = "Idenoised_crop"
    raw: ClassVar[bool]

    def __init__(self, folder: Path, level: float | None = None) -> None:
        self._folder = folder
        self._level = level
        self._info = _Info(folder / "info.mat")
        self.names = [f"{image + 1:04}_{box + 1:02}" for image in range(len(self._info)) for box in range(_BOXES)]
        self._boxes = [self._info.boxes(image) for image in range(len(self._info))]
        self._read: tuple[int, npt.NDArray[Any]] = (-1, np.empty(0))
        for image in range(len(self._info)):
            path = self._path(image)
            if not path.is_file():
                raise StoreError(f"{path}: does not exist; expected the files of DND as downloaded beside info.mat")

    def shape(self, index: int) -> tuple[int, ...]:
        """Rows and columns of the box, and 3 for colours."""
        top, left, bottom, right = self._box(index)
        return (bottom - top, right - left) if self.raw else (bottom - top, right - left, 3)

    def bundled(self, out: Path) -> list[Path]:
        """One file for each picture."""
        return [out / "bundled" / f"{image + 1:04}.mat" for image in range(len(self._info))]

    def bundle(self, blocks: Finished, out: Path) -> None:
        """Each with its boxes as cells."""
        for image, path in enumerate(self.bundled(out)):
            path.parent.mkdir(exist_ok=True)
            cells = np.empty(_BOXES, object)
            for box in range(_BOXES):
                cells[box] = blocks[image * _BOXES + box]
            _write_cells(path, {"Idenoised": cells, "israw": self.raw, "eval_version": "1.0"})

    def _crop(self, index: int) -> npt.NDArray[np.float32]:
        image, box = divmod(index, _BOXES)
        if self._read[0] != image:
            path = self._path(image)
            picture = read_mat(path, "Inoisy" if self.raw else "InoisySRGB")
            if picture.dtype.kind != "f" or picture.ndim != (2 if self.raw else 3):
                wanted = "values in 0..1, (H, W)" if self.raw else "values in 0..1, (H, W, 3)"
                raise StoreError(f"{path}: holds {picture.dtype} of shape {picture.shape}; expected {wanted}")
            self._read = (image, picture)
        picture = self._read[1]
        top, left, bottom, right = self._box(index)
        if bottom > picture.shape[0] or right > picture.shape[1]:
            raise StoreError(
                f"{self._path(image)}: is {picture.shape[0]} x {picture.shape[1]}, and box {box + 1} of info.mat goes "
                f"to {bottom}, {right}; expected the info.mat of these pictures"
            )
        return picture[top:bottom, left:right].astype(np.float32)

    def _box(self, index: int) -> tuple[int, int, int, int]:
        image, box = divmod(index, _BOXES)
        top, left, bottom, right = (int(side) for side in self._boxes[image][box])
        return top - 1, left - 1, bottom, right

    def _path(self, image: int) -> Path:
        return self._folder / ("images_raw" if self.raw else "images_srgb") / f"{image + 1:04}.mat"


class DndSrgb(_Dnd):
    """The developed pictures.

    A denoiser that asks for the level is told that of the box: `sigma_srgb` of ``info.mat``, else a blind estimate.

    Args:
        folder: of ``info.mat``, with ``images_srgb`` in it.
        level: standard deviation to tell instead, in 8-bit counts.
    """

    kind, raw = "rgb", False

    def block(self, index: int) -> Block:
        """Limited to 0..1, not rounded."""
        crop = self._crop(index)
        told = self._info.sigma(*divmod(index, _BOXES)) if self._level is None else self._level / 255

        def finish(values: Values) -> npt.NDArray[np.float32]:
            return np.ascontiguousarray(np.clip(values, 0, 1).transpose(1, 2, 0))

        return Block(_planar(crop), estimate_sigma(crop) if told is None else told, finish)


class DndRaw(_Dnd):
    """The mosaics.

    A box is mirrored to RGGB, by the pattern that its first pixels have, taken apart into four planes, and all that
    undone again. The denoiser is told the law of the picture.

    Args:
        folder: of ``info.mat``, with ``images_raw`` in it.
    """

    kind, raw = "raw", True

    def __init__(self, folder: Path, level: float | None = None) -> None:
        _no_level(level)
        super().__init__(folder)

    def block(self, index: int) -> Block:
        """Limited to 0..1, not rounded."""
        image = index // _BOXES
        top, left, *_ = self._box(index)
        pattern = seen_from(self._info.pattern(image), top, left)
        planes = to_planes(self._crop(index), pattern)
        return Block(planes, self._info.law(image), lambda values: to_mosaic(np.clip(values, 0, 1), pattern))


class _Info:
    """``info.mat`` of DND."""

    def __init__(self, path: Path) -> None:
        h5py = require("h5py", "train", "reading the files of DND")
        if not path.is_file():
            raise StoreError(f"{path}: does not exist; expected the folder of DND as downloaded")
        self._path = path
        try:
            self._info = h5py.File(path, "r")["info"]
            self._count = self._info["boundingboxes"].size
        except (OSError, KeyError, AttributeError, ValueError, TypeError) as error:
            raise StoreError(f"{path}: not the info.mat of DND ({error}); get it again") from None

    def __len__(self) -> int:
        return int(self._count)

    def boxes(self, image: int) -> npt.NDArray[np.int64]:
        """(20, 4): first row, first column, last row, last column, counted from 1."""
        boxes = np.asarray(self._of(image, "boundingboxes", lambda item: item[()].T), np.int64)
        good = boxes.shape == (_BOXES, 4) and (boxes[:, :2] >= 1).all() and (boxes[:, 2:] > boxes[:, :2]).all()
        if not good:
            raise StoreError(
                f"{self._path}: the boxes of picture {image + 1} are no {_BOXES} rows of first row, first column, last "
                "row, last column; get it again"
            )
        return boxes

    def pattern(self, image: int) -> Pattern:
        """Of the mosaic."""
        code = self._of(image, "camera", lambda item: tuple(int(cell) for cell in item["pattern"][()].ravel()))
        if code not in _CODES:
            raise StoreError(
                f"{self._path}: the pattern of picture {image + 1} is {code}; expected 1, 2, 2, 3 in a cell"
            )
        return _CODES[code]

    def law(self, image: int) -> NoiseLaw:
        """Of the mosaic."""
        shot, read = self._of(image, "nlf", lambda item: [float(item[name][()].flat[0]) for name in ("a", "b")])
        try:
            return NoiseLaw((shot,) * 4, (read,) * 4, "info.mat")
        except ProfileError as error:
            raise StoreError(f"{self._path}: picture {image + 1}: {error}") from None

    def sigma(self, image: int, box: int) -> float | None:
        """Standard deviation in a developed box, the mean of its colours; None where the file does not say it."""
        if "sigma_srgb" not in self._info:
            return None
        return float(self._of(image, "sigma_srgb", lambda item: item[()].reshape(-1, _BOXES)[:, box].mean()))

    def _of(self, image: int, field: str, read: Callable[[Any], Any]) -> Any:
        try:
            return read(self._info[self._info[field][()].ravel()[image]])
        except (OSError, LookupError, AttributeError, ValueError, TypeError) as error:
            raise StoreError(
                f"{self._path}: no usable '{field}' of picture {image + 1} ({error}); get the file again"
            ) from None


class _Sidd(Challenge):
    """What both halves of SIDD share."""

    variable = "DenoisedBlock"
    suffix: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"BenchmarkNoisyBlocks{self.suffix}.mat"
        if not self._path.is_file():
            raise StoreError(f"{self._path}: does not exist; expected the noisy blocks of the benchmark, as downloaded")
        self._shape = mat_names(self._path).get(self._path.stem, ())
        if len(self._shape) != 4 + (self.kind == "rgb"):
            raise StoreError(f"{self._path}: holds no blocks under the name {self._path.stem}; get it again")
        images, blocks = self._shape[:2]
        self.names = [f"{image:02}_{block:02}" for image in range(images) for block in range(blocks)]

    def shape(self, index: int) -> tuple[int, ...]:
        """Rows and columns, and 3 for colours."""
        return self._shape[2:]

    def place(self, out: Path, index: int) -> Path:
        """Apart from the file to hand in."""
        return out / "blocks" / f"{self.names[index]}.mat"

    def bundled(self, out: Path) -> list[Path]:
        """One file."""
        return [out / f"Submit{self.suffix}.mat"]

    def bundle(self, blocks: Finished, out: Path) -> None:
        """All blocks, and the time per megapixel."""
        whole = np.stack([blocks[index] for index in range(len(blocks))]).reshape(self._shape)
        (path,) = self.bundled(out)
        write_mat(path, {f"DenoisedBlocks{self.suffix}": whole, f"TimeMP{self.suffix}": blocks.seconds})

    def _noisy(self, index: int) -> npt.NDArray[Any]:
        block: npt.NDArray[Any] = read_blocks(self._path, colours=self.kind == "rgb")[divmod(index, self._shape[1])]
        return block


class SiddSrgb(_Sidd):
    """The developed blocks. A denoiser that asks for the level is told a blind estimate.

    Args:
        folder: of ``BenchmarkNoisyBlocksSrgb.mat``.
        level: standard deviation to tell instead, in 8-bit counts.
    """

    kind, suffix = "rgb", "Srgb"

    def __init__(self, folder: Path, level: float | None = None) -> None:
        super().__init__(folder)
        self._level = level

    def block(self, index: int) -> Block:
        """Limited to 0..1 and rounded to 8 bits."""
        noisy = self._noisy(index)
        told: Told = estimate_sigma(noisy) if self._level is None else self._level / 255
        return Block(
            _planar(noisy.astype(np.float32) / np.float32(255)),
            told,
            lambda values: quantise(values.transpose(1, 2, 0)),
        )


class SiddRaw(_Sidd):
    """The mosaics. What is known about them, see :mod:`shotnoise.evaluation.sidd`.

    Args:
        folder: of ``BenchmarkNoisyBlocksRaw.mat``.
    """

    kind, suffix = "raw", "Raw"

    def __init__(self, folder: Path, level: float | None = None) -> None:
        _no_level(level)
        super().__init__(folder)
        self._facts = read_facts(folder)

    def block(self, index: int) -> Block:
        """Limited to 0..1, not rounded."""
        facts = self._facts.get(index // self._shape[1], Facts())
        planes = to_planes(self._noisy(index).astype(np.float32), facts.pattern)
        return Block(
            planes, facts.law or seen_law(planes), lambda values: to_mosaic(np.clip(values, 0, 1), facts.pattern)
        )


CHALLENGES: dict[str, Callable[[Path, float | None], Challenge]] = {
    "dnd-srgb": DndSrgb,
    "dnd-raw": DndRaw,
    "sidd-srgb": SiddSrgb,
    "sidd-raw": SiddRaw,
}
"""What `shotnoise submit` takes."""


def open_challenge(name: str, folder: Path, level: float | None = None) -> Challenge:
    """A benchmark by name.

    Args:
        name: a key of :data:`CHALLENGES`.
        folder: its files as they were downloaded.
        level: what models are told about the noise of display pictures, in 8-bit counts; None for what is known.
    """
    if name not in CHALLENGES:
        raise RecipeError(f"no benchmark '{name}': {nearest(name, CHALLENGES)}")
    if level is not None and not 0 <= level <= 255:
        raise RecipeError(f"level is {level:g}; expected a noise standard deviation in counts, 0 to 255")
    return CHALLENGES[name](folder, level)


def _no_level(level: float | None) -> None:
    if level is not None:
        raise RecipeError("the noise of RAW has no single level, a law is told instead; leave --level out")


def _planar(picture: npt.NDArray[np.float32]) -> Values:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def _write_cells(path: Path, content: dict[str, Any]) -> None:
    """Lists of arrays, which :func:`write_mat` does not know; the file appears complete or not at all."""
    scipy_io = require("scipy.io", "train", "writing a MATLAB file")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(temporary, "xb") as file:
            scipy_io.savemat(file, content, do_compression=True)
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)
