"""Noise tables that others have published, as profiles by name.

They serve as test material, as noise for training without a camera of one's own, and as a first guess for these
cameras; another copy of a camera differs by some per cent. Sources:

- Y. Wang et al., "Practical Deep Raw Image Denoising on Mobile Devices", ECCV 2020, arXiv 2010.06935, and its code
  (MegEngine/PMRID): laws of the OPPO Reno 10x. What the code calls sigma is a variance.
- Tables of the IMX385 of the CRVD video set (H. Yue et al., CVPR 2020), as in SonyResearch/raw_image_denoising.
- Y. Zhang et al., "Rethinking Noise Synthesis and Modeling in Raw Denoising", ICCV 2021, arXiv 2110.04756, and its
  code (zhangyi-3/Noise-Synthesis): phones of the SIDD set in normalised units, two cameras in 14-bit counts.
"""

import os
from pathlib import Path
from typing import NamedTuple

from shotnoise.errors import ProfileError, nearest
from shotnoise.sensor.foreign import profile_from_polynomials
from shotnoise.sensor.profile import Camera, Entry, NoiseProfile, Provenance

__all__ = ["PUBLISHED", "open_profile", "published_profile"]

_READ_AMBIGUOUS = (
    "the published code passes the read noise of this phone as a standard deviation, but its size is that of a "
    "variance; it is taken as a variance"
)
_LEVELS_ASSUMED = "the source does not state black and white; those of 14-bit files of this camera are assumed"


class _Points(NamedTuple):
    """Rows of ISO, k and read noise."""

    camera: Camera
    rows: tuple[tuple[float, float, float], ...]
    method: str
    black: float = 0.0
    white: float = 1.0
    bits: int | None = None
    read_is_std: bool = False
    warnings: tuple[str, ...] = ()


_PMRID = {
    "camera": Camera(make="OPPO", model="Reno 10x"),
    "pattern": "BGGR",
    "black": (64.0, 64.0, 64.0, 64.0),
    "white": 1023.0,
    "bits": 10,
    "provenance": Provenance(method="laws of the PMRID paper and code, arXiv 2010.06935"),
}
_PMRID_K = (0.0005995267, 0.00868861)
_PMRID_S2 = (7.11772e-7, 6.514934e-4, 0.11492713)

_SYNTHESIS = "table in the code of Noise-Synthesis, arXiv 2110.04756"
_TABLES = {
    "imx385": _Points(
        Camera(sensor="IMX385"),
        (
            (1600, 3.513262, 11.917691),
            (3200, 6.955588, 38.117816),
            (6400, 13.486051, 130.818508),
            (12800, 26.585953, 484.539790),
            (25600, 52.032536, 1819.818657),
        ),
        "table of the CRVD video set",
        black=240,
        white=4095,
        bits=12,
    ),
    "iphone-7": _Points(
        Camera(make="Apple", model="iPhone 7"),
        (
            (100, 0.00093595, 4.698e-7),
            (200, 0.00104404, 6.904e-7),
            (400, 0.00116461, 6.739e-7),
            (800, 0.00129911, 6.777e-7),
            (1600, 0.00144915, 6.782e-7),
            (2000, 0.00150104, 6.783e-7),
        ),
        _SYNTHESIS,
        warnings=(_READ_AMBIGUOUS,),
    ),
    "galaxy-s6": _Points(
        Camera(make="Samsung", model="Galaxy S6 edge"),
        (
            (100, 0.00162521, 1.179e-6),
            (200, 0.00256175, 1.608e-6),
            (400, 0.00403799, 2.987e-6),
            (800, 0.00636492, 5.192e-6),
            (1600, 0.01003277, 1.0011e-5),
            (3200, 0.01581424, 2.0653e-5),
        ),
        _SYNTHESIS,
        warnings=(_READ_AMBIGUOUS,),
    ),
    "pixel": _Points(
        Camera(make="Google", model="Pixel"),
        (
            (100, 0.00024718, 1.682e-6),
            (200, 0.00048489, 2.056e-6),
            (400, 0.00095121, 2.703e-6),
            (800, 0.001866, 4.116e-6),
            (1600, 0.00366055, 7.569e-6),
            (3200, 0.00718092, 1.5199e-5),
            (6400, 0.01408686, 5.3314e-5),
        ),
        _SYNTHESIS,
        warnings=(_READ_AMBIGUOUS,),
    ),
    "sony-a7s2": _Points(
        Camera(make="Sony", model="ILCE-7SM2"),
        ((800, 1.002888, 4.0530), (1600, 1.804521, 6.6922), (3200, 3.246920, 4.2831)),
        _SYNTHESIS,
        black=512,
        white=16383,
        bits=14,
        read_is_std=True,
        warnings=(_LEVELS_ASSUMED,),
    ),
    "nikon-d850": _Points(
        Camera(make="Nikon", model="D850"),
        ((800, 3.355989, 4.4960), (1600, 6.688200, 8.3604), (3200, 13.329013, 15.6842)),
        _SYNTHESIS,
        black=512,
        white=16383,
        bits=14,
        read_is_std=True,
        warnings=(_LEVELS_ASSUMED,),
    ),
}

PUBLISHED = tuple(sorted((*_TABLES, "oppo-reno-10x")))
"""Names that :func:`published_profile` knows."""


def published_profile(name: str) -> NoiseProfile:
    """A published noise table.

    >>> law = published_profile("oppo-reno-10x").at(1600)
    >>> f"{law.k[0] * 959:.5f}"
    '0.96793'
    """
    if name == "oppo-reno-10x":
        full_scale = 1023.0 - 64.0
        return profile_from_polynomials(_PMRID_K, _PMRID_S2, full_scale=full_scale, iso_range=(100, 6400), **_PMRID)
    if name not in _TABLES:
        raise ProfileError(f"no published noise profile '{name}': {nearest(name, PUBLISHED)}")
    table = _TABLES[name]
    scale = table.white - table.black
    return NoiseProfile(
        camera=table.camera,
        black=None if table.bits is None else (table.black,) * 4,
        white=None if table.bits is None else table.white,
        bits=table.bits,
        entries=tuple(
            Entry(iso=iso, k=k / scale, s2=(read**2 if table.read_is_std else read) / scale**2)
            for iso, k, read in table.rows
        ),
        provenance=Provenance(method=table.method),
        warnings=table.warnings,
    )


def open_profile(name: str | os.PathLike[str]) -> NoiseProfile:
    """A profile file, or a published one by name."""
    if not Path(name).exists() and Path(name).suffix == "" and not os.path.dirname(name):
        try:
            return published_profile(str(name))
        except ProfileError as error:
            raise ProfileError(f"{name}: no such profile file, and {error}") from None
    return NoiseProfile.load(name)
