"""`halve`: a float32 model -> float16 inside; what goes in and comes out stays float32.

Half the file. Faster on GPUs; processors have no float16 arithmetic, so that engines there calculate in float32 again
and gain nothing. Where only the weights are halved, everybody calculates in float32.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shotnoise
from shotnoise.card import Card, Score
from shotnoise.errors import ModelError, require
from shotnoise.export.parity import parity_of, refusal
from shotnoise.export.pictures import Pictures, noisy_steps
from shotnoise.export.qdq import sort
from shotnoise.export.source import check_target, content_of, float_model, run, session, write_model
from shotnoise.export.weights import narrow, widen

__all__ = ["Halved", "halve"]

_CROPS = 4
_LOSS, _LOSS_OF_WEIGHTS = 0.02, 0.005  # dB


@dataclass(frozen=True)
class Halved:
    """What was written.

    Attributes:
        path: the file.
        card: what it says about itself, with its parity to the float32 file.
        sizes: bytes of the float32 file and of this one.
    """

    path: Path
    card: Card
    sizes: tuple[int, int]


def halve(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    weights_only: bool = False,
    calibration: Sequence[str | os.PathLike[str]] = (),
    size: tuple[int, int] | None = None,
    network: str | None = None,
    scores: Sequence[Score] = (),
    overwrite: bool = True,
) -> Halved:
    """Write a float16 model, or a float32 model with float16 weights.

    Args:
        model: name of a bundled model, a float32 .onnx of ours (which needs no torch), a run folder, a checkpoint.
        path: the `.onnx` to write.
        weights_only: see :mod:`shotnoise.export.weights`.
        calibration: folders of clean pictures for the comparison; none: the bundled photograph.
        size: fix height and width; not of an .onnx file.
        network: architecture of a foreign checkpoint, where it cannot be recognised.
        scores: measured results to put on the card; not of an .onnx file.
        overwrite: replace an existing file.

    Raises:
        ModelError: the numbers do not fit into float16, so that the results differ; nothing is written then.
    """
    onnx = require("onnx", "export", "writing ONNX")
    target = check_target(path, overwrite)
    file = float_model(model, size=size, network=network, scores=scores)
    proto = onnx.load_from_string(file.content)
    widen(proto)
    if weights_only:
        narrow(proto)
    else:
        tools = require("onnxruntime.transformers.float16", "export", "writing float16")
        proto = tools.convert_float_to_float16(proto, keep_io_types=True)
        sort(proto.graph)
    pictures = Pictures(calibration)
    steps = noisy_steps(file.card, pictures.crops(file.card, _CROPS, half=1))
    exact, found = session(file.content), session(content_of(proto, file.card))
    words = f"{pictures.words}; against the float32 file"
    parity = parity_of(lambda one: run(exact, one), lambda one: run(found, one), steps, words)
    why = refusal(parity, _LOSS_OF_WEIGHTS if weights_only else _LOSS)
    if why is not None:
        raise ModelError(f"{target}: not written in float16, {why}; its numbers are too large or small, use float32")
    made_with = f"shotnoise {shotnoise.__version__}"
    precision = "fp32" if weights_only else "fp16"
    card = file.card.model_copy(update={"precision": precision, "parity": parity, "made_with": made_with})
    content = content_of(proto, card)
    write_model(content, target)
    return Halved(target, card, (len(file.content), len(content)))
