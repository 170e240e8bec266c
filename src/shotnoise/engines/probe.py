"""Which engine is fastest here: a short measurement, made once for a model on a machine and kept.

The candidates run the same small window in turn, so that what else the machine does meets all of them, and the median
counts. The first candidate stays unless another is clearly faster: the others take longer to start. One whose result
differs from that of the first is out.
"""

import hashlib
import importlib.metadata
import json
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shotnoise.card import Card
from shotnoise.engines.abilities import TOLERANCES
from shotnoise.engines.cache import Measurement, recall, remember
from shotnoise.engines.engine import Array, Engine
from shotnoise.engines.latent import draw_latent, flat_level
from shotnoise.engines.machine import busy, cores, instructions, processor
from shotnoise.engines.onnx_file import OnnxFile
from shotnoise.errors import ShotnoiseError

__all__ = ["Candidate", "choose"]

logger = logging.getLogger(__name__)

_MARGIN = 1.2  # times as fast as the first that another must be
_SIDES = (64, 128, 256)  # pixels of the window: the largest that takes no longer than _RUN
_RUN = 0.1  # seconds
_SHARE = 0.3  # seconds of timed runs for each candidate
_LIMIT = 1.5  # seconds for all, opening included, after which no further round begins
_LONGEST = 0.5  # seconds of one run of the smallest window from which a model is not measured
_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine in a precision; "auto" is the one of the file."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return self.engine if self.precision in ("auto", "fp32") else f"{self.engine} in {self.precision}"


Open = Callable[[Candidate], Engine]


def choose(
    file: OnnxFile,
    candidates: Sequence[Candidate],
    open_candidate: Open,
    *,
    threads: int | None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Engine, str]:
    """Open the fastest.

    Args:
        file: the model.
        candidates: at least two, the one to be preferred first.
        open_candidate: opens one, or raises an error of ours if it cannot run here.
        threads: that the engines will use.
        clock: in seconds.

    Returns:
        The engine, and in words why it is this one; empty where nothing was measured.
    """
    key = _key(file, candidates, threads)
    known = recall(key)
    if known is not None:
        chosen = Candidate(known.engine, known.precision)
        if chosen in candidates:
            try:
                words = _words(known, chosen, candidates[0])
                return open_candidate(chosen), f"{words} (cached)" if words else ""
            except ShotnoiseError as error:
                logger.warning("%s was fastest and does not run now (%s); measuring again", chosen, error)
    if busy():
        return open_candidate(candidates[0]), "not measured, as the machine is too busy now"
    started = clock()
    engines = _opened(candidates, open_candidate)
    seconds, wrong = _measured(engines, file.card, clock, started)
    chosen = next(iter(engines))
    if seconds:
        fastest = min(seconds, key=seconds.__getitem__)
        if _MARGIN * seconds[fastest] <= seconds[chosen]:
            chosen = fastest
    found = Measurement(
        model=file.path.name,
        engine=chosen.engine,
        precision=chosen.precision,
        seconds={str(candidate): value for candidate, value in seconds.items()},
        wrong={str(candidate): value for candidate, value in wrong.items()},
    )
    remember(key, found)
    return engines[chosen], _words(found, chosen, candidates[0])


def _key(file: OnnxFile, candidates: Sequence[Candidate], threads: int | None) -> str:
    """Everything that the outcome depends on."""
    facts = {
        "model": file.sha256,
        "candidates": [[each.engine, each.precision] for each in candidates],
        "versions": {each.engine: _version(each.engine) for each in candidates},
        "processor": processor(),
        "instructions": instructions(),
        "cores": cores(),
        "threads": threads,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _version(engine: str) -> str:
    """Of the package, without importing it where that takes long."""
    if engine == "onnxruntime":  # whose distribution has many names
        import onnxruntime

        return str(onnxruntime.__version__)
    return importlib.metadata.version(engine)


def _opened(candidates: Sequence[Candidate], open_candidate: Open) -> dict[Candidate, Engine]:
    """Those that can run here; if none can, the error of the first."""
    engines: dict[Candidate, Engine] = {}
    refused: list[ShotnoiseError] = []
    for candidate in candidates:
        try:
            engines[candidate] = open_candidate(candidate)
        except ShotnoiseError as error:
            logger.info("%s is no candidate: %s", candidate, error)
            refused.append(error)
    if not engines:
        raise refused[0]
    return engines


def _measured(
    engines: Mapping[Candidate, Engine], card: Card, clock: Callable[[], float], started: float
) -> tuple[dict[Candidate, float], dict[Candidate, float]]:
    """Seconds of one run of each, nothing if it would take too long; and the errors of those with other results."""
    first, *others = engines
    if not others:
        return {}, {}
    window = _window(card, _SIDES[0])
    engines[first].run(*window)  # the first run prepares
    seconds = _time(engines[first], window, clock)
    if seconds > _LONGEST:
        return {}, {}
    if card.size is None:
        for side in _SIDES[1:]:
            if seconds * (side / _SIDES[0]) ** 2 <= _RUN:
                window = _window(card, side)
    expected = engines[first].run(*window)
    times: dict[Candidate, list[float]] = {first: []}
    wrong: dict[Candidate, float] = {}
    for candidate in others:
        try:
            difference = float(np.abs(engines[candidate].run(*window) - expected).max())
        except ShotnoiseError as error:
            logger.warning("%s is not used: %s", candidate, error)
            continue
        if difference <= _tolerance(card, first, candidate):
            times[candidate] = []
        else:
            wrong[candidate] = difference
            logger.warning("%s is not used: its result differs from that of %s by %.2g", candidate, first, difference)
    if len(times) == 1:
        return {}, wrong
    begun = clock()
    for done in range(_ROUNDS):
        if done and (clock() - begun > _SHARE * len(times) or clock() - started > _LIMIT):
            break
        for candidate, values in times.items():
            values.append(_time(engines[candidate], window, clock))
    return {candidate: statistics.median(values) for candidate, values in times.items()}, wrong


def _window(card: Card, side: int) -> tuple[Array, Array | None, Array | None]:
    """Noise on gray: the time does not depend on what is in a picture, and the differences hardly."""
    height, width = card.size or (-(-side // card.multiple) * card.multiple,) * 2
    shape = (1, card.channels, height, width)
    noisy = 0.5 + 0.1 * np.random.default_rng(0).standard_normal(shape, np.float32)
    return noisy, flat_level(card, shape, 0.1), draw_latent(card, shape)


def _time(engine: Engine, window: tuple[Array, Array | None, Array | None], clock: Callable[[], float]) -> float:
    start = clock()
    engine.run(*window)
    return clock() - start


def _tolerance(card: Card, *candidates: Candidate) -> float:
    """That of the coarsest: an int8 model stays one where its floating-point layers calculate exactly."""
    named = {card.precision, *(each.precision for each in candidates)} - {"auto"}
    return max(TOLERANCES[name] for name in named)


def _words(found: Measurement, chosen: Candidate, first: Candidate) -> str:
    """Why it was chosen."""
    own = found.seconds.get(str(chosen))
    rivals = {name: seconds for name, seconds in found.seconds.items() if name != str(chosen)}
    if own is None or not rivals:
        if found.wrong:
            return f"chosen because {' and '.join(found.wrong)} gave other results"
        return "chosen because no other runs here" if chosen != first else ""
    name = str(first) if str(first) in rivals else min(rivals, key=rivals.__getitem__)
    ratio = rivals[name] / max(own, 1e-9)
    if ratio < 1.05:
        return f"measured, and {name} is not {_MARGIN} times as fast here"
    return f"measured {ratio:.1f} times as fast as {name} here"
