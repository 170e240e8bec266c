"""What is known about earlier results."""

import json
import logging

import pytest

from shotnoise.batch.manifest import MANIFEST, Manifest, Origin, file_state


@pytest.fixture
def output(tmp_path):
    path = tmp_path / "out.png"
    path.write_bytes(b"result")
    return path


ORIGIN = Origin("/in.png", [5, 7], "model", {"strength": 1.0, "level": None})


def known(output) -> Manifest:
    manifest = Manifest(output.parent)
    manifest.add(output, ORIGIN)
    manifest.save()
    return Manifest(output.parent)


def test_states(output):
    manifest = Manifest(output.parent)
    assert manifest.state(output.with_name("new.png"), ORIGIN) == "absent"
    assert manifest.state(output, ORIGIN) == "foreign"
    manifest = known(output)
    assert manifest.state(output, ORIGIN) == "current"
    assert manifest.state(output, Origin("/in.png", [6, 7], "model", ORIGIN.options)) == "outdated"
    assert manifest.state(output, Origin("/in.png", [5, 7], "other", ORIGIN.options)) == "outdated"
    assert manifest.state(output, Origin("/in.png", [5, 7], "model", {"strength": 0.5, "level": None})) == "outdated"
    assert manifest.state(output, Origin("/other.png", [5, 7], "model", ORIGIN.options)) == "foreign"
    output.write_bytes(b"edited by hand")
    assert manifest.state(output, ORIGIN) == "foreign"
    output.unlink()
    assert manifest.state(output, ORIGIN) == "absent"


def test_a_dangling_link_is_not_absent(tmp_path):
    (tmp_path / "out.png").symlink_to(tmp_path / "nowhere")
    assert Manifest(tmp_path).state(tmp_path / "out.png", ORIGIN) == "foreign"


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"version": 2, "files": {}}', '{"version": 1}', "\xff"])
def test_a_damaged_manifest_knows_nothing(output, caplog, content):
    (output.parent / MANIFEST).write_text(content, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        assert Manifest(output.parent).state(output, ORIGIN) == "foreign"
    assert known(output).state(output, ORIGIN) == "current"


def test_entries_of_the_wrong_kind_are_foreign(output):
    for entry in (None, [], "x", {}, {"output_state": file_state(output)}):
        (output.parent / MANIFEST).write_text(json.dumps({"version": 1, "files": {"out.png": entry}}))
        assert Manifest(output.parent).state(output, ORIGIN) == "foreign"


def test_two_processes_do_not_forget_each_other(output):
    second = output.with_name("second.png")
    second.write_bytes(b"x")
    one, other = Manifest(output.parent), Manifest(output.parent)
    one.add(output, ORIGIN)
    other.add(second, ORIGIN)
    one.save()
    other.save()
    final = Manifest(output.parent)
    assert final.state(output, ORIGIN) == final.state(second, ORIGIN) == "current"
    assert [path.name for path in output.parent.glob(".*")] == [MANIFEST]


def test_thousands_of_results_do_not_cost_thousands_of_whole_files(output, monkeypatch):
    manifest = Manifest(output.parent)
    written = []
    original = manifest.save
    monkeypatch.setattr(manifest, "save", lambda: (written.append(1), original()))
    manifest._cost = 1.0
    for k in range(200):
        manifest.add(output.with_name(f"{k}.png"), ORIGIN)
    assert len(written) == 1 + (manifest._cost < 1.0) * 199 or len(written) < 200
    manifest.save()
    assert len(Manifest(output.parent)._entries) == 200


def test_a_folder_that_cannot_be_written_is_a_warning(output, caplog, monkeypatch):
    monkeypatch.setattr("shotnoise.batch.manifest.os.replace", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
    with caplog.at_level(logging.WARNING):
        Manifest(output.parent).add(output, ORIGIN)
    assert "cannot be written (read-only); a second run will not know" in caplog.text
    assert not list(output.parent.glob(".*"))
