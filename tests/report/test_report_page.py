"""The page needs nothing else, believes no file name, and says what was found."""

import io
import json

import numpy as np
import pytest
from PIL import Image as Pillow

from html_reader import Reader
from shotnoise.cli import run
from shotnoise.report import VERDICTS, compare

HOSTILE = '<script>alert(1)</script>"&$x^2$.png'


@pytest.fixture(scope="module")
def pair():
    y, x = np.mgrid[:160, :240]
    clean = np.rint(100 + 40 * np.sin(x / 30)[..., None] + 20 * np.sign(np.sin(y / 2))[..., None] + [0, 5, 10])
    noisy = np.rint(clean + np.random.default_rng(0).normal(0, 10, clean.shape))
    smooth = np.repeat(noisy.mean(0, keepdims=True), 160, 0)
    return tuple(np.clip(np.rint(one), 0, 255).astype(np.uint8) for one in (noisy, smooth, clean))


@pytest.fixture(scope="module")
def report(pair):
    before, after, _ = pair
    names = {"before": HOSTILE, "after": "new\nline\u202e.png"}
    return compare(before, after, noise=10.0, names=names)


@pytest.fixture(scope="module")
def page(report):
    return report.to_html()


def test_the_page_refers_to_nothing_outside(page):
    page = Reader(page)
    assert page.open == []
    assert {"link", "iframe", "object", "embed", "base", "form"}.isdisjoint(page.tags)
    assert page.tags.count("script") == 1
    assert page.tags.count("img") > 10
    for link in page.links:
        assert link.startswith("data:image/") or link.removeprefix("#") in page.ids, link[:80]
    for text in (page.style, page.script):
        assert "url(" not in text
        assert "http" not in text
        assert "@import" not in text
        assert "fetch" not in text


def test_names_of_files_are_only_text(page):
    page = Reader(page)
    assert HOSTILE in page.text
    assert "alert" not in page.script
    assert "\u202e" not in page.text
    assert "new\ufffdline" in page.text


def test_the_page_says_what_was_found(report, page):
    text = Reader(page).text
    assert VERDICTS[report.verdict][0] in text
    assert report.verdict == "error"
    for finding in report.findings:
        assert finding.text in text
        assert finding.code in text
        assert finding.place is None or str(finding.place) in text
    assert "4 standard deviations of the expected noise" in text
    assert "takes for granted" in text


def test_the_summary_is_a_picture(report):
    """And takes no mathematics from the names of files."""
    picture = Pillow.open(io.BytesIO(report.to_png()))
    assert picture.size[0] > 1500
    gray = np.asarray(picture.convert("L"))
    assert gray.std() > 20


def test_the_numbers_are_plain_json(report):
    again = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert again["verdict"] == "error"
    assert again["removed"]["of_noise"] > 1.1
    assert again["findings"][0]["place"]["width"] in (16, 32)
    assert len(again["residual"]["autocorrelation"]) == 17


def test_the_command(pair, tmp_path, capsys, monkeypatch):
    for name, pixels in zip(("before.png", "after.png", "clean.png"), pair, strict=True):
        Pillow.fromarray(pixels).save(tmp_path / name)
    files = [str(tmp_path / name) for name in ("before.png", "after.png")]
    monkeypatch.setattr("shotnoise.report.Report.to_png", lambda _: b"drawn elsewhere")
    monkeypatch.setattr("shotnoise.report.Report.to_html", lambda _: "drawn elsewhere")
    summary = tmp_path / "summary.png"
    assert (
        run(["report", *files, "--reference", str(tmp_path / "clean.png"), "--level", "10", "--png", str(summary)]) == 0
    )
    out, err = capsys.readouterr()
    assert out.startswith("Do not trust it as it is")
    assert "(reference)" in out
    assert "error: what was taken away" in out
    assert (tmp_path / "after_report.html").exists()
    assert summary.exists()
    assert err.count("wrote ") == 2
    assert run(["report", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "picture"
    assert run(["report", files[0], str(tmp_path / "none.png")]) == 1
    assert "none.png: does not exist" in capsys.readouterr().err
    assert run(["report", *files, "-o", str(tmp_path / "x.pdf")]) == 1
    assert "ends in '.pdf'; expected .html" in capsys.readouterr().err


def test_a_folder_in_place_of_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Pillow.new("L", (32, 32)).save("a.png")
    assert run(["report", "a.png", "."]) == 1
    assert "error: .: is a folder; expected a picture file" in capsys.readouterr().err
