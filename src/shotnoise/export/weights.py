"""Weights that are kept in half precision, in files whose arithmetic is float32 all the same.

A number of float16 has eleven bits; a weight loses at most 0.05 % of itself, which is far less than a network notices.
In the file a weight is a float16 constant and a Cast; engines do that cast once, when they open the model.
"""

from typing import Any

import numpy as np

from shotnoise.errors import ModelError

__all__ = ["narrow", "widen"]

_FLOAT, _HALF = 1, 10  # of ONNX
_WORTH = 64  # numbers; smaller constants weigh nothing
_MARK = "_half"
_ROUNDING = ("QuantizeLinear", "DequantizeLinear")


def narrow(proto: Any) -> None:
    """Keep the float32 weights of a graph in float16, in place.

    Raises:
        ModelError: a weight does not fit.
    """
    import onnx

    # The steps of int8 have to be constants, for engines that look for them.
    steps = {name for node in proto.graph.node if node.op_type in _ROUNDING for name in node.input}
    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != _FLOAT or np.prod(tensor.dims) < _WORTH or tensor.name in steps:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise ModelError(f"a weight of {np.abs(values).max():.3g} does not fit into half precision; leave it out")
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}{_MARK}"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], name=f"{name}_widened", to=_FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def widen(proto: Any) -> bool:
    """Undo :func:`narrow` but for the rounding, in place; whether there was anything to undo."""
    import onnx

    halves = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.data_type == _HALF}
    casts = [node for node in proto.graph.node if node.op_type == "Cast" and node.input[0] in halves]
    for node in casts:
        tensor = halves[node.input[0]]
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), node.output[0])
        )
        proto.graph.node.remove(node)
    return bool(casts)
