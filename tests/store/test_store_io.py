import gc
import json
import threading

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotnoise import __version__
from shotnoise.errors import StoreError
from shotnoise.store import Store, StoreWriter, open_samples, writer
from shotnoise.store import schema as schema_module


def make(path, count=5, side=40, **options):
    with StoreWriter(path, made_by={"source": "test"}, **options) as store:
        for i in range(count):
            store.add(f"key{i:03}", {"clean": np.full((3, side, side + i), i, np.uint8)}, {"i": i})
    return path


def add(path, *samples, split=None, interruption=None, **options):
    """Make a store of (key, arrays) pairs."""
    with StoreWriter(path, **options) as store:
        for key, arrays in samples:
            store.add(key, arrays)
        if split:
            store.split(split)
        if interruption:
            raise interruption


def leftovers(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_records_come_back_in_key_order(tmp_path):
    with StoreWriter(tmp_path / "s") as store:
        for key in ["b", "a", "é", "B", "a/b.png"]:
            store.add(key, {"x": np.array([ord(key[0])])}, {"name": key})
    found = Store(tmp_path / "s")
    assert found.keys() == ("B", "a", "a/b.png", "b", "é")
    assert [record.key for record in found] == [record.meta["name"] for record in found] == list(found.keys())
    assert found[-1].key == "é"
    assert found.get("b").arrays["x"].tolist() == [98]
    with pytest.raises(IndexError):
        found[5]
    assert len(found) == 5


def test_schema_tells_what_is_inside(tmp_path):
    schema = Store(make(tmp_path / "s")).schema
    assert (schema.count, schema.version, schema.made_with) == (5, 1, __version__)
    assert schema.made_by == {"source": "test"}
    assert schema.arrays["clean"].shape == (3, 40, None)
    assert schema.arrays["clean"].dtypes == ("uint8",)
    assert (schema.arrays["clean"].smallest, schema.arrays["clean"].largest) == ((3, 40, 40), (3, 40, 44))
    assert schema.total_bytes > sum(3 * 40 * (40 + i) for i in range(5))


def test_types_may_vary_and_are_listed(tmp_path):
    with StoreWriter(tmp_path / "s") as store:
        store.add("a", {"x": np.zeros(3, np.uint16)})
        store.add("b", {"x": np.zeros(3, np.uint8)})
    assert Store(tmp_path / "s").schema.arrays["x"].dtypes == ("uint16", "uint8")


def test_large_arrays_are_views_and_outlive_the_store(tmp_path):
    store = Store(make(tmp_path / "s", side=100))
    array = store[3].arrays["clean"]
    assert not array.flags.owndata
    assert not array.flags.writeable
    part = array[0, ::2]
    del store, array
    gc.collect()
    assert (part == 3).all()


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(0, 30_000), min_size=1, max_size=20), batch=st.integers(1, 50_000))
def test_any_sizes_in_any_batches(tmp_path_factory, sizes, batch):
    """Small batches and a small first map: the map grows many times."""
    path = tmp_path_factory.mktemp("stores") / "s"
    rng = np.random.default_rng(0)
    arrays = {f"{rng.integers(2**60):x}": rng.integers(0, 256, size, np.uint8) for size in sizes}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_BATCH_BYTES", batch)
        with StoreWriter(path) as store:
            for key, array in arrays.items():
                store.add(key, {"a": array})
    found = Store(path)
    found.verify()
    assert list(found.keys()) == sorted(arrays)
    for record in found:
        np.testing.assert_array_equal(record.arrays["a"], arrays[record.key])


def test_a_duplicate_key_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(StoreError, match="the key 'a' was already added"):
        add(tmp_path / "s", ("a", {"x": np.zeros(3)}), ("a", {"x": np.zeros(3)}))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"y": np.zeros(3)}, "has the arrays 'y', the samples before it 'x'"),
        ({"x": np.zeros((3, 1))}, "has 2 axes, in the samples before it 1"),
        ({}, "has no arrays"),
    ],
)
def test_samples_of_a_store_are_alike(tmp_path, second, words):
    with pytest.raises(StoreError, match=words):
        add(tmp_path / "s", ("a", {"x": np.zeros(3)}), ("b", second))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupted_writer_leaves_nothing(tmp_path, interruption):
    def interrupted():
        with StoreWriter(tmp_path / "s") as store:
            store.add("a", {"x": np.zeros(100_000)})
            assert len(leftovers(tmp_path)) == 1
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert leftovers(tmp_path) == []


def test_an_interrupted_overwrite_keeps_the_old_store(tmp_path):
    make(tmp_path / "s")
    with pytest.raises(KeyboardInterrupt):
        add(tmp_path / "s", ("new", {"x": np.zeros(3)}), interruption=KeyboardInterrupt, overwrite=True)
    assert leftovers(tmp_path) == ["s"]
    assert len(Store(tmp_path / "s")) == 5


def test_a_failed_rename_puts_the_old_store_back(tmp_path, monkeypatch):
    from pathlib import Path

    make(tmp_path / "s")
    rename = Path.rename

    def failing(self, target):
        if self.suffix == ".partial":
            raise OSError("disk says no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StoreError, match=r"cannot finish the store \(disk says no\)"):
        add(tmp_path / "s", ("new", {"x": np.zeros(3)}), overwrite=True)
    assert leftovers(tmp_path) == ["s"]
    assert len(Store(tmp_path / "s")) == 5


def test_overwriting_must_be_asked_for(tmp_path):
    make(tmp_path / "s")
    with pytest.raises(StoreError, match="exists already; choose another name or ask to overwrite it"):
        make(tmp_path / "s", count=2)
    old = Store(tmp_path / "s")
    make(tmp_path / "s", count=2, overwrite=True)
    assert len(Store(tmp_path / "s")) == 2
    assert old[4].arrays["clean"][0, 0, 0] == 4  # an open store goes on reading the old file
    assert leftovers(tmp_path) == ["s"]
    assert leftovers(tmp_path / "s") == ["data.mdb"]


@pytest.mark.parametrize("what", ["folder", "file", "link", "lmdb"])
def test_nothing_but_a_store_is_ever_replaced(tmp_path, what):
    target = tmp_path / "s"
    if what == "folder":
        target.mkdir()
        (target / "holiday.jpg").write_bytes(b"precious")
    elif what == "lmdb":
        lmdb.open(str(target), lock=False).close()
    elif what == "file":
        target.write_bytes(b"precious")
    else:
        target.symlink_to(make(tmp_path / "other"))
    before = leftovers(tmp_path)
    with pytest.raises(StoreError, match="exists and is not a readable store, so it is not replaced"):
        make(target, overwrite=True)
    assert leftovers(tmp_path) == before


def test_an_empty_folder_is_a_fine_target(tmp_path):
    (tmp_path / "s").mkdir()
    assert len(Store(make(tmp_path / "s"))) == 5


def test_a_store_without_samples_is_not_made(tmp_path):
    with pytest.raises(StoreError, match="no sample was added"), StoreWriter(tmp_path / "s"):
        pass
    assert leftovers(tmp_path) == []


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make a store here"):
        make(tmp_path / "file" / "s")


def test_a_writer_wants_its_with_block(tmp_path):
    with pytest.raises(StoreError, match="inside its `with` block"):
        StoreWriter(tmp_path / "s").add("a", {"x": np.zeros(1)})


def test_the_same_store_twice_and_by_another_name(tmp_path):
    make(tmp_path / "s")
    (tmp_path / "link").symlink_to(tmp_path / "s")
    stores = [Store(tmp_path / name) for name in ("s", "s", "link")]
    assert [store[2].meta["i"] for store in stores] == [2, 2, 2]


def test_reading_makes_no_file_and_the_file_may_be_read_only(tmp_path):
    path = make(tmp_path / "s")
    (path / "data.mdb").chmod(0o444)
    path.chmod(0o555)
    try:
        Store(path).verify()
        assert leftovers(path) == ["data.mdb"]
    finally:
        path.chmod(0o755)


def test_threads_share_a_store(tmp_path):
    store = Store(make(tmp_path / "s", count=50))
    wrong = []

    def read():
        for _ in range(20):
            wrong.extend(i for i in range(50) if (store[i].arrays["clean"] != i).any())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_verify_finds_a_changed_record_and_reports_progress(tmp_path):
    path = make(tmp_path / "s")
    steps = []
    Store(path).verify(lambda done, total: steps.append((done, total)))
    assert steps == [(i, 5) for i in range(1, 6)]
    gc.collect()
    data = bytearray((path / "data.mdb").read_bytes())
    at = data.index(bytes([4]) * 1000)
    data[at + 500] = 5
    (path / "data.mdb").write_bytes(data)
    with pytest.raises(StoreError, match="the checksum is wrong"):
        Store(path).verify()


def test_the_checksum_does_not_depend_on_the_order_of_adding(tmp_path):
    sums = []
    for order in (range(4), reversed(range(4))):
        with StoreWriter(tmp_path / "s", overwrite=True) as store:
            for i in order:
                store.add(str(i), {"x": np.array([i])})
        sums.append(Store(tmp_path / "s").schema.checksum)
    assert sums[0] == sums[1]


def test_an_unknown_key_names_the_nearest(tmp_path):
    with pytest.raises(StoreError, match="no record 'key00'; did you mean 'key00"):
        Store(make(tmp_path / "s")).get("key00")


def rewrite_schema(path, change):
    """Change the schema record as another version of the program might have written it."""
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        record = json.loads(transaction.get(schema_module.SCHEMA_KEY))
        change(record)
        transaction.put(schema_module.SCHEMA_KEY, json.dumps(record).encode())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update(version=2), "format version 2, this shotnoise reads up to 1; upgrade shotnoise"),
        (lambda s: s.update(version=2, novelty=1), "format version 2"),
        (lambda s: s.update(count=6), "promises 6 records, 5 are there"),
        (lambda s: s.update(count=0), "schema record is damaged"),
        (lambda s: s.update(surprise=1), "schema record is damaged"),
        (lambda s: s.update(format="other"), "schema record is damaged or not made by shotnoise"),
        (lambda s: s.clear(), "schema record is damaged"),
    ],
)
def test_a_wrong_schema_is_refused_in_one_line(tmp_path, change, words):
    path = make(tmp_path / "s")
    rewrite_schema(path, change)
    with pytest.raises(StoreError, match=words) as caught:
        Store(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_splits(tmp_path):
    with StoreWriter(tmp_path / "s") as store:
        for key in "abcde":
            store.add(key, {"x": np.zeros(2)})
        store.split({"train": ["d", "a", "b"], "val": ["c", "e"]})
    assert Store(tmp_path / "s", split="train").keys() == ("a", "b", "d")
    assert [record.key for record in Store(tmp_path / "s", split="val")] == ["c", "e"]
    assert len(Store(tmp_path / "s", split="val")) == 2
    assert Store(tmp_path / "s").splits == {"train": ["a", "b", "d"], "val": ["c", "e"]}
    with pytest.raises(StoreError, match="no split 'vall'; did you mean 'val'"):
        Store(tmp_path / "s", split="vall")


def test_a_split_needs_a_store_that_has_one(tmp_path):
    make(tmp_path / "s")
    with pytest.raises(StoreError, match="packed without a split; pack it with `--split"):
        Store(tmp_path / "s", split="train")


def test_a_split_names_known_keys(tmp_path):
    with pytest.raises(StoreError, match="names 'z', which was not added"):
        add(tmp_path / "s", ("a", {"x": np.zeros(2)}), split={"train": ["z"]})


@pytest.mark.parametrize("text", ["[]", "{", '{"train": 3}', '{"train": [1]}', "\udcff", "[" * 100_000])
def test_a_damaged_split_file_is_refused(tmp_path, text):
    path = make(tmp_path / "s")
    (path / "splits.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StoreError, match="expected JSON like"):
        Store(path, split="train")


def test_a_split_file_of_another_store_is_refused(tmp_path):
    path = make(tmp_path / "s")
    (path / "splits.json").write_text('{"train": ["elsewhere"]}')
    with pytest.raises(StoreError, match="names 'elsewhere', which is not in the store"):
        Store(path, split="train").keys()


def test_open_samples_checks_channels_and_size(tmp_path):
    path = make(tmp_path / "s")
    assert len(open_samples(path, channels=3, min_size=40)) == 5
    with pytest.raises(StoreError, match="array 'clean' has 3 channels, 1 are needed; pack it with `--channels 1`"):
        open_samples(path, channels=1)
    with pytest.raises(StoreError, match="goes down to 40 x 40, at least 41 x 41 is needed"):
        open_samples(path, min_size=41)
