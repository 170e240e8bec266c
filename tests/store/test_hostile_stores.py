"""Files that are not stores, or no longer are: refused in one line, never a crash of the interpreter."""

import subprocess
import sys

import lmdb
import numpy as np
import pytest

from shotnoise.errors import StoreError
from shotnoise.store import Store, StoreWriter

READ_ALL = """
import sys
from pathlib import Path
from shotnoise.errors import StoreError
from shotnoise.store import Store

whole = Path(sys.argv[1]).read_bytes()
folder = Path(sys.argv[2])
for length in map(int, sys.argv[3:]):
    (folder / "data.mdb").unlink(missing_ok=True)
    (folder / "data.mdb").write_bytes(whole[:length])
    try:
        Store(folder).verify()
        print(length, "whole")
    except StoreError as error:
        assert chr(10) not in str(error)
        print(length, "refused")
"""


@pytest.fixture
def store(tmp_path):
    with StoreWriter(tmp_path / "s") as writer:
        for i in range(60):
            writer.add(f"{i}", {"x": np.zeros(7000 if i % 2 else 50, np.uint8)})
    return tmp_path / "s"


def test_no_truncation_kills_the_interpreter(store, tmp_path):
    size = (store / "data.mdb").stat().st_size
    lengths = sorted({0, 1, 15, 16, 151, 152, 4095, 4096, 4097, 4247, 4248, 8191, 8192, size - 4096, size - 1, size})
    lengths += np.random.default_rng(0).integers(8192, size, 40).tolist()
    (tmp_path / "cut").mkdir()
    result = subprocess.run(
        [sys.executable, "-c", READ_ALL, store / "data.mdb", tmp_path / "cut", *map(str, lengths)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"{length} {'whole' if length == size else 'refused'}" for length in lengths]


def test_a_zeroed_tail_is_refused(store):
    """As an interrupted download with preallocation leaves it: the size is right, the content is not."""
    data = bytearray((store / "data.mdb").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (store / "data.mdb").write_bytes(data)
    with pytest.raises(StoreError):
        Store(store).verify()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"not a store \(a folder with 'data\.mdb'\)"),
        (b"", "'data.mdb' is empty"),
        (b"text", "is not an LMDB file"),
        (b"\0" * 20_000, "is not an LMDB file"),
        (bytes(range(256)) * 100, "is not an LMDB file"),
    ],
)
def test_a_folder_that_is_no_store(tmp_path, content, words):
    if content is not None:
        (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StoreError, match=words):
        Store(tmp_path)


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(StoreError, match="no such store; make one with `shotnoise pack"):
        Store(tmp_path / "missing")
    (tmp_path / "file").write_text("text")
    with pytest.raises(StoreError, match="not a store"):
        Store(tmp_path / "file")


@pytest.mark.parametrize("records", [0, 3])
def test_an_lmdb_of_another_program(tmp_path, records):
    with lmdb.open(str(tmp_path / "s"), lock=False) as environment, environment.begin(write=True) as transaction:
        for i in range(records):
            transaction.put(b"%d" % i, b"anything")
    with pytest.raises(StoreError, match="no schema record, so it was not made by shotnoise or its making"):
        Store(tmp_path / "s")


def test_a_killed_writer_leaves_no_store(tmp_path):
    program = (
        "import os, sys, numpy as np\nfrom shotnoise.store import StoreWriter, writer\nwriter._BATCH_BYTES = 1000\n"
        "with StoreWriter(sys.argv[1]) as store:\n"
        "    store.add('a', {'x': np.zeros(5000)})\n    os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "s"], check=False)
    assert not (tmp_path / "s").exists()
    (partial,) = tmp_path.iterdir()
    with pytest.raises(StoreError, match="its making was interrupted"):
        Store(partial)


@pytest.mark.shared
def test_the_truncated_example(shared):
    with pytest.raises(StoreError, match=r"truncated \(20480 of 61440 bytes are there\)"):
        Store(shared / "data" / "corrupt" / "truncated_lmdb")


@pytest.mark.shared
def test_the_pickle_example_runs_nothing(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="no schema record"):
        Store(shared / "data" / "corrupt" / "pickle_lmdb")
    assert list(tmp_path.iterdir()) == []
