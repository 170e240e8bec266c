"""What a network costs: parameters, multiply-accumulates, and the memory of its activations."""

import inspect
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from shotnoise.errors import ModelError, RecipeError
from shotnoise.networks import NETWORKS, Network, create

__all__ = ["Cost", "cost", "create_for"]

# What constructors call the channels that go in and come out.
_INSIDE = (
    *("in_nc", "in_c", "in_channels", "img_channel", "channel_in", "inp_channels", "input_channel"),
    "input_channels",
)
_OUTSIDE = ("out_nc", "out_c", "channel_out", "out_channels")


@dataclass(frozen=True)
class Cost:
    """Numbers of one network at one size.

    Attributes:
        parameters: trainable numbers.
        macs: multiply-accumulates of convolutions and matrix products; norms, activations and the like not counted.
        activations: most bytes that the pictures and features need at one time, in float32 and without the weights,
            when torch runs the layers one after the other. Engines that fuse layers or work in halves need less.
        height: rows that were computed: those asked for, rounded up to the size multiple of the network.
        width: columns likewise.
    """

    parameters: int
    macs: int
    activations: int
    height: int
    width: int


def cost(network: Network, *, height: int, width: int, batch: int = 1) -> Cost:
    """Count for pictures of the given size.

    No arithmetic is done: the pass runs on tensors without data, so the size does not matter.
    """
    rows, columns = height + -height % network.multiple, width + -width % network.multiple
    with torch.device("meta"):
        picture = torch.empty(batch, network.channels, rows, columns)
        level = None if network.level == "none" else torch.empty(batch, 1, 1, 1)
        inputs: list[Tensor | None] = [picture, level]
        if network.latent_shape is not None:
            planes, reduction = network.latent_shape
            inputs.append(torch.empty(batch, planes, rows // reduction, columns // reduction))
        held = (*network.named_parameters(), *network.named_buffers())
        state = {name: value.to("meta") for name, value in held}
    counter, attention = FlopCounterMode(display=False), _Attention()
    memory = _Memory(*(value for value in inputs if value is not None))
    with torch.no_grad(), memory, counter, attention:
        torch.func.functional_call(network, state, tuple(inputs))
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs=int(counter.get_total_flops()) // 2 + attention.macs,
        activations=memory.peak,
        height=rows,
        width=columns,
    )


def create_for(name: str, channels: int) -> Network | None:
    """A network in its published configuration, for so many channels; None where it has no say in them."""
    known = inspect.signature(NETWORKS.resolve(name)).parameters
    inside, outside = (next((word for word in words if word in known), None) for words in (_INSIDE, _OUTSIDE))
    for arguments in _channel_arguments(inside, outside, channels):
        try:
            with torch.device("meta"):
                fits = create(name, **arguments).channels == channels
        except (ModelError, RecipeError):
            continue
        if fits:
            return create(name, **arguments)
    return None


def _channel_arguments(inside: str | None, outside: str | None, channels: int) -> Iterator[dict[str, int]]:
    yield {}  # as published
    out = {} if outside is None else {outside: channels}
    if inside is not None:
        yield {inside: channels} | out
        yield {inside: channels + 1} | out  # one is for the noise level


class _Attention(TorchFunctionMode):
    """Counts attention as the fused kernels do it, which never hold the table of all weights.

    On tensors without data torch would take the other way, and ask for memory that no engine needs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        # One product for the weights, (..., n, d) with (..., m, d), one to apply them, (..., n, m) with (..., m, v).
        self.macs += query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return query.new_empty(*query.shape[:-1], value.shape[-1])


class _Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]  # its base takes no types
    """Follows which storages are alive while operations run."""

    def __init__(self, *held: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._now = self.peak = 0
        for tensor in held:
            self._add(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._add(value)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def gone(_: object) -> None:
            del self._alive[key]
            self._now -= size

        self._alive[key] = weakref.ref(storage, gone)
        self._now += size
        self.peak = max(self.peak, self._now)
