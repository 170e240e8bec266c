"""`shotnoise doctor`: what this machine has, and which engine will be used and why."""

import importlib.metadata
import json
import os
import platform
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import shotnoise

_EXTRAS = {
    "train": ("torch", "lightning", "torchmetrics", "tensorboard", "lmdb", "safetensors", "scipy", "h5py"),
    "export": ("onnx", "onnxscript"),
    "openvino": ("openvino",),
}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at this machine: engines, models, optional parts, and what will be used.

    Ends by denoising a small picture with each engine that can run the bundled model, so that a broken driver shows
    here and not in the middle of your work.
    """
    found = examine()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    screen = Console(highlight=False)
    screen.print(
        f"shotnoise {found['shotnoise']} on Python {found['python']}, {found['system']}, {found['cores']} cores"
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("engine", "version", "state", "remark"):
        table.add_column(column)
    for engine in found["engines"]:
        table.add_row(engine["name"], engine["version"], engine["state"], engine["remark"])
    screen.print(table)
    for extra, state in found["extras"].items():
        screen.print(f"extra {extra}: {state}")
    screen.print(f"models: {', '.join(found['models'])}")
    screen.print(found["choice"])


def examine() -> dict[str, Any]:
    """Everything that `doctor` shows, as plain values."""
    from shotnoise.bundled import BUNDLED, find_model
    from shotnoise.engines import available_engines, open_engine
    from shotnoise.errors import ShotnoiseError

    engines = []
    model = find_model("photo")
    for status in available_engines():
        state, remark = ("ready" if status.available else "missing"), status.reason
        if status.available and status.name != "torch":
            try:
                remark = f"{_try(open_engine(model, status.name))}; {remark}"
            except ShotnoiseError as error:
                state, remark = "broken", str(error)
        engines.append({"name": status.name, "version": status.version, "state": state, "remark": remark})
    chosen = open_engine(model).describe()
    return {
        "shotnoise": shotnoise.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "engines": engines,
        "extras": {extra: _extra(extra, names) for extra, names in _EXTRAS.items()},
        "models": sorted(BUNDLED),
        "choice": f"will use {chosen['engine']} on {chosen['provider']}: {chosen['reason']}",
    }


def _try(engine: Any) -> str:
    """Denoise a small flat gray picture and say that it went well, or how it did not."""
    import numpy as np

    from shotnoise.errors import EngineError

    card = engine.card
    picture = np.full((1, card.channels, 8 * card.multiple, 8 * card.multiple), 0.5, np.float32)
    clean = engine.run(picture, np.full((1, 1, 1, 1), 0.1, np.float32) if card.level == "sigma" else None)
    error = float(np.abs(clean - 0.5).max())
    if not error < 0.1:
        raise EngineError(f"self-test failed: a flat gray picture came back {error:.2g} away from itself")
    return "self-test passed"


def _extra(extra: str, names: tuple[str, ...]) -> str:
    versions, missing = [], []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return f"missing {', '.join(missing)}: pip install 'shotnoise[{extra}]'" if missing else ", ".join(versions)
