"""`shotnoise export`: a run or checkpoint -> one .onnx."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Argument(help="A run folder, or a checkpoint (.safetensors, .pth, .mat ...).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx to write.")],
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Fix the picture size; free by default.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Architecture of a foreign checkpoint, if it is not recognised.")
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(help="JSON of `shotnoise evaluate --json`; goes onto the card. May be repeated."),
    ] = None,
    kspace: Annotated[
        bool,
        typer.Option(
            "--kspace",
            help="Of an MRI model: the file also takes what was measured, and puts it back; for other programs.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card and the check as JSON.")] = False,
) -> None:
    """Write a model file that runs without torch, with its card inside.

    The file is compared with torch on several sizes before it gets its name; one that differs is not written.
    """
    from shotnoise.errors import require

    require("torch", "train", "reading a checkpoint")
    from shotnoise.evaluation import read_scores
    from shotnoise.export import export as export_model

    fixed = None
    if size is not None:
        matched = re.fullmatch(r"(\d+)x(\d+)", size)
        if matched is None:
            raise typer.BadParameter(
                f"'{size}' is not a size; expected HEIGHTxWIDTH, as in 512x768", param_hint="--size"
            )
        fixed = (int(matched[1]), int(matched[2]))
    measured = [score for file in scores or () for score in read_scores(file)]
    done = export_model(model, output, size=fixed, network=network, scores=measured, kspace=kspace, overwrite=overwrite)
    if as_json:
        report = {"file": str(done.path), "difference": done.difference, "card": done.card.model_dump(mode="json")}
        typer.echo(json.dumps(report, indent=2))
        return
    card = done.card
    halo = "whole picture" if card.halo is None else f"{card.halo} px"
    typer.echo(f"{done.path}: {done.path.stat().st_size / 1e6:.1f} MB, {card.kind}, {card.parameters:,} parameters")
    typer.echo(f"size multiple {card.multiple}, tile context {halo}, noise level input: {card.level}")
    typer.echo(f"largest difference to torch {done.difference:.1e} on {len(done.sizes)} size(s)")
