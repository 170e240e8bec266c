"""Temporary files: none of them stays."""

import os
import subprocess
import sys
import tempfile
import time

import pytest

from shotnoise.web.shelf import Shelf, private_folder


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path, idle=60)


def test_an_item_goes_with_all_its_files(shelf, tmp_path):
    item = shelf.new()
    (item.inside("in") / "a.png").write_bytes(b"1")
    assert shelf.get(item.key) is item
    assert len(item.key) >= 20
    shelf.drop(item.key)
    assert shelf.get(item.key) is None
    assert list(tmp_path.iterdir()) == []
    shelf.drop(item.key)


def test_a_page_that_takes_another_file_gives_up_the_first(shelf):
    mine, other = shelf.new("me"), shelf.new("you")
    shelf.leave("me")
    assert shelf.get(mine.key) is None
    assert shelf.get(other.key) is other
    assert not mine.folder.exists()


def test_the_files_of_a_closed_page_go_soon_unless_it_was_only_a_lost_connection(tmp_path):
    shelf = Shelf(tmp_path, idle=3600)
    mine, other = shelf.new("me"), shelf.new("you")
    shelf.part("me")
    shelf.sweep()
    assert mine.folder.exists()
    mine.touched -= 61  # a minute later
    other.touched -= 61
    shelf.sweep()
    assert not mine.folder.exists()
    assert shelf.get(other.key) is other
    shelf.part("you")
    assert shelf.get(other.key) is other  # the page is back, and has its usual time again
    other.touched -= 3599
    shelf.sweep()
    assert other.folder.exists()


def test_a_request_keeps_its_file_however_long_it_waits(shelf):
    """In a full queue that may be longer than pages are idle; it is removed when the request has been answered."""
    item = shelf.new()
    item.touched -= 3600
    shelf.sweep()
    assert item.folder.exists()


def test_a_tidied_folder_is_made_again(tmp_path):
    shelf = Shelf(tmp_path / "root", idle=60)
    assert shelf.new().folder.exists()
    assert (tmp_path / "root").stat().st_mode & 0o077 == 0


def test_what_nobody_asks_for_goes(shelf):
    old, used = shelf.new("a"), shelf.new("a")
    old.touched -= 61
    used.touched -= 59
    shelf.sweep()
    assert len(shelf) == 1
    assert shelf.get(used.key) is used
    assert time.monotonic() - used.touched < 1


def test_the_folder_goes_also_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_folder() as root:
        (root / "sub").mkdir()
        assert root.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []

    def fail():
        with private_folder():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="processes cannot be asked for by number here")
def test_what_killed_servers_left_goes_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, living, foreign = (
        tmp_path / name
        for name in (f"shotnoise-serve-{gone.pid}-x", f"shotnoise-serve-{os.getpid()}-x", "shotnoise-serve-me-x")
    )
    for folder in (left, living, foreign):
        folder.mkdir()
    with private_folder():
        assert not left.exists()
        assert living.exists()
        assert foreign.exists()
