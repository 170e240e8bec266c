"""How far a network looks: the halo that tiles need for an exact result, measured, not computed by hand."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from shotnoise.networks.network import Network

__all__ = ["measure_field", "measure_reach"]


@torch.no_grad()
def measure_reach(network: Network, *, limit: int = 2048) -> int | None:
    """Largest distance in pixels at which an input pixel at the edge of a cell can change an output pixel.

    All weights are replaced by positive numbers and all biases by zero, so that nothing cancels and an impulse
    spreads exactly as far as the connections reach; a picture of zeros stays zero, or nearly so where the network is
    told a noise level, which is far too small to drown an impulse. The numbers differ from each other, or a norm over
    the channels would remove the impulse, and rectifiers let everything pass, or they would stop what the norm made
    negative. The impulse is placed at both ends of a cell of `network.multiple` pixels: windows begin and end where
    cells do, so that these are the first pixels that they miss. And it lies in narrow pictures along each axis, which
    costs far less than a square one and shows the same reach.

    Returns:
        The distance, or None when the network says that it uses the whole picture (global pooling, attention), or
        when the reach does not end within the largest picture tried: no tiling is exact.
    """
    if network.whole:
        return None
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


def measure_field(network: Network) -> int | None:
    """Side of the square of input pixels at which the gradient of one output pixel is not zero: the receptive field.

    Weights, rectifiers, positions and narrow pictures are those of :func:`measure_reach`; the widest field counts.

    Returns:
        The side, or None where :func:`measure_reach` finds no end.
    """
    reach = measure_reach(network)
    if reach is None:
        return None
    with torch.no_grad():
        probe = _positive(network)
    step = network.multiple
    length = 2 * (reach + step)
    length += -length % step + step
    middle = length // 2 // step * step
    narrow = max(step, 8 + -8 % step)
    widest = 0
    for parameter in probe.parameters():
        parameter.requires_grad_(False)
    for axis in (2, 3):
        shape = [1, probe.channels, narrow, narrow]
        shape[axis] = length
        picture = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
        with _Unrectified():
            line = probe(picture, _faint(probe), _no_latent(probe, picture)).sum((0, 1)).select(3 - axis, narrow // 2)
        for position in {middle, middle + step - 1}:
            (gradient,) = torch.autograd.grad(line[position], picture, retain_graph=True)
            seen = gradient.ne(0).any(1)[0].any(3 - axis).nonzero()
            widest = max(widest, int(seen.max() - seen.min()) + 1)
    return widest


def _positive(network: Network) -> Network:
    probe: Network = copy.deepcopy(network).double().eval()
    numbers = torch.Generator().manual_seed(0)
    for module in probe.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            if isinstance(module, nn.ConvTranspose2d) and parameter.ndim > 1:
                fan_in = parameter.shape[0]
            positive = 0.5 + torch.rand(parameter.shape, generator=numbers, dtype=torch.float64)
            parameter.copy_(torch.zeros(()) if name == "bias" else positive / fan_in)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return probe


def _faint(probe: Network) -> Tensor | None:
    """A noise level: not zero, as some networks take nothing away where there is no noise."""
    return None if probe.level == "none" else torch.full((1, 1, 1, 1), 1e-100, dtype=torch.float64)


def _no_latent(probe: Network, picture: Tensor) -> Tensor | None:
    """Zeros where a network would draw numbers: only the picture shall change the result."""
    if probe.latent_shape is None:
        return None
    channels, reduction = probe.latent_shape
    return picture.new_zeros(len(picture), channels, *(side // reduction for side in picture.shape[2:]))


class _Unrectified(TorchFunctionMode):
    """Within it, rectifiers are the identity."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in (F.relu, torch.relu, torch.relu_, F.leaky_relu) else func(*args, **(kwargs or {}))


def _spread(probe: Network, length: int, positions: set[int], axis: int) -> int:
    """Largest distance along `axis` from an impulse to a pixel that it changes."""
    narrow = max(probe.multiple, 8 + -8 % probe.multiple)
    shape = [1, probe.channels, narrow, narrow]
    shape[axis] = length

    def result_of(picture: Tensor) -> Tensor:
        with _Unrectified():
            result: Tensor = probe(picture, _faint(probe), _no_latent(probe, picture))
        return result

    nothing = torch.zeros(shape, dtype=torch.float64)
    before = result_of(nothing)
    furthest = 0
    for position in positions:
        picture = nothing.clone()
        picture.select(axis, position).select(2, narrow // 2).fill_(1.0)
        changed = (result_of(picture) != before).any(1)[0].any(3 - axis).nonzero()
        furthest = max(furthest, int((changed - position).abs().max()))
    return furthest
