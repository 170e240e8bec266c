"""The camera learned in both directions: against the original, its three files, and its size."""

import pytest
import torch
from safetensors import safe_open

from shotnoise.errors import ModelError, PictureError
from shotnoise.isp import Renderer
from shotnoise.networks import create, load
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import save_checkpoint
from shotnoise.networks.cycleisp import CCM, CycleISP, Raw2Rgb, Rgb2Raw
from small_networks import SMALL

PARTS = {"rgb2raw": Rgb2Raw, "ccm": CCM, "raw2rgb": Raw2Rgb}
SIZES = ("n_feats", "num_rrg", "num_dab", "reduction", "ccm_num_rrg", "ccm_num_dab")


def read(shared, name):
    with safe_open(shared / "golden" / f"cycleisp_{name}_small.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        sizes = {name: int(file.metadata()[name]) for name in SIZES}
    state = {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}
    return tensors, state, sizes


def part(name, sizes):
    """One part of a composite network."""
    return getattr(CycleISP(**sizes), name).eval()


def numbers(module):
    """How many the authors count: parameters and what is fixed, those with several names once."""
    return sum(value.numel() for value in (*module.parameters(), *module.buffers()))


def small(name="cycleisp"):
    torch.manual_seed(0)
    return create("cycleisp", **SMALL[name]).eval()


@pytest.mark.shared
@pytest.mark.parametrize("name", PARTS)
@torch.no_grad()
def test_each_part_is_the_original_layer_by_layer(shared, name):
    tensors, state, sizes = read(shared, name)
    network = part(name, sizes)
    network.load_state_dict(state)
    seen = {}
    body, places = network.body[0].body[0], {"head": network.head, "tail": network.tail}
    places |= {"dab0": body, "sa0": body.SA, "ca0": body.CA, "rrg0": network.body[0]}
    places |= {"blur": getattr(network, "blur", None), "tail_rgb": getattr(network, "tail_rgb", None)}
    for key, module in places.items():
        if module is not None:
            module.register_forward_hook(lambda _, __, output, key=key: seen.__setitem__(key, output.clone()))
    result = network(*(tensors[key] for key in ("input", "input_ccm") if key in tensors))
    torch.testing.assert_close(result, tensors["output"], atol=5e-6, rtol=0)
    if name == "ccm":
        seen["down"] = torch.nn.functional.max_pool2d(seen["head"], 2)
    middle = {key.removeprefix("mid_"): value for key, value in tensors.items() if key.startswith("mid_")}
    assert middle.keys() <= seen.keys()
    for key, expected in middle.items():
        torch.testing.assert_close(seen[key], expected, atol=5e-6, rtol=0)


@pytest.mark.shared
@torch.no_grad()
def test_noise_goes_through_the_whole_chain_as_in_the_original(shared):
    with safe_open(shared / "golden" / "cycleisp_chain_small.safetensors", "pt") as file:
        data = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    state = {key.removeprefix("state/"): value for key, value in data.items() if key.startswith("state/")}
    network = create("cycleisp", **CycleISP.arguments_from(state)).eval()
    network.load_state_dict(state)
    raw, guide = network.to_raw(data["input_rgb"])
    torch.testing.assert_close(raw, data["output_raw_clean"], atol=5e-6, rtol=0)
    shot, read_noise = (data[f"input_{name}"].view(-1, 1, 1, 1) for name in ("shot", "read"))
    noisy = (raw + (shot * raw + read_noise).sqrt() * data["input_standard_normal"]).clamp(0, 1)
    torch.testing.assert_close(noisy, data["output_raw_noisy"], atol=5e-6, rtol=0)
    torch.testing.assert_close(network.ccm(guide), data["output_ccm"], atol=5e-6, rtol=0)
    rendered = network.to_rgb(noisy, guide).clamp(0, 1)
    torch.testing.assert_close(rendered, data["output_rgb_noisy"], atol=5e-6, rtol=0)
    torch.testing.assert_close(network(data["input_rgb"]), network.to_rgb(raw, guide))


@pytest.mark.parametrize(
    ("name", "counted", "learned", "entries"),
    [
        ("rgb2raw", 3_143_109, 3_143_109, 193),
        ("ccm", 1_084_419, 1_084_419 - 1_323, 60),
        ("raw2rgb", 3_244_110, 3_225_582, 198),
    ],
)
def test_parameters_are_those_of_the_published_network(name, counted, learned, entries):
    with torch.device("meta"):
        network = getattr(CycleISP(), name)
    assert numbers(network) == counted
    assert sum(parameter.numel() for parameter in network.parameters()) == learned
    assert len(network.state_dict()) == entries


def test_one_slope_serves_each_part():
    for name in PARTS:
        network = part(name, SMALL["cycleisp"])
        slopes = [module for module in network.modules() if isinstance(module, torch.nn.PReLU)]
        assert len(slopes) == 1
        assert slopes[0].weight.shape == (8,)


def test_it_is_a_renderer():
    network, rgb = small(), torch.rand(2, 3, 12, 16)
    assert isinstance(network, Renderer)
    raw, context = network.to_raw(rgb, torch.Generator())
    assert raw.shape == (2, 4, 6, 8)
    assert 0 <= raw.min() <= raw.max() <= 1
    assert network.to_rgb(raw, context).shape == rgb.shape
    with pytest.raises(PictureError, match="expected RGB"):
        network.to_raw(torch.rand(1, 3, 5, 4))


def test_pictures_smaller_than_the_blur():
    assert small()(torch.rand(1, 3, 4, 6)).shape == (1, 3, 4, 6)


@pytest.fixture
def files(tmp_path):
    """The three files, wrapped as their authors and as others do."""
    network = small()
    for name in PARTS:
        state = getattr(network, name).state_dict()
        around = {"rgb2raw": "", "ccm": "module.", "raw2rgb": "net."}[name]
        torch.save({"state_dict": {f"{around}{key}": value for key, value in state.items()}}, tmp_path / f"{name}.pth")
    return network, {name: tmp_path / f"{name}.pth" for name in PARTS}


def test_three_files_make_one_network(files, tmp_path):
    network, paths = files
    again = CycleISP.assemble(**paths)
    rgb = torch.rand(1, 3, 16, 16)
    assert torch.equal(again(rgb), network(rgb))
    assert not again.training
    save_checkpoint(tmp_path / "all.safetensors", again, bare_card(again, "all"))
    assert torch.equal(load(tmp_path / "all.safetensors")(rgb), network(rgb))


def test_files_in_the_wrong_place_are_named(files, tmp_path):
    network, paths = files
    with pytest.raises(ModelError, match=r"ccm\.pth: is the part 'ccm' of CycleISP; expected 'raw2rgb'"):
        CycleISP.assemble(**paths | {"raw2rgb": paths["ccm"]})
    torch.save(network.state_dict(), tmp_path / "all.pth")
    with pytest.raises(ModelError, match=r"all\.pth: holds 3 networks of CycleISP; expected the part 'ccm' alone"):
        CycleISP.assemble(**paths | {"ccm": tmp_path / "all.pth"})
    other = create("cycleisp", **SMALL["cycleisp"] | {"n_feats": 4})
    torch.save(other.ccm.state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"do not fit the network 'cycleisp': .* of another size"):
        CycleISP.assemble(**paths | {"ccm": tmp_path / "other.pth"})


@pytest.mark.parametrize("name", ["ccm", "raw2rgb"])
def test_a_part_alone_says_what_to_do(files, name):
    with pytest.raises(
        ModelError, match=rf"{name}\.pth: its tensors are '{name}', one of the three.*assemble\(rgb2raw"
    ):
        load(files[1][name])


def test_a_part_that_looks_like_a_denoiser_is_known_by_its_size(tmp_path):
    """sRGB -> RAW has the layers of the sRGB denoiser; only the published sizes tell."""
    state = Rgb2Raw(96, 3, 5, 8).state_dict()
    torch.save({"state_dict": state}, tmp_path / "rgb2raw.pth")
    with pytest.raises(ModelError, match=r"are 'rgb2raw', one of the three .* name the network cycleisp-denoiser"):
        load(tmp_path / "rgb2raw.pth")
    assert type(load(tmp_path / "rgb2raw.pth", network="cycleisp-denoiser")).__name__ == "CycleISPDenoiser"
