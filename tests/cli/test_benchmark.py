import json
from concurrent.futures import Future

import pytest

from shotnoise.cli import run
from shotnoise.evaluation import benchmark as room
from tiny_models import write_model


@pytest.fixture
def model(tmp_path):
    return str(write_model(tmp_path / "m.onnx"))


@pytest.fixture
def here(monkeypatch):
    """Measures in this process; a test of the room has one of its own, which takes seconds to start."""

    class Pool:
        def __init__(self, *arguments, **options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def submit(self, measure, *arguments):
            future = Future()
            future.set_result(measure(*arguments))
            return future

    monkeypatch.setattr(room, "ProcessPoolExecutor", Pool)


@pytest.mark.usefixtures("here")
def test_a_table_a_file_and_a_picture(model, tmp_path, capsys):
    arguments = ["benchmark", model, "--size", "20x31", "--threads", "1", "--batch", "1,2", "--warmup", "1"]
    arguments += ["--engine", "onnxruntime", "--engine", "torch", "--precision", "fp32", "--precision", "int8"]
    arguments += ["--json", str(tmp_path / "b.json"), "--plot", str(tmp_path / "b.png")]
    assert run([*arguments, "--repeats", "2"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("shotnoise ")
    assert lines[1] == "median / 90th percentile of 2 runs in ms per batch, after 1 not counted"
    assert [line.count("20x31") for line in lines[2:5]] == [0, 1, 1]
    assert all("onnxruntime" in line for line in lines[3:5])
    assert lines[5].startswith(f"not measured: {model}, onnxruntime int8, torch int8: ")
    assert lines[6].startswith(f"not measured: {model}, torch fp32: the engine 'torch' cannot run m.onnx")
    assert err == ""
    content = json.loads((tmp_path / "b.json").read_text())
    assert [timing["case"]["batch"] for timing in content["timings"]] == [1, 2]
    assert [refusal["precision"] for refusal in content["refused"]] == ["int8", "fp32", "int8"]
    assert content["machine"]["cores"] >= 1
    assert content["warmup"] == 1
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("here")
def test_json_on_stdout_replaces_the_table(model, capsys):
    assert run(["benchmark", model, "--size", "16x16", "--repeats", "1", "--warmup", "0", "--json", "-"]) == 0
    (timing,) = json.loads(capsys.readouterr().out)["timings"]
    assert timing["ran"]["engine"] == "onnxruntime"
    assert timing["megapixels_per_second"] > 0
    assert timing["cpu"]["median"] > 0


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--size", "12"], 2, "'12' is not a size; expected HEIGHTxWIDTH, as in 512x768"),
        (["--threads", "1;2"], 2, "'1;2' is not a list of whole numbers; expected one like 1,2"),
        (["--precision", "f32"], 1, "unknown precision 'f32': did you mean 'fp32'?"),
        (["--batch", "0"], 1, "batch is 0; expected at least 1"),
        (["--engine", "torch"], 1, "the engine 'torch' cannot run m.onnx"),
        (["--plot", "times.svg"], 1, "times.svg: expected a file name that ends in .png"),
    ],
)
def test_contradictions(model, capsys, options, status, words):
    assert run(["benchmark", model, *options]) == status
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
