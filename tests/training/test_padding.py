"""Pictures of any size in a validation: what goes beside them is continued as they are."""

import pytest
import torch
from torch.nn import functional as F

from shotnoise.methods.method import run_padded
from shotnoise.networks import Network


class Remember(Network):
    multiple = 8
    channels = 4

    def forward(self, noisy, level=None, latent=None):
        self.level = level
        return noisy


@pytest.mark.parametrize("height", [16, 13, 3])
def test_a_map_of_levels_is_padded_with_its_picture(height):
    network, noisy, level = Remember(), torch.rand(2, 4, height, 11), torch.rand(2, 4, height, 11)
    torch.testing.assert_close(run_padded(network, noisy, level), noisy)
    mode = "reflect" if height > 8 else "replicate"
    torch.testing.assert_close(network.level, F.pad(level, (0, 5, 0, -height % 8), mode=mode))
    run_padded(network, noisy, level[:, :1, :1, :1])
    assert network.level.shape == (2, 1, 1, 1)
    run_padded(network, noisy, None)
    assert network.level is None
