"""One noisy picture and nothing else: a small network fitted to it, then run over it.

Mansour, Heckel: "Zero-Shot Noise2Noise: Efficient Image Denoising without any Data", CVPR 2023, arXiv 2303.11253.
Two fixed filters average the diagonals of every 2 x 2 cell, which gives two half-size pictures with the same content
and independent noise. A network f of three convolutions (channels-48-48-channels, 22,275 parameters for RGB)
predicts noise: each half less its noise must look like the other half, and shrinking the clean picture must give the
clean halves.

Differences from the paper: each step sees two random windows instead of the whole picture, so the time does not grow
with the picture; the learning rate is three times theirs; the weights are averaged over the last steps. (With their
rate, halved half way, and four windows, as many steps took 1.8 times as long and ended 0.2 dB lower on the one picture
this was tried on.)
The picture is brought to a standard mean and contrast first, so that any range of values will do.

The noise must be independent from pixel to pixel and have mean zero: not that of a JPEG or of a developed camera
picture.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shotnoise.errors import PictureError, RecipeError
from shotnoise.images.image import full_scale
from shotnoise.tiling import plan_tiles, read_tile

__all__ = ["ZeroShotReport", "fit_zero_shot"]

_FEATURES = 48
_SLOPE = 0.2
_HALO = 2  # two 3 x 3 convolutions
_WINDOW, _WINDOWS = 64, 2  # side and number of the windows of a step
_LR = 3e-3
_AVERAGE = 0.99  # decay of the averaged weights
_BUDGET = 2**19  # pixels per tile when the network is run: 100 MB per layer
_SMALLEST = 8

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class ZeroShotReport:
    """What the fit did.

    Attributes:
        steps: optimiser steps.
        seed: of initial weights and windows.
        loss: mean over the last tenth of the steps, in squared units of the standardised picture.
        removed: root mean square of what was taken away, in units of the picture's own values.
        seconds: of fit and run together.
    """

    steps: int
    seed: int
    loss: float
    removed: float
    seconds: float


def fit_zero_shot(
    pixels: npt.NDArray[Any],
    *,
    steps: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
    threads: int | None = None,
) -> tuple[npt.NDArray[Any], ZeroShotReport]:
    """Denoise a picture with a network that has seen only this picture.

    The same arguments give the same result on one machine; another number of threads changes the last bits.

    Args:
        pixels: (H, W) or (H, W, 3); uint8, uint16, or floating point in any range.
        steps: more are slower and slightly better; below a few hundred the result is blurred.
        seed: of initial weights and windows.
        progress: called with (step, steps, loss) after each step.
        threads: CPU threads of torch during the fit; None leaves its setting.

    Returns:
        the clean picture in the shape and type of `pixels`, and what happened.
    """
    if steps < 1:
        raise RecipeError(f"steps is {steps}; expected at least 1, as in 2000")
    if threads is not None and threads < 1:
        raise RecipeError(f"threads is {threads}; expected at least 1, or leave it out")
    _check(pixels)
    start = time.perf_counter()
    planes = (pixels[..., None] if pixels.ndim == 2 else pixels).astype(np.float64).transpose(2, 0, 1)
    # Mean one half and standard deviation one quarter, as a well exposed picture in 0..1 has.
    middle, unit = float(planes.mean()), 4 * float(planes.std()) or 1.0
    noisy = ((planes - middle) / unit + 0.5).astype(np.float32)
    with _threads(threads):
        network, loss = _fit(torch.from_numpy(np.ascontiguousarray(noisy)), steps, seed, progress)
        noise = _run(network, noisy) * unit
    clean = _in_type(planes - noise, pixels)
    report = ZeroShotReport(
        steps=steps,
        seed=seed,
        loss=loss,
        removed=math.sqrt(float(np.mean(noise**2))),
        seconds=time.perf_counter() - start,
    )
    return clean, report


def _check(pixels: npt.NDArray[Any]) -> None:
    full_scale(pixels.dtype)  # refuses types that are not pictures
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise PictureError(f"pixels have the shape {pixels.shape}; expected (H, W) or (H, W, 3)")
    height, width = pixels.shape[:2]
    if min(height, width) < _SMALLEST:
        raise PictureError(
            f"a picture of {height} x {width} pixels is too small to learn from; "
            f"expected at least {_SMALLEST} x {_SMALLEST}"
        )
    if not np.isfinite(pixels).all():
        raise PictureError("the picture has values that are not finite; replace them before the fit")


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network(channels: int, generator: torch.Generator) -> nn.Sequential:
    """Torch's usual first weights, but from our generator; its own stays untouched."""
    network = nn.Sequential(
        nn.Conv2d(channels, _FEATURES, 3, padding=1, device="meta"),
        nn.LeakyReLU(_SLOPE, inplace=True),
        nn.Conv2d(_FEATURES, _FEATURES, 3, padding=1, device="meta"),
        nn.LeakyReLU(_SLOPE, inplace=True),
        nn.Conv2d(_FEATURES, channels, 1, device="meta"),
    ).to_empty(device="cpu")
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, nn.Conv2d):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _fit(picture: Tensor, steps: int, seed: int, progress: Progress | None) -> tuple[nn.Sequential, float]:
    """The network with averaged weights, and the mean loss of the last tenth."""
    generator = torch.Generator().manual_seed(seed)
    network = _network(len(picture), generator)
    parameters: list[Tensor] = list(network.parameters())
    averages = [parameter.detach().clone() for parameter in parameters]
    optimiser = torch.optim.Adam(parameters, lr=_LR)
    losses: list[float] = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = _LR if step < 0.75 * steps else _LR / 2
        loss = _loss(network, _windows(picture, generator))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decay = min(_AVERAGE, (step + 1) / (step + 10))  # the first weights must not linger in a short fit
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 1 - decay)
        losses.append(loss.item())
        if progress is not None:
            progress(step + 1, steps, losses[-1])
    with torch.no_grad():
        for parameter, average in zip(parameters, averages, strict=True):
            parameter.copy_(average)
    tail = losses[-max(1, steps // 10) :]
    return network, sum(tail) / len(tail)


def _windows(picture: Tensor, generator: torch.Generator) -> Tensor:
    """(C, H, W) -> (_WINDOWS, C, h, w), h and w even and at most _WINDOW, anywhere in the picture."""
    height, width = (min(side - side % 2, _WINDOW) for side in picture.shape[1:])
    windows = []
    for _ in range(_WINDOWS):
        top, left = (
            int(torch.randint(full - part + 1, (1,), generator=generator))
            for full, part in zip(picture.shape[1:], (height, width), strict=True)
        )
        windows.append(picture[:, top : top + height, left : left + width])
    return torch.stack(windows).contiguous(memory_format=torch.channels_last)


def _halves(picture: Tensor) -> tuple[Tensor, Tensor]:
    """The means over the two diagonals of each 2 x 2 cell: (B, C, H, W) -> twice (B, C, H/2, W/2)."""
    falling = (picture[..., 0::2, 0::2] + picture[..., 1::2, 1::2]) / 2
    rising = (picture[..., 0::2, 1::2] + picture[..., 1::2, 0::2]) / 2
    return rising, falling


def _loss(network: nn.Sequential, noisy: Tensor) -> Tensor:
    first, second = _halves(noisy)
    noise = network(torch.cat((first, second)).contiguous(memory_format=torch.channels_last))
    clean_first, clean_second = first - noise[: len(first)], second - noise[len(first) :]
    shrunk_first, shrunk_second = _halves(noisy - network(noisy))
    residual = F.mse_loss(clean_first, second) + F.mse_loss(clean_second, first)
    consistency = F.mse_loss(clean_first, shrunk_first) + F.mse_loss(clean_second, shrunk_second)
    return (residual + consistency) / 2


def _run(network: nn.Sequential, noisy: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The noise of the whole picture, tile by tile."""
    pixels = noisy.transpose(1, 2, 0)
    noise = np.empty(noisy.shape, np.float64)
    for tile in plan_tiles(*noisy.shape[1:], halo=_HALO, budget=_BUDGET).tiles:
        window = torch.from_numpy(np.ascontiguousarray(read_tile(pixels, tile)))
        with torch.inference_mode():
            found = network(window.permute(2, 0, 1)[None])[0].numpy()
        noise[(slice(None), *tile.write)] = found[(slice(None), *tile.keep)]
    if not np.isfinite(noise).all():
        raise PictureError("the fit did not converge on this picture; try another seed")
    return noise


def _in_type(planes: npt.NDArray[np.float64], pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Into the shape and type of `pixels`: integers rounded half up and clipped, floating point as it is."""
    if pixels.dtype.kind == "u":
        planes = np.clip(np.floor(planes + 0.5), 0, full_scale(pixels.dtype))
    return np.ascontiguousarray(planes.transpose(1, 2, 0).reshape(pixels.shape).astype(pixels.dtype))
