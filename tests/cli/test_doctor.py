"""The doctor: what it says about a machine, and that it measures when it is asked to."""

import json
import os

import pytest

import shotnoise.cli.doctor as doctor_module
import shotnoise.engines.choice as choice
import shotnoise.engines.probe as probe
from shotnoise.cli import run
from shotnoise.cli.doctor import examine
from shotnoise.engines.engine import OutOfMemoryError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOTNOISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probe, "busy", lambda: False)
    return tmp_path / "cache"


def test_it_says_what_runs_and_why(cache, capsys):
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    engines = {engine["name"]: engine for engine in found["engines"]}
    assert engines["onnxruntime"]["state"] == engines["openvino"]["state"] == "ready"
    assert "self-test passed" in engines["onnxruntime"]["remark"]
    assert "finds FP32" in engines["openvino"]["remark"]
    assert found["cores"] >= 1
    assert found["instructions"] is None or isinstance(found["instructions"], list)
    models = {model["name"]: model for model in found["models"]}
    assert set(models) == {"photo", "gaussian", "raw"}
    for model in models.values():
        assert model["engine"] in ("onnxruntime", "openvino")
        assert model["precision"] in ("fp32", "bf16")
        assert model["reason"].startswith("measured")
        assert "(cached)" not in model["reason"]
    assert found["cache"] == {"folder": str(cache), "writable": True}

    assert run(["doctor"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("(cached)") == len(models)
    assert "instructions: " in text
    assert "torch-compiled" in text
    assert text.replace(" ", "").endswith(f"cache:{cache}".replace(" ", ""))


def test_it_measures_again_when_asked(cache, monkeypatch):
    monkeypatch.setattr(choice, "_installed", lambda name: name == "onnxruntime")
    cache.mkdir()
    (cache / "engines.json").write_text("{}")
    examine()
    assert (cache / "engines.json").exists()
    assert run(["doctor", "--probe"]) == 0
    assert not (cache / "engines.json").exists()


def test_what_is_broken_or_missing_is_said(monkeypatch, capsys):
    monkeypatch.setattr(choice, "_installed", lambda name: name == "onnxruntime")
    from shotnoise.engines.onnxruntime import OnnxRuntimeEngine

    def fail(self, noisy, *_):
        raise OutOfMemoryError.of(noisy, "bad alloc")

    monkeypatch.setattr(OnnxRuntimeEngine, "run", fail)
    found = examine()
    states = {engine["name"]: engine["state"] for engine in found["engines"]}
    assert states == {"onnxruntime": "broken", "openvino": "missing", "torch": "missing", "torch-compiled": "missing"}
    assert "bad alloc" in found["engines"][0]["remark"]
    monkeypatch.setattr(choice, "_installed", lambda name: False)
    assert {model["engine"] for model in examine()["models"]} == {"none"}
    assert run(["doctor"]) == 0
    assert f"cache: {os.devnull} (cannot be written: nothing is measured or kept)" in capsys.readouterr().out


def test_words_in_brackets_are_shown(monkeypatch, capsys):
    """They are commands to be copied, and no styles of the terminal."""
    advice = "missing nibabel: pip install 'shotnoise[mri]'"
    row = {"name": "photo", "engine": "x", "provider": "cpu", "precision": "fp32", "reason": "[train] [/tmp/a]"}
    found = {
        "shotnoise": "0", "python": "3", "system": "x", "cores": 1, "instructions": [], "processor": "P [1]",
        "engines": [], "extras": {"mri": advice}, "models": [row], "cache": {"folder": "/[a]/b", "writable": True},
    }  # fmt: skip
    monkeypatch.setattr(doctor_module, "examine", lambda probe: found)
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    for words in (advice, "[train] [/tmp/a]", "P [1]", "/[a]/b"):
        assert words in shown
