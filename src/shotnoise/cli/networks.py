"""`shotnoise networks`: the zoo and what each network costs."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def networks(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the networks: parameters, multiply-accumulates at 256x256, channels, source.

    Every network is shown in its published configuration; a recipe may set any constructor argument.
    """
    from shotnoise.export.cost import cost
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
    Console(highlight=False).print(table)
    typer.echo(
        "ch: channels; level: noise level input; x: height and width must be multiples of it (tools pad for you)"
    )
