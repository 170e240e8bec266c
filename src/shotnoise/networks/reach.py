"""How far a network looks: the halo that tiles need for an exact result, measured, not computed by hand."""

import copy

import torch
from torch import Tensor, nn

from shotnoise.networks.network import Network

__all__ = ["measure_reach"]


@torch.no_grad()
def measure_reach(network: Network, *, limit: int = 1024) -> int | None:
    """Largest distance in pixels at which an input pixel can change an output pixel.

    All weights are replaced by positive constants and all biases by zero, so that nothing cancels and an impulse
    spreads exactly as far as the connections reach; a picture of zeros stays zero. The impulse is placed at both ends
    of a cell of `network.multiple` pixels, since strided layers see the phases differently, and in narrow pictures
    along each axis, which costs far less than a square one and shows the same reach.

    Returns:
        The distance, or None when it does not end within the largest picture tried: the network uses the whole
        picture (global pooling, attention), so no tiling is exact.
    """
    probe = _positive(network)
    step = network.multiple
    length = max(64, 2 * step)
    while length <= limit:
        length += -length % step
        middle = length // 2 // step * step
        reach = max(_spread(probe, length, {middle, middle + step - 1}, axis) for axis in (2, 3))
        if reach < length // 2 - step:
            return reach
        length *= 2
    return None


def _positive(network: Network) -> Network:
    probe: Network = copy.deepcopy(network).double().eval()
    for module in probe.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            if isinstance(module, nn.ConvTranspose2d) and parameter.ndim > 1:
                fan_in = parameter.shape[0]
            parameter.fill_(0.0 if name == "bias" else 1.0 / fan_in)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return probe


def _spread(probe: Network, length: int, positions: set[int], axis: int) -> int:
    """Largest distance along `axis` from an impulse to a pixel that it changes."""
    narrow = max(probe.multiple, 8 + -8 % probe.multiple)
    shape = [1, probe.channels, narrow, narrow]
    shape[axis] = length
    level = None if probe.level == "none" else torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    rest: Tensor = probe(torch.zeros(shape, dtype=torch.float64), level)
    furthest = 0
    for position in positions:
        picture = torch.zeros(shape, dtype=torch.float64)
        picture.select(axis, position).select(2, narrow // 2).fill_(1.0)
        changed = (probe(picture, level) != rest).any(1)[0].any(3 - axis).nonzero()
        furthest = max(furthest, int((changed - position).abs().max()))
    return furthest
