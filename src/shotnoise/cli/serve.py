"""`shotnoise serve`: the denoisers in a browser and over HTTP."""

import sys
from typing import Annotated

import typer

from shotnoise.errors import require


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets others reach it and wants a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 7860,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Bundled name, .onnx file, run folder or checkpoint to offer; several times; photo and raw."),
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="File of a noise profile to offer beside the published ones; several.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="For those who do not choose: auto, onnxruntime, openvino, torch.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="For those who do not choose: auto, fp32, bf16, fp16, int8.")] = "auto",
    provider: Annotated[
        str | None, typer.Option(help="As of `shotnoise denoise`, for those who do not choose.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="SHOTNOISE_TOKEN", show_envvar=True, help="Which everybody must show to be served."),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Serve others without one, because something else guards the way.")
    ] = False,
    max_upload: Annotated[float, typer.Option(min=0.01, metavar="MB", help="Of one file.")] = 200,
    max_pixels: Annotated[float, typer.Option(min=0.01, metavar="MP", help="Of one picture, in millions.")] = 150,
    max_queue: Annotated[int, typer.Option(min=0, help="Files that wait; more are refused.")] = 16,
    max_seconds: Annotated[float, typer.Option(min=0.1, metavar="S", help="Of work on one file.")] = 600,
    max_files: Annotated[int, typer.Option(min=1, help="On the page at once.")] = 100,
    idle: Annotated[float, typer.Option(min=1, metavar="MIN", help="Until an idle page loses its files.")] = 60,
    jobs: Annotated[int, typer.Option(min=1, help="Files at a time, in as many processes.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each process; all cores without it.")
    ] = None,
    root_path: Annotated[str, typer.Option(metavar="PREFIX", help="Under which a proxy shows the server.")] = "",
) -> None:
    """A page for pictures and RAW files, and the same over HTTP, until Ctrl-C.

    Listens to this machine only, unless told otherwise. Nothing is loaded from or sent to anywhere else; files are
    removed when the page is closed, when a request has been answered, and at the end. Results are those of
    `shotnoise denoise`.
    """
    require("uvicorn", "web", "shotnoise serve")  # which comes with Gradio, and is there much faster
    from shotnoise.web.limits import MEGA, Limits
    from shotnoise.web.server import serve as run
    from shotnoise.web.settings import Offer

    if token and no_token:
        raise typer.BadParameter("--token and --no-token contradict each other; leave one out")
    limits = Limits(
        upload=round(max_upload * MEGA),
        pixels=round(max_pixels * MEGA),
        queue=max_queue,
        seconds=max_seconds,
        files=max_files,
        idle=60 * idle,
    )
    offer = Offer(
        models=tuple(model or ()),
        profiles=tuple(profile or ()),
        engine=engine,
        precision=precision,
        provider=provider,
        threads=threads,
    )
    run(
        offer,
        limits,
        host=host,
        port=port,
        token=token or None,
        open_to_all=no_token,
        processes=jobs,
        root_path=root_path,
        say=typer.echo,
        begin=lambda: typer.echo("starting, which takes some seconds", err=True) if sys.stderr.isatty() else None,
    )
