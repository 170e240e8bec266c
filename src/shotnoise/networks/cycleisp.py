"""CycleISP: a camera learned in both directions, sRGB -> RAW and RAW -> sRGB.

Zamir, Arora, Khan, Hayat, Khan, Yang, Shao: "CycleISP: Real Image Restoration via Improved Data Synthesis", CVPR 2020,
arXiv 2003.07761. Three networks: one takes a display picture to the RAW it may have come from, one renders RAW, and one
tells that renderer the colours, which no RAW contains, from the clean display picture blurred. Noise put on the RAW in
between comes out as the noise of real photographs.

Here they are one network with three parts, which the authors publish as three files: :meth:`CycleISP.assemble`. The
sizes are those of the authors' code; its weights are said to have been trained in three stages on MIT-Adobe FiveK.
sRGB -> RAW: 3,143,109 parameters; colours: 1,084,419, of which the 1,323 of the blur are fixed; RAW -> sRGB: 3,244,110,
of which 18,528 take no part and are kept for the files' sake. All that is learned: 7,451,787 parameters, 273.24 GMAC at
256x256. Reference code: academic licence, of which nothing is used here. Key names are the official ones.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.errors import ModelError
from shotnoise.isp.blur import gaussian_kernel, reflected
from shotnoise.isp.mosaic import check_rgb, mosaic
from shotnoise.networks.checkpoint import filled, read_state
from shotnoise.networks.dual_attention import RecursiveGroup
from shotnoise.networks.network import Network

__all__ = ["CCM", "CycleISP", "Raw2Rgb", "Rgb2Raw"]


def _head(inside: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, width, 3, padding=1))


def _body(width: int, groups: int, blocks: int, reduction: int, slope: nn.PReLU) -> nn.Sequential:
    made = (RecursiveGroup(width, blocks, reduction, slope) for _ in range(groups))
    return nn.Sequential(*made, nn.Conv2d(width, width, 3, padding=1), slope)


class Rgb2Raw(nn.Module):
    """sRGB (B, 3, H, W) -> planes (B, 4, H/2, W/2) of an RGGB mosaic, about 0..1 and not limited to it."""

    def __init__(self, n_feats: int, num_rrg: int, num_dab: int, reduction: int) -> None:
        super().__init__()
        self.head = _head(3, n_feats)
        self.body = _body(n_feats, num_rrg, num_dab, reduction, nn.PReLU(n_feats))
        self.tail = nn.Sequential(nn.Conv2d(n_feats, 3, 3, padding=1))

    def forward(self, rgb: Tensor) -> Tensor:  # noqa: D102
        return mosaic(self.tail(self.body(self.head(rgb))))


class _Blur(nn.Module):
    """A fixed Gaussian, 21 pixels wide with a deviation of 12: nearly a mean."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", gaussian_kernel(21, 12).repeat(3, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(reflected(x, 10, 10), self.weight, groups=3)


class CCM(nn.Module):
    """Clean sRGB (B, 3, H, W) -> a factor in 0..1 for each feature of the renderer, (B, C, H/2, W/2)."""

    def __init__(self, n_feats: int, num_rrg: int, num_dab: int, reduction: int) -> None:
        super().__init__()
        self.blur = _Blur()
        self.head = _head(3, n_feats)
        self.body = _body(n_feats, num_rrg, num_dab, reduction, nn.PReLU(n_feats))
        self.tail = nn.Sequential(nn.Conv2d(n_feats, n_feats, 3, padding=1), nn.Sigmoid())

    def forward(self, rgb: Tensor) -> Tensor:  # noqa: D102
        x = F.max_pool2d(self.head(self.blur(rgb)), 2)  # (B, C, H/2, W/2)
        factors: Tensor = self.tail(self.body(x))
        return factors


class _Unused(nn.Module):
    """A convolution of the official files that nothing goes through: kept, not trained."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outside, inside, 1, 1))
        self.register_buffer("bias", torch.zeros(outside))


class Raw2Rgb(nn.Module):
    """Planes (B, 4, h, w) and what :class:`CCM` says -> sRGB (B, 3, 2h, 2w), about 0..1 and not limited to it."""

    def __init__(self, n_feats: int, num_rrg: int, num_dab: int, reduction: int) -> None:
        super().__init__()
        slope = nn.PReLU(n_feats)
        self.head = _head(4, n_feats)
        self.body = _body(n_feats, num_rrg, num_dab, reduction, slope)
        self.conv1x1 = nn.Sequential(_Unused(2 * n_feats, n_feats))
        self.tail = nn.Sequential(nn.Conv2d(n_feats, n_feats, 3, padding=1), slope)
        self.tail_rgb = nn.Sequential(nn.Conv2d(n_feats, 12, 1))

    def forward(self, raw: Tensor, colours: Tensor) -> Tensor:  # noqa: D102
        x = self.body[:-1](self.head(raw))
        x = self.tail(self.body[-1](x * colours + x))
        return F.pixel_shuffle(self.tail_rgb(x), 2)  # (B, 12, h, w) -> (B, 3, 2h, 2w)


class CycleISP(Network):
    """There and back: to_rgb(to_raw(rgb)). What is used is one of the two ways, or both with noise in between.

    It is a :class:`~shotnoise.isp.Renderer` whose context is the clean display picture.

    Args:
        n_feats: features of all parts.
        num_rrg: recursive groups of the two ways.
        num_dab: blocks in each.
        reduction: how many times fewer features channel attention has inside, in all parts.
        ccm_num_rrg: recursive groups of the part that sees the colours.
        ccm_num_dab: blocks in each.
    """

    source: ClassVar[str] = "Zamir et al., CVPR 2020"
    multiple = 2
    whole = True
    channels = 3

    def __init__(
        self,
        *,
        n_feats: int = 96,
        num_rrg: int = 3,
        num_dab: int = 5,
        reduction: int = 8,
        ccm_num_rrg: int = 2,
        ccm_num_dab: int = 2,
    ) -> None:
        super().__init__()
        self.rgb2raw = Rgb2Raw(n_feats, num_rrg, num_dab, reduction)
        self.ccm = CCM(n_feats, ccm_num_rrg, ccm_num_dab, reduction)
        self.raw2rgb = Raw2Rgb(n_feats, num_rrg, num_dab, reduction)

    def forward(self, noisy: Tensor, level: Tensor | None = None, latent: Tensor | None = None) -> Tensor:  # noqa: D102
        return self.to_rgb(self.rgb2raw(noisy).clamp(0, 1), noisy)

    def to_raw(self, rgb: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The RAW of clean display pictures, and what :meth:`to_rgb` needs to render it.

        Args:
            rgb: (B, 3, H, W) in 0..1 with even sides.
            generator: of other renderers; nothing is drawn here.

        Returns:
            (B, 4, H/2, W/2) in 0..1, and `rgb`.
        """
        check_rgb(rgb)
        return self.rgb2raw(rgb).clamp(0, 1), rgb

    def to_rgb(self, raw: Tensor, context: Tensor) -> Tensor:
        """Render RAW.

        Args:
            raw: (B, 4, h, w) in 0..1.
            context: the clean display picture that it belongs to, (B, 3, 2h, 2w): it gives the colours.

        Returns:
            (B, 3, 2h, 2w), about 0..1 and not limited to it.
        """
        result: Tensor = self.raw2rgb(raw, self.ccm(context))
        return result

    @classmethod
    def assemble(
        cls, *, rgb2raw: str | os.PathLike[str], ccm: str | os.PathLike[str], raw2rgb: str | os.PathLike[str]
    ) -> Self:
        """The network from the three files that its authors publish, or from others like them.

        Args:
            rgb2raw: file of the part sRGB -> RAW.
            ccm: file of the part that sees the colours.
            raw2rgb: file of the part RAW -> sRGB.

        Returns:
            The network in eval mode; :func:`~shotnoise.networks.checkpoint.save_checkpoint` writes it as one file.
        """
        state: dict[str, Tensor] = {}
        for name, path in (("rgb2raw", rgb2raw), ("ccm", ccm), ("raw2rgb", raw2rgb)):
            state |= {f"{name}.{key}": value for key, value in _part(Path(path), name).items()}
        network = filled("cycleisp", _arguments(state), state, Path(rgb2raw))
        if not isinstance(network, cls):
            raise ModelError(f"{rgb2raw}: makes a {type(network).__name__}; expected a {cls.__name__}")
        return network

    @classmethod
    def arguments_from(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Read everything off keys and shapes; a part alone is refused in words."""
        if {"rgb2raw.head.0.weight", "ccm.blur.weight", "raw2rgb.tail_rgb.0.weight"} <= state.keys():
            return _arguments(state)
        part = _kind(state)
        if part in ("ccm", "raw2rgb") or (part == "rgb2raw" and _is_published(state)):
            besides = " (or name the network cycleisp-denoiser, if it is one)" if part == "rgb2raw" else ""
            raise ModelError(
                f"its tensors are '{part}', one of the three parts of CycleISP; expected all three in one file: make "
                f"it with CycleISP.assemble(rgb2raw=..., ccm=..., raw2rgb=...) of shotnoise.networks.cycleisp{besides}"
            )
        return None


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def _arguments(state: Mapping[str, Tensor], *, ways: str = "rgb2raw.", colours: str = "ccm.") -> dict[str, Any]:
    inside = state[f"{ways}body.0.body.0.CA.conv_du.0.weight"]
    return {
        "n_feats": inside.shape[1],
        "num_rrg": _count(state, rf"{ways}body\.(\d+)\.body\.0\."),
        "num_dab": _count(state, rf"{ways}body\.0\.body\.(\d+)\.SA\."),
        "reduction": inside.shape[1] // inside.shape[0],
        "ccm_num_rrg": _count(state, rf"{colours}body\.(\d+)\.body\.0\."),
        "ccm_num_dab": _count(state, rf"{colours}body\.0\.body\.(\d+)\.SA\."),
    }


def _kind(state: Mapping[str, Tensor]) -> str | None:
    """Which part of CycleISP a state dict may be: 'rgb2raw', which has the form of a denoiser, 'ccm' or 'raw2rgb'."""
    head, tail = state.get("head.0.weight"), state.get("tail.0.weight")
    if head is None or tail is None or "body.0.body.0.SA.spatial.conv.weight" not in state:
        return None
    if "tail_rgb.0.weight" in state:
        return "raw2rgb"
    if "blur.weight" in state:
        return "ccm"
    return "rgb2raw" if head.shape[1] == tail.shape[0] == 3 else None


def _is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether what may be sRGB -> RAW or a denoiser has the size of the former, and not that of the latter."""
    sizes = _arguments(state, ways="")
    return (sizes["n_feats"], sizes["num_rrg"], sizes["num_dab"], sizes["reduction"]) == (96, 3, 5, 8)


def _part(path: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one part, without what the training left around them."""
    tensors, _ = read_state(path)
    mark = "head.0.weight"
    places = [key.removesuffix(mark) for key in tensors if key == mark or key.endswith(f".{mark}")]
    if len(places) != 1:
        raise ModelError(f"{path}: holds {len(places)} networks of CycleISP; expected the part '{name}' alone")
    state = {key.removeprefix(places[0]): value for key, value in tensors.items() if key.startswith(places[0])}
    kind = _kind(state)
    if kind != name:
        found = f"the part '{kind}'" if kind else "no part"
        raise ModelError(f"{path}: is {found} of CycleISP; expected '{name}': give {name}= the file of that name")
    return state
