"""shotnoise: from a noisy camera, or any pile of noisy images, to a denoiser that is measured and running.

The public names load on first use, so that ``import shotnoise`` stays cheap.
"""

import importlib
import os

TYPE_CHECKING = False  # that of typing, whose import would take three times as long as the rest
if TYPE_CHECKING:
    from typing import Any

    from shotnoise.denoiser import Denoiser
    from shotnoise.images import Image, open_image, save_image
    from shotnoise.images.raw import RawFrame, open_raw, save_dng
    from shotnoise.mri import open_volume, save_volume
    from shotnoise.raw_denoiser import RawDenoiser
    from shotnoise.sensor.profile import NoiseProfile
    from shotnoise.volume_denoiser import VolumeDenoiser

__version__ = "0.1.0"

# onnxruntime and nncf report their use to their makers unless they find this when they are imported. Nothing here talks
# to anybody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("NNCF_CI", "1")

_PUBLIC = {
    "Denoiser": "shotnoise.denoiser",
    "Image": "shotnoise.images",
    "NoiseProfile": "shotnoise.sensor.profile",
    "RawDenoiser": "shotnoise.raw_denoiser",
    "RawFrame": "shotnoise.images.raw",
    "VolumeDenoiser": "shotnoise.volume_denoiser",
    "open_image": "shotnoise.images",
    "open_raw": "shotnoise.images.raw",
    "open_volume": "shotnoise.mri",
    "save_dng": "shotnoise.images.raw",
    "save_image": "shotnoise.images",
    "save_volume": "shotnoise.mri",
}
_ROOMS = ("denoiser", "engines", "errors", "evaluation", "export", "images", "networks", "noise", "store")

__all__ = [
    "Denoiser",
    "Image",
    "NoiseProfile",
    "RawDenoiser",
    "RawFrame",
    "VolumeDenoiser",
    "__version__",
    "open_image",
    "open_raw",
    "open_volume",
    "save_dng",
    "save_image",
    "save_volume",
]


def __getattr__(name: str) -> "Any":
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _ROOMS:  # so that `shotnoise.networks.create(...)` works after `import shotnoise`
        return importlib.import_module(f"shotnoise.{name}")
    raise AttributeError(f"module 'shotnoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
