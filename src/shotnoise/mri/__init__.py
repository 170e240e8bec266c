"""Magnetic resonance images: volumes on disk, their slices, and the k-space that a scanner measures.

Slices are float32 in -0.5..0.5 wherever a network or k-space is near: 0 of the volume is -0.5, its maximum 0.5.
"""

from shotnoise.mri.kspace import Undersampled, density, kept, measure, spectrum_of, undersample, with_measured
from shotnoise.mri.slices import BLACK, bordered, centred, odd, slices_of, to_signal
from shotnoise.mri.volumes import Volume, is_volume, open_volume, save_volume, volume_ending

__all__ = [
    "BLACK",
    "Undersampled",
    "Volume",
    "bordered",
    "centred",
    "density",
    "is_volume",
    "kept",
    "measure",
    "odd",
    "open_volume",
    "save_volume",
    "slices_of",
    "spectrum_of",
    "to_signal",
    "undersample",
    "volume_ending",
    "with_measured",
]
