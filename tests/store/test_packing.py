import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shotnoise.errors import PictureError, StoreError
from shotnoise.store import Store, in_train, pack
from shotnoise.store.packing import _starts


@pytest.fixture
def pictures(tmp_path):
    """Name -> pixels of a small folder."""
    folder = tmp_path / "pictures"
    found = {}
    for seed, (name, height, width) in enumerate([("a.png", 20, 31), ("sub/b.png", 40, 20), ("ü c.png", 25, 25)]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        found[name] = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(found[name]).save(folder / name)
    return found


def test_whole_pictures(tmp_path, pictures):
    steps = []
    report = pack(tmp_path / "pictures", tmp_path / "s", progress=lambda *step: steps.append(step))
    assert (report.pictures, report.records, report.failed, report.unsuited) == (3, 3, [], [])
    assert steps == [(1, 3), (2, 3), (3, 3)]
    store = Store(tmp_path / "s")
    store.verify()
    assert set(store.keys()) == set(pictures)
    for record in store:
        np.testing.assert_array_equal(record.arrays["clean"], pictures[record.key].transpose(2, 0, 1))
        assert record.meta == {"picture": record.key}
    assert store.schema.made_by["source"] == "pictures"
    assert store.schema.total_bytes == report.total_bytes


def test_patches_cover_every_pixel(tmp_path, pictures):
    report = pack(tmp_path / "pictures", tmp_path / "s", crop=16, stride=12)
    store = Store(tmp_path / "s")
    assert store.schema.arrays["clean"].shape == (3, 16, 16)
    assert (report.pictures, report.records) == (3, len(store))
    seen = {name: np.zeros(pixels.shape[:2], bool) for name, pixels in pictures.items()}
    for record in store:
        name, place = record.key.split("#")
        row, column = map(int, place.split(","))
        window = pictures[name][row : row + 16, column : column + 16]
        np.testing.assert_array_equal(record.arrays["clean"], window.transpose(2, 0, 1))
        seen[name][row : row + 16, column : column + 16] = True
    assert all(mask.all() for mask in seen.values())


@given(length=st.integers(1, 200), crop=st.integers(1, 200), stride=st.integers(1, 200))
def test_patch_starts(length, crop, stride):
    if crop > length:
        return
    starts = _starts(length, crop, stride)
    assert starts[0] == 0
    assert starts[-1] + crop == length
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= stride).all()
    assert (steps[:-1] == stride).all()


def test_pictures_smaller_than_the_crop_are_left_out(tmp_path, pictures):
    report = pack(tmp_path / "pictures", tmp_path / "s", crop=25)
    assert [(small.name, small.reason) for small in report.unsuited] == [
        ("a.png", "20 x 31 pixels: a side is shorter than 25"),
        ("sub/b.png", "40 x 20 pixels: a side is shorter than 25"),
    ]
    assert report.failed == []
    with pytest.raises(
        StoreError, match=r"3 are not wanted \(the first: a.png, 20 x 31 pixels: a side is shorter than 64\)"
    ):
        pack(tmp_path / "pictures", tmp_path / "t", crop=64)
    assert not (tmp_path / "t").exists()


def test_both_sides_lie_within_the_bounds(tmp_path, pictures):
    report = pack(tmp_path / "pictures", tmp_path / "s", min_size=20, max_size=31)
    assert set(Store(tmp_path / "s").keys()) == {"a.png", "ü c.png"}
    (tall,) = report.unsuited
    assert (tall.name, tall.reason) == ("sub/b.png", "40 x 20 pixels: a side is longer than 31")


def test_pictures_of_the_other_kind_are_converted_or_left_out(tmp_path, pictures):
    Image.new("L", (30, 30)).save(tmp_path / "pictures" / "gray.png")
    assert pack(tmp_path / "pictures", tmp_path / "s").converted == ["gray.png"]
    report = pack(tmp_path / "pictures", tmp_path / "t", convert=False)
    assert (report.pictures, report.converted) == (3, [])
    assert [(left.name, left.reason) for left in report.unsuited] == [("gray.png", "gray, not RGB")]


def test_a_broken_picture_does_not_stop_the_rest(tmp_path, pictures):
    (tmp_path / "pictures" / "broken.png").write_bytes(b"\x89PNG")
    report = pack(tmp_path / "pictures", tmp_path / "s")
    assert report.records == 3
    (failed,) = report.failed
    assert failed.name == "broken.png"
    assert "\n" not in failed.reason
    assert json.loads(json.dumps(report.to_json()))["failed"] == [{"name": "broken.png", "reason": failed.reason}]


def test_a_name_that_cannot_be_a_key_does_not_stop_the_rest(tmp_path, pictures):
    source = tmp_path / "pictures"
    (source / "a.png").rename(source / "two\nlines.png")
    report = pack(source, tmp_path / "s")
    assert report.records == 2
    assert "cannot be used" in report.failed[0].reason
    assert "\n" not in report.failed[0].reason


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_pack_leaves_nothing(tmp_path, pictures, interruption):
    def interrupt(done, total):
        if done == 2:
            raise interruption

    with pytest.raises(interruption):
        pack(tmp_path / "pictures", tmp_path / "s", progress=interrupt)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pictures"]


def test_a_split_keeps_the_patches_of_a_picture_together(tmp_path, pictures):
    report = pack(tmp_path / "pictures", tmp_path / "s", crop=10, split=0.5, seed=3)
    groups = {name: {key.split("#")[0] for key in keys} for name, keys in Store(tmp_path / "s").splits.items()}
    assert groups["train"] | groups["val"] == set(pictures)
    assert not groups["train"] & groups["val"]
    assert all(in_train(name, 0.5, 3) for name in groups["train"])
    assert sum(report.splits.values()) == report.records


@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 2**32))
def test_the_split_has_about_the_share_and_grows_with_it(share, seed):
    names = [f"picture {i}" for i in range(2000)]
    chosen = {name for name in names if in_train(name, share, seed)}
    assert abs(len(chosen) / 2000 - share) < 0.07  # six standard deviations
    assert chosen <= {name for name in names if in_train(name, share + 0.04, seed)}


def test_the_split_depends_on_the_seed():
    names = [f"{i}" for i in range(100)]
    assert [in_train(n, 0.5, 0) for n in names] != [in_train(n, 0.5, 1) for n in names]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": 0}, "crop is 0; expected a side"),
        ({"stride": 4}, "stride is 4; expected a step in pixels, together with a crop"),
        ({"crop": 8, "stride": 0}, "stride is 0"),
        ({"split": 1.0}, "split is 1.0; expected the share"),
        ({"split": float("nan")}, "split is nan"),
        ({"channels": 2}, "channels is 2"),
        ({"min_size": 30, "max_size": 20}, "max_size is 20 and min_size 30; expected a largest side"),
        ({"crop": 30, "max_size": 20}, "max_size is 20 and min_size 30"),
        ({"max_size": 0}, "max_size is 0"),
    ],
)
def test_options_that_make_no_sense(tmp_path, pictures, options, words):
    with pytest.raises(StoreError, match=words):
        pack(tmp_path / "pictures", tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_gray(tmp_path, pictures):
    report = pack(tmp_path / "pictures", tmp_path / "s", channels=1)
    assert report.converted == ["a.png", "sub/b.png", "ü c.png"]
    assert Store(tmp_path / "s").schema.arrays["clean"].smallest == (1, 20, 20)


def test_a_folder_without_pictures_and_no_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="empty: holds no pictures; expected files that end in"):
        pack(tmp_path / "empty", tmp_path / "s")
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(
        StoreError, match=r"a\.txt: is not a folder; expected a folder of pictures or a \.tfrecords file"
    ):
        pack(tmp_path / "a.txt", tmp_path / "s")
    assert not (tmp_path / "s").exists()
