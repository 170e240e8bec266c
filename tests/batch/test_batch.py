"""Batches: what is done, skipped and failed, and that nothing is lost or half there."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from shotnoise.batch import BatchReport, Options, UsageError, denoise_files
from shotnoise.batch.work import told_to_leave
from shotnoise.errors import EngineError, ModelError
from shotnoise.images import open_image
from tiny_models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model") / "blur.onnx", shape="blur"))


@pytest.fixture
def pictures(tmp_path):
    """in/a.png, in/b.jpg, in/sub/c.tif, and in/bad.png, which is none"""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "sub/c.tif"):
        Pillow.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / name)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    return folder


def statuses(report: BatchReport) -> dict[str, str]:
    return {file.input.name: file.status for file in report.files}


def files(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_tree_with_a_bad_file(pictures, model, tmp_path):
    events = []
    report = denoise_files([pictures], tmp_path / "out", options=Options(model), on_event=events.append)
    assert statuses(report) == {"a.png": "done", "b.jpg": "done", "c.tif": "done", "bad.png": "failed"}
    assert [name for name in files(tmp_path / "out") if name.split("/")[-1][0] != "."] == [
        "a.png",
        "b.jpg",
        "sub/c.tif",
    ]
    done = next(file for file in report.files if file.input.name == "a.png")
    assert done.megapixels == pytest.approx(600e-6)
    assert done.sigma > 5
    assert done.removed > 5
    assert done.seconds > 0
    assert done.tiles["tiles"] == 1
    failed = next(file for file in report.files if file.status == "failed")
    assert "bad.png" in failed.error
    assert "\n" not in failed.error
    assert report.engine["engine"] == "onnxruntime"
    assert {event.total for event in events} == {4}
    for name in ("a.png", "b.jpg"):
        shares = [event.share for event in events if event.input.name == name]
        assert shares[0] == 0.0
        assert shares == sorted(shares)
    assert sum(event.report is not None for event in events) == 4


def test_the_result_is_the_denoisers(pictures, model):
    denoise_files([pictures / "a.png"], options=Options(model, strength=0.5))
    noisy, clean = open_image(pictures / "a.png").pixels, open_image(pictures / "a_clean.png").pixels
    expected = Options(model, strength=0.5).denoiser()(noisy)
    np.testing.assert_array_equal(clean, expected)


def test_a_second_run_does_only_what_is_new_or_changed(pictures, model, tmp_path):
    out = tmp_path / "out"
    (pictures / "bad.png").unlink()
    first = denoise_files([pictures], out, options=Options(model))
    assert first.count("done") == 3
    second = denoise_files([pictures], out, options=Options(model, threads=1))
    assert second.count("skipped") == 3
    assert second.engine is None  # the model was not even opened
    assert second.files[0].notes == ("is done already, with the same model and options",)

    Pillow.new("RGB", (9, 9)).save(pictures / "a.png")
    Pillow.new("RGB", (9, 9)).save(pictures / "new.png")
    third = denoise_files([pictures], out, options=Options(model))
    assert statuses(third) == {"a.png": "done", "new.png": "done", "b.jpg": "skipped", "c.tif": "skipped"}

    assert denoise_files([pictures], out, options=Options(model, strength=0.5)).count("done") == 4
    assert denoise_files([pictures], out, options=Options(model, strength=0.5), overwrite=True).count("done") == 4
    other = str(write_model(tmp_path / "other.onnx", seed=1))
    assert denoise_files([pictures], out, options=Options(other, strength=0.5)).count("done") == 4


def test_files_that_are_not_ours_are_left_alone(pictures, model, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"mine")
    report = denoise_files([pictures / "a.png", pictures / "b.jpg"], out, options=Options(model))
    assert statuses(report) == {"a.png": "failed", "b.jpg": "done"}
    assert "exists, and is not the unchanged result" in report.files[0].error
    assert "say --overwrite" in report.files[0].error
    assert (out / "a.png").read_bytes() == b"mine"
    (out / "b.jpg").write_bytes(b"edited")
    assert statuses(denoise_files([pictures / "b.jpg"], out, options=Options(model))) == {"b.jpg": "failed"}
    assert denoise_files([pictures], out, options=Options(model), overwrite=True).count("done") == 3
    assert (out / "a.png").read_bytes() != b"mine"


def test_the_result_of_another_input_is_not_replaced(pictures, model, tmp_path):
    target = tmp_path / "x.png"
    denoise_files([pictures / "a.png"], target, options=Options(model))
    assert statuses(denoise_files([pictures / "b.jpg"], target, options=Options(model))) == {"b.jpg": "failed"}


def test_in_place_only_when_said_and_only_once(pictures, model):
    picture = pictures / "a.png"
    original = picture.read_bytes()
    with pytest.raises(UsageError, match="would overwrite the input"):
        denoise_files([picture], picture, options=Options(model))
    with pytest.raises(UsageError, match="would overwrite the input"):
        denoise_files([picture], suffix="", options=Options(model), overwrite=True)
    assert picture.read_bytes() == original
    assert denoise_files([picture], picture, options=Options(model), overwrite=True).count("done") == 1
    once = picture.read_bytes()
    assert once != original
    again = denoise_files([picture], picture, options=Options(model, strength=0.5), overwrite=True)
    assert again.files[0].notes == ("was denoised in place already",)
    assert picture.read_bytes() == once


def test_collisions_are_found_before_any_work(pictures, model, tmp_path):
    Pillow.new("RGB", (9, 9)).save(pictures / "a.jpg")
    with pytest.raises(UsageError, match="would both become"):
        denoise_files([pictures], tmp_path / "out", options=Options(model), extension="png")
    assert not (tmp_path / "out").exists()


def test_an_unusable_model_is_found_before_any_work(pictures, model, tmp_path):
    for name in ("nope.onnx", str(pictures / "a.png"), "fotos"):
        with pytest.raises(ModelError):
            denoise_files([pictures], tmp_path / "out", options=Options(name))
    with pytest.raises(ModelError, match="takes no noise level"):
        denoise_files([pictures], tmp_path / "out", options=Options(model, level=5), jobs=2)
    assert not (tmp_path / "out").exists()


def test_an_unexpected_exception_costs_one_file(pictures, model, tmp_path, monkeypatch, caplog):
    import shotnoise.batch.file as work

    def fragile(path, **_):
        if path.name == "b.jpg":
            raise ZeroDivisionError("two\nlines")
        if path.name == "c.tif":
            raise MemoryError
        return open_image(path)

    monkeypatch.setattr(work, "open_image", fragile)
    report = denoise_files([pictures], tmp_path / "out", options=Options(model))
    errors = {file.input.name: file.error for file in report.files if file.status == "failed"}
    assert errors["b.jpg"].endswith("b.jpg: unexpected ZeroDivisionError: two lines")
    assert errors["c.tif"].endswith("c.tif: not enough memory")
    assert "ZeroDivisionError" in caplog.text
    assert report.count("done") == 1


@pytest.mark.parametrize("other", [ImportError, ModelError])
def test_the_order_to_leave_is_no_failure_of_the_file_under_way(pictures, model, tmp_path, monkeypatch, other):
    """It may arrive while a library is being loaded, which then reports a failed import."""
    import shotnoise.batch.file as work

    def told_to_leave(path, **_):
        try:
            raise SystemExit(143)
        except SystemExit as leaving:
            raise other("initialization failed") from leaving

    monkeypatch.setattr(work, "open_image", told_to_leave)
    with pytest.raises(SystemExit, match="143"):
        denoise_files([pictures / "a.png"], tmp_path / "out/", options=Options(model))


def test_an_output_folder_that_cannot_be_made(pictures, model, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    report = denoise_files([pictures / "a.png"], tmp_path / "file" / "out/", options=Options(model))
    assert report.count("failed") == 1
    assert "\n" not in report.files[0].error


def test_stopping_leaves_whole_files_and_a_manifest(pictures, model, tmp_path):
    def stop(event):
        if event.report is not None and event.report.status == "done":
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        denoise_files([pictures / "a.png", pictures / "b.jpg"], out, options=Options(model), on_event=stop)
    assert files(out) == [".shotnoise.json", "a.png"]
    report = denoise_files([pictures / "a.png", pictures / "b.jpg"], out, options=Options(model))
    assert statuses(report) == {"a.png": "skipped", "b.jpg": "done"}


def test_nothing_is_left_when_writing_is_interrupted(pictures, model, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        denoise_files([pictures / "a.png"], tmp_path / "out", options=Options(model))
    assert files(tmp_path / "out") == []


def test_processes_give_the_same_files(pictures, model, tmp_path):
    one = denoise_files([pictures], tmp_path / "one", options=Options(model))
    two = denoise_files([pictures], tmp_path / "two", options=Options(model), jobs=2)
    assert statuses(one) == statuses(two)
    assert two.engine["threads"] == max(1, len(os.sched_getaffinity(0)) // 2)
    for name in ("a.png", "b.jpg", "sub/c.tif"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert denoise_files([pictures], tmp_path / "two", options=Options(model)).count("skipped") == 3
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_costs_what_it_was_working_on(pictures, model, tmp_path):
    for k in range(4):
        Pillow.new("RGB", (9, 9)).save(pictures / f"z{k}.png")
    killed = []

    def kill_first(event):
        if not killed and event.share == 0:
            killed.extend(multiprocessing.active_children())
            for child in killed:
                child.kill()

    report = denoise_files([pictures], tmp_path / "out", options=Options(model), jobs=2, on_event=kill_first)
    assert killed
    errors = [file.error for file in report.files if file.status == "failed"]
    assert sum("the process died" in error for error in errors) in (1, 2)
    assert report.count("done") + len(errors) == 8
    assert report.count("done") >= 5


def test_stopping_ends_the_processes(pictures, model, tmp_path):
    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_files([pictures], tmp_path / "out", options=Options(model), jobs=2, on_event=stop)
    assert not any(child.is_alive() for child in multiprocessing.active_children())
    assert not any(name.endswith(".partial") for name in files(tmp_path))


def test_the_report_is_plain_json(pictures, model, tmp_path):
    import json

    report = denoise_files([pictures, "nope.png"], tmp_path / "out", options=Options(model))
    content = json.loads(json.dumps(report.to_json()))
    assert content["done"] == 3
    assert content["failed"] == 2
    assert len(content["model"]["sha256"]) == 64
    missing = next(file for file in content["files"] if file["input"] == "nope.png")
    assert missing["output"] is None
    assert missing["status"] == "failed"
    done = next(file for file in content["files"] if file["status"] == "done")
    assert done["engine"] == "onnxruntime"
    assert done["provider"] == "cpu"
    assert done["tiles"]["window"] == [20, 30]


def test_processes_that_cannot_be_started(pictures, model, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("out of processes")

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor.submit", refuse)
    with pytest.raises(EngineError, match=r"cannot start 2 processes .out of processes.; try fewer jobs"):
        denoise_files([pictures], tmp_path / "out", options=Options(model), jobs=2)


def test_an_output_folder_that_is_a_file(pictures, model, tmp_path, caplog):
    (tmp_path / "out").write_bytes(b"mine")
    report = denoise_files([pictures / "a.png"], f"{tmp_path}/out/", options=Options(model))
    name = tmp_path / "out" / "a.png"
    assert report.files[0].error == (
        f"{pictures}/a.png: {name}: cannot be written (its folder is a file); choose another place"
    )
    assert caplog.text == ""
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_what_was_written_before_the_disk_was_full_is_ours(pictures, model, tmp_path, monkeypatch):
    """The picture is there, its report is not: the next run makes both, without being told to overwrite."""

    def full(place, encode):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    options = Options(model, report=True)
    with monkeypatch.context() as patch:
        patch.setattr("shotnoise.batch.report_page.picture_report", lambda *_: b"page")
        patch.setattr("shotnoise.batch.file.write", full)
        (failed,) = denoise_files([pictures / "a.png"], tmp_path / "out", options=options).files
    page = tmp_path / "out" / "a_report.html"
    assert f"{page}: cannot be written (No space left on device); choose another place" in failed.error
    assert (tmp_path / "out" / "a.png").exists()
    assert denoise_files([pictures / "a.png"], tmp_path / "out", options=options).count("done") == 1
    assert page.exists()


def test_a_name_with_a_line_break_makes_one_line(pictures, model):
    (pictures / "bad.png").rename(pictures / "very\nbad.png")
    (failed,) = denoise_files([pictures / "very\nbad.png"], options=Options(model)).files
    assert "\n" not in failed.error
    assert r"very\nbad.png" in failed.error


def lives(process):
    """Whether it is more than an entry that nobody has asked for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes where Linux lists them")
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGTERM, "1"), (signal.SIGKILL, "2")])
def test_nothing_goes_on_without_its_parent(pictures, model, tmp_path, number, jobs):
    """However the command ends, no process stays behind; and unless it was killed, the next one goes on from there."""
    for index in range(400):
        shutil.copy(pictures / "a.png", pictures / f"copy{index}.png")
    command = [sys.executable, "-m", "shotnoise", "denoise", str(pictures), "-o", str(tmp_path / "out"), "--jobs", jobs]
    pipe = subprocess.Popen([*command, "--model", model, "--engine", "onnxruntime"], stderr=subprocess.PIPE, text=True)
    pipe.stderr.readline()  # a file is done
    children = [int(one) for one in Path(f"/proc/{pipe.pid}/task/{pipe.pid}/children").read_text().split()]
    assert len(children) == (3 if jobs == "2" else 0)  # two that work, and one that tracks what they share
    pipe.send_signal(number)
    rest = pipe.communicate(timeout=30)[1]
    assert pipe.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    until = time.monotonic() + 10
    while any(map(lives, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(lives, children))
    if number != signal.SIGKILL:
        assert "the same command goes on from there" in rest
        assert not list((tmp_path / "out").glob("*.partial"))
        assert denoise_files([pictures / "copy0.png"], tmp_path / "out", options=Options(model)).count("failed") == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with told_to_leave():
            signal.raise_signal(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            with told_to_leave(), pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
                signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
