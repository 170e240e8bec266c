"""Lines through points whose truth is known, and points that are no line."""

import numpy as np
import pytest
from scipy import stats

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.fit import chi2_tail, fit_iso, fit_line
from shotnoise.sensor.calibration.result import Point

# Read off the curves of the published RAW pipeline: mean and variance of patches whose colours were mixed, ISO 1000.
MEANS = (0.02633, 0.03991, 0.05642, 0.0763, 0.0866, 0.08811, 0.0898, 0.09548, 0.10364, 0.10923)
VARIANCES = (9.93e-5, 2.10e-4, 3.93e-4, 6.84e-4, 8.52e-4, 8.88e-4, 9.05e-4, 1.01e-3, 1.19e-3, 1.33e-3)
LEVELS = np.geomspace(20, 2500, 12)


def points(k, s2, rng, dof=4000, plane="Y", dark=True, levels=LEVELS, **named):
    means = [0.0, *levels] if dark else levels
    # The variance of n Gaussian samples is chi2 distributed.
    variances = [(k * m + s2) * rng.chisquare(dof) / dof for m in means]
    return [
        Point(100, None, plane, float(m), float(v), dof, dof + 1, 2, roi=None if m == 0 else (0, 0, 2, 2), **named)
        for m, v in zip(means, variances, strict=True)
    ]


def test_a_line_without_noise_is_found_exactly():
    exact = [Point(100, None, "Y", m, 0.7 * m + 3, 1e6, 10**6, 2, roi=(0, 0, 2, 2)) for m in LEVELS]
    fit, marked = fit_line(exact)
    assert (fit.k, fit.s2) == (pytest.approx(0.7), pytest.approx(3))
    assert fit.r2 == pytest.approx(1)
    assert fit.chi2 == pytest.approx(0, abs=1e-6)
    assert all(point.used for point in marked)
    assert fit.flags == ("no-dark",)


def test_estimates_are_unbiased_and_their_errors_true():
    rng = np.random.default_rng(0)
    fits = [fit_line(points(0.5, 2.3, rng, dof=1000))[0] for _ in range(200)]
    for value, error, interval, true in (("k", "k_se", "k_interval", 0.5), ("s2", "s2_se", "s2_interval", 2.3)):
        values = np.array([getattr(fit, value) for fit in fits])
        assert abs(values.mean() - true) < 3 * values.std() / np.sqrt(200)
        assert values.std() == pytest.approx(np.mean([getattr(fit, error) for fit in fits]), rel=0.12)
        held = np.mean([low <= true <= high for low, high in (getattr(fit, interval) for fit in fits)])
        assert 0.91 <= held <= 0.985
    assert np.mean([fit.chi2 / fit.dof for fit in fits]) == pytest.approx(1, abs=0.08)
    assert sum("curvature" in fit.flags or "scatter" in fit.flags for fit in fits) == 0


def test_outliers_are_marked_and_do_not_matter():
    given = points(0.5, 2.3, np.random.default_rng(1))
    given[4] = Point(100, None, "Y", given[4].mean, 3 * given[4].variance, 4000, 4001, 2, roi=(0, 0, 2, 2))
    fit, marked = fit_line(given)
    assert [point.reason for point in marked if not point.used] == ["far off the line of the others"]
    assert not marked[4].used
    assert (fit.points, fit.rejected) == (12, 1)
    assert fit.k == pytest.approx(0.5, abs=4 * fit.k_se)


def test_mixed_colours_raise_the_flag():
    """The gain that the published pipeline reports for these is 0.0146; a tenth of it is true."""
    given = [Point(1000, None, "all", m, v, 19999, 20000, 1) for m, v in zip(MEANS, VARIANCES, strict=True)]
    fit, _ = fit_line(given)
    assert {"curvature", "negative-s2"} <= set(fit.flags)
    assert fit.s2 == 0
    assert fit.s2_free < 0
    assert fit.curvature == pytest.approx(0.094, abs=0.005)
    assert fit.k_curved < 0.0025


def test_a_variance_is_never_below_zero():
    fit, _ = fit_line(points(0.5, 1e-9, np.random.default_rng(4), dark=False))
    assert fit.s2 >= 0
    assert fit.s2_interval[0] == 0
    assert fit.k == pytest.approx(0.5, abs=4 * fit.k_se)


def test_compression_bends_the_line_down():
    rng = np.random.default_rng(5)
    given = [
        Point(1, None, "Y", float(m), float((0.5 * m - 4e-5 * m * m + 3) * rng.chisquare(4000) / 4000), 4000, 4001, 2)
        for m in LEVELS
    ]
    fit, _ = fit_line(given)
    assert "curvature" in fit.flags
    assert fit.curvature < 0


def test_more_scatter_than_chance_widens_the_error():
    rng = np.random.default_rng(6)
    exact = points(0.5, 2.3, rng, dof=10**6)
    rough = [
        Point(1, None, "Y", p.mean, p.variance * (1 + 0.02 * rng.standard_normal()), 10**6, 10**6, 2, roi=p.roi)
        for p in exact
    ]
    fit, _ = fit_line(rough)
    assert "scatter" in fit.flags
    assert 0.01 < fit.scatter < 0.04
    assert fit.k_se > 4 * fit_line(exact)[0].k_se


def test_planes_that_agree_are_pooled_and_others_are_not():
    rng = np.random.default_rng(7)
    alike = [point for plane in ("R", "Gr", "Gb", "B") for point in points(0.5, 2.3, rng, plane=plane)]
    fit, _ = fit_iso(alike, ("R", "Gr", "Gb", "B"))
    assert fit.pooled is not None
    assert fit.pooled.k_se < 0.6 * fit.planes[0].k_se
    assert fit.pooled.plane == "all"
    other = [*points(0.55, 2.3, rng, plane="R"), *alike[13:]]
    fit, _ = fit_iso(other, ("R", "Gr", "Gb", "B"))
    assert fit.pooled is None
    assert [best.plane for best in fit.best] == ["R", "Gr", "Gb", "B"]


def test_too_few_levels():
    rng = np.random.default_rng(8)
    assert "too-few-levels" in fit_line(points(0.5, 2.3, rng, levels=(100.0, 105.0)))[0].flags
    with pytest.raises(ProfileError, match="expected at least two levels"):
        fit_line(points(0.5, 2.3, rng, levels=(100.0,), dark=False))


def test_chi2_tail_against_scipy():
    for dof in (1, 3, 10, 200):
        for p in (0.5, 0.05, 1e-3):
            assert chi2_tail(stats.chi2.isf(p, dof), dof) == pytest.approx(p, rel=0.25 if dof > 1 else 0.6)
