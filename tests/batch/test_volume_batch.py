"""Volumes among many files: named, written and refused as pictures are."""

import json

import numpy as np
import pytest

from shotnoise.batch import Options, UsageError, denoise_files
from shotnoise.cli import run
from shotnoise.images import Image, save_image
from tiny_models import write_model

nibabel = pytest.importorskip("nibabel")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "mri.onnx", channels=1, shape="blur", kind="mri")


def scan(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 900, (10, 12, 4)).astype(np.int16)
    image = nibabel.Nifti1Image(values, np.diag([1.0, 2, 3, 1]))
    image.header.set_slope_inter(0.5, 3)
    nibabel.save(image, path)
    return path


def test_the_command(tmp_path, model, capsys):
    source = scan(tmp_path / "brain.nii.gz")
    assert run(["denoise", str(source), "-o", str(tmp_path / "clean.nii.gz"), "--model", str(model)]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(tmp_path / "clean.nii.gz")
    first, second = (nibabel.load(tmp_path / name) for name in ("brain.nii.gz", "clean.nii.gz"))
    assert first.header == second.header
    assert (second.dataobj.slope, second.dataobj.inter) == (0.5, 3)
    assert not np.array_equal(first.dataobj, second.dataobj)
    assert np.std(second.get_fdata()) < np.std(first.get_fdata()), "a blur"
    assert run(["denoise", str(source), "--model", str(model), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["files"][0]["output"] == str(tmp_path / "brain_clean.nii.gz")
    assert report["files"][0]["engine"] == "onnxruntime"
    assert report["volume_model"]["path"] == str(model)


def test_a_folder_and_a_second_run(tmp_path, model):
    for name in ("a.nii", "sub/b.nii.gz"):
        scan(tmp_path / "in" / name)
    options = Options(str(model))
    report = denoise_files([tmp_path / "in"], options=options)
    assert sorted(str(file.output.relative_to(tmp_path)) for file in report.files) == [
        "in_clean/a.nii", "in_clean/sub/b.nii.gz",
    ]  # fmt: skip
    assert [(file.status, file.kind) for file in report.files] == [("done", "volume")] * 2
    assert denoise_files([tmp_path / "in"], options=options).count("skipped") == 2
    packed = denoise_files([tmp_path / "in" / "a.nii"], tmp_path / "other", options=options, extension="nii.gz")
    assert packed.files[0].output == tmp_path / "other" / "a.nii.gz"


def test_pictures_beside_volumes_fail_alone(tmp_path, model):
    scan(tmp_path / "in" / "a.nii")
    save_image(Image(np.zeros((8, 9), np.uint8)), tmp_path / "in" / "b.png")
    report = denoise_files([tmp_path / "in"], options=Options(str(model)))
    assert {file.input.name: file.status for file in report.files} == {"a.nii": "done", "b.png": "failed"}
    assert "expected one for rgb or gray pictures" in next(file.error for file in report.files if file.error)
    report = denoise_files([tmp_path / "in"], tmp_path / "with-photo")
    assert {file.input.name: file.status for file in report.files} == {"a.nii": "failed", "b.png": "done"}
    assert "no model for volumes comes with shotnoise" in next(file.error for file in report.files if file.error)


def test_mistakes_are_named(tmp_path, model, capsys):
    source = scan(tmp_path / "a.nii")
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"\x1f\x8b" + bytes(range(200)))
    cases = [
        ([str(source)], 1, "no model for volumes comes with shotnoise"),
        ([str(source), "--model", "photo"], 1, "expected one for mri data of 1 channel"),
        ([str(source), "-o", str(tmp_path / "a.png"), "--model", str(model)], 1, "is a volume, and those become"),
        ([str(source), "--model", str(model), "--level", "5"], 2, "a noise level is given, and volumes are denoised"),
        ([str(source), "--model", str(model), "--tile", "64"], 2, "a size of tiles is given"),
        ([str(source), "--fit"], 1, "a fit learns from finished pictures, not from volumes"),
        ([str(broken), "--model", str(model)], 1, "broken.nii.gz: is damaged"),
    ]
    for arguments, status, words in cases:
        assert run(["denoise", *arguments]) == status, arguments
        error = " ".join(capsys.readouterr().err.split())
        assert words in error, arguments
        assert "Traceback" not in error
    picture = tmp_path / "b.png"
    save_image(Image(np.zeros((8, 9), np.uint8)), picture)
    report = denoise_files([picture], tmp_path / "b.nii")
    assert "is no volume, and only those become .nii.gz or .nii" in report.files[0].error
    with pytest.raises(UsageError, match="unknown format 'nifti'"):
        denoise_files([source], options=Options(str(model)), extension="nifti")
