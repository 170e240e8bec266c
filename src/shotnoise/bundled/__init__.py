"""The models that come with shotnoise, trained by us: one .onnx each, carrying its card."""

import os
from pathlib import Path
from typing import Literal

from shotnoise.errors import ModelError, nearest

__all__ = ["BUNDLED", "default_model", "find_model", "sibling"]

# name -> (file in this folder, summary)
BUNDLED = {
    "photo": ("photo.onnx", "photographs, any noise; the default for pictures"),
    "gaussian": ("gaussian.onnx", "pictures with white noise of a level that is told or estimated, up to sigma 55"),
    "raw": ("raw.onnx", "RAW of any Bayer camera at any ISO; the default for RAW files"),
}

_MARKS = (".int8", ".fp16")


def default_model(kind: Literal["picture", "raw"], *, told: bool = False) -> str:
    """Which model is taken where none is named.

    Args:
        kind: of what it is to work on.
        told: whether the noise level of a picture is told, which `photo` has no use for.
    """
    if kind == "raw":
        return "raw"
    return "gaussian" if told else "photo"


def find_model(model: str | os.PathLike[str], precision: str = "auto") -> Path:
    """The file or folder of a model, from the name of a bundled one or from a path.

    Args:
        model: the name, or the path.
        precision: "int8" or "fp16": of an .onnx file, the one beside it that is called so. Without such a file the
            model itself for fp16, which some engines make of it, and a refusal for int8. Any other: the model itself.
    """
    path = _find(model)
    if precision not in ("int8", "fp16") or path.suffix.lower() != ".onnx" or path.is_dir():
        return path
    beside = sibling(path, precision)
    if beside.is_file():
        return beside
    if precision == "fp16" or _is_int8(path):
        return path
    name = os.fspath(model)
    target, then = (beside.name, " and name that file as the model") if name in BUNDLED else (str(beside), "")
    raise ModelError(
        f"{name}: has no {beside.name} beside it, so there is nothing to run in int8; make it with 'shotnoise export "
        f"{name} -o {target} --int8'{then}"
    )


def sibling(path: Path, precision: str) -> Path:
    """Where the same model would lie in another precision: `photo.int8.onnx` beside `photo.onnx`.

    >>> sibling(Path("photo.onnx"), "int8").name, sibling(Path("photo.int8.onnx"), "fp32").name
    ('photo.int8.onnx', 'photo.onnx')
    """
    stem = path.stem
    for mark in _MARKS:
        stem = stem.removesuffix(mark)
    mark = f".{precision}" if f".{precision}" in _MARKS else ""
    return path.with_name(f"{stem}{mark}{path.suffix}")


def _find(model: str | os.PathLike[str]) -> Path:
    text = os.fspath(model)
    if text in BUNDLED:
        path = Path(__file__).parent / BUNDLED[text][0]
        if not path.is_file():
            raise ModelError(f"the bundled model '{text}' is missing from this installation; install shotnoise again")
        return path
    path = Path(text)
    if path.exists():
        return path
    if path.suffix or len(path.parts) > 1:
        raise ModelError(f"{text}: no such model file or run folder")
    raise ModelError(f"unknown model '{text}': {nearest(text, BUNDLED)}; or give the path of a file or run folder")


def _is_int8(path: Path) -> bool:
    """By its card, for files that are called otherwise."""
    from shotnoise.engines.onnx_file import read_onnx

    return read_onnx(path).card.precision == "int8"
