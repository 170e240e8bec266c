"""Between three colours per pixel and one: packed planes R, Gr, Gb, B of an RGGB mosaic, and back.

Colours are filled in in one of two ways. "bilinear" is that of early TensorFlow, with which T. Brooks et al. (arXiv
1811.11127) render; planes are turned so that every sample lands on its own site. "gradient" corrects that by the
Laplacian of the colour that is known at the site, and loses 3 to 6 dB less of a photograph: H. S. Malvar, L. He and
R. Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color images", ICASSP 2004.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from shotnoise.errors import PictureError
from shotnoise.isp.blur import reflected

__all__ = ["Filling", "check_rgb", "demosaic", "doubled", "mosaic"]

Filling = Literal["bilinear", "gradient"]

# Of the channels colour x (row, column): red at (0, 0), green at (0, 1) and (1, 0), blue at (1, 1).
_SAMPLED = [0, 5, 6, 11]

# Eighths of the neighbours at each site: green from the cross around; a colour that lies beside a green site, and one
# that lies above it; red at blue and the reverse, from the corners; what is there.
_CROSS = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
_BESIDE = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
_ABOVE = [list(column) for column in zip(*_BESIDE, strict=True)]
_CORNERS = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
_OWN = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 8, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
_WEIGHTS = torch.tensor([_CROSS, _BESIDE, _ABOVE, _CORNERS, _OWN])[:, None] / 8
# Which of them, x (row, column), makes red at its four sites, then green, then blue.
_TAKEN = [16, 5, 10, 15, 0, 17, 18, 3, 12, 9, 6, 19]


def check_rgb(rgb: Tensor) -> None:
    """Refuse what has no whole number of cells."""
    if rgb.ndim != 4 or rgb.shape[1] != 3 or rgb.shape[2] % 2 or rgb.shape[3] % 2:
        size = "x".join(str(side) for side in rgb.shape)
        raise PictureError(f"a tensor of {size}; expected RGB (B, 3, H, W) with even sides: crop a row or a column")


def mosaic(rgb: Tensor) -> Tensor:
    """(B, 3, 2h, 2w) -> (B, 4, h, w): what an RGGB sensor keeps."""
    return F.pixel_unshuffle(rgb, 2)[:, _SAMPLED]


def doubled(x: Tensor, axis: int) -> Tensor:
    """Twice as many samples along an axis: after each old one the mean with the next, after the last itself."""
    count = x.shape[axis]
    following = torch.cat((x.narrow(axis, 1, count - 1), x.narrow(axis, count - 1, 1)), dim=axis)
    return torch.stack((x, (x + following) / 2), dim=axis + 1).flatten(axis, axis + 1)


def demosaic(planes: Tensor, filling: Filling = "bilinear") -> Tensor:
    """(B, 4, h, w) -> (B, 3, 2h, 2w), each site keeping its own sample.

    Args:
        planes: R, Gr, Gb, B, balanced, so that gray edges stay gray.
        filling: "bilinear", where green at the sites of red and blue is the mean of what the two greens say there, or
            "gradient", which can pass the ends of the range at edges.
    """
    if filling not in get_args(Filling):
        raise PictureError(f"filling '{filling}'; expected {' or '.join(get_args(Filling))}")
    if filling == "gradient":
        seen = F.conv2d(reflected(F.pixel_shuffle(planes, 2), 2, 2), _WEIGHTS.to(planes))
        return F.pixel_shuffle(F.pixel_unshuffle(seen, 2)[:, _TAKEN], 2)  # (B, 5, 2h, 2w) -> (B, 20, h, w) -> ...
    red, upper, lower, blue = (
        _filled(planes[:, plane], row=plane // 2, column=plane % 2) for plane in range(4)
    )  # (B, 2h, 2w)
    row = torch.arange(red.shape[1], device=planes.device)[:, None] % 2
    column = torch.arange(red.shape[2], device=planes.device) % 2
    own = torch.where(row == 0, upper, lower)
    green = torch.where(row == column, (upper + lower) / 2, own)
    return torch.stack((red, green, blue), dim=1)


def _filled(plane: Tensor, *, row: int, column: int) -> Tensor:
    """(B, h, w) whose samples lie at (row, column) of each cell -> (B, 2h, 2w)."""
    turned = [axis for axis, odd in ((1, row), (2, column)) if odd]
    return doubled(doubled(plane.flip(turned), 1), 2).flip(turned)
