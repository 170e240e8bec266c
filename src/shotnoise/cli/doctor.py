"""`shotnoise doctor`: what this machine has, and which engine will be used for what and why."""

import importlib.metadata
import json
import platform
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import shotnoise

_EXTRAS = {
    "train": ("torch", "lightning", "torchmetrics", "tensorboard", "lmdb", "safetensors", "scipy", "h5py"),
    "export": ("onnx", "onnxscript", "nncf"),
    "openvino": ("openvino",),
    "mri": ("nibabel",),
    "web": ("gradio",),
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Forget which engines were measured to be fastest, and measure again.")
    ] = False,
) -> None:
    """Look at this machine: processor, engines, models, optional parts, and what will be used.

    Denoises a small picture with each engine that can run the bundled models, so that a broken driver shows here and
    not in the middle of your work.
    """
    found = examine(probe=probe)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    screen = Console(highlight=False, markup=False)  # [train] is no style
    screen.print(
        f"shotnoise {found['shotnoise']} on Python {found['python']}, {found['system']}, {found['cores']} cores"
    )
    sets = "unknown" if found["instructions"] is None else ", ".join(found["instructions"]) or "nothing that helps"
    screen.print(f"processor: {found['processor']}; instructions: {sets}")
    screen.print(_table(found["engines"], "engine", ("version", "state", "remark")))
    for extra, state in found["extras"].items():
        screen.print(f"extra {extra}: {state}")
    screen.print(_table(found["models"], "model", ("engine", "provider", "precision", "reason")))
    cache = found["cache"]
    state = "" if cache["writable"] else " (cannot be written: nothing is measured or kept)"
    screen.print(f"cache: {cache['folder']}{state}")


def examine(*, probe: bool = False) -> dict[str, Any]:
    """Everything that `doctor` shows, as plain values.

    Args:
        probe: whether measured choices are forgotten first.
    """
    from shotnoise.bundled import BUNDLED
    from shotnoise.engines import available_engines, open_engine
    from shotnoise.engines.cache import cache_folder, forget, make_folder
    from shotnoise.engines.machine import cores, instructions, processor
    from shotnoise.errors import ShotnoiseError

    if probe:
        forget()
    engines = []
    for status in available_engines():
        state, remark = ("ready" if status.available else "missing"), status.reason
        if status.available and not status.name.startswith("torch"):
            try:
                remark = f"{_try(open_engine('photo', status.name, precision='fp32'))}; {remark}"
                if status.name == "openvino":
                    from shotnoise.engines.openvino import capabilities

                    remark = f"{remark}; finds {', '.join(capabilities())}"
            except ShotnoiseError as error:
                state, remark = "broken", str(error)
        engines.append({"name": status.name, "version": status.version, "state": state, "remark": remark})
    models = []
    for name in sorted(BUNDLED):
        try:
            ran = open_engine(name).describe()
        except ShotnoiseError as error:
            ran = {"engine": "none", "reason": str(error)}
        models.append({key: ran.get(key, "") for key in ("engine", "provider", "precision", "reason")} | {"name": name})
    return {
        "shotnoise": shotnoise.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
        "instructions": instructions(),
        "engines": engines,
        "extras": {extra: _extra(extra, names) for extra, names in _EXTRAS.items()},
        "models": models,
        "cache": {"folder": str(cache_folder()), "writable": make_folder() is not None},
    }


def _table(rows: list[dict[str, Any]], what: str, keys: tuple[str, ...]) -> Table:
    """Things by name, with what is known of each; the last column may be long."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in (what, *keys):
        table.add_column(title, no_wrap=title != keys[-1])
    for row in rows:
        table.add_row(*(str(row[key]) for key in ("name", *keys)))
    return table


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
