"""While one file is in the model, the one before is written and the next one is read; and no more than that."""

import threading
import time

import numpy as np
import pytest

import shotnoise.batch.file as steps
from shotnoise.batch import Options, denoise_files, work
from shotnoise.images import open_image, save_image
from tiny_models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model") / "blur.onnx", shape="blur"))


@pytest.fixture
def pictures(tmp_path):
    """0.png to 4.png, of which 2.png is none"""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        save_image(rng.integers(0, 256, (20, 30, 3), np.uint8), folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    return folder


@pytest.fixture
def diary(monkeypatch):
    """What begins and ends, in order: ("read", name, True), ..."""
    entries = []

    def noted(what, function, path_of):
        def run(*arguments, **options):
            name = path_of(*arguments)
            entries.append((what, name, True))
            try:
                time.sleep(0.02)
                return function(*arguments, **options)
            finally:
                entries.append((what, name, False))

        return run

    monkeypatch.setattr(steps, "open_image", noted("read", open_image, lambda path: path.stem))
    monkeypatch.setattr(steps, "save_image", noted("write", save_image, lambda image, path: path.stem))
    return entries


MEANWHILE = {  # what ends while a file is in the model; 2 never gets there
    "0": [("read", "1")],
    "1": [("write", "0"), ("read", "2")],
    "3": [("write", "1"), ("read", "4")],
    "4": [("write", "3")],
}


def test_files_overlap_and_come_out_in_order(pictures, model, tmp_path, diary, monkeypatch):
    names = iter(MEANWHILE)

    class Patient:
        """In no hurry: waits for what should happen meanwhile."""

        def __init__(self, options):
            self.denoiser = plain(options)
            self.describe = self.denoiser.describe

        def run(self, image, *, progress):
            name = next(names)
            diary.append(("run", name, True))
            until = time.monotonic() + 10
            while not all((*one, False) in diary for one in MEANWHILE[name]):
                assert time.monotonic() < until, f"while {name} is in the model: {diary}"
                time.sleep(0.01)
            time.sleep(0.1)  # for what should not happen
            result = self.denoiser.run(image, progress=progress)
            diary.append(("run", name, False))
            return result

    plain = Options.denoiser
    monkeypatch.setattr(Options, "denoiser", lambda options: Patient(options))
    events = []
    report = denoise_files([pictures], tmp_path / "out", options=Options(model), on_event=events.append)
    assert [file.input.stem for file in report.files] == ["0", "1", "2", "3", "4"]
    assert [file.status for file in report.files] == ["done", "done", "failed", "done", "done"], report.files
    assert "2.png" in report.files[2].error
    reads = [name for what, name, begins in diary if what == "read" and begins]
    assert reads == ["0", "1", "2", "3", "4"]
    # A look ahead of one, not more.
    assert diary.index(("read", "2", True)) > diary.index(("run", "0", False))
    assert diary.index(("read", "4", True)) > diary.index(("run", "1", False))
    assert [event.input.stem for event in events if event.report is None and event.share == 0] == reads


def test_seconds_are_those_of_the_file_not_those_of_waiting(pictures, model, tmp_path, diary, monkeypatch):
    plain = Options.denoiser

    class Slow:
        def __init__(self, options):
            self.denoiser = plain(options)
            self.describe = self.denoiser.describe

        def run(self, image, *, progress):
            time.sleep(0.5)
            return self.denoiser.run(image, progress=progress)

    monkeypatch.setattr(Options, "denoiser", lambda options: Slow(options))
    report = denoise_files([pictures], tmp_path / "out", options=Options(model))
    assert sum(file.seconds for file in report.files) < 1.3 * report.seconds  # with the waiting it would be 1.75 times
    assert min(file.seconds for file in report.files if file.status == "done") > 0.5


def test_the_same_files_as_one_by_one(pictures, model, tmp_path):
    denoise_files([pictures], tmp_path / "out", options=Options(model))
    for name in ("0", "1", "3", "4"):
        denoise_files([pictures / f"{name}.png"], tmp_path / "alone/", options=Options(model))
        assert (tmp_path / "out" / f"{name}.png").read_bytes() == (tmp_path / "alone" / f"{name}.png").read_bytes()


def test_large_pictures_have_the_memory_for_themselves(pictures, model, tmp_path, diary, monkeypatch):
    monkeypatch.setattr(work, "LARGE", 1000)
    report = denoise_files([pictures], tmp_path / "out", options=Options(model))
    assert report.count("done") == 4
    for before, after in (("0", "1"), ("3", "4")):
        assert diary.index(("write", before, False)) < diary.index(("read", after, True))


def test_a_defect_while_writing_costs_one_file(pictures, model, tmp_path, monkeypatch):
    def fragile(image, path, **options):
        if path.stem == "1":
            raise OSError("no space left on device")
        return save_image(image, path, **options)

    monkeypatch.setattr(steps, "save_image", fragile)
    report = denoise_files([pictures], tmp_path / "out", options=Options(model))
    assert {file.input.stem: file.status for file in report.files} == {
        "0": "done", "1": "failed", "2": "failed", "3": "done", "4": "done",
    }  # fmt: skip
    assert "1.png: cannot be written (no space left on device); choose another place" in report.files[1].error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_stopping_waits_for_what_is_being_written_and_records_it(pictures, model, tmp_path, error):
    out = tmp_path / "out"

    def stop(event):
        if event.input.stem == "1" and event.share == 1 and event.report is None:
            raise error  # while 0 is being written or just was

    with pytest.raises(error):
        denoise_files([pictures], out, options=Options(model), on_event=stop)
    assert sorted(path.name for path in out.iterdir()) == [".shotnoise.json", "0.png"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("files")]
    again = denoise_files([pictures], out, options=Options(model))
    assert {file.input.stem: file.status for file in again.files} == {
        "0": "skipped", "1": "done", "2": "failed", "3": "done", "4": "done",
    }  # fmt: skip
