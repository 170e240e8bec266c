"""Names and places: what is found, what is written, and what is left behind when writing fails."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shotnoise.errors import PictureError
from shotnoise.images import files, list_pictures, open_image, save_image

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)

NAMES = [
    "with space.png",
    'it\'s "quoted".png',
    "Ünïcødé 写真 🌄.png",
    "-rf.png",
    "--help.png",
    "a;b&c|d$e.png",
    "%s.png",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [str, Path])
def test_odd_names(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    assert save_image(GRAY, kind(name)) == ()
    assert os.listdir() == [name]
    assert np.array_equal(open_image(kind(name)).pixels, GRAY)
    assert list_pictures(".") == [Path(name)]


def test_names_that_cannot_be_printed_stay_on_one_line(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/line\nbreak\xff.png")
    with pytest.raises(PictureError, match=r"line\\nbreak\\udcff\.png': does not exist") as caught:
        open_image(path)
    str(caught.value).encode()


def test_a_zero_byte_in_a_name():
    with pytest.raises(PictureError, match="is no usable file name"):
        open_image("a\0b.png")
    with pytest.raises(PictureError, match="is no usable file name"):
        save_image(GRAY, "a\0b.png")


def test_what_is_not_a_file(tmp_path):
    with pytest.raises(PictureError, match=r"x\.png: does not exist; expected a picture file"):
        open_image(tmp_path / "x.png")
    with pytest.raises(PictureError, match="is a folder; expected a picture file"):
        open_image(tmp_path)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"x\.png: is empty \(0 bytes\)"):
        open_image(tmp_path / "x.png")
    with pytest.raises(PictureError, match="cannot be read"):
        open_image(tmp_path / "x.png" / "y.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(PictureError, match="is a device or a pipe; expected a picture file"):
        open_image(tmp_path / "x.png")
    with pytest.raises(PictureError, match="is a device or a pipe; expected the name of a file to write"):
        save_image(GRAY, tmp_path / "x.png")


is_root = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.skipif(is_root, reason="root may read and write everything")
def test_closed_places(tmp_path):
    save_image(GRAY, tmp_path / "x.png")
    (tmp_path / "x.png").chmod(0)
    with pytest.raises(PictureError, match=r"x\.png: cannot be read \(Permission denied\)"):
        open_image(tmp_path / "x.png")
    tmp_path.chmod(0o500)
    with pytest.raises(PictureError, match=r"y\.png: cannot be written \(Permission denied\); choose another place"):
        save_image(GRAY, tmp_path / "y.png")
    tmp_path.chmod(0)
    with pytest.raises(PictureError, match="cannot be listed"):
        list_pictures(tmp_path)
    tmp_path.chmod(0o700)


def test_a_refusal_of_the_system_is_passed_on(tmp_path, monkeypatch):
    """The same for root, who is refused nothing: the system call itself says no."""
    save_image(GRAY, tmp_path / "x.png")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refuse)
        with pytest.raises(PictureError, match=r"x\.png: cannot be read \(Permission denied\)"):
            open_image(tmp_path / "x.png")
        with pytest.raises(
            PictureError, match=r"y\.png: cannot be written \(Permission denied\); choose another place"
        ):
            save_image(GRAY, tmp_path / "y.png")
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PictureError, match=r"somewhere: cannot be listed \(Permission denied\)"):
        list_pictures(tmp_path)


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(PictureError, match=r"x\.png: cannot be written: there is no folder .*none; make it first"):
        save_image(GRAY, tmp_path / "none" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PictureError, match=r"folder\.png: is a folder; expected the name of a file"):
        save_image(GRAY, tmp_path / "folder.png")
    assert os.listdir(tmp_path) == ["folder.png"]


def test_overwriting(tmp_path):
    path = tmp_path / "x.png"
    save_image(GRAY, path, overwrite=False)
    with pytest.raises(PictureError, match=r"x\.png: exists already; choose another name or allow to overwrite"):
        save_image(GRAY + 1, path, overwrite=False)
    assert np.array_equal(open_image(path).pixels, GRAY)
    save_image(GRAY + 1, path)
    assert np.array_equal(open_image(path).pixels, GRAY + 1)


def test_the_source_may_be_the_target(tmp_path):
    path = tmp_path / "x.tif"
    save_image(GRAY, path)
    save_image(open_image(path), path)
    assert np.array_equal(open_image(path).pixels, GRAY)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, OSError(28, "No space left on device")])
@pytest.mark.parametrize("extension", files.WRITABLE)
def test_nothing_is_left_when_writing_stops_in_the_middle(tmp_path, monkeypatch, extension, error):
    path = tmp_path / f"x{extension}"
    save_image(GRAY, path)
    before = path.read_bytes()

    def stop(image, file, quality):
        file.write(b"half a picture")
        raise error

    broken = replace(files._FORMATS[extension], write=stop)
    monkeypatch.setitem(files._FORMATS, extension, broken)
    with pytest.raises(PictureError if isinstance(error, OSError) else error, match=r"No space left|^$"):
        save_image(GRAY, path)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")])
def test_nothing_is_left_when_renaming_fails(tmp_path, monkeypatch, error):
    def stop(*_):
        raise error

    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(PictureError if isinstance(error, OSError) else error):
        save_image(GRAY, tmp_path / "x.png")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of this system are not those of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
@pytest.mark.parametrize("extension", files.WRITABLE)
def test_permissions_are_those_of_any_new_file(tmp_path, extension, mask, mode):
    before = os.umask(mask)
    try:
        save_image(GRAY, tmp_path / f"x{extension}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / f"x{extension}").stat().st_mode) == mode


def test_a_link_is_followed_not_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    save_image(GRAY, tmp_path / "real" / "x.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "real" / "x.png")
    save_image(GRAY + 1, tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert np.array_equal(open_image(tmp_path / "real" / "x.png").pixels, GRAY + 1)


@pytest.fixture
def album(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.TiFF", "sub/deep/d.npy", ".hidden.png", ".cache/e.png", "notes.txt", "png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / ".shotnoise-0123.partial").write_bytes(b"x")
    return tmp_path


def test_pictures_of_a_folder(album):
    (album / "loop").symlink_to(album, target_is_directory=True)
    assert list_pictures(album) == [album / name for name in ("a.jpg", "b.PNG", "sub/c.TiFF", "sub/deep/d.npy")]
    assert list_pictures(album, recursive=False) == [album / "a.jpg", album / "b.PNG"]
    assert list_pictures(str(album / "sub")) == [album / "sub" / "c.TiFF", album / "sub" / "deep" / "d.npy"]


def test_a_link_to_a_folder_is_a_folder(album, tmp_path_factory):
    link = tmp_path_factory.mktemp("link") / "album"
    link.symlink_to(album, target_is_directory=True)
    assert len(list_pictures(link)) == 4


def test_a_broken_link_is_listed_so_that_it_gets_reported(album):
    (album / "gone.png").symlink_to(album / "nothing")
    assert album / "gone.png" in list_pictures(album)
    with pytest.raises(PictureError, match=r"gone\.png: does not exist"):
        open_image(album / "gone.png")


def test_a_file_is_listed_whatever_its_name(album):
    assert list_pictures(album / "notes.txt") == [album / "notes.txt"]


def test_nothing_to_list(album):
    with pytest.raises(PictureError, match=r"nowhere: does not exist; expected a picture or a folder of pictures"):
        list_pictures(album / "nowhere")
    with pytest.raises(PictureError, match=r"folder\.png: holds no pictures; expected files that end in \.png, \.jpg"):
        list_pictures(album / "folder.png")
