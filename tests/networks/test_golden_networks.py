"""Networks against the outputs and weights of their original implementations."""

import json

import pytest
import torch
from safetensors import safe_open

from shotnoise.errors import ModelError
from shotnoise.export import cost
from shotnoise.networks import create, load
from shotnoise.networks.checkpoint import _with_aliases

pytestmark = pytest.mark.shared


def read(path):
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def state_of(tensors):
    return {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}


def without(arguments, *left_out, **changed):
    """Arguments of the original without those that ours has not, which must be off, or have another name."""
    assert not any(arguments[name] for name in left_out if name != "LayerNorm_type")
    return {name: value for name, value in arguments.items() if name not in left_out} | changed


# Network, golden file, what its arguments are called here, and how the original continues odd pictures.
GOLDEN = [
    ("dncnn", "dncnn", lambda args: args, None),
    ("drunet", "drunet", lambda args: args, None),
    ("fdncnn", "fdncnn", lambda args: args, None),
    ("ffdnet", "ffdnet", lambda args: args, "replicate"),
    ("grdn", "grdn", lambda args: args | {"relu": False, "rgb_range": 1, "bgr": False}, None),
    ("ircnn", "ircnn", lambda args: {"in_nc": args["in_nc"], "nc": args["nc"]}, None),
    ("mprnet", "mprnet", lambda args: args, None),
    ("nafnet", "nafnet", lambda args: args, "constant"),
    (
        "nafnet-local",
        "nafnet_local",
        lambda args: without(args, "fast_imp", train_size=args["train_size"][2:]),
        "constant",
    ),
    (
        "restormer",
        "restormer",
        lambda args: without(args, "dual_pixel_task", "LayerNorm_type", layer_norm=args["LayerNorm_type"]),
        None,
    ),
    ("ridnet", "ridnet", lambda args: args, None),
    ("scunet", "scunet", lambda args: without(args, "drop_path_rate"), "replicate"),
]


@pytest.mark.parametrize(("name", "file", "translate", "padding"), GOLDEN, ids=[case[1] for case in GOLDEN])
def test_golden(shared, name, file, translate, padding):
    tensors, metadata = read(shared / "golden" / f"{file}.safetensors")
    state = state_of(tensors)
    arguments = translate(json.loads(metadata["args"]))
    network = create(name, **arguments).eval()
    # Some files keep a parameter with several names only once.
    network.load_state_dict(_with_aliases(state, network))
    white = network.rgb_range if name == "ridnet" else 1
    for suffix in sorted(key.removeprefix("input") for key in tensors if key.startswith("input")):
        noisy, level = tensors[f"input{suffix}"] / white, tensors.get(f"noise_level{suffix}")
        if noisy.shape[1] > network.channels:
            noisy, level = noisy[:, : network.channels], noisy[:, network.channels :]
        height, width = noisy.shape[2:]
        if padding:
            step = network.multiple
            noisy = torch.nn.functional.pad(noisy, (0, -width % step, 0, -height % step), mode=padding)
        expected = tensors[f"output{suffix}"] / white
        with torch.no_grad():
            result = network(noisy, level)[:, :, :height, :width]
        assert float((result - expected).abs().max()) <= 2e-5 * float(expected.abs().max())
    read_off = type(network).arguments_from(state)
    assert read_off is not None
    unseen = ("rgb_range", "bgr")  # the published ones are assumed
    assert {key: value for key, value in read_off.items() if key not in unseen}.items() <= arguments.items()


def test_mprnet_makes_a_picture_in_every_stage(shared):
    tensors, metadata = read(shared / "golden" / "mprnet.safetensors")
    state = state_of(tensors)
    network = create("mprnet", **json.loads(metadata["args"])).eval()
    network.load_state_dict(_with_aliases(state, network))
    for suffix in ("", "_b"):
        with torch.no_grad():
            results = network.stages(tensors[f"input{suffix}"])
        for result, stage in zip(results, ("_stage1", "_stage2", ""), strict=True):
            expected = tensors[f"output{stage}{suffix}"]
            assert float((result - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize("kind", ["raw", "rgb"])
def test_cycleisp_denoisers(shared, kind):
    """The original is given the variance, ours the standard deviation."""
    tensors, metadata = read(shared / "golden" / f"cycleisp_denoise_{kind}_small.safetensors")
    state = state_of(tensors)
    sizes = {name: int(metadata[name]) for name in ("n_feats", "num_rrg", "num_dab", "reduction")}
    arguments = {"in_nc": 4, "level": "sigma"} if kind == "raw" else {"in_nc": 3, "level": "none"}
    network = create("cycleisp-denoiser", **arguments, **sizes).eval()
    network.load_state_dict(_with_aliases(state, network))
    assert type(network).arguments_from(state) == arguments | sizes
    assert sum(parameter.numel() for parameter in network.parameters()) == int(metadata["params"])
    variance = tensors.get("input_variance")
    with torch.no_grad():
        result = network(tensors["input"], None if variance is None else variance.sqrt())
    torch.testing.assert_close(result, tensors["output"], atol=5e-6, rtol=0)


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


@pytest.mark.parametrize("name", ["dncnn_s25", "dncnn_color_blind", "ffdnet_color", "ffdnet_gray", "pmrid"])
def test_published_weights_reproduce_the_reference_output(shared, name):
    network = load(shared / "weights" / f"{name}.safetensors")
    oracle, _ = read(shared / "weights" / "oracle_io.safetensors")
    expected = oracle[f"{name}/output"]
    with torch.no_grad():
        level = None if network.level == "none" else torch.full((1, 1, 1, 1), float(oracle[f"{name}/noise_level"]))
        result = network(oracle[f"{name}/input"], level)
    assert float((result - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


def test_stacks_of_convolutions_are_told_apart(tmp_path):
    """FFDNet, FDnCNN, DnCNN and IRCNN have the same key names; only seven plain layers leave a doubt."""
    cases = {
        "dncnn": {"nb": 6, "nc": 4, "act_mode": "R"},
        "fdncnn": {"nb": 5, "nc": 4, "in_nc": 2, "out_nc": 1},
        "ffdnet": {"nb": 5, "nc": 4, "in_nc": 1, "out_nc": 1},
    }
    for name, arguments in cases.items():
        network = create(name, **arguments)
        torch.save(network.state_dict(), tmp_path / "net.pth")
        assert type(load(tmp_path / "net.pth")) is type(network)
    torch.save(create("ircnn", nc=4).state_dict(), tmp_path / "net.pth")
    with pytest.raises(ModelError, match="fit the networks dncnn and ircnn; name one of them as the network"):
        load(tmp_path / "net.pth")
    assert type(load(tmp_path / "net.pth", network="ircnn")).__name__ == "IRCNN"
    assert type(load(tmp_path / "net.pth", network="dncnn")).__name__ == "DnCNN"


def test_strangers_are_not_mistaken(tmp_path):
    torch.save({"stem.weight": torch.ones(3, 3), "head.weight": torch.ones(3)}, tmp_path / "net.pth")
    with pytest.raises(ModelError, match="its 2 tensors do not look like any of cycleisp, cycleisp-denoiser, dncnn"):
        load(tmp_path / "net.pth")


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
        ("drunet", {}, 32_640_960, 138.78),
        ("drunet", {"in_nc": 2, "out_nc": 1}, 32_638_656, 138.63),
        ("drunet", {"bias": True}, 32_653_635, None),
        ("fdncnn", {}, 668_803, 43.75),
        ("fdncnn", {"in_nc": 2, "out_nc": 1}, 666_497, 43.60),
        ("ffdnet", {}, 852_108, 13.94),
        ("ffdnet", {"in_nc": 1, "out_nc": 1, "nc": 64, "nb": 15}, 485_316, 7.94),
        ("ircnn", {}, 188_163, 12.31),
        ("ridnet", {}, 1_499_371, 97.94),
        ("nafnet", {}, 29_159_715, 16.05),
        ("nafnet", {"img_channel": 4}, 29_160_292, 16.08),
        ("nafnet", {"width": 64}, 115_982_915, 63.24),
        (
            "nafnet-local",
            {"middle_blk_num": 1, "enc_blk_nums": [1, 1, 1, 28], "dec_blk_nums": [1] * 4},
            17_111_907,
            None,
        ),
        ("scunet", {}, 17_946_072, 78.74),
        ("scunet", {"in_nc": 1}, 17_943_768, 78.59),
        ("cycleisp", {}, 7_451_787, 273.24),
        ("cycleisp-denoiser", {}, 2_838_404, 184.37),
        ("cycleisp-denoiser", {"in_nc": 3, "level": "none"}, 2_834_947, 184.14),
        ("cycleisp-denoiser", {"level": "none"}, 2_836_100, None),
        ("grdn", {}, 34_412_267, 564.00),
        ("grdn", {"numoffilters": 64}, 22_024_682, 361.01),
        ("grdn", {"input_channel": 1, "numofmodules": 0, "numoffilters": 67, "relu": True}, 24_135_246, 395.48),
        ("mprnet", {}, 15_741_025, 572.89),
        ("mprnet", {"n_feat": 96}, 20_127_073, None),
        ("mprnet", {"n_feat": 40, "scale_unetfeats": 20, "scale_orsnetfeats": 16}, 3_637_249, None),
        ("mprnet", {"in_c": 4, "out_c": 4, "n_feat": 64}, 11_925_377, None),
        ("restormer", {}, 26_111_668, 154.88),
        ("restormer", {"inp_channels": 1, "out_channels": 1}, 26_109_076, 154.71),
        ("restormer", {"layer_norm": "WithBias"}, 26_126_644, 154.88),
        ("unprocessing-denoiser", {}, 11_776_708, 19.55),
        ("pmrid", {}, 1_031_908, 0.981),
        ("raw-attention", {}, 381_556, 2.58),
        ("raw-unet", {}, 9_763_364, 19.08),
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
