"""Every network of the table keeps the Network contract."""

import importlib
import inspect
from pathlib import Path

import pytest
import torch

from shotnoise.errors import ModelError, RecipeError
from shotnoise.networks import NETWORKS, create, load
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import save_checkpoint
from shotnoise.networks.network import Network
from shotnoise.networks.reach import measure_reach

# The smallest sensible configuration of each, so that the suite stays fast; "name+what" is a second one of a network.
SMALL = {
    "dncnn": {"nc": 8, "nb": 5},
    "neighbor2neighbor-unet": {"n_feature": 8},
    "neighbor2neighbor-unet+blindspot": {"n_feature": 8, "blindspot": True},
    "noise2noise-unet": {"n_feature": 8},
    "shotnet": {"widths": [8, 8], "encoder": [1, 1], "decoder": [1]},
}


@pytest.fixture(autouse=True)
def narrow_tail(monkeypatch):
    """The U-Net of Neighbor2Neighbor ends 96 features wide whatever its arguments are; what holds at 8 holds there."""
    monkeypatch.setattr("shotnoise.networks.neighbor2neighbor_unet._TAIL", 8)


def small(name: str) -> Network:
    torch.manual_seed(0)
    network = create(name.partition("+")[0], **SMALL[name])
    with torch.no_grad():  # no weight may hide behind a zero initialisation
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return network.eval()


def level_for(network: Network, batch: int) -> torch.Tensor | None:
    return None if network.level == "none" else torch.linspace(0.02, 0.2, batch).view(batch, 1, 1, 1)


def test_the_table_is_complete():
    """Every file of the room that defines an architecture is in the table, and every entry has a small variant here."""
    listed = {NETWORKS.resolve(name) for name in NETWORKS}
    room = Path(inspect.getfile(Network)).parent
    defined = set()
    for file in room.glob("*.py"):
        module = importlib.import_module(f"shotnoise.networks.{file.stem}") if file.stem != "__init__" else None
        for value in vars(module).values() if module else ():
            if inspect.isclass(value) and issubclass(value, Network) and value is not Network:
                defined.add(value)
    assert defined == listed
    assert {name.partition("+")[0] for name in SMALL} == set(NETWORKS)


@pytest.mark.parametrize("name", SMALL)
def test_shape_is_kept_at_every_multiple(name):
    network = small(name)
    for rows, columns in ((1, 1), (2, 3)):
        shape = (2, network.channels, 32 * rows, 32 * columns)
        if 32 % network.multiple:
            shape = (2, network.channels, network.multiple * rows, network.multiple * columns)
        assert network(torch.rand(shape), level_for(network, 2)).shape == shape


@pytest.mark.parametrize("name", SMALL)
def test_gradient_reaches_every_parameter(name):
    network = small(name).train()
    loss = network(torch.rand(2, network.channels, 32, 32), level_for(network, 2)).square().mean()
    loss.backward()
    dead = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not dead


@pytest.mark.parametrize("name", SMALL)
def test_samples_of_a_batch_do_not_mix(name):
    network = small(name)
    pictures, level = torch.rand(2, network.channels, 32, 32), level_for(network, 2)
    together = network(pictures, level)
    alone = network(pictures[1:], None if level is None else level[1:])
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_checkpoint_round_trip(name, tmp_path):
    network = small(name)
    save_checkpoint(tmp_path / "net.safetensors", network, bare_card(network, "net"))
    pictures, level = torch.rand(1, network.channels, 32, 64), level_for(network, 1)
    again = load(tmp_path / "net.safetensors")
    assert torch.equal(again(pictures, level), network(pictures, level))
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("name", SMALL)
def test_a_bare_state_dict_is_recognised(name, tmp_path):
    network = small(name)
    torch.save({"state_dict": {f"module.{key}": v for key, v in network.state_dict().items()}}, tmp_path / "net.pth")
    again = load(tmp_path / "net.pth")
    assert type(again) is type(network)
    pictures, level = torch.rand(1, network.channels, 32, 32), level_for(network, 1)
    assert torch.equal(again(pictures, level), network(pictures, level))


@pytest.mark.parametrize("name", SMALL)
def test_reach_is_exact(name):
    """Changing a pixel just inside the measured reach changes the result; outside it nothing changes."""
    network = small(name)
    reach = measure_reach(network)
    assert reach is not None
    step = network.multiple
    side = 2 * (reach + step) // step * step + 2 * step
    picture, level = torch.rand(1, network.channels, side, step), level_for(network, 1)
    centre = side // 2 // step * step
    with torch.no_grad():
        before = network(picture, level)
        worst = 0
        for phase in {0, step - 1}:
            touched = picture.clone()
            touched[:, :, centre + phase] += 100
            rows = (network(touched, level) != before).any(1)[0].any(1).nonzero()
            worst = max(worst, int((rows - centre - phase).abs().max()))
    assert worst <= reach
    assert worst >= 0.8 * reach  # small activations may be cut off on the way, large parts may not


def test_unknown_names_and_options_get_the_nearest():
    with pytest.raises(RecipeError, match="unknown network 'dncn': did you mean 'dncnn'"):
        create("dncn")
    with pytest.raises(RecipeError, match="network 'dncnn' has no option 'n_c': did you mean 'nc'"):
        create("dncnn", n_c=3)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("dncnn", {"act_mode": "X"}, "act_mode is 'X'"),
        ("dncnn", {"in_nc": 3}, "must equal out_nc 1"),
        ("dncnn", {"nb": 1}, "at least a first and a last"),
        ("shotnet", {"widths": [8]}, "one decoder number fewer"),
        ("shotnet", {"level": "map"}, "expected 'none' or 'sigma'"),
    ],
)
def test_contradictions_are_refused(name, arguments, words):
    with pytest.raises(ModelError, match=words):
        create(name, **arguments)


def test_shotnet_says_that_it_wants_the_level():
    with pytest.raises(ModelError, match="wants the noise level"):
        small("shotnet")(torch.rand(1, 3, 8, 8))
