"""Packing pairs: random patches, the low resolution, blocks of SIDD; and unpacking what was packed."""

import h5py
import numpy as np
import pytest
from PIL import Image

from shotnoise.errors import StoreError
from shotnoise.images import open_image
from shotnoise.images.resize import resize_bicubic
from shotnoise.store import Store, StoreWriter, pack, unpack
from shotnoise.store.matlab import write_mat


def pairs(folder, count=3, height=40, width=50):
    found = {}
    for number in range(count):
        for kind, seed in (("noisy", number), ("clean", 100 + number)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
            found[kind, f"{number}.png"] = pixels.transpose(2, 0, 1)
    return found


def test_random_patches(tmp_path):
    pictures = pairs(tmp_path / "p")
    report = pack(tmp_path / "p", tmp_path / "s", crop=16, crops=50, low=4, seed=3)
    assert (report.pictures, report.records) == (3, 150)
    assert report.notes == [f"{tmp_path / 'p'}: packed as pairs, noisy and clean"]
    store = Store(tmp_path / "s")
    store.verify()
    for record in store:
        name, place = record.key.split("#")
        row, column = map(int, place.split(","))
        for kind in ("noisy", "clean"):
            window = pictures[kind, name][:, row : row + 16, column : column + 16]
            np.testing.assert_array_equal(record.arrays[kind], window)
        small = resize_bicubic(record.arrays["clean"].transpose(1, 2, 0), 0.25).transpose(2, 0, 1)
        assert record.arrays["low"].dtype == np.uint8
        np.testing.assert_array_equal(record.arrays["low"], np.clip(np.rint(small), 0, 255))
    keys = store.keys()
    places = {name: {key.split("#")[1] for key in keys if key.startswith(name)} for name in ("0.png", "1.png")}
    assert len(places["0.png"]) == 50
    assert len(places["0.png"] & places["1.png"]) < 20, "each picture has places of its own"
    rows = {int(place.split(",")[0]) for found in places.values() for place in found}
    assert {min(rows), max(rows)} <= {0, 1, 2, 22, 23, 24}
    # a picture more moves none of those that were there; another seed moves all
    pairs(tmp_path / "p", 4)
    pack(tmp_path / "p", tmp_path / "more", crop=16, crops=50, seed=3)
    assert set(store.keys()) < set(Store(tmp_path / "more").keys())
    pack(tmp_path / "p", tmp_path / "other", crop=16, crops=50, seed=4)
    assert len(set(store.keys()) & set(Store(tmp_path / "other").keys())) < 60


def test_fewer_places_than_patches(tmp_path):
    pairs(tmp_path / "p", 1, 17, 18)
    assert pack(tmp_path / "p", tmp_path / "s", crop=16, crops=50).records == 6


def test_low_of_whole_pictures_and_of_other_types(tmp_path):
    (tmp_path / "p").mkdir()
    values = np.random.default_rng(0).random((18, 22, 3)).astype(np.float32)
    np.save(tmp_path / "p" / "a.npy", values)
    np.save(tmp_path / "p" / "b.npy", (values * 65535).astype(np.uint16))
    pack(tmp_path / "p", tmp_path / "s", low=4)
    first, second = Store(tmp_path / "s")
    expected = resize_bicubic(values, 0.25).transpose(2, 0, 1)
    assert first.arrays["low"].shape == (3, 5, 6)
    np.testing.assert_allclose(first.arrays["low"], expected, atol=1e-6)
    assert second.arrays["low"].dtype == np.uint16
    np.testing.assert_allclose(second.arrays["low"] / 65535, expected.clip(0, 1), atol=2e-5)


def test_options_that_make_no_sense(tmp_path):
    pairs(tmp_path / "p", 1)
    for options, words in (
        ({"crops": 3}, "crops is 3; expected a number of patches per picture, with a crop"),
        ({"crops": 3, "crop": 8, "stride": 4}, "without a stride"),
        ({"crop": 10, "low": 4}, r"low is 4; expected .* that the crop \(10\) is a multiple of"),
        ({"low": 1}, "low is 1; expected a whole number from 2 on"),
        ({"low": 2, "channels": 4}, "for pictures and not for RAW"),
        ({"bake": {"name": "gaussian", "sigma": 25}}, "has a noisy version already"),
    ):
        with pytest.raises(StoreError, match=words):
            pack(tmp_path / "p", tmp_path / "s", **options)
    for old, new in (("noisy", "first"), ("clean", "second")):
        (tmp_path / "p" / old).rename(tmp_path / "p" / new)
    with pytest.raises(StoreError, match="two exposures, without a clean picture to make smaller; leave out low"):
        pack(tmp_path / "p", tmp_path / "s", low=4)
    assert not (tmp_path / "s").exists()


def blocks(folder, kind, values, version=5):
    path = folder / f"Validation{kind}BlocksSrgb.mat"
    if version == 5:
        write_mat(path, {path.stem: values})
    else:
        with h5py.File(path, "w") as file:
            file[path.stem] = values.T  # all axes in reverse
            file[path.stem].attrs["MATLAB_class"] = np.bytes_("uint8")
    return path


@pytest.mark.parametrize("version", [5, 7.3])
def test_blocks_of_sidd(tmp_path, version):
    values = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16, 3), np.uint8)
    noisy = blocks(tmp_path, "Noisy", values, version)
    with pytest.raises(
        StoreError, match=r"no clean blocks beside it, as in ValidationGtBlocksSrgb\.mat; `shotnoise unp"
    ):
        pack(noisy, tmp_path / "s")
    assert unpack(noisy, tmp_path / "alone") == {"noisy": 6}
    clean = blocks(tmp_path, "Gt", values // 2, version)
    for source, store in ((noisy, "s"), (clean, "t")):
        assert pack(source, tmp_path / store, low=4).records == 6
        records = {record.key: record for record in Store(tmp_path / store)}
        assert set(records) == {f"{image}_{block}" for image in range(2) for block in range(3)}
        np.testing.assert_array_equal(records["1_2"].arrays["noisy"], values[1, 2].transpose(2, 0, 1))
        np.testing.assert_array_equal(records["0_1"].arrays["clean"], values[0, 1].transpose(2, 0, 1) // 2)
        assert records["1_2"].meta == {"picture": "image 1"}
    for source, folder in ((noisy, "of mat"), (tmp_path / "t", "of store")):
        counts = unpack(source, tmp_path / folder)
        assert (counts["noisy"], counts["clean"]) == (6, 6)
        np.testing.assert_array_equal(open_image(tmp_path / folder / "noisy" / "1_0.png").pixels, values[1, 0])
        np.testing.assert_array_equal(open_image(tmp_path / folder / "clean" / "1_0.png").pixels, values[1, 0] // 2)


def test_other_files_than_blocks_of_sidd(tmp_path):
    values = np.zeros((2, 3, 8, 8, 3), np.uint8)
    write_mat(tmp_path / "x.mat", {"x": values})
    with pytest.raises(StoreError, match=r"x.mat: is not named like a file of SIDD blocks"):
        pack(tmp_path / "x.mat", tmp_path / "s")
    noisy = blocks(tmp_path, "Noisy", values)
    blocks(tmp_path, "Gt", values[:1])
    with pytest.raises(StoreError, match=r"holds blocks of 2 x 3 x 8 x 8 x 3, .* of 1 x 3 x 8 x 8 x 3; a pair has one"):
        pack(noisy, tmp_path / "s")
    with pytest.raises(StoreError, match="3 channels, not 4"):
        pack(noisy, tmp_path / "s", channels=4)
    blocks(tmp_path, "Gt", values[..., 0].astype(np.float32))
    with pytest.raises(StoreError, match=r"is 2 x 3 x 8 x 8 of float32; expected images x blocks x height x width x 3"):
        pack(noisy, tmp_path / "s")


def test_unpacked_patches_have_names_of_their_own(tmp_path):
    with StoreWriter(tmp_path / "s") as writer:
        for key, value in (("a/b.png#0,8", 1), ("a/b.png#8,0", 2), ("a/b.jpg#0,8", 3), ("c.5", 4)):
            writer.add(key, {"clean": np.full((1, 4, 5), value, np.uint16), "noisy": np.full((3, 4, 5), value / 5.0)})
    assert unpack(tmp_path / "s", tmp_path / "f") == {"clean": 4, "noisy": 4}
    found = {path.relative_to(tmp_path / "f").as_posix() for path in (tmp_path / "f").rglob("*.*")}
    names = ("a/b_0_8", "a/b_8_0", "a/b.png_0_8", "c.5")  # in the order of the keys, .jpg before .png
    assert found == {f"clean/{name}.png" for name in names} | {f"noisy/{name}.tif" for name in names}
    picture = open_image(tmp_path / "f" / "noisy" / "a" / "b_8_0.tif")
    assert (picture.pixels == np.float32(0.4)).all()
    assert open_image(tmp_path / "f" / "clean" / "a" / "b_0_8.png").pixels.dtype == np.uint16
    with pytest.raises(StoreError, match="is not empty; choose another folder or ask to overwrite"):
        unpack(tmp_path / "s", tmp_path / "f")
    assert unpack(tmp_path / "s", tmp_path / "f", overwrite=True) == {"clean": 4, "noisy": 4}


@pytest.mark.parametrize("key", ["../out", "/etc/out", "a/../../out", "a//b", "c:out", "a\\..\\out"])
def test_no_name_leads_out_of_the_folder(tmp_path, key):
    with StoreWriter(tmp_path / "s") as writer:
        writer.add(key, {"clean": np.zeros((3, 4, 4), np.uint8)})
    with pytest.raises(StoreError, match="no name that a file could have"):
        unpack(tmp_path / "s", tmp_path / "f")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


def test_what_is_no_picture_is_not_unpacked(tmp_path):
    for name, array in (("raw", np.zeros((4, 4, 4), np.float32)), ("row", np.zeros(7))):
        with StoreWriter(tmp_path / name) as writer:
            writer.add("a", {"clean": array})
        with pytest.raises(StoreError, match="expected pictures of 3 channels or 1"):
            unpack(tmp_path / name, tmp_path / "f")
    (tmp_path / "file").write_text("x")
    with StoreWriter(tmp_path / "ok") as writer:
        writer.add("a", {"clean": np.zeros((3, 4, 4), np.uint8)})
    with pytest.raises(StoreError, match="is a file; expected a folder"):
        unpack(tmp_path / "ok", tmp_path / "file")
