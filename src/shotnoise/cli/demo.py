"""`shotnoise demo`: see it work, on a picture that comes with the package."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")] = Path("demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Denoise a photograph that comes with shotnoise and write before, after and both side by side."""
    from shotnoise.demo import demonstrate

    shown = demonstrate(output)
    if as_json:
        typer.echo(
            json.dumps({name: str(v) if isinstance(v, Path) else v for name, v in asdict(shown).items()}, indent=2)
        )
        return
    typer.echo(f"{shown.noisy}: {shown.psnr_before:.1f} dB, noise found: sigma {shown.sigma:.1f} of 255 (true: 25)")
    typer.echo(f"{shown.clean}: {shown.psnr_after:.1f} dB, in {shown.seconds:.2f} s")
    typer.echo(f"look at {shown.comparison}")
