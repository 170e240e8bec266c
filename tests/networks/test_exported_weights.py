"""The .onnx of `shotnoise export` is a checkpoint too."""

import numpy as np
import pytest
import torch

from shotnoise.bundled import BUNDLED, find_model
from shotnoise.card import Card
from shotnoise.engines import open_engine
from shotnoise.errors import ModelError
from shotnoise.export import export
from shotnoise.export.half import halve
from shotnoise.networks import create, load
from shotnoise.networks.card import measured
from shotnoise.networks.checkpoint import load_with_card, save_checkpoint
from tiny_models import write_model

onnx = pytest.importorskip("onnx")


@pytest.fixture
def trained(tmp_path):
    """A small network and its checkpoint."""
    arguments = {"widths": [8, 12], "encoder": [1, 1], "decoder": [1]}
    network = create("shotnet", **arguments).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    card = Card(name="a", title="b", noise="c", network="shotnet", arguments=arguments, **measured(network))
    save_checkpoint(tmp_path / "a.safetensors", network, card)

    return network, tmp_path / "a.safetensors"


@pytest.mark.parametrize("half", [False, True])
def test_weights_and_card_come_back(trained, half, tmp_path):
    network, file = trained
    exported = export(file, tmp_path / "a.onnx")
    made = halve(exported.path, tmp_path / "b.onnx", weights_only=True) if half else exported
    opened, card = load_with_card(made.path)
    assert (card.name, card.network, card.precision) == ("a", "shotnet", "fp32")
    for key, value in network.state_dict().items():
        torch.testing.assert_close(opened.state_dict()[key], value, rtol=1e-3 if half else 0, atol=1e-6 if half else 0)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models_open_and_do_what_their_engine_does(name):
    path = find_model(name)
    network, card = load_with_card(path)
    noisy = np.random.default_rng(0).random((1, card.channels, 64, 64), np.float32)
    level = None if card.level == "none" else np.full((1, 1, 1, 1), 0.1, np.float32)
    with torch.no_grad():
        result = network(torch.from_numpy(noisy), None if level is None else torch.from_numpy(level))
    np.testing.assert_allclose(open_engine(path).run(noisy, level), result.numpy(), atol=1e-4)


def test_safetensors_are_never_taken_for_onnx(tmp_path):
    """Their first byte is that of a length: one of 32 is the byte with which ONNX begins."""
    safetensors = pytest.importorskip("safetensors.torch")
    state = create("dncnn", nb=3, nc=4).state_dict()
    first = set()
    for length in range(0, 400, 8):
        safetensors.save_file(state, tmp_path / "a.safetensors", metadata={"note": "x" * length})
        first.add((tmp_path / "a.safetensors").read_bytes()[0])
        assert load(tmp_path / "a.safetensors", network="dncnn").channels == 1
    assert 8 in first


def test_what_cannot_be_a_checkpoint_says_why(tmp_path):
    rounded = find_model("photo", "int8")
    with pytest.raises(ModelError, match="its weights are rounded to int8; take the model that it was made of"):
        load(rounded)
    with pytest.raises(ModelError, match="carries no shotnoise card"):
        load(write_model(tmp_path / "foreign.onnx", with_card=False))
    with pytest.raises(ModelError, match="holds no weights under the names of a network"):
        load(write_model(tmp_path / "handmade.onnx"))
    proto = onnx.load(find_model("photo"))
    proto.graph.initializer[0].dims[0] += 1
    onnx.save(proto, tmp_path / "damaged.onnx")
    with pytest.raises(ModelError, match="its weights cannot be read; export the model again"):
        load(tmp_path / "damaged.onnx")
