"""Text printed over the picture: noise whose neighbours are anything but independent."""

import functools
import string

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from shotnoise.noise.model import NoiseModel, Range, check_range, draw_uniform

__all__ = ["Text"]

_LETTERS = string.ascii_letters + string.digits
_LONGEST = 12  # letters of a string
_SIZES = (10, 40)  # of the font, in pixels
_MOST = 0.95  # beyond it nearly every further string falls on earlier ones, and drawing takes forever


class Text(NoiseModel):
    """Random strings at random places, in random sizes and colours, in one font and upright, without soft edges.

    Strings that leave the picture come in again on the other side, and the last one is kept or dropped by a draw of
    its own. So every pixel is covered with exactly the asked probability p, and its colour is uniform in the unit
    cube. The mean is (1 - p) x + p / 2, not x, but below p = 1/2 the median stays x: an L1 loss is the one for
    targets with this noise. Drawing happens on the CPU. The font is the one inside Pillow, whose versions may shape a
    letter differently.

    Args:
        coverage: the probability p, at most 0.95, or a range [low, high] from which each sample draws its own.
            Noise2Noise trains with [0, 0.5] and tests with about 0.25.
    """

    def __init__(self, *, coverage: Range) -> None:
        self.bounds = check_range("coverage", coverage, limit=_MOST)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:  # noqa: D102
        return draw_uniform(self.bounds, count, generator)

    def sample(self, clean: Tensor, generator: torch.Generator, strength: Tensor | None = None) -> Tensor:  # noqa: D102
        coverage = self.draw(len(clean), generator) if strength is None else strength
        seeds = torch.randint(2**62, (len(clean),), generator=generator, device=generator.device)
        noisy = clean.clone()
        for picture, share, seed in zip(noisy, coverage.flatten().tolist(), seeds.tolist(), strict=True):
            covered, paint = _print_strings(tuple(picture.shape), share, torch.Generator().manual_seed(seed))
            picture.copy_(torch.where(covered.to(clean.device), paint.to(clean), picture))
        return noisy

    def variance(self, clean: Tensor) -> Tensor:
        """E[p] (1/12 + (x - 1/2)^2): a uniform colour is that far from x on average."""
        return sum(self.bounds) / 2 * ((clean - 0.5).square() + 1 / 12)


def _print_strings(shape: tuple[int, ...], coverage: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which pixels of a (C, H, W) picture are covered, (H, W), and their colours, (C, H, W)."""

    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=generator))

    channels, height, width = shape
    covered = torch.zeros(height * width, dtype=torch.bool)
    paint = torch.zeros(channels, height * width)
    done, goal = 0, coverage * height * width  # in pixels
    while done < goal:
        letters = torch.randint(len(_LETTERS), (1 + below(_LONGEST),), generator=generator).tolist()
        size = _SIZES[0] + below(_SIZES[1] - _SIZES[0] + 1)
        rows, columns = _ink("".join(_LETTERS[letter] for letter in letters), size)
        rows, columns = (rows + below(height)) % height, (columns + below(width)) % width
        pixels = torch.unique(rows * width + columns)
        fresh = int((~covered[pixels]).sum())
        colour = torch.rand(channels, 1, generator=generator)
        # Always keeping the string that passes the goal would cover too much, dropping it too little.
        lottery = float(torch.rand((), generator=generator))
        if done + fresh > goal and lottery >= (goal - done) / fresh:
            break
        covered[pixels] = True
        paint[:, pixels] = colour
        done += fresh
    return covered.view(height, width), paint.view(shape)


def _ink(text: str, size: int) -> tuple[Tensor, Tensor]:
    """Rows and columns that a string blackens, from its top left corner."""
    font = _font(size)
    left, top, right, bottom = (round(side) for side in font.getbbox(text, mode="1"))
    page = Image.new("1", (right - left, bottom - top))
    ImageDraw.Draw(page).text((-left, -top), text, fill=1, font=font)
    rows, columns = np.nonzero(np.asarray(page))
    return torch.from_numpy(rows), torch.from_numpy(columns)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
