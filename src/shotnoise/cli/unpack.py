"""`shotnoise unpack`: a store, or SIDD blocks -> folders of pictures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def unpack(
    source: Annotated[
        Path,
        typer.Argument(
            help="Store of pictures; or ValidationNoisyBlocksSrgb.mat, BenchmarkNoisyBlocksSrgb.mat of SIDD."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Folder to make; noisy/ and clean/ come into it.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = False,
) -> None:
    """Write the pictures of a store, or of SIDD's .mat files, as PNG files; floating-point ones as TIFF."""
    from shotnoise.store import unpack as unpack_pictures

    messages = Console(stderr=True, highlight=False, markup=False)
    columns = (TextColumn("unpacking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("unpacking", total=None)
        counts = unpack_pictures(
            source,
            folder,
            overwrite=overwrite,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    typer.echo(f"{folder}: {', '.join(f'{count} pictures in {kind}/' for kind, count in counts.items())}")
