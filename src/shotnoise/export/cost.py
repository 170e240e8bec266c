"""What a network costs: parameters and multiply-accumulates."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from shotnoise.networks import Network

__all__ = ["Cost", "cost"]


@dataclass(frozen=True)
class Cost:
    """Numbers of one network at one size.

    Attributes:
        parameters: trainable numbers.
        macs: multiply-accumulates of convolutions and matrix products; norms, activations and the like not counted.
    """

    parameters: int
    macs: int


def cost(network: Network, *, height: int, width: int) -> Cost:
    """Count for one picture of the given size, which is rounded up to the size multiple of the network.

    No arithmetic is done: the pass runs on tensors without data.
    """
    rows, columns = height + -height % network.multiple, width + -width % network.multiple
    with torch.device("meta"):
        picture = torch.empty(1, network.channels, rows, columns)
        level = None if network.level == "none" else torch.empty(1, 1, 1, 1)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        state = {name: value.to("meta") for name, value in network.state_dict().items()}
        torch.func.functional_call(network, state, (picture, level))
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs=int(counter.get_total_flops()) // 2,
    )
