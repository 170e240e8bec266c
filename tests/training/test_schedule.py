"""Learning rates against the formulas."""

import math

import pytest

from shotnoise.recipe import TrainingOptions
from shotnoise.training.schedule import learning_rate


def rates(**options):
    checked = TrainingOptions(**options)
    return [learning_rate(step, checked) for step in range(checked.steps)]


def test_cosine_with_warmup():
    values = rates(steps=110, lr=1.0, final_lr=0.1, warmup=10)
    assert values[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * n / 100)) / 2 for n in range(100)]
    assert values[10:] == pytest.approx(expected)


def test_multistep_halves_at_the_shares():
    values = rates(steps=100, lr=0.8, schedule="multistep", milestones=[0.5, 0.75])
    assert values == [0.8] * 50 + [0.4] * 25 + [0.2] * 25


def test_constant():
    assert set(rates(steps=5, lr=0.3, schedule="constant")) == {0.3}
