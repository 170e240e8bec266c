"""From which float32 file another precision is made, and how a model file is written."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shotnoise.bundled import find_model
from shotnoise.card import CARD_KEY, Card, Score
from shotnoise.engines.engine import Array
from shotnoise.engines.onnx_file import OnnxFile, read_onnx
from shotnoise.errors import ModelError, require
from shotnoise.export.pictures import Noisy

__all__ = ["check_target", "content_of", "float_model", "run", "session", "write_model"]


def float_model(
    model: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    network: str | None = None,
    scores: Sequence[Score] = (),
) -> OnnxFile:
    """A float32 model: an .onnx of ours as it is, which needs no torch; anything else is exported first.

    Args:
        model: name of a bundled model, an .onnx file, a run folder or a checkpoint.
        size: of what is exported.
        network: architecture of a foreign checkpoint.
        scores: measured results to put on the card of what is exported.
    """
    place = find_model(model)
    if place.suffix == ".onnx":
        file = read_onnx(place)
        if file.card.precision != "fp32":
            raise ModelError(
                f"{place}: is {file.card.precision} already; expected a float32 model, give the one it was made from"
            )
        if size is not None or network is not None or scores:
            raise ModelError(
                f"{place}: is exported already, so a size, a network or scores cannot be given; give the run or "
                "checkpoint, or leave them out"
            )
        return file
    from shotnoise.export.onnx import export

    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / f"{place.stem}.onnx"
        return read_onnx(export(place, temporary, size=size, network=network, scores=scores).path)


def check_target(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The .onnx to write, if it may be written."""
    target = Path(path)
    if target.suffix != ".onnx":
        raise ModelError(f"{target}: expected a file name that ends in .onnx")
    if target.exists() and not overwrite:
        raise ModelError(f"{target}: exists already; pass --overwrite or another name")
    if target.is_dir():
        raise ModelError(f"{target}: is a folder; expected the name of a file to write")
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ModelError(f"{target}: {above} is no folder that may be written to; choose another place")
    return target


def content_of(proto: Any, card: Card) -> bytes:
    """The bytes of a model file that carries this card and no other notes; checked by the rules of ONNX."""
    onnx = require("onnx", "export", "writing ONNX")
    proto.doc_string = card.title
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.to_json()
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def write_model(content: bytes, target: Path) -> None:
    """Write a model file: whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=".onnx")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ModelError(f"{target}: cannot be written ({error.strerror}); choose another place") from None


def session(content: bytes, *, threads: int = 0) -> Any:
    """An onnxruntime on the CPU that says nothing on stderr."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(opened: Any, noisy: Noisy) -> Array:
    """What a model makes of one picture, (C, H, W)."""
    result: Array = np.asarray(opened.run(["clean"], noisy.inputs)[0][0], np.float32)
    return result
