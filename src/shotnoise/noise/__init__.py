"""Forward noise models on tensors: what a camera, or a paper, does to a clean picture."""

from shotnoise.noise.model import NoiseModel
from shotnoise.table import Table

__all__ = ["NOISE", "NoiseModel"]

NOISE = Table(
    "noise model",
    {
        "bernoulli": ("shotnoise.noise.bernoulli:Bernoulli", "missing pixels, with a mask of those that are there"),
        "dark-frames": (
            "shotnoise.noise.dark_frames:DarkFrames",
            "photons on top of real dark frames of your camera",
        ),
        "gaussian": ("shotnoise.noise.gaussian:Gaussian", "additive white Gaussian, fixed sigma or a range"),
        "impulse": ("shotnoise.noise.impulse:Impulse", "pixels replaced by random colours"),
        "physics": (
            "shotnoise.noise.physics:Physics",
            "photons, heavy-tailed read noise, row stripes and whole counts of published cameras or your own",
        ),
        "poisson": ("shotnoise.noise.poisson:Poisson", "photon counting, fixed number of photons or a range"),
        "poisson-gaussian": (
            "shotnoise.noise.poisson_gaussian:PoissonGaussian",
            "a camera's shot and read noise, from a profile at any ISO or from ranges",
        ),
        "text": ("shotnoise.noise.text:Text", "random strings printed over the picture"),
    },
)
