"""`shotnoise pack`: pictures or camera RAW -> a store."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from shotnoise.store import PackReport


def pack(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of pictures or RAW files, with its subfolders; folder of pairs (noisy/ and clean/, first/ and "
            "second/, or SIDD); a .tfrecords file; ValidationNoisyBlocksSrgb.mat of SIDD; or the LMDB folder of the "
            "published RAW pipeline."
        ),
    ],
    store: Annotated[Path, typer.Argument(help="Folder to make.")],
    crop: Annotated[int | None, typer.Option(help="Cut into square patches of this side; of RAW, of a plane.")] = None,
    stride: Annotated[int | None, typer.Option(help="Step between patches; the crop by default.")] = None,
    crops: Annotated[
        int | None, typer.Option(help="Instead of a grid, so many patches per picture at random places.")
    ] = None,
    low: Annotated[
        int | None,
        typer.Option(help="Add the clean patch at this fraction of the resolution, as in 4 for a quarter."),
    ] = None,
    min_size: Annotated[int, typer.Option(help="Leave out pictures with a side shorter than this.")] = 0,
    max_size: Annotated[int | None, typer.Option(help="Leave out pictures with a side longer than this.")] = None,
    channels: Annotated[
        int, typer.Option(help="3 for RGB, 1 for gray; other pictures are converted. 4 for the planes of camera RAW.")
    ] = 3,
    convert: Annotated[
        bool, typer.Option("--convert/--no-convert", help="Convert other pictures, or leave them out.")
    ] = True,
    average: Annotated[
        bool, typer.Option("--average", help="RAW: each folder is a burst of one scene; pack its average.")
    ] = False,
    prefilter: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="RAW: filter, half (half as large) or defects (repair them, no more); then leave out patches that are "
            "too noisy, saturated or flat to learn from.",
        ),
    ] = None,
    bake: Annotated[
        str | None,
        typer.Option(
            metavar="NOISE",
            help="Add noise now, drawn per patch: a noise profile, or {name: poisson-gaussian, k: 0.01} as in recipes.",
        ),
    ] = None,
    split: Annotated[float | None, typer.Option(help="Share of pictures for training, as in 0.9.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, of random patches and of baked noise.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is done when interrupted, and go on from there next time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Pack pictures into a store, a single file that training reads fast.

    Every picture that is left out is reported; if one of them cannot be read, the exit status is 1.
    """
    from shotnoise.store import pack as pack_pictures

    messages = Console(stderr=True, highlight=False, markup=False)
    columns = (TextColumn("packing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("packing", total=None)
        report = pack_pictures(
            source,
            store,
            crop=crop,
            stride=stride,
            crops=crops,
            low=low,
            min_size=min_size,
            max_size=max_size,
            channels=channels,
            convert=convert,
            average=average,
            prefilter=prefilter,  # type: ignore[arg-type]  # checked there
            bake=None if bake is None else _noise(bake),
            split=split,
            seed=seed,
            overwrite=overwrite,
            resume=resume,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    lines = [*report.notes, *(f"left out: {failed.reason}" for failed in report.failed)]
    lines += [f"left out: {unsuited.name}: {unsuited.reason}" for unsuited in report.unsuited]
    if len(report.converted) < report.pictures:  # a mixed folder; with all of one kind it was the wish
        lines += [f"{name}: converted to {'RGB' if channels == 3 else 'gray'}" for name in report.converted]
    for line in lines:
        messages.print(line, markup=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        typer.echo(_summary(report))
    if report.failed:
        raise typer.Exit(1)


def _noise(text: str) -> dict[str, Any]:
    """A noise model in the words of a recipe, or the file or name of a noise profile."""
    import yaml

    from shotnoise.recipe import plain_yaml

    try:
        value = plain_yaml(text)
    except yaml.YAMLError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return value
    if not isinstance(value, str) or "{" in text:
        raise typer.BadParameter(f"--bake {text}: expected a noise profile, or {{name: NAME, ...}} as in a recipe")
    return {"name": "poisson-gaussian", "profile": text}


def _summary(report: "PackReport") -> str:
    lines = [
        f"{report.store}: {report.records} samples of {report.pictures} pictures, {report.total_bytes / 1e6:.1f} MB"
    ]
    if report.splits:
        lines.append("split: " + ", ".join(f"{name} {count}" for name, count in report.splits.items()))
    if report.converted:
        lines.append(f"converted between gray and RGB: {len(report.converted)}")
    lines += [f"patches left out as {reason}: {count}" for reason, count in report.rejected.items()]
    if report.unsuited:
        lines.append(f"left out because of size or channels: {len(report.unsuited)}")
    if report.failed:
        lines.append(f"left out because they cannot be read: {len(report.failed)}")
    return "\n".join(lines)
