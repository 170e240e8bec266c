"""MPRNet: three stages, which see quarters, halves and the whole of a picture.

Zamir, Arora, Khan, Hayat, Khan, Yang, Shao: "Multi-Stage Progressive Image Restoration", CVPR 2021, arXiv 2102.02808.
Published: SIDD validation 39.71 dB, DND 39.80 dB.

Every stage makes a picture; the last is the result, and training with those of all stages is :meth:`MPRNet.stages`.
One slope of the rectifiers serves the whole network: files repeat it under a hundred names, or keep one of them.
Denoising: 15,741,025 parameters, 572.89 GMAC at 256x256. Reference code: academic licence, of which nothing is used
here. Key names are the official ones.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shotnoise.errors import ModelError
from shotnoise.networks.network import Network

__all__ = ["MPRNet"]


class _Attention(nn.Module):
    """Channels weighted by what their means say."""

    def __init__(self, width: int, reduction: int, *, bias: bool) -> None:
        super().__init__()
        hidden = width // reduction
        self.conv_du = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=bias),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, width, 1, bias=bias),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x * self.conv_du(x.mean((2, 3), keepdim=True))
        return result


class _Make:
    """Layers with the settings that all of the network shares."""

    def __init__(self, size: int, reduction: int, *, bias: bool) -> None:
        self.size, self.reduction, self.bias = size, reduction, bias
        self.slope = nn.PReLU()

    def conv(self, inside: int, outside: int) -> nn.Conv2d:
        return nn.Conv2d(inside, outside, self.size, padding=self.size // 2, bias=self.bias)

    def point(self, inside: int, outside: int) -> nn.Conv2d:
        return nn.Conv2d(inside, outside, 1, bias=self.bias)

    def blocks(self, width: int, count: int = 2) -> nn.Sequential:
        return nn.Sequential(*(_Block(self, width) for _ in range(count)))


class _Block(nn.Module):
    """x + attention(conv(prelu(conv(x))))."""

    def __init__(self, make: _Make, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(make.conv(width, width), make.slope, make.conv(width, width))
        self.CA = _Attention(width, make.reduction, bias=make.bias)

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.CA(self.body(x))
        return x + correction


class _Down(nn.Module):
    """Means of 2x2 pixels, which is what bilinear halving gives, then 1x1."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inside, outside, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(x)
        return result


class _Up(nn.Module):
    """Bilinear doubling, then 1x1."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        rise = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
        self.up = nn.Sequential(rise, nn.Conv2d(inside, outside, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.up(x)
        return result


class _Encoder(nn.Module):
    """Features on three scales; the second stage adds those of the first, from its way down and up."""

    def __init__(self, make: _Make, width: int, growth: int, *, second: bool) -> None:
        super().__init__()
        w1, w2, w3 = width, width + growth, width + 2 * growth
        self.second = second
        self.encoder_level1 = make.blocks(w1)
        self.down12 = _Down(w1, w2)
        self.encoder_level2 = make.blocks(w2)
        self.down23 = _Down(w2, w3)
        self.encoder_level3 = make.blocks(w3)
        if second:
            self.csff_enc1, self.csff_dec1 = make.point(w1, w1), make.point(w1, w1)
            self.csff_enc2, self.csff_dec2 = make.point(w2, w2), make.point(w2, w2)
            self.csff_enc3, self.csff_dec3 = make.point(w3, w3), make.point(w3, w3)

    def forward(self, x: Tensor, down: list[Tensor] | None = None, up: list[Tensor] | None = None) -> list[Tensor]:
        x1: Tensor = self.encoder_level1(x)
        if down and up:
            x1 = x1 + self.csff_enc1(down[0]) + self.csff_dec1(up[0])
        x2: Tensor = self.encoder_level2(self.down12(x1))
        if down and up:
            x2 = x2 + self.csff_enc2(down[1]) + self.csff_dec2(up[1])
        x3: Tensor = self.encoder_level3(self.down23(x2))
        if down and up:
            x3 = x3 + self.csff_enc3(down[2]) + self.csff_dec3(up[2])
        return [x1, x2, x3]


class _Decoder(nn.Module):
    """Three scales back up; fine to coarse, as the encoder."""

    def __init__(self, make: _Make, width: int, growth: int) -> None:
        super().__init__()
        w1, w2, w3 = width, width + growth, width + 2 * growth
        self.decoder_level1 = make.blocks(w1)
        self.decoder_level2 = make.blocks(w2)
        self.decoder_level3 = make.blocks(w3)
        self.skip_attn1 = _Block(make, w1)
        self.skip_attn2 = _Block(make, w2)
        self.up21 = _Up(w2, w1)
        self.up32 = _Up(w3, w2)

    def forward(self, down: list[Tensor]) -> list[Tensor]:
        x3 = self.decoder_level3(down[2])
        x2 = self.decoder_level2(self.up32(x3) + self.skip_attn2(down[1]))
        x1 = self.decoder_level1(self.up21(x2) + self.skip_attn1(down[0]))
        return [x1, x2, x3]


class _Supervised(nn.Module):
    """A picture from features, and features weighted by that picture."""

    def __init__(self, make: _Make, width: int, colours: int) -> None:
        super().__init__()
        self.conv1 = make.point(width, width)
        self.conv2 = make.point(width, colours)
        self.conv3 = make.point(colours, width)

    def forward(self, x: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor]:
        picture: Tensor = noisy + self.conv2(x)
        return x + self.conv1(x) * torch.sigmoid(self.conv3(picture)), picture


class _Resolution(nn.Module):
    """x + convolution(blocks(x)), at full resolution."""

    def __init__(self, make: _Make, width: int, count: int) -> None:
        super().__init__()
        closing = nn.Conv2d(width, width, make.size, padding=make.size // 2, bias=False)
        self.body = nn.Sequential(*make.blocks(width, count), closing)

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.body(x)
        return x + correction


class _FullResolution(nn.Module):
    """Three such groups; after each, what the second stage found on one of its scales is added."""

    def __init__(self, make: _Make, width: int, more: int, growth: int, count: int) -> None:
        super().__init__()
        wide, w2, w3 = width + more, width + growth, width + 2 * growth
        self.orb1 = _Resolution(make, wide, count)
        self.orb2 = _Resolution(make, wide, count)
        self.orb3 = _Resolution(make, wide, count)
        self.up_enc1, self.up_dec1 = _Up(w2, width), _Up(w2, width)
        self.up_enc2 = nn.Sequential(_Up(w3, w2), _Up(w2, width))
        self.up_dec2 = nn.Sequential(_Up(w3, w2), _Up(w2, width))
        self.conv_enc1, self.conv_dec1 = make.point(width, wide), make.point(width, wide)
        self.conv_enc2, self.conv_dec2 = make.point(width, wide), make.point(width, wide)
        self.conv_enc3, self.conv_dec3 = make.point(width, wide), make.point(width, wide)

    def forward(self, x: Tensor, down: list[Tensor], up: list[Tensor]) -> Tensor:
        x = self.orb1(x) + self.conv_enc1(down[0]) + self.conv_dec1(up[0])
        x = self.orb2(x) + self.conv_enc2(self.up_enc1(down[1])) + self.conv_dec2(self.up_dec1(up[1]))
        result: Tensor = self.orb3(x) + self.conv_enc3(self.up_enc2(down[2])) + self.conv_dec3(self.up_dec2(up[2]))
        return result


def _split(x: Tensor, axis: int) -> Tensor:
    """Both halves of a picture, as a batch twice as large."""
    return torch.cat(torch.unflatten(x, axis, (2, -1)).unbind(axis))


def _join(x: Tensor, axis: int) -> Tensor:
    """The inverse of :func:`_split`."""
    return torch.cat(torch.unflatten(x, 0, (2, -1)).unbind(), dim=axis)


class MPRNet(Network):
    """noisy + correction(noisy), by the last of three stages.

    Args:
        in_c: channels of the noisy picture.
        out_c: channels of the result; equal to `in_c`.
        n_feat: features at full resolution.
        scale_unetfeats: more of them on each coarser scale of the first two stages.
        scale_orsnetfeats: more of them in the third stage.
        num_cab: blocks in each group of the third stage.
        kernel_size: side of the convolutions.
        reduction: how many times fewer features channel attention has inside.
        bias: whether convolutions have one.
    """

    source: ClassVar[str] = "Zamir et al., CVPR 2021"
    multiple = 8
    whole = True

    def __init__(
        self,
        *,
        in_c: int = 3,
        out_c: int = 3,
        n_feat: int = 80,
        scale_unetfeats: int = 48,
        scale_orsnetfeats: int = 32,
        num_cab: int = 8,
        kernel_size: int = 3,
        reduction: int = 4,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if in_c != out_c:
            raise ModelError(f"MPRNet denoises: in_c {in_c} must equal out_c {out_c}")
        self.channels = in_c
        make = _Make(kernel_size, reduction, bias=bias)
        width, growth, wide = n_feat, scale_unetfeats, n_feat + scale_orsnetfeats

        def shallow() -> nn.Sequential:
            return nn.Sequential(make.conv(in_c, width), _Block(make, width))

        self.shallow_feat1, self.shallow_feat2, self.shallow_feat3 = shallow(), shallow(), shallow()
        self.stage1_encoder = _Encoder(make, width, growth, second=False)
        self.stage1_decoder = _Decoder(make, width, growth)
        self.stage2_encoder = _Encoder(make, width, growth, second=True)
        self.stage2_decoder = _Decoder(make, width, growth)
        self.stage3_orsnet = _FullResolution(make, width, scale_orsnetfeats, growth, num_cab)
        self.sam12 = _Supervised(make, width, out_c)
        self.sam23 = _Supervised(make, width, out_c)
        self.concat12 = make.conv(2 * width, width)
        self.concat23 = make.conv(2 * width, wide)
        self.tail = make.conv(wide, out_c)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        return self.stages(noisy)[2]

    def stages(self, noisy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pictures that the three stages make, the result last."""
        halves = _split(noisy, 2)  # (2B, C, H/2, W): above, below
        quarters = _split(halves, 3)  # (4B, C, H/2, W/2): left, right
        down = [_join(x, 3) for x in self.stage1_encoder(self.shallow_feat1(quarters))]
        up = self.stage1_decoder(down)
        x, first = self.sam12(up[0], halves)

        x = self.concat12(torch.cat((self.shallow_feat2(halves), x), dim=1))
        down = [_join(x, 2) for x in self.stage2_encoder(x, down, up)]  # whole pictures from here on
        up = self.stage2_decoder(down)
        x, second = self.sam23(up[0], noisy)

        x = self.concat23(torch.cat((self.shallow_feat3(noisy), x), dim=1))
        third = noisy + self.tail(self.stage3_orsnet(x, down, up))
        return _join(first, 2), second, third

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read everything off keys and shapes."""
        shallow, last = state.get("shallow_feat1.0.weight"), state.get("tail.weight")
        if shallow is None or last is None or "stage3_orsnet.conv_enc1.weight" not in state:
            return None
        width, hidden = shallow.shape[0], state["shallow_feat1.1.CA.conv_du.0.weight"].shape[0]
        closing = (re.fullmatch(r"stage3_orsnet\.orb1\.body\.(\d+)\.weight", key) for key in state)
        return {
            "in_c": shallow.shape[1],
            "out_c": last.shape[0],
            "n_feat": width,
            "scale_unetfeats": state["stage1_encoder.down12.down.1.weight"].shape[0] - width,
            "scale_orsnetfeats": last.shape[1] - width,
            "num_cab": next(int(match[1]) for match in closing if match),
            "kernel_size": shallow.shape[2],
            "reduction": width // hidden,
            "bias": "tail.bias" in state,
        }
