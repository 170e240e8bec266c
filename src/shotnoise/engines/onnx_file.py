"""Reading what an .onnx file says about itself, without an engine and without the `onnx` package.

A model file comes from anywhere, so it is looked through before an engine sees it: it must be one file that names no
other (external data could point to any path), carry a card, and have the inputs that its card promises. The format is
protobuf: a sequence of (field number, value), nested.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shotnoise.bundled import sibling
from shotnoise.card import CARD_KEY, Card
from shotnoise.engines.engine import Array, check_inputs
from shotnoise.errors import ModelError
from shotnoise.protobuf import fields, messages, varint

__all__ = ["OnnxFile", "exact_sibling", "read_onnx"]

_FLOAT = 1  # TensorProto.FLOAT
_TYPES: dict[int, np.dtype[Any]] = {_FLOAT: np.dtype("<f4"), 10: np.dtype("<f2")}  # what weights are kept in
_EXTERNAL = 1  # TensorProto.EXTERNAL
_DEEPEST = 32  # subgraphs in subgraphs

_Value = tuple[int, list[int]]  # element type, sizes with 0 for a free one; no sizes where the rank is not stated


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A model file that passed inspection.

    Attributes:
        path: where it lies.
        content: exactly what was inspected.
        card: what it says about itself.
        free: whether its inputs have sides that are not fixed, the number of pictures included.
    """

    path: Path
    content: bytes
    card: Card
    free: bool

    @property
    def sha256(self) -> str:
        """Fingerprint of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def weights(self) -> dict[str, Array]:
        """The floating-point weights by name, in float32; those kept in half precision by the name they are used by."""
        found, casts = {}, {}
        try:
            _, graphs, _ = _model(memoryview(self.content))
            for node in (node for graph in graphs for node in messages(graph, 1)):
                if _text(node, 4) == "Cast":
                    casts[_text(node, 1)] = _text(node, 2)
            for tensor in (tensor for graph in graphs for tensor in messages(graph, 5)):
                kind, name = _TYPES.get(_integer(tensor, 2)), _text(tensor, 8)
                if kind is not None:
                    values = np.frombuffer(b"".join(messages(tensor, 9)), kind).astype(np.float32)
                    found[casts.get(name, name)] = values.reshape(_integers(tensor, 1))
        except (ValueError, IndexError, OverflowError):
            raise ModelError(f"{self.path}: its weights cannot be read; export the model again") from None
        return found

    def feed(self, noisy: Array, level: Array | None, latent: Array | None) -> dict[str, Array]:
        """The inputs of the model by name, contiguous; each must be there exactly where the card wants it."""
        check_inputs(self.card, self.path, level, latent)
        inputs = {"noisy": noisy, "level": level, "z": latent}
        return {name: np.ascontiguousarray(value, np.float32) for name, value in inputs.items() if value is not None}

    def result(self, noisy: Array, clean: Any) -> Array:
        """The output of the model, which must have the shape of its input."""
        if clean.shape != noisy.shape:
            raise ModelError(f"{self.path}: turned {noisy.shape} into {clean.shape}; expected the same shape")
        return np.asarray(clean, np.float32)


def read_onnx(path: Path) -> OnnxFile:
    """Inspect a model file; a ModelError says what is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be read ({error.strerror}); expected an .onnx file") from None
    try:
        metadata, graphs, external = _model(memoryview(content))
        inputs, outputs = _signature(graphs)
    except (ValueError, IndexError, UnicodeDecodeError):
        raise ModelError(
            f"{path}: not an ONNX file, or a damaged one; expected a model exported by shotnoise"
        ) from None
    if external:
        raise ModelError(f"{path}: its weights are in a second file; export it again as one file without external data")
    if CARD_KEY not in metadata:
        raise ModelError(
            f"{path}: carries no shotnoise card, so nothing is known about its input; make it with 'shotnoise export'"
        )
    card = Card.parse(metadata[CARD_KEY], str(path))
    _check(path, card, inputs, outputs)
    free = any(not sizes or 0 in sizes for _, sizes in inputs.values())
    return OnnxFile(path, content, card, free)


def exact_sibling(path: Path, sha256: str) -> Path | None:
    """The fp32 file that an int8 one was made from, if it lies beside it; see :func:`shotnoise.bundled.sibling`.

    Args:
        path: of the int8 file.
        sha256: of the other, as its card has it; empty: not known.
    """
    beside = sibling(path, "fp32")
    if not sha256 or beside == path or not beside.is_file():
        return None
    with beside.open("rb") as file:
        return beside if hashlib.file_digest(file, "sha256").hexdigest() == sha256 else None


def _check(path: Path, card: Card, inputs: dict[str, _Value], outputs: dict[str, _Value]) -> None:
    expected = {"noisy"} | ({"level"} if card.level == "sigma" else set()) | ({"z"} if card.latent else set())
    if {"spectrum", "measured"} <= set(inputs):
        raise ModelError(
            f"{path}: takes what was measured of k-space as input and is for other programs; export it without --kspace"
        )
    if set(inputs) != expected or "clean" not in outputs:
        sampling = ", with a latent" if card.latent else ""
        raise ModelError(
            f"{path}: has the inputs {_names(inputs)} and outputs {_names(outputs)}; its card (level '{card.level}'"
            f"{sampling}) promises {_names(expected)} and clean: export the model again"
        )
    wrong = [name for name in (*inputs, "clean") if {**outputs, **inputs}[name][0] != _FLOAT]
    if wrong:
        raise ModelError(f"{path}: {_names(wrong)} must be float32; export the model again")
    sizes = inputs["noisy"][1]
    if sizes and (len(sizes) != 4 or sizes[1] not in (0, card.channels)):
        raise ModelError(f"{path}: its input has the shape {sizes}; its card promises {card.channels} channels, NCHW")
    fixed = tuple(sizes[2:]) if any(sizes[2:]) else None
    if fixed != card.size:
        found, promised = (f"{size[0]}x{size[1]}" if size else "of any size" for size in (fixed, card.size))
        raise ModelError(f"{path}: its input is {found}, its card says {promised}; export the model again")
    height, width = card.size or (0, 0)
    if card.level == "sigma":
        promised_sizes = [card.channels, height, width] if card.level_map else [1, 1, 1]
        _check_shape(path, "level", inputs["level"][1], promised_sizes)
    if card.latent is not None:
        r = card.latent.reduction
        _check_shape(path, "z", inputs["z"][1], [card.latent.channels, height // r, width // r])


def _check_shape(path: Path, name: str, sizes: list[int], promised: list[int]) -> None:
    """Sizes without the batch against those that the card promises; 0 is a free one, which may stand for any."""
    if not sizes:
        return
    free = all(size in (0, promise) for size, promise in zip(sizes[1:], promised, strict=False))
    if len(sizes) != 4 or not free:
        shape = ", ".join("free" if size == 0 else str(size) for size in promised)
        raise ModelError(
            f"{path}: its input {name} has the shape {sizes}; its card promises (N, {shape}): export the model again"
        )


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _integer(data: memoryview, number: int) -> int:
    """The last one counts, as in every protobuf reader."""
    return next((value for field, value in reversed([*fields(data)]) if field == number and isinstance(value, int)), 0)


def _integers(data: memoryview, number: int) -> list[int]:
    """A repeated field, one by one or packed."""
    found: list[int] = []
    for field, value in fields(data):
        if field == number and isinstance(value, int):
            found.append(value)
        elif field == number and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                integer, at = varint(value, at)
                found.append(integer)
    return found


def _text(data: memoryview, number: int) -> str:
    return "".join(str(value, "utf-8") for value in [*messages(data, number)][-1:])


def _model(data: memoryview) -> tuple[dict[str, str], list[memoryview], bool]:
    """Metadata, graph (whose parts a reader would merge), and whether any tensor lies outside the file."""
    graphs = [*messages(data, 7)]
    if not graphs:
        raise ValueError("no graph")
    metadata = {_text(entry, 1): _text(entry, 2) for entry in messages(data, 14)}
    nodes = (node for function in messages(data, 25) for node in messages(function, 7))
    external = any(_external_in_graph(graph, 0) for graph in graphs) or any(_external_in_node(n, 0) for n in nodes)
    return metadata, graphs, external


def _external_in_graph(graph: memoryview, depth: int) -> bool:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    sparse = (tensor for pair in messages(graph, 15) for number in (1, 2) for tensor in messages(pair, number))
    return (
        any(_external(tensor) for tensor in messages(graph, 5))
        or any(_external(tensor) for tensor in sparse)
        or any(_external_in_node(node, depth) for node in messages(graph, 1))
    )


def _external_in_node(node: memoryview, depth: int) -> bool:
    for attribute in messages(node, 5):
        for field, value in fields(attribute):
            if not isinstance(value, memoryview):
                continue
            if field in (5, 10) and _external(value):
                return True
            if field in (22, 23) and any(_external(t) for number in (1, 2) for t in messages(value, number)):
                return True
            if field in (6, 11) and _external_in_graph(value, depth + 1):
                return True
    return False


def _external(tensor: memoryview) -> bool:
    return _integer(tensor, 14) == _EXTERNAL or any(True for _ in messages(tensor, 13))


def _signature(graphs: list[memoryview]) -> tuple[dict[str, _Value], dict[str, _Value]]:
    """Inputs and outputs of a graph; initialisers that old files list among the inputs left out."""
    constants = {_text(tensor, 8) for graph in graphs for tensor in messages(graph, 5)}
    inputs = dict(_value(info) for graph in graphs for info in messages(graph, 11))
    outputs = dict(_value(info) for graph in graphs for info in messages(graph, 12))
    return {name: value for name, value in inputs.items() if name not in constants}, outputs


def _value(info: memoryview) -> tuple[str, _Value]:
    kind = 0
    sizes: list[int] = []
    for type_ in messages(info, 2):
        for tensor in messages(type_, 1):
            kind = _integer(tensor, 1)
            for shape in messages(tensor, 2):
                sizes = [_integer(dimension, 1) for dimension in messages(shape, 1)]
    return _text(info, 1), (kind, sizes)
