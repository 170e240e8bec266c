"""What can be chosen: the models and noise profiles that a server offers, and what a visitor wants of them.

A visitor names models and profiles, never files of the machine.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shotnoise.batch import Options
from shotnoise.bundled import BUNDLED, default_model
from shotnoise.errors import ModelError, nearest
from shotnoise.sensor.published import PUBLISHED
from shotnoise.web.limits import RefusedError

__all__ = ["Kind", "Model", "Offer", "Settings"]

Kind = Literal["picture", "raw"]

_WORDS: Mapping[str, str] = {"picture": "pictures", "raw": "RAW files"}


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is offered.

    Attributes:
        name: under which.
        source: bundled name or path.
        kind: what it is for.
        level: whether it takes a noise level.
        summary: what it is, in a line.
    """

    name: str
    source: str
    kind: Kind
    level: bool = False
    summary: str = ""


@dataclass(slots=True)
class Offer:
    """Everything that a server lets its visitors choose.

    Attributes:
        models: bundled names and paths, the first of a kind being its default; the bundled ones come behind them.
        profiles: files of noise profiles, in addition to the published ones.
        engine: for those who do not choose, and so are `precision` and `provider`.
        precision: see there.
        provider: see there.
        threads: CPU threads of each process.
        known: the models by name, filled in when they have been opened.
        engines: names of engines that this machine has.
    """

    models: Sequence[str] = ()
    profiles: Sequence[str] = ()
    engine: str = "auto"
    precision: str = "auto"
    provider: str | None = None
    threads: int | None = None
    known: dict[str, Model] = field(default_factory=dict)
    engines: tuple[str, ...] = ()

    @property
    def sources(self) -> dict[str, str]:
        """Name -> bundled name or path."""
        found: dict[str, str] = {}
        for source in dict.fromkeys((*self.models, *BUNDLED)):
            name = source if source in BUNDLED else Path(source).name
            if found.setdefault(name, source) != source:
                raise ModelError(
                    f"the models {found[name]} and {source} would both be offered as '{name}'; rename one of the files"
                )
        return found

    @property
    def profile_sources(self) -> dict[str, str]:
        """Name -> published name or path."""
        files = {Path(source).name.removesuffix(".yaml").removesuffix(".profile"): source for source in self.profiles}
        return {**{name: name for name in PUBLISHED}, **files}

    def model(self, name: str, kind: Kind, *, told: bool = False) -> Model:
        """The model of this name, or the default one of the kind; `told` says whether the noise level is told."""
        suitable = [model for model in self.known.values() if model.kind == kind]
        if name == "auto":
            if not suitable:
                raise RefusedError(f"no model for {_WORDS[kind]} is offered here; expected one of the other kind")
            if suitable[0].source not in BUNDLED:  # our own ones come behind those that were brought
                return suitable[0]
            return self.known.get(default_model(kind, told=told), suitable[0])
        if name not in self.known:
            raise RefusedError(f"unknown model '{name}': {nearest(name, ['auto', *self.known])}", 400)
        if self.known[name].kind != kind:
            others = ", ".join(model.name for model in suitable) or "none here"
            raise RefusedError(
                f"the model '{name}' is for {_WORDS[self.known[name].kind]}, and this is one of the {_WORDS[kind]}; "
                f"choose auto, or one that fits: {others}",
                400,
            )
        return self.known[name]


class Settings(BaseModel):
    """What a visitor wants: the names and meanings of `shotnoise denoise`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "auto"
    engine: str = ""
    precision: Literal["", "auto", "fp32", "bf16", "fp16", "int8"] = ""
    provider: str | None = None
    strength: float = Field(default=1.0, ge=0, le=2)
    level: float | None = Field(default=None, ge=0, le=255)
    profile: str | None = None
    iso: float | None = Field(default=None, ge=1)
    ensemble: Literal["none", "x8"] = "none"
    format: Literal["png", "jpg", "tif", "npy", "webp", "dng"] | None = None
    quality: int = Field(default=95, ge=1, le=100)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """From the fields of a request, in which an empty value is one that was not given.

        Raises:
            RefusedError: a name is unknown, or a value makes no sense.
        """
        given = {name: value for name, value in values.items() if value not in ("", None)}
        for name in given:
            if name not in cls.model_fields:
                close = difflib.get_close_matches(name, cls.model_fields, n=1)
                raise RefusedError(
                    f"there is no option '{name}'{f', did you mean {close[0]}?' if close else ';'} "
                    f"expected some of {', '.join(cls.model_fields)}",
                    400,
                )
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            words = first["msg"][0].lower() + first["msg"][1:]
            raise RefusedError(f"{name} is {first['input']!r}; expected: {words}", 400) from None

    def options(self, offer: Offer, kind: Kind, max_pixels: int) -> Options:
        """The options of a batch for a file of this kind."""
        if self.engine not in ("", "auto", *offer.engines):
            raise RefusedError(f"unknown engine '{self.engine}': {nearest(self.engine, ['auto', *offer.engines])}", 400)
        profiles = offer.profile_sources
        if self.profile is not None and self.profile not in profiles:
            raise RefusedError(f"unknown noise profile '{self.profile}': {nearest(self.profile, profiles)}", 400)
        return Options(
            model=offer.model(self.model, kind, told=self.level is not None).source,
            engine=self.engine or offer.engine,
            precision=self.precision or offer.precision,
            provider=self.provider or offer.provider,
            strength=self.strength,
            level=self.level,
            profile=None if self.profile is None else profiles[self.profile],
            iso=self.iso,
            ensemble=self.ensemble,
            quality=self.quality,
            threads=offer.threads,
            max_pixels=max_pixels,
        )
