"""`shotnoise pack-mri`: the slices of MRI volumes -> a store."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PUBLISHED = "25:125"


def pack_mri(
    source: Annotated[
        Path,
        typer.Argument(help="A .nii or .nii.gz volume, a folder of them, or a .pkl data set of the published code."),
    ],
    store: Annotated[Path, typer.Argument(help="Folder to make.")],
    slices: Annotated[
        str, typer.Option(metavar="FROM:TO", help="Along the third axis, TO being the first one left out.")
    ] = _PUBLISHED,
    side: Annotated[int, typer.Option(min=8, help="Of the black square that each slice is put into.")] = 256,
    subjects: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="Of the IXI data set: train or validation, the 50 and 10 subjects of the published experiment; all "
            "volumes without it.",
        ),
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Folder for the slices as pictures, to look at.")] = None,
    pickle: Annotated[Path | None, typer.Option(help="File for the slices as the published code reads them.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Pack the slices of MRI volumes into a store, to train on.

    Every volume that cannot be used is reported; the exit status is then 1.
    """
    from shotnoise.store.volumes import pack_volumes

    first, stop = _range(slices)
    messages = Console(stderr=True, highlight=False, markup=False)
    columns = (TextColumn("packing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("packing", total=None)
        report = pack_volumes(
            source,
            store,
            first=first,
            stop=stop,
            side=side,
            subjects=subjects,  # type: ignore[arg-type]  # checked there
            png=png,
            pickle=pickle,
            overwrite=overwrite,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    for line in [*report.notes, *(f"left out: {failed.reason}" for failed in report.failed)]:
        messages.print(line, markup=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        size = f"{report.total_bytes / 1e6:.1f} MB"
        typer.echo(f"{report.store}: {report.records} slices of {report.volumes} volumes, {size}")
        if report.empty:
            typer.echo(f"left out because they are empty: {report.empty}")
        if report.failed:
            typer.echo(f"left out because they cannot be used: {len(report.failed)}")
    if report.failed:
        raise typer.Exit(1)


def _range(text: str) -> tuple[int, int]:
    first, colon, stop = text.partition(":")
    if colon and first.isdecimal() and stop.isdecimal() and int(first) < int(stop):
        return int(first), int(stop)
    raise typer.BadParameter(f"'{text}'; expected FROM:TO, for instance {_PUBLISHED}", param_hint="'--slices'")
