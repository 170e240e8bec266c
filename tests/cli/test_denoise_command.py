"""`shotnoise denoise`: names on stdout, the rest on stderr, and the exit status."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image as Pillow

import shotnoise.cli as cli
from shotnoise.table import Table
from tiny_models import write_model

ENTRY = ("shotnoise.cli.denoise:denoise", "pictures")


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "VERBS", Table("command", {"denoise": ENTRY, "x": ENTRY}))
    write_model(tmp_path / "m.onnx", shape="blur")
    write_model(tmp_path / "sigma.onnx", level="sigma")
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        Pillow.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(name)


def denoise(capsys, *arguments, model="m.onnx"):
    status = cli.run(["denoise", *arguments, "--model", model])
    out, err = capsys.readouterr()
    return status, out, err


def test_one_picture(capsys, tmp_path):
    status, out, err = denoise(capsys, "a.png")
    assert (status, out) == (0, "a_clean.png\n")
    assert "a.png -> a_clean.png: noise" in err
    assert "1 denoised in" in err
    assert "onnxruntime (chosen for .onnx files; on the CPU" in err
    assert (tmp_path / "a_clean.png").is_file()
    status, out, err = denoise(capsys, "a.png")
    assert (status, out) == (0, "a_clean.png\n")
    assert "skipped, is done already" in err


def test_some_failed(capsys):
    status, out, err = denoise(capsys, "a.png", "nope.png", "m.onnx", "-o", "out")
    assert status == 1
    assert out == "out/a.png\n"
    lines = err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 2
    assert "1 denoised, 2 failed" in lines[-1]


def test_json_is_one_document(capsys):
    status, out, err = denoise(capsys, "a.png", "nope.png", "--json", "--strength", "0.05")
    assert status == 1
    content = json.loads(out)
    assert content["done"] == 1
    assert content["failed"] == 1
    done = next(file for file in content["files"] if file["status"] == "done")
    assert done["output"] == "a_clean.png"
    assert done["tiles"]["tiles"] == 1
    assert "error: nope.png" in err


def test_options_reach_the_work(capsys):
    arguments = ["a.png", "-o", "x.tif", "--level", "40", "--strength", "1.5", "--tile", "16", "--threads", "1"]
    _, out, _ = denoise(capsys, *arguments, "--engine", "openvino", "--json", model="sigma.onnx")
    content = json.loads(out)
    (file,) = content["files"]
    assert file["sigma"] == 40
    assert file["output"] == "x.tif"
    assert max(file["tiles"]["window"]) <= 16
    assert (file["engine"], content["engine"]["threads"]) == ("openvino", 1)


def test_several_passes(capsys, tmp_path):
    write_model(tmp_path / "random.onnx", latent=(5, 4))
    arguments = ["a.png", "-o", "x.png", "--ensemble", "x8", "--samples", "2", "--uncertainty", "--seed", "7"]
    status, out, err = denoise(capsys, *arguments, "--json", model="random.onnx")
    assert status == 0
    content = json.loads(out)
    assert {key: content["engine"][key] for key in ("ensemble", "samples", "seed")} == {
        "ensemble": "x8",
        "samples": 2,
        "seed": 7,
    }
    assert content["files"][0]["uncertainty"] == ["x_uncertainty.npy", "x_uncertainty.png"]
    assert all((tmp_path / name).is_file() for name in content["files"][0]["uncertainty"])
    assert err.rstrip().endswith("x8, 2 samples, seed 7")
    _, out, err = denoise(capsys, "b.jpg", "--json", model="random.onnx")
    assert json.loads(out)["engine"]["seed"] == 0
    assert json.loads(out)["files"][0]["uncertainty"] == []
    status, _, err = denoise(capsys, "a.png", "--ensemble", "x8", "-o", "y.png")
    assert (status, err.rstrip().endswith(", x8")) == (0, True)


def test_format_suffix_quality_and_folders(capsys, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("in/a.png", "in/sub/b.png"):
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    status, out, _ = denoise(capsys, "in", "--format", "jpg", "--quality", "50", "--suffix", "_x", "--no-recursive")
    assert (status, out) == (0, "in_x/a.jpg\n")
    with Pillow.open("in_x/a.jpg") as result:
        assert result.format == "JPEG"
    status, out, _ = denoise(capsys, "in", "-o", "o")
    assert out.split() == ["o/a.png", "o/sub/b.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.png", "--strength", "3"], "'--strength': Input should be less than or equal to 2"),
        (
            ["a.png", "--level", "-1"],
            "'--level': '-1' is neither a number from 0 to 255 nor the file of a noise profile",
        ),
        (["a.png", "--jobs", "0"], "'--jobs'"),
        (["a.png", "--quality", "101"], "'--quality'"),
        (["a.png", "b.jpg", "-o", "x.png"], "the output x.png is a file, but there are 2 inputs"),
        (["a.png", "--format", "gif"], "unknown format 'gif'"),
        (["a.png", "-o", "a.png"], "would overwrite the input a.png"),
        (["a.png", "--strenght", "1"], "--strenght"),
        (["a.png", "--uncertainty"], "one was asked for; ask for 2 samples or more"),
        (["a.png", "--ensemble", "x4"], "'--ensemble'"),
        (["a.png", "--samples", "0"], "'--samples'"),
        ([], "IN"),
    ],
)
def test_wrong_usage(capsys, arguments, words):
    status, out, err = denoise(capsys, *arguments)
    assert (status, out) == (2, "")
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "onxruntime"], "error: unknown engine 'onxruntime': did you mean 'onnxruntime'"),
        (["--engine", "torch"], "error: the engine 'torch' cannot run m.onnx"),
        (["--level", "5"], "error: the model 'tiny-blur' takes no noise level"),
        (
            ["--samples", "3"],
            "error: the model 'tiny-blur' draws nothing at random, so 3 samples would all be the same",
        ),
        (["--seed", "3"], "error: the model 'tiny-blur' draws nothing at random, so the seed 3 would change nothing"),
        (["--model", "foto"], "error: unknown model 'foto': did you mean 'photo'"),
    ],
)
def test_what_cannot_work_is_one_line(capsys, arguments, words):
    status, out, err = denoise(capsys, "a.png", *arguments, **({} if "--model" in arguments else {"model": "m.onnx"}))
    if "--model" in arguments:
        status = cli.run(["denoise", "a.png", *arguments])
        out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.startswith(words)
    assert len(err.splitlines()) == 1


def test_notes_are_shown(capsys):
    status, _, err = denoise(capsys, "a.png", "--level", "100", "--strength", "0.001", model="sigma.onnx")
    assert status == 0
    flat = np.full((30, 30, 3), 100, np.uint8) + np.random.default_rng(0).integers(0, 20, (30, 30, 3), np.uint8)
    Pillow.fromarray(flat).save("flat.png")
    status, _, err = denoise(capsys, "flat.png", "--level", "3", model="sigma.onnx")
    assert "note: flat.png: the result is nearly identical to the input" in err


MAIN = """
import sys, shotnoise.cli as cli
from shotnoise.table import Table
entry = ("shotnoise.cli.denoise:denoise", "pictures")
cli.VERBS = Table("command", {"denoise": entry, "x": entry})
if __name__ == "__main__":
    cli.main()
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c(tmp_path, jobs):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for k in range(200):
        np.save(tmp_path / "in" / f"{k:03}.npy", rng.integers(0, 256, (400, 400, 3), np.uint8))
    (tmp_path / "main.py").write_text(MAIN)
    command = [sys.executable, "main.py", "denoise", "in", "-o", "out", "--model", "m.onnx", "--jobs", jobs]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    out = tmp_path / "out"
    while not list(out.glob("*.npy")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    started = time.monotonic()
    stdout, stderr = process.communicate(timeout=20)
    assert time.monotonic() - started < 5
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr, stderr
    assert "the same command goes on from there" in stderr
    assert not list(out.glob(".*.partial"))
    known = json.loads((out / ".shotnoise.json").read_text())["files"]
    assert 0 < len(known) < 200
    assert sorted(path.name for path in out.glob("*.npy")) == sorted(known)


def test_precision_and_provider_are_passed_on(tmp_path, capsys):
    write_model(tmp_path / "m.int8.onnx", precision="int8")
    status, _, err = denoise(capsys, "a.png", "--precision", "int8", "--provider", "cpu")
    assert status == 0
    assert "onnxruntime in int8 (chosen for .onnx files; on the CPU as asked)" in err
    status, _, err = denoise(capsys, "a.png", "--overwrite", "--provider", "cuda")
    assert status == 1
    assert "error: the provider 'cuda' of onnxruntime does not work here" in err
    assert cli.run(["denoise", "a.png", "--fit", "--precision", "bf16"]) == 2
    assert "runs in fp32 on the CPU" in capsys.readouterr().err
