"""`shotnoise export`: a run, checkpoint or model file -> one .onnx, in float32, float16 or int8."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from shotnoise.card import Card
    from shotnoise.export.int8 import Quantised


def export(
    model: Annotated[
        Path,
        typer.Argument(
            help="A run folder, or a checkpoint (.safetensors, .pth, .mat ...). For fp16, int8 and --half-weights "
            "also an .onnx, or the name of a bundled model."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="The .onnx to write; x.fp16.onnx and x.int8.onnx are found beside x.onnx."),
    ],
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
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Of the numbers inside: fp16 is for GPUs, int8 for CPUs that have instructions for it."),
    ] = "fp32",
    int8: Annotated[bool, typer.Option("--int8", help="The same as --precision int8.")] = False,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Clean pictures like those it will work on: the file is judged on them, and int8 takes its ranges "
            "from them. May be repeated; without it, the photograph that shotnoise brings.",
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="DB", help="Of int8: what it may lose at each noise level; 0.1 by default.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Of int8: who rounds, onnxruntime (the default) or nncf.")] = None,
    half_weights: Annotated[
        bool,
        typer.Option(
            "--half-weights",
            help="Keep weights in half precision, for half the file; the arithmetic stays that of fp32, or int8.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card and the check as JSON.")] = False,
) -> None:
    """Write a model file that runs without torch, with its card inside.

    The file is compared with torch on several sizes, and on noisy photographs, before it gets its name; one that
    differs is not written. int8 rounds what goes into convolutions, but only so many of them that the loss stays
    within the budget at every noise level of the model.
    """
    from shotnoise.errors import RecipeError, require

    if int8 and precision == "fp16":
        raise RecipeError("--int8 and --precision fp16 are given; expected one of them")
    wanted = "int8" if int8 else precision
    if wanted != "int8" and (budget is not None or backend is not None):
        name = "--budget" if budget is not None else "--backend"
        raise RecipeError(
            f"{name} is given for {wanted}, which loses nothing that could be chosen; add --int8 or leave it out"
        )
    if kspace and (wanted != "fp32" or half_weights):
        given = "--half-weights" if wanted == "fp32" else wanted
        raise RecipeError(f"--kspace is given for {given}; such files are for other programs, in whole fp32")
    if wanted == "fp16" and half_weights:
        raise RecipeError("--half-weights is given for fp16, whose weights are half anyway; leave it out")
    fixed = None
    if size is not None:
        matched = re.fullmatch(r"(\d+)x(\d+)", size)
        if matched is None:
            raise typer.BadParameter(
                f"'{size}' is not a size; expected HEIGHTxWIDTH, as in 512x768", param_hint="--size"
            )
        fixed = (int(matched[1]), int(matched[2]))
    measured = []
    if scores:
        from shotnoise.evaluation import read_scores

        measured = [score for file in scores for score in read_scores(file)]
    shared: dict[str, Any] = {
        "calibration": calibration or (),
        "size": fixed,
        "network": network,
        "scores": measured,
        "overwrite": overwrite,
    }
    if wanted == "int8":
        from shotnoise.export.int8 import quantise

        made = quantise(
            model,
            output,
            budget=0.1 if budget is None else budget,
            backend=backend or "onnxruntime",
            half_weights=half_weights,
            **shared,
        )
        _print_int8(made, as_json)
    elif wanted == "fp16" or half_weights:
        from shotnoise.export.half import halve

        half = halve(model, output, weights_only=half_weights, **shared)
        if as_json:
            report = {"file": str(half.path), "bytes": half.sizes[1], "bytes_fp32": half.sizes[0]}
            typer.echo(json.dumps(report | {"card": half.card.model_dump(mode="json")}, indent=2))
            return
        typer.echo(f"{half.path}: {_megabytes(half.sizes[1])}, of {_megabytes(half.sizes[0])} in fp32")
        _print_parity(half.card, "fp32")
        if not half_weights:
            typer.echo("faster on GPUs; on a CPU it takes the time of fp32, or more")
    else:
        require("torch", "train", "reading a checkpoint")
        from shotnoise.export.onnx import export as export_model

        done = export_model(model, output, kspace=kspace, **shared)
        if as_json:
            report = {"file": str(done.path), "difference": done.difference, "card": done.card.model_dump(mode="json")}
            typer.echo(json.dumps(report, indent=2))
            return
        card = done.card
        halo = "whole picture" if card.halo is None else f"{card.halo} px"
        size_now = _megabytes(done.path.stat().st_size)
        typer.echo(f"{done.path}: {size_now}, {card.kind}, {card.parameters:,} parameters")
        typer.echo(f"size multiple {card.multiple}, tile context {halo}, noise level input: {card.level}")
        typer.echo(f"largest difference to torch {done.difference:.1e} on {len(done.sizes)} size(s)")
        _print_parity(card, "torch")


def _print_parity(card: "Card", other: str) -> None:
    if card.parity is not None:
        typer.echo(
            f"on noisy pictures: {card.parity.psnr:.0f} dB to the result of {other}, {card.parity.loss:+.4f} dB lost "
            f"({card.parity.pictures.partition(';')[0]})"
        )


def _print_int8(made: "Quantised", as_json: bool) -> None:
    facts = made.card.quantisation
    assert facts is not None  # noqa: S101  (of an int8 file)
    if as_json:
        report = {
            "file": str(made.path),
            "bytes": made.sizes[1],
            "bytes_fp32": made.sizes[0],
            "levels": [
                {name: getattr(one, name) for name in ("name", "level", "noisy", "fp32", "int8", "worst")}
                for one in made.levels
            ],
            "share": made.share,
            "shift": made.shift,
            "cpu_seconds_per_megapixel": {
                engine: {"fp32": fp32, "int8": int8} for engine, (fp32, int8) in made.times.items()
            },
            "card": made.card.model_dump(mode="json"),
        }
        typer.echo(json.dumps(report, indent=2))
        return
    typer.echo(f"{made.path}: {_megabytes(made.sizes[1])}, of {_megabytes(made.sizes[0])} in fp32, by {facts.backend}")
    typer.echo(f"\n{'noise':<14}{'fp32 dB':>9}{'int8 dB':>9}{'loss':>8}{'worst picture':>16}")
    for one in made.levels:
        beyond = "  fp32 is used here" if one.level < facts.lowest else ""
        typer.echo(f"{one.name:<14}{one.fp32:>9.2f}{one.int8:>9.2f}{one.loss:>8.3f}{one.worst:>16.3f}{beyond}")
    left = f"; in float stay {', '.join(facts.float_layers)}" if facts.float_layers else ""
    typer.echo(f"\n{made.share:.0%} of the work of the convolutions is int8{left}")
    if made.shift is not None:
        typer.echo(f"flat areas keep their colour within {made.shift:.2f} counts of 255")
    for engine, (fp32, int8) in made.times.items():
        ratio = f"{int8 / fp32:.2f} of the {1000 * fp32:.0f} of fp32"
        typer.echo(f"{engine}: {1000 * int8:.0f} ms of one CPU core per megapixel, {ratio}")
    if facts.lowest:
        typer.echo(
            f"below noise of {255 * facts.lowest:.1f} counts the budget is not met: keep the fp32 file beside it as "
            f"{made.path.name.removesuffix('.onnx').removesuffix('.int8')}.onnx, which is used there"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
