"""The table of architectures."""

from shotnoise.table import Table

__all__ = ["NETWORKS"]

NETWORKS = Table(
    "network",
    {
        "cycleisp": ("shotnoise.networks.cycleisp:CycleISP", "sRGB to RAW and back, for noise as in photographs"),
        "cycleisp-denoiser": (
            "shotnoise.networks.cycleisp_denoiser:CycleISPDenoiser",
            "attention to channels and places, for RAW with its variance or RGB",
        ),
        "dncnn": ("shotnoise.networks.dncnn:DnCNN", "plain convolution stack that predicts the noise"),
        "drunet": ("shotnoise.networks.drunet:DRUNet", "wide residual U-Net for any noise level"),
        "fdncnn": ("shotnoise.networks.dncnn:FDnCNN", "plain convolution stack for any noise level"),
        "ffdnet": ("shotnoise.networks.ffdnet:FFDNet", "plain stack at half resolution for any noise level"),
        "grdn": ("shotnoise.networks.grdn:GRDN", "groups of densely connected blocks, for photographs"),
        "invdn": ("shotnoise.networks.invdn:InvDN", "invertible: clean at a quarter of the size, detail drawn anew"),
        "ircnn": ("shotnoise.networks.ircnn:IRCNN", "seven dilated convolutions that predict the noise"),
        "mprnet": ("shotnoise.networks.mprnet:MPRNet", "three stages: quarters, halves, the whole picture"),
        "nafnet": ("shotnoise.networks.nafnet:NAFNet", "U-Net of gates and channel attention, for photographs"),
        "nafnet-local": ("shotnoise.networks.nafnet:NAFNetLocal", "NAFNet with attention to windows"),
        "neighbor2neighbor-unet": (
            "shotnoise.networks.neighbor2neighbor_unet:Neighbor2NeighborUNet",
            "the U-Net of Neighbor2Neighbor, or its blind-spot variant",
        ),
        "noise2noise-unet": ("shotnoise.networks.noise2noise_unet:Noise2NoiseUNet", "the U-Net of Noise2Noise"),
        "pmrid": ("shotnoise.networks.pmrid:PMRID", "separable U-Net for camera RAW on phones"),
        "raw-attention": (
            "shotnoise.networks.raw_attention:RawAttention",
            "narrow U-Net with attention of the published RAW pipeline",
        ),
        "raw-unet": ("shotnoise.networks.raw_unet:RawUNet", "the U-Net of the published RAW pipeline"),
        "restormer": ("shotnoise.networks.restormer:Restormer", "U-Net of attention between channels"),
        "ridnet": ("shotnoise.networks.ridnet:RIDNet", "dilated branches and channel attention for photographs"),
        "scunet": ("shotnoise.networks.scunet:SCUNet", "U-Net of convolutions and attention within windows"),
        "shotnet": ("shotnoise.networks.shotnet:ShotNet", "our residual U-Net for fast CPUs and int8"),
        "unprocessing-denoiser": (
            "shotnoise.networks.unprocessing_denoiser:UnprocessingDenoiser",
            "plain U-Net for RAW with its variance",
        ),
    },
)
