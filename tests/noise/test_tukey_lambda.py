"""Tukey's lambda family against scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from shotnoise.errors import RecipeError
from shotnoise.noise.tukey_lambda import check_shape, quantile, uniform, variance

SHAPES = [-0.4, -0.26, -0.1429, -1e-3, 1e-6, 0.0, 0.05, 0.14, 0.2, 0.8]


@pytest.mark.parametrize("shape", SHAPES)
def test_quantiles_are_those_of_scipy(shape):
    p = np.array([1e-7, 1e-3, 0.2, 0.5, 0.77, 1 - 1e-6])
    expected = stats.tukeylambda(shape).ppf(p) if abs(shape) > 1e-5 else stats.logistic.ppf(p)
    for dtype, tolerance in ((torch.float64, 1e-5 if abs(shape) == 1e-6 else 1e-12), (torch.float32, 1e-2)):
        given = torch.tensor(p, dtype=dtype)
        torch.testing.assert_close(
            quantile(given, torch.tensor(shape, dtype=dtype)).double(),
            torch.tensor(expected),
            rtol=tolerance,
            atol=1e-6,
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_the_standard_deviation_is_that_of_scipy(shape):
    expected = stats.tukeylambda(shape).std() if abs(shape) > 1e-5 else np.pi / 3**0.5
    assert float(variance(torch.tensor(shape, dtype=torch.float64))) ** 0.5 == pytest.approx(expected, rel=1e-5)


def test_the_standard_deviations_of_the_published_table():
    shapes = torch.tensor([-0.2, -0.1, 0.0, 0.1, 0.14, 0.2])
    expected = torch.tensor([2.736, 2.186, 1.814, 1.542, 1.453, 1.334])
    torch.testing.assert_close(variance(shapes).sqrt(), expected, rtol=0, atol=6e-4)


def test_draws_are_strictly_between_0_and_1_and_have_the_variance():
    for dtype in (torch.float32, torch.float64):
        like = torch.empty(2_000_000, dtype=dtype)
        draws = uniform(like, torch.Generator().manual_seed(1))
        assert draws.min() > 0
        assert draws.max() < 1
        assert draws.dtype == dtype
        values = quantile(draws, torch.tensor(0.1, dtype=dtype)).double()
        assert float(values.var()) == pytest.approx(stats.tukeylambda(0.1).var(), rel=0.01)
    edges = torch.tensor([torch.finfo(torch.float32).eps / 2, 1 - torch.finfo(torch.float32).eps / 2])
    assert quantile(edges, torch.tensor(-0.4)).isfinite().all()


def test_shapes_without_a_variance_are_refused():
    assert check_shape([0.1, -0.2]) == (0.1, -0.2)
    for wrong in (-0.5, [0.1, "a"], [], None, True, float("nan")):
        with pytest.raises(RecipeError, match=r"shape is .*; expected the lambda of the Tukey law, -0.45 or more"):
            check_shape(wrong)
