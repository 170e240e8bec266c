"""Pictures on disk -> noisy and clean ones on disk: folders that anybody can open, or a store."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shotnoise.errors import PictureError, RecipeError
from shotnoise.images import Image, list_pictures, open_image, save_image
from shotnoise.images._disk import write
from shotnoise.images.image import full_scale, to_depth
from shotnoise.images.raw.bayer import join
from shotnoise.store import StoreWriter, planes
from shotnoise.synthesis.chain import NoisyRaw, Synthesizer

__all__ = ["Domain", "Made", "SynthesisReport", "synthesize"]

Domain = Literal["srgb", "raw"]
_DEPTHS = {8: np.uint8, 16: np.uint16}
_COUNTS = 255.0

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Made:
    """One pair.

    Attributes:
        name: of the sample.
        picture: file that it was made from.
        k: of the noise in RAW, per plane.
        s2: likewise.
        sigma: root mean square difference of the noisy from the clean one, in counts of 8 bits.
        quality: of the JPEG compression, where there was one.
    """

    name: str
    picture: str
    k: tuple[float, ...]
    s2: tuple[float, ...]
    sigma: float
    quality: int | None = None


@dataclass
class SynthesisReport:
    """What was made.

    Attributes:
        out: folder or store.
        domain: srgb or raw.
        made: the pairs.
        failed: why pictures are missing, one line each.
        seconds: that it took.
    """

    out: Path
    domain: Domain
    made: list[Made] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "out": str(self.out)}


def synthesize(
    inputs: Sequence[str | Path],
    out: str | Path,
    synthesizer: Synthesizer,
    *,
    domain: Domain = "srgb",
    store: bool = False,
    crop: int | None = None,
    bits: int = 8,
    seed: int = 0,
    overwrite: bool = False,
    made_by: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SynthesisReport:
    """Make a noisy and a clean version of every picture.

    As a folder: of sRGB `clean/NAME.png` and `noisy/NAME.png`; of RAW `npz/NAME.npz` with the arrays clean, noisy and
    variance, (4, H/2, W/2) float32, shot and read, one number for each plane, and for the eye the mosaics as
    `mosaic/clean/NAME.png` and `mosaic/noisy/NAME.png`. As a store: the arrays "clean" and "noisy". Each pair depends
    on the name of its picture and the seed alone. A picture that cannot be used is reported and does not stop the rest.

    Args:
        inputs: pictures, and folders of them, which are searched with their subfolders.
        out: folder or store to make.
        synthesizer: how.
        domain: "srgb", or "raw" for packed planes.
        store: write a store instead of folders.
        crop: cut pictures into square patches of this side first, after they were made smaller; what is left over at
            the right and bottom is lost. None: whole pictures.
        bits: 8 or 16, of the PNG files and of sRGB in a store.
        seed: of all randomness.
        overwrite: write into a folder that holds something, or replace a store.
        made_by: what a store says about its making.
        progress: called with (done, total) after each picture.
    """
    if domain not in get_args(Domain):
        raise RecipeError(f"domain is '{domain}'; expected srgb or raw")
    if bits not in _DEPTHS:
        raise RecipeError(f"bits is {bits}; expected 8 or 16")
    if crop is not None and (crop < 2 or crop % 2):
        raise RecipeError(f"crop is {crop}; expected an even side in pixels")
    started, target = time.monotonic(), Path(out)
    sources = _sources(inputs, target)
    report = SynthesisReport(target, domain)
    with ExitStack() as stack:
        sink: _InStore | _InFolder
        if store:
            sink = _InStore(stack.enter_context(StoreWriter(target, made_by=made_by, overwrite=overwrite)))
        else:
            _refuse_filled(target, overwrite)
            sink = _InFolder(target, domain, bits)
        for done, (name, path) in enumerate(sources.items(), 1):
            try:
                for key, made, arrays in _pairs(path, name, synthesizer, domain, crop, bits, seed):
                    facts = {"k": made.k, "s2": made.s2} | ({} if made.quality is None else {"jpeg": made.quality})
                    sink.add(key, name, arrays, facts)
                    report.made.append(made)
            except PictureError as error:
                report.failed.append(str(error))
            if progress:
                progress(done, len(sources))
        if not report.made:
            raise PictureError(f"none of the {len(sources)} pictures could be used; {report.failed[0]}")
    report.seconds = time.monotonic() - started
    return report


def _sources(inputs: Sequence[str | Path], out: Path) -> dict[str, Path]:
    """Name of the result -> file; what lies in the output folder is no input."""
    found: dict[str, Path] = {}
    for given in map(Path, inputs):
        for path in list_pictures(given):
            if out.resolve() in path.resolve().parents:
                continue
            inner = path.relative_to(given) if given.is_dir() else Path(path.name)
            name = inner.with_suffix("").as_posix()
            if name in found:
                raise PictureError(
                    f"{path} and {found[name]} would both become '{name}'; rename one, or make them one after the other"
                )
            found[name] = path
    if not found:
        raise PictureError(f"{out}: no pictures outside of it were given; name another output folder")
    return found


def _pairs(
    path: Path, name: str, synthesizer: Synthesizer, domain: Domain, crop: int | None, bits: int, seed: int
) -> Iterator[tuple[str, Made, dict[str, Array]]]:
    pixels = planes(open_image(path).pixels, 3)
    unit = np.clip(np.asarray(pixels, np.float32) / np.float32(full_scale(pixels.dtype)), 0, 1)
    try:
        prepared = synthesizer.prepared(torch.from_numpy(unit)[None])
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from None
    for suffix, window in _windows(path, prepared, crop):
        key = name + suffix
        digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        quality = None
        if domain == "raw":
            raw = synthesizer.raw(window, generator)
            arrays = {part: getattr(raw, part)[0].numpy() for part in ("clean", "noisy", "variance")}
            difference = raw.noisy - raw.clean
        else:
            made = synthesizer.srgb(window, generator)
            raw, quality, difference = made.raw, made.quality, made.noisy - made.clean
            depth = _DEPTHS[bits]
            arrays = {part: to_depth(getattr(made, part)[0].numpy(), depth) for part in ("clean", "noisy")}
        sigma = _COUNTS * float(difference.square().mean().sqrt())
        yield key, Made(key, str(path), *_law(raw), sigma, quality), arrays


def _windows(path: Path, picture: Tensor, crop: int | None) -> Iterator[tuple[str, Tensor]]:
    if crop is None:
        yield "", picture
        return
    height, width = picture.shape[2:]
    if min(height, width) < crop:
        raise PictureError(f"{path}: is {width} x {height} pixels; patches of {crop} need more, choose a smaller crop")
    for top in range(0, height - crop + 1, crop):
        for left in range(0, width - crop + 1, crop):
            yield f"#{top},{left}", picture[:, :, top : top + crop, left : left + crop]


def _law(raw: NoisyRaw) -> tuple[tuple[float, ...], tuple[float, ...]]:
    k, s2 = raw.law[0, :, :, 0, 0].tolist()
    return tuple(k), tuple(s2)


def _refuse_filled(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise PictureError(f"{folder}: is a file; expected the name of a folder to make")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise PictureError(f"{folder}: holds files already; choose another name or ask to overwrite them")


class _InStore:
    """Pairs as records."""

    def __init__(self, writer: StoreWriter) -> None:
        self.writer = writer

    def add(self, key: str, name: str, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
        pair = {part: np.ascontiguousarray(arrays[part]) for part in ("clean", "noisy")}
        self.writer.add(key, pair, {"picture": name, "noise": dict(facts)})


class _InFolder:
    """Pairs as files."""

    def __init__(self, folder: Path, domain: Domain, bits: int) -> None:
        self.folder, self.domain, self.depth = folder, domain, _DEPTHS[bits]

    def add(self, key: str, name: str, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
        # The place of a patch alone: other signs in the names of two pictures may be all that they differ by.
        file = name + key.removeprefix(name).replace("#", "_").replace(",", "_")
        if self.domain == "srgb":
            for part in ("noisy", "clean"):
                self._save(arrays[part].transpose(1, 2, 0), f"{part}/{file}.png")
            return
        numbers = {"shot": np.float32(facts["k"]), "read": np.float32(facts["s2"])}
        place = self._place(f"npz/{file}.npz")
        try:
            write(place, lambda stream: np.savez(stream, allow_pickle=False, **arrays, **numbers))
        except OSError as error:
            raise PictureError(f"{place}: cannot be written ({error.strerror}); choose another place") from None
        for part in ("noisy", "clean"):
            self._save(to_depth(join(arrays[part], "RGGB"), self.depth), f"mosaic/{part}/{file}.png")

    def _save(self, pixels: Array, name: str) -> None:
        save_image(Image(np.ascontiguousarray(pixels)), self._place(name))

    def _place(self, name: str) -> Path:
        place = self.folder / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PictureError(f"{place}: cannot be written ({error.strerror}); choose another place") from None
        return place
