"""The networks for packed RAW: layer sizes against the published tables, the transform of PMRID, sizes of any kind."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shotnoise.errors import ModelError
from shotnoise.isp.mosaic import doubled
from shotnoise.networks import create, load
from shotnoise.networks.pmrid import PMRID
from shotnoise.tiling import plan_tiles, read_tile

# Slope and summand in counts of the published code, which maps every ISO to 1600.
ANCHORED = {
    100: (0.06864128, 0.18719418, 14.101301, 35.378017),
    400: (0.24849929, 0.48940801, 3.895107, 4.593070),
    1600: (0.96793133, 2.97945289, 1.0, 0.0),
    6400: (3.84565949, 33.43866601, 0.251694, -0.889639),
}


def sizes(network, prefix):
    return [value.numel() for key, value in network.state_dict().items() if key.startswith(prefix)]


def test_raw_unet_layer_by_layer():
    network = create("raw-unet")
    assert len(network.state_dict()) == 62
    stages = [
        (1184, 9248),
        (18496, 36928),
        (73856, 147584),
        (295168, 590080),
        (1180160, 2359808),
        (1179904, 590080),
        (295040, 147584),
        (73792, 36928),
        (18464, 9248),
    ]
    for number, (first, second) in enumerate(stages, start=1):
        assert sum(sizes(network, f"conv_{number}.0")) == first
        assert sum(sizes(network, f"conv_{number}.2")) == second
    assert [sum(sizes(network, f"pool{i}.down.0")) for i in range(1, 5)] == [9248, 36928, 147584, 590080]
    assert [sum(sizes(network, f"pool{i}.down.1")) for i in range(1, 5)] == [4128, 16448, 65664, 262400]
    assert [sum(sizes(network, f"upv{i}.up.1")) for i in range(6, 10)] == [1179904, 295040, 73792, 18464]
    assert sum(sizes(network, "conv_10.")) == 132


def test_raw_attention_part_by_part():
    network = create("raw-attention")
    assert len(network.state_dict()) == 178
    assert sum(sizes(network, "stem.")) == 296
    assert [sum(sizes(network, f"encoder.{i}.")) for i in range(3)] == [3184, 11632, 46304]
    assert sum(sizes(network, "bottom.")) == 45568
    assert sum(sizes(network, "bottom.0.1.")) == 4288
    assert sum(sizes(network, "middle.")) == 36992
    # the published list counts the enlargement with the block before it
    blocks = ["rise.", "decoder.0.", "decoder.1.", "decoder.2."]
    enlargements = [*(sum(sizes(network, f"grow.{i}.")) for i in range(3)), 0]
    assert enlargements[0] == 9248
    counted = [sum(sizes(network, block)) + extra for block, extra in zip(blocks, enlargements, strict=True)]
    assert counted == [111488, 93504, 26016, 6280]
    assert sum(sizes(network, "head.")) == 292


def test_raw_attention_attends_in_full():
    """The fused kernel against the definition: softmax of scaled products, then the weighted mean of the values."""
    torch.manual_seed(0)
    block = create("raw-attention").bottom[0][1]
    x = torch.randn(2, 32, 4, 6)
    tokens = block.norm(x).flatten(2).transpose(1, 2)
    query = block.query(tokens)
    key, value = block.key_value(tokens).split(32, dim=-1)
    weights = torch.softmax(query @ key.transpose(1, 2) / 32**0.5, dim=-1)
    expected = x + block.out(weights @ value).transpose(1, 2).reshape(2, 32, 4, 6)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="the last a multiple of 32"):
        create("raw-attention", widths=[8, 16, 24])


def test_unprocessing_denoiser_layer_by_layer():
    """Three convolutions per scale, 8 planes in, the skip behind what comes from below."""
    network = create("unprocessing-denoiser")
    stages = {"down1": (8, 32), "down2": (32, 64), "down3": (64, 128), "down4": (128, 256), "bottom": (256, 512)}
    stages |= {"up4": (768, 256), "up3": (384, 128), "up2": (192, 64), "up1": (96, 32)}
    for name, (inside, outside) in stages.items():
        expected = [9 * inside * outside, outside, 9 * outside**2, outside, 9 * outside**2, outside]
        assert sizes(network, f"{name}.") == expected
    assert sizes(network, "last.") == [9 * 32 * 4, 4]


def test_unprocessing_denoiser_doubles_as_early_tensorflow():
    """Sample i of the result is what stands at i / 2, with the last value repeated behind the end."""
    x = torch.tensor([1.0, 3.0, 4.0, 0.0]).view(1, 1, 4, 1)
    expected = np.interp(np.arange(8) / 2, np.arange(4), [1, 3, 4, 0])
    np.testing.assert_allclose(doubled(x, 2).flatten().numpy(), expected)


@pytest.mark.parametrize("iso", ANCHORED)
def test_pmrid_expects_every_picture_at_iso_1600(iso):
    k, s2, slope, offset = ANCHORED[iso]
    x = np.linspace(-0.05, 1, 50)
    expected = 256 / 959 * (slope * 959 * x + offset)
    assert PMRID.k_sigma is not None
    np.testing.assert_allclose(PMRID.k_sigma.forward(x, k / 959, s2 / 959**2), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.shared
def test_pmrid_between_normalised_counts(shared):
    """The published weights and the transform together, against the reference's result in normalised counts."""
    oracle = load_file(shared / "weights" / "oracle_io.safetensors")
    network = load(shared / "weights" / "pmrid.safetensors")
    law = (1.92717405 / 959, 9.48825129 / 959**2)  # ISO 3200
    assert network.k_sigma is not None
    with torch.no_grad():
        clean = network.k_sigma.inverse(network(network.k_sigma.forward(oracle["pmrid/noisy01"], *law)), *law)
    torch.testing.assert_close(clean, oracle["pmrid/output01"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("raw-unet", {"width": 4}), ("raw-attention", {}), ("pmrid", {"width": 4, "blocks": [1, 1, 1, 1]})],
)
@torch.no_grad()
def test_odd_sizes_go_through_the_runner(name, arguments):
    """Mirrored up to the multiple, cut back: nothing of the picture is lost, and nothing depends on who pads."""
    torch.manual_seed(0)
    network = create(name, **arguments).eval()
    height, width, step = 37, 51, network.multiple
    noisy = np.random.default_rng(0).random((height, width, 4), dtype=np.float32)
    (tile,) = plan_tiles(height, width, multiple=step).tiles
    window = torch.from_numpy(np.ascontiguousarray(read_tile(noisy, tile).transpose(2, 0, 1)))[None]
    assert window.shape[2] % step == window.shape[3] % step == 0
    clean = network(window)[(slice(None), slice(None), *tile.keep)]
    assert clean.shape == (1, 4, height, width)
    padded = np.pad(noisy, ((0, -height % step), (0, -width % step), (0, 0)), mode="reflect").transpose(2, 0, 1)
    expected = network(torch.from_numpy(padded)[None])[:, :, :height, :width]
    torch.testing.assert_close(clean, expected, atol=0, rtol=0)


@pytest.mark.parametrize(("size", "parameters"), [("S", 939_212), ("M", 6_623_564)])
def test_shotnet_comes_in_sizes(size, parameters):
    network = create("shotnet", size=size)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    stated = create("shotnet", **type(network).arguments_from(network.state_dict()))
    assert [*stated.state_dict()] == [*network.state_dict()]


def test_shotnet_of_an_unknown_size():
    with pytest.raises(ModelError, match="size is 'L'; expected 'S' or 'M'"):
        create("shotnet", size="L")
