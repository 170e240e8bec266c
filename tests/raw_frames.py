"""Small RAW frames on disk, for the tests of everything that reads them."""

from pathlib import Path

import numpy as np

from shotnoise.images.raw import RawFrame
from shotnoise.images.raw.headerless import save_headerless

BLACK = (60.0, 64.0, 66.0, 70.0)
WHITE = 1023.0


def frame(seed: int, height: int = 48, width: int = 64, pattern: str = "RGGB", noise: float = 3.0) -> RawFrame:
    """A smooth scene with noise around black in one corner and counts above white in another."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    light = 300 + 250 * np.sin(x * (0.05 + 0.01 * seed) + rng.uniform(0, 6)) * np.cos(y * 0.06)
    light[:8, :8] = 0
    light[-4:, -4:] = 1023 - 60
    mosaic = np.clip(np.rint(light + 65 + rng.normal(0, noise, light.shape)), 0, 1030).astype(np.uint16)
    return RawFrame(
        mosaic, pattern, BLACK, WHITE,
        make="Test", model="Cam", iso=100.0 * (seed + 1), exposure=0.01, white_balance=(2.0, 1.0, 1.5),
    )  # fmt: skip


def write_frames(folder: Path, count: int = 4, **options: object) -> dict[str, RawFrame]:
    """Name -> frame of headerless files with their layouts, of all four patterns in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = {}
    for seed in range(count):
        pattern = ("RGGB", "GRBG", "GBRG", "BGGR")[seed % 4]
        frames[f"{seed}.raw"] = frame(seed, pattern=pattern, **options)
        save_headerless(frames[f"{seed}.raw"], folder / f"{seed}.raw")
    return frames
