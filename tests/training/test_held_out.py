"""What is held out: whole pictures, never patches; and crops that fit into them."""

import numpy as np
import pytest

from raw_frames import write_frames
from shotnoise.pairs.camera_pairs import CameraPairs
from shotnoise.recipe import load_recipe
from shotnoise.store import open_samples, pack
from shotnoise.training.run import _load, _split, _validation_batches


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_all_patches_of_a_picture_are_on_one_side(tmp_path, share):
    write_frames(tmp_path / "raw", count=9)
    pack(tmp_path / "raw", tmp_path / "s", channels=4, crop=12)
    origin = {record.arrays["clean"].tobytes(): record.meta["picture"] for record in open_samples(tmp_path / "s", 4)}
    training, held_out = _split(_load([str(tmp_path / "s")], 4, ["clean"]), share)
    sides = [{origin[patch.tobytes()] for patch in side} for side in (training, held_out)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {f"{number}.raw" for number in range(9)}
    assert len(sides[1]) == max(1, round(9 * share))
    assert len(training) + len(held_out) == len(origin)


def test_who_is_held_out_depends_on_the_names_alone():
    names = [f"{number}.raw" for number in range(20)]
    pictures = {name: [np.full((1, 2, 2), number, np.uint8)] for number, name in enumerate(names)}
    reversed_ = dict(reversed(list(pictures.items())))
    assert [p[0, 0, 0] for p in _split(pictures, 0.3)[1]] == [p[0, 0, 0] for p in _split(reversed_, 0.3)[1]]


def test_something_is_left_to_train_on():
    pictures = {name: [np.zeros((1, 2, 2), np.uint8)] for name in "abc"}
    assert [len(side) for side in _split(pictures, 0.9)] == [1, 2]


def test_pictures_of_two_folders_with_one_name_are_all_read(tmp_path):
    for place in ("one", "other"):
        folder = tmp_path / place / "pairs"
        folder.mkdir(parents=True)
        np.savez(folder / "a.npz", raw=np.zeros((8, 8), np.float32), rgb=np.zeros((8, 8, 3), np.float32))
    found = _load([str(tmp_path / place / "pairs") for place in ("one", "other")], 3, (), CameraPairs)
    assert [(name, len(parts)) for name, parts in found.items()] == [("pairs/a", 2)]


@pytest.mark.parametrize(("augment", "expected"), [(True, 32), (False, 64)])
def test_whole_patches_of_mosaics_can_be_held_out(augment, expected):
    """Turning them costs a pixel; then down to the network's multiple."""
    overrides = ["pairs={name: stored, crop: 16}", f"pairs.augment={augment}", "noise=null", "validation.samples=2"]
    recipe = load_recipe("raw/unet", overrides=[*overrides, "validation.noise=null"])
    (batch,) = _validation_batches(recipe, [np.random.default_rng(0).random((8, 64, 64), np.float32)], 16)
    assert batch["noisy"].shape == (2, 4, expected, expected)


@pytest.mark.parametrize(
    ("pairs", "channels", "side", "expected"),
    [("raw", 4, 101, 96), ("raw", 4, 96, 64), ("unprocessed", 3, 200, 96), ("unprocessed", 3, 400, 128)],
)
def test_validation_crops_fit_into_the_pictures(pairs, channels, side, expected):
    """Turning mosaics costs a pixel, and a plane is half as wide as a picture; then down to the network's multiple."""
    recipe = load_recipe("raw/unet", overrides=[f"pairs.name={pairs}", "validation.samples=2"])
    (batch,) = _validation_batches(recipe, [np.random.default_rng(0).random((channels, side, side), np.float32)], 16)
    assert batch["noisy"].shape == (2, 4, expected, expected)
