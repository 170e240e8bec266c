"""Networks against the outputs and weights of their original implementations."""

import json

import pytest
import torch
from safetensors import safe_open

from shotnoise.errors import ModelError
from shotnoise.export import cost
from shotnoise.networks import create, load

pytestmark = pytest.mark.shared


def read(path):
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def state_of(tensors):
    return {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}


def test_dncnn(shared):
    tensors, metadata = read(shared / "golden" / "dncnn.safetensors")
    network = create("dncnn", **json.loads(metadata["args"])).eval()
    network.load_state_dict(state_of(tensors))
    for suffix in ("", "_b"):
        expected = tensors["output" + suffix]
        result = network(tensors["input" + suffix])
        assert float((result - expected).detach().abs().max()) <= 2e-5 * float(expected.abs().max())


def from_tensorflow(tensors):
    """<layer>/weight or <layer>/W, (rows, columns, in, out) -> <layer>.weight, (out, in, rows, columns)."""
    names = {"W": "weight", "b": "bias"}
    state = {}
    for key, value in state_of(tensors).items():
        layer, name = key.split("/")
        state[f"{layer}.{names.get(name, name)}"] = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
    return state


def test_noise2noise_unet(shared):
    tensors, _ = read(shared / "golden" / "noise2noise_unet_rgb.safetensors")
    network = create("noise2noise-unet").eval()
    network.load_state_dict(from_tensorflow(tensors))
    expected = tensors["output"]
    assert float((network(tensors["input"]) - expected).detach().abs().max()) <= 2e-5 * float(expected.abs().max())


def test_noise2noise_unet_for_mri(shared):
    """One channel; the original pads the odd picture at the bottom and right with black, -0.5, and crops it back."""
    tensors, _ = read(shared / "golden" / "noise2noise_unet_mri.safetensors")
    network = create("noise2noise-unet", in_nc=1).eval()
    network.load_state_dict(from_tensorflow(tensors))
    padded = torch.nn.functional.pad(tensors["input"][:, None], (0, 1, 0, 1), value=-0.5)
    expected = tensors["output"]
    result = network(padded)[:, 0, :-1, :-1]
    assert float((result - expected).detach().abs().max()) <= 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize("variant", ["", "_blindspot"])
def test_neighbor2neighbor_unet(shared, variant):
    tensors, metadata = read(shared / "golden" / f"neighbor2neighbor_unet{variant}.safetensors")
    state = state_of(tensors)
    network = create("neighbor2neighbor-unet", n_feature=int(metadata["n_feature"]), blindspot=bool(variant)).eval()
    network.load_state_dict(state)
    assert type(network).arguments_from(state) == {
        "in_nc": int(metadata["in_nc"]),
        "out_nc": int(metadata["out_nc"]),
        "n_feature": int(metadata["n_feature"]),
        "blindspot": metadata["blindspot"] == "True",
    }
    expected = tensors["output"]
    assert float((network(tensors["input"]) - expected).detach().abs().max()) <= 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize("name", ["dncnn_s25", "dncnn_color_blind"])
def test_published_weights_reproduce_the_reference_output(shared, name):
    network = load(shared / "weights" / f"{name}.safetensors")
    oracle, _ = read(shared / "weights" / "oracle_io.safetensors")
    expected = oracle[f"{name}/output"]
    with torch.no_grad():
        result = network(oracle[f"{name}/input"])
    assert float((result - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize("name", ["ffdnet_color", "ffdnet_gray", "pmrid"])
def test_other_architectures_are_not_mistaken(shared, name):
    with pytest.raises(ModelError, match="do not look like any of"):
        load(shared / "weights" / f"{name}.safetensors")


@pytest.mark.parametrize("name", ["pickle_payload.pth", "pickle_payload_legacy.pth"])
def test_payloads_are_refused_and_never_run(shared, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"pickle_payload.*nothing from a file is ever executed"):
        load(shared / "data" / "corrupt" / name)
    assert not (tmp_path / "UNPICKLED_MARKER").exists()


def test_bad_safetensors_header(shared):
    with pytest.raises(ModelError, match="not a usable"):
        load(shared / "data" / "corrupt" / "safetensors_bad_header.safetensors")


@pytest.mark.parametrize(
    ("name", "arguments", "parameters", "gmacs"),
    [
        ("dncnn", {"act_mode": "R"}, 555_137, 36.31),
        ("dncnn", {}, 557_057, 36.31),
        ("dncnn", {"in_nc": 3, "out_nc": 3, "nb": 20, "act_mode": "R"}, 668_227, 43.71),
        ("neighbor2neighbor-unet", {}, 1_259_475, 19.47),
        ("neighbor2neighbor-unet", {"n_feature": 16}, 252_019, None),
        ("neighbor2neighbor-unet", {"blindspot": True}, 1_425_651, 85.07),
        ("noise2noise-unet", {}, 991_203, 11.40),
        ("noise2noise-unet", {"in_nc": 1}, 988_609, 11.23),
        ("shotnet", {}, 939_212, 2.38),
    ],
)
def test_parameters_and_cost(name, arguments, parameters, gmacs):
    measured = cost(create(name, **arguments), height=256, width=256)
    assert measured.parameters == parameters
    if gmacs is not None:
        assert measured.macs / 1e9 == pytest.approx(gmacs, abs=0.01)


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(ModelError, match="no such checkpoint"):
        load(tmp_path / "none.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(ModelError, match="not a usable checkpoint"):
        load(tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="in this run folder"):
        load(tmp_path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="holds no state dict"):
        load(tmp_path / "list.pth")
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="unknown network 'unett'"):
        load(tmp_path / "a.pth", network="unett")
