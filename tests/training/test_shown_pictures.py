"""The grid of held-out samples that TensorBoard shows."""

import torch

from shotnoise.training.pictures import grid


def test_rows_are_samples_and_columns_are_what_became_of_them():
    noisy, result, clean = (torch.full((2, 3, 20, 30), value) for value in (0.2, 0.4, 1.7))
    noisy[1] = -0.3
    picture = grid((noisy, result, clean))
    assert picture.shape == (3, 40, 90)
    corners = [picture[0, row, column].item() for row in (0, 39) for column in (0, 45, 89)]
    assert torch.tensor(corners).allclose(torch.tensor([0.2, 0.4, 1, 0, 0.4, 1])), "limited to what can be shown"


def test_large_samples_are_shown_in_part_and_gray_ones_as_gray():
    batch = torch.rand(9, 1, 300, 200)
    picture = grid((batch, batch))
    assert picture.shape == (3, 3 * 96, 2 * 96)
    assert torch.equal(picture[0], picture[2])
    assert torch.equal(picture[1, :96, :96], batch[0, 0, 102:198, 52:148])


def test_mosaic_planes_become_gray_where_the_light_is():
    """A gray ramp seen by a sensor of unequal colours: balanced, its bright end white, dark values lifted by gamma."""
    ramp = torch.linspace(0, 0.4, 50).expand(1, 1, 40, 50)
    clean = ramp * torch.tensor([0.5, 1, 1, 0.6]).view(1, 4, 1, 1)
    picture = grid((clean - 0.01, clean))
    assert picture.shape == (3, 40, 100)
    assert torch.allclose(picture[0, :, 50:], picture[1, :, 50:], atol=1e-3)
    assert picture[:, 0, -1].allclose(torch.ones(3))
    assert abs(picture[1, 0, 50 + 25].item() - (25 / 49 / 0.99) ** (1 / 2.2)) < 0.01
    assert picture[0, 0, 0] == 0, "below black"
