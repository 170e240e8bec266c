"""How far the networks of the zoo look, and what tiling needs of it.

Measuring takes from milliseconds to minutes; the result depends on how deep a network is and how it is connected, not
on how wide it is. What was measured once for the published depths is kept here, and the tests measure it again on
narrow networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shotnoise.networks.network import Network
from shotnoise.networks.reach import measure_field, measure_reach

__all__ = ["KNOWN", "Known", "field_of", "halo_of"]


@dataclass(frozen=True)
class Known:
    """What was measured.

    Attributes:
        shape: the arguments that it depends on.
        halo: of :func:`measure_reach`.
        field: of :func:`measure_field`.
    """

    shape: Mapping[str, Any]
    halo: int
    field: int


# By the names of the classes.
KNOWN = {
    "DRUNet": Known({"nb": 4, "downsample_mode": "strideconv", "upsample_mode": "convtranspose"}, 185, 370),
    "InvDN": Known({"block_num": [8, 8], "scale": 4, "subnet": "residual"}, 567, 1132),
    "Neighbor2NeighborUNet": Known({"blindspot": False}, 157, 248),
    "Noise2NoiseUNet": Known({}, 158, 248),
    "PMRID": Known({"blocks": [2, 2, 4, 4]}, 495, 951),
    "RawUNet": Known({}, 125, 250),
    "SCUNet": Known({"config": [4, 4, 4, 4, 4, 4, 4], "window_size": 8}, 309, 610),
    "UnprocessingDenoiser": Known({}, 157, 291),
}


def _known(network: Network) -> Known | None:
    """The entry for a network, if it has one of the published shapes."""
    entry = KNOWN.get(type(network).__name__)
    if entry is None:
        return None
    arguments = type(network).arguments_from(network.state_dict()) or {}
    return entry if all(arguments.get(key) == value for key, value in entry.shape.items()) else None


def halo_of(network: Network) -> int | None:
    """Pixels of context that a tile needs on each side for an exact result; None where no tiling is exact."""
    entry = _known(network)
    return measure_reach(network) if entry is None else entry.halo


def field_of(network: Network) -> int | None:
    """Side of the square of input pixels that one output pixel can depend on; None for the whole picture."""
    entry = _known(network)
    return measure_field(network) if entry is None else entry.field
