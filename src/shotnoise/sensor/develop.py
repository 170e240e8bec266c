"""From a mosaic to a picture for the eye: levels, white balance, demosaicing, colour matrix, exposure, tone curve.

A plain developer with nothing that adapts to the picture, so that what differs between two results differs between
the two mosaics: take the :class:`Look` of one frame and develop both with it. It is made to judge noise and colours,
not to compete with RAW developers: no sharpening, no lens corrections, no highlight recovery.

Demosaicing at full size: H. S. Malvar, L. He and R. Cutler, "High-quality linear interpolation for demosaicing of
Bayer-patterned color images", ICASSP 2004: bilinear interpolation, corrected by the Laplacian of the colour that is
known at the site.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from shotnoise.errors import PictureError
from shotnoise.images import Image
from shotnoise.images._exif import turn
from shotnoise.images.raw._dng_tags import floats
from shotnoise.images.raw.bayer import Pattern, sites, split
from shotnoise.images.raw.dng import XYZ_TO_SRGB
from shotnoise.images.raw.frame import RawFrame

__all__ = ["Look", "camera_rgb", "demosaic", "develop", "normalised"]

Float = npt.NDArray[np.float32]
Size = Literal["half", "full"]

_BASELINE_EXPOSURE = 50730
_FRACTIONS = (5, 10)  # kinds of a tag
_BAND = 128  # rows
_LADDER = np.linspace(0, 1, 65536, dtype=np.float32)
_DARKEST, _BRIGHTEST = 0.001, 0.95  # counts of the gray-world estimate: neither noise alone nor saturated


@dataclass(frozen=True, eq=False)
class Look:
    """What turns linear camera colours into a picture; share one between pictures that are to be compared.

    Attributes:
        white_balance: factors for red, green and blue, the smallest 1, so that what is saturated stays white.
        to_srgb: (3, 3) from balanced camera colours to linear sRGB; its rows sum to 1, so that gray stays gray.
        exposure: factor on linear values.
    """

    white_balance: tuple[float, float, float]
    to_srgb: npt.NDArray[np.float64]
    exposure: float = 1.0

    @classmethod
    def of(cls, frame: RawFrame, *, stops: float = 0.0) -> Self:
        """As the camera meant it: its white balance (gray world if it states none), matrix and exposure.

        Args:
            frame: the picture that decides.
            stops: brighter by this many powers of two than the camera meant it.
        """
        balance = frame.white_balance or _gray_world(frame)
        least = min(balance)
        red, green, blue = (factor / least for factor in balance)
        exposure = frame.tags.get(_BASELINE_EXPOSURE)
        if exposure is not None and exposure.kind in _FRACTIONS:
            stops += float(np.nan_to_num(floats(exposure)[:1]).sum())
        return cls((red, green, blue), _to_srgb(frame.xyz_to_camera), 2.0 ** min(max(stops, -20.0), 20.0))

    def brighter(self, stops: float) -> Self:
        """The same with more exposure, in powers of two."""
        return replace(self, exposure=self.exposure * 2.0**stops)

    def render(
        self, rgb: Float, dtype: type[np.uint8] | type[np.uint16] = np.uint8
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Linear camera colours (H, W, 3), black 0 and full 1 -> sRGB of the same size."""
        gains = np.array(self.white_balance, np.float32)
        matrix = (self.to_srgb * self.exposure).astype(np.float32).T
        pixels: npt.NDArray[Any] = np.empty(rgb.shape, dtype)
        table = np.floor(_tone(_LADDER) * 255 + 0.5).astype(np.uint8)
        for top in range(0, len(rgb), _BAND):  # so that what is made on the way stays small
            linear = np.minimum(rgb[top : top + _BAND] * gains, 1) @ matrix
            np.clip(linear, 0, 1, out=linear)
            if dtype is np.uint16:
                pixels[top : top + _BAND] = np.floor(_tone(linear) * np.float32(65535) + np.float32(0.5))
            else:  # 16 bits are fine enough for the steepest part of the curve
                pixels[top : top + _BAND] = table[(linear * np.float32(65535) + np.float32(0.5)).astype(np.uint16)]
        return pixels


def develop(
    frame: RawFrame,
    look: Look | None = None,
    *,
    size: Size = "half",
    dtype: type[np.uint8] | type[np.uint16] = np.uint8,
) -> Image:
    """A picture in sRGB, turned as it should be seen, with the EXIF of the frame.

    Args:
        frame: what to develop.
        look: how; that of the frame itself unless given.
        size: "half" makes one pixel of each 2x2 cell, "full" interpolates the missing colours.
        dtype: uint8 or uint16.
    """
    look = look or Look.of(frame)
    pixels = turn(look.render(camera_rgb(frame, size=size, white_balance=look.white_balance), dtype), frame.orientation)
    return Image(np.ascontiguousarray(pixels), exif=frame.exif)


def camera_rgb(
    frame: RawFrame, *, size: Size = "full", white_balance: tuple[float, float, float] | None = None
) -> Float:
    """Linear camera colours (H, W, 3) or (H/2, W/2, 3), black 0 and full 1, not balanced.

    Args:
        frame: a mosaic.
        size: "half" makes one pixel of each 2x2 cell, "full" interpolates the missing colours.
        white_balance: colours are balanced while they are interpolated, which makes gray edges clean.
    """
    mosaic = normalised(frame)
    if size == "half":
        height, width = (side // 2 * 2 for side in mosaic.shape)
        red, gr, gb, blue = split(mosaic[:height, :width], frame.pattern)
        return np.stack([red, (gr + gb) / 2, blue], axis=2)
    if size != "full":
        raise PictureError(f"size '{size}'; expected half or full")
    gains = white_balance or frame.white_balance or (1.0, 1.0, 1.0)
    for (row, col), gain in zip(sites(frame.pattern), (gains[0], gains[1], gains[1], gains[2]), strict=True):
        mosaic[row::2, col::2] *= np.float32(gain)
    rgb = demosaic(mosaic, frame.pattern)
    rgb *= np.array([1 / gain for gain in gains], np.float32)
    return rgb


def normalised(frame: RawFrame) -> Float:
    """The mosaic with black 0 and full 1 in each plane; noise below black stays below 0."""
    mosaic = frame.mosaic.astype(np.float32)
    for (row, col), black in zip(sites(frame.pattern), frame.black, strict=True):
        plane = mosaic[row::2, col::2]
        plane -= np.float32(black)
        plane *= np.float32(1 / (frame.white - black))
    return mosaic


def demosaic(mosaic: Float, pattern: Pattern) -> Float:
    """(H, W) of any size from 2x2 -> (H, W, 3), each site keeping its own count.

    Gradient-corrected linear interpolation with the published gains 1/2, 5/8 and 3/4.
    """
    height, width = mosaic.shape
    around = np.pad(mosaic, 2, mode="reflect")  # about the outermost sample: keeps every colour in its place

    def at(row: int, col: int, down: int, right: int) -> Float:
        """The sites of one plane, looked at from `down` rows and `right` columns away."""
        view: Float = around[2 + row + down : 2 + height + down : 2, 2 + col + right : 2 + width + right : 2]
        return view[: len(range(row, height, 2)), : len(range(col, width, 2))]

    rgb = np.empty((height, width, 3), np.float32)
    for plane, (row, col) in enumerate(sites(pattern)):
        here = at(row, col, 0, 0)
        across = at(row, col, 0, -1) + at(row, col, 0, 1)
        along = at(row, col, -1, 0) + at(row, col, 1, 0)
        far_across = at(row, col, 0, -2) + at(row, col, 0, 2)
        far_along = at(row, col, -2, 0) + at(row, col, 2, 0)
        corners = at(row, col, -1, -1) + at(row, col, -1, 1) + at(row, col, 1, -1) + at(row, col, 1, 1)
        out = rgb[row::2, col::2]
        if plane in (0, 3):  # red and blue: green from the cross, the opposite colour from the corners
            far = far_across + far_along
            out[..., plane and 2] = here
            out[..., 1] = (2 * (across + along) + 4 * here - far) / 8
            out[..., 2 - (plane and 2)] = (2 * corners + 6 * here - 1.5 * far) / 8
        else:  # green: one colour lies beside it, the other above
            beside = (4 * across + 5 * here - corners - far_across + 0.5 * far_along) / 8
            above = (4 * along + 5 * here - corners - far_along + 0.5 * far_across) / 8
            out[..., 1] = here
            out[..., 0], out[..., 2] = (beside, above) if plane == 1 else (above, beside)
    return rgb


def _tone(linear: Float) -> Float:
    """The sRGB curve, IEC 61966-2-1."""
    curve: Float = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    ).astype(np.float32)
    return curve


def _to_srgb(xyz_to_camera: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
    """From balanced camera colours; none where the matrix is of no use."""
    if xyz_to_camera is None:
        return np.eye(3)
    from_srgb = xyz_to_camera @ np.linalg.inv(XYZ_TO_SRGB)
    white = from_srgb.sum(axis=1, keepdims=True)
    if not (np.isfinite(from_srgb).all() and (white > 0).all()):
        return np.eye(3)
    from_srgb = from_srgb / white
    return np.linalg.inv(from_srgb) if np.linalg.cond(from_srgb) < 1e4 else np.eye(3)


def _gray_world(frame: RawFrame) -> tuple[float, float, float]:
    """Factors that make the mean of everything gray, from cells that are neither black nor saturated."""
    rgb = camera_rgb(frame, size="half").reshape(-1, 3)
    usable = rgb[(rgb.mean(axis=1) > _DARKEST) & (rgb.max(axis=1) < _BRIGHTEST)]
    red, green, blue = (float(value) for value in usable.mean(axis=0)) if len(usable) else (1.0, 1.0, 1.0)
    if min(red, green, blue) <= 0:
        return 1.0, 1.0, 1.0
    return green / red, 1.0, green / blue
