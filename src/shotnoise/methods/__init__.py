"""From batch to loss: how a network is taught."""

from shotnoise.methods.method import Method
from shotnoise.table import Table

__all__ = ["METHODS", "Method"]

METHODS = Table(
    "method",
    {
        "supervised": (
            "shotnoise.methods.supervised:Supervised",
            "distance between the result and the target",
        ),
    },
)
