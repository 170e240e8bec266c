"""`shotnoise denoise` with RAW files: what is said about the noise, and where things go."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as Pillow

import shotnoise.cli as cli
from shotnoise.images.raw import open_raw, save_dng, save_headerless
from shotnoise.sensor.profile import Camera, Entry, NoiseProfile
from shotnoise.sensor.simulate import SimulatedSensor
from shotnoise.table import Table
from tiny_models import write_model

ENTRY = ("shotnoise.cli.denoise:denoise", "pictures")


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """night.dng, a.png, and m.onnx for the first"""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "VERBS", Table("command", {"denoise": ENTRY, "x": ENTRY}))
    write_model(tmp_path / "m.onnx", channels=4, shape="blur", k_sigma={"gain": 0.0625, "root": True})
    frame = SimulatedSensor(height=64, width=80).flat(0.4, iso=3200, rng=np.random.default_rng(0), tilt=0.4)
    save_dng(frame, "night.dng")
    save_headerless(frame, "board.raw", sidecar=True)
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save("a.png")
    NoiseProfile(
        camera=Camera(model="Cam 1"), entries=(Entry(iso=1600, k=1e-3, s2=1e-6), Entry(iso=6400, k=4e-3, s2=4e-6))
    ).save("cam.profile.yaml")


def denoise(capsys, *arguments):
    status = cli.run(["denoise", *arguments, "--model", "m.onnx"])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_sentence_of_the_readme(capsys, tmp_path):
    status, out, err = denoise(capsys, "night.dng", "-o", "clean.dng", "--preview", "clean.jpg")
    assert (status, out) == (0, "clean.dng\n")
    assert "night.dng -> clean.dng, clean.jpg: noise" in err
    assert "by blind estimate from the frame, removed" in err
    assert open_raw("clean.dng").mosaic.shape == (64, 80)
    with Pillow.open("clean.jpg") as preview:
        assert (preview.format, preview.size) == ("JPEG", (40, 32))
    status, out, err = denoise(capsys, "night.dng", "-o", "clean.dng", "--preview", "clean.jpg")
    assert (status, out) == (0, "clean.dng\n")
    assert "skipped, is done already" in err


def test_a_profile_where_the_level_is(capsys):
    status, _, err = denoise(capsys, "night.dng", "--level", "cam.profile.yaml")
    assert status == 0
    assert "by profile of Cam 1 at ISO 3200, removed" in err
    status, out, _ = denoise(
        capsys, "night.dng", "--level", "cam.profile.yaml", "--iso", "6400", "--json", "-o", "x.dng"
    )
    (file,) = json.loads(out)["files"]
    assert file["law"]["k"] == pytest.approx([4e-3] * 4)
    assert file["law"]["source"] == "profile of Cam 1 at ISO 6400"
    assert (file["kind"], file["preview"]) == ("raw", None)
    assert 0 < file["left"] < 1


def test_other_results(capsys, tmp_path):
    (tmp_path / "board.json").rename("layout.json")
    status, out, _ = denoise(capsys, "board.raw", "--raw-layout", "layout.json", "--format", "tif")
    assert (status, out) == (0, "board_clean.tif\n")
    for options in (["--linear"], ["--compression", "none"]):
        status, out, _ = denoise(capsys, "night.dng", "-o", "o/", *options, "--suffix", options[0])
        assert (status, out) == (0, f"o/night{options[0]}.dng\n")
    assert (tmp_path / "o" / "night--compression.dng").stat().st_size > 2 * 64 * 80


def test_an_iso_that_the_profile_does_not_know(capsys):
    status, out, err = denoise(capsys, "night.dng", "--level", "cam.profile.yaml", "--iso", "100")
    assert (status, out) == (1, "")
    assert "error: night.dng: ISO 100 is outside of the profile of Cam 1" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["night.dng", "--level", "15"], "a noise level of 15 is for pictures"),
        (["a.png", "--level", "cam.profile.yaml"], "a noise profile was asked for or given, which is for RAW files"),
        (
            ["night.dng", "--level", "cam.profil.yaml"],
            "'cam.profil.yaml' is neither a number from 0 to 255 nor the file",
        ),
        (["night.dng", "--level", "nan"], "'nan' is neither a number from 0 to 255"),
        (["night.dng", "--compression", "zip"], "--compression"),
        (["night.dng", "--iso", "0"], "--iso"),
        (["night.dng", "--iso", "200"], "ISO 200 is given without a noise profile"),
        (["night.dng", "--preview", "clean.dng"], "the preview clean.dng ends in none of .png"),
        (["night.dng", "-o", "clean.nef"], "the output clean.nef ends in none of .png"),
    ],
)
def test_wrong_usage(capsys, arguments, words):
    status, out, err = denoise(capsys, *arguments)
    assert (status, out) == (2, "")
    assert words in " ".join(err.split())


def test_a_fit_is_for_pictures(capsys):
    status = cli.run(["denoise", "--fit", "night.dng"])
    assert status == 1
    assert "a fit learns from finished pictures, not from RAW; leave --fit out" in capsys.readouterr().err


def test_denoising_raw_loads_nothing_heavy():
    script = (
        "import sys\n"
        "from shotnoise.cli import run\n"
        "assert run(['denoise', 'night.dng', '-o', 'c.dng', '--preview', 'c.jpg', '--model', 'm.onnx']) == 0\n"
        "loaded = {'torch', 'lightning', 'lmdb', 'matplotlib', 'scipy', 'onnx'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
