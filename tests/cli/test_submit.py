import json

import numpy as np
import pytest
from scipy.io import loadmat

from benchmark_files import write_dnd, write_mat5
from shotnoise.cli import run
from tiny_models import write_model


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    write_dnd(folder, ["BGGR"], size=(30, 40), side=16)
    noisy = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16, 3), np.uint8)
    write_mat5(folder / "BenchmarkNoisyBlocksSrgb.mat", BenchmarkNoisyBlocksSrgb=noisy)
    return folder


@pytest.mark.parametrize(("name", "channels"), [("dnd-srgb", 3), ("dnd-raw", 4)])
def test_names_on_stdout_and_a_second_run_has_nothing_to_do(data, tmp_path, capsys, name, channels):
    kind = "raw" if channels == 4 else "rgb"
    model = str(write_model(tmp_path / "m.onnx", channels=channels, kind=kind, shape="blur"))
    command = ["submit", name, model, "--data", str(data), "-o", str(tmp_path / "out")]
    assert run(command) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "out" / "bundled" / "0001.mat")]
    assert err.splitlines()[0] == f"{name}: 20 of 20 blocks"
    assert "20 blocks denoised; " in err
    assert loadmat(tmp_path / "out" / "0001_20.mat")["Idenoised_crop"].shape[:2] == (16, 16)
    assert run([*command, "--json", str(tmp_path / "r.json")]) == 0
    assert "0 blocks denoised, 20 were there; " in capsys.readouterr().err
    content = json.loads((tmp_path / "r.json").read_text())
    assert (content["benchmark"], content["blocks"], content["denoised"]) == (name, 20, 0)
    assert content["engine"]["engine"] == "onnxruntime"
    write_model(tmp_path / "m.onnx", channels=channels, kind=kind, shape="blur", name="other")
    assert run(command) == 1
    assert "its results were made with model " in capsys.readouterr().err


def test_json_on_stdout(data, tmp_path, capsys):
    model = str(write_model(tmp_path / "m.onnx", level="sigma"))
    options = ["--data", str(data), "-o", str(tmp_path / "out"), "--level", "10", "--ensemble", "x8", "--json", "-"]
    assert run(["submit", "sidd-srgb", model, *options]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["files"] == [str(tmp_path / "out" / "SubmitSrgb.mat")]
    assert content["told"] == ["sigma 10", "sigma 10"]
    assert (content["ensemble"], content["level"]) == ("x8", 10)
    assert loadmat(content["files"][0])["TimeMPSrgb"].item() == pytest.approx(content["seconds_per_megapixel"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dnd-raw", "m.onnx"], "m.onnx: is for rgb data, and dnd-raw wants RAW; choose another model"),
        (["dnd", "m.onnx"], "no benchmark 'dnd': did you mean 'dnd-raw'"),
        (["dnd-srgb", "m.onnx", "--level", "5"], "m.onnx: takes no noise level; leave --level out"),
        (["dnd-srgb", "m.onnx", "--seed", "5"], "draws nothing at random, so the seed 5 would change nothing"),
        (["sidd-raw", "m.onnx"], "BenchmarkNoisyBlocksRaw.mat: does not exist"),
    ],
)
def test_errors_of_submissions_are_one_line(data, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "m.onnx")
    assert run(["submit", *arguments, "--data", str(data), "-o", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert not (tmp_path / "out").exists()
