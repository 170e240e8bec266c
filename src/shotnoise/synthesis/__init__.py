"""Realistic noise from clean display pictures: through a camera to RAW, and back with its noise."""

from shotnoise.synthesis.chain import NoisyRaw, Pair, Rendered, Synthesizer
from shotnoise.synthesis.renderers import open_renderer

__all__ = ["NoisyRaw", "Pair", "Rendered", "Synthesizer", "open_renderer"]
