"""The same network written so that rounding costs less: its features in other units, or in another basis.

A tensor that is rounded has 256 steps for all of its channels. One channel that carries the brightness of the picture
takes them all, and the details in the others fall between two steps. But in which units features are kept is free:

- between convolutions and a ReLU, each channel may be multiplied by a positive factor; who reads it divides;
- a trunk, tensors that are only added and read by convolutions, may be multiplied by any invertible matrix T.

Whoever writes multiplies its weights by T, whoever reads by the inverse; the graph keeps its nodes, and its result but
for the last digits of float32.

T makes the steps of all channels do equal harm. With C = mean of x x' of what is rounded, and S = sum of w'w over the
convolutions that read it, T'T is the geometric mean of the inverse of C and S: no other matrix has less
trace(S (T'T)^-1) trace(C T'T). Then the strongest direction, the brightness, is spread over all channels alike, by the
transform of Hartley, so that the steps of all of them measure it together. Factors are one over the root of the largest
value, which leaves half of the spread of sizes to the values, and half to the weights that read them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import require

__all__ = ["Space", "equalised", "rewritten", "spaces"]

Array = npt.NDArray[np.float64]

_LINEAR = ("Add", "AveragePool", "Identity", "Sub")  # of a trunk
_POSITIVE = ("LeakyRelu", "MaxPool", "Relu")  # f(a x) = a f(x) where a > 0
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LEAST = 1e-5  # share of the largest eigenvalue, or of the largest value squared, that smaller ones count as


@dataclass(frozen=True, slots=True)
class Space:
    """Tensors that have to be written alike, as they are added to each other or made of each other.

    Attributes:
        tensors: their names, in the order of the graph.
        channels: of each.
        mixed: whether channels may be mixed; if not, each has a positive factor.
    """

    tensors: tuple[str, ...]
    channels: int
    mixed: bool


def spaces(model: Any) -> list[Space]:
    """What may be written otherwise: nobody but convolutions with constant weights writes or reads it."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = Counter(name for node in graph.node for name in node.input)
    fixed = {value.name for values in (graph.input, graph.output) for value in values} | {*constants}
    group: dict[str, set[str]] = {}
    sizes: dict[str, set[int]] = {}
    bent: set[str] = set()
    for node in graph.node:
        touched = [*node.input, *node.output]
        if _can_take(node, constants) and all(used[name] == 1 for name in node.input[1:] if name):
            one, other = constants[node.input[1]].dims[:2]
            into, out = (other, one) if node.op_type == "Conv" else (one, other)
            sizes.setdefault(node.input[0], set()).add(into)
            sizes.setdefault(node.output[0], set()).add(out)
            group.setdefault(node.output[0], {node.output[0]})
        elif node.op_type in (*_LINEAR, *_POSITIVE):
            together = {member for tensor in touched for member in group.get(tensor, {tensor})}
            group.update(dict.fromkeys(together, together))
            if node.op_type in _POSITIVE:
                bent.update(touched)
        else:
            fixed.update(touched)
    order = {tensor: place for place, node in enumerate(graph.node) for tensor in node.output}
    found = []
    for tensors in {frozenset(members) for members in group.values()}:
        channels = {size for tensor in tensors for size in sizes.get(tensor, ())}
        if tensors & fixed or len(channels) != 1:
            continue
        names = tuple(sorted(tensors, key=order.__getitem__))
        found.append(Space(names, channels.pop(), mixed=not tensors & bent))
    return sorted(found, key=lambda space: order[space.tensors[0]])


def rewritten(model: Any, matrices: Mapping[Space, Array]) -> Any:
    """A copy of the model whose features are multiplied by matrices, and which gives the same.

    Args:
        model: in float32.
        matrices: (channels, channels), invertible; diagonal and positive where channels may not be mixed.
    """
    onnx = require("onnx", "export", "writing ONNX")
    made = onnx.ModelProto()
    made.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in made.graph.initializer}
    forward = {tensor: matrix for space, matrix in matrices.items() for tensor in space.tensors}
    inverse = {tensor: np.asarray(np.linalg.inv(matrix), np.float64) for tensor, matrix in forward.items()}

    def change(name: str, axis: int, matrix: Array) -> None:
        values = np.moveaxis(onnx.numpy_helper.to_array(constants[name]), axis, 0)
        changed = np.moveaxis(np.tensordot(matrix, values, 1), 0, axis).astype(np.float32)
        constants[name].CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(changed), name))

    for node in made.graph.node:
        if node.op_type not in _CONVOLUTIONS:
            continue
        source, result = node.input[0], node.output[0]
        writes, reads = (0, 1) if node.op_type == "Conv" else (1, 0)
        if source in inverse:
            change(node.input[1], reads, inverse[source].T)
        if result in forward:
            change(node.input[1], writes, forward[result])
            if len(node.input) > 2 and node.input[2]:
                change(node.input[2], 0, forward[result])
    return made


def equalised(model: Any, inputs: Sequence[Mapping[str, npt.NDArray[np.float32]]], *, mixed: bool) -> Any:
    """The model with its features in other units.

    Args:
        model: in float32.
        inputs: pictures for it.
        mixed: trunks in another basis; else each of their channels has a factor, too.
    """
    onnx = require("onnx", "export", "writing ONNX")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kernels: dict[str, list[Array]] = {}  # of the convolutions that can be int8, by what they read
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1] in constants:
            kernels.setdefault(node.input[0], []).append(onnx.numpy_helper.to_array(constants[node.input[1]]))
    for trunks in (True, False):  # a ReLU has the last word, on what comes from the trunk as it is then
        matrices = {}
        found = [space for space in spaces(model) if space.mixed == trunks]
        read = {space: [name for name in space.tensors if name in kernels] for space in found}
        watched = _watched(model, [name for names in read.values() for name in names], inputs)
        for space, names in read.items():
            values = [watched[name] for name in names]
            largest = np.max([peak for _, peak in values], axis=0, initial=0.0)
            if not largest.max(initial=0.0) > 0:
                continue  # read by nobody, or always zero
            if mixed and trunks:
                moments = [moment for moment, _ in values]
                gains = [_gain(kernel) for name in names for kernel in kernels[name]]
                matrices[space] = _basis(_mean(moments), _mean(gains))
            else:
                matrices[space] = np.diag(np.maximum(largest / largest.max(), _LEAST**0.5) ** -0.5)
        model = rewritten(model, matrices)
    return model


def _basis(moments: Array, gains: Array) -> Array:
    root, back = _power(moments, 0.5), _power(moments, -0.5)
    half = _power(back @ _power(root @ gains @ root, 0.5) @ back, 0.5)
    _, directions = np.linalg.eigh(half @ moments @ half)
    turns = 2 * np.pi * np.outer(np.arange(len(half)), np.arange(len(half))) / len(half)
    spread = (np.cos(turns) + np.sin(turns)) / np.sqrt(len(half))
    directions *= np.where(directions.sum(0) < 0, -1, 1)  # which is free, so that every run writes the same file
    matrix: Array = spread @ directions[:, ::-1].T @ half  # the strongest direction meets the constant row
    return matrix / np.linalg.norm(matrix, 2)


def _power(matrix: Array, exponent: float) -> Array:
    """Of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    raised: Array = (vectors * np.maximum(values, values.max() * _LEAST) ** exponent) @ vectors.T
    return raised


def _gain(kernel: Array) -> Array:
    """What white noise of the channels that a convolution reads does to what it writes."""
    rows = np.moveaxis(kernel, 1, -1).reshape(-1, kernel.shape[1]).astype(np.float64)
    product: Array = rows.T @ rows
    return product


def _mean(matrices: Sequence[Array]) -> Array:
    """Of matrices of unlike sizes, each of which counts as much."""
    mean: Array = np.mean([matrix / max(float(np.trace(matrix)), 1e-30) for matrix in matrices], axis=0)
    return mean


def _watched(
    model: Any, names: Iterable[str], inputs: Sequence[Mapping[str, npt.NDArray[np.float32]]]
) -> dict[str, tuple[Array, Array]]:
    """Of some tensors the mean of x x', (channels, channels), and the largest value of each channel."""
    onnx = require("onnx", "export", "writing ONNX")
    from shotnoise.export.source import session

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    asked = list(dict.fromkeys(names))
    if not asked:
        return {}
    copy.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in asked)
    opened = session(copy.SerializeToString())
    found: dict[str, tuple[Array, Array]] = {}
    for one in inputs:
        for name, values in zip(asked, opened.run(asked, dict(one)), strict=True):
            rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
            moments, largest = rows @ rows.T / rows.shape[1], np.abs(rows).max(1)
            if name in found:
                moments, largest = found[name][0] + moments, np.maximum(found[name][1], largest)
            found[name] = np.asarray(moments, np.float64), np.asarray(largest, np.float64)
    return found


def _can_take(node: Any, constants: Mapping[str, Any]) -> bool:
    """Whether a matrix can be multiplied into it."""
    return (
        node.op_type in _CONVOLUTIONS
        and all(not name or name in constants for name in node.input[1:])
        and all(attribute.i == 1 for attribute in node.attribute if attribute.name == "group")
    )
