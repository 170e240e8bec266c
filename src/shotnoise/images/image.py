"""A picture in memory: pixels in the type they had on disk, and everything that must survive a round trip."""

from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError

__all__ = ["Image", "full_scale", "to_depth"]

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]


def full_scale(dtype: npt.DTypeLike) -> float:
    """The value that stands for white: 255, 65535, or 1.0 for floating point.

    >>> full_scale(np.uint16)
    65535.0
    """
    kind = np.dtype(dtype)
    if kind.kind == "u" and kind.itemsize <= 2:
        return float(np.iinfo(kind).max)
    if kind.kind == "f":
        return 1.0
    raise PictureError(f"pixels of type {kind} are not supported; expected uint8, uint16 or floating point in 0..1")


def to_depth(pixels: npt.NDArray[Any], dtype: npt.DTypeLike) -> Pixels:
    """The same pixels as uint8, uint16 or float32, black to black and white to white.

    Towards integers the values are clipped to black..white and rounded half up; towards float32 nothing is lost.

    >>> to_depth(np.array([[0.0, 0.5, 1.7]], np.float32), np.uint8)
    array([[  0, 128, 255]], dtype=uint8)
    """
    target = np.dtype(dtype)
    if pixels.dtype == target:
        return pixels
    unit: npt.NDArray[np.float32] = pixels.astype(np.float32) / np.float32(full_scale(pixels.dtype))
    if target.kind == "f":
        return unit
    scaled: Pixels = np.floor(np.clip(unit, 0, 1) * np.float32(full_scale(target)) + np.float32(0.5)).astype(target)
    return scaled


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels and their company.

    Attributes:
        pixels: (H, W) gray or (H, W, 3) RGB; uint8, uint16 or float32, in the range of that type
            (:func:`full_scale`). Floating-point pixels may lie outside 0..1 and are kept as they are.
            C-contiguous when they come from a file.
        alpha: (H, W) in the type of `pixels`, not premultiplied, or None. Never touched by denoising.
        icc: the ICC profile, or None.
        exif: the EXIF block as TIFF-structured bytes without the "Exif" prefix, orientation already reset to 1
            because the pixels have been turned, or None.
        notes: what happened on reading that a user should know, one line each.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape: tuple[int, ...] = self.pixels.shape
        kind = self.pixels.dtype
        if kind not in (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)):
            raise PictureError(f"pixels of type {kind}; expected uint8, uint16 or float32")
        if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            raise PictureError(f"pixels of shape {shape}; expected (H, W) gray or (H, W, 3) RGB, not empty")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != kind):
            raise PictureError(
                f"alpha of shape {self.alpha.shape} and type {self.alpha.dtype}; expected {shape[:2]} and {kind}, "
                "as the pixels have"
            )

    @classmethod
    def from_array(cls, array: npt.NDArray[Any]) -> Self:
        """A picture from plain numbers, as they come from numpy.

        Args:
            array: (H, W) or (H, W, 1) gray, (H, W, 2) gray and alpha, (H, W, 3) RGB, (H, W, 4) RGB and alpha;
                uint8, uint16, floating point (becomes float32) or bool (becomes 0 and 255), any byte order.

        >>> Image.from_array(np.zeros((5, 7, 4), np.uint16)).alpha.shape
        (5, 7)
        """
        shape: tuple[int, ...] = array.shape
        if not (array.ndim == 2 or (array.ndim == 3 and 1 <= shape[2] <= 4)) or 0 in shape:
            raise PictureError(
                f"array of shape {shape}; expected (H, W) or (H, W, 1) gray, (H, W, 3) RGB, or with alpha "
                "(H, W, 2) or (H, W, 4), channels last"
            )
        if array.dtype.kind == "b":
            array = array.astype(np.uint8) * np.uint8(255)
        elif array.dtype.kind == "f":
            with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is reported as such
                array = array.astype(np.float32, copy=False)
        elif array.dtype.kind == "u" and array.dtype.itemsize <= 2:
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
        else:
            raise PictureError(f"array of type {array.dtype}; expected uint8, uint16, bool or floating point")
        if array.ndim == 2:
            return cls(np.ascontiguousarray(array))
        colours = 3 if shape[2] >= 3 else 1
        pixels = array[..., :3] if colours == 3 else array[..., 0]
        alpha = array[..., colours] if shape[2] > colours else None
        return cls(np.ascontiguousarray(pixels), None if alpha is None else np.ascontiguousarray(alpha))

    def to_array(self) -> Pixels:
        """Pixels and alpha in one array, as :meth:`from_array` takes it: (H, W) or (H, W, 2, 3 or 4)."""
        if self.alpha is None:
            return self.pixels
        return cast(Pixels, np.dstack([self.pixels, self.alpha]))

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB; alpha is not counted."""
        return 1 if self.pixels.ndim == 2 else int(self.pixels.shape[2])

    def with_pixels(self, pixels: Pixels) -> Self:
        """The same picture with other pixels of the same size."""
        return replace(self, pixels=pixels)
