"""The networks of the zoo side by side: what each costs at one size, and how far it looks."""

import csv
import io
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from shotnoise.errors import RecipeError, StoreError
from shotnoise.export.cost import cost, create_for
from shotnoise.networks import NETWORKS, Network, create
from shotnoise.networks.field import field_of, halo_of

__all__ = ["NetworkCost", "compare", "parse_shape", "write_csv"]

_LARGEST = 2**40  # pixels; what comes out larger is a slip of the finger


@dataclass(frozen=True)
class NetworkCost:
    """One line of the table. What cannot be counted is None, and the remark says why.

    Attributes:
        name: of the network.
        channels: that it was made for.
        parameters: trainable numbers.
        macs: multiply-accumulates of convolutions and matrix products.
        kmac_per_pixel: thousands of them per pixel of the size that was asked for.
        activations: bytes at the peak, see :class:`~shotnoise.export.cost.Cost`.
        field: side of the square of pixels that one output pixel depends on; None: the whole picture.
        halo: context in pixels that tiles need on each side; None: no tiling is exact.
        multiple: the size multiple.
        remark: what differs from what was asked for.
    """

    name: str
    channels: int
    parameters: int
    macs: int | None = None
    kmac_per_pixel: float | None = None
    activations: int | None = None
    field: int | None = None
    halo: int | None = None
    multiple: int = 1
    remark: str = ""


def parse_shape(text: str) -> tuple[int, int, int, int]:
    """BATCHxCHANNELSxHEIGHTxWIDTH.

    >>> parse_shape("1x4x1736x2312")
    (1, 4, 1736, 2312)
    """
    if not re.fullmatch(r"\d+([xX×*,]\d+){3}", text.strip()):
        raise RecipeError(f"'{text}' is not a shape; expected BATCHxCHANNELSxHEIGHTxWIDTH, as in 1x4x1736x2312")
    batch, channels, height, width = (int(number) for number in re.findall(r"\d+", text))
    for what, number in (("batch", batch), ("channels", channels), ("height", height), ("width", width)):
        if number < 1:
            raise RecipeError(f"'{text}' has {what} {number}; expected at least 1")
    if batch * height * width > _LARGEST:
        raise RecipeError(f"'{text}' has {batch * height * width:.1e} pixels; expected at most {_LARGEST:.1e}")
    return batch, channels, height, width


def compare(
    shape: tuple[int, int, int, int], *, progress: Callable[[int, int, str], None] | None = None
) -> list[NetworkCost]:
    """Every network of the zoo at one size.

    Args:
        shape: batch, channels, height, width. A network gets so many channels where its constructor takes them, and
            is left in its published configuration besides.
        progress: called before each network with (done, total, name).
    """
    rows = []
    for done, name in enumerate(NETWORKS):
        if progress:
            progress(done, len(NETWORKS), name)
        network = create_for(name, shape[1])
        rows.append(_other_channels(name, create(name)) if network is None else _row(name, network, shape))
    return rows


def _row(name: str, network: Network, shape: tuple[int, int, int, int]) -> NetworkCost:
    batch, channels, height, width = shape
    counted = cost(network, height=height, width=width, batch=batch)
    remarks = []
    if (counted.height, counted.width) != (height, width):
        remarks.append(f"counted at {counted.height}x{counted.width}")
    published = create(name).channels
    if published != channels:
        remarks.append(f"published for {published} channel{'s' if published > 1 else ''}")
    return NetworkCost(
        name=name,
        channels=channels,
        parameters=counted.parameters,
        macs=counted.macs,
        kmac_per_pixel=round(counted.macs / (batch * height * width * 1000), 2),
        activations=counted.activations,
        field=field_of(network),
        halo=halo_of(network),
        multiple=network.multiple,
        remark=", ".join(remarks),
    )


def _other_channels(name: str, network: Network) -> NetworkCost:
    return NetworkCost(
        name=name,
        channels=network.channels,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        field=field_of(network),
        halo=halo_of(network),
        multiple=network.multiple,
        remark=f"takes {network.channels} channels and no others",
    )


def write_csv(path: Path, rows: list[NetworkCost]) -> None:
    """One line per network; the whole picture is an empty field. The file appears complete or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(NetworkCost)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot write the table ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)
