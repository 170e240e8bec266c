"""Learning rates against the formulas."""

import math

import pytest
from safetensors.torch import load_file

from shotnoise.errors import RecipeError
from shotnoise.recipe import TrainingOptions, load_recipe, packaged_recipes
from shotnoise.training.schedule import learning_rate, neighbor2neighbor_milestones


def rates(**options):
    checked = TrainingOptions(**options)
    return [learning_rate(step, checked) for step in range(checked.steps)]


def test_cosine_with_warmup():
    values = rates(steps=110, lr=1.0, final_lr=0.1, warmup=10)
    assert values[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * n / 100)) / 2 for n in range(100)]
    assert values[10:] == pytest.approx(expected)


def test_warmup_from_a_share_and_a_single_cosine():
    """lr/1000 at the first step, lr at step `warmup`, the last value of the cosine one step after the end."""
    steps, warmup, lr, final = 5000, 300, 1e-4, 1e-7
    values = rates(steps=steps, lr=lr, final_lr=final, warmup=warmup, warmup_from=1e-3)
    assert values[0] == pytest.approx(1e-7)
    rise = [lr * (1e-3 + 0.999 * n / warmup) for n in range(warmup + 1)]
    assert values[: warmup + 1] == pytest.approx(rise)
    assert values[2650] == pytest.approx((lr + final) / 2), "half way down in the middle of the rest"
    fall = [final + (lr - final) * math.cos(math.pi / 2 * n / (steps - warmup)) ** 2 for n in range(steps - warmup)]
    assert values[warmup:] == pytest.approx(fall)
    assert max(values) == lr
    assert values[warmup:] == sorted(values[warmup:], reverse=True), "one cosine, no restart"


def test_multistep_halves_at_the_shares():
    values = rates(steps=100, lr=0.8, schedule="multistep", milestones=[0.5, 0.75])
    assert values == [0.8] * 50 + [0.4] * 25 + [0.2] * 25


def test_constant():
    assert set(rates(steps=5, lr=0.3, schedule="constant")) == {0.3}


@pytest.mark.shared
@pytest.mark.parametrize(("length", "ramp"), [("300k", 0.3), ("500k", 0.5)])
def test_rampdown_is_that_of_noise2noise(shared, length, ramp):
    golden = load_file(shared / "golden" / "n2n_schedules.safetensors")
    steps = int(length.removesuffix("k")) * 1000
    options = TrainingOptions(steps=steps, lr=3e-4, schedule="rampdown", ramp=ramp)
    for step, expected in zip(golden[f"n2n/iter_{length}"], golden[f"n2n/lr_{length}_p{ramp}"], strict=True):
        assert learning_rate(int(step), options) == pytest.approx(float(expected), rel=1e-9, abs=1e-15)


def test_rampdown_is_a_squared_half_cosine():
    values = rates(steps=100, lr=0.8, schedule="rampdown", ramp=0.4)
    assert values[:61] == [0.8] * 61
    assert values[80] == pytest.approx(0.8 / 4)
    assert values[70] == pytest.approx(0.8 * math.cos(math.pi / 8) ** 4)
    assert values[-1] < 0.8 * 1e-5
    assert values == sorted(values, reverse=True)


def test_neighbor2neighbor_halves_after_its_epochs():
    """The table of the paper's 100 epochs at the size of its training set, at the first and last step of each epoch."""
    epochs, length = 100, 11_082
    options = TrainingOptions(
        steps=epochs * length, lr=3e-4, schedule="multistep", milestones=neighbor2neighbor_milestones(epochs)
    )
    for epoch in range(1, epochs + 1):
        expected = 3e-4 / 2 ** sum(epoch >= start for start in (20, 40, 60, 80))
        for step in ((epoch - 1) * length, epoch * length - 1):
            assert learning_rate(step, options) == pytest.approx(expected), f"epoch {epoch}"


def test_milestones_of_other_lengths():
    assert neighbor2neighbor_milestones(10) == (0.1, 0.3, 0.5, 0.7)
    assert neighbor2neighbor_milestones(200) == (39 / 200, 79 / 200, 119 / 200, 159 / 200)
    with pytest.raises(RecipeError, match="9 epochs: the rule of Neighbor2Neighbor needs at least 10"):
        neighbor2neighbor_milestones(9)


@pytest.mark.parametrize("name", [name for name in packaged_recipes() if name.startswith("neighbor2neighbor/")])
def test_the_recipes_have_the_milestones_of_the_rule(name):
    assert load_recipe(name).training.milestones == neighbor2neighbor_milestones(100)
