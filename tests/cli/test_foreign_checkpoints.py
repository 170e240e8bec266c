"""Checkpoints of others on the command line: denoise, evaluate and export, and how to name what is inside."""

import json

import numpy as np
import pytest
import torch

from shotnoise import open_image, save_image
from shotnoise.cli import run
from shotnoise.networks import create


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    save_image(rng.integers(0, 256, (40, 52), dtype=np.uint8), folder / "one.png")
    return folder


@pytest.fixture
def several(tmp_path):
    """Two IRCNNs for gray in one file, as tensors that a DnCNN could have too."""
    states = {}
    for index in range(2):
        torch.manual_seed(index)
        states[str(index)] = create("ircnn", in_nc=1, nc=4).state_dict()
    torch.save(states, tmp_path / "ircnn.pth")
    return tmp_path / "ircnn.pth"


def test_everything_runs_once_it_is_named(pictures, several, tmp_path, capsys):
    named = ["--network", "ircnn:1"]
    assert (
        run(["denoise", str(pictures / "one.png"), "-o", str(tmp_path / "a.png"), "--model", str(several), *named]) == 0
    )
    report = tmp_path / "report.json"
    evaluated = ["evaluate", str(several), "--protocol", "folder/gaussian25", "--data", str(pictures)]
    assert run([*evaluated, *named, "--json", str(report)]) == 0
    assert json.loads(report.read_text())["card"]["network"] == "ircnn"
    assert run(["export", str(several), "-o", str(tmp_path / "out.onnx"), *named]) == 0
    onnx = ["denoise", str(pictures / "one.png"), "-o", str(tmp_path / "b.png"), "--model", str(tmp_path / "out.onnx")]
    assert run(onnx) == 0
    first, second = (open_image(tmp_path / name).pixels.astype(int) for name in ("a.png", "b.png"))
    assert np.abs(first - second).max() <= 1
    assert run([*onnx, "--overwrite", *named]) == 1
    assert "the network 'ircnn:1' is given, and out.onnx says itself what it is" in capsys.readouterr().err


def test_another_name_is_another_result(pictures, several, tmp_path):
    """A second run sees that the network was exchanged, although the file is the same."""
    for name in ("ircnn:0", "ircnn:1", "dncnn:1"):
        command = ["denoise", str(pictures), "-o", str(tmp_path / "out"), "--model", str(several), "--network", name]
        assert run(command) == 0
    results = []
    for name in ("ircnn:0", "dncnn:1"):
        target = str(tmp_path / f"{name.replace(':', '')}.png")
        assert (
            run(["denoise", str(pictures / "one.png"), "-o", target, "--model", str(several), "--network", name]) == 0
        )
        results.append(open_image(target).pixels)
    assert np.any(results[0] != results[1])
    assert np.array_equal(open_image(tmp_path / "out" / "one.png").pixels, results[1])


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ([], "holds 2 networks, 0, 1; name one of them after a colon"),
        (["--network", ":1"], "fit the networks dncnn and ircnn; name one of them as the network: --network dncnn"),
        (["--network", "ircn"], "unknown network 'ircn': did you mean 'ircnn'?"),
        (["--network", "pmrid"], "do not fit the network 'pmrid': 141 missing"),
    ],
)
@pytest.mark.parametrize("verb", ["denoise", "evaluate", "export"])
def test_what_to_say_instead(pictures, several, tmp_path, capsys, verb, named, words):
    command = {
        "denoise": ["denoise", str(pictures / "one.png"), "--model", str(several)],
        "evaluate": ["evaluate", str(several), "--protocol", "folder/gaussian25", "--data", str(pictures)],
        "export": ["export", str(several), "-o", str(tmp_path / "out.onnx")],
    }[verb]
    assert run([*command, *named]) == 1
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.onnx").exists()
