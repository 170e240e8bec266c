"""Mosaics of other phases made RGGB, and turned so that they stay it: alike for a mosaic and the picture made of it.

Cutting takes as much from both ends of an axis, so that what belongs together stays in place: Liu, Wu, Wang et al.,
"Learning Raw Image Denoising with Bayer Pattern Unification and Bayer Preserving Augmentation", CVPR Workshops 2019,
arXiv 1904.12945, as CycleISP uses it.
"""

from typing import Literal

from torch import Tensor

from shotnoise.errors import PictureError
from shotnoise.images.raw.bayer import PATTERNS, Pattern, sites
from shotnoise.isp.blur import reflected

__all__ = ["augment", "unify"]


def unify(picture: Tensor, pattern: Pattern, *, how: Literal["crop", "pad"] = "crop") -> Tensor:
    """A mosaic (..., H, W) of this pattern as one of pattern RGGB, or the picture that belongs to it in the same way.

    Args:
        picture: the last two axes are rows and columns.
        pattern: of the mosaic.
        how: "crop" takes a row (column) off both ends where needed, for training; "pad" adds one to both by reflection,
            so that nothing is lost: cut it off from the result.
    """
    if pattern not in PATTERNS:
        raise PictureError(f"pattern '{pattern}'; expected one of {', '.join(PATTERNS)}")
    rows, columns = sites(pattern)[0]
    if how == "pad":
        return reflected(picture, rows, columns)
    if how != "crop":
        raise PictureError(f"how is '{how}'; expected crop or pad")
    height, width = picture.shape[-2:]
    return picture[..., rows : height - rows, columns : width - columns]


def augment(
    picture: Tensor, pattern: Pattern = "RGGB", *, down: bool = False, right: bool = False, swap: bool = False
) -> Tensor:
    """A mosaic (..., H, W) mirrored, transposed and made RGGB by cropping, or its picture in the same way.

    Args:
        picture: with even sides; the last two axes are rows and columns.
        pattern: of the mosaic before.
        down: mirror the rows.
        right: mirror the columns.
        swap: exchange rows and columns afterwards.
    """
    if any(side % 2 for side in picture.shape[-2:]):
        height, width = picture.shape[-2:]
        raise PictureError(f"a mosaic of {height}x{width}; expected even sides: crop a row or a column")
    if down:
        picture, pattern = picture.flip(-2), _PATTERN[pattern[2:] + pattern[:2]]
    if right:
        picture, pattern = picture.flip(-1), _PATTERN[pattern[1::-1] + pattern[:1:-1]]
    if swap:
        picture, pattern = picture.mT, _PATTERN[pattern[0] + pattern[2] + pattern[1] + pattern[3]]
    return unify(picture, pattern)


_PATTERN: dict[str, Pattern] = {pattern: pattern for pattern in PATTERNS}
