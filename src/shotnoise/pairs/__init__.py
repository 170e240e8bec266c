"""Everything before the batch: what is one training sample."""

from shotnoise.pairs.sample import PairSource, Sample, SampleStream, collate
from shotnoise.table import Table

__all__ = ["PAIRS", "PairSource", "Sample", "SampleStream", "collate"]

PAIRS = Table(
    "pair source",
    {
        "clean": ("shotnoise.pairs.clean:CleanPictures", "crops of clean pictures, noise added on the fly"),
        "noisy-pairs": ("shotnoise.pairs.noisy_pairs:NoisyPairs", "two noisy versions of each crop"),
        "raw": ("shotnoise.pairs.raw:RawPlanes", "crops of clean RAW planes, a camera's noise added on the fly"),
        "single-noisy": ("shotnoise.pairs.single_noisy:SingleNoisy", "one noisy version of each crop, nothing else"),
        "stored": ("shotnoise.pairs.stored:StoredPairs", "crops of noisy and clean pictures that lie in a store"),
        "unprocessed": (
            "shotnoise.pairs.raw:UnprocessedPictures",
            "RAW of invented cameras, from display pictures",
        ),
    },
)
