"""PMRID: a U-Net of separable convolutions for RAW on phones.

Y. Wang, H. Huang, Q. Xu, J. Liu, Y. Liu, J. Wang: "Practical Deep Raw Image Denoising on Mobile Devices", ECCV 2020,
arXiv 2010.06935. Published: 39.76 dB, SSIM 0.975 on its own RAW benchmark after a fixed rendering.

The published weights belong to one camera (OPPO Reno 10x) and see every picture as if it had been taken at ISO 1600:
the k-Sigma transform of :mod:`shotnoise.sensor.law`, which the card of a model carries. Planes are R, Gr, Gb, B.

Differences: the authors pad 16 to 31 pixels on every side; the strides need a multiple of 16 and nothing more.
1,031,908 parameters, 0.98 GMAC for 4 planes of 256x256. Reference code: Apache-2.0. Key names are the official ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network
from shotnoise.sensor.law import KSigma

__all__ = ["PMRID"]

# The law of that camera at ISO 1600: counts above black per electron, variance in counts, and counts of full scale.
_K, _S2, _FULL = 0.96793133, 2.97945289, 959.0


class _Conv(nn.Module):
    """3x3, under the name that the official files give it."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


class _Separable(nn.Module):
    """Each channel by itself, then 1x1 across them."""

    def __init__(self, inside: int, outside: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inside, inside, size, stride, padding=size // 2, groups=inside, bias=False)
        self.pointwise = nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pointwise(self.depthwise(x))
        return result


class _Encode(nn.Module):
    """A bottleneck of a quarter of the width beside a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _Separable(inside, outside // 4, 5, stride)
        self.conv2 = _Separable(outside // 4, outside, 5)
        self.proj = nn.Identity() if stride == 1 and inside == outside else _Separable(inside, outside, 3, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.proj(x))


def _stage(inside: int, outside: int, blocks: int) -> nn.Sequential:
    """Half the size in the first block."""
    rest = (_Encode(outside, outside, 1) for _ in range(blocks - 1))
    return nn.Sequential(_Encode(inside, outside, 2), *rest)


class _Decode(nn.Module):
    """x + separable(relu(separable(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv0 = _Separable(width, width, 3)
        self.conv1 = _Separable(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.conv1(F.relu(self.conv0(x)))
        return x + correction


class _Rise(nn.Module):
    """Twice the size, plus the skip."""

    def __init__(self, inside: int, skip: int, outside: int) -> None:
        super().__init__()
        self.decode_conv = _Decode(inside)
        self.upsample = nn.ConvTranspose2d(inside, outside, 2, stride=2)
        self.proj_conv = _Separable(skip, outside, 3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        result: Tensor = self.upsample(self.decode_conv(x)) + F.relu(self.proj_conv(skip))
        return result


class PMRID(Network):
    """noisy + correction(noisy).

    Args:
        in_nc: planes of the packed picture.
        width: features at full resolution; the scales below have 4, 8, 16 and 32 times as many.
        blocks: bottlenecks on each of those scales.
    """

    source: ClassVar[str] = "Wang et al., ECCV 2020"
    multiple = 16
    k_sigma = KSigma(gain=256 * _K / _FULL, offset=-256 * _S2 / _K / _FULL)

    def __init__(self, *, in_nc: int = 4, width: int = 16, blocks: Sequence[int] = (2, 2, 4, 4)) -> None:
        super().__init__()
        if len(blocks) != 4 or min(blocks) < 1:
            raise ModelError(f"blocks are {list(blocks)}; expected four numbers, 1 or more each")
        self.channels = in_nc
        w = width
        self.conv0 = _Conv(in_nc, w)
        self.enc1 = _stage(w, 4 * w, blocks[0])
        self.enc2 = _stage(4 * w, 8 * w, blocks[1])
        self.enc3 = _stage(8 * w, 16 * w, blocks[2])
        self.enc4 = _stage(16 * w, 32 * w, blocks[3])
        self.encdec = _Separable(32 * w, 4 * w, 3)
        self.dec1 = _Rise(4 * w, 16 * w, 4 * w)
        self.dec2 = _Rise(4 * w, 8 * w, 2 * w)
        self.dec3 = _Rise(2 * w, 4 * w, 2 * w)
        self.dec4 = _Rise(2 * w, w, w)
        self.out0 = _Decode(w)
        self.out1 = _Conv(w, in_nc)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        skip0 = F.relu(self.conv0(noisy))  # (B, w, H, W)
        skip1 = self.enc1(skip0)  # (B, 4w, H/2, W/2)
        skip2 = self.enc2(skip1)
        skip3 = self.enc3(skip2)
        x = F.relu(self.encdec(self.enc4(skip3)))  # (B, 4w, H/16, W/16)
        x = self.dec4(self.dec3(self.dec2(self.dec1(x, skip3), skip2), skip1), skip0)  # (B, w, H, W)
        correction: Tensor = self.out1(self.out0(x))
        return noisy + correction

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read planes, width and blocks off the keys."""
        first = state.get("conv0.conv.weight")
        if first is None or "encdec.depthwise.weight" not in state or "dec4.proj_conv.depthwise.weight" not in state:
            return None
        return {
            "in_nc": first.shape[1],
            "width": first.shape[0],
            "blocks": [
                sum(key.startswith(f"enc{scale}.") and key.endswith("conv1.pointwise.bias") for key in state)
                for scale in range(1, 5)
            ],
        }
