"""Volumes through a model: slice by slice, with black around them and everything else kept."""

import numpy as np
import pytest

from shotnoise import Denoiser, RawDenoiser
from shotnoise.errors import ModelError, PictureError
from shotnoise.mri import open_volume
from shotnoise.volume_denoiser import VolumeDenoiser
from tiny_models import write_model

nibabel = pytest.importorskip("nibabel")


def volume(tmp_path, values):
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2, 3, 1])), tmp_path / "a.nii")
    return open_volume(tmp_path / "a.nii")


def model(tmp_path, name="mri", **card):
    return write_model(tmp_path / f"{name}.onnx", **{"channels": 1, "shape": "blur", "kind": "mri", **card})


def blurred(values, multiple):
    """The mean of 3 x 3 in each slice; beyond the slice and its border of black, zeros."""
    highest = values.max()
    result = np.empty(values.shape)
    for number in range(values.shape[2]):
        signal = values[:, :, number] / highest - 0.5
        below, beside = (-side % multiple for side in signal.shape)
        seen = np.pad(np.pad(signal, ((0, below), (0, beside)), constant_values=-0.5), 1)
        rows, columns = signal.shape
        total = sum(seen[i : i + rows, j : j + columns] for i in range(3) for j in range(3))
        result[:, :, number] = (total / 9 + 0.5) * highest
    return result


@pytest.mark.parametrize("multiple", [1, 8])
def test_every_slice_goes_through_the_model(tmp_path, multiple):
    values = np.random.default_rng(0).random((13, 17, 5)).astype(np.float32) * 700
    found = volume(tmp_path, values)
    shares = []
    denoiser = VolumeDenoiser(model(tmp_path, multiple=multiple))
    result = denoiser.run(found, progress=shares.append)
    expected = blurred(values, multiple)
    np.testing.assert_allclose(result.volume.values, expected, atol=2e-3)
    assert result.removed == pytest.approx(255 / values.max() * np.sqrt(np.mean((values - expected) ** 2)), rel=1e-4)
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert result.volume.source is found.source
    np.testing.assert_array_equal(denoiser(found).values, result.volume.values)
    half = VolumeDenoiser(model(tmp_path, multiple=multiple), strength=0.5).run(found)
    np.testing.assert_allclose(half.volume.values, (values + expected) / 2, atol=2e-3)
    assert VolumeDenoiser(model(tmp_path), strength=0).run(found).volume is found


def test_the_size_a_model_is_fixed_to_is_filled_with_black(tmp_path):
    values = np.random.default_rng(0).random((9, 11, 2)).astype(np.float32)
    fixed = model(tmp_path, size=(16, 16), inputs={"noisy": ["n", 1, 16, 16]})
    np.testing.assert_allclose(VolumeDenoiser(fixed)(volume(tmp_path, values)).values, blurred(values, 16), atol=1e-5)
    with pytest.raises(PictureError, match="slices of 20x11, and the model is fixed to 16x16"):
        VolumeDenoiser(fixed)(volume(tmp_path, np.ones((20, 11, 2), np.float32)))


def test_eight_poses(tmp_path):
    values = np.random.default_rng(0).random((9, 11, 2)).astype(np.float32)
    found = volume(tmp_path, values)
    denoiser = VolumeDenoiser(model(tmp_path, shape="plain"), ensemble="x8")
    mirrored = volume(tmp_path, values[::-1].copy())
    np.testing.assert_allclose(denoiser(mirrored).values[::-1], denoiser(found).values, atol=1e-5)
    assert denoiser.describe()["ensemble"] == "x8"


def test_values_that_are_not_finite_stay(tmp_path):
    values = np.ones((9, 11, 3), np.float32)
    values[2, 3, 1] = np.nan
    result = VolumeDenoiser(model(tmp_path)).run(volume(tmp_path, values))
    assert np.isnan(result.volume.values[2, 3, 1])
    assert np.isfinite(result.volume.values).sum() == values.size - 1
    assert result.notes == ("1 values are not finite and were left as they are",)


def test_models_and_volumes_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ModelError, match="is for gray data of 1 channels; expected one for mri data"):
        VolumeDenoiser(model(tmp_path, "gray", kind="gray"))
    with pytest.raises(ModelError, match="is for rgb data of 3 channels; expected one for mri data"):
        VolumeDenoiser("photo")
    mri = model(tmp_path)
    with pytest.raises(ModelError, match="is for mri data of 1 channels; expected one for rgb or gray"):
        Denoiser(mri)
    with pytest.raises(ModelError, match="is for mri data of 1 channels; expected one for raw data"):
        RawDenoiser(mri)
    with pytest.raises(ModelError, match="takes the noise level, and under-sampling has none"):
        VolumeDenoiser(model(tmp_path, "level", level="sigma"))
    with pytest.raises(ModelError, match="draws nothing at random"):
        VolumeDenoiser(mri, seed=3)
    with pytest.raises(PictureError, match="the largest value of the volume is 0"):
        VolumeDenoiser(mri)(volume(tmp_path, np.zeros((4, 4, 2), np.float32)))
