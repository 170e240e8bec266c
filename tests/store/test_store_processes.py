"""A store opened before workers start, read by all of them."""

import multiprocessing
import pickle

import numpy as np
import pytest

from shotnoise.store import Store, StoreWriter

opened = None  # what a forked worker inherits


def total(store, share):
    return sum(int(store[i].arrays["x"].sum(dtype=np.int64)) for i in range(share, len(store), 2))


def total_of_opened(share):
    return total(opened, share)


def reopened_total(share):
    return total(Store(opened.path), share)


@pytest.fixture
def store(tmp_path):
    with StoreWriter(tmp_path / "s") as writer:
        for i in range(20):
            writer.add(f"{i:02}", {"x": np.full(9000, i, np.uint16)})
        writer.split({"train": [f"{i:02}" for i in range(15)]})
    return Store(tmp_path / "s")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("work", [total_of_opened, reopened_total])
def test_forked_workers_share_an_open_store(store, work, monkeypatch):
    monkeypatch.setattr(f"{__name__}.opened", store)
    assert len(store[0].arrays["x"]) == 9000  # the parent has a view in its hands when it forks
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert sum(pool.map(work, [0, 1])) == 9000 * sum(range(20))
    assert total(store, 0) + total(store, 1) == 9000 * sum(range(20))


def test_spawned_workers_open_it_again(store):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert sum(pool.starmap(total, [(store, 0), (store, 1)])) == 9000 * sum(range(20))


def test_a_pickled_store_is_its_path(store, tmp_path, monkeypatch):
    text = pickle.dumps(Store(store.path, split="train"))
    assert len(text) < 300 + len(str(store.path))
    monkeypatch.chdir(tmp_path.parent)
    again = pickle.loads(text)  # noqa: S301 - made one line above
    assert again.keys() == store.keys()[:15]
