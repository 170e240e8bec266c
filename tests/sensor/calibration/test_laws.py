"""Laws over ISO: exact, with a break, refused; and labels that lie."""

import numpy as np
import pytest

from shotnoise.sensor.calibration.laws import fit_gain_law, fit_read_law, mislabelled

ISOS = np.array([100, 200, 400, 800, 1600, 3200, 6400], float)
ALL = ("R", "Gr", "Gb", "B")
# A phone's main camera (CRVD), per ISO, in DN: gain, and variance without light.
CRVD = {1600: (3.513262, 11.917691), 3200: (6.955588, 38.117816), 6400: (13.486051, 130.818508),
        12800: (26.585953, 484.539790), 25600: (52.032536, 1819.818657)}  # fmt: skip


def test_exact_laws_are_found():
    gain = fit_gain_law(ISOS, 0.002 * ISOS, 1e-5 * ISOS, ALL)
    assert gain.pieces[0].params == (pytest.approx(0.002),)
    assert (gain.accepted, gain.reason, gain.scatter) == (True, "", 0)
    s2 = (0.005 * ISOS) ** 2 + 1.5**2
    read = fit_read_law(ISOS, s2, 0.01 * s2, ALL)
    assert read.pieces[0].params == (pytest.approx(0.005), pytest.approx(1.5))
    assert read.at(800) == pytest.approx(16 + 2.25)
    assert read.residuals == pytest.approx([0] * 7, abs=1e-9)


def test_parameters_are_unbiased_and_their_intervals_hold():
    rng = np.random.default_rng(0)
    true = {"p": 0.005, "q": 1.5}
    s2 = (true["p"] * ISOS) ** 2 + true["q"] ** 2
    pieces = []
    for _ in range(200):
        # The error of a variance is a share of it, and estimated along with it.
        seen = s2 * (1 + 0.05 * rng.standard_normal(7))
        pieces.append(fit_read_law(ISOS, seen, 0.05 * seen, ALL).pieces[0])
    for index, value in enumerate(true.values()):
        found = np.array([piece.params[index] for piece in pieces])
        assert abs(found.mean() - value) < 3 * found.std() / np.sqrt(200)
        held = np.mean([piece.intervals[index][0] <= value <= piece.intervals[index][1] for piece in pieces])
        assert 0.91 <= held <= 0.985


def test_a_second_conversion_gain_is_a_break():
    first = np.where(ISOS < 800, 2.5, 1.0)
    s2 = (0.002 * first * ISOS) ** 2 + 1.4
    law = fit_read_law(ISOS, s2, 0.01 * s2, ALL)
    assert len(law.pieces) == 2
    assert law.pieces[0].below == pytest.approx(np.sqrt(400 * 800))
    assert law.pieces[1].params[0] == pytest.approx(0.002)
    assert law.at(6400) == pytest.approx(s2[-1])
    k = 0.002 * np.where(ISOS < 800, 1, 1.3) * ISOS
    assert len(fit_gain_law(ISOS, k, 0.005 * k, ALL).pieces) == 2
    assert len(fit_gain_law(ISOS, 0.002 * ISOS, 1e-5 * ISOS, ALL).pieces) == 1


def test_a_real_camera_scatters_a_little_and_is_accepted():
    isos = list(CRVD)
    gain = fit_gain_law(isos, [k for k, _ in CRVD.values()], [0.001 * k for k, _ in CRVD.values()], ALL)
    assert gain.accepted
    assert 0.01 < gain.scatter < 0.05
    assert max(map(abs, gain.residuals)) < 0.08
    assert gain.pieces[0].se[0] > 0.005 * gain.pieces[0].params[0]  # the scatter is in the error


def test_what_does_not_follow_is_refused():
    k = 0.002 * ISOS * np.array([1, 1.5, 0.7, 1, 1.6, 0.6, 1])
    law = fit_gain_law(ISOS, k, 0.005 * k, ALL)
    assert not law.accepted
    assert "does not follow it" in law.reason
    alone = fit_read_law([400], [5.0], [0.1], ALL)
    assert not alone.accepted
    assert "measured at ISO 400 only" in alone.reason
    assert alone.at(400) == pytest.approx(5.0)
    two = fit_read_law([100, 400], [2.0, 5.0], [0.1, 0.1], ALL)
    assert two.accepted
    assert "could not be checked" in two.reason


def test_noise_parts_are_never_imaginary():
    law = fit_read_law(ISOS, np.linspace(5, 2, 7), np.full(7, 0.1), ALL)
    assert law.pieces[0].params[0] == 0
    law = fit_read_law(ISOS, (0.01 * ISOS) ** 2.2, 0.02 * (0.01 * ISOS) ** 2.2, ALL)
    assert min(law.pieces[0].params) >= 0


def test_a_wrong_label_is_named_with_the_right_one():
    """The published frames: one that is called ISO 2500 was taken at 1600; gain and brightness agree on that."""
    isos, gains = [200, 500, 1000, 2500], [2.96e-4, 8.56e-4, 1.66e-3, 1.99e-3]
    exposure = {200: 1 / 17, 500: 1 / 17, 1000: 1 / 17, 2500: 1 / 21}
    top = {200: 0.01731 * 1.25, 500: 0.05423, 1000: 0.10923, 2500: 0.1368}
    brightness = [top[iso] / exposure[iso] for iso in isos]
    (finding,) = mislabelled(isos, gains, brightness, ["a", "b", "c", "d"])
    assert (finding.severity, finding.iso, finding.frame) == ("error", 2500, "d")
    assert "fit ISO 1600" in finding.text
    (finding,) = mislabelled(isos, gains, [None] * 4, ["a", "b", "c", "d"])
    assert finding.severity == "warning"
    assert "either the label is wrong or the sensor" in finding.text


def test_true_labels_are_left_alone():
    assert mislabelled([100, 200, 400], [0.2, 0.41, 0.79], [10.0, 20.0, 40.0], ["a", "b", "c"]) == []
    # Other light at one ISO does not make its label wrong as long as the gain fits.
    assert mislabelled([100, 200, 400], [0.2, 0.41, 0.79], [10.0, 60.0, 40.0], ["a", "b", "c"]) == []
    assert mislabelled([100, 200], [0.2, 0.9], [None, None], ["a", "b"]) == []
