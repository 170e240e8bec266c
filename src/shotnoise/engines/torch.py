"""torch: runs checkpoints and run folders before they are exported; needs the extra `train`.

The only engine below the line where torch is allowed; nothing imports it but the table of engines, by name.
"""

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shotnoise.card import Card
from shotnoise.engines.abilities import check_abilities
from shotnoise.engines.engine import Array, OutOfMemoryError, check_inputs
from shotnoise.engines.machine import instructions
from shotnoise.errors import EngineError, ModelError
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import load_with_card
from shotnoise.networks.network import Network

__all__ = ["CompiledTorchEngine", "TorchEngine"]

logger = logging.getLogger(__name__)

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_NAMES = {"bf16": "BF16", "fp16": "FP16"}  # of the instructions
_GRAPHS = 4  # shapes of windows that are kept recorded

_Call = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


class TorchEngine:
    """Runs a network of the zoo.

    Args:
        path: a run folder, one of our checkpoints, or an official one that is recognised.
        threads: CPU threads; None leaves it to torch. Other work of torch in this process keeps its own number.
        reason: why this engine was chosen.
        network: the architecture, where it cannot be recognised; see :func:`shotnoise.networks.load`.
        precision: "fp32", or "bf16" or "fp16", in which convolutions and matrix products then are; "auto": fp16 on a
            GPU, fp32 on the CPU.
        provider: "cpu" or "cuda"; None: CUDA where it works.
    """

    card: Card
    name = "torch"

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        reason: str = "asked for",
        network: str | None = None,
        precision: str = "auto",
        provider: str | None = None,
    ) -> None:
        check_abilities(self.name, precision, provider)
        if provider == "cuda" and not torch.cuda.is_available():
            raise EngineError("the provider 'cuda' of torch does not work here (it finds no CUDA device); use the CPU")
        model, card = load_with_card(path, network=network)
        self.card = card or bare_card(model, path)
        self.reason = reason
        self._threads = threads
        self._where = ""
        self._device = torch.device("cpu" if provider == "cpu" or not torch.cuda.is_available() else "cuda")
        if self._device.type == "cuda" and (failure := self._move(model)):
            if provider:
                raise EngineError(f"the provider 'cuda' of torch does not work here ({failure}); use the CPU")
            logger.warning("the provider 'cuda' does not work here, going on without it: %s", failure)
            self._where = f", as CUDA failed ({failure})"
            self._device = torch.device("cpu")
        on_gpu = self._device.type == "cuda"
        self._precision = ("fp16" if on_gpu else "fp32") if precision == "auto" else precision
        known = instructions()
        if not on_gpu and self._precision != "fp32" and known is not None and _NAMES[self._precision] not in known:
            logger.warning(
                "this CPU has no instructions for %s, which makes it slower than fp32; leave the precision out",
                self._precision,
            )
        self._network: Network = model.to(self._device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._use(self._prepared())

    def run(self, noisy: Array, level: Array | None = None, latent: Array | None = None) -> Array:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        check_inputs(self.card, self.card.name, level, latent)
        try:
            with _threads(self._threads):
                # Copies: torch refuses read-only arrays.
                picture, sigma, z = (
                    None if values is None else torch.tensor(np.ascontiguousarray(values), device=self._device)
                    for values in (noisy, level, latent)
                )
                assert picture is not None  # noqa: S101  # for the type checker
                picture = picture.contiguous(memory_format=torch.channels_last)
                clean: Array = self._forward(picture, sigma, z).float().cpu().contiguous().numpy()
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemoryError.of(noisy, str(error).splitlines()[0] if str(error) else "in torch") from None
        except RuntimeError as error:
            line = str(error).splitlines()[0]
            if "allocate memory" in line:
                raise OutOfMemoryError.of(noisy, line) from None
            raise EngineError(f"the network failed in torch ({line})") from None
        if clean.shape != noisy.shape:
            raise ModelError(f"the network turned {noisy.shape} into {clean.shape}; expected the same shape")
        return clean

    def describe(self) -> dict[str, Any]:
        """See :class:`~shotnoise.engines.engine.Engine`."""
        where = self._where
        if self._graphs is not None and self._graphs.failure:
            where += f", without CUDA graphs ({self._graphs.failure})"
        return {
            "engine": self.name,
            "version": torch.__version__,
            "provider": self._device.type,
            "threads": self._threads or torch.get_num_threads(),
            "precision": self._precision,
            "reason": f"{self.reason}; on the {'GPU' if self._device.type == 'cuda' else 'CPU'}{where}",
        }

    def _prepared(self) -> _Call:
        """What is called for every window."""
        return self._network

    def _use(self, call: _Call) -> None:
        self._graphs = _Graphs(call) if self._device.type == "cuda" else None
        self._call: _Call = self._graphs or call

    def _forward(self, picture: Tensor, level: Tensor | None, latent: Tensor | None) -> Tensor:
        half = self._precision != "fp32"
        # Weights stay fp32 and sums with the picture too: what is lost is what the products lose. No cache, as what
        # it keeps would be gone when a graph is replayed; each weight is used once anyway.
        kind = self._device.type
        with (
            torch.inference_mode(),
            torch.autocast(kind, _TYPES[self._precision], enabled=half, cache_enabled=False),
        ):
            return self._call(picture, level, latent)

    def _move(self, model: Network) -> str:
        """Whether the network gets onto the GPU and something can be calculated there; otherwise why not."""
        try:
            model.to(self._device)
            torch.ones(1, device=self._device).add(1).cpu()
        except RuntimeError as error:
            model.to("cpu")
            return str(error).splitlines()[0]
        return ""


class CompiledTorchEngine(TorchEngine):
    """The same through torch.compile, with its arguments.

    The first window, and one of another size, takes from seconds to minutes. What cannot be compiled here runs as it
    is, and says so.
    """

    name = "torch-compiled"
    _proven = False  # until the first window came through

    def _prepared(self) -> _Call:
        # Frozen, the weights may be laid out anew for the processor.
        compiled: _Call = torch.compile(self._network, options={"freezing": self._device.type == "cpu"})
        return compiled

    def _forward(self, picture: Tensor, level: Tensor | None, latent: Tensor | None) -> Tensor:
        if self._proven:
            return super()._forward(picture, level, latent)
        try:
            result = super()._forward(picture, level, latent)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler that is missing or fails shows in many ways
            self._use(self._network)
            result = super()._forward(picture, level, latent)  # which raises what is wrong with the window itself
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            logger.warning("running without torch.compile, which failed here: %s", line)
            self._where += f", not compiled, as that failed ({line})"
        self._proven = True
        return result


@dataclass(slots=True)
class _Recorded:
    """The work for one shape of window: inputs are copied in, and the result is there after a replay."""

    inputs: tuple[Tensor | None, ...]
    output: Tensor
    replay: Callable[[], None]


class _Graphs:
    """A network on a GPU whose work is recorded as a CUDA graph, one per shape of window, and replayed.

    Without it the GPU waits for Python between the steps of small windows. A shape is recorded when it comes for the
    second time, as recording costs as much as some runs.

    Attributes:
        failure: why nothing is recorded any more; empty as long as it works.
    """

    def __init__(self, call: _Call) -> None:
        self.failure = ""
        self._call = call
        self._known: OrderedDict[tuple[torch.Size | None, ...], _Recorded | None] = OrderedDict()

    def __call__(self, picture: Tensor, level: Tensor | None, latent: Tensor | None) -> Tensor:
        inputs = picture, level, latent
        shapes = tuple(None if value is None else value.shape for value in inputs)
        if self.failure or shapes not in self._known:
            result = self._call(*inputs)
            if not self.failure:
                self._known[shapes] = None
                if len(self._known) > _GRAPHS:  # each holds the memory of its windows
                    self._known.popitem(last=False)
            return result
        recorded = self._known[shapes]
        if recorded is None:
            try:
                recorded = self._known[shapes] = _record(self._call, inputs)
            except RuntimeError as error:  # out of memory included: the plain run needs less
                self.failure = str(error).splitlines()[0]
                logger.warning("running without CUDA graphs, as recording one failed: %s", self.failure)
                self._known.clear()
                return self._call(*inputs)
        self._known.move_to_end(shapes)
        for place, value in zip(recorded.inputs, inputs, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        recorded.replay()
        return recorded.output.clone()


def _record(call: _Call, inputs: tuple[Tensor, Tensor | None, Tensor | None]) -> _Recorded:
    """Record a call on the current GPU."""
    picture, level, latent = (None if value is None else value.clone() for value in inputs)
    assert picture is not None  # noqa: S101  # for the type checker
    # Beside the usual stream, as recording wants it: what libraries prepare in their first calls is not recorded.
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(2):
            call(picture, level, latent)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call(picture, level, latent)
    return _Recorded((picture, level, latent), output, graph.replay)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many threads within, as many as before after."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
