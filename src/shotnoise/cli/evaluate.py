"""`shotnoise evaluate`: the scores of a model under named protocols."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from shotnoise import __version__

if TYPE_CHECKING:
    from shotnoise.evaluation import Evaluation, ModelUnderTest


def evaluate(
    model: Annotated[str, typer.Argument(help="Bundled name, .onnx file, run folder or checkpoint.")],
    protocol: Annotated[
        str,
        typer.Option(
            help="Names with commas between: kodak24/gaussian25, folder/gaussian15, noise2noise/kodak/poisson30, "
            "neighbor2neighbor/bsd300/gauss5_50 ..."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder of the pictures, or the folder above kodak24, bsd300, set14.")],
    engine: Annotated[str, typer.Option(help="auto, onnxruntime, openvino or torch.")] = "auto",
    network: Annotated[
        str | None, typer.Option(help="Architecture of a foreign checkpoint, if it is not recognised.")
    ] = None,
    json_file: Annotated[str | None, typer.Option("--json", help="Write JSON to this file; - prints it.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write one line per picture to this file.")] = None,
    save_pictures: Annotated[Path | None, typer.Option(help="Folder for noisy and denoised pictures.")] = None,
    limit: Annotated[int | None, typer.Option(help="Measure only the first pictures of each set.")] = None,
    repeats: Annotated[
        int | None, typer.Option(help="Noise realisations per picture, instead of the protocol's number.")
    ] = None,
    padding: Annotated[
        str | None,
        typer.Option(help="model, 32 or square32 (as Neighbor2Neighbor does), instead of the protocol's rule."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the noise, instead of the protocol's.")] = None,
) -> None:
    """Measure a model: PSNR and SSIM under protocols that fix data, noise, seed and rounding.

    A protocol that was changed by --repeats, --padding or --seed says so in its name, wherever its scores go.

    Pictures that cannot be measured are reported and left out of the means; the exit status is then 1.
    """
    from shotnoise.errors import ModelError
    from shotnoise.evaluation import ModelUnderTest, find_pictures, get_protocol, write_csv, write_json
    from shotnoise.evaluation import evaluate as run

    messages = Console(stderr=True, highlight=False)
    protocols = [
        get_protocol(name.strip()).changed(repeats=repeats, padding=padding, seed=seed) for name in protocol.split(",")
    ]
    for rules in protocols:
        find_pictures(rules, data)  # a missing set should stop the first minute, not the last
    under_test = ModelUnderTest(model, engine, network=network)
    for rules in protocols:
        if (reason := rules.refusal(under_test.card.kind, under_test.card.level)) is not None:
            raise ModelError(f"{model}: {reason}")
    results: list[Evaluation] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        for rules in protocols:
            task = progress.add_task(rules.name, total=None)

            def show(done: int, total: int, task: TaskID = task) -> None:
                progress.update(task, completed=done, total=total)

            results.append(
                run(
                    under_test,
                    rules,
                    data,
                    channels=under_test.channels,
                    limit=limit,
                    save_pictures=None if save_pictures is None else save_pictures / rules.name,
                    progress=show,
                )
            )
    content = _content(model, under_test, results)
    if json_file == "-":
        typer.echo(json.dumps(content, indent=2))
    else:
        typer.echo(f"{model}, engine {content['engine']['engine']}")
        screen = Console(highlight=False)
        # A file or pipe has no width to fit, and a folded table is hard to read for a program.
        (screen if screen.is_terminal else Console(width=250, highlight=False)).print(_table(results))
        for result in results:
            typer.echo(f"{result.protocol.name}: {result.folder}")
        if json_file is not None:
            write_json(Path(json_file), content)
    if csv_file is not None:
        write_csv(csv_file, results)
    for result in results:
        for line in (*result.warnings, *(f"left out: {reason}" for reason in result.failed)):
            messages.print(f"{result.protocol.name}: {line}", markup=False, soft_wrap=True)
    if any(result.failed for result in results):
        raise typer.Exit(1)


def _content(model: str, under_test: "ModelUnderTest", results: "list[Evaluation]") -> dict[str, Any]:
    return {
        "model": model,
        "card": under_test.card.model_dump(mode="json"),
        "engine": under_test.engine.describe(),
        "shotnoise": __version__,
        "evaluations": [result.to_json() for result in results],
    }


def _table(results: "list[Evaluation]") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("protocol", overflow="fold")
    for title in ("pictures", "noisy dB", "PSNR dB", "SSIM", "s/picture"):
        table.add_column(title, justify="right", no_wrap=True)
    for result in results:
        count = str(result.pictures)
        if result.protocol.pictures not in (None, result.pictures):
            count += f" of {result.protocol.pictures}"
        if result.protocol.repeats > 1:
            count += f" x {result.protocol.repeats}"
        table.add_row(
            Text(result.protocol.name),  # not markup, although it may have brackets
            count,
            f"{result.mean('noisy_psnr'):.2f}",
            f"{result.mean('psnr'):.2f}",
            f"{result.mean('ssim'):.4f}",
            f"{result.mean('seconds'):.3f}",
        )
    return table
