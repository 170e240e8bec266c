"""Networks in MATLAB files of MatConvNet, as the authors of DnCNN and FFDNet publish them.

`net.layers` is a cell array of structures. Those of type `conv` hold weights (height, width, in, out) and biases; what
else matters is `bnorm`, which becomes part of the convolution before it, and `SubP`, which tells FFDNet. The result is
the flat sequence `model.{i}` that :mod:`shotnoise.networks.dncnn` describes.

Only version 7.3 is read, which is HDF5: it lists the axes in reverse and drops a last one of size 1.
"""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shotnoise.errors import ModelError, require

__all__ = ["read_matconvnet"]

_EXPANSION, _SMALL = 100, 2**24  # how many times larger than the file its content may be, if it is not small

Values = npt.NDArray[np.float32]


@dataclass
class _Conv:
    weight: Values  # (out, in, height, width)
    bias: Values


def read_matconvnet(stream: BinaryIO, name: str) -> dict[str, Tensor]:
    """The convolutions of a MatConvNet file as a state dict.

    Args:
        stream: the open file.
        name: of the file, for messages.
    """
    h5py: Any = require("h5py", "train", "reading a MATLAB checkpoint")
    size = stream.seek(0, 2)
    stream.seek(0)
    try:
        with h5py.File(stream, "r") as file:
            return _state(_Reader(h5py, file, size, name))
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{name}: not a usable MATLAB file ({what}); expected the net.layers of MatConvNet") from None


class _Reader:
    """Arrays and cells of one file, none larger than the file can account for."""

    def __init__(self, h5py: Any, file: Any, size: int, name: str) -> None:
        self.h5py, self.file, self.name = h5py, file, name
        self.limit = max(_SMALL, _EXPANSION * size)

    def layers(self) -> list[Any]:
        if "net" not in self.file or "layers" not in self.file["net"]:
            raise ModelError(f"{self.name}: a MATLAB file without net.layers; expected a network of MatConvNet")
        return [layer for layer in self.cell(self.file["net"]["layers"]) if isinstance(layer, self.h5py.Group)]

    def cell(self, dataset: Any) -> list[Any]:
        if dataset.dtype != self.h5py.ref_dtype:
            return [dataset]  # a cell array of one is sometimes saved without the cell
        return [self.file[reference] for reference in self._array(dataset).ravel()]

    def kind(self, layer: Any) -> str:
        return "".join(chr(letter) for letter in self._array(layer["type"]).ravel())

    def numbers(self, dataset: Any) -> Values:
        """In the axes of MATLAB; empty where it says so."""
        if dataset.attrs.get("MATLAB_empty", 0):
            return np.zeros(0, np.float32)
        return self._array(dataset).astype(np.float32).T

    def _array(self, dataset: Any) -> npt.NDArray[Any]:
        if dataset.external or dataset.is_virtual:
            raise ModelError(f"{self.name}: refused, it points at other files")
        if dataset.nbytes > self.limit:
            raise ModelError(f"{self.name}: refused, an array of {dataset.nbytes / 1e9:.1f} GB in a small file")
        values: npt.NDArray[Any] = dataset[()]
        return values


def _state(reader: _Reader) -> dict[str, Tensor]:
    convs: list[_Conv] = []
    halved = False
    for layer in reader.layers():
        kind = reader.kind(layer)
        halved |= kind.lower() == "subp"
        if kind not in ("conv", "bnorm"):
            continue
        weights = [reader.numbers(part) for part in reader.cell(layer["weights"])]
        if kind == "conv":
            convs.append(_conv(weights, reader.name))
        elif convs:
            _merge(convs[-1], weights)
    if not convs:
        raise ModelError(f"{reader.name}: its net.layers have no convolutions; expected a network of MatConvNet")
    if halved:
        _reorder(convs[0], convs[-1])
    state = {}
    for number, conv in enumerate(convs):
        state[f"model.{2 * number}.weight"] = torch.tensor(conv.weight)
        state[f"model.{2 * number}.bias"] = torch.tensor(conv.bias)
    return state


def _conv(weights: list[Values], name: str) -> _Conv:
    filters = weights[0]
    if not 2 <= filters.ndim <= 4:
        raise ModelError(f"{name}: a convolution with {filters.ndim} axes; expected height, width, in, out")
    filters = filters.reshape(*filters.shape, *(1,) * (4 - filters.ndim))  # (height, width, in, out)
    count = filters.shape[3]
    bias = weights[1].ravel() if len(weights) > 1 and weights[1].size else np.zeros(count, np.float32)
    if bias.size != count:
        raise ModelError(f"{name}: a convolution of {count} filters with {bias.size} biases")
    return _Conv(np.ascontiguousarray(filters.transpose(3, 2, 0, 1)), bias.copy())


def _merge(conv: _Conv, weights: list[Values]) -> None:
    """Batch norm into the convolution before it; the deviation in the file has its epsilon under the root already."""
    gain, shift = weights[0].ravel(), weights[1].ravel()
    mean, deviation = weights[2].reshape(len(gain), 2).T
    conv.weight *= (gain / deviation)[:, None, None, None]
    conv.bias = (conv.bias - mean) * gain / deviation + shift


def _reorder(first: _Conv, last: _Conv) -> None:
    """Of the four pixels that share a channel MATLAB counts down the column first, torch along the row."""

    def order(count: int) -> list[int]:
        return [4 * group + phase for group in range(count // 4) for phase in (0, 2, 1, 3)]

    inputs = first.weight.shape[1]
    kept = order(inputs)
    first.weight = first.weight[:, [*kept, *range(len(kept), inputs)]]  # the noise level comes last
    outputs = order(last.weight.shape[0])
    last.weight, last.bias = last.weight[outputs], last.bias[outputs]
