"""From a calibration to a profile, and the report that goes with it."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image as Pillow

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration import Frame, Roi, calibrate, profile_from
from shotnoise.sensor.calibration.report import verdict, write_report
from shotnoise.sensor.calibration.result import Finding, Law, LawPiece
from shotnoise.sensor.profile import Camera, NoiseProfile, SourceFile
from shotnoise.sensor.simulate import SimulatedSensor

CAMERA = SimulatedSensor(height=128, width=160, row_noise=0.6)


@pytest.fixture(scope="module")
def capture():
    black, flat = CAMERA.calibration_set((100, 400, 1600), rng=np.random.default_rng(0))
    return [[Frame.of(raw, f"{name}.dng") for name, raw in part.items()] for part in (black, flat)]


@pytest.fixture(scope="module")
def result(capture):
    return calibrate(*capture, rois=[Roi(0, 0, 128, 160)])


def test_a_profile_says_what_the_calibration_found(result, tmp_path):
    files = [SourceFile(name="a.dng", sha256="0" * 64, role="flat", iso=100)]
    profile = profile_from(result, camera=Camera(make="Shotnoise", model="Sim"), files=files)
    assert profile.isos == (100, 400, 1600)
    assert (profile.pattern, profile.white, profile.bits) == ("RGGB", CAMERA.white, 12)
    assert profile.black == pytest.approx([256] * 4, abs=0.2)
    for iso in profile.isos:
        truth, found = CAMERA.noise(iso), profile.at(iso)
        assert found.k == pytest.approx(truth.k, rel=0.05)
        assert found.s2 == pytest.approx(truth.s2, rel=0.15)
    assert set(profile.laws) == {"all"}
    assert profile.at(800).k == pytest.approx(CAMERA.noise(800).k, rel=0.05)
    assert all(entry.tukey_lambda is not None for entry in profile.entries)
    span = CAMERA.white - 256
    assert profile.entries[-1].row * span == pytest.approx(0.6 * CAMERA.k(1600), rel=0.2)
    assert profile.entries[0].k == pytest.approx(result.fits[0].pooled.k / span, rel=1e-3)
    assert profile.provenance.rois == ((0, 0, 128, 160),)
    assert profile.provenance.files == tuple(files)
    profile.save(tmp_path / "p.profile.yaml")
    assert NoiseProfile.load(tmp_path / "p.profile.yaml") == profile


def test_laws_and_logarithmic_laws_survive_the_change_of_units(result):
    profile = profile_from(result)
    span = np.mean([result.scale(index) for index in range(4)])
    gain, read = result.law("k", "R"), result.law("s2", "R")
    for iso in (70, 300, 3000):
        assert profile.laws["all"].k.at(iso) == pytest.approx(gain.at(iso) / span, rel=1e-4)
        assert profile.laws["all"].s2.at(iso) == pytest.approx(read.at(iso) / span**2, rel=1e-4)
    for law in result.log_laws:
        ours = profile.log_laws[law.quantity]
        k = 0.7
        there = np.exp(law.slope * np.log(k) + law.intercept)
        assert np.exp(ours.slope * np.log(k / span) + ours.intercept) == pytest.approx(there / span, rel=1e-3)


def test_planes_that_differ_keep_their_own_numbers(result):
    apart = replace(result, fits=tuple(replace(fit, pooled=None) for fit in result.fits))
    profile = profile_from(apart)
    assert [entry.plane for entry in profile.entries[:4]] == ["R", "Gr", "Gb", "B"]
    laws = [replace(law, planes=(plane,)) for law in result.laws for plane in result.planes]
    profile = profile_from(replace(apart, laws=tuple(laws)))
    assert list(profile.laws) == ["R", "Gr", "Gb", "B"]


def test_a_break_in_a_law(result):
    pieces = tuple(LawPiece((a,), (a / 100,), ((a, a),), below) for a, below in ((0.002, 800.0), (0.004, float("inf"))))
    gain = Law("k", result.planes, pieces, (100.0, 400.0, 1600.0), (0, 0, 0), 0.0, 1.0, 1, True)
    law = profile_from(replace(result, laws=(gain, result.laws[1]))).laws["all"].k
    assert (law.break_iso, law.at(800) / law.at(799)) == (800, pytest.approx(2, rel=0.01))


def test_a_law_that_was_refused_is_not_in_it_and_said(result):
    refused = replace(result.laws[0], accepted=False, reason="it is off by 30 %")
    profile = profile_from(replace(result, laws=(refused, result.laws[1])))
    assert profile.laws is None
    assert any("the gain follows no simple law over ISO (it is off by 30 %)" in text for text in profile.warnings)
    assert profile.at(400).k == pytest.approx(CAMERA.noise(400).k, rel=0.05)


def test_findings_become_warnings_and_notes(result):
    findings = (Finding("error", "x", "wrong"), Finding("warning", "y", "odd"), Finding("note", "z", "by the way"))
    profile = profile_from(replace(result, findings=findings))
    assert profile.warnings == ("wrong", "odd")
    assert profile.notes == ("by the way",)


def test_nothing_fitted_is_no_profile(result):
    with pytest.raises(ProfileError, match="no ISO could be fitted, so there is no profile to make: too dark"):
        profile_from(replace(result, fits=(), findings=(Finding("error", "x", "too dark"),)))


class _Page(HTMLParser):
    """Whether tags are balanced, and what is fetched from elsewhere."""

    void = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_one_page_that_says_the_verdict_first(result, capture, tmp_path):
    profile = profile_from(result, camera=Camera(make="<b>&", model="Sim"))
    ticks = []
    small = replace(result, fits=result.fits[:1], rois=result.rois[:1])
    page = write_report(
        small,
        tmp_path / "r",
        profile=profile,
        frames=capture[1],
        command="shotnoise calibrate --black 'a b'",
        progress=lambda done, total: ticks.append((done, total)),
    )
    text = page.read_text(encoding="utf-8")
    parser = _Page()
    parser.feed(text)
    assert (parser.open, parser.links) == ([], [])
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert text.index('class="verdict') < text.index("Gain and noise") < text.index("Where it comes from")
    assert "&lt;b&gt;&amp; Sim" in text
    assert "<b>&" not in text
    assert "shotnoise calibrate --black &#x27;a b&#x27;" in text
    names = sorted(path.name for path in page.parent.iterdir())
    assert names == ["dark.png", "photon-transfer-iso100.png", "report.html", "rois-iso100.png"]
    assert text.count("data:image/png;base64,") == 3
    with Pillow.open(page.parent / "photon-transfer-iso100.png") as plot:
        assert plot.size[0] > 1000
        assert len(set(plot.convert("L").resize((64, 64)).tobytes())) > 20
    assert ticks[-1] == (4, 4)


@pytest.mark.parametrize(
    ("severities", "level"),
    [((), "note"), (("note",), "note"), (("note", "warning"), "warning"), (("error",), "error")],
)
def test_the_worst_finding_is_the_verdict(result, severities, level):
    findings = tuple(Finding(severity, "x", "y") for severity in severities)
    assert verdict(replace(result, findings=findings)) == level


def test_a_report_needs_a_place(result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="cannot be written"):
        write_report(result, tmp_path / "file" / "r")


def test_a_gain_below_zero_makes_no_profile(result):
    """Whatever was measured there: an error in words, not one of the checks behind."""
    (first, *rest) = result.fits
    fits = (replace(first, pooled=None, planes=tuple(replace(fit, k=-0.1) for fit in first.planes)), *rest)
    with pytest.raises(
        ProfileError, match=r"no usable profile \(k: Input should be greater than 0\); see the findings"
    ):
        profile_from(replace(result, fits=fits))


def test_a_gain_below_zero_is_an_error():
    """Lit frames without noise of light: two lamps behind one diffuser, or a wrong file."""
    rng = np.random.default_rng(0)
    frames = [
        [Frame(f"{mean}-{n}", rng.normal(mean, sigma, (96, 96)).round().astype(np.uint16), None, 4095) for n in (0, 1)]
        for mean, sigma in ((100, 12), (500, 9), (1500, 6), (2500, 3))
    ]
    found = calibrate(frames[0], [frame for pair in frames[1:] for frame in pair], rois=[Roi(0, 0, 96, 96)])
    assert any("the gain comes out as -" in finding.text for finding in found.errors)
    assert verdict(found) == "error"


@pytest.mark.parametrize("level", [float("nan"), float("inf"), -1.0])
def test_a_black_level_is_a_count(capture, level):
    with pytest.raises(ProfileError, match=f"black levels {level:g}, .*; expected counts from 0 on"):
        calibrate([], capture[1][:2], black_level=[level])
