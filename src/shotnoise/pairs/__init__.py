"""Everything before the batch: what is one training sample."""

from shotnoise.pairs.sample import PairSource, Sample, SampleStream, collate
from shotnoise.table import Table

__all__ = ["PAIRS", "PairSource", "Sample", "SampleStream", "collate"]

PAIRS = Table(
    "pair source",
    {
        "clean": ("shotnoise.pairs.clean:CleanPictures", "crops of clean pictures, noise added on the fly"),
    },
)
