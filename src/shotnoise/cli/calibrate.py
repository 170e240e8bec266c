"""`shotnoise calibrate`: black frames and evenly lit frames -> the noise profile of a camera, with a report."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from shotnoise.sensor.calibration.capture import Frame
    from shotnoise.sensor.calibration.result import Calibration, Finding, Roi
    from shotnoise.sensor.profile import Camera, NoiseProfile, SourceFile

_PROFILE = Path("camera.profile.yaml")
_MAX_SIGNAL = 0.7
_Step = Callable[[int, int], None]


def calibrate(
    black: Annotated[
        list[Path] | None, typer.Option(metavar="PATH...", help="Frames without light: files and folders.")
    ] = None,
    flat: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH...", help="Evenly lit frames or gray wedges, best two or more per level and ISO."),
    ] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(metavar="R0,C0,R1,C1...", help="Where to measure, ends excluded; found without it."),
    ] = None,
    emva: Annotated[
        Path | None, typer.Option(help="EMVA 1288 description file, instead of --black and --flat.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="Noise table of the published RAW pipeline (YAML) or of darktable (JSON), or a DNG that has one.",
        ),
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Of a table with several; else the name for the profile.")] = None,
    iso_from_name: Annotated[
        bool, typer.Option("--iso-from-name", help="Believe file names that state another ISO than the metadata.")
    ] = False,
    iso_from_metadata: Annotated[
        bool, typer.Option("--iso-from-metadata", help="Believe the metadata where file names state another ISO.")
    ] = False,
    white: Annotated[
        float | None, typer.Option(min=1, help="Count at which the sensor is full, instead of what the files say.")
    ] = None,
    black_level: Annotated[
        str | None,
        typer.Option(metavar="N[,N,N,N]", help="Count without light, instead of black frames and files; per plane."),
    ] = None,
    max_signal: Annotated[
        float, typer.Option(min=0.05, max=1, help="Share of the range above which nothing is used.")
    ] = _MAX_SIGNAL,
    layout: Annotated[
        str | None, typer.Option("--raw-layout", help="Of RAW without a header: JSON file that says how it lies.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The profile.")] = _PROFILE,
    report: Annotated[
        Path | None, typer.Option(help="Folder for the report; NAME.report beside the profile without it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write a profile that is not to be trusted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure the noise of a camera: gain and noise without light of each plane at each ISO, and laws over ISO.

    Best: for each of 4 or more ISOs two black frames and two frames each at 6 or more brightnesses. Gray pictures are
    taken for frames of a monochrome camera. The report (HTML, with plots) says whether the numbers can be trusted and
    why not; where they cannot, there is no profile without --force, and the exit status is 1.
    """
    from shotnoise.sensor.foreign import import_profile
    from shotnoise.sensor.profile import profile_place

    given = {"--black and --flat": bool(black or flat), "--emva": emva is not None, "--import": table is not None}
    if sum(given.values()) != 1:
        raise typer.BadParameter(f"expected one of {', '.join(given)}; see shotnoise calibrate --help")
    if iso_from_name and iso_from_metadata:
        raise typer.BadParameter("--iso-from-name and --iso-from-metadata contradict each other")
    messages = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    frames_only = {
        "--roi": roi, "--iso-from-name": iso_from_name, "--iso-from-metadata": iso_from_metadata, "--white": white,
        "--black-level": black_level, "--raw-layout": layout,
    }  # fmt: skip
    measuring_only = {"--max-signal": max_signal != _MAX_SIGNAL, "--report": report, "--force": force}
    idle = {} if black or flat else frames_only | (measuring_only if table is not None else {})
    if useless := [name for name, value in idle.items() if value]:
        raise typer.BadParameter(f"{', '.join(useless)} would change nothing with {'--emva' if emva else '--import'}")
    profile_place(output)  # now, not when all is measured
    if table is not None:
        imported = import_profile(table, camera=camera)
        imported.save(output)
        for warning in imported.warnings:
            messages.print(f"warning: {warning}")
        typer.echo(json.dumps(_facts(None, imported, output, None), indent=2) if as_json else str(output))
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    folder = report or output.with_name(output.name.removesuffix(".yaml").removesuffix(".profile") + ".report")
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as bars:

        def bar(words: str) -> _Step:
            task = bars.add_task(words, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        if emva is not None:
            found, frames, files, who = _emva(emva, max_signal, bar)
        else:
            found, frames, files, who = _frames(
                black or [],
                flat or [],
                bar,
                rois=None if not roi else [_roi(text) for text in roi],
                levels=None if black_level is None else _levels(black_level),
                conflict="name" if iso_from_name else "metadata" if iso_from_metadata else "error",
                white=white,
                max_signal=max_signal,
                layout=layout,
            )
        profile, why = _profile(found, who, camera, files)
        from shotnoise.sensor.calibration.report import write_report

        command = shlex.join(["shotnoise", *sys.argv[1:]])
        page = write_report(
            found, folder, profile=profile, frames=frames, command=command, progress=bar("drawing the report")
        )
    for line in _lines(found.findings):
        messages.print(line)
    trusted = not found.errors
    written = None
    if profile is None:
        messages.print(f"error: {why}")
    elif trusted or force:
        profile.save(output)
        written = output
    else:
        messages.print("no profile was written: settle the errors above, or say --force")
    if as_json:
        typer.echo(json.dumps(_facts(found, profile, written, page), indent=2))
    else:
        if found.fits:
            screen = Console(highlight=False, markup=False)
            (screen if screen.is_terminal else Console(width=150, highlight=False, markup=False)).print(_table(found))
        for path in (written, page):
            if path is not None:
                typer.echo(str(path))
    if profile is None or not (trusted or force):
        raise typer.Exit(1)


def _frames(
    black: list[Path],
    flat: list[Path],
    bar: Callable[[str], _Step],
    *,
    rois: "list[Roi] | None",
    levels: tuple[float, ...] | None,
    conflict: Any,
    white: float | None,
    max_signal: float,
    layout: str | None,
) -> "tuple[Calibration, tuple[Frame, ...], tuple[SourceFile, ...], Camera]":
    from shotnoise.images.raw import HeaderlessLayout
    from shotnoise.sensor.calibration.calibrate import calibrate as run
    from shotnoise.sensor.calibration.files import read_capture

    lies = None if layout is None else HeaderlessLayout.load(layout)
    capture = read_capture(black, flat, layout=lies, white=white, progress=bar("reading"))
    found = run(
        capture.black,
        capture.flats,
        rois=rois,
        max_signal=max_signal,
        black_level=levels,
        white=white,
        iso_conflict=conflict,
        progress=bar("measuring"),
    )
    return found, capture.flats, capture.files, capture.camera


def _emva(
    index: Path, max_signal: float, bar: Callable[[str], _Step]
) -> "tuple[Calibration, tuple[Frame, ...], tuple[SourceFile, ...], Camera]":
    import hashlib

    from shotnoise.sensor.calibration.emva import calibrate_emva, read_description
    from shotnoise.sensor.profile import Camera, SourceFile

    found = calibrate_emva(index, max_signal=max_signal, progress=bar("measuring"))
    paths = [
        (path, "black" if exposure.photons is None else "flat")
        for exposure in read_description(index).exposures
        for path in exposure.pictures
    ]
    files = [
        SourceFile(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), role=role)
        for path, role in ((index, "description"), *paths)
    ]
    return found, (), tuple(files), Camera()


def _profile(
    found: "Calibration", who: "Camera", name: str | None, files: "tuple[SourceFile, ...]"
) -> "tuple[NoiseProfile | None, str]":
    from shotnoise.errors import ProfileError
    from shotnoise.sensor.calibration.profile import profile_from
    from shotnoise.sensor.profile import Camera

    try:
        return profile_from(found, camera=Camera(model=name) if name else who, files=files), ""
    except ProfileError as error:
        return None, str(error)


def _roi(text: str) -> "Roi":
    from shotnoise.sensor.calibration.result import Roi

    try:
        top, left, bottom, right = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"'{text}'; expected four whole numbers row0,col0,row1,col1, as in 200,350,400,450", param_hint="'--roi'"
        ) from None
    return Roi(top, left, bottom, right)


def _levels(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"'{text}'; expected one number, or one per plane R,Gr,Gb,B", param_hint="'--black-level'"
        ) from None


def _lines(findings: "tuple[Finding, ...]") -> list[str]:
    """One line per kind of finding: twelve files with one mistake are one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        about = finding.frame or ("" if finding.iso is None else f"ISO {finding.iso:g}")
        if finding.plane:
            about = f"{about}, plane {finding.plane}".removeprefix(", ")
        text = finding.text
        if finding.code == "mislabelled-iso":
            text += " (--iso-from-name, --iso-from-metadata)"
        groups.setdefault((finding.severity, text), []).append(about)
    lines = []
    for (severity, text), names in groups.items():
        named = [name for name in dict.fromkeys(names) if name]
        shown = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
        lines.append(f"{severity}: {shown}: {text}" if shown else f"{severity}: {text}")
    return lines


def _table(found: "Calibration") -> Table:
    from shotnoise.sensor.calibration.report import rejected

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("ISO", "plane", "k DN/e-", "+-", "dark DN", "dark e-", "full scale e-", "chi2/dof", "points"):
        table.add_column(title, justify="right", no_wrap=True)
    for iso in found.fits:
        for fit in (iso.pooled,) if iso.pooled is not None else iso.planes:
            index = found.planes.index(fit.plane) if fit.plane in found.planes else 0
            table.add_row(
                "-" if iso.iso is None else f"{iso.iso:g}",
                fit.plane,
                f"{fit.k:.5g}",
                f"{(fit.k_interval[1] - fit.k_interval[0]) / 2:.2g}",
                f"{fit.s2**0.5:.4g}",
                f"{fit.read_electrons(found.step):.3g}",
                f"{found.scale(index) / fit.k:,.0f}",
                f"{fit.chi2 / fit.dof:.2f}" if fit.dof else "-",
                f"{fit.points} of {fit.points + rejected(iso, fit)}",
            )
    return table


def _facts(
    found: "Calibration | None", profile: "NoiseProfile | None", written: Path | None, page: Path | None
) -> dict[str, Any]:
    """Plain values, for machines."""
    from dataclasses import asdict

    facts: dict[str, Any] = {
        "written": None if written is None else str(written),
        "report": None if page is None else str(page),
        "profile": None if profile is None else profile.model_dump(mode="json"),
    }
    if found is not None:
        from shotnoise.sensor.calibration.report import VERDICTS, verdict

        facts["verdict"] = VERDICTS[verdict(found)][0].lower()
        facts["findings"] = [asdict(finding) for finding in found.findings]
        emva = None if found.emva is None else asdict(found.emva)
        facts["emva"] = emva and {name: value if value == value else None for name, value in emva.items()}
    return facts
