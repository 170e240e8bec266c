"""`shotnoise evaluate`: the scores of a model under named protocols."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of the pictures, or the folder above kodak24, bsd300, set14; for pairs one with 'noisy' and "
            "'clean'; for SIDD that of its .mat files."
        ),
    ],
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
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Of protocols with real display pictures, instead of 8bit: invdn, invdn-paddle, invdn-paddle-log or "
            "cycleisp, with commas between."
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation in counts, 0 to 255, that a model is told about real noise; without it, a blind "
            "estimate for each picture."
        ),
    ] = None,
    ensemble: Annotated[
        Literal["none", "x8"],
        typer.Option(help="x8: the mean over the picture mirrored and transposed in all eight ways; 8 times the work."),
    ] = "none",
    samples: Annotated[
        int, typer.Option(min=1, help="Of models that draw random numbers: the mean of so many draws.")
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Of the noise, instead of the protocol's, and of the random numbers of a model.")
    ] = None,
) -> None:
    """Measure a model: PSNR and SSIM under protocols that fix data, noise, seed and rounding.

    A protocol that was changed by an option says so in its name, wherever its scores go.

    Pictures that cannot be measured are reported and left out of the means; the exit status is then 1.
    """
    from shotnoise.engines import Ensemble
    from shotnoise.errors import ModelError
    from shotnoise.evaluation import ModelUnderTest, check_result, get_protocol, write_csv, write_json
    from shotnoise.evaluation import evaluate as run

    messages = Console(stderr=True, highlight=False, markup=False)
    for file in (json_file, csv_file):
        made = save_pictures is not None and file is not None and save_pictures in Path(file).parents
        if file is not None and file != "-" and not made:
            check_result(Path(file))
    protocols = [
        rules.changed(
            repeats=repeats, padding=padding, seed=seed if rules.simulated else None, metrics=judged, level=level
        )
        for rules in (get_protocol(name.strip()) for name in protocol.split(","))
        for judged in ([None] if metrics is None else [name.strip() for name in metrics.split(",")])
    ]
    for rules in protocols:
        rules.find(data)  # a missing set should stop the first minute, not the last
    under_test = ModelUnderTest(model, engine, network=network, ensemble=ensemble, samples=samples)
    card = under_test.card
    if seed is not None and (card.latent is not None or not any(rules.simulated for rules in protocols)):
        # Says so where the model draws nothing either.
        under_test.ensemble = Ensemble(under_test.engine, ensemble, samples, seed)
    if level is not None and card.level == "none":
        raise ModelError(f"{model}: takes no noise level; leave --level out")
    for rules in protocols:
        if (reason := rules.refusal(card.kind, card.level)) is not None:
            raise ModelError(f"{model}: {reason}")
    passes = [f"ensemble={ensemble}"] * (ensemble != "none") + [f"samples={samples}"] * (samples > 1)
    if passes:
        protocols = [replace(rules, name=f"{rules.name}[{','.join(passes)}]") for rules in protocols]
    results: list[Evaluation] = []
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
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
        screen = Console(highlight=False, markup=False)
        # A file or pipe has no width to fit, and a folded table is hard to read for a program.
        (screen if screen.is_terminal else Console(width=250, highlight=False, markup=False)).print(_table(results))
        for result in results:
            typer.echo(f"{result.protocol.name}: {result.folder}{_told(result, under_test)}")
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
        "engine": under_test.describe(),
        "shotnoise": __version__,
        "evaluations": [result.to_json() for result in results],
    }


def _told(result: "Evaluation", under_test: "ModelUnderTest") -> str:
    """What the model used of what it was told about real noise."""
    card = under_test.card
    if result.protocol.simulated or (card.level == "none" and card.k_sigma is None):
        return ""
    told = {float(row.told.split()[1].rstrip(",")): row.told for row in result.rows}  # by sigma, or by k
    low, high = told[min(told)], told[max(told)]
    how = ", estimated for each" if getattr(result.protocol, "level", None) == "estimated" else ""
    return f"; told {low}{how}" if low == high else f"; told {low} to {high}{how}"


def _table(results: "list[Evaluation]") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("protocol", overflow="fold")
    for title in ("pictures", "noisy dB", "noisy SSIM", "PSNR dB", "SSIM", "s/picture"):
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
            f"{result.mean('noisy_ssim'):.4f}",
            f"{result.mean('psnr'):.2f}",
            f"{result.mean('ssim'):.4f}",
            f"{result.mean('seconds'):.3f}",
        )
    return table
