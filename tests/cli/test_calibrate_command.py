"""`shotnoise calibrate`: what is written, what is said, and when it is not trusted."""

import json
import math

import numpy as np
import pytest

import shotnoise.cli as cli
from shotnoise.images.raw import save_dng
from shotnoise.sensor.calibration import report
from shotnoise.sensor.profile import NoiseProfile
from shotnoise.sensor.simulate import SimulatedSensor
from shotnoise.table import Table

CAMERA = SimulatedSensor(height=96, width=120)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """The command alone, in a folder of its own; plots are tested elsewhere and take seconds."""
    monkeypatch.chdir(tmp_path)
    entry = ("shotnoise.cli.calibrate:calibrate", "")
    monkeypatch.setattr(cli, "VERBS", Table("command", {"calibrate": entry, "x": entry}))
    monkeypatch.setattr(report, "_figures", lambda *_: {})


@pytest.fixture
def frames(tmp_path):
    """black/ and flat/ with two ISOs; returns a function that renames a frame."""
    black, flat = CAMERA.calibration_set((100, 400), rng=np.random.default_rng(0))
    for name, part in (("black", black), ("flat", flat)):
        (tmp_path / name).mkdir()
        for stem, frame in part.items():
            save_dng(frame, tmp_path / name / f"{stem}.dng")
    return tmp_path


def calibrate(capsys, *arguments):
    status = cli.run(["calibrate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_profile_and_a_report(frames, capsys):
    status, out, err = calibrate(capsys, "--black", "black", "--flat", "flat", "-o", "cam.profile.yaml")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["ISO", "plane", "k"]
    assert lines[1].split()[:2] == ["100", "all"]
    assert float(lines[1].split()[2]) == pytest.approx(CAMERA.k(100), rel=0.05)
    assert lines[-2:] == ["cam.profile.yaml", "cam.report/report.html"]
    assert "error" not in err
    profile = NoiseProfile.load("cam.profile.yaml")
    assert profile.at(200).k == pytest.approx(CAMERA.noise(200).k, rel=0.05)
    assert {file.role for file in profile.provenance.files} == {"black", "flat"}
    assert "shotnoise calibrate" not in err
    assert (frames / "cam.report" / "report.html").is_file()


def test_the_shell_may_expand_patterns(frames, capsys):
    black, flat = (sorted((frames / name).iterdir()) for name in ("black", "flat"))
    words = ["--black", *black, "--flat", *flat, "--roi", "0,0,48,120", "48,0,96,120", "--json", "--report", "r"]
    status, out, err = calibrate(capsys, *words)
    assert status == 0, err
    facts = json.loads(out)
    assert facts["written"] == "camera.profile.yaml"
    assert facts["report"] == "r/report.html"
    assert facts["profile"]["provenance"]["rois"] == [[0, 0, 48, 120], [48, 0, 96, 120]]
    assert len(facts["profile"]["provenance"]["files"]) == len(black) + len(flat)
    assert facts["verdict"] in ("trustworthy", "usable with care")


def mislabel(frames):
    for path in (frames / "flat").glob("*400*.dng"):
        path.rename(path.with_name(path.name.replace("400", "800")))


def test_a_calibration_that_is_not_to_be_trusted_writes_no_profile(frames, capsys):
    mislabel(frames)
    words = ["--black", "black", "--flat", "flat"]
    status, out, err = calibrate(capsys, *words)
    assert status == 1
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))  # one line for all of its frames
    assert " more: the name says ISO 800, the metadata say ISO 400" in line
    assert line.endswith("(--iso-from-name, --iso-from-metadata)")
    assert "no profile was written: settle the errors above, or say --force" in err
    assert out.splitlines()[-1] == "camera.report/report.html"
    assert "Not to be trusted" in (frames / "camera.report" / "report.html").read_text()
    assert not (frames / "camera.profile.yaml").exists()

    status, out, err = calibrate(capsys, *words, "--force")
    assert (status, out.splitlines()[-2]) == (0, "camera.profile.yaml")
    assert any("the name says ISO 800" in text for text in NoiseProfile.load("camera.profile.yaml").warnings)

    status, out, err = calibrate(capsys, *words, "--iso-from-metadata")
    assert status == 0, err
    assert NoiseProfile.load("camera.profile.yaml").isos == (100, 400)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected one of --black and --flat, --emva, --import"),
        (["--flat", "x", "--emva", "y"], "expected one of --black and --flat, --emva, --import"),
        (["--flat", "x", "--iso-from-name", "--iso-from-metadata"], "contradict each other"),
        (["--emva", "x", "--white", "3", "--roi", "1,2,3,4"], "--roi, --white would change nothing with --emva"),
        (["--import", "x", "--force"], "--force would change nothing with --import"),
        (["--flat", "flat", "--roi", "1,2,3"], "expected four whole numbers row0,col0,row1,col1"),
        (["--flat", "flat", "--black-level", "a"], "expected one number, or one per plane R,Gr,Gb,B"),
    ],
)
def test_wrong_usage(frames, capsys, words, message):
    status, out, err = calibrate(capsys, *words)
    assert (status, out) == (2, "")
    assert message in " ".join(err.split())


def test_files_that_are_no_frames_are_named(frames, capsys):
    status, out, err = calibrate(capsys, "--flat", "flat", "stray")  # a second value of --flat
    assert (status, out) == (1, "")
    assert "stray: does not exist" in err
    (frames / "flat" / "broken.dng").write_bytes(b"II*\0" + bytes(100))
    status, out, err = calibrate(capsys, "--black", "black", "--flat", "flat")
    assert (status, out) == (1, "")
    assert "broken.dng" in err


def test_a_profile_is_never_written_over_a_picture(frames, capsys):
    target = next((frames / "flat").iterdir())
    before = target.read_bytes()
    status, _, err = calibrate(capsys, "--black", "black", "--flat", "flat", "-o", target)
    assert status == 1
    assert "exists and is no noise profile" in err
    assert target.read_bytes() == before


def test_an_impossible_place_is_refused_before_anything_is_measured(frames, capsys):
    for place, words in (("flat", "exists and is no noise profile"), ("none/a.yaml", "there is no folder")):
        status, out, err = calibrate(capsys, "--black", "black", "--flat", "flat", "-o", place)
        assert (status, out) == (1, "")
        assert words in err
    assert not (frames / "flat.report").exists()


def test_the_table_of_the_published_pipeline(tmp_path, capsys):
    (tmp_path / "sensor_profile_IMX766.yaml").write_text(
        "ISO_200: !!python/tuple\n- shot_noise:0.0023\n- read_noise:8.6e-06\n"
        "b_read: [0.0, 4.0e-07, -5.0e-05]\nk_shot: [2.4e-06, 0.0075]\n"
    )
    status, out, err = calibrate(capsys, "--import", "sensor_profile_IMX766.yaml", "-o", "imx.profile.yaml")
    assert (status, out) == (0, "imx.profile.yaml\n")
    assert "warning: these numbers mix colour into noise" in err
    assert NoiseProfile.load("imx.profile.yaml").at(200).k[0] == pytest.approx(0.00798)


@pytest.mark.shared
def test_emva(shared, capsys):
    index = shared / "data" / "raw_calibration" / "emva1288_ccd12" / "EMVA1288_Data.txt"
    status, out, err = calibrate(capsys, "--emva", index, "--json")
    assert status == 0, err
    facts = json.loads(out)
    assert facts["emva"]["gain"] == pytest.approx(0.2808, rel=0.01)
    assert facts["emva"]["dark_noise"] == pytest.approx(3.073, rel=0.01)
    law = NoiseProfile.load("camera.profile.yaml").at()
    span = 4095 - facts["profile"]["black"][0]
    assert law.k[0] * span == pytest.approx(0.2808, rel=0.01)
    assert math.sqrt(law.s2[0]) * span == pytest.approx(3.073, rel=0.01)
