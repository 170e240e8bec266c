import json

import numpy as np
import pytest
from PIL import Image

from shotnoise.cli import run
from shotnoise.store import Store


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_pack_makes_a_store_and_says_so(tmp_path, pictures, capsys):
    target = tmp_path / "new" / "store"
    assert run(["pack", str(pictures), str(target), "--crop", "10", "--split", "0.5", "--seed", "4"]) == 0
    out, err = capsys.readouterr()
    store = Store(target)
    store.verify()
    assert (
        out.splitlines()[0] == f"{target}: {len(store)} samples of 3 pictures, {store.schema.total_bytes / 1e6:.1f} MB"
    )
    assert out.splitlines()[1].startswith("split: train ")
    assert err == ""
    assert store.schema.made_by["crop"] == 10


def test_a_broken_picture_ends_in_status_1_with_the_rest_packed(tmp_path, pictures, capsys):
    (pictures / "broken.png").write_bytes(b"")
    assert run(["pack", str(pictures), str(tmp_path / "s"), "--min-size", "21"]) == 1
    out, err = capsys.readouterr()
    assert len(Store(tmp_path / "s")) == 2
    assert "left out because they cannot be read: 1" in out
    assert "left out because of size or channels: 1" in out
    broken, small = err.splitlines()
    assert broken.startswith("left out: ")
    assert str(pictures / "broken.png") in broken
    assert small == "left out: 0.png: 20 x 30 pixels: a side is shorter than 21"


def test_json_is_the_whole_output(tmp_path, pictures, capsys):
    assert run(["pack", str(pictures), str(tmp_path / "s"), "--channels", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["store"] == str(tmp_path / "s")
    assert (report["pictures"], report["records"], report["converted"]) == (3, 3, ["0.png", "1.png", "2.png"])


def test_an_existing_store_is_kept_unless_told_otherwise(tmp_path, pictures, capsys):
    arguments = ["pack", str(pictures), str(tmp_path / "s")]
    assert run(arguments) == 0
    assert run(arguments) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 's'}: this store exists already")
    assert run([*arguments, "--overwrite"]) == 0


def test_errors_are_one_line(tmp_path, capsys):
    assert run(["pack", str(tmp_path / "missing"), str(tmp_path / "s")]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "does not exist" in err
    assert run(["pack", str(tmp_path)]) == 2
