"""Recipes: packaged ones hold, misspelt ones are refused with the nearest word."""

import numpy as np
import pytest
import torch
import yaml

from shotnoise.errors import RecipeError
from shotnoise.methods import METHODS
from shotnoise.networks import create
from shotnoise.noise import NOISE
from shotnoise.pairs import PAIRS
from shotnoise.recipe import Recipe, load_recipe, packaged_recipes, parse_override, recipe_text, scaled

MINIMAL = """
name: mine
network: {name: dncnn, nc: 8}
noise: {name: gaussian, sigma: 25}
training: {steps: 10}
"""


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", packaged_recipes())
def test_packaged_recipes_can_be_built(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.title
    network = create(recipe.network.name, **recipe.network.options)
    METHODS.create(recipe.method.name, recipe.method.options, network=network)
    stated = (recipe.noise, recipe.validation.noise or recipe.noise)
    noise, _ = (None if n is None else NOISE.create(n.name, n.options) for n in stated)
    kind = PAIRS.resolve(recipe.pairs.name)
    channels = len(kind.wants(recipe.pairs.options)) * (kind.picture_channels or network.channels)
    pictures = [np.zeros((channels, 300, 300), np.uint8)]
    source = PAIRS.create(recipe.pairs.name, recipe.pairs.options, pictures=pictures, noise=noise)
    sample = source.draw(torch.Generator().manual_seed(0)).noisy
    halved = 2 if recipe.method.name == "neighbor2neighbor" else 1
    assert len(sample) == network.channels
    if recipe.method.name != "kspace":  # which pads with black
        assert not any(side % (halved * network.multiple) for side in sample.shape[1:]), "training does not pad"
    assert recipe.validation.crop <= kind.largest_crop((channels, 300, 300), recipe.pairs.options)
    header = recipe_text(name).split("name:")[0]
    for word in ("# command", "# cost", "# expected", "# source"):
        assert word in header, f"the header of {name} does not state its {word[2:]}"


def test_the_resolved_recipe_reads_back_equal(tmp_path):
    recipe = load_recipe(write(tmp_path, MINIMAL), overrides=["training.ema=0.9"], data=["a", "b"])
    assert recipe.data == ("a", "b")
    again = load_recipe(write(tmp_path, recipe.to_yaml()))
    assert again == recipe
    assert again.sha256() == recipe.sha256()
    assert load_recipe(write(tmp_path, MINIMAL)).sha256() != recipe.sha256()


def test_the_fingerprint_ignores_where_the_data_lies(tmp_path):
    path = write(tmp_path, MINIMAL)
    assert load_recipe(path, data=["here"]).sha256() == load_recipe(path, data=["there"]).sha256()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.step=3", "unknown key 'training.step': did you mean 'steps'"),
        ("trainin.steps=3", "unknown key 'trainin': did you mean 'training'"),
        ("training.steps=0", "training.steps: Input should be greater than 0"),
        ("training.schedule=multistep", "multistep needs milestones"),
        ("training.milestones=[0.5]", "milestones need schedule: multistep, but schedule is cosine"),
        ("training={steps: 9, schedule: constant, final_lr: 1e-6}", "final_lr needs schedule: cosine, but schedule is"),
        ("training.factor=0.3", "factor needs schedule: multistep, but schedule is cosine"),
        ("training.betas=[0.9, 1]", "betas [0.9, 1.0] are two numbers from 0 up, below 1, for instance [0.9, 0.999]"),
        ("noise=gaussian", "noise is gaussian; expected options with their values, as in {name: NAME, OPTION: VALUE}"),
        ("training=9", "training is 9; expected options with their values, as in {steps: 1000}"),
        ("seed=9223372036854775808", "seed: Input should be less than"),
        ("training.ramp=0.3", "ramp needs schedule: rampdown, but schedule is cosine"),
        ("training.schedule=rampdown", "schedule: rampdown needs ramp"),
        ("noise=null", "noise is missing, for instance {name: gaussian, sigma: 25}"),
        ("training.warmup_from=0.1", "warmup_from needs warmup"),
        ("training.warmup_from=0", "training.warmup_from: Input should be greater than 0"),
        ("validation.best=loss", "validation.best: Input should be 'psnr' or 'ssim'"),
        ("training.warmup=10", "warmup 10 must be shorter than steps 10"),
        ("training.clip_by=tensor", "clip_by needs clip"),
        ("training.clip_by=value", "training.clip_by: Input should be 'all' or 'tensor'"),
        ("training.precision=int4", "training.precision: Input should be"),
        ("name.x=1", "'name' holds a value, not options"),
        ("training.steps", "expected KEY=VALUE"),
        ("training.steps=[", "is not a YAML value"),
    ],
)
def test_mistakes_are_named(tmp_path, override, words):
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, MINIMAL), overrides=[override])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pictures_that_are_noisy_already_need_no_noise(tmp_path):
    overrides = ["noise=null", "pairs={name: single-noisy, simulate: false}", "method.name=neighbor2neighbor"]
    recipe = load_recipe(write(tmp_path, MINIMAL), overrides=overrides)
    assert recipe.noise is None
    assert load_recipe(write(tmp_path, recipe.to_yaml())) == recipe


def test_several_devices_see_as_many_samples_with_the_rate_of_their_batch():
    """The published run of four cards follows from that of one."""
    one = load_recipe("invdn/sidd")
    four = scaled(one, 4)
    assert (four.training.batch, four.training.lr, four.training.steps) == (14, 8e-4, 150_000)
    drops = [round(share * 150_000) for share in four.training.milestones]
    assert drops == [25_000, 50_000, 75_000, 100_000, 125_000, 135_000, 145_000]
    for devices in (1, 2, 3, 8, 14):
        plan = scaled(one, devices)
        total = devices * plan.training.batch
        assert total * plan.training.steps == pytest.approx(14 * 600_000, rel=1e-5)
        assert total / plan.training.lr == pytest.approx(14 / 2e-4)
        assert plan.validation.every * devices == pytest.approx(one.validation.every, abs=devices)
    assert scaled(one, 1) == one


def test_everything_that_counts_steps_is_scaled(tmp_path):
    changes = ["steps=1000", "lr=1e-3", "final_lr=1e-5", "warmup=100", "ema=0.9", "batch=3"]
    recipe = load_recipe(write(tmp_path, MINIMAL), overrides=[f"training.{change}" for change in changes])
    training = scaled(recipe, 3).training
    assert (training.steps, training.warmup, training.batch) == (333, 33, 3)
    assert (training.lr, training.final_lr) == (3e-3, 3e-5)
    assert training.ema == pytest.approx(0.9**3)
    assert scaled(recipe, 3).validation.every == 333
    with pytest.raises(RecipeError, match="devices is 0; expected the number of processes, 1 or more"):
        scaled(recipe, 0)
    with pytest.raises(RecipeError, match=r"mine on 100 devices: training\.ema: Input should be greater than 0"):
        scaled(load_recipe(write(tmp_path, MINIMAL), overrides=["training.ema=0.0001"]), 100)


def test_clean_targets_are_one_setting_away():
    recipe = load_recipe("noise2noise/gaussian-quick", overrides=["pairs.clean_target=true"])
    assert recipe.pairs.options["clean_target"] is True


def test_unknown_names_and_broken_files(tmp_path):
    with pytest.raises(RecipeError, match="no recipe 'gaussian/z': did you mean 'gaussian/s'"):
        load_recipe("gaussian/z")
    with pytest.raises(RecipeError, match="line 2: not a plain YAML recipe"):
        load_recipe(write(tmp_path, "name: x\n b: [\n"))
    with pytest.raises(RecipeError, match="is a YAML mapping"):
        load_recipe(write(tmp_path, "- 1"))
    with pytest.raises(RecipeError, match=r"line 2: not a plain YAML recipe \(no alias \*a here: write the values out"):
        load_recipe(write(tmp_path, "data: &a [x]\nnoise: [*a, *a]\n"))


@pytest.mark.shared
def test_python_objects_in_yaml_are_refused_with_their_line(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"yaml_object.yaml, line \d+: not a plain YAML recipe"):
        load_recipe(shared / "data" / "corrupt" / "yaml_object.yaml")
    assert not list(tmp_path.iterdir())


def test_overrides_take_yaml_values():
    assert parse_override("a.b=true") == (["a", "b"], True)
    assert Recipe.model_validate(yaml.safe_load(MINIMAL) | {"training": {"steps": 3, "lr": "1e-3"}}).training.lr == 1e-3


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("2E5", 2e5), ("-.5e+1", -5.0), ("1.e3", 1e3), ("e5", "e5"), ("1e", "1e"), ("0x1e-3", "0x1e-3")],
)
def test_powers_of_ten_are_numbers_wherever_they_stand(tmp_path, text, value):
    """YAML 1.1 takes 1e-3 for a text, of which options of noise, pairs and methods could make nothing."""
    assert parse_override(f"noise.k={text}")[1] == value
    (tmp_path / "mine.yaml").write_text(f"{MINIMAL}\nmethod: {{name: sure, step: {text}}}\n")
    assert load_recipe(tmp_path / "mine.yaml").method.options == {"step": value}
