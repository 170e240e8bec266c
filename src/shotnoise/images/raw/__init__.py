"""RAW: what the sensor counted, before anything made a picture of it."""

from shotnoise.images.raw.dng import save_dng, save_linear_dng
from shotnoise.images.raw.frame import RawFrame
from shotnoise.images.raw.headerless import HeaderlessLayout, save_headerless
from shotnoise.images.raw.kinds import RAW_EXTENSIONS, is_raw
from shotnoise.images.raw.reader import open_raw

__all__ = [
    "RAW_EXTENSIONS",
    "HeaderlessLayout",
    "RawFrame",
    "is_raw",
    "open_raw",
    "save_dng",
    "save_headerless",
    "save_linear_dng",
]
