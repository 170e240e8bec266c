"""Uncertainty beside the results: the numbers, a picture with its scale, and what a second run makes of them."""

import numpy as np
import pytest
from PIL import Image as Pillow

from shotnoise.batch import Options, UsageError, denoise_files
from shotnoise.batch.spread import picture_of
from shotnoise.images import open_image
from shotnoise.images.raw import save_dng
from shotnoise.sensor.simulate import SimulatedSensor
from tiny_models import write_model


@pytest.fixture
def model(tmp_path):
    return str(write_model(tmp_path / "m.onnx", latent=(5, 4)))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Pillow.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / name)
    return folder


def test_the_numbers_and_the_picture_lie_beside_the_result(pictures, model, tmp_path):
    options = Options(model, samples=3, seed=2, uncertainty=True)
    report = denoise_files([pictures], tmp_path / "out", options=options)
    assert report.count("done") == 2
    (file, _) = report.to_json()["files"]
    numbers, picture = tmp_path / "out" / "a_uncertainty.npy", tmp_path / "out" / "a_uncertainty.png"
    assert file["uncertainty"] == [str(numbers), str(picture)]
    found = np.load(numbers)
    assert (found.dtype, found.shape) == (np.float32, (20, 30, 3))
    expected = options.denoiser().run(open_image(pictures / "a.png"))
    np.testing.assert_array_equal(found, expected.uncertainty)
    with Pillow.open(picture) as shown:
        assert shown.mode == "RGB"
        assert min(shown.size) > 300
    assert denoise_files([pictures], tmp_path / "out", options=options).count("skipped") == 2
    numbers.unlink()
    again = denoise_files([pictures], tmp_path / "out", options=options)
    assert (again.count("done"), again.count("skipped")) == (1, 1)
    other = Options(model, samples=3, seed=4, uncertainty=True)
    assert denoise_files([pictures], tmp_path / "out", options=other).count("done") == 2
    picture.write_bytes(b"mine")
    failed = denoise_files([pictures], tmp_path / "out", options=other)
    assert failed.count("failed") == 1
    assert picture.read_bytes() == b"mine"


def test_raw_has_it_for_every_sample_of_the_mosaic(tmp_path):
    frame = SimulatedSensor(height=40, width=50).flat(0.4, iso=3200, rng=np.random.default_rng(0))
    save_dng(frame, tmp_path / "night.dng")
    model = str(write_model(tmp_path / "raw.onnx", channels=4, latent=(2, 2), k_sigma={"root": True}))
    report = denoise_files([tmp_path / "night.dng"], options=Options(model, samples=2, uncertainty=True, ensemble="x8"))
    assert [file.error for file in report.files] == [""]
    assert np.load(tmp_path / "night_clean_uncertainty.npy").shape == (40, 50)
    assert report.raw_engine["ensemble"] == "x8"


def test_one_sample_has_none(pictures, model):
    with pytest.raises(UsageError, match="the spread of several samples, and one was asked for; ask for 2 samples or"):
        denoise_files([pictures], options=Options(model, uncertainty=True))


def test_names_that_collide_are_found_before_any_work(pictures, model, tmp_path):
    (pictures / "a.png").rename(pictures / "b_uncertainty.png")
    with pytest.raises(UsageError, match="would both become"):
        denoise_files([pictures], tmp_path / "out", options=Options(model, samples=2, uncertainty=True))


def test_the_picture_of_it():
    spread = np.zeros((400, 700), np.float32)
    spread[:, 350:] = 0.02
    shown = picture_of(spread, "x.png", 8).astype(int)
    height, width = shown.shape[:2]
    assert width > 700
    middle = shown[height // 2]
    assert middle[100].sum() < 30  # none is black
    assert middle[600].sum() > 600  # the most there is, is bright
    assert picture_of(np.zeros((9, 8, 3), np.float32), "x.png", 2).shape[2] == 3
    assert max(picture_of(np.ones((5000, 20), np.float32), "x.png", 2).shape) < 2000
