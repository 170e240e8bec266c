"""`shotnoise estimate`: how noisy pictures and RAW files are, without calibration."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from shotnoise.sensor.file_noise import PictureNoise, RawNoise
    from shotnoise.sensor.law import NoiseLaw


def estimate(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN", help="Pictures, RAW files, and folders of them.")],
    profile: Annotated[
        str | None, typer.Option(help="Noise profile of the camera: a file, or the name of a published one.")
    ] = None,
    iso: Annotated[float | None, typer.Option(min=1, help="For the profile, where the files say it wrongly.")] = None,
    layout: Annotated[
        str | None, typer.Option("--raw-layout", help="Of RAW without a header: JSON file that says how it lies.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a noise profile (YAML) of what is seen in the RAW files."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive/--no-recursive", help="Look into folders inside.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")] = False,
) -> None:
    """Say how noisy files are, and where that is known from.

    Of a RAW file: the gain k in counts per electron and the standard deviation of the noise in counts, from the
    profile given, else from the NoiseProfile of the file, else estimated from the frame; variance = k x + s2. Of
    another picture: the standard deviation in counts of 8 bits. A file that cannot be read does not stop the others;
    the exit status is then 1.
    """
    from shotnoise.errors import ShotnoiseError
    from shotnoise.images import READABLE, list_pictures
    from shotnoise.images.raw import RAW_EXTENSIONS, HeaderlessLayout
    from shotnoise.sensor.file_noise import RawNoise, noise_of_file, profile_of_frames
    from shotnoise.sensor.profile import profile_place
    from shotnoise.sensor.published import open_profile

    if iso is not None and profile is None:
        raise typer.BadParameter("only a profile depends on the ISO: give --profile too", param_hint="'--iso'")
    if output is not None:
        profile_place(output)  # now, not when all is measured
    known = None if profile is None else open_profile(profile)
    lies = None if layout is None else HeaderlessLayout.load(layout)
    messages = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    results: list[PictureNoise | RawNoise] = []
    errors: list[str] = []
    paths: list[Path] = []
    for item in inputs:
        try:
            paths += list_pictures(item, recursive=recursive, extensions=READABLE + RAW_EXTENSIONS)
        except ShotnoiseError as error:
            errors.append(str(error))
    columns = (TextColumn("estimating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        for path in progress.track(dict.fromkeys(paths)):
            try:
                results.append(noise_of_file(path, profile=known, iso=iso, layout=lies))
            except ShotnoiseError as error:
                errors.append(str(error) if str(path) in str(error) else f"{path}: {error}")
    for warning in () if known is None else known.warnings:
        messages.print(f"warning: {profile}: {warning}")
    for line in errors:
        messages.print(f"error: {line}")
    if as_json:
        typer.echo(json.dumps({"files": [result.to_json() for result in results], "errors": errors}, indent=2))
    else:
        for result in results:
            typer.echo(_words(result))
    if output is not None:
        profile_of_frames([result for result in results if isinstance(result, RawNoise)]).save(output)
        messages.print(f"wrote {output}")
    if errors:
        raise typer.Exit(1)


def _words(result: "PictureNoise | RawNoise") -> str:
    from shotnoise.sensor.file_noise import PictureNoise
    from shotnoise.sensor.profile import Camera

    if isinstance(result, PictureNoise):
        return f"{result.path}: sigma {255 * result.sigma:.2f} of 255, blind estimate"
    frame, law, seen = result.frame, result.law, result.seen
    camera = str(Camera(make=frame.make, model=frame.model)) if frame.make or frame.model else ""
    about = [f"RAW {frame.pattern}", camera, "" if frame.iso is None else f"ISO {frame.iso:g}"]
    lines = [f"{result.path}: {', '.join(part for part in about if part)}", f"  {law.source}: {_law(result, law)}"]
    if seen.patches and not law.source.startswith("blind estimate"):
        lines.append(f"  seen in the frame, for comparison: {_law(result, seen.law)}")
    return "\n".join(lines + [f"  note: {note}" for note in (*frame.notes, *seen.notes)])


def _law(result: "RawNoise", law: "NoiseLaw") -> str:
    from shotnoise.sensor.file_noise import GRAY

    black, gray = result.deviation(0, law), result.deviation(GRAY, law)
    return (
        f"k {result.gain(law):.3g} DN/e-, noise {black:.3g} DN at black and {gray:.3g} DN at 18 % gray "
        f"({100 * black / result.span:.2g} % and {100 * gray / result.span:.2g} % of white)"
    )
