"""`shotnoise benchmark`: how fast models run here, and how much memory they take."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from shotnoise.evaluation.benchmark import Timing


def benchmark(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Bundled names, .onnx files, run folders or checkpoints.")
    ],
    engine: Annotated[
        list[str] | None, typer.Option(help="auto, onnxruntime, openvino or torch; may be repeated.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="HxW", help="Of a picture; 512x768 by default; may be repeated.")
    ] = None,
    threads: Annotated[str | None, typer.Option(metavar="N,..", help="CPU threads; all cores by default.")] = None,
    batch: Annotated[str, typer.Option(metavar="N,..", help="Pictures per run.")] = "1",
    precision: Annotated[str, typer.Option(help="f32, or bf16 with the engine openvino.")] = "f32",
    warmup: Annotated[int, typer.Option(help="Runs before the clock starts.")] = 3,
    repeats: Annotated[int, typer.Option(help="Runs that are measured.")] = 10,
    json_file: Annotated[str | None, typer.Option("--json", help="Write JSON to this file; - prints it.")] = None,
) -> None:
    """Measure the time of every combination of models, engines, sizes, threads and batches.

    Times are median and 90th percentile in milliseconds per batch: pre is from 8-bit pictures to the network's input,
    post from its output to 8-bit pictures. A picture runs in one piece. Peak memory is that of a whole process which
    does nothing else. Quality is not measured here; `shotnoise evaluate` does.
    """
    from shotnoise.evaluation import write_json
    from shotnoise.evaluation.benchmark import benchmark as measure
    from shotnoise.evaluation.benchmark import machine, plan_cases

    cases = plan_cases(
        models,
        engines=engine or ["auto"],
        sizes=[_size(text) for text in size or ["512x768"]],
        threads=[None] if threads is None else _numbers(threads, "--threads"),
        batches=_numbers(batch, "--batch"),
        precision=precision,
    )
    messages = Console(stderr=True, highlight=False)
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(cases))
        timings = measure(
            cases,
            warmup=warmup,
            repeats=repeats,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    content = {"machine": machine(), "warmup": warmup, "timings": [timing.to_json() for timing in timings]}
    if json_file == "-":
        typer.echo(json.dumps(content, indent=2))
        return
    facts = machine()
    typer.echo(f"shotnoise {facts['shotnoise']}, Python {facts['python']}, {facts['system']}, {facts['cores']} cores")
    typer.echo(f"median / 90th percentile of {repeats} runs in ms per batch, after {warmup} not counted")
    screen = Console(highlight=False)
    # A file or pipe has no width to fit, and a folded table is hard to read for a program.
    (screen if screen.is_terminal else Console(width=250, highlight=False)).print(_table(timings))
    if json_file is not None:
        write_json(Path(json_file), content)


def _size(text: str) -> tuple[int, int]:
    matched = re.fullmatch(r"(\d+)x(\d+)", text)
    if matched is None:
        raise typer.BadParameter(f"'{text}' is not a size; expected HEIGHTxWIDTH, as in 512x768", param_hint="--size")
    return int(matched[1]), int(matched[2])


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a list of whole numbers; expected one like 1,2", param_hint=option
        ) from None


def _table(timings: "list[Timing]") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("model", "engine", "precision"):
        table.add_column(title, overflow="fold")
    for title in ("threads", "batch", "size", "pre", "inference", "post", "MP/s", "peak MB"):
        table.add_column(title, justify="right", no_wrap=True)
    for timing in timings:
        case, ran = timing.case, timing.ran
        table.add_row(
            Text(case.model),  # not markup, although a path may have brackets
            f"{ran['engine']} {ran['version']}, {ran['provider']}",
            str(ran["precision"]),
            "all" if case.threads is None else str(case.threads),
            str(case.batch),
            f"{case.height}x{case.width}",
            *(f"{median:.1f} / {p90:.1f}" for median, p90 in (timing.pre, timing.inference, timing.post)),
            f"{timing.megapixels_per_second:.2f}",
            "-" if timing.peak_mb is None else f"{timing.peak_mb:.0f}",
        )
    return table
