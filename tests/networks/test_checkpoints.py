"""Checkpoints as people publish them: every container, every wrapper, nothing executed, words for what does not fit."""

import io
import json
import logging
import pickle
import zipfile

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from safetensors.torch import save_file

from shotnoise.errors import ModelError
from shotnoise.networks import NETWORKS, create, load
from shotnoise.networks.checkpoint import _search


def tiny(name="dncnn", seed=0, **arguments):
    torch.manual_seed(seed)
    arguments = arguments or {"dncnn": {"nb": 4, "nc": 4, "act_mode": "R"}, "ffdnet": {"nb": 3, "nc": 6}}.get(name, {})
    return create(name, **arguments).eval()


def stream(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def same(file, original, **options):
    """Whether a file gives back the weights of a network, which is returned."""
    again = load(file, **options)
    assert type(again) is type(original)
    assert not again.training
    assert list(again.state_dict()) == list(original.state_dict())
    for key, value in original.state_dict().items():
        assert again.state_dict()[key].dtype == value.dtype, key
        torch.testing.assert_close(again.state_dict()[key], value, atol=0, rtol=0)
    return again


# Containers.


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckp", ".ckpt", ".pkl", ".tar", ".bin", ""])
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_under_any_suffix(tmp_path, suffix, zipped):
    network = tiny()
    (tmp_path / f"net{suffix}").write_bytes(
        stream(network.state_dict(), _use_new_zipfile_serialization=zipped, pickle_protocol=2)
    )
    same(tmp_path / f"net{suffix}", network)


def test_safetensors_of_others(tmp_path):
    network = tiny("ffdnet")
    save_file({f"module.{key}": value for key, value in network.state_dict().items()}, tmp_path / "net.safetensors")
    same(tmp_path / "net.safetensors", network)


@pytest.mark.parametrize("inner", ["net.pkl", "models/net.v1.pth", "net.safetensors", "net.mat"])
def test_a_file_in_an_archive(tmp_path, inner):
    network = tiny()
    content = stream({"state_dict": network.state_dict()})
    if inner.endswith(".safetensors"):
        content = safetensors_bytes(network.state_dict())
    if inner.endswith(".mat"):
        write_mat(tmp_path / "net.mat", network)
        content = (tmp_path / "net.mat").read_bytes()
    with zipfile.ZipFile(tmp_path / "net.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "how to use this")
        archive.writestr("__MACOSX/net.pkl", "what a file manager leaves")
        archive.writestr(inner, content)
    same(tmp_path / "net.zip", network)


def test_several_files_in_an_archive(tmp_path):
    networks = [tiny(seed=0), tiny(seed=1)]
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        for sigma, network in zip((15, 25), networks, strict=True):
            archive.writestr(f"models/sigma={sigma}.pkl", stream(network.state_dict()))
    with pytest.raises(ModelError, match=r"holds 2 networks, sigma=15, sigma=25; name one .* --network dncnn:sigma=15"):
        load(tmp_path / "net.zip")
    same(tmp_path / "net.zip", networks[1], network=":sigma=25")


def test_numbers_of_numpy_beside_the_weights(tmp_path):
    """Best scores and the like; the restricted reader refuses even these unless told that they are numbers."""
    network = tiny()
    (tmp_path / "net.pth").write_bytes(
        stream({"state_dict": network.state_dict(), "best": np.float64(31.2), "epochs": np.arange(3), "step": 7})
    )
    same(tmp_path / "net.pth", network)
    arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    (tmp_path / "arrays.pth").write_bytes(stream(arrays))
    same(tmp_path / "arrays.pth", network)


# Containers that are refused.


class Payload:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (open, (str(self.place), "w"))


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain pickle", "in an archive", "in an array"])
def test_no_code_runs(tmp_path, kind):
    marker = tmp_path / "MARKER"
    content = {"state_dict": tiny().state_dict(), "extra": Payload(marker)}
    if kind == "in an array":
        content["extra"] = np.array([Payload(marker)], dtype=object)
    data = (
        pickle.dumps(content)
        if kind == "plain pickle"
        else stream(content, _use_new_zipfile_serialization=kind != "legacy")
    )
    if kind == "in an archive":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("net.pkl", data)
        data = buffer.getvalue()
    (tmp_path / "net.pth").write_bytes(data)
    with pytest.raises(ModelError, match="nothing from a file is ever executed"):
        load(tmp_path / "net.pth")
    assert not marker.exists()


def test_a_whole_module_is_named(tmp_path):
    (tmp_path / "net.pth").write_bytes(stream(torch.nn.Conv2d(1, 1, 3)))
    with pytest.raises(ModelError, match=r"it holds 'torch\.nn\.modules\.conv\.Conv2d'.* ask for its state dict alone"):
        load(tmp_path / "net.pth")


def test_archives_that_are_none_of_ours(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    with pytest.raises(ModelError, match="the archive holds no checkpoint"):
        load(tmp_path / "empty.zip")
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
        archive.writestr("net.pkl", (tmp_path / "empty.zip").read_bytes())
    with pytest.raises(ModelError, match="an archive in an archive"):
        load(tmp_path / "nested.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net.pkl", bytes(2**25))
    with pytest.raises(ModelError, match="would grow to more than 30 times its size"):
        load(tmp_path / "bomb.zip")
    data = stream(tiny().state_dict())
    for name, cut in (("half.pth", data[: len(data) // 2]), ("noise.pth", b"\x80\x02" + bytes(100))):
        (tmp_path / name).write_bytes(cut)
        with pytest.raises(ModelError, match="not a usable checkpoint"):
            load(tmp_path / name)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ModelError, match=r"not a usable checkpoint \(damaged, or of another kind\)"):
        load(tmp_path / "picture.png")
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(200))
    with pytest.raises(ModelError, match=r"a MATLAB file of version 5; expected version 7\.3"):
        load(tmp_path / "old.mat")


def test_sizes_that_the_file_does_not_hold(tmp_path):
    """A few bytes may claim any shape; believing them would ask for memory without bounds."""
    state = tiny().state_dict()
    state["model.0.weight"] = torch.ones(1).expand(2**40, 1, 3, 3)
    (tmp_path / "wide.pth").write_bytes(stream(state))
    with pytest.raises(ModelError, match=r"'model\.0\.weight' says 1099511627776x1x3x3, and the file does not hold"):
        load(tmp_path / "wide.pth")
    state["model.0.weight"] = torch.ones(2**40, 0, 3, 3)
    (tmp_path / "empty.pth").write_bytes(stream(state))
    with pytest.raises(ModelError, match="the file does not hold as much"):
        load(tmp_path / "empty.pth")
    # Honest tensors that imply a network far larger than themselves.
    state["model.0.weight"] = torch.ones(2**20, 1, 3, 3)
    (tmp_path / "implied.pth").write_bytes(stream(state))
    with pytest.raises(ModelError, match="of another size"):
        load(tmp_path / "implied.pth")


def test_tensors_of_another_kind(tmp_path):
    state = tiny().state_dict()
    (tmp_path / "net.pth").write_bytes(stream(state | {"model.0.bias": torch.ones(4).to_sparse()}))
    with pytest.raises(ModelError, match=r"'model\.0\.bias' is a sparse or quantised tensor"):
        load(tmp_path / "net.pth")
    (tmp_path / "net.pth").write_bytes(stream(state | {"model.0.bias": torch.ones(4, dtype=torch.int32)}))
    with pytest.raises(ModelError, match=r"1 of whole numbers \(model\.0\.bias\)"):
        load(tmp_path / "net.pth")


# What is around the network.


WRAPPERS = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": s}}}},
    "params": lambda s: {"params": s},
    "model": lambda s: {"model": s, "optim": s},
    "twice": lambda s: {"checkpoint": {"net": {"params": s}}},
    "generator": lambda s: {"generator": s, "discriminator": {"conv.weight": torch.ones(2)}},
    "module.": lambda s: {f"module.{k}": v for k, v in s.items()},
    "module. of compiled": lambda s: {"model_state_dict": {f"module._orig_mod.{k}": v for k, v in s.items()}},
    "net_g.": lambda s: {"state_dict": {f"net_g.{k}": v for k, v in s.items()} | {"vgg.0.weight": torch.ones(2)}},
    "netG.": lambda s: {f"netG.{k}": v for k, v in s.items()} | {"netD.head.weight": torch.ones(2)},
    "averaged by torch": lambda s: {"n_averaged": torch.tensor(4)} | {f"module.{k}": v for k, v in s.items()},
    "counted": lambda s: s | {"total_ops": torch.zeros(1), "model.total_params": torch.zeros(1)},
    "the same dictionary twice": lambda s: {"state_dict": s, "model": s},
    "half": lambda s: {k: v.half() for k, v in s.items()},
    "bfloat16": lambda s: {k: v.bfloat16() for k, v in s.items()},
    "double": lambda s: {k: v.double() for k, v in s.items()},
}


@pytest.mark.parametrize("name", ["dncnn", "ffdnet"])
@pytest.mark.parametrize("around", WRAPPERS)
def test_wrappers_and_prefixes(tmp_path, around, name):
    network = tiny(name)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(value.bfloat16().half())  # exact in all types
    (tmp_path / "net.pth").write_bytes(stream(WRAPPERS[around](network.state_dict())))
    same(tmp_path / "net.pth", network)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_found_in_wrapping(tmp_path, name):
    """In its published configuration, from the outside of a training program to the weights."""
    with torch.device("meta"):
        outline = create(name)
    state = {f"net.{key}": value for key, value in outline.state_dict().items()}
    found = list(_search({f"state_dict.{key}": value for key, value in state.items()}, None))
    assert len(found) == 1
    assert found[0].place == ("state_dict", "net")
    again = found[0].fits.get(name)
    if again is None:  # a variant of another network, or one with its tensors
        again = NETWORKS.resolve(name).arguments_from(outline.state_dict())
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in create(name, **again).state_dict().items()}
    assert shapes == {key: value.shape for key, value in outline.state_dict().items()}


@pytest.mark.parametrize(
    ("plain", "average"),
    [("params", "params-ema"), ("state_dict", "state_dict_ema"), ("model", "ema_model"), ("net_g", "netG_ema")],
)
def test_the_moving_average_is_taken_and_said(tmp_path, caplog, plain, average):
    now, ema = tiny(seed=0), tiny(seed=1)
    (tmp_path / "net.pth").write_bytes(stream({plain: now.state_dict(), average: ema.state_dict()}))
    with caplog.at_level(logging.WARNING, "shotnoise"):
        same(tmp_path / "net.pth", ema)
    assert f"took the moving average '{average}' and not {plain}" in caplog.text
    same(tmp_path / "net.pth", now, network=f":{plain}")
    same(tmp_path / "net.pth", now, network=f"dncnn:{plain}")
    with pytest.raises(ModelError, match=f"no part 'raw' with a network: .*{average}"):
        load(tmp_path / "net.pth", network=":raw")


def test_one_network_per_noise_level(tmp_path):
    """As the 25 of IRCNN are published."""
    networks = {str(index): tiny("ircnn", seed=index, nc=4) for index in range(3)}
    (tmp_path / "net.pth").write_bytes(stream({key: network.state_dict() for key, network in networks.items()}))
    with pytest.raises(ModelError, match=r"holds 3 networks, 0, 1, 2; name one of them after a colon"):
        load(tmp_path / "net.pth", network="ircnn")
    same(tmp_path / "net.pth", networks["2"], network="ircnn:2")
    with pytest.raises(ModelError, match="fit the networks dncnn and ircnn; name one"):
        load(tmp_path / "net.pth", network=":2")


# What does not fit.


def test_missing_and_unexpected_in_one_line(tmp_path):
    state = create("nafnet", width=4, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1]).state_dict()
    for key in [key for key in state if "norm2" in key]:
        state[f"old_{key}"] = state.pop(key)
    state["ending.bias"] = torch.ones(7)
    (tmp_path / "net.pth").write_bytes(stream(state))
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "net.pth")
    text = str(caught.value)
    assert "\n" not in text
    assert "do not fit the network 'nafnet': 6 missing (encoders.0.0.norm2.weight, encoders.0.0.norm2.bias, " in text
    assert ", ...), 6 unexpected (old_encoders.0.0.norm2.weight, " in text
    assert text.endswith("1 of another size (ending.bias 7 instead of 3)")


def test_naming_a_network_says_what_is_missing(tmp_path):
    state = {f"net.{key}": value for key, value in tiny().state_dict().items()}
    (tmp_path / "net.pth").write_bytes(stream({"state_dict": state}))
    with pytest.raises(ModelError, match=r"do not fit the network 'pmrid': 141 missing \(conv0\.conv\.weight, "):
        load(tmp_path / "net.pth", network="pmrid")
    with pytest.raises(ModelError, match=r"fit the network 'nafnet': \d+ missing .* 8 unexpected \(state_dict.net.m"):
        load(tmp_path / "net.pth", network="nafnet")


def test_strangers_are_described(tmp_path):
    (tmp_path / "net.pth").write_bytes(stream({"stem.weight": torch.ones(8, 3, 3, 3), "a": torch.ones(())}))
    with pytest.raises(ModelError, match=r"\(stem\.weight 8x3x3x3, a one number\); name one .* --network NAME"):
        load(tmp_path / "net.pth")


def test_a_part_of_a_stranger_is_not_a_network(tmp_path):
    """A known stack inside something larger must not be taken for the whole."""
    state = {f"denoise_block.{key}": value for key, value in tiny().state_dict().items()}
    (tmp_path / "net.pth").write_bytes(stream(state | {"fusion.weight": torch.ones(4, 4, 1, 1)}))
    with pytest.raises(ModelError, match="do not look like any of"):
        load(tmp_path / "net.pth")


def test_counters_of_batch_norm_may_be_missing(tmp_path):
    network = tiny("dncnn", nb=4, nc=4)
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    (tmp_path / "net.pth").write_bytes(stream(state))
    same(tmp_path / "net.pth", network)


# MATLAB.


def write_mat(path, network, *, halved=False, norms=(), cell=True):
    """A file as MatConvNet writes it: axes reversed, a last axis of size 1 dropped, cells as references."""
    state = network.state_dict()
    convs = sorted({int(key.split(".")[1]) for key in state if state[key].ndim == 4})

    def phases(count):
        return [4 * group + phase for group in range(count // 4) for phase in (0, 2, 1, 3)]

    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")

        def put(values):
            values = np.asarray(values, np.float32)
            while values.ndim > 2 and values.shape[-1] == 1:  # MATLAB keeps no last axes of size 1
                values = values[..., 0]
            return refs.create_dataset(str(len(refs)), data=values.T).ref

        def layer(kind, weights=None):
            group = refs.create_group(str(len(refs)))
            group["type"] = np.array([[ord(letter)] for letter in kind], np.uint16)
            if weights is not None:
                group["weights"] = np.array([[put(part)] for part in weights], h5py.ref_dtype)
            return group.ref

        layers = [layer("SubP"), layer("concat")] if halved else []
        for number, index in enumerate(convs):
            weight, bias = (state[f"model.{index}.{part}"].numpy() for part in ("weight", "bias"))
            if halved and number == 0:
                weight = weight[:, [*phases(weight.shape[1]), weight.shape[1] - 1]]
            if halved and index == convs[-1]:
                weight, bias = weight[phases(len(bias))], bias[phases(len(bias))]
            layers.append(layer("conv", [weight.transpose(2, 3, 1, 0), bias[:, None]]))
            if number in norms:
                layers.append(layer("bnorm", norms[number]))
            if index != convs[-1]:
                layers.append(layer("relu"))
        layers += [layer("SubP")] if halved else []
        file.create_group("net")["layers"] = np.array([[ref] for ref in layers], h5py.ref_dtype)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["dncnn", "ffdnet"])
def test_matconvnet(tmp_path, name, channels):
    arguments = {"in_nc": channels, "out_nc": channels, "nc": 8, "nb": 4, "act_mode": "R"}
    network = tiny(name, **arguments)
    write_mat(tmp_path / "net.mat", network, halved=name == "ffdnet")
    same(tmp_path / "net.mat", network)


def test_matconvnet_with_batch_norm(tmp_path):
    """The training files: no bias in front of the norm, and the root of variance plus epsilon as the deviation."""
    torch.manual_seed(0)
    network = create("dncnn", nb=4, nc=5).eval()
    norms = {}
    with torch.no_grad():
        for number, index in ((1, 3), (2, 6)):
            conv, norm = network.model[index - 1], network.model[index]
            conv.bias.zero_()
            for value in (norm.weight, norm.bias, norm.running_mean):
                value.normal_()
            norm.running_var.uniform_(0.5, 2)
            moments = torch.stack((norm.running_mean, (norm.running_var + norm.eps).sqrt()), 1)
            norms[number] = [norm.weight.detach()[:, None], norm.bias.detach()[:, None], moments]
    write_mat(tmp_path / "net.mat", network, norms=norms)
    merged = load(tmp_path / "net.mat")
    assert "model.2.weight" in merged.state_dict()
    noisy = torch.rand(1, 1, 20, 20)
    torch.testing.assert_close(merged(noisy), network(noisy), atol=1e-6, rtol=1e-5)


def test_matlab_files_of_others(tmp_path):
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(ModelError, match=r"a MATLAB file without net\.layers"):
        load(tmp_path / "other.mat")
    with h5py.File(tmp_path / "huge.mat", "w") as file:
        file.create_group("net").create_dataset("layers", (2**40,), h5py.ref_dtype, chunks=(1024,))
    with pytest.raises(ModelError, match="GB in a small file"):
        load(tmp_path / "huge.mat")
    write_mat(tmp_path / "net.mat", tiny())
    data = (tmp_path / "net.mat").read_bytes()
    (tmp_path / "half.mat").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="not a usable MATLAB file"):
        load(tmp_path / "half.mat")
    # Types of layers that lie in another file.
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    with h5py.File(tmp_path / "net.mat", "r+") as file:
        layer = file[file["net/layers"][0, 0]]
        del layer["type"]
        layer.create_dataset("type", (8, 1), np.uint16, external=[(str(tmp_path / "secret.bin"), 0, 16)])
    with pytest.raises(ModelError, match="points at other files"):
        load(tmp_path / "net.mat")


# The real weights.


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ffdnet_color", "ffdnet_gray", "dncnn_s25", "dncnn_color_blind"])
def test_published_weights_through_matlab(shared, tmp_path, name):
    network = load(shared / "weights" / f"{name}.safetensors")
    write_mat(tmp_path / "net.mat", network, halved=name.startswith("ffdnet"))
    same(tmp_path / "net.mat", network)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["dncnn_s25", "ffdnet_color", "pmrid"])
@pytest.mark.parametrize("legacy", [True, False])
def test_published_weights_as_their_authors_keep_them(shared, tmp_path, name, legacy):
    """The conversions hold the arrays and a header of metadata; the originals are flat state dicts of torch."""
    network = load(shared / "weights" / f"{name}.safetensors")
    (tmp_path / "net.ckp").write_bytes(stream(network.state_dict(), _use_new_zipfile_serialization=not legacy))
    same(tmp_path / "net.ckp", network)


def test_metadata_of_strangers_is_no_card(tmp_path):
    network = tiny()
    save_file(network.state_dict(), tmp_path / "net.safetensors", metadata={"arch": "DnCNN", "args": json.dumps({})})
    same(tmp_path / "net.safetensors", network)
