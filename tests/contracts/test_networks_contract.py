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
from shotnoise.tiling import plan_tiles
from small_networks import SMALL

# Their tensors are also those of another network, so they must be called by name.
NAMED = ["ircnn", "nafnet-local"]
WHOLE = [name for name in SMALL if NETWORKS.resolve(name.partition("+")[0]).whole]


@pytest.fixture(autouse=True)
def narrow_tail(monkeypatch):
    """The U-Net of Neighbor2Neighbor ends 96 features wide whatever its arguments are; what holds at 8 holds there."""
    monkeypatch.setattr("shotnoise.networks.neighbor2neighbor_unet._TAIL", 8)


def small(name: str) -> Network:
    torch.manual_seed(0)
    network = create(name.partition("+")[0], **SMALL[name])
    with torch.no_grad():  # no weight may hide behind a zero initialisation
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape))
    return network.eval()


def level_for(network: Network, batch: int) -> torch.Tensor | None:
    return None if network.level == "none" else torch.linspace(0.02, 0.2, batch).view(batch, 1, 1, 1)


def latent_for(network: Network, pictures: torch.Tensor) -> torch.Tensor | None:
    if network.latent_shape is None:
        return None
    channels, reduction = network.latent_shape
    height, width = pictures.shape[2] // reduction, pictures.shape[3] // reduction
    numbers = torch.Generator().manual_seed(1)
    return torch.randn(len(pictures), channels, height, width, generator=numbers, dtype=pictures.dtype)


def reduced(window: tuple[slice, slice], network: Network) -> tuple[slice, ...]:
    """A window of the picture in the latent."""
    _, reduction = network.latent_shape
    return tuple(slice(side.start // reduction, side.stop // reduction) for side in window)


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
        pictures = torch.rand(shape)
        assert network(pictures, level_for(network, 2), latent_for(network, pictures)).shape == shape


@pytest.mark.parametrize("name", SMALL)
def test_gradient_reaches_every_parameter(name):
    network = small(name).train()
    pictures = torch.rand(2, network.channels, 32, 32)
    loss = network(pictures, level_for(network, 2), latent_for(network, pictures)).square().mean()
    loss.backward()
    trained = {key: value for key, value in network.named_parameters() if value.requires_grad}
    dead = [key for key, value in trained.items() if value.grad is None or not value.grad.any()]
    assert not dead


@pytest.mark.parametrize("name", SMALL)
def test_training_lowers_the_loss(name):
    network = small(name).train()
    noisy = torch.rand(2, network.channels, 32, 32)
    level, latent, clean = level_for(network, 2), latent_for(network, noisy), 0.5 * noisy
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(6):
        loss = (network(noisy, level, latent) - clean).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", SMALL)
def test_samples_of_a_batch_do_not_mix(name):
    network = small(name)
    pictures, level = torch.rand(2, network.channels, 32, 32), level_for(network, 2)
    latent = latent_for(network, pictures)
    together = network(pictures, level, latent)
    alone = network(pictures[1:], None if level is None else level[1:], None if latent is None else latent[1:])
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_the_result_repeats_and_follows_the_latent(name):
    """Without a latent, a network that wants one draws the same numbers every time."""
    network = small(name)
    pictures, level = torch.rand(1, network.channels, 32, 32), level_for(network, 1)
    once = network(pictures, level)
    torch.rand(1)
    assert torch.equal(network(pictures, level), once)
    if network.latent_shape is not None:
        assert not torch.allclose(network(pictures, level, latent_for(network, pictures)), once)


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
    again = load(tmp_path / "net.pth", network=name if name in NAMED else None)
    assert type(again) is type(network)
    pictures, level = torch.rand(1, network.channels, 32, 32), level_for(network, 1)
    assert torch.equal(again(pictures, level), network(pictures, level))


@pytest.mark.parametrize("name", [name for name in SMALL if name not in WHOLE])
def test_reach_is_exact(name):
    """Changing a pixel just inside the measured reach changes the result; outside it nothing changes."""
    network = small(name).double()  # what arrives from afar is faint
    reach = measure_reach(network)
    assert reach is not None
    step = network.multiple
    side = 2 * (reach + step) // step * step + 2 * step
    picture, level = torch.rand(1, network.channels, side, step, dtype=torch.float64), level_for(network, 1)
    level = None if level is None else level.double()
    centre = side // 2 // step * step
    with torch.no_grad():
        latent = latent_for(network, picture)
        before = network(picture, level, latent)
        worst = 0
        for phase in {0, step - 1}:
            touched = picture.clone()
            touched[:, :, centre + phase] += 100
            rows = (network(touched, level, latent) != before).any(1)[0].any(1).nonzero()
            worst = max(worst, int((rows - centre - phase).abs().max()))
    assert worst <= reach
    assert worst >= 0.8 * reach  # small activations may be cut off on the way, large parts may not


@pytest.mark.parametrize("name", [name for name in SMALL if name not in WHOLE])
def test_tiles_with_the_measured_context_change_nothing(name):
    network = small(name).double()
    step, reach = network.multiple, measure_reach(network)
    assert reach is not None
    halo = reach + -reach % step
    height, width = 2 * halo + 3 * step, max(step, 8)
    plan = plan_tiles(height, width, multiple=step, halo=reach, tile=2 * halo + step)
    assert len(plan.tiles) == 3
    picture, level = torch.rand(1, network.channels, height, width, dtype=torch.float64), level_for(network, 1)
    level = None if level is None else level.double()
    with torch.no_grad():
        latent = latent_for(network, picture)
        whole = network(picture, level, latent)
        for tile in plan.tiles:
            part = None if latent is None else latent[:, :, *reduced(tile.read, network)]
            kept = network(picture[:, :, *tile.read], level, part)[:, :, *tile.keep]
            torch.testing.assert_close(kept, whole[:, :, *tile.write], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", WHOLE)
def test_what_claims_to_look_at_the_whole_picture_does(name):
    network = small(name).double()
    assert measure_reach(network) is None
    side = max(64, 2 * network.multiple)
    picture, level = torch.rand(1, network.channels, side, side, dtype=torch.float64), level_for(network, 1)
    level = None if level is None else level.double()
    touched = picture.clone()
    touched[:, :, :4, :4] += 10
    with torch.no_grad():
        change = network(touched, level) - network(picture, level)
    assert change[..., -4:, -4:].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_configuration_runs(name):
    network = create(name).eval()
    side = max(32, network.multiple)
    with torch.no_grad():
        pictures = torch.rand(1, network.channels, side, side)
        result = network(pictures, level_for(network, 1), latent_for(network, pictures))
    assert result.shape == (1, network.channels, side, side)
    assert result.isfinite().all()
    arguments = type(network).arguments_from(network.state_dict())
    assert arguments is not None
    again = create(name, **arguments)
    assert [value.shape for value in again.state_dict().values()] == [
        value.shape for value in network.state_dict().values()
    ]


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
        ("fdncnn", {"in_nc": 3}, "must be out_nc 3"),
        ("ffdnet", {"in_nc": 1}, "must equal out_nc 3"),
        ("drunet", {"in_nc": 6}, "or 4 with the noise level"),
        ("drunet", {"act_mode": "E"}, "expected R or L"),
        ("drunet", {"nc": [8]}, "one for each of the four scales"),
        ("drunet", {"downsample_mode": "x"}, "expected strideconv, avgpool or maxpool"),
        ("drunet", {"upsample_mode": "x"}, "expected convtranspose, pixelshuffle or upconv"),
        ("nafnet", {"dec_blk_nums": [1]}, "dec_blk_nums 1; expected as many"),
        ("scunet", {"config": [1]}, "each of the seven stages"),
        ("scunet", {"dim": 40}, "multiple of 2 x head_dim"),
        ("restormer", {"out_channels": 1}, "must equal out_channels 1"),
        ("restormer", {"heads": [1]}, "one for each of 4 scales"),
        ("restormer", {"layer_norm": "None"}, "expected BiasFree or WithBias"),
        ("mprnet", {"out_c": 1}, "must equal out_c 1"),
        ("grdn", {"numforrg": 5}, "expected a multiple of numforrg"),
        ("cycleisp-denoiser", {"level": "map"}, "expected 'none' or 'sigma'"),
        ("invdn", {"channel_in": 4}, "must equal channel_out 3"),
        ("invdn", {"scale": 3}, "expected 2, 4, 8, ..., a power of 2"),
        ("invdn", {"block_num": [8]}, "for each of the 2 halvings of scale 4"),
        ("invdn", {"block_num": [8, 0]}, "a number of at least 1"),
        ("invdn", {"subnet": "DBNet"}, "expected residual or dense"),
        ("invdn", {"downsampling": "wavelet"}, "expected haar or learned"),
        ("invdn", {"clamp": 0}, "expected a positive number"),
        ("pmrid", {"blocks": [1]}, "expected four numbers"),
        ("shotnet", {"widths": [8]}, "one decoder number fewer"),
        ("shotnet", {"level": "map"}, "expected 'none' or 'sigma'"),
    ],
)
def test_contradictions_are_refused(name, arguments, words):
    with pytest.raises(ModelError, match=words):
        create(name, **arguments)


@pytest.mark.parametrize("name", ["shotnet", "fdncnn", "ffdnet", "drunet", "cycleisp-denoiser"])
def test_who_wants_the_level_says_so(name):
    with pytest.raises(ModelError, match="wants the noise level"):
        small(name)(torch.rand(1, small(name).channels, 8, 8))


@pytest.mark.parametrize("name", SMALL)
def test_a_level_may_differ_from_pixel_to_pixel(name):
    """The same number at every pixel is the same as the number; networks for RAW take one per value."""
    network = small(name)
    if network.level == "none":
        return
    picture = torch.rand(1, network.channels, 32, 32)
    once = network(picture, torch.full((1, 1, 1, 1), 0.1))
    torch.testing.assert_close(network(picture, torch.full((1, 1, 32, 32), 0.1)), once, atol=1e-6, rtol=0)
    if network.channels == 4:
        torch.testing.assert_close(network(picture, torch.full((1, 4, 32, 32), 0.1)), once, atol=1e-6, rtol=0)
