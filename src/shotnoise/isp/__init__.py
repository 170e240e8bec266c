"""The inside of a camera on batches of tensors: display pictures to RAW and back, every step differentiable.

>>> import torch
>>> generator = torch.Generator().manual_seed(0)
>>> raw, camera = ClassicalISP().to_raw(torch.rand(2, 3, 32, 48, generator=generator), generator)
>>> raw.shape, ClassicalISP().to_rgb(raw, camera).shape
(torch.Size([2, 4, 16, 24]), torch.Size([2, 3, 32, 48]))
"""

from shotnoise.isp.bayer import augment, unify
from shotnoise.isp.blur import blur, gaussian_kernel
from shotnoise.isp.camera import Camera, camera_of, draw_cameras
from shotnoise.isp.mosaic import demosaic, mosaic
from shotnoise.isp.renderer import ClassicalISP, Context, Renderer
from shotnoise.isp.steps import process, unprocess

__all__ = [
    "Camera",
    "ClassicalISP",
    "Context",
    "Renderer",
    "augment",
    "blur",
    "camera_of",
    "demosaic",
    "draw_cameras",
    "gaussian_kernel",
    "mosaic",
    "process",
    "unify",
    "unprocess",
]
