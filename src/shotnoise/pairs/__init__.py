"""Everything before the batch: what is one training sample."""

from shotnoise.pairs.sample import PairSource, Sample, SampleStream, collate
from shotnoise.table import Table

__all__ = ["PAIRS", "PairSource", "Sample", "SampleStream", "collate"]

PAIRS = Table(
    "pair source",
    {
        "camera-pairs": (
            "shotnoise.pairs.camera_pairs:CameraPairs",
            "display pictures with the RAW that was recorded, to learn a camera from",
        ),
        "clean": ("shotnoise.pairs.clean:CleanPictures", "crops of clean pictures, noise added on the fly"),
        "invented-cameras": (
            "shotnoise.pairs.camera_pairs:InventedCameras",
            "display pictures with the RAW of invented cameras, to learn a camera from",
        ),
        "kspace": ("shotnoise.pairs.kspace:KSpaceSlices", "MRI slices of which a part of k-space was measured, twice"),
        "mixed": ("shotnoise.pairs.mixed:MixedPictures", "several kinds of samples, each with its share and noise"),
        "noisy-pairs": ("shotnoise.pairs.noisy_pairs:NoisyPairs", "two noisy versions of each crop"),
        "raw": ("shotnoise.pairs.raw:RawPlanes", "crops of clean RAW planes, a camera's noise added on the fly"),
        "rendered": (
            "shotnoise.pairs.rendered:RenderedPictures",
            "crops of clean pictures with the noise of a camera, added in RAW and developed",
        ),
        "single-noisy": ("shotnoise.pairs.single_noisy:SingleNoisy", "one noisy version of each crop, nothing else"),
        "stored": ("shotnoise.pairs.stored:StoredPairs", "crops of noisy and clean pictures that lie in a store"),
        "unprocessed": (
            "shotnoise.pairs.raw:UnprocessedPictures",
            "RAW of invented cameras, from display pictures",
        ),
    },
)
