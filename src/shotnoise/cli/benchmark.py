"""`shotnoise benchmark`: how fast models run here, and how much memory and energy they take."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shotnoise.evaluation.benchmark import Refusal, Spread, Timing

_BUSY = 0.5  # processes per core that wanted to run in the minute before


def benchmark(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Bundled names, .onnx files, run folders or checkpoints.")
    ],
    engine: Annotated[
        list[str] | None,
        typer.Option(help="auto, onnxruntime, openvino, torch or torch-compiled; may be repeated."),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="HxW", help="Of a picture; 512x768 by default; may be repeated.")
    ] = None,
    threads: Annotated[str | None, typer.Option(metavar="N,..", help="CPU threads; all cores by default.")] = None,
    batch: Annotated[str, typer.Option(metavar="N,..", help="Pictures per run.")] = "1",
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, bf16, fp16 or int8; may be repeated. By default what 'shotnoise denoise' would take."),
    ] = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="cpu, cuda or tensorrt; may be repeated. By default the engine's choice.")
    ] = None,
    warmup: Annotated[int, typer.Option(help="Runs before the clock starts.")] = 3,
    repeats: Annotated[int, typer.Option(help="Runs that are measured.")] = 10,
    json_file: Annotated[str | None, typer.Option("--json", help="Write JSON to this file; - prints it.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the times as bars.")] = None,
) -> None:
    """Measure time, memory and energy of every combination of models, engines, precisions, sizes, threads and batches.

    Times are median and 90th percentile in milliseconds per batch: pre is from 8-bit pictures to the network's input,
    post from its output to 8-bit pictures. A picture runs in one piece. CPU is the time of all cores for one picture,
    all stages together. Peak memory is that of a whole process which does nothing else. Energy is what the counters of
    the machine say, other programs included; where it has none, or hides them, none is shown. Combinations that cannot
    run are listed with the reason. Quality is not measured here; 'shotnoise evaluate' does.
    """
    from shotnoise.evaluation import check_result, write_json
    from shotnoise.evaluation.benchmark import benchmark as measure
    from shotnoise.evaluation.benchmark import machine, plan_cases
    from shotnoise.evaluation.benchmark_figure import check_figure, write_figure

    if json_file is not None and json_file != "-":
        check_result(Path(json_file))
    plan = plan_cases(
        models,
        engines=engine or ["auto"],
        precisions=precision or ["auto"],
        providers=provider or [None],
        sizes=[_size(text) for text in size or ["512x768"]],
        threads=[None] if threads is None else _numbers(threads, "--threads"),
        batches=_numbers(batch, "--batch"),
    )
    if plot is not None:
        check_figure(plot, len(plan.cases))
    facts = machine()  # before the load is our own
    messages = Console(stderr=True, highlight=False, markup=False)
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(plan.cases))
        timings = measure(
            plan.cases,
            warmup=warmup,
            repeats=repeats,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    content = {
        "machine": facts,
        "warmup": warmup,
        "timings": [timing.to_json() for timing in timings],
        "refused": [asdict(refusal) for refusal in plan.refused],
    }
    if plot is not None:
        write_figure(plot, timings, facts)
    if json_file == "-":
        typer.echo(json.dumps(content, indent=2))
        return
    known = facts["instructions"]
    has = f"{facts['processor']} ({'instructions unknown' if known is None else ', '.join(known)})"
    typer.echo(f"shotnoise {facts['shotnoise']}, Python {facts['python']}, {facts['cores']} cores of {has}")
    typer.echo(f"median / 90th percentile of {repeats} runs in ms per batch, after {warmup} not counted")
    screen = Console(highlight=False, markup=False)
    # A file or pipe has no width to fit, and a folded table is hard to read for a program.
    (screen if screen.is_terminal else Console(width=250, highlight=False, markup=False)).print(_table(timings))
    for line in _not_measured(plan.refused):
        typer.echo(line)
    if facts["load"] is not None and facts["load"] > _BUSY * facts["cores"]:
        typer.echo(
            f"this machine was busy (load {facts['load']:.1f} on {facts['cores']} cores): trust CPU times and ratios"
        )
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
    numbers = ["threads", "batch", "size", "pre", "inference", "post", "CPU ms/picture", "MP/s", "peak MB"]
    metered = any(timing.energy is not None for timing in timings)
    for title in [*numbers, "J/picture"] if metered else numbers:
        table.add_column(title, justify="right", no_wrap=True)
    for timing in timings:
        case, ran = timing.case, timing.ran
        cells: list[str | Text] = [
            Text(case.model),  # not markup, although a path may have brackets
            f"{ran['engine']} {ran['version']}, {ran['provider']}",
            str(ran["precision"]),
            "all" if case.threads is None else str(case.threads),
            str(case.batch),
            f"{case.height}x{case.width}",
            *(_spread(stage) for stage in (timing.pre, timing.inference, timing.post)),
            f"{timing.cpu.median / case.batch:.1f}",
            f"{timing.megapixels_per_second:.2f}",
            "-" if timing.peak_mb is None else f"{timing.peak_mb:.0f}",
        ]
        if metered:
            cells.append("-" if timing.energy is None else f"{timing.energy.joules_per_picture:.3g}")
        table.add_row(*cells)
    return table


def _spread(spread: "Spread") -> str:
    return f"{spread.median:.1f} / {spread.p90:.1f}"


def _not_measured(refused: "Sequence[Refusal]") -> list[str]:
    """One line for each reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for refusal in refused:
        parts = [refusal.engine, refusal.precision, refusal.provider]
        words = " ".join(part for part in parts if part is not None and part != "auto")
        reasons.setdefault((refusal.model, refusal.reason), []).append(words)
    return [f"not measured: {', '.join([model, *which])}: {reason}" for (model, reason), which in reasons.items()]
