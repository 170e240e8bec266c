"""How noisy is this file? RAW: a law, from the source to be trusted most. Other pictures: one standard deviation."""

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shotnoise import __version__
from shotnoise.errors import ProfileError
from shotnoise.images import open_image
from shotnoise.images.raw import HeaderlessLayout, RawFrame, is_raw, open_raw
from shotnoise.images.raw.bayer import PLANES
from shotnoise.sensor.estimate import Estimate, estimate_frame, law_for
from shotnoise.sensor.law import NoiseLaw
from shotnoise.sensor.noise_level import estimate_sigma
from shotnoise.sensor.profile import Camera, Entry, NoiseProfile, Provenance, SourceFile

__all__ = ["GRAY", "PictureNoise", "RawNoise", "noise_of_file", "profile_of_frames"]

GRAY = 0.18
"""The brightness of a gray card, in 0..1."""


@dataclass(frozen=True, slots=True)
class PictureNoise:
    """Of a picture that a camera or program has developed.

    Attributes:
        path: the file.
        sigma: standard deviation in units of 0..1.
    """

    path: Path
    sigma: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"file": str(self.path), "kind": "picture", "source": "blind estimate", "sigma_255": 255 * self.sigma}


@dataclass(frozen=True, slots=True)
class RawNoise:
    """Of a RAW file.

    Attributes:
        path: the file.
        frame: what is in it, without its counts.
        law: the noise law to be used, which says where it comes from.
        seen: what the frame itself shows.
    """

    path: Path
    frame: RawFrame
    law: NoiseLaw
    seen: Estimate

    @property
    def span(self) -> float:
        """Counts between black and white."""
        return self.frame.white - sum(self.frame.black) / 4

    def deviation(self, x: float, law: NoiseLaw | None = None) -> float:
        """Standard deviation in counts at a brightness of 0..1: root of the mean variance of the planes."""
        law = law or self.law
        variances = [k * x + s2 for k, s2 in zip(law.k, law.s2, strict=True)]
        return self.span * math.sqrt(statistics.fmean(variances))

    def gain(self, law: NoiseLaw | None = None) -> float:
        """Counts per electron, the mean of the planes."""
        return self.span * statistics.fmean((law or self.law).k)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        frame = self.frame
        return {
            "file": str(self.path),
            "kind": "raw",
            "camera": str(Camera(make=frame.make, model=frame.model)),
            "iso": frame.iso,
            "pattern": frame.pattern,
            "black": list(frame.black),
            "white": frame.white,
            "source": self.law.source,
            "planes": list(PLANES),
            "k": list(self.law.k),
            "s2": list(self.law.s2),
            "k_dn": self.gain(),
            "black_dn": self.deviation(0),
            "gray_dn": self.deviation(GRAY),
            "blind": {
                "k": self.seen.law.k[0],
                "k_se": self.seen.k_se,
                "s2": self.seen.law.s2[0],
                "s2_se": self.seen.s2_se,
                "patches": self.seen.patches,
                "share": self.seen.share,
                "notes": list(self.seen.notes),
            },
            "notes": list(frame.notes),
        }


def noise_of_file(
    path: str | os.PathLike[str],
    *,
    profile: NoiseProfile | None = None,
    iso: float | None = None,
    layout: HeaderlessLayout | None = None,
) -> PictureNoise | RawNoise:
    """Measure a file, or look its noise up.

    Args:
        path: RAW or any other picture.
        profile: of the camera, for RAW.
        iso: at which to ask it; None: that of the file.
        layout: of counts without a header; None: what the JSON file beside them says.

    Raises:
        PictureError: the file cannot be read.
        ProfileError: the profile does not cover its ISO.
    """
    if layout is None and not is_raw(path):
        return PictureNoise(Path(path), estimate_sigma(open_image(path).pixels))
    frame = open_raw(path, layout)
    seen = estimate_frame(frame)
    law = law_for(frame, profile, iso, seen=seen)
    return RawNoise(Path(path), frame.with_mosaic(frame.mosaic[:2, :2].copy()), law, seen)


def profile_of_frames(measured: Sequence[RawNoise]) -> NoiseProfile:
    """A makeshift profile from blind estimates: per ISO the median of its frames.

    Raises:
        ProfileError: there is no frame, nothing could be measured, or they are from several cameras.
    """
    if not measured:
        raise ProfileError("a profile needs at least one RAW file; none could be used")
    first = measured[0].frame
    for other in (item.frame for item in measured):
        if (other.make, other.model, other.white) != (first.make, first.model, first.white):
            raise ProfileError(
                f"the files are of {Camera(make=first.make, model=first.model)} with white {first.white:g} and of "
                f"{Camera(make=other.make, model=other.model)} with white {other.white:g}; make one profile per camera"
            )
    usable = [item for item in measured if item.seen.patches]
    if not usable:
        raise ProfileError(
            "nothing in these files is quiet enough to measure its noise; a profile needs other pictures"
        )
    by_iso: dict[float | None, list[Estimate]] = {}
    for item in usable:
        by_iso.setdefault(item.frame.iso, []).append(item.seen)
    if None in by_iso and len(by_iso) > 1:
        raise ProfileError("some of these files say their ISO and some do not; leave out those that do not")
    entries = tuple(
        Entry(
            iso=iso,
            k=_rounded(statistics.median(seen.law.k[0] for seen in group)),
            k_se=_rounded(statistics.median(seen.k_se for seen in group)),
            s2=_rounded(statistics.median(seen.law.s2[0] for seen in group)),
            s2_se=_rounded(statistics.median(seen.s2_se for seen in group)),
            n_points=sum(seen.patches for seen in group),
        )
        for iso, group in sorted(by_iso.items(), key=lambda item: item[0] or 0.0)
    )
    return NoiseProfile(
        camera=Camera(make=first.make, model=first.model),
        pattern=first.pattern,
        black=tuple(float(level) for level in first.black),
        white=float(first.white),
        entries=entries,
        provenance=Provenance(
            method="blind estimate from ordinary frames",
            tool=f"shotnoise {__version__}",
            files=tuple(SourceFile(name=item.path.name, iso=item.frame.iso) for item in usable),
        ),
        warnings=(
            "estimated from ordinary pictures, not calibrated: within about 20 % in standard deviation where they have "
            "smooth parts of that brightness",
        ),
        notes=tuple(f"{item.path.name}: {note}" for item in usable for note in item.seen.notes),
    )


def _rounded(value: float) -> float:
    """With six digits: more would only look precise."""
    return float(f"{value:.6g}")
