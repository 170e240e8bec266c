import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise import NOISE
from shotnoise.pairs import PAIRS, collate
from shotnoise.pairs.mixed import MixedPictures
from shotnoise.recipe import Recipe, load_recipe


def pictures(channels=3):
    return [np.random.default_rng(0).integers(0, 256, (channels, 60, 70), np.uint8)]


def part(**changes):
    return {"share": 1, "pairs": {"name": "clean"}, "noise": {"name": "gaussian", "sigma": 25}} | changes


RENDERED = part(pairs={"name": "rendered"}, noise={"name": "poisson-gaussian", "k": 0.01, "electrons": 2})
CLEAN = part(noise={"name": "gaussian", "sigma": 0})


def test_parts_come_by_their_shares_and_repeat():
    source = MixedPictures(pictures=pictures(), crop=16, parts=[RENDERED | {"share": 1}, CLEAN | {"share": 3}])
    draws = [source.draw(torch.Generator().manual_seed(seed)) for seed in range(300)]
    untouched = sum(bool((sample.noisy == sample.target).all()) for sample in draws)
    assert 195 < untouched < 255  # 225, with a deviation of 7.5
    again = source.draw(torch.Generator().manual_seed(7))
    assert torch.equal(again.noisy, draws[7].noisy)
    batch = collate(draws[:8])
    assert batch["noisy"].shape == (8, 3, 16, 16)
    assert "level" not in batch  # only white noise has one


def test_one_part_is_that_part():
    mixed = MixedPictures(pictures=pictures(), crop=16, parts=[RENDERED])
    alone = PAIRS.create(
        "rendered",
        {"crop": 16},
        pictures=pictures(),
        noise=NOISE.create("poisson-gaussian", {"k": 0.01, "electrons": 2}),
    )
    ahead = torch.Generator().manual_seed(0)
    torch.rand((), generator=ahead)  # which part
    assert torch.equal(mixed.draw(torch.Generator().manual_seed(0)).noisy, alone.draw(ahead).noisy)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], r"pairs.parts is empty; expected a list"),
        ("clean", r"pairs.parts is empty|pairs.parts\[0\] is c; expected"),
        ([part(share=0)], r"pairs.parts\[0\].share is 0; expected a number above 0"),
        ([part(noise="gaussian")], r"pairs.parts\[0\].noise is gaussian; expected a name and options"),
        ([CLEAN, part(weight=2)], r"pairs.parts\[1\] has the unknown key 'weight': "),
        ([part(pairs={"name": "clean", "crop": 8})], r"has a crop of its own; give one for all"),
        (
            [part(pairs={"name": "kspace"})],
            r"pairs.parts\[0\].pairs is 'kspace'; expected a source of display pictures",
        ),
        ([part(pairs={"name": "mixed"})], r"pairs.parts\[0\].pairs is 'mixed'; expected a source of display pictures"),
    ],
)
def test_mistakes(parts, words):
    with pytest.raises(RecipeError, match=words):
        MixedPictures(pictures=pictures(), crop=16, parts=parts)


def test_noise_belongs_into_the_parts():
    with pytest.raises(RecipeError, match="has noise in each of its parts"):
        MixedPictures(pictures=pictures(), noise=NOISE.create("gaussian", {"sigma": 5}), parts=[CLEAN])
    with pytest.raises(RecipeError, match=r"'rendered' wants colour pictures; expected a network of 3 channels"):
        MixedPictures(pictures=pictures(1), crop=16, parts=[RENDERED])


def test_a_recipe_with_mixed_pairs_needs_no_noise_of_its_own():
    recipe = load_recipe("photo/real")
    assert recipe.noise is None
    assert sum(part["share"] for part in recipe.pairs.options["parts"]) == pytest.approx(1)
    assert Recipe.model_validate(recipe.model_dump()) == recipe
