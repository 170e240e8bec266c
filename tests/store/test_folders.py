import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from shotnoise.errors import PictureError, StoreError
from shotnoise.store import PictureFolder, open_samples, planes


def picture(path, height=20, width=30, channels=3, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if channels == 1 else (height, width, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_pictures_of_a_folder_read_like_a_store(tmp_path):
    first = picture(tmp_path / "b.png", seed=1)
    second = picture(tmp_path / "a" / "z.png", 11, 12, seed=2)
    folder = PictureFolder(tmp_path)
    assert folder.keys() == ("a/z.png", "b.png")
    assert len(folder) == 2
    assert [record.key for record in folder] == list(folder.keys())
    np.testing.assert_array_equal(folder[1].arrays["clean"], first.transpose(2, 0, 1))
    np.testing.assert_array_equal(folder[0].arrays["clean"], second.transpose(2, 0, 1))
    assert folder[0].meta == {"picture": "a/z.png"}
    assert not folder[0].arrays["clean"].flags.writeable
    assert (folder.failed, folder.unsuited, folder.converted) == ([], [], 0)
    assert open_samples(tmp_path).keys() == folder.keys()


def test_sixteen_bits_stay(tmp_path):
    pixels = np.arange(12 * 13, dtype=np.uint16).reshape(12, 13) * 400
    Image.fromarray(pixels).save(tmp_path / "a.png")
    clean = PictureFolder(tmp_path, channels=1)[0].arrays["clean"]
    assert clean.dtype == np.uint16
    np.testing.assert_array_equal(clean[0], pixels)


def test_broken_pictures_are_reported_one_by_one(tmp_path, caplog):
    picture(tmp_path / "good.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:300])
    steps = []
    with caplog.at_level(logging.WARNING):
        folder = PictureFolder(tmp_path, progress=lambda *step: steps.append(step))
    assert folder.keys() == ("good.png",)
    assert [failed.name for failed in folder.failed] == ["cut.png", "empty.png"]
    assert all(str(tmp_path / failed.name) in failed.reason for failed in folder.failed)
    assert [message.split(":")[0] for message in caplog.messages] == ["left out", "left out"]
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_small_pictures_are_left_out(tmp_path):
    picture(tmp_path / "a.png", 20, 30)
    picture(tmp_path / "b.png", 30, 30)
    folder = PictureFolder(tmp_path, min_size=30)
    assert folder.keys() == ("b.png",)
    (small,) = folder.unsuited
    assert (small.name, small.reason) == ("a.png", "20 x 30 pixels: a side is shorter than 30")


def test_nothing_usable_says_why(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(
        StoreError, match=r"none of its pictures can be used: 1 cannot be read .*b\.png.*; 1 are not wanted"
    ):
        PictureFolder(tmp_path, min_size=50)


def test_folders_without_pictures(tmp_path):
    with pytest.raises(PictureError, match="holds no pictures"):
        PictureFolder(tmp_path)
    with pytest.raises(StoreError, match="does not exist; expected a folder of pictures"):
        PictureFolder(tmp_path / "missing")
    picture(tmp_path / "a.png")
    with pytest.raises(StoreError, match="is not a folder; expected a folder of pictures"):
        PictureFolder(tmp_path / "a.png")


def test_too_much_for_memory_says_what_to_do(tmp_path):
    for i in range(3):
        picture(tmp_path / f"{i}.png")
    with pytest.raises(StoreError, match=r"memory \(2 of 3 decoded\); pack the folder first with `shotnoise pack "):
        PictureFolder(tmp_path, budget=20 * 30 * 3 + 1)
    assert len(PictureFolder(tmp_path, budget=3 * 20 * 30 * 3)) == 3


def test_mixed_gray_and_colour_is_converted_and_said(tmp_path, caplog):
    gray = picture(tmp_path / "gray.png", channels=1)
    colour = picture(tmp_path / "colour.png")
    folder = PictureFolder(tmp_path)
    assert folder.converted == 1
    np.testing.assert_array_equal(folder[1].arrays["clean"], np.stack([gray] * 3))
    assert "1 of 2 were converted to RGB" in caplog.text
    as_gray = PictureFolder(tmp_path, channels=1)[0].arrays["clean"]
    expected = 0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]
    assert np.abs(as_gray[0] - expected).max() <= 0.5 + 1e-9


def test_a_folder_has_no_splits(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(StoreError, match=r"only a store has splits.*--split 0\.9"):
        open_samples(tmp_path, split="train")


@pytest.mark.parametrize("channels", [0, 2, 5])
def test_channels_are_one_three_or_four(tmp_path, channels):
    picture(tmp_path / "a.png")
    with pytest.raises(
        StoreError, match=rf"channels is {channels}; expected 3 \(RGB\), 1 \(gray\) or 4 \(camera RAW\)"
    ):
        PictureFolder(tmp_path, channels=channels)


def test_floating_point_pictures_must_be_finite(tmp_path):
    pixels = np.full((12, 12), 0.5, np.float32)
    np.save(tmp_path / "good.npy", pixels)
    pixels[3, 4] = np.nan
    np.save(tmp_path / "bad.npy", pixels)
    folder = PictureFolder(tmp_path, channels=1)
    assert folder.keys() == ("good.npy",)
    assert "bad.npy" in folder.failed[0].reason


@given(gray=hnp.arrays(st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)))
def test_gray_to_rgb_and_back_is_identity(gray):
    rgb = planes(gray, 3).transpose(1, 2, 0)
    np.testing.assert_array_equal(planes(rgb, 1)[0], gray)
    np.testing.assert_array_equal(planes(gray, 1)[0], gray)


@pytest.mark.shared
def test_the_broken_examples_do_not_stop_a_folder(shared):
    folder = PictureFolder(shared / "data" / "corrupt", budget=2**28)
    failed = {failed.name for failed in folder.failed}
    assert {"zero_bytes.png", "truncated.png", "truncated.jpg", "bad_crc.png", "bomb_header.png"} <= failed
    assert {"odd_37x53.png", "one_by_one.png", "gray16.png"} <= set(folder.keys())
