"""Fresh weights and recognition of the Noise2Noise U-Net."""

import pytest
import torch
from torch import nn

from shotnoise.networks import create, load
from shotnoise.networks.noise2noise_unet import Noise2NoiseUNet


def test_fresh_weights_have_the_published_scale():
    torch.manual_seed(0)
    network = create("noise2noise-unet")
    for name, layer in network.named_children():
        assert isinstance(layer, nn.Conv2d)
        gain = 1.0 if name == "dec_conv1" else 2**0.5
        count = layer.weight.numel()
        expected = gain / (9 * layer.in_channels) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=4 / (2 * count) ** 0.5)
        assert not layer.bias.any()


def test_size_is_kept_and_channels_are_free():
    network = create("noise2noise-unet", in_nc=4, n_feature=8).eval()
    assert network(torch.rand(2, 4, 32, 96)).shape == (2, 4, 32, 96)


def test_the_two_u_nets_are_told_apart(tmp_path):
    """Their encoders have the same names and shapes."""
    theirs = create("neighbor2neighbor-unet", n_feature=8)
    assert Noise2NoiseUNet.arguments_from(theirs.state_dict()) is None
    ours = create("noise2noise-unet", in_nc=1, n_feature=8)
    assert type(theirs).arguments_from(ours.state_dict()) is None
    torch.save(ours.state_dict(), tmp_path / "net.pth")
    again = load(tmp_path / "net.pth")
    assert type(again) is Noise2NoiseUNet
    assert again.channels == 1
