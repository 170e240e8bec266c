"""The table of architectures."""

from shotnoise.table import Table

__all__ = ["NETWORKS"]

NETWORKS = Table(
    "network",
    {
        "dncnn": ("shotnoise.networks.dncnn:DnCNN", "plain convolution stack that predicts the noise"),
        "neighbor2neighbor-unet": (
            "shotnoise.networks.neighbor2neighbor_unet:Neighbor2NeighborUNet",
            "the U-Net of Neighbor2Neighbor, or its blind-spot variant",
        ),
        "noise2noise-unet": ("shotnoise.networks.noise2noise_unet:Noise2NoiseUNet", "the U-Net of Noise2Noise"),
        "shotnet": ("shotnoise.networks.shotnet:ShotNet", "our residual U-Net for fast CPUs and int8"),
    },
)
