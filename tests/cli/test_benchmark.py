import json

import pytest

from shotnoise.cli import run
from tiny_models import write_model


@pytest.fixture
def model(tmp_path):
    return str(write_model(tmp_path / "m.onnx"))


def test_a_table_and_a_file(model, tmp_path, capsys):
    arguments = ["benchmark", model, "--size", "20x31", "--threads", "1", "--batch", "1,2", "--warmup", "1"]
    assert run([*arguments, "--repeats", "2", "--json", str(tmp_path / "b.json")]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("shotnoise ")
    assert lines[1] == "median / 90th percentile of 2 runs in ms per batch, after 1 not counted"
    assert [line.count("20x31") for line in lines[2:]] == [0, 1, 1]
    assert all("onnxruntime" in line for line in lines[3:])
    assert err == ""
    content = json.loads((tmp_path / "b.json").read_text())
    assert [timing["case"]["batch"] for timing in content["timings"]] == [1, 2]
    assert content["machine"]["cores"] >= 1
    assert content["warmup"] == 1


def test_json_on_stdout_replaces_the_table(model, capsys):
    assert run(["benchmark", model, "--size", "16x16", "--repeats", "1", "--warmup", "0", "--json", "-"]) == 0
    (timing,) = json.loads(capsys.readouterr().out)["timings"]
    assert timing["ran"]["engine"] == "onnxruntime"
    assert timing["megapixels_per_second"] > 0


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--size", "12"], 2, "'12' is not a size; expected HEIGHTxWIDTH, as in 512x768"),
        (["--threads", "1;2"], 2, "'1;2' is not a list of whole numbers; expected one like 1,2"),
        (["--precision", "bf16", "--engine", "onnxruntime"], 1, "the engine 'onnxruntime' has no bf16"),
        (["--batch", "0"], 1, "batch is 0; expected at least 1"),
        (["--engine", "torch"], 1, "the engine 'torch' cannot run m.onnx"),
    ],
)
def test_contradictions(model, capsys, options, status, words):
    assert run(["benchmark", model, *options]) == status
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
