"""Running a denoiser over the pictures of a protocol."""

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shotnoise.errors import EngineError, PictureError, StoreError
from shotnoise.evaluation.protocol import Protocol, Told, Trial
from shotnoise.evaluation.report import Evaluation, PictureScore, told_in_words
from shotnoise.images import save_image
from shotnoise.metrics import psnr, ssim

__all__ = ["Denoise", "evaluate"]

Denoise = Callable[[npt.NDArray[np.float32], Told], npt.NDArray[np.float32]]


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
        denoise: takes a noisy picture, (C, H, W) float32 around 0..1, and what it is told about the noise: the standard
            deviation in the same units, or the law of a sensor; returns its estimate of the clean picture in the
            same shape.
        protocol: the rules.
        folder: the pictures, or the folder above them; see :meth:`Protocol.find`.
        channels: what `denoise` works on: 3 or 1, or 4 for planes of RAW. Pictures of the other kind are converted
            first, by the rule of :func:`shotnoise.store.planes`, and the result says so.
        limit: measure only the first pictures.
        save_pictures: folder for the noisy and the denoised pictures as PNG, in ``noisy/`` and ``denoised/``; of the
            first repeat.
        progress: called with (done, total) after each picture and repeat.
    """
    if limit is not None and limit < 1:
        raise StoreError(f"limit is {limit}; expected a number of pictures")
    found, paths = protocol.find(Path(folder))
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
                trial = protocol.trial(path, channels, generator)
                row, noisy, output = _measure(denoise, trial, name, repeat)
                rows.append(row)
                converted += trial.converted and repeat == 0
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
        when = "before noise was added" if protocol.simulated else "first"
        warnings.append(f"{converted} of {len(paths) - len(failed)} pictures were converted to {kind} {when}")
    return Evaluation(protocol, found, tuple(rows), tuple(failed.values()), tuple(warnings))


def _measure(
    denoise: Denoise, trial: Trial, name: str, repeat: int
) -> tuple[PictureScore, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    start = time.perf_counter()
    estimate = denoise(trial.noisy, trial.told)
    seconds = time.perf_counter() - start
    if estimate.shape != trial.noisy.shape:
        raise PictureError(f"the denoiser returned shape {estimate.shape} for a picture of shape {trial.noisy.shape}")
    estimate = trial.finished(estimate)
    output, given = trial.judged(estimate), trial.judged(trial.noisy)
    truth = trial.structure(trial.clean)
    row = PictureScore(
        picture=name,
        repeat=repeat,
        height=trial.clean.shape[0],
        width=trial.clean.shape[1],
        noisy_psnr=psnr(given, trial.clean, trial.data_range),
        noisy_ssim=ssim(trial.structure(given), truth, trial.data_range),
        psnr=psnr(output, trial.clean, trial.data_range),
        ssim=ssim(trial.structure(output), truth, trial.data_range),
        seconds=seconds,
        told=told_in_words(trial.told),
    )
    return row, trial.seen(trial.noisy), trial.seen(estimate)


def _save(folder: Path, name: str, **pictures: npt.NDArray[np.uint8]) -> None:
    for kind, pixels in pictures.items():
        path = folder / kind / (name if name.lower().endswith(".png") else f"{name}.png")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: its folder cannot be made ({error.strerror}); choose another place") from None
        save_image(pixels, path)
