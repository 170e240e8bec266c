"""`shotnoise synthesize`: clean pictures -> noisy and clean ones, with the noise of a camera."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from shotnoise.isp import Renderer
    from shotnoise.noise import NoiseModel
    from shotnoise.synthesis.files import SynthesisReport

_STORE = ".store"


def synthesize(
    inputs: Annotated[list[Path], typer.Argument(metavar="PICTURES", help="Clean pictures, and folders of them.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; a store if it ends in .store.")],
    noise: Annotated[
        str,
        typer.Option(
            metavar="NOISE",
            help="Of the sensor: sidd, dnd or brooks, drawn for each picture; PROFILE or PROFILE@ISO, of a calibrated "
            "or published camera; K,S2, the variance k x + s2; or {name: poisson-gaussian, ...} as in a recipe.",
        ),
    ] = "sidd",
    renderer: Annotated[
        str,
        typer.Option(
            metavar="CAMERA", help="classical, one drawn for each picture; or the run or file of a network cycleisp."
        ),
    ] = "classical",
    raw: Annotated[bool, typer.Option("--raw/--srgb", help="Packed RAW planes, or developed pictures.")] = False,
    pair: Annotated[
        Literal["transfer", "round-trip", "published"],
        typer.Option(
            help="Of sRGB. transfer: the picture, and it with what noise changes in the developed one; round-trip: "
            "developed without and with noise; published: the picture, and the developed noisy one."
        ),
    ] = "transfer",
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Smooth pictures a little first, for those that are noisy themselves.")
    ] = False,
    resize: Annotated[float, typer.Option(metavar="FACTOR", help="Make pictures smaller first, as in 0.5.")] = 1.0,
    jpeg: Annotated[
        str | None,
        typer.Option(metavar="QUALITY", help="Compress the noisy pictures as phones do: 90, or 60-95 for a range."),
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Cut into square patches of this side, even.")] = None,
    bits: Annotated[Literal["8", "16"], typer.Option(help="Of the PNG files, and of sRGB in a store.")] = "8",
    store: Annotated[bool, typer.Option("--store", help="Write a store, whatever its name.")] = False,
    frame: Annotated[
        bool, typer.Option("--frame", help="Put pictures into a black frame of 512 x 512, as the published code does.")
    ] = False,
    rgb2raw: Annotated[Path | None, typer.Option(help="Official file of CycleISP, sRGB to RAW.")] = None,
    ccm: Annotated[Path | None, typer.Option(help="Official file of CycleISP, colour branch.")] = None,
    raw2rgb: Annotated[Path | None, typer.Option(help="Official file of CycleISP, RAW to sRGB.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all randomness.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that holds files, or replace a store.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make realistic noise: pictures go back to RAW, become noisy there, and are developed again.

    Writes clean/ and noisy/ of the same names; for RAW, npz/ with the planes and their variance, and mosaic/ to look
    at. To learn from sRGB pairs: `shotnoise train RECIPE --set 'pairs={name: stored}' --set noise=null --data OUT`. A
    picture's noise depends on its name and the seed alone. A picture that fails does not stop the others; the exit
    status is then 1.
    """
    from shotnoise.errors import require

    require("torch", "train", "making noise")
    from shotnoise.synthesis import Synthesizer
    from shotnoise.synthesis.files import synthesize as make

    if raw and (jpeg is not None or pair != "transfer"):
        raise typer.BadParameter("--jpeg and --pair are about developed pictures: leave them out with --raw")
    if frame and crop is not None:
        raise typer.BadParameter("--frame is for whole pictures: leave out --crop")
    synthesizer = Synthesizer(
        _camera(renderer, rgb2raw, ccm, raw2rgb),
        _noise(noise),
        pair=pair,
        smooth=smooth,
        resize=resize,
        jpeg=None if jpeg is None else _qualities(jpeg),
        frame=frame,
    )
    messages = Console(stderr=True, highlight=False, markup=False)
    columns = (TextColumn("making noise"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("noise", total=None)
        report = make(
            inputs,
            output,
            synthesizer,
            domain="raw" if raw else "srgb",
            store=store or output.suffix == _STORE,
            crop=crop,
            bits=int(bits),
            seed=seed,
            overwrite=overwrite,
            made_by={
                "noise": noise,
                "renderer": renderer if rgb2raw is None else [str(part) for part in (rgb2raw, ccm, raw2rgb)],
                "domain": "raw" if raw else "srgb",
                "pair": pair,
                "smooth": smooth,
                "resize": resize,
                "jpeg": jpeg,
                "frame": frame,
                "crop": crop,
                "bits": int(bits),
                "seed": seed,
            },
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    for line in report.failed:
        messages.print(f"left out: {line}", markup=False, soft_wrap=True)
    typer.echo(json.dumps(report.to_json(), indent=2) if as_json else _summary(report))
    if report.failed:
        raise typer.Exit(1)


def _camera(name: str, rgb2raw: Path | None, ccm: Path | None, raw2rgb: Path | None) -> "Renderer":
    from shotnoise.networks.cycleisp import CycleISP
    from shotnoise.synthesis import open_renderer

    parts = (rgb2raw, ccm, raw2rgb)
    if parts == (None, None, None):
        return open_renderer(name)
    if rgb2raw is None or ccm is None or raw2rgb is None or name != "classical":
        raise typer.BadParameter("a published camera is three files: --rgb2raw, --ccm and --raw2rgb, and no --renderer")
    return CycleISP.assemble(rgb2raw=rgb2raw, ccm=ccm, raw2rgb=raw2rgb).requires_grad_(False)


def _noise(text: str) -> "NoiseModel":
    """A sampler by name, a camera at an ISO, two numbers, or a noise model in the words of a recipe."""
    import yaml

    from shotnoise.noise import NOISE
    from shotnoise.recipe import plain_yaml

    options: dict[str, Any]
    if text in ("sidd", "dnd", "brooks"):
        options = {"name": "poisson-gaussian", "levels": text, "shot": "gaussian"}
    elif len(numbers := _numbers(text)) == 2:
        options = {"name": "poisson-gaussian", "k": numbers[0], "s2": numbers[1]}
    elif text.lstrip().startswith("{"):
        try:
            options = plain_yaml(text)
        except yaml.YAMLError:
            options = {}
        if not isinstance(options.get("name"), str):
            raise typer.BadParameter(f"--noise {text}: expected {{name: NAME, ...}} as in a recipe")
    else:
        profile, at, iso = text.rpartition("@")
        if at and not _numbers(iso):
            raise typer.BadParameter(f"--noise {text}: '{iso}' is no ISO; expected PROFILE@ISO, as in nikon-d850@3200")
        options = {"name": "poisson-gaussian", "profile": profile if at else text}
        if at:
            options["iso"] = _numbers(iso)[0]
    name = options.pop("name")
    model: NoiseModel = NOISE.create(name, options)
    return model


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def _qualities(text: str) -> tuple[float, float]:
    try:
        parts = [float(part) for part in text.split("-")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2):
        raise typer.BadParameter(f"--jpeg {text}: expected a quality or a range of them, as in 90 or 60-95")
    return parts[0], parts[-1]


def _summary(report: "SynthesisReport") -> str:
    sigmas = sorted(made.sigma for made in report.made)
    pictures = len({made.picture for made in report.made})
    pairs = f"{len(sigmas)} pairs of {pictures} pictures" if len(sigmas) != pictures else f"{pictures} pairs"
    return (
        f"{report.out}: {pairs} in {report.seconds:.1f} s; noise of {sigmas[0]:.1f} to {sigmas[-1]:.1f} counts of 255, "
        f"half of them below {sigmas[len(sigmas) // 2]:.1f}"
    )
