"""The training data of the published RAW pipeline: imported whole, split by image, refused when damaged."""

import lmdb
import numpy as np
import pytest

from shotnoise.cli import run
from shotnoise.errors import StoreError
from shotnoise.store import Store, open_samples, pack

SIDE = 16


@pytest.fixture
def data(tmp_path):
    """(folder, name -> (clean, noisy)) as the tool of the pipeline leaves them: 6 images, 7 patches each, 40 lost."""
    rng = np.random.default_rng(0)
    patches, lines = {}, []
    for image in range(6):
        for iso in rng.choice(np.arange(100, 6400), 7, replace=False):
            clean = rng.random((SIDE, SIDE, 4), np.float32)
            patches[f"idx_{image}_iso_{iso}"] = clean, clean + rng.normal(0, 0.05, clean.shape).astype(np.float32)
    folder = tmp_path / "train_data"
    lines = [*patches, *list(patches)[:4]]
    write(folder, patches)
    (tmp_path / "train_data_idx.txt").write_text("\n".join(lines) + "\n")
    return folder, patches


def write(folder, patches, **more):
    with lmdb.open(str(folder), map_size=10**7) as environment, environment.begin(write=True) as transaction:
        for name, (clean, noisy) in patches.items():
            transaction.put(f"gt_{name}".encode(), clean.tobytes())
            transaction.put(f"noisy_{name}".encode(), noisy.tobytes())
        for name, value in more.items():
            transaction.put(name.encode(), value)


def test_everything_comes_along(data, tmp_path, capsys):
    folder, patches = data
    assert run(["pack", str(folder), str(tmp_path / "s"), "--channels", "4", "--split", "0.5", "--seed", "2"]) == 0
    out, err = capsys.readouterr()
    assert f"{tmp_path / 's'}: 42 samples of 6 pictures" in out
    assert err == f"{folder}: 4 patches had the name of an earlier one, which they have overwritten\n"
    store = Store(tmp_path / "s")
    store.verify()
    assert set(store.keys()) == set(patches)
    for record in store:
        _, image, _, iso = record.key.split("_")
        clean, noisy = patches[record.key]
        np.testing.assert_array_equal(record.arrays["clean"], clean.transpose(2, 0, 1))
        np.testing.assert_array_equal(record.arrays["noisy"], noisy.transpose(2, 0, 1))
        assert record.meta == {"picture": f"image {image}", "noise": {"iso": float(iso)}}
    images = {side: {key.split("_")[1] for key in keys} for side, keys in store.splits.items()}
    assert images["train"]
    assert images["val"]
    assert not images["train"] & images["val"], "never two sides for the patches of an image"


def test_smaller_patches_can_be_cut(data, tmp_path):
    folder, patches = data
    report = pack(folder, tmp_path / "s", channels=4, crop=8)
    assert (report.pictures, report.records) == (6, 4 * len(patches))
    record = Store(tmp_path / "s")[-1]
    name, place = record.key.split("#")
    row, column = map(int, place.split(","))
    window = patches[name][1][row : row + 8, column : column + 8]
    np.testing.assert_array_equal(record.arrays["noisy"], window.transpose(2, 0, 1))


def test_what_is_damaged_is_named(data, tmp_path):
    folder, _ = data
    write(
        folder,
        {"idx_7_iso_100": (np.zeros(12, np.float32), np.zeros(12, np.float32))},
        gt_idx_8_iso_100=bytes(16 * SIDE * SIDE),
        gt_idx_9=b"",
        gt_idx_10_iso_200=np.full(4, np.nan, np.float32).tobytes(),
        noisy_idx_10_iso_200=bytes(16),
    )
    report = pack(folder, tmp_path / "s", channels=4)
    assert report.records == 42
    assert {failed.name: failed.reason.removeprefix(f"{folder}: ") for failed in report.failed} == {
        "idx_10_iso_200": "'gt_idx_10_iso_200' has values that are not finite",
        "idx_7_iso_100": "'gt_idx_7_iso_100' has 48 bytes, which is no square of four float32 planes",
        "idx_8_iso_100": "there is no 'noisy_idx_8_iso_100'",
        "idx_9": "'gt_idx_9' does not tell image and ISO",
    }


def test_a_truncated_file_is_refused(data, tmp_path):
    folder, _ = data
    content = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="is truncated"):
        pack(folder, tmp_path / "s", channels=4)
    assert not (tmp_path / "s").exists()


def test_what_it_is_not(data, tmp_path):
    folder, _ = data
    with pytest.raises(StoreError, match="holds RAW patches of four planes, not 3; give `--channels 4`"):
        pack(folder, tmp_path / "s")
    with pytest.raises(StoreError, match="has a noisy version already; leave out bake"):
        pack(folder, tmp_path / "s", channels=4, bake={"name": "gaussian", "sigma": 25})
    with pytest.raises(StoreError, match="no schema record"):
        open_samples(folder, channels=4)
    write(tmp_path / "foreign", {}, key=b"value")
    with pytest.raises(StoreError, match="is neither a store nor training data of the published RAW pipeline"):
        pack(tmp_path / "foreign", tmp_path / "s", channels=4)
