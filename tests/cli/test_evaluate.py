import csv
import json

import numpy as np
import pytest
from PIL import Image

from shotnoise.card import CARD_KEY, Card
from shotnoise.cli import run
from tiny_models import write_model


def blur_model(path, channels=3):
    """A 3x3 mean as a model file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    sizes = [["n", channels, "h", "w"]] * 2
    noisy, clean = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name, size in zip(("noisy", "clean"), sizes, strict=True)
    )
    weight = numpy_helper.from_array(np.full((channels, 1, 3, 3), 1 / 9, np.float32), "weight")
    node = helper.make_node("Conv", ["noisy", "weight"], ["clean"], pads=[1, 1, 1, 1], group=channels)
    graph = helper.make_graph([node], "blur", [noisy], [clean], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = Card(name="blur", kind="rgb" if channels == 3 else "gray", channels=channels, halo=1)
    helper.set_model_props(model, {CARD_KEY: card.to_json()})
    onnx.save(model, path)
    return str(path)


@pytest.fixture
def sets(tmp_path):
    """A folder above two small sets."""
    for name, count in (("kodak24", 2), ("BSD300", 1)):
        (tmp_path / name).mkdir()
        for i in range(count):
            ramp = np.add.outer(np.arange(24) * 4, np.arange(30 + i) * 3)[..., None] + [0, 30, 60]
            Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / name / f"kodim{i:02}.png")
    return tmp_path


def test_a_table_on_stdout_and_warnings_on_stderr(sets, tmp_path, capsys):
    model = blur_model(tmp_path / "blur.onnx")
    arguments = ["evaluate", model, "--protocol", "kodak24,bsd300/gaussian50", "--data", str(sets)]
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert "kodak24/gaussian25" in out
    assert "bsd300/gaussian50" in out
    assert "2 of 24" in out
    assert f"kodak24/gaussian25: {sets / 'kodak24'}\n" in out
    assert err.splitlines() == [
        f"kodak24/gaussian25: kodak24 has 24 pictures, 2 are in {sets / 'kodak24'}",
        f"bsd300/gaussian50: bsd300 has 100 pictures, 1 are in {sets / 'BSD300'}",
    ]


def test_files_for_machines(sets, tmp_path, capsys):
    model = blur_model(tmp_path / "blur.onnx")
    files = [
        "--json",
        str(tmp_path / "r.json"),
        "--csv",
        str(tmp_path / "r.csv"),
        "--save-pictures",
        str(tmp_path / "p"),
    ]
    assert run(["evaluate", model, "--protocol", "kodak24", "--data", str(sets / "kodak24"), *files]) == 0
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["model"] == model
    assert content["card"]["name"] == "blur"
    assert content["engine"]["engine"] == "onnxruntime"
    (evaluation,) = content["evaluations"]
    assert evaluation["protocol"]["strength"] == 25
    assert evaluation["mean"]["psnr"] > evaluation["mean"]["noisy_psnr"]
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["psnr"]) for row in rows] == [row["psnr"] for row in evaluation["rows"]]
    assert len(list((tmp_path / "p" / "kodak24" / "gaussian25" / "denoised").iterdir())) == 2


def test_json_on_stdout_replaces_the_table(sets, tmp_path, capsys):
    model = blur_model(tmp_path / "blur.onnx", channels=1)
    arguments = ["evaluate", model, "--protocol", "folder/gaussian15", "--data", str(sets / "kodak24"), "--limit", "1"]
    assert run([*arguments, "--json", "-"]) == 0
    (evaluation,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert evaluation["warnings"] == [
        "only the first 1 of 2 pictures were measured",
        "1 of 1 pictures were converted to gray (Rec. 601 luma, 8 bits) before noise was added",
    ]


def test_a_broken_picture_ends_in_status_1_with_the_rest_measured(sets, tmp_path, capsys):
    (sets / "kodak24" / "broken.png").write_bytes(b"")
    model = blur_model(tmp_path / "blur.onnx")
    assert run(["evaluate", model, "--protocol", "folder", "--data", str(sets / "kodak24")]) == 1
    out, err = capsys.readouterr()
    assert "folder/gaussian25" in out
    assert "left out: " in err
    assert "broken.png" in err


@pytest.mark.parametrize(
    ("model", "protocol", "words"),
    [
        ("blur.onnx", "kodak24/gauss25", "no protocol 'kodak24/gauss25': did you mean 'kodak24/gaussian25'"),
        ("missing.onnx", "kodak24", "missing.onnx: no such model file or run folder"),
        ("blur.onnx", "bsd300,kodak24", "BSD300: holds no pictures"),
    ],
)
def test_errors_are_one_line(sets, tmp_path, capsys, monkeypatch, model, protocol, words):
    monkeypatch.chdir(tmp_path)
    blur_model(tmp_path / "blur.onnx")
    (sets / "BSD300" / "kodim00.png").unlink()
    for option in ("--json", "--csv"):
        to = str(tmp_path / "nowhere" / "x")
        assert run(["evaluate", "blur.onnx", "--protocol", "kodak24", "--data", str(sets), option, to]) == 1
        assert f"there is no folder {tmp_path / 'nowhere'}; make it first" in capsys.readouterr().err
    assert run(["evaluate", model, "--protocol", protocol, "--data", str(sets)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


def test_changed_protocols_say_so_and_a_pipe_gets_whole_names(sets, tmp_path, capsys):
    model = blur_model(tmp_path / "blur.onnx")
    protocols = "neighbor2neighbor/kodak/gauss5_50,noise2noise/kodak/poisson30"
    options = ["--padding", "square32", "--repeats", "2", "--limit", "1", "--json", str(tmp_path / "r.json")]
    assert run(["evaluate", model, "--protocol", protocols, "--data", str(sets), *options]) == 0
    out = capsys.readouterr().out
    assert "neighbor2neighbor/kodak/gauss5_50[repeats=2,padding=square32]  1 of 24 x 2 " in out
    first, second = json.loads((tmp_path / "r.json").read_text())["evaluations"]
    assert [row["repeat"] for row in first["rows"]] == [0, 1]
    assert first["mean"]["noisy_psnr"] == pytest.approx(sum(row["noisy_psnr"] for row in first["rows"]) / 2)
    assert second["protocol"]["padding"].endswith("to a square with a side that is a multiple of 32")


def test_a_model_that_needs_the_level_is_refused_before_it_runs(sets, tmp_path, capsys):
    model = str(write_model(tmp_path / "m.onnx", level="sigma"))
    protocols = "noise2noise/kodak/gaussian25,noise2noise/kodak/poisson30"
    assert run(["evaluate", model, "--protocol", protocols, "--data", str(sets)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "needs the noise level, and the Poisson noise of 'noise2noise/kodak/poisson30' has no single one" in err


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("noisy", "clean"):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            Image.fromarray(rng.integers(0, 256, (32, 30, 3), np.uint8)).save(tmp_path / "pairs" / kind / name)
    return str(tmp_path / "pairs")


def test_real_pairs_under_several_metrics(pairs, tmp_path, capsys):
    model = str(write_model(tmp_path / "m.onnx", level="sigma"))
    options = ["--protocol", "pairs/folder", "--data", pairs, "--metrics", "8bit,invdn-paddle", "--ensemble", "x8"]
    assert run(["evaluate", model, *options, "--json", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    assert "pairs/folder[ensemble=x8] " in out
    assert "pairs/folder[metrics=invdn-paddle][ensemble=x8] " in out
    assert f"pairs/folder[ensemble=x8]: {pairs}/noisy; told sigma " in out
    assert ", estimated for each\n" in out
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["engine"]["ensemble"] == "x8"
    first, second = content["evaluations"]
    assert first["mean"]["noisy_psnr"] == pytest.approx(second["mean"]["noisy_psnr"], abs=1e-4)
    assert first["mean"]["noisy_ssim"] != second["mean"]["noisy_ssim"]
    assert {row["told"] for row in first["rows"]} == {row["told"] for row in second["rows"]}


def test_a_level_is_told_and_said(pairs, tmp_path, capsys):
    model = str(write_model(tmp_path / "m.onnx", level="sigma"))
    assert run(["evaluate", model, "--protocol", "pairs/folder", "--data", pairs, "--level", "7.5"]) == 0
    assert f"pairs/folder[level=7.5]: {pairs}/noisy; told sigma 7.5\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--level", "5"], "blur.onnx: takes no noise level; leave --level out"),
        (["--seed", "5"], "draws nothing at random, so the seed 5 would change nothing"),
        (["--samples", "4"], "4 samples would all be the same"),
        (["--repeats", "2"], "the noise of 'pairs/folder' is real, there is none to draw; leave --repeats out"),
        (["--metrics", "ssim"], "unknown metrics 'ssim'"),
    ],
)
def test_options_without_effect_are_refused(pairs, tmp_path, capsys, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    blur_model(tmp_path / "blur.onnx")
    assert run(["evaluate", "blur.onnx", "--protocol", "pairs/folder", "--data", pairs, *options]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


def test_draws_of_a_random_input_are_averaged_and_named(pairs, tmp_path):
    model = str(write_model(tmp_path / "m.onnx", latent=(5, 4)))
    scores = {}
    for name, options in {"one": [], "seed": ["--seed", "3"], "mean": ["--samples", "8", "--seed", "3"]}.items():
        arguments = ["--protocol", "pairs/folder", "--data", pairs, *options, "--json", str(tmp_path / "r.json")]
        assert run(["evaluate", model, *arguments]) == 0
        content = json.loads((tmp_path / "r.json").read_text())
        scores[name] = content["evaluations"][0]["mean"]["psnr"]
    assert content["evaluations"][0]["protocol"]["name"] == "pairs/folder[samples=8]"
    assert (content["engine"]["samples"], content["engine"]["seed"]) == (8, 3)
    assert scores["one"] != scores["seed"]
    assert scores["mean"] > max(scores["one"], scores["seed"])  # what is random adds to the error
