"""Cameras by name: the classical one, or one that was learned."""

import os

from shotnoise.errors import ModelError
from shotnoise.isp import ClassicalISP, Renderer
from shotnoise.networks.checkpoint import load
from shotnoise.networks.cycleisp import CycleISP

__all__ = ["CLASSICAL", "open_renderer"]

CLASSICAL = "classical"


def open_renderer(name: str | os.PathLike[str]) -> Renderer:
    """A camera.

    Args:
        name: "classical", or a run folder or checkpoint of the network `cycleisp`.
    """
    if str(name) == CLASSICAL:
        return ClassicalISP()
    network = load(name)
    if not isinstance(network, CycleISP):
        raise ModelError(
            f"{name}: holds a {type(network).__name__}, which is no camera; expected 'classical', or a run or "
            "checkpoint of the network cycleisp"
        )
    return network.requires_grad_(False)
