"""The blind-spot variant of the Neighbor2Neighbor U-Net: it never sees the pixel that it predicts, but all others."""

import pytest
import torch

from shotnoise.networks import create


@pytest.fixture(autouse=True)
def narrow_tail(monkeypatch):
    """The network ends 96 features wide whatever its arguments are; what holds at 8 holds there."""
    monkeypatch.setattr("shotnoise.networks.neighbor2neighbor_unet._TAIL", 8)


def blindspot():
    torch.manual_seed(0)
    network = create("neighbor2neighbor-unet", n_feature=4, blindspot=True).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(5).add_(0.05 * torch.randn(parameter.shape))
    return network


def gradient(network, picture, row, column):
    """d output(row, column) / d input, per input pixel."""
    picture = picture.clone().requires_grad_()
    network(picture)[0, :, row, column].sum().backward()
    return picture.grad[0].abs().sum(0)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 64), (96, 32)])
def test_a_pixel_does_not_see_itself_and_sees_all_others(height, width):
    network, picture = blindspot(), torch.rand(1, 3, height, width, dtype=torch.float64)
    # Corners, borders, both sides of the seams of the coarsest cells.
    for row in (0, 1, 31, height // 2, height - 1):
        for column in (0, 15, 16, width // 2 - 1, width - 1):
            slope = gradient(network, picture, row, column)
            assert float(slope[row, column]) == 0
            assert int((slope == 0).sum()) == 1


def test_the_usual_network_does_see_itself():
    torch.manual_seed(0)
    network = create("neighbor2neighbor-unet", n_feature=4).double()
    assert gradient(network, torch.rand(1, 3, 64, 64, dtype=torch.float64), 20, 20)[20, 20] > 0


def test_the_four_directions_are_above_left_below_right():
    network, picture = blindspot(), torch.rand(1, 3, 32, 64, dtype=torch.float64)
    rows, columns = torch.arange(32).view(-1, 1), torch.arange(64).view(1, -1)
    row, column = 13, 22
    sides = (rows < row, columns < column, rows > row, columns > column)
    for number, side in enumerate(sides):
        touched = picture.clone().requires_grad_()
        features = network._four_directions(touched)
        features[0, 8 * number : 8 * number + 8, row, column].sum().backward()
        seen = touched.grad[0].abs().sum(0) > 0
        assert seen.any()
        assert not (seen & ~side.expand(32, 64)).any()


def test_turning_the_picture_turns_the_directions():
    """A quarter turn of a picture that is not square: the same features, turned, one direction further."""
    network, picture = blindspot(), torch.rand(2, 3, 32, 96, dtype=torch.float64)
    with torch.no_grad():
        straight = network._four_directions(picture)
        turned = network._four_directions(torch.rot90(picture, 1, (3, 2)))
    torch.testing.assert_close(turned, torch.rot90(straight, 1, (3, 2)).roll(-8, dims=1))
