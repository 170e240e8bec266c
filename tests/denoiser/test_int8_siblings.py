"""Denoisers in other precisions, and the float model that takes the place of an int8 one in nearly clean pictures."""

import hashlib

import numpy as np
import pytest

import shotnoise.runner as runner
from shotnoise import Denoiser, RawDenoiser, VolumeDenoiser
from shotnoise.batch import Options
from shotnoise.errors import EngineError, ModelError
from shotnoise.images import Image
from shotnoise.images.raw import RawFrame
from shotnoise.sensor.law import NoiseLaw
from tiny_models import write_model

LOWEST = 20 / 255


def write_pair(folder, name="m", *, source=None, **card):
    """A model, and one beside it that passes for its int8 file: the same with other weights."""
    exact = write_model(folder / f"{name}.onnx", **card)
    sha256 = hashlib.sha256(exact.read_bytes()).hexdigest() if source is None else source
    held = {"backend": "nncf", "source_sha256": sha256, "lowest": LOWEST}
    write_model(folder / f"{name}.int8.onnx", seed=1, precision="int8", quantisation=held, **card)
    return exact


def picture(sigma=10.0, size=(40, 48, 3)):
    noise = sigma / 255 * np.random.default_rng(0).standard_normal(size)
    return Image.from_array((0.5 + noise).astype(np.float32))


def test_int8_runs_where_the_noise_is_strong_enough(tmp_path):
    path = write_pair(tmp_path)
    int8, exact = Denoiser(path, precision="int8"), Denoiser(path)
    assert int8.card.precision == "int8"
    assert int8.describe()["precision"].startswith("int8")
    strong = picture(40)
    found = int8.run(strong)
    assert not found.notes
    assert np.abs(found.image.pixels - exact.run(strong).image.pixels).max() > 0.01


def test_the_float_model_beside_it_takes_weak_noise(tmp_path, monkeypatch):
    path = write_pair(tmp_path)
    int8, exact = Denoiser(path, precision="int8"), Denoiser(path)
    weak = picture(5)
    found = int8.run(weak)
    np.testing.assert_array_equal(found.image.pixels, exact.run(weak).image.pixels)
    assert found.notes[0].startswith("noise of 4.")
    assert found.notes[0].endswith(
        "counts is below 20.0, from which the int8 model is as good; took the fp32 model beside it"
    )
    assert int8.describe()["precision"].startswith("int8")
    monkeypatch.setattr("shotnoise.runner.open_engine", None)
    int8.run(weak)  # it stays open


def test_it_is_opened_when_it_is_needed(tmp_path, monkeypatch):
    path = write_pair(tmp_path)
    opened = []
    original = runner.open_engine
    monkeypatch.setattr(
        runner, "open_engine", lambda *args, **named: opened.append(args[0]) or original(*args, **named)
    )
    int8 = Denoiser(path, precision="int8")
    int8.run(picture(40))
    assert opened == [path]
    int8.run(picture(5))
    int8.run(picture(5))
    assert opened == [path, path]


@pytest.mark.parametrize("source", ["", "0" * 64])
def test_without_it_the_note_says_what_it_costs(tmp_path, source):
    path = write_pair(tmp_path, source=source)
    (note, *_) = Denoiser(path, precision="int8").run(picture(5)).notes
    assert note.endswith("is as good as the fp32 model; with that one the result would be better")
    alone = tmp_path / "alone.int8.onnx"
    alone.write_bytes((tmp_path / "m.int8.onnx").read_bytes())
    assert "would be better" in Denoiser(alone).run(picture(5)).notes[0]


def test_a_level_that_is_given_counts(tmp_path):
    path = write_pair(tmp_path, level="sigma")
    assert "below 20.0" in Denoiser(path, precision="int8", level=12).run(picture(40)).notes[0]
    assert not any("int8" in note for note in Denoiser(path, precision="int8", level=30).run(picture(5)).notes)


def test_an_ensemble_is_one_in_both(tmp_path):
    path = write_pair(tmp_path)
    weak = picture(5)
    found = Denoiser(path, precision="int8", ensemble="x8").run(weak)
    expected = Denoiser(path, ensemble="x8").run(weak)
    np.testing.assert_array_equal(found.image.pixels, expected.image.pixels)


def frame(law):
    rng = np.random.default_rng(0)
    deviation = 1000 * np.sqrt(law.k[0] * 0.5 + law.s2[0])
    mosaic = np.clip(600 + deviation * rng.standard_normal((40, 48)), 0, 1100).astype(np.uint16)
    return RawFrame(mosaic, "RGGB", (100.0,) * 4, 1100.0)


@pytest.mark.parametrize(("s2", "exact"), [(0.02**2, True), (0.15**2, False)])
def test_raw_frames_too(tmp_path, s2, exact):
    path = write_pair(tmp_path, channels=4)
    law = NoiseLaw((1e-5,) * 4, (s2,) * 4, "test")
    found = RawDenoiser(path, precision="int8", profile=law).run(frame(law))
    expected = RawDenoiser(path, profile=law).run(frame(law))
    assert np.array_equal(found.frame.mosaic, expected.frame.mosaic) == exact
    assert any("took the fp32 model" in note for note in found.notes) == exact


def test_denoisers_pass_on_what_they_are_asked_for(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    with pytest.raises(EngineError, match="'cuda' of onnxruntime does not work here"):
        Denoiser(path, provider="cuda")
    with pytest.raises(ModelError, match=r"has no m\.int8\.onnx beside it"):
        Denoiser(path, precision="int8")
    with pytest.raises(EngineError, match="unknown precision 'int4'"):
        RawDenoiser(path, precision="int4")
    volume = write_model(tmp_path / "v.onnx", channels=1, kind="mri")
    with pytest.raises(EngineError, match="unknown provider 'gpu'"):
        VolumeDenoiser(volume, provider="gpu")
    assert VolumeDenoiser(volume, provider="cpu").describe()["reason"].endswith("on the CPU as asked")


def test_a_batch_knows_which_file_it_runs(tmp_path):
    path = write_pair(tmp_path)
    facts = Options(model=str(path), precision="int8").model_facts()
    assert facts["path"] == str(tmp_path / "m.int8.onnx")
    assert facts["sha256"] == hashlib.sha256((tmp_path / "m.int8.onnx").read_bytes()).hexdigest()
    assert Options(precision="bf16").changing("picture") != Options().changing("picture")
    assert Options(model=str(path), precision="int8").denoiser().describe()["precision"].startswith("int8")
