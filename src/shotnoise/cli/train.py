"""`shotnoise train`: a recipe and pictures -> a run folder."""

import contextlib
import json
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from shotnoise.recipe import Recipe


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A packaged recipe (`shotnoise recipes`) or a YAML file.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder of pictures, or a store from `shotnoise pack`; may be repeated.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: training.steps=1000.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run folder; runs/RECIPE by default.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Begin with the weights of a run, a file or a bundled model.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    stop_at: Annotated[
        int | None, typer.Option(metavar="STEP", min=1, help="End at this step of the schedule, to be resumed later.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[int, typer.Option(help="How many processes, one device each.")] = 1,
    scale: Annotated[
        bool, typer.Option("--scale", help="Shorter and faster by the number of devices: as many samples in all.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train a network as a recipe says.

    Ctrl-C keeps what was learned; `--resume RUN` goes on from there, with the loss curve it would have had.
    `--start-from MODEL` takes the weights of a run, of a file or of a bundled model, and nothing else of it:
    fine-tuning, and growth, where the network is a larger one of the same kind.
    """
    from shotnoise.errors import RecipeError, require

    for module in ("torch", "lightning", "lmdb", "tensorboard"):
        require(module, "train", "training")
    from shotnoise.recipe import load_recipe, scaled
    from shotnoise.summary import PAGE, commands
    from shotnoise.training import train as train_recipe

    if (recipe is None) == (resume is None):
        raise typer.BadParameter("give either a recipe to start or --resume RUN to go on")
    if resume is not None:
        if data or overrides or output or start_from or scale:
            raise typer.BadParameter(
                "--resume goes on with the recipe and data of the run; start a new one to change them"
            )
        if not (resume / "recipe.yaml").is_file():
            raise RecipeError(f"{resume}: no recipe.yaml here, so this is not a run folder")
        loaded, folder = load_recipe(resume / "recipe.yaml"), resume
    else:
        loaded = load_recipe(str(recipe), overrides=overrides or (), data=data or (), start_from=start_from)
        if scale:
            before, loaded = loaded, scaled(loaded, devices)
            many = "1 device of {} samples" if devices == 1 else f"{devices} devices of {{}} samples each"
            typer.echo(f"{many.format(before.training.batch)}: {_changes(before, loaded)}", err=True)
        folder = output or Path("runs") / loaded.name.replace("/", "-")
    screen = Console(stderr=True, markup=False)
    columns = (
        TextColumn("{task.fields[step]}"), BarColumn(), TimeElapsedColumn(), TextColumn("to go"),
        TimeRemainingColumn(), TextColumn("loss {task.fields[loss]}  {task.fields[psnr]}"),
    )  # fmt: skip
    with (
        Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress,
        contextlib.nullcontext() if screen.is_terminal else _narrated(),
    ):
        bar = progress.add_task("train", total=loaded.training.steps, step="starting", loss="-", psnr="")

        def report(step: int, steps: int, loss: float, psnr: float | None) -> None:
            shown = "" if psnr is None else f"validation {psnr:.2f} dB"
            progress.update(bar, completed=step, step=f"step {step:,}/{steps:,}", loss=f"{loss:.4f}", psnr=shown)

        try:
            run = train_recipe(
                loaded,
                folder,
                resume=resume is not None,
                stop_at=stop_at,
                report=report,
                accelerator=device,
                devices=devices,
            )
        except KeyboardInterrupt:
            if (folder / PAGE).exists():
                onward = commands(folder, "", loaded.model_dump(), finished=False, processes=devices)[0].line
                go_on = f"; {onward} goes on" if (folder / "last.ckpt").exists() else ""
                typer.echo(f"{folder / PAGE} shows how it went{go_on}", err=True)
            raise
    known, validated = not math.isnan(run.ssim), run.best.exists()
    if as_json:
        scores = {"psnr": run.psnr if math.isfinite(run.psnr) else None, "ssim": run.ssim if known else None}
        page = None if run.summary is None else str(run.summary)
        places = {"run": str(run.folder), "best": str(run.best) if validated else None, "summary": page}
        typer.echo(json.dumps({**places, "step": run.step, **scores}))
    else:
        ssim = f", SSIM {run.ssim:.4f}" if known else ""
        best = f"best validation {run.psnr:.2f} dB{ssim}" if validated else "before its first validation"
        typer.echo(f"{run.folder}: step {run.step:,}, {best}")
        if run.summary is not None:
            typer.echo(f"how it went: {run.summary}")
        finished = run.step >= loaded.training.steps
        next_ones = commands(run.folder, run.kind, loaded.model_dump(), finished=finished, processes=devices)
        # Without weights that were validated there is nothing to measure, try or export.
        for number, command in enumerate(one for one in next_ones if validated or one.verb == "train"):
            typer.echo(f"{'      ' if number else 'next: '}{command.line}")


def _changes(before: "Recipe", after: "Recipe") -> str:
    """What is not the same any more, as in "steps 600000 -> 150000"."""
    sections = (("", before.training, after.training), ("validation.", before.validation, after.validation))
    words = [
        f"{place}{name} {getattr(old, name):.12g} -> {getattr(new, name):.12g}"
        for place, old, new in sections
        for name in type(old).model_fields
        if getattr(old, name) != getattr(new, name)
    ]
    return ", ".join(words) or "nothing changes"


@contextlib.contextmanager
def _narrated() -> Iterator[None]:
    """Without a terminal there is no bar: send the log lines to stderr instead."""
    handler, logger = logging.StreamHandler(sys.stderr), logging.getLogger("shotnoise.training")
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
