"""Running a denoiser over the pictures of a protocol."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shotnoise.errors import EngineError, PictureError, StoreError
from shotnoise.evaluation.metrics import psnr, quantise, ssim
from shotnoise.evaluation.protocols import Protocol, find_pictures
from shotnoise.evaluation.report import Evaluation, PictureScore
from shotnoise.images import open_image, save_image
from shotnoise.images.image import to_depth
from shotnoise.store import planes

__all__ = ["Denoise", "evaluate"]

Denoise = Callable[[npt.NDArray[np.float32], float | None], npt.NDArray[np.float32]]


def evaluate(
    denoise: Denoise,
    protocol: Protocol,
    folder: str | os.PathLike[str],
    *,
    channels: int = 3,
    limit: int | None = None,
    save_pictures: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a denoiser by a protocol.

    A picture that cannot be measured is listed in the result and left out of the means.

    Args:
        denoise: takes a noisy picture, (C, H, W) float32 around 0..1, and the standard deviation of its noise in the
            same units; returns its estimate of the clean picture in the same shape.
        protocol: the rules.
        folder: the pictures, or the folder above them; see :func:`find_pictures`.
        channels: 3 or 1, what `denoise` works on. Pictures of the other kind are converted before noise is added,
            by the rule of :func:`shotnoise.store.planes`, and the result says so.
        limit: measure only the first pictures.
        save_pictures: folder for the noisy and the denoised pictures as PNG, in ``noisy/`` and ``denoised/``.
        progress: called with (done, total) after each picture.
    """
    if limit is not None and limit < 1:
        raise StoreError(f"limit is {limit}; expected a number of pictures")
    found, paths = find_pictures(protocol, Path(folder))
    warnings = []
    if protocol.pictures is not None and len(paths) != protocol.pictures:
        warnings.append(f"{protocol.data_set} has {protocol.pictures} pictures, {len(paths)} are in {found}")
    if limit is not None and limit < len(paths):
        warnings.append(f"only the first {limit} of {len(paths)} pictures were measured")
        paths = paths[:limit]
    rows: list[PictureScore] = []
    failed: list[str] = []
    converted = 0
    for done, path in enumerate(paths, 1):
        name = path.relative_to(found).as_posix()
        try:
            clean, changed = _clean(path, channels)
            row, noisy, output = _measure(denoise, protocol, clean, name)
        except (PictureError, EngineError) as error:
            failed.append(str(error) if str(path) in str(error) else f"{path}: {error}")
        else:
            rows.append(row)
            converted += changed
            if save_pictures is not None:
                _save(Path(save_pictures), name, noisy=noisy, denoised=output)
        if progress:
            progress(done, len(paths))
    if not rows:
        raise StoreError(f"{found}: none of {len(paths)} pictures could be measured, the first because: {failed[0]}")
    if converted:
        kind = "gray (Rec. 601 luma, 8 bits)" if channels == 1 else "RGB"
        warnings.append(f"{converted} of {len(rows)} pictures were converted to {kind} before noise was added")
    return Evaluation(protocol, found, tuple(rows), tuple(failed), tuple(warnings))


def _clean(path: Path, channels: int) -> tuple[npt.NDArray[np.uint8], bool]:
    """The picture as (H, W, C) 8-bit values, and whether its channels were converted."""
    image = open_image(path)
    pixels = planes(to_depth(image.pixels, np.uint8), channels)
    return pixels.transpose(1, 2, 0), image.channels != channels


def _measure(
    denoise: Denoise, protocol: Protocol, clean: npt.NDArray[np.uint8], name: str
) -> tuple[PictureScore, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    noisy = protocol.add_noise(clean, protocol.generator())
    planar = np.ascontiguousarray(noisy.transpose(2, 0, 1))  # (H, W, C) -> (C, H, W)
    start = time.perf_counter()
    estimate = denoise(planar, protocol.sigma)
    seconds = time.perf_counter() - start
    if estimate.shape != planar.shape:
        raise PictureError(f"the denoiser returned shape {estimate.shape} for a picture of shape {planar.shape}")
    output, seen = quantise(estimate.transpose(1, 2, 0)), quantise(noisy)
    row = PictureScore(
        picture=name,
        height=clean.shape[0],
        width=clean.shape[1],
        noisy_psnr=psnr(seen, clean, 255),
        psnr=psnr(output, clean, 255),
        ssim=ssim(output, clean, 255),
        seconds=seconds,
    )
    return row, seen, output


def _save(folder: Path, name: str, **pictures: npt.NDArray[np.uint8]) -> None:
    for kind, pixels in pictures.items():
        path = folder / kind / (name if name.lower().endswith(".png") else f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(pixels, path)
