"""What the viewer is shown are the pixels of the file."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image as Pillow

from shotnoise.web import RefusedError
from shotnoise.web.views import AMPLIFIED, archive, window


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, (70, 50, 3), np.uint8)
    np.save(tmp_path / "before.npy", before)
    np.save(
        tmp_path / "after.npy",
        np.clip(before.astype(int) + rng.integers(-9, 10, before.shape), 0, 255).astype(np.uint8),
    )
    return tmp_path


def shown(folder, side="before", **where):
    where = {"x": 0, "y": 0, "size": 512, "every": 1, **where}
    return np.asarray(Pillow.open(io.BytesIO(window(folder, side, **where))))


def test_real_pixels(folder):
    before = np.load(folder / "before.npy")
    assert np.array_equal(shown(folder), before)
    assert np.array_equal(shown(folder, x=16, y=32, size=16), before[32:48, 16:32])
    assert np.array_equal(shown(folder, x=48, y=64, size=16), before[64:, 48:])


def test_smaller_ones_are_means(folder):
    before = np.load(folder / "before.npy").astype(float)
    small = shown(folder, every=4)
    assert small.shape == (18, 13, 3)
    assert np.array_equal(small[3, 5], np.floor(before[12:16, 20:24].mean(axis=(0, 1)) + 0.5))
    assert np.array_equal(small[17, 12], np.floor(before[68:, 48:].mean(axis=(0, 1)) + 0.5))


def test_what_was_removed(folder):
    before, after = (np.load(folder / f"{side}.npy").astype(int) for side in ("before", "after"))
    expected = np.clip(128 + AMPLIFIED * (before - after), 0, 255)
    assert np.abs(shown(folder, "removed").astype(int) - expected).max() <= 1


def test_sixteen_bits_are_rounded_and_compared_before_that(tmp_path):
    before = np.array([[0, 128, 129, 65535], [1000, 1000, 1000, 1000]], np.uint16)
    np.save(tmp_path / "before.npy", before)
    np.save(tmp_path / "after.npy", before - np.array([[0, 0, 0, 0], [0, 32, 64, 128]], np.uint16))
    assert shown(tmp_path).tolist() == [[0, 0, 1, 255], [4, 4, 4, 4]]
    assert shown(tmp_path, "removed")[1].tolist() == [128, 129, 130, 132]  # 8 * 32 / 257 = 1.0


def test_a_gray_picture_that_became_one_of_three_colours(tmp_path):
    np.save(tmp_path / "before.npy", np.full((4, 4), 100, np.uint8))
    np.save(tmp_path / "after.npy", np.full((4, 4, 3), 99, np.uint8))
    assert shown(tmp_path, "removed").tolist() == np.full((4, 4, 3), 128 + AMPLIFIED).tolist()


def test_the_colour_profile_goes_with_the_pixels(folder):
    (folder / "after.icc").write_bytes(b"not looked into")
    opened = Pillow.open(io.BytesIO(window(folder, "after", 0, 0, 8, 1)))
    assert opened.info["icc_profile"] == b"not looked into"
    assert "icc_profile" not in Pillow.open(io.BytesIO(window(folder, "before", 0, 0, 8, 1))).info


@pytest.mark.parametrize(
    ("side", "where", "status", "words"),
    [
        ("between", (0, 0, 8, 1), 400, "no view 'between'"),
        ("../before", (0, 0, 8, 1), 400, "no view"),
        ("before", (0, 0, 10**6, 1), 400, "of size 1000000"),
        ("before", (-1, 0, 8, 1), 400, "no view 'before' at -1"),
        ("before", (50, 0, 8, 1), 404, "does not reach to 50, 0"),
    ],
)
def test_views_that_there_are_not(folder, side, where, status, words):
    with pytest.raises(RefusedError, match=words) as raised:
        window(folder, side, *where)
    assert raised.value.status == status


def test_a_picture_that_is_gone(tmp_path):
    with pytest.raises(RefusedError, match="not there any more; open the file again"):
        window(tmp_path, "before", 0, 0, 8, 1)


def test_archive(tmp_path):
    contents = {"a.png": b"a" * 3_000_000, "b.dng": b"", "ä.tif": b"c"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    pieces = list(archive({name: tmp_path / name for name in contents}, {"a.png": {"sigma": 3}}))
    assert max(map(len, pieces)) < 2**21  # never the whole of it in memory
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in contents} == contents
        assert json.loads(found.read("report.json")) == {"a.png": {"sigma": 3}}
