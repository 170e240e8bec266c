"""Exported files: same numbers as torch at any size, card inside, nothing left behind on failure."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from shotnoise import Denoiser
from shotnoise.card import CARD_KEY, Card, Score
from shotnoise.engines import open_engine
from shotnoise.errors import ModelError
from shotnoise.export import export
from shotnoise.export.onnx import _rounding
from shotnoise.networks import NETWORKS, Network, create
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import save_checkpoint
from small_networks import SMALL

# Many layers cost the exporter ten seconds and more, whatever their width; the others are close to one that runs.
SLOW = [
    "cycleisp",
    "cycleisp-denoiser",
    "drunet",
    "drunet+pooled",
    "fdncnn",
    "grdn",
    "grdn+raw",
    "invdn",
    "invdn+dense",
    "ircnn",
    "mprnet",
    "nafnet",
    "nafnet-local",
    "pmrid",
    "raw-attention",
    "restormer",
    "restormer+biased",
    "ridnet",
    "scunet",
    "unprocessing-denoiser",
]
CASES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SMALL]


@pytest.fixture(autouse=True)
def narrow_tail(monkeypatch):
    """The U-Net of Neighbor2Neighbor ends 96 features wide whatever its arguments are; what holds at 8 holds there."""
    monkeypatch.setattr("shotnoise.networks.neighbor2neighbor_unet._TAIL", 8)


@pytest.fixture
def checkpoint(tmp_path):
    def make(name):
        torch.manual_seed(1)
        network = create(name.partition("+")[0], **SMALL[name]).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        save_checkpoint(tmp_path / f"{name}.safetensors", network, bare_card(network, name))
        return network, tmp_path / f"{name}.safetensors"

    return make


def inputs_for(network, picture):
    """What goes into the model file with a picture: the level, for RAW of every value, and random values."""
    inputs = {"noisy": picture}
    if network.level != "none":
        inputs["level"] = torch.linspace(0, 0.2, len(picture)).view(-1, 1, 1, 1)
        if network.channels == 4:
            inputs["level"] = inputs["level"] + 0.1 * picture
    if network.latent_shape is not None:
        channels, step = network.latent_shape
        inputs["z"] = torch.randn(len(picture), channels, *(side // step for side in picture.shape[2:]))
    return inputs


def test_every_network_has_a_small_variant_here():
    assert {name.partition("+")[0] for name in SMALL} == set(NETWORKS)


@pytest.mark.parametrize("name", CASES)
def test_onnx_equals_torch_at_other_sizes(name, checkpoint, tmp_path):
    network, file = checkpoint(name)
    done = export(file, tmp_path / "out.onnx")
    with torch.no_grad():  # random weights may give more than 0..1
        tried = inputs_for(network, torch.rand(1, network.channels, 64, 64))
        span = max(1.0, float(network(tried["noisy"], tried.get("level"), tried.get("z")).abs().max()))
    assert done.difference < 1e-5 * span
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    for batch, rows, columns in ((1, 1, 1), (3, 2, 5)):
        shape = (batch, network.channels, network.multiple * rows + 0, network.multiple * columns)
        if network.multiple < 4:
            shape = (batch, network.channels, 4 * rows, 4 * columns)
        inputs = inputs_for(network, torch.rand(shape))
        (result,) = session.run(["clean"], {name: value.numpy() for name, value in inputs.items()})
        expected = network(inputs["noisy"], inputs.get("level"), inputs.get("z")).detach().numpy()
        np.testing.assert_allclose(result, expected, atol=1e-5 * span)


def test_the_card_travels_inside(checkpoint, tmp_path):
    _, file = checkpoint("shotnet")
    score = Score(protocol="kodak24/gaussian25", psnr=31.0, ssim=0.9, noisy_psnr=20.2)
    export(file, tmp_path / "out.onnx", scores=[score])
    model = onnx.load(tmp_path / "out.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert set(metadata) == {CARD_KEY}
    card = Card.parse(metadata[CARD_KEY], "out.onnx")
    assert card.scores == [score]
    assert (card.kind, card.level, card.multiple, card.channels) == ("rgb", "sigma", 4, 3)
    assert card.halo == 22
    assert json.loads(metadata[CARD_KEY])["network"] == "shotnet"
    assert b"/src/" not in (tmp_path / "out.onnx").read_bytes(), "the file names paths of the machine that made it"


def test_fixed_size(checkpoint, tmp_path):
    _, file = checkpoint("shotnet")
    export(file, tmp_path / "fixed.onnx", size=(32, 48))
    shape = onnx.load(tmp_path / "fixed.onnx").graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim][2:] == [32, 48]
    # the file is usable on pictures of any other size: larger ones in tiles, smaller ones mirrored
    export(file, tmp_path / "roomy.onnx", size=(64, 80))
    export(file, tmp_path / "free.onnx")
    rng = np.random.default_rng(0)
    for shape in ((150, 170, 3), (64, 80, 3)):
        noisy = rng.integers(0, 256, shape, dtype=np.uint8)
        fixed, free = (Denoiser(tmp_path / name, level=10)(noisy) for name in ("roomy.onnx", "free.onnx"))
        assert np.abs(fixed.astype(int) - free).max() <= 1
    assert Denoiser(tmp_path / "roomy.onnx", level=10)(noisy[:9, :7]).shape == (9, 7, 3)
    with pytest.raises(ModelError, match="size 33x48: this network needs multiples of 4"):
        export(file, tmp_path / "odd.onnx", size=(33, 48))


class Sampling(Network):
    """Noisy with a correction and random detail."""

    multiple = 4
    latent_shape = (5, 2)
    channels = 3

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.detail = nn.ConvTranspose2d(5, 3, 2, stride=2)

    def forward(self, noisy, level=None, latent=None):
        return noisy + self.body(noisy) + self.detail(latent)


def test_random_values_are_an_input(tmp_path, monkeypatch):
    torch.manual_seed(0)
    sampling = Sampling().eval()
    card = Card(name="sampling", kind="rgb", channels=3, multiple=4, halo=1, latent={"channels": 5, "reduction": 2})
    monkeypatch.setattr("shotnoise.export.onnx.load_with_card", lambda _, network: (sampling, card))
    done = export("sampling", tmp_path / "free.onnx")
    assert done.difference < 1e-6
    shapes = {value.name: value.type.tensor_type.shape for value in onnx.load(done.path).graph.input}
    assert [*shapes] == ["noisy", "z"]
    assert [dim.dim_value for dim in shapes["z"].dim] == [0, 5, 0, 0]
    fixed = export("sampling", tmp_path / "fixed.onnx", size=(8, 12))
    assert [dim.dim_value for dim in onnx.load(fixed.path).graph.input[1].type.tensor_type.shape.dim][1:] == [5, 4, 6]
    noisy = torch.rand(3, 3, 8, 12)
    for z in (torch.randn(3, 5, 4, 6), torch.zeros(3, 5, 4, 6), 10 * torch.randn(3, 5, 4, 6)):
        expected = sampling(noisy, None, z).detach().numpy()
        for engine in ("onnxruntime", "openvino"):
            result = open_engine(done.path, engine).run(noisy.numpy(), None, z.numpy())
            np.testing.assert_allclose(result, expected, atol=1e-5 * np.abs(expected).max())


class Cancelling(Network):
    """Loses in float32 what double precision keeps."""

    def __init__(self, large):
        super().__init__()
        self.channels, self.large = 3, large

    def forward(self, noisy, level=None, latent=None):
        return (noisy + self.large) - self.large


def test_rounding_that_the_network_magnifies_is_no_mistake_of_the_graph():
    card = bare_card(create("dncnn", nc=8, nb=3, in_nc=3, out_nc=3), "net")
    assert _rounding(Cancelling(1.0), card, [(24, 32)]) == 1e-4
    spacing = float(np.spacing(np.float32(1e4)))
    assert 2 * spacing < _rounding(Cancelling(1e4), card, [(24, 32)]) < 6 * spacing


def test_one_level_is_not_enough_for_raw(tmp_path):
    network = create("shotnet", **SMALL["shotnet"], in_nc=4)
    save_checkpoint(tmp_path / "net.safetensors", network, bare_card(network, "net"))
    with pytest.raises(ModelError, match=r"ShotNet takes one noise level, .* one for each of 4 planes, .* root"):
        export(tmp_path / "net.safetensors", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_refusals_leave_nothing(checkpoint, tmp_path, monkeypatch):
    _, file = checkpoint("dncnn")
    with pytest.raises(ModelError, match=r"expected a file name that ends in \.onnx"):
        export(file, tmp_path / "out.bin")
    (tmp_path / "there.onnx").write_bytes(b"mine")
    with pytest.raises(ModelError, match="exists already"):
        export(file, tmp_path / "there.onnx", overwrite=False)
    assert (tmp_path / "there.onnx").read_bytes() == b"mine"
    with pytest.raises(ModelError, match=r"there\.onnx is no folder that may be written to; choose another place"):
        export(file, tmp_path / "there.onnx" / "deep" / "out.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ModelError, match=r"folder\.onnx: is a folder; expected the name of a file"):
        export(file, tmp_path / "folder.onnx")
    (tmp_path / "folder.onnx").rmdir()
    with pytest.raises(ModelError, match="size 0x64: this network needs multiples of 1; give such a size"):
        export(file, tmp_path / "out.onnx", size=(0, 64))
    monkeypatch.setattr("shotnoise.export.onnx._compare", lambda *_: (0.5, ((8, 8),)))
    with pytest.raises(ModelError, match=r"not written, the exported graph differs from torch by 0\.5"):
        export(file, tmp_path / "wrong.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dncnn.safetensors", "there.onnx"]
