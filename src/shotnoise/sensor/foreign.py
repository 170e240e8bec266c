"""Noise tables of other programs as noise profiles, each with what is wrong or different about its numbers."""

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from shotnoise.errors import ProfileError, nearest
from shotnoise.images.raw import is_raw, open_raw
from shotnoise.sensor.profile import (
    Camera,
    Entry,
    IsoLaw,
    NoiseProfile,
    PlainLoader,
    PlaneLaws,
    Provenance,
    SourceFile,
    read_yaml,
)

__all__ = ["import_profile", "profile_from_polynomials"]

_MIXED = (
    "these numbers mix colour into noise: the published RAW pipeline takes variances over red, green and blue pixels "
    "together, so its gain comes out several times too high; calibrate the camera again"
)
_VARIANCE = (
    "read_noise and b_read are variances, and are used as variances here; the published pipeline itself uses them as "
    "standard deviations when it adds noise, far too small, and stores negative ones without their sign"
)
_DARKTABLE = (
    "darktable measures behind its own demosaicing and white balance: its green numbers are taken for all planes, and "
    "their size is often several times below the noise of the RAW itself; compare with `shotnoise estimate`"
)


def import_profile(path: str | os.PathLike[str], *, camera: str | None = None) -> NoiseProfile:
    """Read the noise table of another program; the content decides which.

    Known are the YAML of the published RAW pipeline, noiseprofiles.json of darktable, and the NoiseProfile of a DNG.
    Our own profiles are simply loaded. Nothing in the file is executed.

    Args:
        path: the file.
        camera: which one, for a file that holds several: model, or maker and model. For others the name of the model.

    Raises:
        ProfileError: not a known table, damaged, or it does not hold that camera.
    """
    file = Path(path)
    if is_raw(file):
        return _dng(file, camera)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror}); expected a noise table") from None
    source = SourceFile(name=file.name, sha256=hashlib.sha256(content).hexdigest(), role="import")
    if content.lstrip()[:1] in (b"{", b"["):
        return _darktable(str(path), content, source, camera)
    values, _ = read_yaml(path, _PipelineLoader)
    if not isinstance(values, dict):
        values = {}
    if "k_shot" in values or "b_read" in values:
        return _pipeline(str(path), values, source, camera)
    if "version" in values:
        profile = NoiseProfile.load(path)
        return profile if camera is None else profile.model_copy(update={"camera": Camera(model=camera)})
    raise ProfileError(
        f"{path}: is no known noise table; expected the YAML of the published RAW pipeline (with k_shot and b_read), "
        "noiseprofiles.json of darktable, a DNG or a profile of shotnoise"
    )


def profile_from_polynomials(
    k: Sequence[float],
    s2: Sequence[float],
    *,
    full_scale: float = 1.0,
    iso_range: tuple[float, float] | None = None,
    **details: Any,
) -> NoiseProfile:
    """From polynomials of the ISO, highest power first, as in the PMRID paper.

    Args:
        k: of the gain.
        s2: of the variance without light.
        full_scale: white - black in the counts of the coefficients; 1 for normalised ones.
        iso_range: lowest and highest ISO that was measured, where there are no entries.
        details: other fields of the profile.
    """
    laws = PlaneLaws(
        k=IsoLaw(form="polynomial", params=tuple(float(value) / full_scale for value in k)),
        s2=IsoLaw(form="polynomial", params=tuple(float(value) / full_scale**2 for value in s2)),
    )
    return NoiseProfile(laws={"all": laws}, iso_range=iso_range, **details)


def _dng(path: Path, camera: str | None) -> NoiseProfile:
    frame = open_raw(path)
    if frame.noise is None:
        raise ProfileError(f"{path}: has no NoiseProfile; `shotnoise estimate {path.name} -o` measures one")
    return NoiseProfile.from_dng_tag(
        frame.noise,
        iso=frame.iso,
        camera=Camera(model=camera) if camera else Camera(make=frame.make, model=frame.model),
        name=path.name,
        pattern=frame.pattern,
        black=frame.black,
        white=frame.white,
    )


class _PipelineLoader(PlainLoader):
    """Plain values, and Python tuples as lists: the only tag that the published pipeline writes."""


def _sequence(loader: yaml.SafeLoader, node: Any) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


_PipelineLoader.add_constructor("tag:yaml.org,2002:python/tuple", _sequence)


def _pipeline(path: str, values: dict[Any, Any], source: SourceFile, camera: str | None) -> NoiseProfile:
    laws = {name: _numbers(path, name, values.get(name)) for name in ("k_shot", "b_read")}
    entries = []
    for stem, pair in values.items():
        if stem in laws:
            continue
        iso = re.search(r"_(\d+)$", str(stem))
        found = dict(str(item).split(":", 1) for item in pair if ":" in str(item)) if isinstance(pair, list) else {}
        if iso is None or not {"shot_noise", "read_noise"} <= set(found):
            raise ProfileError(
                f"{path}: '{stem}' is not one of its measurements; expected a name that ends in _ISO with "
                "shot_noise:NUMBER and read_noise:NUMBER"
            )
        k, s2 = (_numbers(path, f"{stem}, {name}", [found[name]])[0] for name in ("shot_noise", "read_noise"))
        entries.append(_entry(path, float(iso[1]), k, s2))
    if not entries:
        raise ProfileError(f"{path}: has no measurements; expected one for each ISO beside k_shot and b_read")
    isos = [entry.iso for entry in entries]
    if twice := [iso for iso in isos if iso is not None and isos.count(iso) > 1]:
        raise ProfileError(f"{path}: has several measurements of ISO {twice[0]:g}; keep one for each ISO")
    warnings = [_MIXED, _VARIANCE]
    profile = profile_from_polynomials(
        laws["k_shot"],
        laws["b_read"],
        camera=Camera(model=camera or "", sensor=re.sub(r"^sensor_profile_|\.ya?ml$", "", source.name)),
        entries=tuple(sorted(entries, key=lambda entry: entry.iso or 0.0)),
        provenance=Provenance(method="YAML of the published RAW pipeline", files=(source,)),
    )
    negative = _negative_isos(laws["b_read"], profile.isos[0] / 2, profile.isos[-1] * 2)
    if negative:
        warnings.append(
            f"its polynomial for the variance without light is negative at ISO {negative}; it is taken as 0"
        )
    return profile.model_copy(update={"warnings": tuple(warnings)})


def _negative_isos(polynomial: list[float], low: float, high: float) -> str:
    """Where it is below zero, as in "100 to 134 and 8430 to 12800"."""
    law = IsoLaw(form="polynomial", params=tuple(polynomial))
    steps = [low * (high / low) ** (i / 1000) for i in range(1001)]
    groups = [list(group) for below, group in itertools.groupby(steps, lambda iso: law.at(iso) < 0) if below]
    return " and ".join(f"{group[0]:.0f} to {group[-1]:.0f}" for group in groups)


def _darktable(path: str, content: bytes, source: SourceFile, camera: str | None) -> NoiseProfile:
    try:
        document = json.loads(content)
        makers = document.get("noiseprofiles", [document]) if isinstance(document, dict) else document
        cameras = {
            (str(maker.get("maker", "")), str(model["model"])): model["profiles"]
            for maker in makers
            for model in maker.get("models", [maker])
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProfileError(
            f"{path}: is no table of darktable ({type(error).__name__}: {str(error).splitlines()[0][:80]}); expected "
            "maker, models and profiles with iso, a and b"
        ) from None
    wanted = _chosen(path, list(cameras), camera)
    entries = []
    try:
        rows = [(float(row["iso"]), row["a"], row["b"]) for row in cameras[wanted] if not row.get("skip")]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ProfileError(f"{path}: {' '.join(wanted)} has a damaged row ({error}); expected iso, a and b") from None
    for iso, group in itertools.groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0]):
        pairs = [
            (_numbers(path, f"a of ISO {iso:g}", a, 3)[1], _numbers(path, f"b of ISO {iso:g}", b, 3)[1])
            for _, a, b in group
        ]
        entries.append(_entry(path, iso, *(sum(column) / len(pairs) for column in zip(*pairs, strict=True))))
    if not entries:
        raise ProfileError(f"{path}: {' '.join(wanted)} has no rows; expected one for each ISO")
    return NoiseProfile(
        camera=Camera(make=wanted[0], model=wanted[1]),
        entries=tuple(entries),
        provenance=Provenance(method="noise table of darktable", files=(source,)),
        warnings=(_DARKTABLE,),
    )


def _chosen(path: str, names: list[tuple[str, str]], camera: str | None) -> tuple[str, str]:
    if camera is None:
        if len(names) == 1:
            return names[0]
        raise ProfileError(f"{path}: holds {len(names)} cameras; say which one (--camera)")
    for name in names:
        if camera.lower() in (name[1].lower(), " ".join(name).lower()):
            return name
    words = nearest(camera, [" ".join(name) for name in names])
    raise ProfileError(f"{path}: has no camera '{camera}': {words if len(names) < 20 else words.split(' Known:')[0]}")


def _entry(path: str, iso: float, k: float, s2: float) -> Entry:
    """With variances below zero set to zero and named."""
    if k <= 0 or not (iso > 0 and math.isfinite(iso)):
        raise ProfileError(f"{path}: ISO {iso:g} has the gain {k:g}; expected both finite and above 0")
    if s2 < 0:
        return Entry(iso=iso, k=k, s2=0.0, s2_free=s2, flags=("the variance without light was negative",))
    return Entry(iso=iso, k=k, s2=s2)


def _numbers(path: str, name: str, values: Any, count: int | None = None) -> list[float]:
    try:
        found = [float(value) for value in values]
        if found and all(math.isfinite(value) for value in found) and count in (None, len(found)):
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    raise ProfileError(f"{path}: {name} is {str(values)[:60]}; expected {count or 'one or more'} finite numbers")
