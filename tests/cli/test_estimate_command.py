"""`shotnoise estimate`: the numbers, the source, and what happens to bad files."""

import json
import math

import numpy as np
import pytest
from PIL import Image as Pillow

import shotnoise.cli as cli
from shotnoise.images.raw import save_dng, save_headerless
from shotnoise.sensor.profile import Camera, Entry, NoiseProfile
from shotnoise.sensor.simulate import SimulatedSensor
from shotnoise.table import Table

CAMERA = SimulatedSensor(height=240, width=320)
SPAN = CAMERA.white - 256


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = ("shotnoise.cli.estimate:estimate", "")
    monkeypatch.setattr(cli, "VERBS", Table("command", {"estimate": entry, "x": entry}))
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    save_dng(wedge(400, rng), "in/a.dng")
    save_headerless(wedge(1600, rng), "in/deep/b.raw", sidecar=True)
    picture = np.clip(rng.normal(128, 12, (100, 120, 3)), 0, 255).astype(np.uint8)
    Pillow.fromarray(picture).save("in/c.png")


def wedge(iso, rng, **options):
    return CAMERA.wedge(0.7, iso=iso, rng=rng, **options)


def estimate(capsys, *arguments):
    status = cli.run(["estimate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_folder(capsys):
    status, out, err = estimate(capsys, "in")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "in/a.dng: RAW RGGB, Shotnoise Simulated, ISO 400"
    assert lines[1].startswith("  blind estimate from the frame: k ")
    assert float(lines[1].split(" k ")[1].split()[0]) == pytest.approx(CAMERA.k(400), rel=0.15)
    assert lines[2].startswith("in/c.png: sigma 1")
    assert lines[2].endswith(" of 255, blind estimate")
    assert lines[3].startswith("in/deep/b.raw: RAW RGGB")
    assert estimate(capsys, "in", "--no-recursive")[1].splitlines() == lines[:3]


def test_json(capsys):
    status, out, _ = estimate(capsys, "in", "--json")
    assert status == 0
    raw, picture, other = json.loads(out)["files"]
    assert (raw["iso"], raw["kind"], other["iso"]) == (400, "raw", 1600)
    truth = CAMERA.noise(400)
    assert raw["k"] == pytest.approx(truth.k, rel=0.15)
    assert raw["black_dn"] == pytest.approx(math.sqrt(CAMERA.s2(400)), rel=0.2)
    assert raw["gray_dn"] == pytest.approx(SPAN * math.sqrt(0.18 * truth.k[0] + truth.s2[0]), rel=0.1)
    assert raw["blind"]["k_se"] > 0
    assert picture["sigma_255"] == pytest.approx(12, rel=0.1)


def test_the_order_of_trust(capsys, tmp_path):
    law = CAMERA.noise(400)
    frame = wedge(400, np.random.default_rng(1))
    save_dng(frame.with_mosaic(frame.mosaic, noise=((1.3 * law.k[0], law.s2[0]),) * 4), "t.dng")
    status, out, _ = estimate(capsys, "t.dng")
    lines = out.splitlines()
    assert lines[1].startswith("  NoiseProfile of the file: k ")
    assert lines[2].startswith("  seen in the frame, for comparison: k ")
    NoiseProfile(camera=Camera(model="Cam 1"), entries=(Entry(iso=400, k=1e-3, s2=1e-6),)).save("p.profile.yaml")
    status, out, _ = estimate(capsys, "t.dng", "--profile", "p.profile.yaml")
    assert (status, "  profile of Cam 1 at ISO 400: k " in out) == (0, True)
    status, out, _ = estimate(capsys, "t.dng", "--profile", "p.profile.yaml", "--iso", "200")
    assert "  profile of Cam 1 at ISO 200: k " in out
    status, out, err = estimate(capsys, "in", "t.dng", "--profile", "oppo-reno-10x", "--iso", "30000")
    assert status == 1
    assert err.count("error: ") == 3
    assert "in/a.dng: ISO 30000 is outside of the profile of OPPO Reno 10x" in err


def test_a_bad_file_does_not_stop_the_others(capsys, tmp_path):
    (tmp_path / "in" / "bad.dng").write_bytes(b"II*\0")
    status, out, err = estimate(capsys, "in", "nowhere")
    assert status == 1
    assert "in/c.png: sigma" in out
    assert "error: in/bad.dng: " in err
    assert "error: nowhere: does not exist" in err
    status, out, _ = estimate(capsys, "in", "--json")
    assert (status, len(json.loads(out)["files"]), len(json.loads(out)["errors"])) == (1, 3, 1)


def test_a_makeshift_profile(capsys):
    status, _, err = estimate(capsys, "in/a.dng", "in/c.png", "-o", "guess.profile.yaml")
    assert (status, err) == (0, "wrote guess.profile.yaml\n")
    profile = NoiseProfile.load("guess.profile.yaml")
    assert profile.isos == (400,)
    assert profile.at(400).k == pytest.approx(CAMERA.noise(400).k, rel=0.15)
    assert "estimated from ordinary pictures, not calibrated" in profile.warnings[0]
    assert [file.name for file in profile.provenance.files] == ["a.dng"]
    status, _, err = estimate(capsys, "in/c.png", "-o", "guess.profile.yaml")
    assert (status, "a profile needs at least one RAW file" in err) == (1, True)
    save_dng(SimulatedSensor(height=64, width=64, bits=14).flat(0.3, iso=400, rng=np.random.default_rng(2)), "o.dng")
    status, _, err = estimate(capsys, "in/a.dng", "o.dng", "-o", "guess.profile.yaml")
    assert (status, "make one profile per camera" in err) == (1, True)


def test_an_impossible_place_is_refused_before_anything_is_measured(capsys):
    for place, words in (("in", "exists and is no noise profile"), ("none/a.yaml", "there is no folder")):
        status, out, err = estimate(capsys, "in/a.dng", "-o", place)
        assert (status, out) == (1, "")
        assert words in err


def test_an_iso_without_a_profile_is_wrong_usage(capsys):
    status, out, err = estimate(capsys, "in", "--iso", "100")
    assert (status, out) == (2, "")
    assert "give --profile too" in err
