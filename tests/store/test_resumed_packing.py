"""A pack that was interrupted and goes on: the same store, without reading again what was done."""

import numpy as np
import pytest

from shotnoise.errors import StoreError
from shotnoise.images import save_image
from shotnoise.store import Store, StoreWriter, pack
from shotnoise.store import pair_folders as pair_folders_module
from shotnoise.store import writer as writer_module


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("noisy", "clean"):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            save_image(pixels, tmp_path / "pairs" / kind / f"{number}.png")
    return tmp_path / "pairs"


OPTIONS = {"crop": 16, "crops": 3, "low": 4, "split": 0.5, "seed": 7}


def contents(path):
    store = Store(path)
    return {record.key: {name: array.tobytes() for name, array in record.arrays.items()} for record in store}


class Stopped(BaseException):
    """As Ctrl-C."""


def stop_after(count):
    def progress(done, total):
        if done == count:
            raise Stopped

    return progress


def test_it_goes_on_where_it_stopped(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_BATCH_BYTES", 4096)  # several transactions
    whole = pack(pairs, tmp_path / "whole.store", **OPTIONS)
    with pytest.raises(Stopped):
        pack(pairs, tmp_path / "a.store", **OPTIONS, resume=True, progress=stop_after(3))
    assert not (tmp_path / "a.store").exists()
    assert (tmp_path / ".a.store.partial").is_dir()
    opened, seen = [], []
    real = pair_folders_module.open_image
    monkeypatch.setattr(pair_folders_module, "open_image", lambda path: (opened.append(path.name), real(path))[1])
    report = pack(pairs, tmp_path / "a.store", **OPTIONS, resume=True, progress=lambda *now: seen.append(now))
    assert sorted(set(opened)) == ["3.png", "4.png"]
    assert seen == [(4, 5), (5, 5)]
    assert contents(tmp_path / "a.store") == contents(tmp_path / "whole.store")
    assert Store(tmp_path / "a.store").schema.checksum == Store(tmp_path / "whole.store").schema.checksum
    assert (tmp_path / "a.store" / "splits.json").read_bytes() == (tmp_path / "whole.store/splits.json").read_bytes()
    assert (report.records, report.pictures, report.total_bytes) == (15, 5, whole.total_bytes)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.store", "pairs", "whole.store"]


def test_half_a_picture_is_made_again(tmp_path):
    made_by, array = {"source": "x"}, {"clean": np.zeros((1, 4, 4), np.uint8)}

    def stopped():
        with StoreWriter(tmp_path / "a.store", made_by=made_by, resume=True) as writer:
            writer.add("one#0", array)
            writer.finished("one", {"keys": ["one#0"]})
            writer.add("two#0", array)
            raise Stopped

    with pytest.raises(Stopped):
        stopped()
    with StoreWriter(tmp_path / "a.store", made_by=made_by, resume=True) as writer:
        assert list(writer.done) == ["one"]
        writer.add("two#0", array)
        writer.add("two#1", array)
    assert sorted(Store(tmp_path / "a.store").keys()) == ["one#0", "two#0", "two#1"]


def test_other_options_are_refused_and_delete_nothing(pairs, tmp_path):
    with pytest.raises(Stopped):
        pack(pairs, tmp_path / "a.store", **OPTIONS, resume=True, progress=stop_after(2))
    with pytest.raises(
        StoreError, match=r"interrupted with other options; repeat those, or delete .*\.a\.store\.partial"
    ):
        pack(pairs, tmp_path / "a.store", **OPTIONS | {"seed": 8}, resume=True)
    assert pack(pairs, tmp_path / "a.store", **OPTIONS, resume=True).records == 15


def test_damage_is_found(pairs, tmp_path):
    with pytest.raises(Stopped):
        pack(pairs, tmp_path / "a.store", **OPTIONS, resume=True, progress=stop_after(2))
    (tmp_path / ".a.store.partial" / "data.mdb").write_bytes(b"no store" * 4096)
    with pytest.raises(StoreError, match=r"choose another place|cannot be read"):
        pack(pairs, tmp_path / "a.store", **OPTIONS, resume=True)


def test_without_resume_nothing_stays(pairs, tmp_path):
    with pytest.raises(Stopped):
        pack(pairs, tmp_path / "a.store", **OPTIONS, progress=stop_after(3))
    assert [entry.name for entry in tmp_path.iterdir()] == ["pairs"]


def test_two_at_a_time_are_refused(tmp_path):
    """They would write into one file, and the second would delete what the first has not finished."""
    with StoreWriter(tmp_path / "s", resume=True) as first:
        first.add("a", {"x": np.zeros(3)})
        with (
            pytest.raises(StoreError, match="s: is being packed by another process; wait until that one ends"),
            StoreWriter(tmp_path / "s", resume=True),
        ):
            pass
        first.add("b", {"x": np.ones(3)})
    assert sorted(contents(tmp_path / "s")) == ["a", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    with StoreWriter(tmp_path / "s", resume=True, overwrite=True) as again:
        again.add("c", {"x": np.zeros(3)})
    assert sorted(contents(tmp_path / "s")) == ["c"]
