"""`shotnoise pack`: a folder of pictures -> a store."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from shotnoise.store import PackReport


def pack(
    source: Annotated[Path, typer.Argument(help="Folder of pictures, searched with its subfolders.")],
    store: Annotated[Path, typer.Argument(help="Folder to make.")],
    crop: Annotated[int | None, typer.Option(help="Cut into square patches of this side.")] = None,
    stride: Annotated[int | None, typer.Option(help="Step between patches; the crop by default.")] = None,
    min_size: Annotated[int, typer.Option(help="Leave out pictures with a side shorter than this.")] = 0,
    channels: Annotated[int, typer.Option(help="3 for RGB, 1 for gray; other pictures are converted.")] = 3,
    split: Annotated[float | None, typer.Option(help="Share of pictures for training, as in 0.9.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Pack pictures into a store, a single file that training reads fast.

    Pictures that cannot be read are reported and left out; the exit status is then 1.
    """
    from shotnoise.store import pack as pack_pictures

    messages = Console(stderr=True, highlight=False)
    columns = (TextColumn("packing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("packing", total=None)
        report = pack_pictures(
            source,
            store,
            crop=crop,
            stride=stride,
            min_size=min_size,
            channels=channels,
            split=split,
            seed=seed,
            overwrite=overwrite,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    for line in [*report.notes, *(f"left out: {failed.reason}" for failed in report.failed)]:
        messages.print(line, markup=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        typer.echo(_summary(report))
    if report.failed:
        raise typer.Exit(1)


def _summary(report: "PackReport") -> str:
    lines = [
        f"{report.store}: {report.records} samples of {report.pictures} pictures, {report.total_bytes / 1e6:.1f} MB"
    ]
    if report.splits:
        lines.append("split: " + ", ".join(f"{name} {count}" for name, count in report.splits.items()))
    if report.converted:
        lines.append(f"converted between gray and RGB: {report.converted}")
    if report.too_small:
        lines.append(f"left out because of their size: {len(report.too_small)}")
    if report.failed:
        lines.append(f"left out because they cannot be read: {len(report.failed)}")
    return "\n".join(lines)
