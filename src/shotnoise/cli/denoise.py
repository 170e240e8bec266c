"""`shotnoise denoise`: pictures, RAW files and folders of them, without their noise."""

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shotnoise.batch import BatchReport, Event, FileReport, Options, UsageError, denoise_files
from shotnoise.batch.work import told_to_leave
from shotnoise.errors import require
from shotnoise.images._disk import shown

if TYPE_CHECKING:
    from rich.progress import Progress


def denoise(
    inputs: Annotated[list[str], typer.Argument(metavar="IN", help="Pictures, RAW files, and folders of them.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="File, for one picture, or folder; beside the inputs without it."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Bundled name, .onnx file, run folder or checkpoint; without it photo, or gaussian where a level is "
            "given; of RAW raw."
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, onnxruntime, openvino, torch or torch-compiled.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, bf16, fp16 or int8; auto is exact, or bf16 where that is faster here.")
    ] = "auto",
    provider: Annotated[str | None, typer.Option(help="cpu, cuda or tensorrt; without it, what works here.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Architecture of a foreign checkpoint, if it is not recognised.")
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=2, help="0 changes nothing, 1 is the model's result, up to 2 is more.")
    ] = 1.0,
    level: Annotated[
        str | None,
        typer.Option(
            metavar="SIGMA|PROFILE",
            help="Of pictures: standard deviation of the noise in counts of 8 bits, 0 to 255. Of RAW: noise profile "
            "of the camera. Without it, what the file says, or an estimate.",
        ),
    ] = None,
    iso: Annotated[
        float | None, typer.Option(min=1, help="For the profile, where the RAW file says it wrongly.")
    ] = None,
    preview: Annotated[
        str | None, typer.Option(help="Of RAW: show the result developed, half as large, in this file or folder.")
    ] = None,
    linear: Annotated[bool, typer.Option("--linear", help="Of RAW: a linear DNG, demosaiced.")] = False,
    compression: Annotated[Literal["jpeg", "none"], typer.Option(help="Of DNG; jpeg is lossless.")] = "jpeg",
    layout: Annotated[
        str | None, typer.Option("--raw-layout", help="Of RAW without a header: JSON file that says how it lies.")
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="No model: learn from each picture itself, about a minute each; needs torch.")
    ] = False,
    fit_steps: Annotated[int, typer.Option(min=1, help="Steps of each fit; fewer are faster and blurrier.")] = 2000,
    ensemble: Annotated[
        Literal["none", "x8"],
        typer.Option(help="x8: the mean over the picture mirrored and transposed in all eight ways; 8 times the work."),
    ] = "none",
    samples: Annotated[
        int,
        typer.Option(
            min=1, help="Of models that draw random numbers: the mean of so many draws; as many times the work."
        ),
    ] = 1,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="With 2 samples or more: their standard deviation beside each result, NAME_uncertainty.npy in units "
            "of 0..1, and NAME_uncertainty.png to look at.",
        ),
    ] = False,
    with_report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Beside each result, NAME_report.html: what was taken away, where it was more than noise, and how "
            "large the error is without a clean picture.",
        ),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the random numbers of a model or of the fit; 0 without it.")
    ] = None,
    suffix: Annotated[
        str | None, typer.Option(help="Added to names; _clean beside the inputs, nothing in another folder.")
    ] = None,
    extension: Annotated[
        str | None,
        typer.Option("--format", help="png, jpg, tif, npy, webp or dng; that of the input without it, dng for RAW."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there, and inputs where OUT names them.")
    ] = False,
    recursive: Annotated[bool, typer.Option("--recursive/--no-recursive", help="Look into folders inside.")] = True,
    tile: Annotated[int | None, typer.Option(min=1, help="Longest side of the tiles in pixels.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Files at a time, in as many processes.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each process; all cores without it.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and WebP.")] = 95,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the names.")] = False,
) -> None:
    """Take the noise out of pictures and RAW files. Prints the names of the results.

    One picture becomes NAME_clean beside it, a folder becomes FOLDER_clean with the same tree, unless OUT says
    otherwise. Bit depth, alpha, colour profile and EXIF are kept. RAW becomes DNG with the same counts but for the
    noise, or a developed picture if OUT or the format is one. A second run does only what is new or would come
    out differently; files that are there and were not made here are not replaced. A file that fails does not stop the
    others; the exit status is then 1.
    """
    sigma, profile = noise_told(level)
    options = Options(
        model=model,
        engine=engine,
        strength=strength,
        level=sigma,
        tile=tile,
        threads=threads,
        quality=quality,
        profile=profile,
        iso=iso,
        layout=layout,
        linear=linear,
        compression=compression,
        network=network,
        ensemble=ensemble,
        samples=samples,
        seed=seed,
        uncertainty=uncertainty,
        report=with_report,
        precision=precision,
        provider=provider,
    )
    if fit:
        if model or network or engine not in ("auto", "torch") or level is not None or tile is not None:
            raise typer.BadParameter("--fit uses no model: leave out --model, --network, --engine, --level and --tile")
        if precision not in ("auto", "fp32") or provider not in (None, "cpu"):
            raise typer.BadParameter("--fit runs in fp32 on the CPU: leave out --precision and --provider")
        if ensemble != "none" or samples > 1 or uncertainty:
            raise typer.BadParameter("--fit fits once: leave out --ensemble, --samples and --uncertainty")
        require("torch", "train", "--fit")
        from shotnoise.methods.fit import FitOptions

        options = FitOptions(
            strength=strength, threads=threads, quality=quality, steps=fit_steps, seed=seed, report=with_report
        )
    with _Display(jobs) as display, told_to_leave():
        try:
            report = denoise_files(
                inputs,
                output,
                options=options,
                suffix=suffix,
                extension=extension,
                overwrite=overwrite,
                recursive=recursive,
                preview=preview,
                jobs=jobs,
                on_event=display.show,
            )
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None
        except (KeyboardInterrupt, SystemExit):
            display.stopped()
            raise
    display.summarise(report)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        for file in report.files:
            if file.status != "failed":
                typer.echo(str(file.output))
    if report.count("failed"):
        raise typer.Exit(1)


def noise_told(text: str | None) -> tuple[float | None, str | None]:
    """A number, or the name of a file."""
    if text is None:
        return None, None
    try:
        sigma = float(text)
    except ValueError:
        from shotnoise.sensor.published import PUBLISHED

        if os.path.exists(text) or text in PUBLISHED:
            return None, text
    else:
        if 0 <= sigma <= 255:
            return sigma, None
    raise typer.BadParameter(
        f"'{text}' is neither a number from 0 to 255 nor the file of a noise profile", param_hint="'--level'"
    )


def _how(ran: Mapping[str, Any]) -> str:
    """What ran, in words; a fit has no ensemble."""
    several = [ran["ensemble"]] if ran.get("ensemble", "none") != "none" else []
    if ran.get("samples", 1) > 1:
        several.append(f"{ran['samples']} samples")
    if ran.get("seed") is not None:
        several.append(f"seed {ran['seed']}")
    precision = "" if ran["precision"] == "fp32" else f" in {ran['precision']}"
    return ", ".join([f"{ran['engine']}{precision} ({ran['reason']})", *several])


class _Display:
    """What is going on, on stderr: a bar on a terminal, otherwise a line per file."""

    def __init__(self, jobs: int) -> None:
        self._bar = _bar() if sys.stderr.isatty() else None
        self._jobs = jobs
        self._finished = 0
        self._megapixels = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> "_Display":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, event: Event) -> None:
        """Take part in :func:`~shotnoise.batch.denoise_files`."""
        share = event.share
        if event.report is not None:
            self._finished += 1
            self._megapixels += event.report.megapixels or 0.0
            self._say(event.report)
            share = 0.0
        if self._bar is None:
            return
        rate = self._megapixels / (time.monotonic() - self._started)
        self._bar.update(
            self._bar.task_ids[0],
            total=event.total,
            completed=self._finished + (share if self._jobs == 1 else 0.0),
            rate=f"{rate:.1f} MP/s" if self._megapixels else "",
            description=event.input.name,
        )

    def stopped(self) -> None:
        """The last line after Ctrl-C."""
        self.__exit__()
        self._print(f"stopped after {self._finished} files; the same command goes on from there")

    def summarise(self, report: BatchReport) -> None:
        """The last line."""
        counts = [
            f"{report.count(status)} {word}"
            for status, word in (("done", "denoised"), ("skipped", "skipped"), ("failed", "failed"))
            if report.count(status) or status == "done"
        ]
        ran = dict.fromkeys(f"; {_how(one)}" for one in (report.engine, report.raw_engine, report.volume_engine) if one)
        self._print(f"{', '.join(counts)} in {report.seconds:.1f} s{''.join(ran)}")

    def _say(self, file: FileReport) -> None:
        if file.status == "failed":
            self._print(f"error: {file.error}")
            return
        if self._bar is not None:
            for note in file.notes if file.status == "done" else ():
                self._print(f"note: {shown(file.input)}: {note}")
            return
        done = " -> ".join(shown(path) for path in (file.input, file.output) if path is not None)
        if file.status == "skipped":
            self._print(f"{done}: skipped, {'; '.join(file.notes)}")
            return
        source = f" by {file.law['source']}" if file.law else ""
        noise = "" if file.sigma is None else f"noise {file.sigma:.1f}{source}, removed {file.removed:.1f}, "
        preview = "" if file.preview is None else f", {shown(file.preview)}"
        size = f"{file.megapixels:.1f} MP in {file.seconds:.1f} s"
        self._print(f"{done}{preview}: {noise}{size}")
        for note in file.notes:
            self._print(f"note: {shown(file.input)}: {note}")

    def _print(self, line: str) -> None:
        if self._bar is None:
            sys.stderr.write(f"{line}\n")
        else:
            self._bar.console.print(line)


def _bar() -> "Progress":
    """On a terminal; rich is imported for it alone."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True),
        transient=True,
    )
    bar.add_task("", total=None, rate="")
    return bar
