"""What int8 makes of a network, while it is trained: the weights learn to stand the rounding.

Weights and inputs of convolutions are rounded, and nothing else: transposed convolutions, sums, skips and the result
stay in float. An exported file also rounds what an int8 convolution hands to one of these, which is not seen here.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from shotnoise.errors import RecipeError, nearest
from shotnoise.networks import Network

__all__ = ["Quantisation", "RoundedInput", "rounded_weight"]

_LARGEST = 63  # of a weight: the 7 bits of an exported file, whose sums no processor overflows
_TAIL = 5e-5  # share of the values that may lie beyond each end of a range
_THIN = 3  # every third row and column are enough to see it
_RATE = 0.05  # how fast a range follows the batches
_SMALLEST = torch.finfo(torch.float32).tiny  # of a step, so that a layer of zeros divides by something


def rounded_weight(weight: Tensor) -> Tensor:
    """round(weight / step) step with step = max |weight| / 63 of each output channel; the gradient is that of weight.

    Args:
        weight: (out, in, height, width), of a convolution.
    """
    step = (weight.detach().abs().amax((1, 2, 3)) / _LARGEST).clamp_min(_SMALLEST)
    zero = torch.zeros_like(step, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -_LARGEST, _LARGEST)


class RoundedInput(nn.Module):
    """Rounds what goes into a layer to 256 steps between two ends, which follow what is seen in training.

    The ends of a batch are the values beyond which 0.005 % of it lie, in all processes together, and 0 is always
    between them. What lies outside is cut off, and gets no gradient; everything else gets the gradient of its rounded
    value. It is called as a hook that sees a layer's inputs before the layer.

    Attributes:
        ends: lowest and highest value; both 0 as long as nothing was seen, and then nothing is rounded.
        frozen: whether the ends stay as they are.
    """

    ends: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ends", torch.zeros(2))
        self.frozen = False

    def forward(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The inputs of a layer -> those that it gets."""
        x, *others = inputs
        if self.training and not self.frozen:
            self._follow(x.detach())
        elif not self.training and not bool(self.ends.any()):
            return inputs
        low, high = self.ends.unbind()
        step = ((high - low) / 255).clamp_min(_SMALLEST)
        zero = (-low / step).round().to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x, step, zero, 0, 255), *others

    @torch.no_grad()
    def _follow(self, x: Tensor) -> None:
        values = x[..., ::_THIN, ::_THIN].flatten()
        batch = torch.stack((-_highest(-values), _highest(values)))
        batch = torch.stack((batch[0].clamp(max=0), batch[1].clamp(min=0)))
        # One batch with a value that is no number would spoil all that follow.
        batch = torch.where(batch.isfinite(), batch, self.ends)
        self.ends.lerp_(batch, torch.where(self.ends.any(), _RATE, 1.0))


def _highest(values: Tensor) -> Tensor:
    """The value that a share _TAIL of the values reach, in all processes together."""
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    count = max(1, math.ceil(_TAIL * values.numel() * world))
    best = values.topk(min(count, values.numel())).values
    if world > 1:
        parts = [torch.empty_like(best) for _ in range(world)]
        torch.distributed.all_gather(parts, best)
        best = torch.cat(parts).topk(count).values
    return best[-1]


class _RoundedWeight:
    """Mixed into the class of a convolution: whoever asks for its weight gets the rounded one.

    The parameter stays what it is, under its own name, for the optimiser and for checkpoints.
    """

    _parameters: dict[str, Tensor]

    @property
    def weight(self) -> Tensor:
        return rounded_weight(self._parameters["weight"])


class Quantisation(nn.Module):
    """Makes the convolutions of a network, all `Conv2d`, see what int8 leaves of their weights and inputs.

    It holds the ranges of the inputs, and the network holds the weights; so the one has the keys that it always has.

    Args:
        network: what is trained; changed in place.
        float_layers: names of convolutions, or of modules whose convolutions all are meant, that stay in float.
    """

    def __init__(self, network: Network, float_layers: Sequence[str] = ()) -> None:
        super().__init__()
        layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
        for given in float_layers:
            if not any(_is_in(name, given) for name in layers):
                modules = [
                    module for module, _ in network.named_modules() if any(_is_in(name, module) for name in layers)
                ]
                raise RecipeError(
                    f"training.float_layers: '{given}' is no convolution of {type(network).__name__}, and holds none; "
                    f"{nearest(given, modules)}"
                )
        chosen = {
            name: layer for name, layer in layers.items() if not any(_is_in(name, given) for given in float_layers)
        }
        if not chosen:
            raise RecipeError(
                f"training.quantise: int8 finds nothing to round, {len(layers)} of {len(layers)} convolutions of "
                f"{type(network).__name__} stay in float; name fewer float_layers, or leave quantise away"
            )
        self.inputs = nn.ModuleDict()
        for name, layer in chosen.items():
            rounding = RoundedInput()
            self.inputs[name.replace(".", "/")] = rounding
            layer.register_forward_pre_hook(cast(Any, rounding))
            kind = type(layer)
            layer.__class__ = type(f"Rounded{kind.__name__}", (_RoundedWeight, kind), {})

    def freeze(self, frozen: bool) -> None:
        """Say whether the ranges stay as they are."""
        for rounding in self.inputs.values():
            cast(RoundedInput, rounding).frozen = frozen


def _is_in(layer: str, module: str) -> bool:
    return layer == module or layer.startswith(f"{module}.")
