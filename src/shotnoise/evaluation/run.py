"""Running a denoiser over the pictures of a protocol."""

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shotnoise.errors import EngineError, PictureError, StoreError
from shotnoise.evaluation.metrics import psnr, ssim
from shotnoise.evaluation.protocols import Protocol, find_pictures, pad
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
        save_pictures: folder for the noisy and the denoised pictures as PNG, in ``noisy/`` and ``denoised/``; of the
            first repeat.
        progress: called with (done, total) after each picture and repeat.
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
    failed: dict[Path, str] = {}
    converted = 0
    generator = protocol.generator()
    total = protocol.repeats * len(paths)
    for done, (repeat, path) in enumerate(itertools.product(range(protocol.repeats), paths), 1):
        if protocol.seeding == "each picture":
            generator = protocol.generator(repeat)
        name = path.relative_to(found).as_posix()
        try:
            if path not in failed:
                clean, changed = _clean(path, channels)
                row, noisy, output = _measure(denoise, protocol, clean, generator, name, repeat)
                rows.append(row)
                converted += changed and repeat == 0
                if save_pictures is not None and repeat == 0:
                    _save(Path(save_pictures), name, noisy=noisy, denoised=output)
        except (PictureError, EngineError) as error:
            failed[path] = str(error) if str(path) in str(error) else f"{path}: {error}"
        if progress:
            progress(done, total)
    lost = {path.relative_to(found).as_posix() for path in failed}
    rows = [row for row in rows if row.picture not in lost]  # one that failed in a later repeat
    if not rows:
        first = next(iter(failed.values()))
        raise StoreError(f"{found}: none of {len(paths)} pictures could be measured, the first because: {first}")
    if converted:
        kind = "gray (Rec. 601 luma, 8 bits)" if channels == 1 else "RGB"
        warnings.append(
            f"{converted} of {len(paths) - len(failed)} pictures were converted to {kind} before noise was added"
        )
    return Evaluation(protocol, found, tuple(rows), tuple(failed.values()), tuple(warnings))


def _clean(path: Path, channels: int) -> tuple[npt.NDArray[np.uint8], bool]:
    """The picture as (H, W, C) 8-bit values, and whether its channels were converted."""
    image = open_image(path)
    pixels = planes(to_depth(image.pixels, np.uint8), channels)
    return pixels.transpose(1, 2, 0), image.channels != channels


def _measure(
    denoise: Denoise,
    protocol: Protocol,
    clean: npt.NDArray[np.uint8],
    generator: np.random.RandomState,
    name: str,
    repeat: int,
) -> tuple[PictureScore, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    strength = protocol.draw(generator)
    noisy = protocol.add_noise(clean, generator, strength)
    height, width = clean.shape[:2]
    planar = pad(np.ascontiguousarray(noisy.transpose(2, 0, 1)), protocol.padding)  # (H, W, C) -> (C, H, W)
    start = time.perf_counter()
    estimate = denoise(planar, protocol.level(strength))
    seconds = time.perf_counter() - start
    if estimate.shape != planar.shape:
        raise PictureError(f"the denoiser returned shape {estimate.shape} for a picture of shape {planar.shape}")
    output, seen = protocol.quantise(estimate[:, :height, :width].transpose(1, 2, 0)), protocol.quantise(noisy)
    row = PictureScore(
        picture=name,
        repeat=repeat,
        height=height,
        width=width,
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
