"""`shotnoise submit`: what benchmarks that keep the truth to themselves want to be sent."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shotnoise import __version__


def submit(
    benchmark: Annotated[str, typer.Argument(help="dnd-srgb, dnd-raw, sidd-srgb or sidd-raw.")],
    model: Annotated[str, typer.Argument(help="Bundled name, .onnx file, run folder or checkpoint.")],
    data: Annotated[
        Path,
        typer.Option(help="Folder of the files as downloaded: info.mat of DND, or the .mat files of SIDD's benchmark."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    engine: Annotated[str, typer.Option(help="auto, onnxruntime, openvino or torch.")] = "auto",
    network: Annotated[
        str | None, typer.Option(help="Architecture of a foreign checkpoint, if it is not recognised.")
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation in counts, 0 to 255, that a model for pictures is told; without it what DND says "
            "of each box, and for SIDD a blind estimate."
        ),
    ] = None,
    ensemble: Annotated[
        Literal["none", "x8"],
        typer.Option(help="x8: the mean over the picture mirrored and transposed in all eight ways; 8 times the work."),
    ] = "none",
    samples: Annotated[
        int, typer.Option(min=1, help="Of models that draw random numbers: the mean of so many draws.")
    ] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the random numbers of a model; 0 without it.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, and replace what is in the folder.")
    ] = False,
    json_file: Annotated[str | None, typer.Option("--json", help="Write JSON to this file; - prints it.")] = None,
) -> None:
    """Denoise a benchmark whose truth is kept secret, and write the files to hand in. Prints their names.

    Every finished block is kept: the same command goes on where it was stopped.
    """
    from shotnoise.bundled import find_model
    from shotnoise.errors import ModelError
    from shotnoise.evaluation import ModelUnderTest, open_challenge, write_json
    from shotnoise.evaluation import submit as run

    messages = Console(stderr=True, highlight=False, markup=False)
    challenge = open_challenge(benchmark, data, level)
    under_test = ModelUnderTest(model, engine, network=network, ensemble=ensemble, samples=samples, seed=seed)
    card = under_test.card
    if card.kind != challenge.kind:
        wanted = "RAW" if challenge.kind == "raw" else "colour pictures"
        raise ModelError(f"{model}: is for {card.kind} data, and {benchmark} wants {wanted}; choose another model")
    if level is not None and card.level == "none":
        raise ModelError(f"{model}: takes no noise level; leave --level out")
    origin = {
        "benchmark": benchmark,
        "data": str(data.resolve()),
        "model": card.name,
        "sha256": _sha256(find_model(model)),
        "network": network,
        "level": level,
        **{key: value for key, value in under_test.describe().items() if key in ("ensemble", "samples", "seed")},
    }
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task(benchmark, total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)
            if not messages.is_terminal and (done % _LINE_EVERY == 0 or done == total):
                messages.print(f"{benchmark}: {done} of {total} blocks", markup=False, soft_wrap=True)

        result = run(under_test, challenge, output, origin=origin, overwrite=overwrite, progress=show)
    content: dict[str, Any] = {
        **origin,
        "card": card.model_dump(mode="json"),
        "engine": under_test.describe(),
        "shotnoise": __version__,
        **result.to_json(),
    }
    there = result.blocks - result.denoised
    messages.print(
        f"{result.denoised} blocks denoised{f', {there} were there' if there else ''}; "
        f"{result.seconds_per_megapixel:.2f} s per megapixel",
        markup=False,
        soft_wrap=True,
    )
    if json_file == "-":
        typer.echo(json.dumps(content, indent=2))
        return
    for path in result.files:
        typer.echo(str(path))
    if json_file is not None:
        write_json(Path(json_file), content)


_LINE_EVERY = 100  # blocks, where there is no terminal for a bar


def _sha256(model: Path) -> str:
    """Of the weights: the file, or what a run folder holds."""
    files = sorted(model.glob("*.safetensors")) if model.is_dir() else [model]
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
