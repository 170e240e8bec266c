"""How long a model takes, stage by stage, how much memory and energy, for every combination asked for.

Each combination runs in a process of its own, so that its peak memory is its own and no engine inherits the threads of
another. The pictures are random: time does not depend on what is in them. Nothing is said about quality here; for
that there are protocols.
"""

import itertools
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shotnoise import __version__
from shotnoise.bundled import find_model
from shotnoise.engines import ENGINES, Engine, open_engine
from shotnoise.engines.abilities import check_abilities
from shotnoise.engines.latent import draw_latent, flat_level
from shotnoise.engines.machine import cores, instructions, processor
from shotnoise.errors import EngineError, ModelError, ShotnoiseError, nearest
from shotnoise.evaluation.energy import joules_between, meters
from shotnoise.metrics import quantise
from shotnoise.tiling import plan_tiles, read_tile

__all__ = ["Case", "Energy", "Plan", "Refusal", "Spread", "Timing", "benchmark", "machine", "peak_mb", "plan_cases"]

_LEVEL = 0.1  # told to models that want the noise level; the time does not depend on it


@dataclass(frozen=True, slots=True)
class Case:
    """One combination.

    Attributes:
        model: bundled name, .onnx file, checkpoint or run folder.
        engine: "auto" or a name.
        height: rows of a picture.
        width: columns of a picture.
        threads: CPU threads; None: the engine's choice, all cores.
        batch: pictures per run.
        precision: one of :data:`~shotnoise.engines.abilities.PRECISIONS`, or "auto".
        provider: "cpu", "cuda" or "tensorrt"; None: the engine's choice.
    """

    model: str
    engine: str
    height: int
    width: int
    threads: int | None
    batch: int
    precision: str = "auto"
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A combination that was asked for among others and that cannot run here.

    Attributes:
        model: as in :class:`Case`, and so are the other three.
        engine: see there.
        precision: see there.
        provider: see there.
        reason: why not, in the words of the engine.
    """

    model: str
    engine: str
    precision: str
    provider: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be measured, and what of the things asked for cannot be."""

    cases: tuple[Case, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """Some measurements of one thing: the middle one, the 90th percentile and the least."""

    median: float
    p90: float
    least: float

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> "Spread":
        """Of at least one value."""
        return cls(float(np.median(values)), float(np.percentile(values, 90)), float(values.min()))


@dataclass(frozen=True, slots=True)
class Energy:
    """What the meters of the machine counted while a combination was measured, everything else on it included.

    Attributes:
        joules_per_picture: the mean over the repeats.
        meters: which were read, as in "package-0".
    """

    joules_per_picture: float
    meters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """What a combination took, over the repeats, in milliseconds per batch.

    Attributes:
        case: what was asked for.
        ran: what ran, in the engine's words: engine, version, provider, threads, precision, reason.
        pre: from 8-bit pictures to the window of the network.
        inference: the network.
        post: from its result to 8-bit pictures.
        total: all three.
        cpu: time of all cores for all three. A busy machine hardly changes it.
        megapixels_per_second: pictures' pixels by the median of all stages together.
        peak_mb: the most memory the process had at once, in megabytes; None where the system does not say.
        energy: None where the system does not say.
        repeats: how often it was measured, after the warm-up.
    """

    case: Case
    ran: dict[str, Any]
    pre: Spread
    inference: Spread
    post: Spread
    total: Spread
    cpu: Spread
    megapixels_per_second: float
    peak_mb: float | None
    energy: Energy | None
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, times as {"median", "p90", "least"} in milliseconds."""
        return asdict(self)


def plan_cases(
    models: Sequence[str],
    *,
    engines: Sequence[str] = ("auto",),
    precisions: Sequence[str] = ("auto",),
    providers: Sequence[str | None] = (None,),
    sizes: Sequence[tuple[int, int]] = ((512, 768),),
    threads: Sequence[int | None] = (None,),
    batches: Sequence[int] = (1,),
) -> Plan:
    """All combinations, after each was opened once, so that what cannot run is known before anything is measured.

    Names that do not exist are refused. So is a model that cannot run in any of the ways asked for, in the words of
    the first; if some can run, the others are listed with their reasons.
    """
    for what, numbers in (("size", itertools.chain(*sizes)), ("threads", threads), ("batch", batches)):
        wrong = [number for number in numbers if number is not None and number < 1]
        if wrong:
            raise EngineError(f"{what} is {wrong[0]}; expected at least 1")
    for what, values in (
        ("model", models), ("engine", engines), ("precision", precisions), ("provider", providers), ("size", sizes),
        ("threads", threads), ("batch", batches),
    ):  # fmt: skip
        if len(set(values)) < len(values):
            raise EngineError(f"the same {what} is given twice; give each once")
    for engine in engines:
        if engine not in ("auto", *ENGINES):
            raise EngineError(f"unknown engine '{engine}': {nearest(engine, ['auto', *ENGINES])}")
    for precision, provider in itertools.product(precisions, providers):
        check_abilities("auto", precision, provider)
    cases: list[Case] = []
    refused: list[Refusal] = []
    for model in models:
        find_model(model)
        first: ShotnoiseError | None = None
        runs = False
        for engine, precision, provider in itertools.product(engines, precisions, providers):
            try:
                for count in threads:  # each: "auto" may measure here, and must not do so where memory is measured
                    opened = open_engine(model, engine, threads=count, precision=precision, provider=provider)
                    _check_sizes(model, opened, sizes)
            except ShotnoiseError as error:
                first = first or error
                refused.append(Refusal(model, engine, precision, provider, str(error)))
                continue
            runs = True
            cases += [
                Case(model, engine, height, width, count, batch, precision, provider)
                for (height, width), count, batch in itertools.product(sizes, threads, batches)
            ]
        if first is not None and not runs:
            raise first
    return Plan(tuple(cases), tuple(refused))


def benchmark(
    cases: Sequence[Case],
    *,
    warmup: int = 3,
    repeats: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> list[Timing]:
    """Measure combinations one after the other.

    A picture is run in one window, without tiles, whatever its size.

    Args:
        cases: those of a :func:`plan_cases`.
        warmup: runs that are not counted; an engine prepares itself in the first.
        repeats: runs that are.
        progress: called with (done, total) after each combination.
    """
    if warmup < 0 or repeats < 1:
        raise EngineError(f"warmup is {warmup} and repeats {repeats}; expected at least 0 and 1")
    timings = []
    for done, case in enumerate(cases, 1):
        # A fresh process, not a fork: the memory of this one must not count, and threads do not survive forks.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                timings.append(pool.submit(measure, case, warmup, repeats).result())
            except BrokenProcessPool:
                raise EngineError(
                    f"{case.model} with {case.batch} x {case.height}x{case.width}: the process died, probably for "
                    "want of memory; try a smaller size or batch"
                ) from None
        if progress:
            progress(done, len(cases))
    return timings


def measure(case: Case, warmup: int, repeats: int) -> Timing:
    """Measure one combination in this process."""
    engine = open_engine(
        case.model, case.engine, threads=case.threads, precision=case.precision, provider=case.provider
    )
    card = engine.card
    shape = (case.batch, case.height, case.width, card.channels)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    plan = plan_tiles(case.height, case.width, multiple=card.multiple, budget=sys.maxsize)
    (tile,) = plan.tiles
    window = (case.batch, card.channels, *plan.window)
    level, latent = flat_level(card, window, _LEVEL), draw_latent(card, window)

    def prepare() -> npt.NDArray[np.float32]:
        windows = np.stack([read_tile(picture, tile).transpose(2, 0, 1) for picture in pictures])
        return np.ascontiguousarray(windows, np.float32) / np.float32(255)

    def finish(clean: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        kept = clean[:, :, : case.height, : case.width].transpose(0, 2, 3, 1)
        return quantise(kept, np.float32)

    def once() -> tuple[float, ...]:
        used, start = time.process_time(), time.perf_counter()
        noisy = prepare()
        prepared = time.perf_counter()
        clean = engine.run(noisy, level, latent)
        ran = time.perf_counter()
        finish(clean)
        end = time.perf_counter()
        return prepared - start, ran - prepared, end - ran, end - start, time.process_time() - used

    for _ in range(warmup):
        once()
    described = engine.describe()
    counters = meters(gpu=described["provider"] != "cpu")
    before = [counter.read() for counter in counters]
    times = np.array([once() for _ in range(repeats)]).T
    joules = sum(joules_between(counter, was, counter.read()) for counter, was in zip(counters, before, strict=True))
    pre, inference, post, total, cpu = (Spread.of(1e3 * stage) for stage in times)
    return Timing(
        case=case,
        ran=described,
        pre=pre,
        inference=inference,
        post=post,
        total=total,
        cpu=cpu,
        megapixels_per_second=case.batch * case.height * case.width / 1e3 / total.median,
        peak_mb=peak_mb(),
        energy=Energy(joules / repeats / case.batch, tuple(counter.name for counter in counters)) if counters else None,
        repeats=repeats,
    )


def machine() -> dict[str, Any]:
    """Where it was measured; `load` is how many processes wanted to run in the last minute, None if nobody says."""
    return {
        "shotnoise": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "processor": processor(),
        "instructions": instructions(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _check_sizes(model: str, engine: Engine, sizes: Sequence[tuple[int, int]]) -> None:
    fixed = engine.card.size
    for size in sizes:
        if fixed is not None and fixed != size:
            only = f"{fixed[0]}x{fixed[1]}"
            raise ModelError(f"{model}: is fixed to {only}, not {size[0]}x{size[1]}; measure it with --size {only}")


def peak_mb() -> float | None:
    """Highest resident memory of this process in megabytes; None where the system does not say."""
    try:
        # Not getrusage: after a spawn its maximum is still that of the parent.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None
