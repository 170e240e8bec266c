"""How to denoise: one set of options for pictures and RAW, and which of them matter to whom."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from shotnoise.batch.manifest import file_state
from shotnoise.batch.places import Kind
from shotnoise.bundled import default_model, find_model
from shotnoise.engines import Engine, Poses, open_engine
from shotnoise.errors import ModelError
from shotnoise.images import Image
from shotnoise.images.files import MAX_PIXELS

if TYPE_CHECKING:  # each is imported where it is opened: most runs need one of them
    from shotnoise.denoiser import Progress, Result
    from shotnoise.raw_denoiser import RawDenoiser
    from shotnoise.volume_denoiser import VolumeDenoiser

__all__ = ["Options", "Worker"]

_CHANGE_NOTHING = ("model", "threads", "max_pixels", "report")  # the model is known by its fingerprint
# Options that change results of one kind alone.
_ONLY: Mapping[str, Kind] = {
    "level": "picture", "profile": "raw", "iso": "raw", "layout": "raw", "linear": "raw", "compression": "raw",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """How to denoise: the arguments of the denoisers, and how results are written.

    Attributes:
        model: None: the bundled one for the kind of each file; there is none for volumes.
        engine: as in :class:`~shotnoise.denoiser.Denoiser`, and so are `strength`, `tile` and `threads`.
        strength: see there.
        level: of pictures; see there.
        tile: see there.
        threads: see there.
        quality: of JPEG and WebP.
        profile: of RAW: file of a noise profile, or the name of a published one.
        iso: of RAW: at which the profile is asked; see :class:`~shotnoise.raw_denoiser.RawDenoiser`.
        layout: of RAW without a header: JSON file that says how the counts lie.
        linear: whether RAW becomes a linear DNG, demosaiced, instead of a mosaic.
        compression: of DNG.
        network: architecture of a checkpoint, where it cannot be recognised.
        ensemble: as in :class:`~shotnoise.denoiser.Denoiser`, and so are `samples` and `seed`.
        samples: see there.
        seed: see there.
        uncertainty: whether the spread of the samples is written beside each result.
        precision: as in :class:`~shotnoise.denoiser.Denoiser`, and so is `provider`.
        provider: see there.
        max_pixels: pictures and RAW files with more pixels are refused by their header.
        report: whether a report of what was taken away is written beside each result.
    """

    model: str | None = None
    engine: str = "auto"
    strength: float = 1.0
    level: float | None = None
    tile: int | None = None
    threads: int | None = None
    quality: int = 95
    profile: str | None = None
    iso: float | None = None
    layout: str | None = None
    linear: bool = False
    compression: Literal["jpeg", "none"] = "jpeg"
    network: str | None = None
    ensemble: Poses = "none"
    samples: int = 1
    seed: int | None = None
    uncertainty: bool = False
    precision: str = "auto"
    provider: str | None = None
    max_pixels: int = MAX_PIXELS
    report: bool = False

    def model_facts(self, kind: Kind = "picture") -> dict[str, str]:
        """Which model this is: its name, where it lies, and a fingerprint that tells when it was exchanged."""
        name = self._name(kind)
        if name is None:  # which will be said about each file
            return {"name": "", "path": "", "sha256": ""}
        path = find_model(name, self.precision)
        return {"name": name, "path": str(path), "sha256": _fingerprint(path)}

    def changing(self, kind: Kind) -> dict[str, Any]:
        """Everything but the model that changes what becomes of a file of this kind."""
        names = [field.name for field in fields(self) if field.name not in _CHANGE_NOTHING]
        values = {name: getattr(self, name) for name in names if _ONLY.get(name, kind) == kind}
        for name in ("profile", "layout"):  # files, whose content counts
            if values.get(name) is not None and os.path.exists(values[name]):
                values[name] = [os.path.realpath(values[name]), file_state(Path(values[name]))]
        return values

    def _name(self, kind: Kind) -> str | None:
        if self.model is not None or kind == "volume":
            return self.model
        return default_model(kind, told=self.level is not None)

    def _model(self, kind: Kind) -> str | Engine:
        """What the denoisers take: a name, or an engine that was told what the file does not say."""
        model = self._name(kind)
        if model is None:
            raise ModelError(
                "no model for volumes comes with shotnoise; name one with --model, like a run of "
                "`shotnoise train noise2noise/mri-quick`"
            )
        if self.network is None:
            return model
        return open_engine(
            model,
            self.engine,
            threads=self.threads,
            network=self.network,
            precision=self.precision,
            provider=self.provider,
        )

    def _how(self) -> dict[str, Any]:
        """What all denoisers are told."""
        names = "engine", "strength", "threads", "ensemble", "samples", "seed", "precision", "provider"
        return {name: getattr(self, name) for name in names}

    def denoiser(self) -> "Worker":
        """Open the model for pictures."""
        from shotnoise.denoiser import Denoiser

        return Denoiser(self._model("picture"), level=self.level, tile=self.tile, **self._how())

    def raw_denoiser(self) -> "RawDenoiser":
        """Open the model for RAW."""
        from shotnoise.raw_denoiser import RawDenoiser

        return RawDenoiser(self._model("raw"), profile=self.profile, iso=self.iso, tile=self.tile, **self._how())

    def volume_denoiser(self) -> "VolumeDenoiser":
        """Open the model for volumes."""
        from shotnoise.volume_denoiser import VolumeDenoiser

        return VolumeDenoiser(self._model("volume"), **self._how())


class Worker(Protocol):
    """What turns pictures into clean ones: a :class:`~shotnoise.denoiser.Denoiser`, or a fit to each picture."""

    def run(self, image: Image, *, progress: "Progress | None" = None) -> "Result":
        """Denoise one picture, and say what happened."""
        ...

    def describe(self) -> dict[str, Any]:
        """What runs, for reports; with the keys `engine` and `provider`."""
        ...


def _fingerprint(model: Path) -> str:
    """SHA-256 of a model file, or of the names, sizes and times of what a run folder holds."""
    if model.is_file():
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = [f"{path.name} {file_state(path)}" for path in sorted(model.iterdir()) if path.is_file()]
    return hashlib.sha256("\n".join(files).encode()).hexdigest()
