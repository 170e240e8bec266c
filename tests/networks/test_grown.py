"""Networks that begin with the weights of a smaller one."""

import pytest
import torch

from shotnoise.networks import create

SMALL = {"in_nc": 3, "widths": [8, 12], "encoder": [1, 1], "decoder": [1]}


def trained(**options):
    """A ShotNet none of whose weights is zero, as after a training."""
    torch.manual_seed(1)
    network = create("shotnet", **(SMALL | options)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def inputs():
    torch.manual_seed(2)
    return torch.rand(1, 3, 32, 32), torch.full((1, 1, 1, 1), 0.1)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="the same"),
        pytest.param({"encoder": [2, 3], "decoder": [2]}, id="more blocks"),
        pytest.param({"widths": [9, 16]}, id="more features"),
        pytest.param({"widths": [8, 12, 20], "encoder": [1, 1, 2], "decoder": [1, 1]}, id="a scale more"),
        pytest.param(
            {"widths": [10, 14, 20, 24], "encoder": [2, 1, 2, 1], "decoder": [2, 1, 3]}, id="more of everything"
        ),
    ],
)
def test_the_larger_does_what_the_smaller_does_and_all_of_it_can_learn(options):
    small, large = trained(), create("shotnet", **(SMALL | options)).eval()
    large.load_state_dict(large.grown_from(small.state_dict()))
    noisy, level = inputs()
    expected = small(noisy, level)
    torch.testing.assert_close(large(noisy, level), expected, rtol=1e-5, atol=1e-5)
    # A gradient reaches a new weight once the zeros behind it have moved: a step for a block, two for a scale.
    optimizer = torch.optim.Adam(large.parameters(), lr=1e-3)
    for _ in range(4):
        optimizer.zero_grad()
        (large(noisy, level) - 1).square().mean().backward()
        optimizer.step()
    assert all(bool((parameter.grad != 0).any()) for parameter in large.parameters())


def test_a_relative_one_begins_as_the_other_at_a_usual_level_and_in_proportion_to_it():
    small = trained()
    large = create("shotnet", **(SMALL | {"widths": [9, 16], "relative": True})).eval()
    large.load_state_dict(large.grown_from(small.state_dict()))
    noisy, level = inputs()
    torch.testing.assert_close(large(noisy, level), small(noisy, level), rtol=1e-5, atol=1e-5)
    for factor in (0.25, 2):
        expected = noisy + factor * (small(noisy, factor * level) - noisy)
        torch.testing.assert_close(large(noisy, factor * level), expected, rtol=1e-4, atol=1e-4)
    again = create("shotnet", **(SMALL | {"widths": [12, 16], "relative": True})).eval()
    again.load_state_dict(again.grown_from(large.state_dict()))
    torch.testing.assert_close(again(noisy, level / 3), large(noisy, level / 3), rtol=1e-5, atol=1e-5)
    assert trained().grown_from(large.state_dict()) is None


@pytest.mark.parametrize(
    "options",
    [
        {"widths": [8, 10]},
        {"encoder": [1, 0]},
        {"widths": [8], "encoder": [1], "decoder": []},
        {"in_nc": 1},
        {"level": "none"},
    ],
)
def test_what_is_smaller_or_of_another_kind_does_not_grow(options):
    assert create("shotnet", **(SMALL | options)).grown_from(trained().state_dict()) is None


def test_other_networks_know_no_way():
    dncnn = create("dncnn", nb=3, nc=4)
    assert dncnn.grown_from(trained().state_dict()) is None
    assert trained().grown_from(dncnn.state_dict()) is None
