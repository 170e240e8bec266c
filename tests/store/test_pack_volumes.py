"""Volumes -> a store of slices, by the function and by the command."""

import json

import numpy as np
import pytest

from shotnoise import open_image
from shotnoise.cli import run
from shotnoise.errors import StoreError
from shotnoise.mri import slices_of
from shotnoise.mri.pickles import read_pickle
from shotnoise.store import Store, open_samples
from shotnoise.store.volumes import list_volumes, pack_volumes

nibabel = pytest.importorskip("nibabel")


def scan(path, seed=0, depth=12):
    values = np.random.default_rng(seed).integers(0, 900, (20, 22, depth)).astype(np.int16)
    values[:, :, 3] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return values.astype(np.float32)


def test_a_folder_of_volumes(tmp_path):
    values = {name: scan(tmp_path / "in" / f"{name}.nii.gz", seed) for seed, name in enumerate(("b", "sub/a"))}
    (tmp_path / "in" / "notes.txt").write_text("not a volume")
    report = pack_volumes(tmp_path / "in", tmp_path / "out", first=2, stop=11, side=32, png=tmp_path / "png")
    assert (report.volumes, report.records, report.empty, report.failed) == (2, 16, 2, [])
    store = Store(tmp_path / "out")
    assert store.keys()[:3] == ("a_002", "a_004", "a_005")
    assert {record.meta["picture"] for record in store} == {"a", "b"}, "slices of a volume stay together"
    for record in open_samples(tmp_path / "out", channels=1):
        volume, number = record.key.split("_")
        expected = dict(slices_of(values["sub/a" if volume == "a" else "b"], first=2, stop=11, side=32))[int(number)]
        np.testing.assert_array_equal(record.arrays["clean"], expected[None])
        np.testing.assert_array_equal(open_image(tmp_path / "png" / f"{record.key}.png").pixels, expected)
    assert len(list((tmp_path / "png").iterdir())) == 16


def test_one_volume_is_held_out_in_blocks(tmp_path):
    scan(tmp_path / "a.nii", depth=25)
    report = pack_volumes(tmp_path / "a.nii", tmp_path / "out", first=0, stop=25, side=22)
    assert {record.meta["picture"] for record in Store(tmp_path / "out")} == {"a_000", "a_010", "a_020"}
    assert "one volume: a training holds out blocks of 10" in report.notes[0]


def test_the_published_subjects_are_found_by_their_number(tmp_path):
    for name in ("IXI002-Guys-0828-T1", "IXI064-Guys-0743-T1", "IXI012-HH-1211-T1", "IXI003-Guys-1-T1", "other"):
        scan(tmp_path / "in" / f"{name}.nii.gz")
    options = {"first": 0, "stop": 12, "side": 32}
    report = pack_volumes(tmp_path / "in", tmp_path / "train", subjects="train", **options)
    assert {record.meta["volume"] for record in Store(tmp_path / "train")} == {
        "IXI002-Guys-0828-T1", "IXI012-HH-1211-T1",
    }  # fmt: skip
    assert report.notes[0].startswith("48 of the 50 train subjects are not there: IXI013, IXI014")
    pack_volumes(tmp_path / "in", tmp_path / "val", subjects="validation", **options)
    assert {record.meta["volume"] for record in Store(tmp_path / "val")} == {"IXI064-Guys-0743-T1"}
    (tmp_path / "in" / "IXI064-Guys-0743-T1.nii.gz").unlink()
    with pytest.raises(StoreError, match="holds none of the 10 validation subjects; expected names like IXI064-"):
        pack_volumes(tmp_path / "in", tmp_path / "none", subjects="validation", **options)


def test_a_published_data_set_goes_out_and_in(tmp_path):
    scan(tmp_path / "a.nii.gz")
    pack_volumes(tmp_path / "a.nii.gz", tmp_path / "one", first=0, stop=12, side=32, pickle=tmp_path / "a.pkl")
    pack_volumes(tmp_path / "a.pkl", tmp_path / "two")
    first, second = ([record.arrays["clean"] for record in Store(tmp_path / name)] for name in ("one", "two"))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.concatenate(first), read_pickle(tmp_path / "a.pkl"))
    with pytest.raises(StoreError, match="its slices are chosen already"):
        pack_volumes(tmp_path / "a.pkl", tmp_path / "three", side=64)


def test_what_cannot_be_packed_is_named(tmp_path):
    scan(tmp_path / "in" / "a.nii")
    scan(tmp_path / "in" / "sub" / "a.nii.gz")
    cases = [
        (tmp_path / "none", {}, "does not exist"),
        (tmp_path, {"subjects": "test"}, "unknown subjects 'test'"),
        (tmp_path / "in", {"first": 0, "stop": 3}, "several volumes named a"),
        (tmp_path / "in" / "a.nii", {}, "none of its volumes can be used .*the slices 25:125 are asked for"),
        (tmp_path / "in" / "a.nii", {"first": 3, "stop": 4}, "all their slices are empty"),
    ]
    for source, options, words in cases:
        with pytest.raises(StoreError, match=words):
            pack_volumes(source, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(StoreError, match="is no volume"):
        pack_volumes(tmp_path / "text.txt", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no volumes"):
        pack_volumes(tmp_path / "empty", tmp_path / "out")


def test_the_command(tmp_path, capsys):
    scan(tmp_path / "in" / "a.nii.gz")
    scan(tmp_path / "in" / "b.nii.gz", depth=4)
    (tmp_path / "in" / "c.nii.gz").write_bytes((tmp_path / "in" / "a.nii.gz").read_bytes()[:3000])
    command = ["pack-mri", str(tmp_path / "in"), str(tmp_path / "out"), "--side", "32"]
    assert run([*command, "--slices", "0:12"]) == 1
    shown = capsys.readouterr()
    assert "11 slices of 1 volumes" in shown.out
    assert "left out because they are empty: 1" in shown.out
    assert "left out because they cannot be used: 2" in shown.out
    assert "b.nii.gz: the slices 0:12 are asked for, and it has 0:4" in shown.err
    assert "c.nii.gz: is damaged" in shown.err
    assert run([*command, "--slices", "0:4", "--overwrite", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["records"] == 6
    for text in ("5", "5:5", "a:b", "-3:4"):
        assert run([*command, "--slices", text]) == 2
        assert "FROM:TO" in capsys.readouterr().err


def test_hidden_files_are_no_volumes(tmp_path):
    """Other systems leave a ._NAME beside each file."""
    scan(tmp_path / "in" / "a.nii")
    (tmp_path / "in" / "._a.nii").write_bytes(b"\0\5\x16\7")
    assert [path.name for path in list_volumes(tmp_path / "in")] == ["a.nii"]


def test_a_file_where_the_folder_of_pictures_should_be(tmp_path, capsys):
    scan(tmp_path / "a.nii")
    (tmp_path / "file").write_text("x")
    arguments = ["--slices", "0:12", "--side", "32", "--png", str(tmp_path / "file")]
    assert run(["pack-mri", str(tmp_path / "a.nii"), str(tmp_path / "out"), *arguments]) == 1
    assert "file: cannot be made a folder (File exists); choose another one" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_pickle_without_its_folder_stops_before_the_volumes(tmp_path, capsys):
    scan(tmp_path / "a.nii")
    arguments = ["--slices", "0:12", "--side", "32", "--pickle", str(tmp_path / "none" / "train.pkl")]
    assert run(["pack-mri", str(tmp_path / "a.nii"), str(tmp_path / "out"), *arguments]) == 1
    assert "train.pkl: cannot be written: there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
