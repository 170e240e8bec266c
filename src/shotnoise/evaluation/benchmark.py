"""How long a model takes, stage by stage, and how much memory, for every combination asked for.

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
from shotnoise.engines import Engine, open_engine
from shotnoise.engines.choice import ENGINES
from shotnoise.engines.latent import draw_latent, flat_level
from shotnoise.errors import EngineError, ModelError
from shotnoise.evaluation.metrics import quantise
from shotnoise.tiling import plan_tiles, read_tile

__all__ = ["Case", "Timing", "benchmark", "machine", "plan_cases"]

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
        precision: type of the calculation, "f32" or "bf16"; an int8 model calculates the rest in it.
    """

    model: str
    engine: str
    height: int
    width: int
    threads: int | None
    batch: int
    precision: str


@dataclass(frozen=True, slots=True)
class Timing:
    """What a combination took: medians and 90th percentiles over the repeats, in milliseconds per batch.

    Attributes:
        case: what was asked for.
        ran: what ran, in the engine's words: engine, version, provider, threads, precision, reason.
        pre: from 8-bit pictures to the window of the network.
        inference: the network.
        post: from its result to 8-bit pictures.
        megapixels_per_second: pictures' pixels by the median of all stages together.
        peak_mb: the most memory the process had at once, in megabytes; None where the system does not say.
        repeats: how often it was measured, after the warm-up.
    """

    case: Case
    ran: dict[str, Any]
    pre: tuple[float, float]
    inference: tuple[float, float]
    post: tuple[float, float]
    megapixels_per_second: float
    peak_mb: float | None
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, times as {"median", "p90"} in milliseconds."""
        stages = {name: dict(zip(("median", "p90"), getattr(self, name), strict=True)) for name in _STAGES}
        return {**asdict(self), **stages}


_STAGES = ("pre", "inference", "post")


def plan_cases(
    models: Sequence[str],
    *,
    engines: Sequence[str] = ("auto",),
    sizes: Sequence[tuple[int, int]] = ((512, 768),),
    threads: Sequence[int | None] = (None,),
    batches: Sequence[int] = (1,),
    precision: str = "f32",
) -> list[Case]:
    """All combinations, after every model was opened once with every engine, so that what cannot run is refused now."""
    for what, numbers in (("size", itertools.chain(*sizes)), ("threads", threads), ("batch", batches)):
        wrong = [number for number in numbers if number is not None and number < 1]
        if wrong:
            raise EngineError(f"{what} is {wrong[0]}; expected at least 1")
    for what, values in (
        ("model", models), ("engine", engines), ("size", sizes), ("threads", threads), ("batch", batches),
    ):  # fmt: skip
        if len(set(values)) < len(values):
            raise EngineError(f"the same {what} is given twice; give each once")
    for model, engine in itertools.product(models, engines):
        _open(model, engine, None, precision)
    return [
        Case(model, engine, height, width, count, batch, precision)
        for model, engine, (height, width), count, batch in itertools.product(models, engines, sizes, threads, batches)
    ]


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
        cases: what :func:`plan_cases` gave.
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
    engine = _open(case.model, case.engine, case.threads, case.precision)
    card = engine.card
    if card.size is not None and card.size != (case.height, case.width):
        fixed = f"{card.size[0]}x{card.size[1]}"
        asked = f"{case.height}x{case.width}"
        raise ModelError(f"{case.model}: is fixed to {fixed}, not {asked}; measure it with --size {fixed}")
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

    times = []
    for _ in range(warmup + repeats):
        start = time.perf_counter()
        noisy = prepare()
        prepared = time.perf_counter()
        clean = engine.run(noisy, level, latent)
        ran = time.perf_counter()
        finish(clean)
        times.append((prepared - start, ran - prepared, time.perf_counter() - ran))
    milliseconds = 1e3 * np.array(times[warmup:])
    stages = [(float(np.median(stage)), float(np.percentile(stage, 90))) for stage in milliseconds.T]
    total = float(np.median(milliseconds.sum(axis=1))) / 1e3
    return Timing(
        case=case,
        ran=engine.describe(),
        pre=stages[0],
        inference=stages[1],
        post=stages[2],
        megapixels_per_second=case.batch * case.height * case.width / 1e6 / total,
        peak_mb=_peak_mb(),
        repeats=repeats,
    )


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "shotnoise": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def _open(model: str, engine: str, threads: int | None, precision: str) -> Engine:
    if precision == "f32":
        return open_engine(model, engine, threads=threads)
    if precision != "bf16":
        raise EngineError(f"unknown precision '{precision}'; expected f32 or bf16")
    if engine != "openvino":
        raise EngineError(f"the engine '{engine}' has no bf16; use --engine openvino with it, or --precision f32")
    open_engine(model, engine, threads=threads)  # says what is wrong with model and engine
    opened: Engine = ENGINES.resolve(engine)(find_model(model), threads=threads, precision=precision)
    return opened


def _peak_mb() -> float | None:
    """Highest resident memory of this process."""
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
