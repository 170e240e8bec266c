"""From batch to loss: how a network is taught.

Noise2Noise needs no method of its own: it is `supervised` on the pair source `noisy-pairs`. Any distance learns the
clean picture from noisy targets whose noise keeps what that distance seeks: l2 the mean, l1 the median, l0 the mode.
"""

from shotnoise.methods.method import Method
from shotnoise.table import Table

__all__ = ["METHODS", "Method"]

METHODS = Table(
    "method",
    {
        "cycleisp": ("shotnoise.methods.cycleisp:CycleISPStages", "a camera learned both ways, sRGB to RAW and back"),
        "invertible": (
            "shotnoise.methods.invertible:Invertible",
            "an invertible network: its low-resolution half and the picture it restores are compared",
        ),
        "kspace": (
            "shotnoise.methods.kspace:KSpace",
            "under-sampled MRI: the network predicts, what was measured is put back",
        ),
        "neighbor2neighbor": (
            "shotnoise.methods.neighbor2neighbor:Neighbor2Neighbor",
            "single noisy pictures: neighbouring pixels teach each other",
        ),
        "r2r": (
            "shotnoise.methods.r2r:RecorruptedToRecorrupted",
            "single noisy pictures of known noise, split into two independent ones",
        ),
        "supervised": (
            "shotnoise.methods.supervised:Supervised",
            "distance between the result and the target, clean or noisy",
        ),
        "sure": (
            "shotnoise.methods.sure:Sure",
            "single noisy pictures of known Gaussian noise: an unbiased estimate of the error",
        ),
    },
)
