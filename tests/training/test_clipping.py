"""Gradients that are too long: shortened as a whole or tensor by tensor, by what the optimiser gets to see."""

import pytest
import torch

from shotnoise.methods import METHODS
from shotnoise.networks import create
from shotnoise.recipe import TrainingOptions
from shotnoise.training.task import Task


def clipped(gradients, **options):
    """What is left of these gradients of a small network."""
    method = METHODS.create("supervised", {}, network=create("dncnn", nb=2, nc=4))
    task = Task(method, TrainingOptions(steps=1, **options), stream=None, validation=())
    for parameter, gradient in zip(method.parameters(), gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    task.configure_gradient_clipping(None)
    return [parameter.grad for parameter in method.parameters()]


@pytest.fixture
def gradients():
    """Of very different lengths; one tensor takes no part."""
    network = create("dncnn", nb=2, nc=4)
    scales = [10.0 ** (number - 1) for number in range(len(list(network.parameters())))]
    drawn = [
        scale * torch.randn(parameter.shape) for scale, parameter in zip(scales, network.parameters(), strict=True)
    ]
    return [*drawn[:-1], None]


def test_as_a_whole(gradients):
    norm = torch.sqrt(sum(gradient.square().sum() for gradient in gradients[:-1]))
    left = clipped(gradients, clip=2.0)
    for gradient, short in zip(gradients[:-1], left, strict=False):
        torch.testing.assert_close(short, gradient * 2.0 / norm)
    assert left[-1] is None


def test_tensor_by_tensor(gradients):
    left = clipped(gradients, clip=2.0, clip_by="tensor")
    norms = [gradient.norm() for gradient in gradients[:-1]]
    assert min(norms) < 2 < max(norms), "some are short already"
    for gradient, short, norm in zip(gradients[:-1], left, norms, strict=False):
        torch.testing.assert_close(short, gradient * min(1.0, 2.0 / norm))


@pytest.mark.parametrize("options", [{}, {"clip": 1e9}, {"clip": 1e9, "clip_by": "tensor"}])
def test_short_ones_stay_as_they_are(gradients, options):
    for gradient, same in zip(gradients, clipped(gradients, **options), strict=True):
        assert (same is None) if gradient is None else torch.equal(same, gradient)
