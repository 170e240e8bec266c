"""Forward noise models on tensors: what a camera, or a paper, does to a clean picture."""

from shotnoise.noise.model import NoiseModel
from shotnoise.table import Table

__all__ = ["NOISE", "NoiseModel"]

NOISE = Table(
    "noise model",
    {
        "bernoulli": ("shotnoise.noise.bernoulli:Bernoulli", "missing pixels, with a mask of those that are there"),
        "gaussian": ("shotnoise.noise.gaussian:Gaussian", "additive white Gaussian, fixed sigma or a range"),
        "impulse": ("shotnoise.noise.impulse:Impulse", "pixels replaced by random colours"),
        "poisson": ("shotnoise.noise.poisson:Poisson", "photon counting, fixed number of photons or a range"),
        "text": ("shotnoise.noise.text:Text", "random strings printed over the picture"),
    },
)
