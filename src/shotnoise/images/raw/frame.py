"""One exposure as the sensor saw it: a mosaic of counts, and what is needed to make sense of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images.raw.bayer import PATTERNS, Pattern

__all__ = ["RawFrame"]


@dataclass(frozen=True, slots=True, eq=False)
class RawFrame:
    """A Bayer mosaic.

    Whatever is given per plane is in the order R, G on the R row, G on the B row, B; whatever is given per colour in
    the order R, G, B.

    Attributes:
        mosaic: (H, W) uint16, the counts of the visible area as they were stored, black not subtracted.
        pattern: colours of its first 2x2 cell, row by row.
        black: count without light, per plane; may be a fraction.
        white: count at which the sensor is full.
        make: of the camera.
        model: of the camera.
        iso: sensitivity, as the camera calls it.
        exposure: time in seconds.
        white_balance: factors that make gray gray, green = 1, as the camera shot it.
        xyz_to_camera: (3, 3) colour matrix for daylight.
        orientation: how it should be turned to be seen, as EXIF says it, 1 to 8.
        noise: NoiseProfile of a DNG: (S, O) per plane, variance = S x + O with x in 0..1.
        tags: what else a DNG said about itself, to be written again: tag number -> (TIFF type, length, value).
        exif: the EXIF block as it was, without the picture's own structure.
        notes: what a user should know about the reading, one line each.
    """

    mosaic: npt.NDArray[np.uint16]
    pattern: Pattern
    black: tuple[float, float, float, float]
    white: float
    make: str = ""
    model: str = ""
    iso: float | None = None
    exposure: float | None = None
    white_balance: tuple[float, float, float] | None = None
    xyz_to_camera: npt.NDArray[np.float64] | None = None
    orientation: int = 1
    noise: tuple[tuple[float, float], ...] | None = None
    tags: Mapping[int, Any] = field(default_factory=dict)
    exif: bytes | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mosaic.ndim != 2 or self.mosaic.dtype != np.uint16 or min(self.mosaic.shape) < 2:
            raise PictureError(
                f"a mosaic of shape {self.mosaic.shape} and type {self.mosaic.dtype}; expected (H, W) uint16, "
                "at least 2 x 2"
            )
        if self.pattern not in PATTERNS:
            raise PictureError(f"colour pattern '{self.pattern}'; expected one of {', '.join(PATTERNS)}")
        if not all(-math.inf < level < self.white < math.inf for level in self.black):
            raise PictureError(
                f"black level {max(self.black):g} is not below white level {self.white:g}; the file's levels are "
                "wrong, give the right ones"
            )

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.mosaic.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.mosaic.shape[1])

    def with_mosaic(self, mosaic: npt.NDArray[np.uint16], **changed: Any) -> "RawFrame":
        """The same exposure with other counts."""
        return replace(self, mosaic=mosaic, **changed)
