"""The U-Net of Noise2Noise.

Lehtinen, Munkberg, Hasselgren, Laine, Karras, Aittala, Aila: "Noise2Noise: Learning Image Restoration without Clean
Data", ICML 2018, arXiv 1803.04189. Target with noisy targets only: Kodak24 32.39 dB and BSD300 31.02 dB at sigma 25,
31.66 dB and 30.26 dB at 30 photons. The same network with one channel serves the paper's MRI experiment.

Differences: the paper's table of photos belongs to a 30-layer network; the numbers above are those that its authors
state for this one. They feed pictures in -0.5..0.5, so weights of theirs want `noisy - 0.5` and give `clean - 0.5`;
the MRI network wants its odd picture padded to a multiple of 32 with -0.5. The scale of the fresh weights is sqrt(2),
not corrected for the slope of the leaky ReLU, as there.
3 channels: 991,203 parameters, 11.40 GMAC at 256x256; 1 channel: 988,609. Reference code: CC BY-NC 4.0, of which
nothing is used here. Key names are the official layer names.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.networks.network import Network

__all__ = ["Noise2NoiseUNet"]

_TAIL = (64, 32)


def _conv(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=1)


def _up(x: Tensor, skip: Tensor) -> Tensor:
    """Double the size by repeating pixels, then append the skip."""
    return torch.cat((F.interpolate(x, scale_factor=2.0, mode="nearest"), skip), dim=1)


class Noise2NoiseUNet(Network):
    """Five poolings, nothing learned in the resampling; the picture is predicted directly.

    Args:
        in_nc: channels of the picture.
        n_feature: features of the encoder; the decoder has twice as many. The last two hidden layers have 64 and 32
            whatever it is.
    """

    source: ClassVar[str] = "Lehtinen et al., ICML 2018"
    multiple = 32

    def __init__(self, *, in_nc: int = 3, n_feature: int = 48) -> None:
        super().__init__()
        self.channels = in_nc
        f, f2, f3 = n_feature, 2 * n_feature, 3 * n_feature
        self.enc_conv0 = _conv(in_nc, f)
        self.enc_conv1 = _conv(f, f)
        self.enc_conv2 = _conv(f, f)
        self.enc_conv3 = _conv(f, f)
        self.enc_conv4 = _conv(f, f)
        self.enc_conv5 = _conv(f, f)
        self.enc_conv6 = _conv(f, f)
        self.dec_conv5 = _conv(f2, f2)
        self.dec_conv5b = _conv(f2, f2)
        self.dec_conv4 = _conv(f3, f2)
        self.dec_conv4b = _conv(f2, f2)
        self.dec_conv3 = _conv(f3, f2)
        self.dec_conv3b = _conv(f2, f2)
        self.dec_conv2 = _conv(f3, f2)
        self.dec_conv2b = _conv(f2, f2)
        self.dec_conv1a = _conv(f2 + in_nc, _TAIL[0])
        self.dec_conv1b = _conv(_TAIL[0], _TAIL[1])
        self.dec_conv1 = _conv(_TAIL[1], in_nc)
        for layer in self.children():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if layer is self.dec_conv1 else "relu")
                nn.init.zeros_(layer.bias)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        def act(x: Tensor) -> Tensor:
            return F.leaky_relu(x, 0.1)

        pool1 = F.max_pool2d(act(self.enc_conv1(act(self.enc_conv0(noisy)))), 2)  # (B, F, H/2, W/2)
        pool2 = F.max_pool2d(act(self.enc_conv2(pool1)), 2)  # (B, F, H/4, W/4)
        pool3 = F.max_pool2d(act(self.enc_conv3(pool2)), 2)
        pool4 = F.max_pool2d(act(self.enc_conv4(pool3)), 2)
        pool5 = F.max_pool2d(act(self.enc_conv5(pool4)), 2)  # (B, F, H/32, W/32)
        x = act(self.enc_conv6(pool5))
        x = act(self.dec_conv5b(act(self.dec_conv5(_up(x, pool4)))))  # (B, 2F, H/16, W/16)
        x = act(self.dec_conv4b(act(self.dec_conv4(_up(x, pool3)))))
        x = act(self.dec_conv3b(act(self.dec_conv3(_up(x, pool2)))))
        x = act(self.dec_conv2b(act(self.dec_conv2(_up(x, pool1)))))  # (B, 2F, H/2, W/2)
        x = act(self.dec_conv1b(act(self.dec_conv1a(_up(x, noisy)))))  # (B, 32, H, W)
        result: Tensor = self.dec_conv1(x)
        return result

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read channels and features off the first convolution."""
        first = state.get("enc_conv0.weight")
        if first is None or "dec_conv5.weight" not in state or "dec_conv1.weight" not in state:
            return None
        return {"in_nc": first.shape[1], "n_feature": first.shape[0]}
