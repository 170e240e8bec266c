"""Volumes on disk: what goes in comes out, and what is broken is refused in words."""

import gzip

import numpy as np
import pytest

from shotnoise.errors import PictureError
from shotnoise.mri import is_volume, open_volume, save_volume, volume_ending
from shotnoise.mri.volumes import volume_stem

nibabel = pytest.importorskip("nibabel")

AFFINE = np.array([[-2.0, 0.1, 0, 90], [0, 1.5, 0.2, -126], [0.1, 0, 3, -72], [0, 0, 0, 1]])


def write(path, values, slope=None, inter=0.0, dtype=None):
    image = nibabel.Nifti1Image(values, AFFINE, dtype=dtype or values.dtype)
    image.header["descrip"] = b"made for a test"
    image.header.set_xyzt_units("mm", "sec")
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"an extension"))
    image.header.set_slope_inter(slope, None if slope is None else inter)
    nibabel.save(image, path)
    return path


def bare(path):
    """The bytes of a file without its compression."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "SCAN.NII.GZ"])
@pytest.mark.parametrize(
    ("dtype", "slope", "inter"),
    [("uint8", 0.35, 6.7), ("int16", 2.0, -100.0), (">i2", 1.0, 0.0), ("uint16", None, 0.0), ("float32", None, 0.0)],
)
def test_an_unchanged_volume_is_written_as_it_was(tmp_path, name, dtype, slope, inter):
    numbers = np.random.default_rng(0).integers(0, 200, (5, 6, 7)).astype(dtype)
    volume = open_volume(write(tmp_path / name, numbers, slope, inter))
    np.testing.assert_allclose(volume.values, numbers.astype(float) * (slope or 1) + inter, rtol=1e-6)
    assert volume.values.dtype == np.float32
    save_volume(volume, tmp_path / f"again_{name}")
    first, second = (nibabel.load(tmp_path / file) for file in (name, f"again_{name}"))
    np.testing.assert_array_equal(second.dataobj.get_unscaled(), numbers)
    np.testing.assert_array_equal(first.affine, second.affine)
    assert (first.dataobj.slope, first.dataobj.inter) == (second.dataobj.slope, second.dataobj.inter)
    assert first.header == second.header
    assert [one.get_content() for one in second.header.extensions] == [b"an extension"]
    once = (tmp_path / f"again_{name}").read_bytes()
    save_volume(volume, tmp_path / f"again_{name}")
    assert (tmp_path / f"again_{name}").read_bytes() == once
    assert list(tmp_path.glob(".shotnoise*")) == []


def test_new_values_are_rounded_and_limited_to_the_type(tmp_path):
    numbers = np.array([0, 10, 255, 7], np.uint8).reshape(2, 2, 1)
    volume = open_volume(write(tmp_path / "a.nii", numbers, 0.5, 10.0))
    changed = volume.with_values(volume.values + np.array([-3, 0.24, 9, 0.26], np.float32).reshape(2, 2, 1))
    assert changed.stored().ravel().tolist() == [0, 10, 255, 8]
    with pytest.raises(PictureError, match="values of shape"):
        volume.with_values(volume.values[:1])


def test_a_series_of_one_keeps_its_fourth_axis(tmp_path):
    numbers = np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1)
    volume = open_volume(write(tmp_path / "a.nii.gz", numbers))
    assert volume.values.shape == (2, 3, 4)
    save_volume(volume, tmp_path / "b.nii")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "b.nii").get_fdata(), numbers)


def test_names():
    assert [volume_ending(name) for name in ("a.nii", "b/c.NII.GZ", "a.gz", "nii")] == [".nii", ".NII.GZ", "", ""]
    assert is_volume("a.nii.gz")
    assert not is_volume("a.png")
    assert [volume_stem(name) for name in ("x/a.b.nii.gz", "c.nii")] == ["a.b", "c"]


def broken(tmp_path, kind):
    path = tmp_path / "a.nii"
    numbers = np.ones((4, 5, 6), np.int16)
    if kind == "series":
        return write(path, np.ones((4, 5, 6, 2), np.int16))
    if kind == "colours":
        return write(path, np.ones((4, 5, 6), np.complex64))
    if kind == "picture":
        path = tmp_path / "a.png"
        path.write_bytes(b"anything")
        return path
    if kind == "text":
        path.write_text("a text that is long enough to be looked at " * 20)
        return path
    if kind == "short":
        write(path, numbers)
        path.write_bytes(path.read_bytes()[:-30])
        return path
    if kind == "bomb":
        content = bytearray(bare(write(path, numbers)))
        content[40:56] = np.array([3, 20000, 20000, 20000, 1, 1, 1, 1], "<i2").tobytes()
        path.write_bytes(bytes(content))
        return path
    return tmp_path / "none.nii"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("series", "has 4x5x6x2; expected three axes"),
        ("colours", "values of type complex64; expected integers or floating point"),
        ("picture", "is no volume by its name; expected one that ends in .nii.gz or .nii"),
        ("text", "is damaged, or of another kind"),
        ("short", "is damaged, or of another kind"),
        ("bomb", "says it has 20000x20000x20000 values, more than the file can hold"),
        ("none", "does not exist"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, kind, words):
    path = broken(tmp_path, kind)
    with pytest.raises(PictureError) as caught:
        open_volume(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.shared
def test_a_truncated_volume_is_refused(shared):
    with pytest.raises(PictureError, match=r"truncated\.nii\.gz: is damaged"):
        open_volume(shared / "data" / "corrupt" / "truncated.nii.gz")


def test_a_volume_is_not_written_as_a_picture(tmp_path):
    volume = open_volume(write(tmp_path / "a.nii", np.ones((2, 2, 2), np.uint8)))
    with pytest.raises(PictureError, match="ends in neither of"):
        save_volume(volume, tmp_path / "a.png")
    with pytest.raises(PictureError, match="exists already"):
        save_volume(volume, tmp_path / "a.nii", overwrite=False)
