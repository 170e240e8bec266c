"""Names of results, all settled before any work."""

from pathlib import Path

import pytest

from shotnoise.batch.places import UsageError, plan_places, refuse_collisions


@pytest.fixture(autouse=True)
def tree(tmp_path, monkeypatch):
    """a.png, b.JPG, c.bmp, d/e.png, d/f/g.tif, d/notes.txt"""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.JPG", "c.bmp", "d/e.png", "d/f/g.tif", "d/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def plan(*inputs, output=None, suffix=None, extension=None, recursive=True):
    planned, unusable = plan_places(inputs, output, suffix, extension, recursive)
    assert unusable == []
    return {source.as_posix(): target.as_posix() for source, target, *_ in planned}


def test_beside_the_input_without_an_output():
    assert plan("a.png", "b.JPG", "c.bmp") == {"a.png": "a_clean.png", "b.JPG": "b_clean.JPG", "c.bmp": "c_clean.png"}
    assert plan("d/e.png", suffix="-x", extension="TIF") == {"d/e.png": "d/e-x.tif"}
    assert plan("d") == {"d/e.png": "d_clean/e.png", "d/f/g.tif": "d_clean/f/g.tif"}
    assert plan("d/", suffix="2", extension="npy") == {"d/e.png": "d2/e.npy", "d/f/g.tif": "d2/f/g.npy"}
    assert plan("d", recursive=False) == {"d/e.png": "d_clean/e.png"}


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir("d")
    clean = tmp_path / "d_clean"
    assert plan(".") == {"e.png": f"{clean}/e.png", "f/g.tif": f"{clean}/f/g.tif"}


def test_one_file_into_a_file_or_folder():
    assert plan("a.png", output="x.tif") == {"a.png": "x.tif"}
    assert plan("a.png", output="new") == {"a.png": "new/a.png"}
    assert plan("a.png", output="new.folder/") == {"a.png": "new.folder/a.png"}
    assert plan("a.png", output="d") == {"a.png": "d/a.png"}
    assert plan("a.png", output="d", suffix="_1", extension=".jpg") == {"a.png": "d/a_1.jpg"}
    assert plan("c.bmp", output="x.png", extension="png") == {"c.bmp": "x.png"}


def test_a_folder_becomes_the_output_and_several_go_into_it():
    assert plan("d", output="o") == {"d/e.png": "o/e.png", "d/f/g.tif": "o/f/g.tif"}
    assert plan("d", "a.png", output="o") == {"d/e.png": "o/d/e.png", "d/f/g.tif": "o/d/f/g.tif", "a.png": "o/a.png"}
    assert plan("d/e.png", "a.png", output="o") == {"d/e.png": "o/e.png", "a.png": "o/a.png"}


def test_results_inside_the_input_folder_are_no_inputs():
    Path("d/out").mkdir()
    Path("d/out/e.png").write_bytes(b"x")
    assert plan("d", output="d/out") == {"d/e.png": "d/out/e.png", "d/f/g.tif": "d/out/f/g.tif"}


def test_an_output_folder_around_the_inputs_hides_none_of_them():
    """`denoise photos -o .` must not take every photo for a result of an earlier run."""
    assert plan("d", output=".") == {"d/e.png": "e.png", "d/f/g.tif": "f/g.tif"}
    assert plan("d/e.png", output=".") == {"d/e.png": "e.png"}
    assert plan("d/f/g.tif", output="d") == {"d/f/g.tif": "d/g.tif"}


@pytest.mark.parametrize(("inputs", "output"), [([""], None), (["a.png"], ""), (["a.png", ""], "o")])
def test_an_empty_name_is_not_the_current_folder(inputs, output):
    with pytest.raises(UsageError, match=r"a name is empty; expected a file or folder, .*; is a variable not set\?"):
        plan(*inputs, output=output)


def test_an_input_is_not_overwritten_through_a_link():
    Path("o").mkdir()
    Path("o/a.png").symlink_to("../a.png")
    planned, _ = plan_places(["a.png"], "o", None, None, recursive=True)
    with pytest.raises(UsageError, match=r"a\.png would overwrite the input a\.png"):
        refuse_collisions(planned, in_place=False)


def test_the_same_input_twice_is_one():
    assert plan("a.png", "a.png", output="o") == {"a.png": "o/a.png"}


def test_inputs_that_cannot_be_used_do_not_stop_the_others():
    Path("empty").mkdir()
    planned, unusable = plan_places(["nope.png", "empty", "a.png"], None, None, None, True)
    assert [place[:2] for place in planned] == [(Path("a.png"), Path("a_clean.png"))]
    assert [path.name for path, _ in unusable] == ["nope.png", "empty"]
    assert "nope.png: does not exist" in unusable[0][1]
    assert "empty: holds no pictures" in unusable[1][1]


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (["a.png", "b.JPG"], {"output": "x.png"}, "output x.png is a file, but there are 2 inputs; expected the name"),
        (["d"], {"output": "x.png"}, "output x.png is a file, but the input is a folder"),
        (["d"], {"output": "a.png"}, "output a.png is a file, but the input is a folder"),
        (["a.png"], {"output": "x.jepg"}, "x.jepg ends in none of .png, .*; for a folder of this name, add a slash"),
        (["a.png"], {"output": "x.png", "extension": "jpg"}, "x.png and the format 'jpg' contradict each other"),
        (["a.png"], {"extension": "pgn"}, "unknown format 'pgn': did you mean 'png'"),
        (["a.png"], {"suffix": "../x"}, "suffix '../x' holds a slash"),
    ],
)
def test_contradictions_are_one_line(inputs, options, words):
    with pytest.raises(UsageError, match=words) as caught:
        plan(*inputs, **options)
    assert "\n" not in str(caught.value)


def refused(words, *inputs, in_place=False, **options):
    planned, _ = plan_places(inputs, *(options.get(key) for key in ("output", "suffix", "extension")), True)
    with pytest.raises(UsageError, match=words):
        refuse_collisions(planned, in_place)


def test_two_inputs_that_would_become_one_file():
    Path("a.jpg").write_bytes(b"x")
    Path("d/a.png").write_bytes(b"x")
    refused("a.png and a.jpg would both become a_clean.png", "a.png", "a.jpg", extension="png")
    refused("a.png and d/a.png would both become o/a.png", "a.png", "d/a.png", output="o")
    refused("d/e.png and d/../d/e.png would both become", "d/e.png", "d/../d/e.png", output="o")


def test_inputs_are_not_overwritten_unless_that_is_said():
    refused("a.png would overwrite the input a.png; .* say --overwrite", "a.png", output=".")
    refused("a.png would overwrite the input a.png", "a.png", output="a.png")
    refused("d/e.png would overwrite the input d/e.png", "d", output="d")
    refused("a.png would overwrite the input a.png", "a.png", suffix="")
    Path("a_clean.png").write_bytes(b"x")
    refused("a.png would overwrite the input a_clean.png", "a.png", "a_clean.png")
    # said, for itself; but never for another input
    refuse_collisions(plan_places(["a.png"], "a.png", None, None, True)[0], True)
    refuse_collisions(plan_places(["d"], "d", None, None, True)[0], True)
    refused("a.png would overwrite the input a_clean.png", "a.png", "a_clean.png", in_place=True)
