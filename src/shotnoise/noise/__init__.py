"""Forward noise models on tensors: what a camera, or a paper, does to a clean picture."""

from shotnoise.noise.model import NoiseModel
from shotnoise.table import Table

__all__ = ["NOISE", "NoiseModel"]

NOISE = Table(
    "noise model",
    {
        "gaussian": ("shotnoise.noise.gaussian:Gaussian", "additive white Gaussian, fixed sigma or a range"),
    },
)
