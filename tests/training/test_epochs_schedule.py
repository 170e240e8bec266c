"""The schedule that knows epochs, against the published numbers."""

import pytest
from safetensors.torch import load_file

from shotnoise.errors import RecipeError
from shotnoise.recipe import TrainingOptions, load_recipe, scaled
from shotnoise.training.schedule import first_beta, learning_rate


@pytest.mark.shared
def test_rate_and_beta_are_those_of_the_mri_experiment(shared):
    """5,000 slices in batches of 16 are 312 steps an epoch, without the last 8 slices."""
    golden = load_file(shared / "golden" / "n2n_schedules.safetensors")
    options = load_recipe("noise2noise/mri").training
    assert (options.steps, options.batch, options.epochs) == (300 * (5000 // 16), 16, 300)
    for epoch in range(300):
        for step in (312 * epoch, 312 * epoch + 311):
            rate, beta = learning_rate(step, options), first_beta(step, options)
            assert rate == pytest.approx(float(golden["mri/lr"][epoch]), rel=1e-9, abs=1e-15)
            assert beta == pytest.approx(float(golden["mri/adam_beta1"][epoch]), rel=1e-9, abs=1e-15)


def test_epochs_need_not_divide_the_steps():
    options = TrainingOptions(steps=10, schedule="epochs", epochs=3, fall=1, lr=1.0, betas=(0.9, 0.99))
    assert [learning_rate(step, options) for step in range(10)] == [1.0] * 10, "the fall begins from the highest rate"
    assert [first_beta(step, options) for step in range(10)] == [0.9] * 10, "which no beta was given for"
    four = scaled(load_recipe("noise2noise/mri"), 4).training
    assert (four.steps, four.epochs, four.rise) == (23_400, 300, 10)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.schedule=cosine", "epochs, rise, fall and final_beta1 need schedule: epochs, but it is cosine"),
        ("training.epochs=null", "schedule: epochs needs epochs, how many there are in all"),
        ("training.epochs=100000", "at most one per step"),
        ("training.rise=290", "rise 290 and fall 30 are more than the 300 epochs"),
        ("training.fall=0", "final_beta1 needs fall"),
    ],
)
def test_mistakes_are_named(override, words):
    with pytest.raises(RecipeError, match=words):
        load_recipe("noise2noise/mri", overrides=[override])
