"""`quantise`: a float32 model -> int8, as exact as a budget asks.

Only what goes into convolutions and their weights are rounded (:mod:`shotnoise.export.qdq`). Ranges are those of the
least squared error on noisy photographs of all strengths that the model is for. Then the loss of each convolution alone
is measured; squared errors of different convolutions add up, nearly, so the cheapest set to leave in float follows
without trying all of them. The file that comes out is measured on pictures that decided no range, and convolutions
return to float until the loss is within the budget at every noise level. That is done with the features as they are,
in other units, and in another basis (:mod:`shotnoise.export.equalise`); the file with most work in int8 is kept. Where
half of the work has to stay in float in all of them, the weakest noise is given up, and the card says from which level
on the file may be used.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import shotnoise
from shotnoise.card import Card, LevelLoss, Quantisation, Score
from shotnoise.engines.engine import Array
from shotnoise.engines.openvino import own_signal_stack
from shotnoise.errors import ModelError, RecipeError, nearest, require
from shotnoise.export.equalise import equalised
from shotnoise.export.parity import parity_of
from shotnoise.export.pictures import Pictures, Step, flat_fields, noisy_steps, psnr
from shotnoise.export.qdq import Convolution, Range, convolutions, place, place_outputs, shifts_of, without_signs
from shotnoise.export.source import check_target, content_of, float_model, run, session, write_model
from shotnoise.export.weights import narrow, widen
from shotnoise.runner import COUNTS

__all__ = ["BACKENDS", "Level", "Quantised", "quantise"]

logger = logging.getLogger(__name__)

Backend = Literal["nncf", "onnxruntime"]
BACKENDS: tuple[Backend, ...] = ("onnxruntime", "nncf")

_CALIBRATED, _JUDGED, _TRIED = 10, 12, 6  # crops: for ranges, for the final word, for one convolution alone
_LEAST_SHARE = 0.5  # of the multiplications; with less in int8 nothing is gained
_CANDIDATES = 6  # that are tried as the next one in float
_COUNTS_OFF = 0.5  # that the mean of a flat field may move, of 255
_VALUES = 2**17  # of a tensor that are looked at
_SHARES = np.linspace(0.3, 1.0, 29)  # of a tensor's extremes that are tried as its range


@dataclass(frozen=True, slots=True)
class Level:
    """What one noise level costs.

    Attributes:
        name: of the level, in words.
        level: standard deviation of the noise, in units of 0..1.
        noisy: dB of the input.
        fp32: dB of the float32 file, mean over the pictures.
        int8: dB of the int8 file.
        worst: dB that int8 costs the picture that it costs most.
    """

    name: str
    level: float
    noisy: float
    fp32: float
    int8: float
    worst: float

    @property
    def loss(self) -> float:
        """DB that int8 costs."""
        return self.fp32 - self.int8


@dataclass(frozen=True, slots=True)
class Quantised:
    """What was written.

    Attributes:
        path: the file.
        card: what it says about itself.
        levels: weakest noise first.
        sizes: bytes of the float32 file and of this one.
        times: CPU seconds per megapixel of both on one thread, by engine.
        share: of the multiplications of all convolutions, those in int8.
        shift: largest change of the mean colour of flat fields, in counts of 255; None where there are no colours.
    """

    path: Path
    card: Card
    levels: tuple[Level, ...]
    sizes: tuple[int, int]
    times: Mapping[str, tuple[float, float]]
    share: float
    shift: float | None


def quantise(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    calibration: Sequence[str | os.PathLike[str]] = (),
    budget: float = 0.1,
    backend: str = "onnxruntime",
    size: tuple[int, int] | None = None,
    network: str | None = None,
    scores: Sequence[Score] = (),
    half_weights: bool = False,
    overwrite: bool = True,
) -> Quantised:
    """Write an int8 model that loses no more than a budget.

    Args:
        model: name of a bundled model, a float32 .onnx of ours (which needs no torch), a run folder, a checkpoint.
        path: the `.onnx` to write.
        calibration: folders of clean pictures like those it will work on; none: the bundled photograph.
        budget: dB that may be lost at each noise level.
        backend: who rounds: "onnxruntime", which is always there, or "nncf".
        size: fix height and width; not of an .onnx file.
        network: architecture of a foreign checkpoint, where it cannot be recognised.
        scores: measured results to put on the card; not of an .onnx file.
        half_weights: keep weights that stay in float in half precision, as is done anyway where the float32 file does.
        overwrite: replace an existing file.

    Raises:
        ModelError: the budget is met at no noise level, or there is nothing to round.
    """
    onnx = require("onnx", "export", "writing ONNX")
    if backend not in BACKENDS:
        raise RecipeError(f"unknown backend '{backend}': {nearest(backend, BACKENDS)}")
    if not budget > 0:
        raise RecipeError(f"a budget of {budget} dB; expected more than 0, 0.1 is usual")
    rounder: Backend = "nncf" if backend == "nncf" else "onnxruntime"
    if rounder == "nncf":
        require("nncf", "export", "the backend nncf")
    target = check_target(path, overwrite)
    file = float_model(model, size=size, network=network, scores=scores)
    proto = onnx.load_from_string(file.content)
    half_weights |= widen(proto)
    if not convolutions(proto):
        raise ModelError(f"{file.path}: has no convolution with constant weights, so that nothing can be int8")
    pictures = Pictures(calibration)
    card = file.card
    calibrated = noisy_steps(card, pictures.crops(card, _CALIBRATED, half=0), beyond=True)
    judged = noisy_steps(card, pictures.crops(card, _JUDGED, half=1), seed=1)
    inputs = [one.inputs for step in calibrated for one in step.pictures]
    exact = session(proto.SerializeToString())
    ways = equalised(proto, inputs, mixed=True), equalised(proto, inputs, mixed=False), proto
    found = _most([_Search(way, exact, card, calibrated, judged, rounder, half_weights) for way in ways], budget)
    levels = found.levels
    names = [layer.label for layer in found.search.layers if layer.name not in found.chosen]
    made = session(found.content)
    words = f"{pictures.words}; against the float32 file"
    parity = parity_of(lambda one: run(exact, one), lambda one: run(made, one), judged, words)
    losses = [LevelLoss(level=level.level, loss=round(level.loss, 4)) for level in levels]
    card = card.model_copy(
        update={
            "precision": "int8",
            "made_with": f"shotnoise {shotnoise.__version__}",
            "parity": parity,
            "scores": list(scores),  # what was given; those of the float32 file are not its own
            "quantisation": Quantisation(
                backend=rounder,
                source_sha256=file.sha256,
                float_layers=names,
                losses=losses,
                lowest=levels[found.first].level if found.first else 0.0,
            ),
        }
    )
    content = content_of(onnx.load_from_string(found.content), card)
    times = _times(card, {"fp32": file.content, "int8": content}, judged)
    write_model(content, target)
    sizes = len(file.content), len(content)
    return Quantised(target, card, levels, sizes, times, found.search.share(found.chosen), found.shift)


class _Search:
    """Which convolutions can be int8.

    Args:
        proto: the float32 model, perhaps with other features.
        exact: an engine with the model as it was.
        card: its card.
        calibrated: what ranges are taken from.
        judged: pictures that decide.
        backend: who rounds.
        half_weights: keep the weights of the others in half precision.
    """

    def __init__(
        self,
        proto: Any,
        exact: Any,
        card: Card,
        calibrated: Sequence[Step],
        judged: Sequence[Step],
        backend: Backend,
        half_weights: bool,
    ) -> None:
        self.layers = convolutions(proto)
        self.judged = judged
        self._tried = [Step(step.name, step.level, step.pictures[:_TRIED]) for step in self.judged]
        self._flat = flat_fields(card, self.judged[0].level) if card.kind in ("rgb", "gray") else None
        self._proto, self._backend = proto, backend
        self._calibrated, self._half_weights = calibrated, half_weights
        self._float = exact
        self._ranges, positions = _ranges(proto, self.layers, calibrated)
        self._work = {layer.name: layer.products * positions[layer.own] for layer in self.layers}
        self._shifts = shifts_of(
            proto, self.layers, self._ranges, [one.inputs for step in calibrated for one in step.pictures]
        )
        self._excess = self._alone()
        self._reference = [[psnr(one, run(exact, one)) for one in step.pictures] for step in judged]
        self.best = np.inf  # loss so far

    def share(self, chosen: Collection[str]) -> float:
        """Of the multiplications, those in int8."""
        return sum(self._work[name] for name in chosen) / sum(self._work.values())

    def within(self, budget: float, first: int, least: float) -> "_Found | None":
        """What holds the budget from a noise level on with more than a share of the multiplications in int8."""
        chosen = self._choose(self._excess[:, first:], budget)
        while self.share(chosen) > least:
            content = self._made(chosen)
            levels, shift = self._levels(content, self._reference)
            worst = max(level.loss for level in levels[first:])
            logger.info("%d of %d convolutions in int8, %.3f dB lost", len(chosen), len(self.layers), worst)
            self.best = min(self.best, worst)
            if worst <= budget and (shift is None or shift <= _COUNTS_OFF):
                return _Found(self, chosen, first, tuple(levels), shift, content)
            chosen = self._fewer(chosen, self._excess[:, first:], first)
        return None

    def _alone(self) -> npt.NDArray[np.float64]:
        """(convolution, step, picture): squared error that each convolution alone adds, as a share of what is there."""
        base = _errors(self._float, self._tried)
        found = []
        for layer in self.layers:
            made = place(self._proto, {layer.name}, self._ranges, self._shifts)
            found.append(_errors(session(made.SerializeToString()), self._tried) / base - 1)
        return np.stack(found)

    def _choose(self, excess: npt.NDArray[np.float64], aim: float) -> set[str]:
        """All convolutions but those that cost most for their work, until the loss that is to be expected is small."""
        work = np.array([self._work[layer.name] for layer in self.layers], float)
        inside = np.ones(len(work), bool)

        def loss(members: npt.NDArray[np.bool_]) -> float:
            ratio = np.maximum(1 + excess[members].sum(0), 0.1)
            return float((10 * np.log10(ratio)).mean(-1).max())

        while inside.any() and loss(inside) > aim:
            candidates = np.flatnonzero(inside)
            now = loss(inside)
            gains = [(now - loss(_without(inside, index))) / work[index] for index in candidates]
            inside[candidates[int(np.argmax(gains))]] = False
        for index in sorted(np.flatnonzero(~inside), key=lambda index: -work[index]):  # what went out for nothing
            inside[index] = True
            if loss(inside) > aim:
                inside[index] = False
        return {layer.name for layer, chosen in zip(self.layers, inside, strict=True) if chosen}

    def _fewer(self, chosen: set[str], excess: npt.NDArray[np.float64], first: int) -> set[str]:
        """Without the convolution that costs most for its work among the rest, measured for the likeliest ones."""
        alone = dict(zip((layer.name for layer in self.layers), excess.mean(-1).max(-1), strict=True))
        likely = sorted(chosen, key=lambda name: -alone[name] / self._work[name])[:_CANDIDATES]
        steps = self._tried[first:]
        exact = _errors(self._float, steps)

        def loss(members: set[str]) -> float:
            opened = session(place(self._proto, members, self._ranges, self._shifts).SerializeToString())
            return float((10 * np.log10(_errors(opened, steps) / exact)).mean(-1).max())

        now = loss(chosen)
        gains = {name: (now - loss(chosen - {name})) / self._work[name] for name in likely}
        return chosen - {max(likely, key=lambda name: gains[name])}

    def _made(self, chosen: set[str]) -> bytes:
        if self._backend == "nncf":
            made = _by_nncf(self._proto, self.layers, chosen, self._ranges, self._calibrated)
        else:
            made = place(self._proto, chosen, self._ranges, self._shifts)
        if self._half_weights:
            narrow(made)
        content: bytes = made.SerializeToString()
        return content

    def _levels(self, content: bytes, reference: list[list[float]]) -> tuple[list[Level], float | None]:
        opened = session(content)
        levels = []
        for step, exact in zip(self.judged, reference, strict=True):
            found = [psnr(one, run(opened, one)) for one in step.pictures]
            before = [psnr(one, one.inputs["noisy"][0]) for one in step.pictures]
            noisy, fp32, int8 = (float(np.mean(values)) for values in (before, exact, found))
            levels.append(Level(step.name, step.level, noisy, fp32, int8, float(np.max(np.subtract(exact, found)))))
        shift = None
        if self._flat is not None:
            moved = [
                np.abs((run(opened, one) - run(self._float, one)).mean((1, 2))).max() for one in self._flat.pictures
            ]
            shift = COUNTS * float(max(moved))
        return levels, shift


@dataclass(frozen=True, slots=True)
class _Found:
    search: _Search
    chosen: set[str]
    first: int
    levels: tuple[Level, ...]
    shift: float | None
    content: bytes


def _most(searches: Sequence[_Search], budget: float) -> _Found:
    """Of the files within the budget that begin at the weakest noise the one with most work in int8."""
    for first in range(len(searches[0].judged)):
        found, least = None, _LEAST_SHARE
        for search in searches:
            better = search.within(budget, first, least)
            if better is not None:
                found, least = better, search.share(better.chosen)
        if found is not None:
            return found
    best = min(search.best for search in searches)
    raise ModelError(
        f"int8 with half of the work keeps {budget:g} dB at no noise level"
        + (f" (the least loss was {best:.2f} dB)" if np.isfinite(best) else "")
        + "; use bf16 or fp16, allow a larger --budget, or train with quantisation"
    )


def _without(members: npt.NDArray[np.bool_], index: np.integer[Any]) -> npt.NDArray[np.bool_]:
    rest = members.copy()
    rest[index] = False
    return rest


def _errors(opened: Any, steps: Sequence[Step]) -> npt.NDArray[np.float64]:
    """(step, picture): mean squared error."""
    return np.array([[10 ** (-psnr(one, run(opened, one)) / 10) for one in step.pictures] for step in steps])


def _ranges(
    proto: Any, layers: Sequence[Convolution], steps: Sequence[Step]
) -> tuple[dict[str, Range], dict[str, float]]:
    """Of what convolutions read and write; and the positions of their outputs per picture, with all channels."""
    onnx = require("onnx", "export", "writing ONNX")
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    inputs, outputs = ({value.name for value in values} for values in (proto.graph.input, proto.graph.output))
    tensors = list(dict.fromkeys(name for layer in layers for name in (layer.source, layer.result, layer.own)))
    asked = [name for name in tensors if name not in inputs]
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in asked if name not in outputs
    )
    opened = session(watched.SerializeToString())
    pictures = [one for step in steps for one in step.pictures]
    share = _VALUES // len(pictures)
    values: dict[str, list[Array]] = {name: [] for name in tensors}
    ends: dict[str, Range] = {}
    positions: dict[str, float] = {}
    for one in pictures:
        found = dict(zip(asked, opened.run(asked, one.inputs), strict=True))
        for name in tensors:
            flat = np.asarray(found.get(name, one.inputs.get(name))).ravel()
            positions[name] = float(flat.size)
            low, high = ends.get(name, (0.0, 0.0))
            ends[name] = min(low, float(flat.min())), max(high, float(flat.max()))
            values[name].append(flat[:: max(1, flat.size // share)])
    return {name: _least_squares(np.concatenate(values[name]), *ends[name]) for name in tensors}, positions


def _least_squares(values: Array, low: float, high: float) -> Range:
    """The range whose 256 steps, and whose limits, change the values least."""
    best, found = np.inf, (low, high)
    for share in _SHARES:
        bottom, top = low * share, high * share
        scale = (top - bottom) / 255 or 1.0
        zero = round(-bottom / scale)
        rounded = (np.clip(np.round(values / np.float32(scale)), -zero, 255 - zero)) * np.float32(scale)
        error = float(np.square(rounded - values).mean())
        if error < best:
            best, found = error, (bottom, top)
    return found


def _by_nncf(
    proto: Any,
    layers: Sequence[Convolution],
    chosen: Collection[str],
    ranges: Mapping[str, Range],
    calibrated: Sequence[Step],
) -> Any:
    """The same places, with the ranges, weights and corrections of NNCF."""
    nncf = require("nncf", "export", "the backend nncf")
    inputs = [one.inputs for step in calibrated for one in step.pictures]
    with _quiet(nncf):
        made = nncf.quantize(
            proto,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=[node.name for node in proto.graph.node if node.name not in chosen]),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )
    without_signs(made.graph)
    place_outputs(made, [layer for layer in layers if layer.name in chosen], ranges)
    return made


@contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """NNCF draws bars on stdout, where results belong, and tells of every node that it leaves alone."""
    log = logging.getLogger("nncf")
    before = log.level
    nncf.set_log_level(logging.ERROR)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nothing, redirect_stdout(nothing):
            yield
    finally:
        nncf.set_log_level(before or logging.INFO)


def _times(card: Card, contents: Mapping[str, bytes], steps: Sequence[Step]) -> dict[str, tuple[float, float]]:
    """CPU seconds per megapixel of float32 and int8 in the engines that are here, taken in turns."""
    inputs = steps[0].pictures[0].inputs
    size = inputs["noisy"].shape[2] * inputs["noisy"].shape[3] / 1e6
    engines: dict[str, Callable[[bytes], Callable[[], Any]]] = {
        "onnxruntime": lambda content: _in_onnxruntime(content, inputs)
    }
    try:
        import openvino
    except ImportError:
        pass
    else:
        engines["openvino"] = lambda content: _in_openvino(openvino, content, inputs)
    found = {}
    for name, open_in in engines.items():
        runs = [open_in(contents[precision]) for precision in ("fp32", "int8")]
        seconds: list[list[float]] = [[], []]
        for turn in range(6):
            for number, work in enumerate(runs):
                started = time.process_time()
                work()
                if turn:  # the first one warms up
                    seconds[number].append(time.process_time() - started)
        fp32, int8 = (float(np.median(values)) / size for values in seconds)
        found[name] = fp32, int8
    return found


def _in_onnxruntime(content: bytes, inputs: Mapping[str, Array]) -> Callable[[], Any]:
    opened = session(content, threads=1)
    return lambda: opened.run(["clean"], inputs)


def _in_openvino(openvino: Any, content: bytes, inputs: Mapping[str, Array]) -> Callable[[], Any]:
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    with own_signal_stack():
        core = openvino.Core()
        request = core.compile_model(core.read_model(content), "CPU", settings).create_infer_request()
    return lambda: request.infer(inputs)
