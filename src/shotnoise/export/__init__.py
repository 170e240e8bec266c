"""Torch -> one .onnx that carries its card, checked against torch; in less precision; and what a network costs.

Making one .onnx from another needs no torch, so all that does is left out where there is none.
"""

import importlib.util

from shotnoise.export.half import Halved, halve
from shotnoise.export.int8 import Quantised, quantise

__all__ = ["Halved", "Quantised", "halve", "quantise"]

if importlib.util.find_spec("torch") is not None:
    from shotnoise.export.cost import Cost, cost
    from shotnoise.export.costs import NetworkCost, compare, parse_shape
    from shotnoise.export.onnx import Export, export

    __all__ += ["Cost", "Export", "NetworkCost", "compare", "cost", "export", "parse_shape"]
