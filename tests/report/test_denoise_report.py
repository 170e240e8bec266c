"""`shotnoise denoise --report`: the page beside the result, with the estimate that needs the denoiser."""

import importlib.resources
import json
import re

import numpy as np
import pytest
from PIL import Image as Pillow

from shotnoise import save_dng
from shotnoise.batch import report_page
from shotnoise.cli import run
from shotnoise.metrics import psnr
from shotnoise.report import compare
from shotnoise.sensor.simulate import SimulatedSensor

SIGMA = 10.0


@pytest.fixture
def reports(monkeypatch):
    """What was compared, without the time of drawing it."""
    found = []

    def kept(*arguments, **options):
        found.append(compare(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(report_page, "compare", kept)
    monkeypatch.setattr("shotnoise.report.Report.to_html", lambda _: "<!DOCTYPE html>")
    return found


def scene(height=160, width=192):
    """A part of a photograph, fur and an eye."""
    with importlib.resources.as_file(importlib.resources.files("shotnoise.bundled") / "chelsea.png") as file:
        return np.asarray(Pillow.open(file))[20 : 20 + height, 60 : 60 + width].astype(float)


def test_a_page_beside_each_result(reports, tmp_path, capsys):
    clean = scene()
    noisy = np.clip(np.rint(clean + np.random.default_rng(0).normal(0, SIGMA, clean.shape)), 0, 255).astype(np.uint8)
    Pillow.fromarray(noisy).save(tmp_path / "a.png")
    command = ["denoise", str(tmp_path / "a.png"), "--level", "10", "--report", "--engine", "onnxruntime", "--json"]
    assert run(command) == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file["report"] == str(tmp_path / "a_clean_report.html")
    assert (tmp_path / "a_clean_report.html").read_text() == "<!DOCTYPE html>"
    (report,) = reports
    assert report.noise.known
    assert report.names["after"].endswith("a_clean.png")
    assert "onnxruntime" in report.how
    after = np.asarray(Pillow.open(tmp_path / "a_clean.png"))
    assert report.best_estimate.psnr == pytest.approx(psnr(clean, after, 255), abs=0.5)
    # A second run does nothing; without the page, it is made again.
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["status"] == "skipped"
    (tmp_path / "a_clean_report.html").unlink()
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["status"] == "done"


def test_raw_is_compared_as_it_was_denoised(reports, tmp_path, capsys):
    sensor = SimulatedSensor(height=160, width=192)
    light = sensor.exposure_for(0.8, 3200)
    view = (scene() / 255) ** 2
    before = sensor.expose(view, iso=3200, exposure=light, rng=np.random.default_rng(0))
    save_dng(before, tmp_path / "a.dng")
    assert run(["denoise", str(tmp_path / "a.dng"), "-o", str(tmp_path / "b.jpg"), "--report"]) == 0
    capsys.readouterr()
    (report,) = reports
    assert report.subject.kind == "raw"  # the mosaics, whatever the result was developed into
    assert (tmp_path / "b_report.html").exists()
    assert report.best_estimate.psnr > report.best_estimate.before + 2


def test_nothing_is_drawn_without_being_asked(reports, tmp_path, capsys):
    Pillow.fromarray(scene(48, 64).astype(np.uint8)).save(tmp_path / "a.png")
    assert run(["denoise", str(tmp_path / "a.png"), "--level", "5"]) == 0
    assert reports == []
    assert not list(tmp_path.glob("*.html"))
    capsys.readouterr()


def test_two_results_of_one_stem_are_refused(tmp_path, capsys):
    for name in ("a.png", "a.tif"):
        Pillow.fromarray(scene(32, 32).astype(np.uint8)).save(tmp_path / name)
    assert run(["denoise", str(tmp_path / "a.png"), str(tmp_path / "a.tif"), "--report"]) == 2
    assert re.search(r"would both become .*a_clean_report\.html", re.sub(r"\s+", " ", capsys.readouterr().err))
