"""Folders of pairs: which layouts are known, who belongs to whom, and what is said when somebody is missing."""

import numpy as np
import pytest
from PIL import Image

from shotnoise.errors import StoreError
from shotnoise.store import PictureFolder, Store, open_samples, pack
from shotnoise.store.pair_folders import find_pairs


def picture(path, seed, height=20, width=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels.transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("noisy", "clean", "arrays"),
    [
        ("noisy", "clean", ("noisy", "clean")),
        ("Noisy", "GT", ("noisy", "clean")),
        ("input", "target", ("noisy", "clean")),
        ("input", "gt", ("noisy", "clean")),
        ("first", "second", ("first", "second")),
    ],
)
def test_two_folders_matched_by_name(tmp_path, noisy, clean, arrays):
    folder = tmp_path / "pictures"
    expected = {
        f"sub/{name}.png": (picture(folder / noisy / "sub" / f"{name}.png", 2 * name),
                            picture(folder / clean / "sub" / f"{name}.tif", 2 * name + 1))
        for name in range(3)
    }  # fmt: skip
    samples = open_samples(folder, arrays=arrays)
    assert samples.keys() == tuple(expected)
    for record in samples:
        assert record.meta == {"picture": record.key}
        for name, pixels in zip(arrays, expected[record.key], strict=True):
            np.testing.assert_array_equal(record.arrays[name], pixels)
            assert not record.arrays[name].flags.writeable
    pack(folder, tmp_path / "packed")
    for mine, packed in zip(samples, Store(tmp_path / "packed"), strict=True):
        assert mine.key == packed.key
        assert mine.arrays.keys() == packed.arrays.keys()
        for name in arrays:
            np.testing.assert_array_equal(mine.arrays[name], packed.arrays[name])


def test_the_tree_of_sidd(tmp_path, tmp_path_factory):
    """Two pairs per scene, which stay together."""
    target = tmp_path_factory.mktemp("sidd") / "store"
    for scene in ("0001_001_S6_00100", "0002_001_S6_00100"):
        for number in ("010", "011"):
            picture(tmp_path / "Data" / scene / f"{scene[:4]}_NOISY_SRGB_{number}.PNG", 1)
            picture(tmp_path / "Data" / scene / f"{scene[:4]}_GT_SRGB_{number}.PNG", 2)
    picture(tmp_path / "small" / "NOISY_SRGB_010.PNG", 3)  # as in the small edition
    picture(tmp_path / "small" / "GT_SRGB_010.PNG", 4)
    samples = open_samples(tmp_path, arrays=("noisy", "clean"))
    assert len(samples) == 5
    assert samples.keys()[0] == "Data/0001_001_S6_00100/0001_NOISY_SRGB_010.PNG"
    assert [record.meta["picture"] for record in samples] == [
        *["Data/0001_001_S6_00100"] * 2, *["Data/0002_001_S6_00100"] * 2, "small",
    ]  # fmt: skip
    report = pack(tmp_path, target, crop=10, crops=4, split=0.5)
    assert (report.pictures, report.records) == (3, 20)
    groups = Store(target).splits
    scenes = [{key.rsplit("/", 1)[0] for key in keys} for keys in groups.values()]
    assert not scenes[0] & scenes[1]
    (tmp_path / "small" / "GT_SRGB_010.PNG").unlink()
    with pytest.raises(StoreError, match=r"holds 5 NOISY_SRGB and 4 GT_SRGB .*'small/NOISY_SRGB_010.PNG' has no 'GT_S"):
        find_pairs(tmp_path)
    (tmp_path / "small" / "NOISY_SRGB_010.PNG").unlink()
    picture(tmp_path / "small" / "GT_SRGB_012.PNG", 4)
    with pytest.raises(StoreError, match=r"'small/GT_SRGB_012.PNG' has no noisy one beside it"):
        find_pairs(tmp_path)


def test_what_is_wrong_is_named(tmp_path):
    for name in "abc":
        picture(tmp_path / "noisy" / f"{name}.png", 0)
    picture(tmp_path / "plain.png", 0)
    with pytest.raises(StoreError, match=r"no pairs of noisy and clean pictures here, only noisy/; expected .*GT/"):
        open_samples(tmp_path, arrays=("noisy", "clean"))
    assert find_pairs(tmp_path) is None
    picture(tmp_path / "clean" / "b.png", 0)
    with pytest.raises(
        StoreError,
        match=r"noisy/ holds 3 pictures and clean/ 1; 'noisy/a.png' has no partner .* in clean/ \(2 have none\)",
    ):
        open_samples(tmp_path, arrays=("noisy", "clean"))
    for name in "acd":
        picture(tmp_path / "clean" / f"{name}.png", 0)
    with pytest.raises(StoreError, match=r"clean/ holds 4 pictures and noisy/ 3; 'clean/d.png' has no partner"):
        find_pairs(tmp_path)
    (tmp_path / "clean" / "d.png").unlink()
    with pytest.raises(StoreError, match=r"no pairs of first and second .*expected the folders first/ and second/"):
        open_samples(tmp_path, arrays=("first", "second"))
    picture(tmp_path / "clean" / "a.tif", 0)
    with pytest.raises(StoreError, match=r"'a.png' and 'a.tif' have the same name but for their extension"):
        find_pairs(tmp_path)
    (tmp_path / "clean" / "a.tif").unlink()
    picture(tmp_path / "GT" / "a.png", 0)
    with pytest.raises(StoreError, match=r"(clean/ and GT|GT/ and clean)/ could both be the clean one"):
        find_pairs(tmp_path)
    with pytest.raises(StoreError, match="does not exist; expected a store, or a folder with noisy/ and clean/"):
        open_samples(tmp_path / "gone", arrays=("noisy", "clean"))


def test_pairs_of_two_sizes_are_left_out_by_name(tmp_path):
    for name in "ab":
        picture(tmp_path / "noisy" / f"{name}.png", 0)
        picture(tmp_path / "clean" / f"{name}.png", 0, width=30 if name == "a" else 31)
    folder = PictureFolder(tmp_path, arrays=("noisy", "clean"))
    assert folder.keys() == ("a.png",)
    assert "is 20 x 30 pixels and" in folder.failed[0].reason
    assert "20 x 31; a pair has one size" in folder.failed[0].reason
    with pytest.raises(StoreError, match=r"take more than 2\.79e-06 GiB"):
        PictureFolder(tmp_path, arrays=("noisy", "clean"), budget=3000)  # both pictures count
    with pytest.raises(StoreError, match="have 3 channels or 1, not 4"):
        PictureFolder(tmp_path, channels=4, arrays=("noisy", "clean"))


def test_a_store_without_the_arrays_says_what_to_pack(tmp_path):
    picture(tmp_path / "p" / "a.png", 0)
    pack(tmp_path / "p", tmp_path / "s")
    with pytest.raises(StoreError, match=r"holds no noisy samples; pack it with `--bake NOISE`.*its arrays: 'clean'"):
        open_samples(tmp_path / "s", arrays=("noisy", "clean"))
    with pytest.raises(StoreError, match="holds no exposures of the same scene; pack a folder with first/ and second/"):
        open_samples(tmp_path / "s", arrays=("first", "second"))
