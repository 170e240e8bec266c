"""`shotnoise networks`: the zoo and what each network costs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from shotnoise.export import NetworkCost


def networks(
    shape: Annotated[
        str | None,
        typer.Option("--cost", metavar="NxCxHxW", help="Compare costs at this size, as in 1x4x1736x2312."),
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="With --cost: write the table to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the networks: parameters, multiply-accumulates at 256x256, channels, source.

    Every network is shown in its published configuration; a recipe may set any constructor argument. With --cost each
    is made for the given channels, where it takes them, and counted without arithmetic, so any size takes seconds:
    memory of the activations at the peak, the receptive field measured by gradient, and the context that tiles need.
    """
    from shotnoise.errors import require

    require("torch", "train", "`networks`")
    if shape is not None:
        _compare(shape, csv_file, as_json)
        return
    if csv_file is not None:
        raise typer.BadParameter("--csv writes the table of costs: say the size with --cost")
    from shotnoise.export import cost
    from shotnoise.networks import NETWORKS, create

    rows = []
    for name, summary in NETWORKS.items():
        network = create(name)
        measured = cost(network, height=256, width=256)
        rows.append(
            {
                "name": name,
                "parameters": measured.parameters,
                "gmacs_256": round(measured.macs / 1e9, 2),
                "channels": network.channels,
                "level": network.level,
                "multiple": network.multiple,
                "source": network.source,
                "summary": summary,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, header_style="bold", pad_edge=False, title="cost at 256x256", title_justify="left")
    for column in ("network", "parameters", "GMAC", "ch", "level", "x", "what it is, source"):
        words = column in ("network", "level", "what it is, source")
        table.add_column(column, justify="left" if words else "right", no_wrap=column != "what it is, source")
    for row in rows:
        table.add_row(
            str(row["name"]), f"{row['parameters']:,}", f"{row['gmacs_256']:.2f}", str(row["channels"]),
            str(row["level"]), str(row["multiple"]), f"{row['summary']} ({row['source']})",
        )  # fmt: skip
    Console(highlight=False, markup=False).print(table)
    typer.echo(
        "ch: channels; level: noise level input; x: height and width must be multiples of it (tools pad for you)"
    )


def _compare(shape: str, csv_file: Path | None, as_json: bool) -> None:
    from shotnoise.errors import RecipeError
    from shotnoise.export import compare, parse_shape
    from shotnoise.export.costs import write_csv

    try:
        size = parse_shape(shape)
    except RecipeError as error:
        raise typer.BadParameter(str(error), param_hint="--cost") from None
    messages = Console(stderr=True, highlight=False, markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("")
        rows = compare(
            size,
            progress=lambda done, total, name: progress.update(task, completed=done, total=total, description=name),
        )
    if csv_file is not None:
        write_csv(csv_file, rows)
    if as_json:
        typer.echo(json.dumps({"shape": list(size), "networks": [asdict(row) for row in rows]}, indent=2))
        return
    screen = Console(highlight=False, markup=False)
    # A file or pipe has no width to fit, and a folded table is hard to read for a program.
    (screen if screen.is_terminal else Console(width=250, highlight=False, markup=False)).print(_table(shape, rows))
    typer.echo(
        "MAC: multiply-accumulates of convolutions and products, per pixel of the size asked for; memory: activations "
        "at the peak, float32, layer by layer, without weights; field: pixels on a side that one result depends on; "
        "halo: context of a tile; x: size multiple"
    )


def _table(shape: str, rows: "list[NetworkCost]") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, title=f"cost at {shape}", title_justify="left")
    table.add_column("network", no_wrap=True)
    for column in ("parameters", "GMAC", "kMAC/px", "memory MiB", "field", "halo", "x"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("remark")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.parameters:,}",
            "" if row.macs is None else f"{row.macs / 1e9:,.1f}",
            "" if row.kmac_per_pixel is None else f"{row.kmac_per_pixel:,.1f}",
            "" if row.activations is None else f"{row.activations / 2**20:,.0f}",
            "whole" if row.field is None else str(row.field),
            "whole" if row.halo is None else str(row.halo),
            str(row.multiple),
            row.remark,
        )
    return table
