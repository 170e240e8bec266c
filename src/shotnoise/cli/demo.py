"""`shotnoise demo`: see it work, on a picture that comes with the package, and on a RAW file made from it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")] = Path("demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Denoise a photograph that comes with shotnoise and write before, after and both side by side.

    Then the same photograph as the RAW file of a simulated camera at ISO 6400.
    """
    from shotnoise.demo import demonstrate, demonstrate_raw

    shown, raw = demonstrate(output), demonstrate_raw(output)
    if as_json:
        typer.echo(json.dumps({**asdict(shown), "raw": asdict(raw)}, indent=2, default=str))
        return
    typer.echo(f"{shown.noisy}: {shown.psnr_before:.1f} dB, noise found: sigma {shown.sigma:.1f} of 255 (true: 25)")
    typer.echo(f"{shown.clean}: {shown.psnr_after:.1f} dB, in {shown.seconds:.2f} s")
    typer.echo(f"{raw.noisy}: {raw.psnr_before:.1f} dB, the RAW of a simulated camera at ISO {raw.iso}")
    typer.echo(f"{raw.clean}: {raw.psnr_after:.1f} dB, in {raw.seconds:.2f} s; noise law: {raw.law}")
    typer.echo(f"look at {shown.comparison} and {raw.comparison}")
