"""DNG files as other programs write them, put together tag by tag: an oracle that shares no code with our writer."""

import numpy as np
import tifffile

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL, DOUBLE = 1, 2, 3, 4, 5, 7, 10, 12
COLOURS = {"R": 0, "G": 1, "B": 2, "C": 3, "M": 4, "Y": 5}


def rationals(*values, over=10000):
    return [number for value in values for number in (round(value * over), over)]


def tags_of(pattern="RGGB", **changed):
    """A complete set of tags: {number: (type, length, value)}."""
    tags = {
        33421: (SHORT, 2, (2, 2)),
        33422: (BYTE, 4, bytes(COLOURS[letter] for letter in pattern)),
        50706: (BYTE, 4, b"\1\4\0\0"),
        50707: (BYTE, 4, b"\1\1\0\0"),
        50708: (ASCII, 9, "Test One\0"),
        50721: (SRATIONAL, 9, rationals(0.9, -0.3, -0.07, -0.45, 1.24, 0.23, -0.09, 0.19, 0.7)),
        50728: (RATIONAL, 3, rationals(0.5, 1, 0.625)),
        50778: (SHORT, 1, 21),
    }
    return tags | {int(number.removeprefix("t")): value for number, value in changed.items()}


def write_dng(path, array, tags, photometric=32803, **options):
    tifffile.imwrite(
        path,
        array,
        photometric=photometric,
        metadata=None,
        software=False,
        extratags=[(number, *value, True) for number, value in sorted(tags.items()) if value is not None],
        **options,
    )
    return path


def patch_short(path, tag, value):
    """Change a value of one 16-bit tag where it stands: for what tifffile refuses to write."""
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.tags[tag].valueoffset
    data = bytearray(path.read_bytes())
    data[offset : offset + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)


def coloured(pattern, height, width, levels=(1000, 2000, 3000, 4000)):
    """A mosaic whose planes R, Gr, Gb, B are constants, found letter by letter."""
    mosaic = np.empty((height, width), np.uint16)
    row_of_red = pattern.index("R") // 2
    for y in range(height):
        for x in range(width):
            letter = pattern[2 * (y % 2) + x % 2]
            green = 1 if y % 2 == row_of_red else 2
            mosaic[y, x] = levels[{"R": 0, "G": green, "B": 3}[letter]]
    return mosaic
