"""Names of models."""

import hashlib

import pytest

from shotnoise.bundled import BUNDLED, find_model
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import ModelError


def test_every_bundled_model_is_an_onnx_file():
    assert "photo" in BUNDLED
    for file, summary in BUNDLED.values():
        assert file.endswith(".onnx")
        assert summary


@pytest.mark.parametrize(
    ("name", "levels"), [("photo", [5, 15, 25, 50]), ("gaussian", [5, 15, 25, 50]), ("raw", [1, 2, 3, 7])]
)
def test_the_int8_twin_is_made_from_the_bundled_model_and_holds_its_budget(name, levels):
    twin = read_onnx(find_model(name, "int8")).card
    assert twin.precision == "int8"
    assert twin.quantisation.source_sha256 == hashlib.sha256(find_model(name).read_bytes()).hexdigest()
    assert all(level.loss <= 0.1 for level in twin.quantisation.losses)
    assert twin.quantisation.lowest == 0
    assert [round(255 * level.level) for level in twin.quantisation.losses] == levels


def test_paths_are_taken_as_they_are(tmp_path):
    file = tmp_path / "m.onnx"
    file.touch()
    assert find_model(str(file)) == file
    assert find_model(tmp_path) == tmp_path


def test_unknown_names_and_missing_files():
    with pytest.raises(ModelError, match="unknown model 'foto': did you mean 'photo'"):
        find_model("foto")
    with pytest.raises(ModelError, match=r"nowhere/m\.onnx: no such model file or run folder"):
        find_model("nowhere/m.onnx")
    with pytest.raises(ModelError, match=r"photo\.onxx: no such model"):
        find_model("photo.onxx")


def test_a_bundled_model_that_was_lost(monkeypatch):
    monkeypatch.setitem(BUNDLED, "lost", ("no-such-file.onnx", "x"))
    with pytest.raises(ModelError, match="bundled model 'lost' is missing"):
        find_model("lost")
