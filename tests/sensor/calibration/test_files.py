"""Files as frames of a calibration."""

import hashlib

import numpy as np
import pytest
from PIL import Image as Pillow

from shotnoise.errors import PictureError, ProfileError
from shotnoise.images.raw import HeaderlessLayout, save_dng, save_headerless
from shotnoise.sensor.calibration.files import read_capture
from shotnoise.sensor.simulate import SimulatedSensor

CAMERA = SimulatedSensor(height=32, width=40, pattern="GBRG")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("black", "flat"):
        (tmp_path / name).mkdir()
    for index in range(2):
        save_dng(CAMERA.dark(iso=200, rng=rng), tmp_path / "black" / f"{index}.dng")
        save_dng(CAMERA.flat(0.3, iso=200, rng=rng), tmp_path / "flat" / f"{index}.dng")
    return tmp_path


def test_folders_of_raw_files(folder):
    ticks = []
    capture = read_capture(
        [folder / "black"], [folder / "flat"], progress=lambda done, total: ticks.append((done, total))
    )
    assert [frame.name for frame in capture.black] == [str(folder / "black" / f"{i}.dng") for i in range(2)]
    frame = capture.flats[0]
    assert (frame.pattern, frame.iso, frame.white) == ("GBRG", 200, CAMERA.white)
    assert len(frame.load()) == 4
    assert str(capture.camera) == "Shotnoise Simulated"
    digest = hashlib.sha256((folder / "flat" / "1.dng").read_bytes()).hexdigest()
    assert (capture.files[-1].sha256, capture.files[-1].role, capture.files[-1].iso) == (digest, "flat", 200)
    assert ticks[-1] == (4, 4)
    assert read_capture([], [folder / "flat"], white=3000).flats[0].white == 3000


def test_a_file_cannot_be_black_and_lit(folder):
    with pytest.raises(ProfileError, match=r"0\.dng: is given as a black frame and as a flat one"):
        read_capture([folder / "black"], [folder / "black" / "0.dng"])


def test_a_file_given_twice_counts_once(folder):
    assert len(read_capture([folder / "black", folder / "black" / "0.dng"], []).black) == 2


def test_counts_without_a_header(tmp_path):
    raw = CAMERA.flat(0.3, iso=200, rng=np.random.default_rng(0))
    save_headerless(raw, tmp_path / "a.raw")
    capture = read_capture([], [tmp_path / "a.raw"], layout=HeaderlessLayout.of(raw))
    np.testing.assert_array_equal(
        np.sort(np.concatenate([p.ravel() for p in capture.flats[0].load()])), np.sort(raw.mosaic.ravel())
    )


def test_gray_pictures_are_of_a_monochrome_camera(tmp_path):
    counts = np.arange(600, dtype=np.uint16).reshape(20, 30)
    Pillow.fromarray(counts).save(tmp_path / "a.png")
    frame = read_capture([], [tmp_path / "a.png"], white=4095).flats[0]
    assert (frame.pattern, frame.white) == (None, 4095)
    np.testing.assert_array_equal(frame.load()[0], counts)


def test_developed_pictures_are_refused(tmp_path):
    Pillow.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(
        ProfileError, match=r"a\.png: is a developed picture, whose noise is no longer that of the sensor"
    ):
        read_capture([], [tmp_path / "a.png"])
    with pytest.raises(PictureError, match="does not exist"):
        read_capture([tmp_path / "none"], [])
