"""`export`: a run folder or checkpoint -> one .onnx with its card inside, parity-checked against torch."""

import copy
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import shotnoise
from shotnoise.card import Card, Parity, Score
from shotnoise.engines.engine import Array
from shotnoise.errors import ModelError, require
from shotnoise.export.kspace import WithMeasured
from shotnoise.export.parity import parity_of, refusal
from shotnoise.export.pictures import Noisy, Pictures, noisy_steps
from shotnoise.export.source import check_target, content_of, run, session, write_model
from shotnoise.methods.kspace import put_back
from shotnoise.networks import Network
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import load_with_card

__all__ = ["Export", "export"]

_INPUTS = ("noisy", "level", "z")
_TOLERANCE = 1e-4  # of the output range; float32 engines differ from torch by 1e-6 or so
_LOSS = 0.001  # dB on noisy photographs
_CROPS, _SIDE = 2, 64


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: the file.
        card: what it says about itself.
        difference: largest absolute difference to torch over the sizes tried, for outputs in 0..1; of larger outputs
            as a share of the largest.
        sizes: the (height, width) tried.
    """

    path: Path
    card: Card
    difference: float
    sizes: tuple[tuple[int, int], ...]


def export(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    network: str | None = None,
    scores: Sequence[Score] = (),
    kspace: bool = False,
    calibration: Sequence[str | os.PathLike[str]] = (),
    overwrite: bool = True,
) -> Export:
    """Write an ONNX file that runs anywhere.

    Args:
        model: a run folder, our checkpoint, or an official one.
        path: the `.onnx` to write.
        size: fix height and width; free by default.
        network: architecture of a foreign checkpoint, where it cannot be recognised.
        scores: measured results to put on the card.
        kspace: of an MRI model: the graph also takes what was measured and puts it back, see
            :class:`shotnoise.export.kspace.WithMeasured`. For other programs; the engines here do not run it.
        calibration: folders of clean pictures for the comparison with torch; none: the bundled photograph.
        overwrite: replace an existing file.

    Returns:
        What was written, with the measured difference to torch. A file that differs is never left behind.
    """
    require("onnx", "export", "writing ONNX")
    require("onnxscript", "export", "writing ONNX")
    target = check_target(path, overwrite)
    net, card = load_with_card(model, network=network)
    if size is not None and any(side < 1 or side % net.multiple for side in size):
        raise ModelError(f"size {size[0]}x{size[1]}: this network needs multiples of {net.multiple}; give such a size")
    if kspace and (card is None or card.kind != "mri" or size is not None):
        what = "a fixed size" if size is not None else "a model that is not for MRI"
        raise ModelError(f"{model}: kspace is asked for with {what}; expected an MRI model of free size, leave one out")
    if kspace and calibration:
        raise ModelError(f"{model}: pictures are given, and a file with kspace is not judged on any; leave them out")
    card = (card or bare_card(net, model)).model_copy(
        update={
            "size": size,
            "scores": list(scores) or (card.scores if card else []),
            "made_with": f"shotnoise {shotnoise.__version__}",
        }
    )
    proto = _kspace_graph(net) if kspace else _graph(net, card)
    _strip_traces(proto)
    content = content_of(proto, card)
    difference, sizes = _compare_kspace(net, content) if kspace else _compare(net, content, card)
    limit = _TOLERANCE if difference <= _TOLERANCE or kspace else _rounding(net, card, sizes)
    if not difference <= limit:
        raise ModelError(
            f"{target}: not written, the exported graph differs from torch by {difference:.2g} (limit {limit:.2g})"
        )
    if not kspace:
        parity = _parity(net, content, card, Pictures(calibration))
        why = refusal(parity, _LOSS)
        if why is not None:
            raise ModelError(f"{target}: not written, {why}; run the model in torch, and report what it is")
        card = card.model_copy(update={"parity": parity})
        content = content_of(proto, card)
    write_model(content, target)
    return Export(target, card, difference, sizes)


class _Exported(nn.Module):
    """The network with the names of the model file, in their order."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor, level: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        result: Tensor = self.network(noisy, level, z)
        return result


def _inputs(card: Card, height: int, width: int) -> dict[str, Tensor]:
    """Two random pictures and what the model takes with them, by name and repeatable."""
    generator = torch.Generator().manual_seed(height)
    inputs = {"noisy": torch.rand(2, card.channels, height, width, generator=generator)}
    if card.level_map:
        inputs["level"] = 0.05 + 0.1 * torch.rand(inputs["noisy"].shape, generator=generator)
    elif card.level == "sigma":
        inputs["level"] = torch.tensor([0.05, 0.15]).view(2, 1, 1, 1)
    if card.latent is not None:
        r = card.latent.reduction
        inputs["z"] = torch.randn(2, card.latent.channels, height // r, width // r, generator=generator)
    return inputs


def _graph(network: Network, card: Card) -> Any:
    step, size = network.multiple, card.size
    # Neither square nor equal to any channel count, so that the tracer mistakes no size for another.
    height, width = size or (step * max(3, 96 // step), step * max(4, 112 // step))
    inputs = _inputs(card, height, width)
    shapes: dict[str, Any] = {name: {0: torch.export.Dim("batch", min=1)} for name in inputs}
    if size is None:
        # A picture of step x step is the smallest; sides of 1 would be taken for constants.
        rows, columns = (torch.export.Dim(name, min=1 + (step == 1)) for name in ("rows", "columns"))
        for name in {"noisy", "level" if card.level_map else "noisy"}:
            shapes[name] |= {2: _times(step, rows), 3: _times(step, columns)}
        if card.latent is not None:
            share = step // card.latent.reduction
            shapes["z"] |= {2: _times(share, rows), 3: _times(share, columns)}
    with torch.no_grad():
        _Exported(network).eval()(**inputs)  # refuses in words what the exporter would put into a page
    with _silent():
        program = torch.onnx.export(
            _Exported(network).eval(),
            kwargs=inputs,
            input_names=[*inputs],
            output_names=["clean"],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ModelError("torch gave no ONNX program for this network")
    return program.model_proto


def _kspace_inputs(step: int, height: int, width: int) -> dict[str, Tensor]:
    """Two random slices with a mask each; `height` and `width` are odd."""
    generator = torch.Generator().manual_seed(height)
    size = (height + -height % step, width + -width % step)
    return {
        "noisy": torch.rand(2, 1, *size, generator=generator) - 0.5,
        "spectrum": 5 * torch.randn(2, 2, height, width, generator=generator),
        "measured": torch.rand(2, 1, height, width, generator=generator).round(),
    }


def _kspace_graph(network: Network) -> Any:
    step = network.multiple
    inputs = _kspace_inputs(step, 3 * max(step, 8) - 17, 4 * max(step, 8) - 15)
    dimension = torch.export.Dim
    batch, rows, columns = dimension("batch", min=1), dimension("rows", min=1), dimension("columns", min=1)
    own: dict[int, Any] = {0: batch, 2: dimension("height", min=3), 3: dimension("width", min=3)}
    shapes = {"noisy": {0: batch, 2: _times(step, rows), 3: _times(step, columns)}, "spectrum": own, "measured": own}
    with _silent():
        program = torch.onnx.export(
            WithMeasured(network).eval(),
            kwargs=inputs,
            input_names=[*inputs],
            output_names=["clean"],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ModelError("torch gave no ONNX program for this network")
    return program.model_proto


def _compare_kspace(network: Network, content: bytes) -> tuple[float, tuple[tuple[int, int], ...]]:
    """Largest difference to what a training makes of the same slices, by torch's transform."""
    opened = session(content)
    sizes, worst = ((63, 79), (255, 255)), 0.0
    for height, width in sizes:
        given = _kspace_inputs(network.multiple, height, width)
        with torch.no_grad():
            image = network(given["noisy"])[:, :, :height, :width]
            expected = put_back(image, given["spectrum"], given["measured"]).numpy()
        found = opened.run(None, {name: value.numpy() for name, value in given.items()})[0]
        worst = float(np.maximum(worst, _difference(found, expected)))
    return worst, sizes


def _difference(found: Array, expected: Array) -> float:
    """The largest one, of values above 1 as a share of the largest; NaN where one is no number."""
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))


def _times(factor: int, dimension: Any) -> Any:
    return dimension if factor == 1 else factor * dimension


def _strip_traces(proto: Any) -> None:
    """Drop the exporter's notes on every node: half the file size of a small network, and paths of this machine."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer):
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.graph.value_info[:]


def _compare(network: Network, content: bytes, card: Card) -> tuple[float, tuple[tuple[int, int], ...]]:
    """Largest difference between torch and onnxruntime, on sizes other than the traced one.

    In units of the largest value where that is above 1. Where there are random values, they are given, and once more
    all of them zero.
    """
    step = network.multiple
    sizes = (card.size,) if card.size else ((4 * step, 6 * step), (-(-70 // step) * step, -(-130 // step) * step))
    opened = session(content)
    worst = 0.0
    for given in _trials(card, sizes):
        with torch.no_grad():
            expected = network(given["noisy"], given.get("level"), given.get("z")).numpy()
        found = opened.run(None, {name: value.numpy() for name, value in given.items()})[0]
        worst = float(np.maximum(worst, _difference(found, expected)))
    return worst, sizes


def _parity(network: Network, content: bytes, card: Card, pictures: Pictures) -> Parity:
    """Of the file to torch, on noisy photographs."""

    def restored(one: Noisy) -> Array:
        given = {name: torch.from_numpy(value) for name, value in one.inputs.items()}
        with torch.no_grad():
            result: Array = network(given["noisy"], given.get("level"), given.get("z"))[0].numpy()
        return result

    opened = session(content)
    steps = noisy_steps(card, pictures.crops(card, _CROPS, half=1, side=_SIDE))
    return parity_of(restored, lambda one: run(opened, one), steps, f"{pictures.words}; against torch")


def _trials(card: Card, sizes: Sequence[tuple[int, int]]) -> Iterator[dict[str, Tensor]]:
    for height, width in sizes:
        inputs = _inputs(card, height, width)
        yield inputs
        if "z" in inputs:
            yield inputs | {"z": torch.zeros_like(inputs["z"])}


def _rounding(network: Network, card: Card, sizes: Sequence[tuple[int, int]]) -> float:
    """The difference that two ways to calculate in float32 may have: five times that of torch to double precision.

    An inverse of many exponentials magnifies rounding on pictures unlike those it has learned from. Such a network is
    no more exact in torch than in any engine, and only this says what is a mistake of the graph.
    """
    exact, worst = copy.deepcopy(network).double(), 0.0
    for given in _trials(card, sizes):
        with torch.no_grad():
            seen = network(given["noisy"], given.get("level"), given.get("z")).double()
            truth = exact(*(None if (value := given.get(name)) is None else value.double() for name in _INPUTS))
        worst = max(worst, float((seen - truth).abs().max() / truth.abs().max().clamp_min(1)))
    return max(_TOLERANCE, 5 * worst)


@contextmanager
def _silent() -> Iterator[None]:
    """The exporter warns about packages it could also serve, and about names it changes itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
