"""Counts without a header, as sensor boards and phone cameras write them: the layout is told beside the file.

The layout stands in a JSON file with the same stem, or is given in code::

    {"width": 4096, "height": 3072, "bits": 10, "packing": "mipi10", "pattern": "BGGR", "black": 64, "white": 1023}

Packings: counts of up to 16 bits in two bytes, little or big end first; 8 bits in one byte; and the dense ones of
the MIPI camera bus, where the high eight bits of a group of pixels come first and their low bits follow: four pixels
in five bytes (10 bits), two in three (12 bits), four in seven (14 bits). The first pixel has the lowest of the
following bits. A row ends with a whole group.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shotnoise.errors import PictureError, nearest
from shotnoise.images._decoding import MAX_PIXELS, check_size, one_line
from shotnoise.images._disk import shown, target, write
from shotnoise.images.raw.bayer import Pattern
from shotnoise.images.raw.frame import RawFrame

__all__ = ["HeaderlessLayout", "read_headerless", "save_headerless"]

Packing = Literal["uint16", "uint16-big", "uint8", "mipi10", "mipi12", "mipi14"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Level = Annotated[float, Field(ge=0, le=65535)]

# pixels of a group, bytes of a group, most bits of a pixel
_GROUPS: dict[str, tuple[int, int, int]] = {
    "uint16": (1, 2, 16),
    "uint16-big": (1, 2, 16),
    "uint8": (1, 1, 8),
    "mipi10": (4, 5, 10),
    "mipi12": (2, 3, 12),
    "mipi14": (4, 7, 14),
}


class HeaderlessLayout(BaseModel):
    """How counts lie in a file without a header, and what they mean.

    Attributes:
        width: pixels of a row.
        height: rows.
        packing: how pixels are packed.
        bits: of a pixel; as many as the packing holds unless given. Larger counts in the file are an error.
        header_bytes: to be skipped at the start.
        row_bytes: from the start of a row to the start of the next; without padding unless given.
        pattern: colours of the first 2x2 cell.
        black: count without light: one number, or one for each plane R, Gr, Gb, B.
        white: count at which the sensor is full; the largest of so many bits unless given.
        iso, exposure, white_balance, xyz_to_camera, make, model, orientation: as in :class:`RawFrame`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # most runs never see such a file

    width: int = Field(ge=2, le=65535)
    height: int = Field(ge=2, le=65535)
    packing: Packing = "uint16"
    bits: Literal[8, 10, 12, 14, 16] | None = None
    header_bytes: int = Field(default=0, ge=0)
    row_bytes: int | None = Field(default=None, ge=2)
    pattern: Pattern = Field(validation_alias=AliasChoices("pattern", "cfa"))
    black: Level | tuple[Level, Level, Level, Level] = Field(
        default=0.0, validation_alias=AliasChoices("black", "black_level")
    )
    white: Level | None = Field(default=None, validation_alias=AliasChoices("white", "white_level"))
    iso: Positive | None = None
    exposure: Positive | None = None
    white_balance: tuple[Positive, Positive, Positive] | None = Field(
        default=None, validation_alias=AliasChoices("white_balance", "wb_gains_rgb")
    )
    xyz_to_camera: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]] | None = (
        None
    )
    make: str = ""
    model: str = ""
    orientation: int = Field(default=1, ge=1, le=8)

    @model_validator(mode="before")
    @classmethod
    def _numpy_words(cls, given: Any) -> Any:
        """`dtype` and `endianness`, as numpy users write the packing."""
        if not isinstance(given, dict) or not {"dtype", "endianness"} & set(given):
            return given
        given = dict(given)
        dtype, order = given.pop("dtype", "uint16"), given.pop("endianness", "little")
        if dtype not in ("uint8", "uint16") or order not in ("little", "big") or "packing" in given:
            raise ValueError(
                "expected dtype uint8 or uint16 and endianness little or big, or packing instead of the two"
            )
        return given | {"packing": "uint16-big" if (dtype, order) == ("uint16", "big") else dtype}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        most = _GROUPS[self.packing][2]
        if self.bits is not None and (self.bits > most or (self.packing.startswith("mipi") and self.bits != most)):
            raise ValueError(f"packing {self.packing} holds {most} bits, not {self.bits}")
        if self.row_bytes is not None and self.row_bytes < self.tight_row:
            raise ValueError(
                f"row_bytes {self.row_bytes} is less than the {self.tight_row} bytes of {self.width} pixels"
            )
        return self

    @property
    def tight_row(self) -> int:
        """Bytes of a row without padding."""
        pixels, size, _ = _GROUPS[self.packing]
        return -(-self.width // pixels) * size

    @property
    def depth(self) -> int:
        """Bits of a pixel."""
        return self.bits or _GROUPS[self.packing][2]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "HeaderlessLayout":
        """Read a layout from JSON.

        Raises:
            PictureError: with the key that is wrong.
        """
        name = shown(path)
        try:
            content = json.loads(Path(path).read_bytes())
            if not isinstance(content, dict):
                raise PictureError(f"{name}: is not the layout of a headerless RAW file; expected a JSON object")
            return cls.model_validate(content)
        except OSError as error:
            raise PictureError(f"{name}: cannot be read ({error.strerror or one_line(error)})") from error
        except ValidationError as error:
            raise PictureError(f"{name}: {_first_problem(error)}") from None
        except (ValueError, RecursionError) as error:
            raise PictureError(f"{name}: is not JSON ({one_line(error)})") from None

    @classmethod
    def beside(cls, path: str | os.PathLike[str]) -> "HeaderlessLayout | None":
        """The layout in the JSON file with the same stem, if there is one."""
        sidecar = Path(path).with_suffix(".json")
        return cls.load(sidecar) if sidecar.is_file() else None

    @classmethod
    def of(cls, frame: RawFrame, *, packing: Packing = "uint16", **places: int) -> "HeaderlessLayout":
        """The layout for a frame.

        Args:
            frame: to be written.
            packing: how.
            places: `bits`, `header_bytes`, `row_bytes`.
        """
        matrix = frame.xyz_to_camera
        given: dict[str, Any] = {
            "width": frame.width,
            "height": frame.height,
            "packing": packing,
            "pattern": frame.pattern,
            "black": frame.black,
            "white": frame.white,
            "iso": frame.iso,
            "exposure": frame.exposure,
            "white_balance": frame.white_balance,
            "xyz_to_camera": None if matrix is None else tuple(tuple(row) for row in matrix.tolist()),
            "make": frame.make,
            "model": frame.model,
            "orientation": frame.orientation,
        }
        try:
            return cls.model_validate(given | places)
        except ValidationError as error:
            raise PictureError(f"this layout is impossible: {_first_problem(error)}") from None


def read_headerless(file: BinaryIO, layout: HeaderlessLayout, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """The fields of a :class:`RawFrame`."""
    check_size(layout.width, layout.height, max_pixels)
    row = layout.row_bytes or layout.tight_row
    size = file.seek(0, 2)
    expected = layout.header_bytes + row * layout.height
    if size not in (expected, expected - row + layout.tight_row):
        raise PictureError(
            f"has {size:,} bytes; {layout.width} x {layout.height} pixels as {layout.packing}"
            f"{f' behind {layout.header_bytes} header bytes' if layout.header_bytes else ''} are {expected:,}; "
            f"{_what_fits(layout, size)}"
        )
    file.seek(layout.header_bytes)
    data = np.frombuffer(file.read(row * layout.height), np.uint8)
    data = np.concatenate([data, np.zeros(row * layout.height - data.size, np.uint8)])  # the padding of the last row
    rows = data.reshape(layout.height, row)[:, : layout.tight_row]
    mosaic = np.ascontiguousarray(_unpacked(rows, layout.packing)[:, : layout.width])
    most = 2**layout.depth - 1
    if mosaic.max() > most:
        raise PictureError(
            f"has counts up to {mosaic.max()}, more than the {layout.depth} bits of its layout; check bits, packing "
            "(which end first) and header_bytes"
        )
    black = layout.black if isinstance(layout.black, tuple) else (layout.black,) * 4
    return {
        "mosaic": mosaic,
        "pattern": layout.pattern,
        "black": black,
        "white": float(most) if layout.white is None else layout.white,
        "make": layout.make,
        "model": layout.model,
        "iso": layout.iso,
        "exposure": layout.exposure,
        "white_balance": layout.white_balance,
        "xyz_to_camera": None if layout.xyz_to_camera is None else np.array(layout.xyz_to_camera, np.float64),
        "orientation": layout.orientation,
    }


def save_headerless(
    frame: RawFrame,
    path: str | os.PathLike[str],
    layout: HeaderlessLayout | None = None,
    *,
    sidecar: bool = True,
    overwrite: bool = True,
) -> None:
    """Write counts without a header, and their layout as JSON beside them.

    Args:
        frame: what to write.
        path: where to.
        layout: how, as from :meth:`HeaderlessLayout.of`; two bytes per count, little end first, unless given.
        sidecar: whether to write the JSON file.
        overwrite: whether files that are already there may be replaced.

    Raises:
        PictureError: the counts do not fit the layout, or the place is not writable.
    """
    name = shown(path)
    layout = layout or HeaderlessLayout.of(frame)
    try:
        if (layout.height, layout.width) != frame.mosaic.shape:
            raise PictureError(
                f"has a layout of {layout.width} x {layout.height}, the frame is {frame.width} x {frame.height}"
            )
        if frame.mosaic.max() > 2**layout.depth - 1:
            raise PictureError(
                f"cannot hold counts up to {frame.mosaic.max()} in {layout.depth} bits; choose another packing"
            )
        rows = np.zeros((frame.height, layout.row_bytes or layout.tight_row), np.uint8)
        rows[:, : layout.tight_row] = _packed(frame.mosaic, layout.packing)
        content = bytes(layout.header_bytes) + rows.tobytes()
        write(target(path, overwrite), lambda file: file.write(content))
        if sidecar:
            text = json.dumps(layout.model_dump(exclude_defaults=True), indent=1) + "\n"
            write(target(Path(path).with_suffix(".json"), overwrite), lambda file: file.write(text.encode()))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error.__cause__
    except OSError as error:
        raise PictureError(f"{name}: cannot be written ({error.strerror or one_line(error)})") from error


def _unpacked(rows: npt.NDArray[np.uint8], packing: Packing) -> npt.NDArray[np.uint16]:
    """(H, bytes) -> (H, pixels)."""
    if packing == "uint8":
        return rows.astype(np.uint16)
    if packing in ("uint16", "uint16-big"):
        return np.ascontiguousarray(rows).view("<u2" if packing == "uint16" else ">u2").astype(np.uint16)
    pixels, size, bits = _GROUPS[packing]
    groups = rows.reshape(len(rows), -1, size)
    low = bits - 8
    tail = np.zeros(groups.shape[:2], np.uint32)  # the low bits of all pixels of the group in one number
    for index in range(size - pixels):
        tail |= groups[..., pixels + index].astype(np.uint32) << (8 * index)
    counts = groups[..., :pixels].astype(np.uint16) << np.uint16(low)
    for index in range(pixels):
        counts[..., index] |= ((tail >> (low * index)) & (2**low - 1)).astype(np.uint16)
    return counts.reshape(len(rows), -1)


def _packed(mosaic: npt.NDArray[np.uint16], packing: Packing) -> npt.NDArray[np.uint8]:
    """The inverse of :func:`_unpacked`; the last group of a row is filled with zeros."""
    if packing == "uint8":
        return mosaic.astype(np.uint8)
    if packing in ("uint16", "uint16-big"):
        return np.ascontiguousarray(mosaic.astype("<u2" if packing == "uint16" else ">u2")).view(np.uint8)
    pixels, size, bits = _GROUPS[packing]
    padded = np.pad(mosaic, ((0, 0), (0, -mosaic.shape[1] % pixels)))
    counts = padded.reshape(len(mosaic), -1, pixels)
    low = bits - 8
    groups: npt.NDArray[np.uint8] = np.empty((*counts.shape[:2], size), np.uint8)
    groups[..., :pixels] = counts >> low
    tail = np.zeros(counts.shape[:2], np.uint32)
    for index in range(pixels):
        tail |= (counts[..., index].astype(np.uint32) & (2**low - 1)) << (low * index)
    for index in range(size - pixels):
        groups[..., pixels + index] = (tail >> (8 * index)) & 255
    return groups.reshape(len(mosaic), -1)


def _what_fits(layout: HeaderlessLayout, size: int) -> str:
    """Layouts that this size would fit, close to the one that was said."""
    fits = []
    for packing, (pixels, group, _) in _GROUPS.items():
        if packing == "uint16-big" or (layout.bits is not None and layout.bits > _GROUPS[packing][2]):
            continue
        row = -(-layout.width // pixels) * group
        rest = size - row * layout.height
        if packing != layout.packing and rest == layout.header_bytes:
            fits.append(f"packing {packing}")
    body = size - layout.header_bytes
    row = layout.row_bytes or layout.tight_row
    if body > 0 and body % row == 0:
        fits.append(f"height {body // row}")
    if body > 0 and body % layout.height == 0 and layout.row_bytes is None:
        if body // layout.height > layout.tight_row:
            fits.append(f"row_bytes {body // layout.height}")
        pixels, group, _ = _GROUPS[layout.packing]
        if body // layout.height % group == 0:
            fits.append(f"width {body // layout.height // group * pixels}")
    if size > row * layout.height:
        fits.append(f"header_bytes {size - row * layout.height}")
    return f"it would fit with {' or '.join(fits)}" if fits else "check width, height and packing"


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "extra_forbidden":
        return f"unknown key '{first['loc'][-1]}': {nearest(str(first['loc'][-1]), HeaderlessLayout.model_fields)}"
    known = (part for part in first["loc"] if isinstance(part, int) or part in HeaderlessLayout.model_fields)
    place = ".".join(str(part) for part in known)
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
