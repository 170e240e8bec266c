"""The camera and its noise: what can be measured without knowing the scene."""

from shotnoise.sensor.noise_level import estimate_sigma

__all__ = ["estimate_sigma"]
