"""The models that come with shotnoise, trained by us: one .onnx each, carrying its card."""

import os
from pathlib import Path

from shotnoise.errors import ModelError, nearest

__all__ = ["BUNDLED", "find_model"]

# name -> (file in this folder, summary)
BUNDLED = {
    "photo": ("photo.onnx", "photographs, white noise up to sigma 55; the default for pictures"),
    "raw": ("raw.onnx", "RAW of any Bayer camera at any ISO; the default for RAW files"),
}


def find_model(model: str | os.PathLike[str]) -> Path:
    """The file or folder of a model, from the name of a bundled one or from a path."""
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
