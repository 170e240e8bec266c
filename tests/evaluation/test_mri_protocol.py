"""The protocols of MRI: slices of stores and volumes, and the score of the published code."""

import numpy as np
import pytest

from shotnoise.cli import run
from shotnoise.errors import StoreError
from shotnoise.evaluation import ModelUnderTest, evaluate, get_protocol
from shotnoise.mri import density, slices_of, to_signal, undersample, with_measured
from shotnoise.store import StoreWriter
from shotnoise.store.volumes import pack_volumes
from tiny_models import write_model

nibabel = pytest.importorskip("nibabel")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "brain.nii"
    y, x, z = np.mgrid[:30, :34, :30]
    values = 400 * (1 + np.sin(x / 3 + y / 5) * np.cos(z / 4)) * ((x - 17) ** 2 + (y - 15) ** 2 < 150)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), np.eye(4)), path)
    return path


@pytest.fixture(scope="module")
def store(scan):
    pack_volumes(scan, scan.parent / "store", first=10, stop=14, side=40)
    return scan.parent / "store"


def decibels(image, clean):
    clipped = np.clip(image, -0.5, 0.5).astype(np.float64)
    return float(-10 * np.log10(np.mean((clipped - clean) ** 2)))


@pytest.mark.parametrize("name", ["mri/kspace", "mri/kspace-alone"])
def test_the_score_by_hand(store, scan, name):
    found = evaluate(lambda noisy, told: 0.5 * noisy, get_protocol(name), store, channels=1)
    assert [row.picture for row in found.rows] == [f"brain_{number:03d}" for number in range(10, 14)]
    volume = nibabel.load(scan).get_fdata(dtype=np.float32)
    for row, (_, counts) in zip(found.rows, slices_of(volume, first=10, stop=14, side=40), strict=True):
        clean = to_signal(counts[:39, :39])
        made = undersample(clean, np.random.RandomState(0).uniform(size=(39, 39)), density(39, 39))
        result = 0.5 * made.noisy
        if name == "mri/kspace":
            result = with_measured(result, made.spectrum, made.measured)
        assert row.psnr == pytest.approx(decibels(result, clean), abs=1e-4)
        assert row.noisy_psnr == pytest.approx(decibels(made.noisy, clean), abs=1e-4)
        assert (row.height, row.width, row.told) == (39, 39, "")
    assert found.score().protocol == name


def test_volumes_are_measured_by_the_published_selection(tmp_path):
    values = np.random.default_rng(0).integers(1, 900, (8, 8, 127)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    found = evaluate(lambda noisy, told: noisy, get_protocol("mri/kspace"), tmp_path, channels=1, limit=2)
    assert [(row.picture, row.height) for row in found.rows] == [("a.nii.gz/025", 255), ("a.nii.gz/026", 255)]
    assert len(get_protocol("mri/kspace").find(tmp_path / "a.nii.gz")[1]) == 100


def test_a_model_sees_black_around_a_slice(store, tmp_path):
    """The blur with a size multiple of 64: beyond the slice there is -0.5, not a reflection."""
    under_test = ModelUnderTest(write_model(tmp_path / "m.onnx", channels=1, shape="blur", kind="mri", multiple=64))
    noisy = np.random.default_rng(0).random((1, 39, 39)).astype(np.float32)
    seen = np.pad(noisy[0], (0, 2), constant_values=-0.5)
    corner = seen[37:40, 37:40].mean()
    assert under_test(noisy, None)[0, 38, 38] == pytest.approx(corner, abs=1e-6)
    assert under_test(noisy, None).shape == noisy.shape


def test_the_command(store, tmp_path, capsys):
    model = write_model(tmp_path / "m.onnx", channels=1, shape="blur", kind="mri")
    gray = write_model(tmp_path / "g.onnx", channels=1, shape="blur")
    command = ["--protocol", "mri/kspace,mri/kspace-alone", "--data", str(store)]
    assert run(["evaluate", str(model), *command, "--save-pictures", str(tmp_path / "out")]) == 0
    assert "mri/kspace-alone" in capsys.readouterr().out
    assert len(list((tmp_path / "out").rglob("*.png"))) == 16
    assert run(["evaluate", str(gray), *command]) == 1
    assert "is for gray data, and 'mri/kspace' measures on MRI slices" in capsys.readouterr().err
    assert run(["evaluate", str(model), "--protocol", "folder/gaussian25", "--data", str(tmp_path / "out")]) == 1
    assert "is for mri data" in capsys.readouterr().err


def test_other_stores_are_refused(tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        writer.add("a", {"clean": np.zeros((3, 8, 8), np.uint8)})
    with pytest.raises(StoreError, match="holds no slices; make it with `shotnoise pack-mri`"):
        get_protocol("mri/kspace").find(tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no volumes"):
        get_protocol("mri/kspace").find(tmp_path / "empty")
