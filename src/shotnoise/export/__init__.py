"""Torch -> one .onnx that carries its card, checked against torch; and what a network costs."""

from shotnoise.export.cost import Cost, cost
from shotnoise.export.costs import NetworkCost, compare, parse_shape
from shotnoise.export.onnx import Export, export

__all__ = ["Cost", "Export", "NetworkCost", "compare", "cost", "export", "parse_shape"]
