"""Engines: from array to array. Which one runs a model is chosen by name, or by what the file and the machine are."""

from shotnoise.engines.choice import ENGINES, EngineStatus, available_engines, open_engine
from shotnoise.engines.engine import Engine, OutOfMemoryError
from shotnoise.engines.ensemble import Ensemble, Poses

__all__ = [
    "ENGINES",
    "Engine",
    "EngineStatus",
    "Ensemble",
    "OutOfMemoryError",
    "Poses",
    "available_engines",
    "open_engine",
]
