"""Curves as SVG: what is drawn where."""

import re

import numpy as np
import pytest

from shotnoise.summary.curves import Drawn, curve, smoothed, ticks
from shotnoise.summary.record import Curve


def drawn(values, **changes):
    raw = Curve(np.arange(1.0, len(values) + 1), np.asarray(values, float))
    return curve(Drawn("Loss", "", raw, "{:.3g}".format, **{"smooth": smoothed(raw)} | changes), len(values))


def heights(svg, kind):
    """Of the points of a path, downwards."""
    points = re.search(rf'class="{kind}" d="M([^"]*)"', svg)[1].split()
    return [float(value) for value in points[1::2]]


@pytest.mark.parametrize("span", [(0, 1), (-3, 7), (20.1, 31.7), (0.00012, 0.00031), (0, 600_000), (29.3, 29.34)])
def test_ticks_are_round_and_inside(span):
    found = ticks(*span, False)
    assert 3 <= len(found) <= 7
    steps = np.diff(found)
    assert np.allclose(steps, steps[0])
    assert float(f"{steps[0]:.1e}"[:3]) in (1, 2, 5)
    assert span[0] - 1e-12 <= found[0] < found[-1] <= span[1] + 1e-9


@pytest.mark.parametrize("span", [(0.02, 0.3), (0.5, 40), (1e-6, 1e-3), (1e-9, 1e9), (0.1, 0.6)])
def test_logarithmic_ticks_are_round_and_inside(span):
    found = ticks(*span, True)
    assert 2 <= len(found) <= 7
    assert all(float(f"{value:.1e}"[:3]) in (1, 2, 3, 4, 5, 6) for value in found)
    assert span[0] <= found[0] * 1.001
    assert found[-1] <= span[1] * 1.001


def test_smooth_is_the_mean_around_each_point():
    values = np.random.default_rng(0).normal(size=200)
    got = smoothed(Curve(np.arange(200.0), values)).value
    width = 200 // 40 // 2
    for at in range(200):
        reach = min(at, 199 - at, width)
        assert got[at] == pytest.approx(values[at - reach : at + reach + 1].mean())


def test_a_logarithmic_axis_where_it_shows_more():
    falling = 10.0 ** np.linspace(0, -3, 101)
    svg = drawn(falling, smooth=None)
    assert "logarithmic" in svg
    assert np.allclose(np.diff(heights(svg, "main")), np.diff(heights(svg, "main"))[0], atol=0.11), "a straight line"
    assert "logarithmic" not in drawn(np.linspace(1, 0.5, 101))
    assert "logarithmic" not in drawn(np.linspace(1, -0.5, 101)), "a loss below zero has no logarithm"


def test_what_is_no_number_is_marked_and_not_drawn():
    values = np.linspace(2, 1, 50)
    values[[10, 11]] = np.nan
    svg = drawn(values)
    assert svg.count('class="bad"') == 2
    assert len(heights(svg, "main")) == 48
    assert "nan" not in svg
    assert drawn(np.full(5, np.nan)) == ""
    assert 'class="main"' in drawn([3.0]), "a single value is a curve, too"
    assert 'class="main"' in drawn([3.0, 3.0]), "and one that never changes"


def test_extremes_survive_in_a_long_curve():
    values = np.full(100_000, 1.0)
    values[77_777] = 1.4
    svg = drawn(values, smooth=Curve(np.arange(1.0, 100_001), np.full(100_000, 1.0)))
    raw = heights(svg, "faint")
    assert len(raw) == 800
    assert min(raw) < min(heights(svg, "main")) - 10
    assert len(svg) < 40_000


def test_one_bad_first_validation_does_not_flatten_the_rest():
    values = [8.0, 29.0, 29.5, 29.7, 29.8, 29.9]
    svg = drawn(values, smooth=None, mark=(6, 29.9))
    down = heights(svg, "main")
    assert down[1] - down[5] > 60
    assert "best: 29.9 at step 6" in svg
