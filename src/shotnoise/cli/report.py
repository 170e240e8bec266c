"""`shotnoise report`: a noisy picture and what a denoiser made of it; can the result be trusted? Or: how a run went."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def report(
    before: Annotated[
        Path, typer.Argument(metavar="BEFORE|RUN", help="The noisy picture or RAW file; or a run folder, alone.")
    ],
    after: Annotated[
        Path | None, typer.Argument(metavar="AFTER", help="What a denoiser made of it; of RAW, the DNG.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="A clean one, for PSNR and SSIM.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The page, .html; AFTER_report.html beside AFTER, or RUN/summary.html, without it."
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option("--png", help="Also a summary in one picture, .png.")] = None,
    level: Annotated[
        str | None,
        typer.Option(
            metavar="SIGMA|PROFILE",
            help="The noise of BEFORE. Of pictures: its standard deviation in counts of 8 bits, 0 to 255. Of RAW: "
            "noise profile of the camera. Without it, what the file says, or an estimate.",
        ),
    ] = None,
    iso: Annotated[
        float | None, typer.Option(min=1, help="For the profile, where the RAW file says it wrongly.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--raw-layout", help="Of RAW without a header: JSON file that says how it lies.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all numbers and warnings; no page unless -o names one.")
    ] = False,
) -> None:
    """Compare two pictures and say what was taken away: noise, or more. Or tell how a training went.

    Prints the verdict and the warnings.

    Writes one page that needs nothing else: before and after, close-ups of the worst places, what was taken away and
    what it has in common with the picture, an estimate of the error without a clean picture, warnings with their
    numbers and places. The exit status says whether the comparison was possible, not what it found.

    `shotnoise report RUN` writes the page that a training leaves at its end, also while it still goes on: the outcome,
    the curves, samples, warnings, the recipe, and the commands to go on with.
    """
    from shotnoise.cli.denoise import noise_told
    from shotnoise.errors import PictureError
    from shotnoise.images._disk import shown
    from shotnoise.images.raw import HeaderlessLayout
    from shotnoise.report import VERDICTS, compare

    if after is None:
        given = {"--reference": reference, "--png": picture, "--level": level, "--iso": iso, "--raw-layout": layout}
        _about_run(before, [name for name, value in given.items() if value is not None], output, as_json)
        return
    sigma, profile = noise_told(level)
    # Not with_name, which refuses '.': that AFTER is no file is better said below.
    pages = [] if output is None and as_json else [output or after.parent / f"{after.stem}_report.html"]
    for path, endings in (*((page, (".html", ".htm")) for page in pages), (picture, (".png",))):
        if path is not None and path.suffix.lower() not in endings:
            raise PictureError(f"{shown(path)}: ends in '{path.suffix}'; expected {endings[0]}: choose such a name")
    found = compare(
        before,
        after,
        reference,
        noise=sigma if profile is None else profile,
        iso=iso,
        layout=None if layout is None else HeaderlessLayout.load(layout),
    )
    messages = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for path in (*pages, *([] if picture is None else [picture])):
        found.save(path)
        messages.print(f"wrote {path}")
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
        return
    m = found.measured
    typer.echo(f"{VERDICTS[found.verdict][0]}: {found.subject.describe()}")
    typer.echo(
        f"noise {m.expected_counts:.2f} counts of 255 ({found.noise.source}), taken away {m.removed_counts:.2f}, left "
        f"{found.left:.2f} by the blind estimate"
    )
    for estimate in found.estimates:
        if estimate.psnr is not None:
            doubt = "" if estimate.error is None else f", within {estimate.error[1]:.1f} dB in nine of ten cases"
            typer.echo(f"PSNR {estimate.before:.2f} dB before, {estimate.psnr:.2f} dB after (rough estimate{doubt})")
    if found.truth is not None:
        typer.echo(f"PSNR {found.truth.psnr_before:.2f} dB before, {found.truth.psnr_after:.2f} dB after (reference)")
    for finding in found.findings:
        where = "" if finding.place is None else f" ({finding.place})"
        typer.echo(f"{finding.severity}: {finding.text}{where}")


def _about_run(folder: Path, given: list[str], output: Path | None, as_json: bool) -> None:
    """The summary of a training."""
    from shotnoise.errors import PictureError, RecipeError
    from shotnoise.images._disk import shown
    from shotnoise.summary import PAGE, is_run, judge, outcome, read_run, to_json, write_summary

    if not is_run(folder):
        what = "a folder without recipe.yaml" if folder.is_dir() else "one file"
        if not folder.exists():
            raise PictureError(f"{shown(folder)}: does not exist; expected a run folder, or BEFORE and AFTER")
        raise PictureError(
            f"{shown(folder)}: {what} alone; expected a run folder, or BEFORE and AFTER: name both files"
        )
    if given:
        raise RecipeError(f"{', '.join(given)} with the run {shown(folder)}; expected only -o and --json: leave it out")
    page = output or (None if as_json else folder / PAGE)
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise PictureError(f"{shown(page)}: ends in '{page.suffix}'; expected .html: choose such a name")
    run = read_run(folder)
    if page is not None:
        write_summary(run, page)
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"wrote {page}")
    if as_json:
        typer.echo(json.dumps(to_json(run), indent=2))
        return
    typer.echo(outcome(run))
    for finding in judge(run):
        typer.echo(f"{finding.severity}: {finding.text}")
