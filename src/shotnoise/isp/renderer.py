"""What makes RAW of display pictures and display pictures of RAW, classical or learned."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from shotnoise.isp.camera import Camera, draw_cameras
from shotnoise.isp.mosaic import Filling
from shotnoise.isp.steps import process, unprocess

__all__ = ["ClassicalISP", "Context", "Renderer"]

Context = Any  # of a renderer's own kind: handed from to_raw to to_rgb and not looked at


@runtime_checkable
class Renderer(Protocol):
    """A way to RAW and back, for whoever puts a sensor's noise on display pictures.

    ::

        raw, context = renderer.to_raw(clean, generator)
        noisy = renderer.to_rgb(noise(raw), context).clamp(0, 1)

    Two of them: :class:`ClassicalISP`, an invented camera for each picture, and the network
    :class:`~shotnoise.networks.cycleisp.CycleISP`.
    """

    def to_raw(self, rgb: Tensor, generator: torch.Generator) -> tuple[Tensor, Context]:
        """The RAW of clean display pictures.

        Args:
            rgb: (B, 3, H, W) in 0..1 with even sides.
            generator: source of all randomness.

        Returns:
            Planes R, Gr, Gb, B of RGGB mosaics, (B, 4, H/2, W/2) in 0..1, and what :meth:`to_rgb` has to know of each
            picture.
        """

    def to_rgb(self, raw: Tensor, context: Context) -> Tensor:
        """(B, 4, h, w) -> display pictures (B, 3, 2h, 2w), about 0..1 and not always limited to it."""


class ClassicalISP:
    """Every picture through a camera of its own: T. Brooks et al., arXiv 1811.11127; the context is the camera.

    As it stands the way back undoes every step of the way there; what then differs from the original is what the
    mosaic has lost, and highlights. Below 0.9 a plain colour comes back to 2e-5; windows of 36 large photographs to
    35 dB in the median, and to 49 dB after the blur with which CycleISP prepares its own; 36 small and sharp ones to 25
    and 41. Where that matters, compare with to_rgb of the clean RAW and not with the original. With False, False and
    "bilinear" the way back is the published one, which is darker, flatter and softer.

    Args:
        tone: apply the tone curve on the way back.
        rgb_gain: apply the total gain on the way back.
        filling: how colours are filled in on the way back, as in :func:`~shotnoise.isp.demosaic`.
    """

    def __init__(self, *, tone: bool = True, rgb_gain: bool = True, filling: Filling = "gradient") -> None:
        self.tone, self.rgb_gain, self.filling = tone, rgb_gain, filling

    def to_raw(self, rgb: Tensor, generator: torch.Generator) -> tuple[Tensor, Camera]:
        """The RAW that a drawn camera would have recorded, and that camera."""
        camera = draw_cameras(len(rgb), generator)
        return unprocess(rgb, camera), camera

    def to_rgb(self, raw: Tensor, context: Camera) -> Tensor:
        """The display picture that the camera makes of it, in 0..1."""
        return process(raw, context, tone=self.tone, rgb_gain=self.rgb_gain, filling=self.filling)
