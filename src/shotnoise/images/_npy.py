"""NPY: plain numbers, the format to hand a picture from and to numpy without any loss."""

import math
import os
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from shotnoise.errors import PictureError
from shotnoise.images._decoding import Decoded, check_size, decoding
from shotnoise.images.image import Image

__all__ = ["read", "write"]


def read(file: BinaryIO, max_pixels: int) -> Decoded:
    """The array of an NPY file. Nothing in the file is ever unpickled."""
    with decoding("NPY"):
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise PictureError(f"is an NPY file of version {version}, which numpy uses for records, not for pictures")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, columns_first, dtype = read_header(file)
    if dtype.hasobject:
        raise PictureError("holds Python objects, which may run code when they are read; expected plain numbers")
    if any(size < 1 for size in shape):
        raise PictureError(f"holds an array of shape {shape}; expected a picture that is not empty")
    if len(shape) >= 2:
        check_size(shape[1], shape[0], max_pixels)
    promised = math.prod(shape) * dtype.itemsize
    present = os.fstat(file.fileno()).st_size - file.tell()
    if present < promised:
        raise PictureError(f"is cut off: its header promises {promised:,} bytes of pixels, there are {present:,}")
    with decoding("NPY"):
        array = np.fromfile(file, dtype, math.prod(shape))
    return Decoded(array.reshape(shape, order="F" if columns_first else "C"))


def write(image: Image, file: BinaryIO, quality: int) -> tuple[str, ...]:
    """Pixels, and alpha as last channel; `quality` has no meaning here."""
    npy.write_array(file, image.to_array(), allow_pickle=False)
    return ()
