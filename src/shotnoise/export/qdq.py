"""Where an int8 graph rounds: what goes into chosen convolutions, and their weights; nothing else.

ONNX writes int8 as pairs of QuantizeLinear and DequantizeLinear around float operators, which engines melt into int8
kernels. Tools put a pair on a tensor, so that everybody who reads it gets the rounded values, the skips and the sums of
a residual network among them; there each rounding stays in the picture. Here the pair belongs to the convolution that
reads it, and sums read the float.

onnxruntime makes an int8 kernel only of a convolution whose output is rounded, too. Where the next reader is another
int8 convolution, its pair is that; elsewhere the output gets one of its own.

Weights have 7 bits: processors without instructions for int8 sums add two products in 16 bits, which 8 bits overflow.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise.errors import ModelError, require

__all__ = [
    "Convolution",
    "Range",
    "convolutions",
    "place",
    "place_outputs",
    "rounded_weights",
    "shifts_of",
    "sort",
    "without_signs",
]

Array = npt.NDArray[np.float32]
Range = tuple[float, float]

_STEPS = 255  # of an activation, uint8
_LARGEST = 63  # of a weight, int8 with 7 bits
_SHRUNK = np.linspace(0.6, 1.0, 21)  # shares of the largest weight that are tried as the largest of int8
_ACTIVATIONS = ("Relu",)  # that engines melt into a convolution whose output is rounded


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with constant weights.

    Attributes:
        name: of its node.
        label: for people: the name of the weights.
        source: the tensor that it reads.
        weights: the name of its weights.
        bias: the name of its bias; empty if it has none.
        result: the tensor that leaves it, behind the activation that engines melt into it.
        own: the tensor that the node itself writes.
        products: multiplications for each value of its output.
        values: channels of its output.
    """

    name: str
    label: str
    source: str
    weights: str
    bias: str
    result: str
    own: str
    products: int
    values: int


def convolutions(model: Any) -> list[Convolution]:
    """All that can be int8, in the order of the graph. Names nodes that have no name of their own."""
    _name_nodes(model)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = _readers(graph)
    outputs = {value.name for value in graph.output}
    found = []
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1] not in constants:
            continue
        own = node.output[0]
        after = readers.get(own, [])
        melted = len(after) == 1 and own not in outputs and after[0].op_type in _ACTIVATIONS
        result = after[0].output[0] if melted else own
        sizes = list(constants[node.input[1]].dims)
        label = node.input[1].removeprefix("network.").removesuffix(".weight")
        bias = node.input[2] if len(node.input) > 2 and node.input[2] in constants else ""
        products = int(np.prod(sizes[1:]))
        found.append(Convolution(node.name, label, node.input[0], node.input[1], bias, result, own, products, sizes[0]))
    return found


def place(
    model: Any, chosen: Collection[str], ranges: Mapping[str, Range], shifts: Mapping[str, Array] | None = None
) -> Any:
    """A copy of the model with int8 convolutions.

    Args:
        model: in float32.
        chosen: names of the nodes.
        ranges: smallest and largest value of the tensors that they read, and of those that leave them.
        shifts: what is added to the bias of a convolution.
    """
    onnx = require("onnx", "export", "writing ONNX")
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    pairs: dict[str, list[Any]] = {}  # by the tensor they read
    weights = []
    layers = convolutions(made)
    for layer in layers:
        if layer.name not in chosen:
            continue
        node = next(node for node in graph.node if node.name == layer.name)
        if layer.source not in pairs:
            pairs[layer.source] = _pair(onnx, graph, layer.source, ranges[layer.source], "input")
        node.input[0] = pairs[layer.source][1].output[0]
        values, scales = rounded_weights(onnx.numpy_helper.to_array(constants[layer.weights]))
        stem = f"{layer.weights}.int8.{layer.name}"  # weights may be shared
        tensors = {stem: values, f"{stem}.scale": scales, f"{stem}.zero": np.zeros(len(scales), np.int8)}
        graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in tensors.items())
        weights.append(onnx.helper.make_node("DequantizeLinear", [*tensors], [f"{stem}.float"], name=stem, axis=0))
        node.input[1] = f"{stem}.float"
        if shifts is not None and layer.name in shifts:
            bias = shifts[layer.name]
            if layer.bias:
                bias = bias + onnx.numpy_helper.to_array(constants[layer.bias])
            del node.input[2:]
            node.input.append(f"{stem}.bias")
            graph.initializer.append(onnx.numpy_helper.from_array(bias.astype(np.float32), f"{stem}.bias"))
    graph.node.extend([*weights, *(node for pair in pairs.values() for node in pair)])
    place_outputs(made, [layer for layer in layers if layer.name in chosen], ranges)
    _drop_unread(graph)
    return made


def place_outputs(model: Any, chosen: Sequence[Convolution], ranges: Mapping[str, Range]) -> None:
    """Round the outputs of int8 convolutions that are read as float, in place; never that of the model.

    Args:
        model: in which the inputs of these are rounded already.
        chosen: of the model in float32.
        ranges: of the tensors that leave them.
    """
    onnx = require("onnx", "export", "writing ONNX")
    graph = model.graph
    for layer in chosen:
        readers = _readers(graph).get(layer.result, [])
        floats = [node for node in readers if node.op_type != "QuantizeLinear"]
        if not floats or layer.result in {value.name for value in graph.output}:
            continue
        rounding = next((node for node in readers if node.op_type == "QuantizeLinear"), None)
        if rounding is None:
            pair = _pair(onnx, graph, layer.result, ranges[layer.result], "output")
            graph.node.extend(pair)
            rounded = pair[1].output[0]
        else:
            rounded = _readers(graph)[rounding.output[0]][0].output[0]
        for node in floats:
            for place, tensor in enumerate(node.input):
                if tensor == layer.result:
                    node.input[place] = rounded
    sort(graph)


def without_signs(graph: Any) -> None:
    """Activations that are rounded to int8 as uint8, in place; the numbers they stand for stay the same.

    onnxruntime has int8 kernels only for convolutions that read and write one type, and behind a ReLU that is uint8.
    """
    onnx = require("onnx", "export", "writing ONNX")
    zeros = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    for tensor in graph.initializer:
        if tensor.name in zeros and tensor.data_type == onnx.TensorProto.INT8:
            values = onnx.numpy_helper.to_array(tensor).astype(np.int16) + 128
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.uint8), tensor.name))
    del graph.value_info[:]  # which name the former types


def shifts_of(
    model: Any, layers: Sequence[Convolution], ranges: Mapping[str, Range], inputs: Sequence[Mapping[str, Array]]
) -> dict[str, Array]:
    """What rounding takes from the mean of each channel of each convolution, when everything before it is float.

    Added to the biases, it keeps flat areas from changing their colour.

    Args:
        model: in float32.
        layers: of it.
        ranges: of the tensors that they read.
        inputs: pictures for the model.
    """
    onnx = require("onnx", "export", "writing ONNX")
    from shotnoise.export.source import session

    both = onnx.ModelProto()
    both.CopyFrom(model)
    graph = both.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    pairs: dict[str, list[Any]] = {}
    for layer in layers:
        node = next(node for node in graph.node if node.name == layer.name)
        if layer.source not in pairs:
            pairs[layer.source] = _pair(onnx, graph, layer.source, ranges[layer.source], "input")
            graph.node.extend(pairs[layer.source])
        values, scales = rounded_weights(onnx.numpy_helper.to_array(constants[layer.weights]))
        stem = f"{layer.name}.shift"
        rounded = values * scales.reshape(-1, *(1,) * (values.ndim - 1))
        graph.initializer.append(onnx.numpy_helper.from_array(rounded, f"{stem}.weights"))
        trial = onnx.NodeProto()
        trial.CopyFrom(node)
        trial.name = stem
        trial.input[0], trial.input[1] = pairs[layer.source][1].output[0], f"{stem}.weights"
        trial.output[0] = f"{stem}.own"
        graph.node.append(trial)
        graph.node.append(onnx.helper.make_node("Sub", [layer.own, f"{stem}.own"], [f"{stem}.difference"]))
        graph.node.append(onnx.helper.make_node("GlobalAveragePool", [f"{stem}.difference"], [stem]))
    sort(graph)
    del graph.output[:]
    names = [f"{layer.name}.shift" for layer in layers]
    graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    opened = session(both.SerializeToString())
    found = [opened.run(names, dict(one)) for one in inputs]
    means = [np.mean(shifts, axis=(0, 1, 3, 4)) for shifts in zip(*found, strict=True)]
    return {layer.name: mean for layer, mean in zip(layers, means, strict=True)}


def rounded_weights(weights: Array) -> tuple[npt.NDArray[np.int8], Array]:
    """Weights (out, in, ...) as int8 and a scale for each output channel, with the least squared error."""
    rows = weights.reshape(len(weights), -1)
    largest = np.maximum(np.abs(rows).max(1), 1e-12)
    errors = np.stack([np.square(_round(rows, largest * share) - rows).sum(1) for share in _SHRUNK])
    scales = (largest * _SHRUNK[errors.argmin(0)] / _LARGEST).astype(np.float32)
    values = np.clip(np.round(rows / scales[:, None]), -_LARGEST, _LARGEST).astype(np.int8)
    return values.reshape(weights.shape), scales


def _round(rows: Array, largest: Array) -> Array:
    scales = (largest / _LARGEST)[:, None]
    return np.asarray(np.clip(np.round(rows / scales), -_LARGEST, _LARGEST) * scales, np.float32)


def _pair(onnx: Any, graph: Any, tensor: str, limits: Range, what: str) -> list[Any]:
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)  # 0 must be one of the steps: convolutions pad with it
    scale = (high - low) / _STEPS or 1.0
    stem = f"{tensor}.{what}"
    constants = {f"{stem}.scale": np.float32(scale), f"{stem}.zero": np.uint8(round(-low / scale))}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    return [
        onnx.helper.make_node("QuantizeLinear", [tensor, *constants], [f"{stem}.int8"], name=f"{stem}.int8"),
        onnx.helper.make_node(
            "DequantizeLinear", [f"{stem}.int8", *constants], [f"{stem}.rounded"], name=f"{stem}.rounded"
        ),
    ]


def _readers(graph: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for node in graph.node:
        for tensor in node.input:
            found.setdefault(tensor, []).append(node)
    return found


def sort(graph: Any) -> None:
    """Put every node behind those whose results it reads, in place; otherwise the order stays."""
    made = {tensor for node in graph.node for tensor in node.output}
    known: set[str] = set()
    waiting, nodes = [*graph.node], []
    while waiting:
        later = []
        for node in waiting:
            if all(tensor in known or tensor not in made for tensor in node.input):
                nodes.append(node)
                known.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ModelError("the graph has a circle; export the model again")
        waiting = later
    copies = [type(node)() for node in nodes]
    for copy, node in zip(copies, nodes, strict=True):
        copy.CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)


def _drop_unread(graph: Any) -> None:
    """Constants that nobody reads any more."""
    read = {tensor for node in graph.node for tensor in node.input} | {value.name for value in graph.output}
    for place in range(len(graph.initializer) - 1, -1, -1):
        if graph.initializer[place].name not in read:
            del graph.initializer[place]


def _name_nodes(model: Any) -> None:
    taken = {node.name for node in model.graph.node}
    for number, node in enumerate(model.graph.node):
        if not node.name:
            name = f"node_{number}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
