"""The noise profile of a camera: what `*.profile.yaml` holds, and the noise law at any ISO.

A profile has the measured points (one per ISO and plane), laws over ISO where they could be fitted, and says where it
all comes from. Everything is in normalised counts, x = (count - black) / (white - black): variance = k x + s2, where
s2 is a variance, never a standard deviation.
"""

import math
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shotnoise.errors import ProfileError
from shotnoise.images.raw.bayer import PLANES, Pattern
from shotnoise.sensor.law import NoiseLaw

__all__ = [
    "Camera",
    "Entry",
    "IsoLaw",
    "LogLaw",
    "NoiseProfile",
    "PlainLoader",
    "PlaneLaws",
    "Provenance",
    "SourceFile",
    "profile_place",
    "read_yaml",
]

Plane = Literal["R", "Gr", "Gb", "B", "all"]

_LARGEST = 8_000_000  # bytes; a profile has a few thousand
_HEADER = """\
# Noise profile of a camera, made by shotnoise.
# variance = k x + s2 with x = (count - black) / (white - black); s2 is a variance, not a standard deviation.
# Planes: R, Gr (green on the red row), Gb (green on the blue row), B; 'all' where they are taken together.
"""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Camera(_Strict):
    """Which one."""

    make: str = ""
    model: str = ""
    sensor: str = ""

    def __str__(self) -> str:
        brand = "" if self.model.lower().startswith(self.make.lower()) else self.make
        return " ".join(part for part in (brand, self.model or self.sensor) if part) or "an unnamed camera"


class Entry(_Strict):
    """What was measured at one ISO in one plane."""

    iso: float | None = Field(default=None, gt=0, description="None: the camera does not say")
    exposure: float | None = Field(default=None, gt=0, description="seconds")
    plane: Plane = "all"
    k: float = Field(gt=0)
    k_se: float | None = Field(default=None, ge=0, description="standard error")
    s2: float = Field(ge=0)
    s2_se: float | None = Field(default=None, ge=0)
    s2_free: float | None = Field(default=None, description="the fit without the rule s2 >= 0, where that changed it")
    row: float | None = Field(default=None, ge=0, description="standard deviation of what a sensor row has in common")
    tukey_lambda: float | None = Field(default=None, description="shape of the noise without light; 0.14 is Gaussian")
    tukey_scale: float | None = Field(default=None, ge=0, description="its scale, which is not a standard deviation")
    chi2: float | None = Field(default=None, ge=0, description="of the fit, per degree of freedom")
    n_points: int | None = Field(default=None, ge=0)
    flags: tuple[str, ...] = ()


class IsoLaw(_Strict):
    """A number over ISO.

    proportional: params [a], a ISO. quadrature: params [p, q], (p ISO)^2 + q^2, noise before and behind the amplifier.
    polynomial: highest power first. A camera that switches its conversion gain has other params from a break on.
    """

    form: Literal["proportional", "quadrature", "polynomial"]
    params: tuple[float, ...] = Field(min_length=1)
    se: tuple[float, ...] | None = Field(default=None, description="standard errors of the params")
    break_iso: float | None = Field(default=None, gt=0, description="first ISO of the params above")
    params_above: tuple[float, ...] | None = None
    se_above: tuple[float, ...] | None = None
    residuals: dict[float, float] = Field(
        default_factory=dict, description="ISO -> (measured - law) / law, to see where it does not fit"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "IsoLaw":
        count = {"proportional": 1, "quadrature": 2}.get(self.form, len(self.params))
        if (self.break_iso is None) != (self.params_above is None):
            raise ValueError("break_iso and params_above go together")
        given = (self.params, self.params_above, self.se, self.se_above)
        if any(len(params) != count for params in given if params is not None):
            raise ValueError(f"form {self.form} takes {count} params")
        return self

    def at(self, iso: float) -> float:
        """Its value; nothing is clipped."""
        above = self.break_iso is not None and iso >= self.break_iso
        params = self.params_above if above and self.params_above else self.params
        if self.form == "proportional":
            return params[0] * iso
        if self.form == "quadrature":
            before = params[0] * iso
            return before * before + params[1] * params[1]  # a power would raise where this becomes infinite
        value = 0.0
        for coefficient in params:
            value = value * iso + coefficient
        return value


class PlaneLaws(_Strict):
    """Of one plane, or of all."""

    k: IsoLaw
    s2: IsoLaw


class LogLaw(_Strict):
    """log noise = slope log k + intercept, natural logarithms, in the form of the ELD physics model."""

    slope: float
    intercept: float
    residual: float = Field(default=0.0, ge=0, description="standard deviation around it")


class SourceFile(_Strict):
    """A file that was measured."""

    name: str
    sha256: str = ""
    role: str = Field(default="", description="black, flat, import ...")
    iso: float | None = None


class Provenance(_Strict):
    """Where the numbers come from."""

    method: str = ""
    tool: str = Field(default="", description="program and version")
    made: str = Field(default="", description="date")
    files: tuple[SourceFile, ...] = ()
    rois: tuple[tuple[int, int, int, int], ...] = Field(
        default=(), description="row0, col0, row1, col1 in the mosaic, ends excluded"
    )


class NoiseProfile(_Strict):
    """The noise of a camera over ISO.

    Examples:
        >>> entries = [Entry(iso=iso, k=1e-6 * iso, s2=1e-9 * iso) for iso in (100, 400)]
        >>> law = NoiseProfile(entries=entries).at(200)
        >>> [f"{k:.4f}" for k in law.k]
        ['0.0002', '0.0002', '0.0002', '0.0002']
    """

    version: Literal[1] = 1
    camera: Camera = Camera()
    pattern: Pattern | Literal["mono"] | None = Field(
        default=None, description="of the frames measured; None: unknown Bayer phase, mono: a sensor without colours"
    )
    black: tuple[float, ...] | None = Field(default=None, description="per plane R, Gr, Gb, B; one number for mono")
    white: float | None = None
    bits: int | None = Field(default=None, ge=1, le=32)
    units: Literal["normalised"] = "normalised"
    entries: tuple[Entry, ...] = ()
    laws: dict[Plane, PlaneLaws] | None = Field(
        default=None, description="per plane, or one for 'all'; None: between the entries is interpolated"
    )
    log_laws: dict[Literal["tukey-lambda", "row", "gaussian"], LogLaw] = Field(
        default_factory=dict, description="scale of the Tukey-lambda noise, standard deviations of rows and of pixels"
    )
    iso_range: tuple[float, float] | None = Field(default=None, description="only where there are no entries")
    provenance: Provenance = Provenance()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = Field(default=(), description="why these numbers should not be trusted")

    @model_validator(mode="after")
    def _consistent(self) -> "NoiseProfile":
        if not self.entries and not self.laws:
            raise ValueError("a profile needs entries or laws")
        if self.laws is not None and set(self.laws) not in ({"all"}, set(PLANES)):
            raise ValueError(f"laws for {', '.join(self.laws)}; expected 'all', or each of {', '.join(PLANES)}")
        if len({entry.iso is None for entry in self.entries}) == 2 or (self.laws and self.isos == ()):
            raise ValueError("some ISOs are missing; expected one in each entry, or none at all and no laws")
        for iso in {entry.iso for entry in self.entries}:
            planes = sorted(entry.plane for entry in self.entries if entry.iso == iso)
            if planes not in (["all"], sorted(PLANES)):
                shown = "without ISO" if iso is None else f"of ISO {iso:g}"
                raise ValueError(
                    f"the entries {shown} are of {', '.join(planes)}; expected 'all', or {', '.join(PLANES)} once"
                )
        if self.black is not None:
            if len(self.black) != (1 if self.mono else 4):
                raise ValueError(f"{len(self.black)} black levels; expected {1 if self.mono else 4}")
            if self.white is not None and max(self.black) >= self.white:
                raise ValueError(f"black {max(self.black):g} is not below white {self.white:g}")
        return self

    @property
    def mono(self) -> bool:
        """Whether the sensor is one without colours."""
        return self.pattern == "mono"

    @property
    def isos(self) -> tuple[float, ...]:
        """Those that were measured, sorted; the ends of the range for laws without points."""
        measured = {entry.iso for entry in self.entries if entry.iso is not None}
        return tuple(sorted(measured or self.iso_range or ()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "NoiseProfile":
        """Read a profile; nothing in it is ever executed.

        Raises:
            ProfileError: with the line of what is wrong.
        """
        content, node = read_yaml(path)
        if not isinstance(content, dict) or "version" not in content:
            hint = ""
            if isinstance(content, dict) and {"k_shot", "b_read"} & set(content):
                hint = ": it is one of the published RAW pipeline, take it over with `shotnoise calibrate --import`"
            raise ProfileError(
                f"{path}: is not a noise profile of shotnoise{hint or '; expected version, entries ...'}"
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = [part for part in first["loc"] if not str(part).startswith("function-")]
            where = ".".join(str(part) for part in place)
            reason = first["msg"].removeprefix("Value error, ")
            raise ProfileError(f"{path}, line {_line(node, place)}: {f'{where}: ' if where else ''}{reason}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write YAML for people and programs, completely or not at all. Only an older profile is replaced."""
        text = _HEADER + yaml.dump(
            _readable(self.model_dump(exclude_defaults=True) | {"version": 1, "units": self.units}),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=1000,
        )
        target = profile_place(path)
        temporary = target.with_name(f".shotnoise-{uuid.uuid4().hex}.partial")
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            os.replace(temporary, target)
        except OSError as error:
            raise ProfileError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def at(self, iso: float | None = None, *, force: bool = False) -> NoiseLaw:
        """The noise law at an ISO: from the laws, or else interpolated between the entries.

        Between two entries k and the standard deviation without light are straight lines over ISO. Outside of them
        k is proportional to ISO and that standard deviation to its root, halfway between noise before and behind the
        amplifier.

        Args:
            iso: of the picture; None only for a profile without ISOs, which gives the same answer for all of them.
            force: also beyond half the lowest and twice the highest ISO of the profile.

        Raises:
            ProfileError: the profile does not cover this ISO.
        """
        name = f"profile of {self.camera}"
        if not self.isos:
            known = "" if iso is None else f", which was made without knowing the ISO, used at ISO {iso:g}"
            return NoiseLaw(*self._measured(None), name + known)
        if iso is None:
            raise ProfileError(f"the ISO of the picture is not known, and the {name} depends on it; give it (--iso)")
        low, high = self.isos[0] / 2, self.isos[-1] * 2
        if not (iso > 0 and math.isfinite(iso)):
            raise ProfileError(f"ISO {iso:g} is none; expected {low:g} to {high:g}")
        if not low <= iso <= high and not force:
            raise ProfileError(
                f"ISO {iso:g} is outside of the {name}, which was measured from {self.isos[0]:g} to {self.isos[-1]:g} "
                f"and answers from {low:g} to {high:g}; measure that ISO too, or ask at one that it knows (--iso)"
            )
        k, s2 = self._interpolated(iso) if self.laws is None else self._by_law(iso)
        source = f"{name} at ISO {iso:g}"
        if min(k) <= 0:
            raise ProfileError(f"the {source} has the gain {min(k):.3g}, which no sensor has; measure it again")
        if min(s2) < 0:
            source += f", where its variance without light is negative ({min(s2):.2g}) and taken as 0"
        return NoiseLaw(k, tuple(max(value, 0.0) for value in s2), source)

    @classmethod
    def from_dng_tag(
        cls,
        tag: Sequence[tuple[float, float]],
        *,
        iso: float | None = None,
        camera: Camera | None = None,
        name: str = "",
        **levels: Any,
    ) -> "NoiseProfile":
        """From NoiseProfile (51041) of a DNG: (S, O) for all colours, for R, G, B, or for R, Gr, Gb, B.

        Raises:
            ProfileError: it holds numbers that no noise has.
        """
        pairs = [tag[i] for i in (0, 1, 1, 2)] if len(tag) == 3 else list(tag)
        if len(pairs) not in (1, 4) or not all(
            math.isfinite(s) and math.isfinite(o) and s > 0 and o >= 0 for s, o in pairs
        ):
            shown = ", ".join(f"({s:g}, {o:g})" for s, o in tag[:4])
            raise ProfileError(f"the NoiseProfile {shown or '()'} of the DNG is none; expected S > 0 and O >= 0")
        planes: tuple[Any, ...] = PLANES if len(pairs) == 4 else ("all",)
        return cls(
            camera=camera or Camera(),
            entries=tuple(Entry(iso=iso, plane=p, k=s, s2=o) for p, (s, o) in zip(planes, pairs, strict=True)),
            provenance=Provenance(
                method="the NoiseProfile tag of a DNG", files=(SourceFile(name=name, role="import"),) if name else ()
            ),
            **levels,
        )

    def _measured(self, iso: float | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
        found = {str(entry.plane): (entry.k, entry.s2) for entry in self.entries if entry.iso == iso}
        return self._per_plane([found.get("all") or found[plane] for plane in PLANES])

    def _by_law(self, iso: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        laws = {str(plane): (law.k.at(iso), law.s2.at(iso)) for plane, law in (self.laws or {}).items()}
        return self._per_plane([laws.get("all") or laws[plane] for plane in PLANES])

    def _per_plane(self, values: list[tuple[float, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        shown = values[:1] if self.mono else values
        return tuple(k for k, _ in shown), tuple(s2 for _, s2 in shown)

    def _interpolated(self, iso: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        isos = self.isos
        if iso <= isos[0] or iso >= isos[-1]:
            end = isos[0] if iso <= isos[0] else isos[-1]
            k, s2 = self._measured(end)
            return tuple(value * iso / end for value in k), tuple(value * iso / end for value in s2)
        above = next(i for i, known in enumerate(isos) if known >= iso)
        (k0, s0), (k1, s1) = self._measured(isos[above - 1]), self._measured(isos[above])
        share = (iso - isos[above - 1]) / (isos[above] - isos[above - 1])

        def between(a: float, b: float) -> float:
            return a + share * (b - a)

        return (
            tuple(between(a, b) for a, b in zip(k0, k1, strict=True)),
            tuple(between(math.sqrt(a), math.sqrt(b)) ** 2 for a, b in zip(s0, s1, strict=True)),
        )


def profile_place(path: str | os.PathLike[str]) -> Path:
    """Where a profile of this name will be, links followed; to be asked before hours of measuring.

    Raises:
        ProfileError: something else has that name, or there is no such folder.
    """
    place = Path(os.path.realpath(path))
    if os.path.lexists(place) and not _is_ours(place):
        raise ProfileError(f"{path}: exists and is no noise profile; choose another name, as in camera.profile.yaml")
    if not place.parent.is_dir():
        raise ProfileError(f"{path}: cannot be written: there is no folder {place.parent}; make it first")
    return place


class PlainLoader(yaml.SafeLoader):
    """Plain values, each written out: aliases of aliases would make more of a short file than memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases; the rest is as usual."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs forgot its result
            raise yaml.composer.ComposerError(
                None, None, f"no alias *{event.anchor} here: write the values out", event.start_mark
            )
        return super().compose_node(parent, index)


def read_yaml(path: str | os.PathLike[str], loader: type[PlainLoader] = PlainLoader) -> tuple[Any, Any]:
    """A YAML file as plain values and as nodes, which know their lines.

    Raises:
        ProfileError: not readable, not YAML, or it asks for more than plain values.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ProfileError(f"{path}: has more than {_LARGEST // 10**6} MB; expected the YAML of a noise profile")
        text = raw.decode("utf-8")
        return yaml.load(text, Loader=loader), yaml.compose(text, Loader=loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror}); expected the YAML of a noise profile") from None
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ProfileError(
            f"{path}, line {line}: asks for more than plain values ({error.problem}), and nothing in a file is "
            "executed; tables of other programs are taken over with `shotnoise calibrate --import`"
        ) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ProfileError(f"{path}, line {line}: is not YAML ({error.problem}); correct that line") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise ProfileError(f"{path}: is not YAML ({reason}); expected a noise profile") from None


def _is_ours(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16).decode("utf-8", "ignore").find("units: normalised") >= 0
    except OSError:
        return False


def _line(node: Any, place: Sequence[Any]) -> int:
    """Of the innermost thing along a path that exists."""
    line = int(node.start_mark.line) + 1
    for part in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                return line
            line, node = int(found[0].start_mark.line) + 1, found[1]
            continue
        else:
            return line
        line = int(node.start_mark.line) + 1
    return line


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Flow(dict[str, Any]):
    """Written on one line."""


_Dumper.add_representer(
    _Flow, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)
_Dumper.add_representer(
    tuple, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def _readable(content: dict[str, Any]) -> dict[str, Any]:
    """In a good order, what belongs together on one line."""
    order = ("version", "camera", "pattern", "black", "white", "bits", "units", "warnings", "notes")
    content = {key: content[key] for key in (*order, *content) if key in content}
    for key in ("warnings", "notes"):
        if key in content:
            content[key] = list(content[key])
    content["entries"] = [_Flow(entry) for entry in content.get("entries", ())]
    for laws in (content.get("laws") or {}).values():
        for quantity, law in laws.items():
            laws[quantity] = _Flow(law)
    for name, law in content.get("log_laws", {}).items():
        content["log_laws"][name] = _Flow(law)
    provenance = content.get("provenance", {})
    if "files" in provenance:
        provenance["files"] = [_Flow(file) for file in provenance["files"]]
    if "rois" in provenance:
        provenance["rois"] = list(provenance["rois"])
    return content
