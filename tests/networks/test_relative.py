"""ShotNet that sees and corrects in units of the noise level."""

import numpy as np
import pytest
import torch

from shotnoise.errors import ModelError
from shotnoise.networks import create
from shotnoise.networks.shotnet import ShotNet

SMALL = {"widths": [8, 12], "encoder": [1, 1], "decoder": [1], "relative": True}


def trained(in_nc=3):
    torch.manual_seed(1)
    network = create("shotnet", in_nc=in_nc, **SMALL).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def picture(channels=3):
    torch.manual_seed(2)
    return torch.rand(1, channels, 24, 32)


def test_without_noise_nothing_changes():
    assert torch.equal(trained()(picture(), torch.zeros(1, 1, 1, 1)), picture())


def test_what_is_taken_away_is_in_proportion_to_the_level():
    """Where the picture is flat but for noise, a tenth of the noise gives a tenth of the correction."""
    network = trained()
    with torch.no_grad():
        network.stem.weight[:, :4] = 0  # sees the detail alone, which is the same at all levels
    noise = torch.randn(1, 3, 24, 32, generator=torch.Generator().manual_seed(3))
    results = [network(0.5 + sigma * noise, torch.full((1, 1, 1, 1), sigma)) - 0.5 for sigma in (0.2, 0.02)]
    torch.testing.assert_close(results[0], 10 * results[1], rtol=1e-3, atol=1e-4)


def test_detail_is_the_difference_from_the_seven_by_seven_around_a_pixel():
    noisy = picture(1).double()
    seen = {}
    network = trained(1).double()
    network.stem.register_forward_pre_hook(lambda _, given: seen.update(planes=given[0]))
    network(noisy, torch.full((1, 1, 1, 1), 0.1, dtype=torch.float64))
    flat = noisy[0, 0].numpy()
    for y, x in ((0, 0), (5, 31), (12, 9)):
        around = flat[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
        assert seen["planes"][0, 2, y, x].item() == pytest.approx(np.clip((flat[y, x] - around.mean()) / 0.4, -2, 2))


def test_a_level_for_each_pixel():
    network, noisy = trained(), picture()
    level = torch.full((1, 1, 24, 32), 0.1)
    torch.testing.assert_close(network(noisy, level), network(noisy, torch.full((1, 1, 1, 1), 0.1)))
    level[..., :16] = 0
    assert torch.equal(network(noisy, level)[..., :16], noisy[..., :16])


@pytest.mark.parametrize("in_nc", [1, 3])
@pytest.mark.parametrize("options", [{"relative": True}, {"relative": False}, {"relative": False, "level": "none"}])
def test_the_weights_tell_which_kind_it_is(in_nc, options):
    network = create("shotnet", in_nc=in_nc, **(SMALL | options))
    found = ShotNet.arguments_from(network.state_dict())
    assert (found["in_nc"], found["relative"], found["level"]) == (in_nc, options["relative"], network.level)


def test_a_blind_one_has_no_units():
    with pytest.raises(ModelError, match="relative is true and level 'none'; expected level 'sigma'"):
        create("shotnet", level="none", **(SMALL))
