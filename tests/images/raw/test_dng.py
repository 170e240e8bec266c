"""DNG out: LibRaw gives back every count, and our reader everything else."""

import numpy as np
import pytest
import rawpy
import tifffile
from foreign_dng import DOUBLE, RATIONAL, SHORT, SRATIONAL, UNDEFINED, coloured, rationals, tags_of, write_dng

from shotnoise.errors import PictureError
from shotnoise.images import _exif
from shotnoise.images.raw import RawFrame, open_raw, save_dng, save_linear_dng
from shotnoise.images.raw._dng_tags import Tag
from shotnoise.images.raw.bayer import PATTERNS
from shotnoise.images.raw.dng import XYZ_TO_SRGB

MATRIX = np.array([[0.9, -0.3, -0.07], [-0.45, 1.24, 0.23], [-0.09, 0.19, 0.7]])


def noise(height, width, top=65536):
    return np.random.default_rng(height * width).integers(0, top, (height, width), dtype=np.uint16)


def frame_of(mosaic, pattern="RGGB", **changed):
    given = {"black": (64.0, 64.25, 63.5, 64.1), "white": 4095.0, "xyz_to_camera": MATRIX}
    return RawFrame(mosaic, pattern, **(given | changed))


def libraw(path):
    """(counts, pattern as letters, white) by LibRaw alone."""
    with rawpy.imread(str(path)) as raw:
        letters = "".join(chr(raw.color_desc[index]) for index in raw.raw_pattern.ravel())
        return raw.raw_image_visible.copy(), letters, raw.white_level


@pytest.mark.parametrize("compression", ["jpeg", "none"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (63, 65), (22, 23), (257, 300)])
def test_bit_exact(tmp_path, compression, pattern, height, width):
    frame = frame_of(noise(height, width), pattern)
    assert save_dng(frame, tmp_path / "x.dng", compression=compression) == ()
    counts, letters, white = libraw(tmp_path / "x.dng")
    assert np.array_equal(counts, frame.mosaic)
    assert (letters, white) == (pattern, 4095)
    again = open_raw(tmp_path / "x.dng")
    assert np.array_equal(again.mosaic, frame.mosaic)
    assert (again.pattern, again.black, again.white) == (pattern, frame.black, frame.white)
    assert again.xyz_to_camera == pytest.approx(MATRIX, abs=1e-9)
    assert again.notes == ()


@pytest.mark.parametrize("width", [22, 31, 32, 33, 48, 255, 256, 257, 480, 511, 512, 513, 544, 1024])
def test_widths_at_which_readers_stumble(tmp_path, width):
    """Tiles wider than the picture, or exactly half as wide, come out of LibRaw garbled: none must be written."""
    mosaic = noise(24, width)
    save_dng(frame_of(mosaic), tmp_path / "x.dng")
    assert np.array_equal(libraw(tmp_path / "x.dng")[0], mosaic)
    rgb = np.stack([mosaic, mosaic[::-1], mosaic // 2], axis=2)
    save_linear_dng(rgb, frame_of(mosaic), tmp_path / "y.dng")
    with rawpy.imread(str(tmp_path / "y.dng")) as raw:
        assert np.array_equal(raw.raw_image[..., :3], rgb)


def test_extreme_steps_are_lossless(tmp_path):
    """From 0 to 65535 between neighbours of a colour: the longest codes there are."""
    mosaic = np.zeros((64, 64), np.uint16)
    mosaic[:, 2::4] = 65535
    mosaic[::3, 1::4] = 32768
    save_dng(frame_of(mosaic), tmp_path / "x.dng")
    assert np.array_equal(libraw(tmp_path / "x.dng")[0], mosaic)


def test_compression_is_worth_it(tmp_path):
    mosaic = coloured("RGGB", 512, 768) + noise(512, 768, 64)
    for compression in ("jpeg", "none"):
        save_dng(frame_of(mosaic), tmp_path / f"{compression}.dng", compression=compression)
    sizes = {kind: (tmp_path / f"{kind}.dng").stat().st_size for kind in ("jpeg", "none")}
    assert sizes["jpeg"] < 0.55 * sizes["none"]


def test_one_layout_and_the_tags_that_developers_ask_for(tmp_path):
    save_dng(frame_of(noise(64, 64)), tmp_path / "x.dng", compression="none", noise_reduction=0.8)
    with tifffile.TiffFile(tmp_path / "x.dng") as tiff:
        assert len(tiff.pages) == 1
        tags = {tag.code: tag.value for tag in tiff.pages.first.tags}
    assert tags[50706] == b"\1\4\0\0"
    assert tags[258] == 16
    assert tags[50778] == 21
    assert (tags[254], tags[262]) == (0, 32803)
    assert tags[50935] == (4, 5)
    assert not {322, 323, 324, 325} & set(tags)  # strips, so no tiles
    save_dng(frame_of(noise(64, 64)), tmp_path / "x.dng")
    with tifffile.TiffFile(tmp_path / "x.dng") as tiff:
        tags = {tag.code: tag.value for tag in tiff.pages.first.tags}
    assert (tags[258], tags[259]) == (16, 7)
    assert not {273, 278, 279} & set(tags)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", ["jpeg", "none"])
def test_everything_travels(tmp_path, order, compression):
    """From a DNG of another program through ours, in both byte orders."""
    tags = tags_of(
        "GBRG",
        t274=(SHORT, 1, 6),
        t34855=(SHORT, 1, 1600),
        t33434=(RATIONAL, 1, (1, 30)),
        t271=(2, 5, "Acme\0"),
        t50714=(RATIONAL, 1, (129, 2)),
        t50722=(SRATIONAL, 9, rationals(*(MATRIX * 1.1).ravel())),
        t50779=(SHORT, 1, 17),
        t50964=(SRATIONAL, 9, rationals(*np.eye(3).ravel())),
        t50730=(SRATIONAL, 1, (-1, 3)),
        t50719=(RATIONAL, 2, rationals(4, 2)),
        t51008=(UNDEFINED, 8, b"\0\0\0\1abcd"),
        t51022=(UNDEFINED, 8, b"\0\0\0\2abcd"),
        t51041=(DOUBLE, 6, (1e-4, 1e-6, 2e-4, 2e-6, 3e-4, 3e-6)),
        t50736=(RATIONAL, 4, (24, 1, 70, 1, 28, 10, 28, 10)),
        t700=(1, 5, b"<xmp>"),
    )
    mosaic = coloured("GBRG", 65, 99)
    first = open_raw(write_dng(tmp_path / "a.dng", mosaic, tags, byteorder=order))
    assert save_dng(first, tmp_path / "b.dng", compression=compression) == ()
    second = open_raw(tmp_path / "b.dng")
    assert np.array_equal(second.mosaic, mosaic)
    for name in ("pattern", "black", "white", "make", "iso", "exposure", "orientation", "noise", "tags"):
        assert getattr(second, name) == getattr(first, name), name
    assert (second.iso, second.exposure, second.orientation) == (1600, pytest.approx(1 / 30), 6)
    assert second.white_balance == pytest.approx(first.white_balance, rel=1e-6)
    assert np.array_equal(second.xyz_to_camera, first.xyz_to_camera)
    assert {700, 50719, 50722, 50730, 50736, 50779, 50964, 51008, 51022} <= set(second.tags)
    with tifffile.TiffFile(tmp_path / "b.dng") as tiff:
        page = tiff.pages.first
        assert page.tags.valueof(34665)["ExposureTime"][0] == 1  # in a directory of its own
        assert 33434 not in page.tags
        assert page.tags.valueof(50936) is None
        assert tiff.byteorder == order
    save_dng(second, tmp_path / "c.dng", compression=compression)
    assert (tmp_path / "c.dng").read_bytes() == (tmp_path / "b.dng").read_bytes()


def test_the_exif_block_travels(tmp_path):
    block = _exif.with_settings(None, _exif.Settings("Acme", "One", 800.0, 0.25))
    frame = frame_of(noise(64, 64), exif=block, make="Acme", model="One", iso=800.0, exposure=0.25)
    save_dng(frame, tmp_path / "x.dng")
    again = open_raw(tmp_path / "x.dng")
    assert _exif.settings(again.exif) == _exif.settings(block)
    save_dng(again, tmp_path / "y.dng")
    assert open_raw(tmp_path / "y.dng").exif == again.exif
    assert (again.make, again.model, again.iso, again.exposure) == ("Acme", "One", 800, 0.25)


def test_damaged_exif_costs_a_note(tmp_path):
    frame = frame_of(noise(64, 64), exif=b"nonsense", iso=200.0)
    assert save_dng(frame, tmp_path / "x.dng") == (
        "the EXIF was damaged; only camera, ISO and exposure time were written",
    )
    assert open_raw(tmp_path / "x.dng").iso == 200


def test_noise_profile_of_the_cleaned_counts(tmp_path):
    old = ((1e-4, 1e-6),) * 4
    new = ((1e-5, 1e-7), (2e-5, 2e-7), (4e-5, 4e-7), (5e-5, 5e-7))
    frame = frame_of(noise(64, 64), noise=old)
    save_dng(frame, tmp_path / "x.dng")
    assert open_raw(tmp_path / "x.dng").noise == old
    save_dng(frame, tmp_path / "x.dng", noise=new)  # the format knows one green
    expected = [new[0], (3e-5, 3e-7), (3e-5, 3e-7), new[3]]
    assert np.array(open_raw(tmp_path / "x.dng").noise) == pytest.approx(np.array(expected))
    with pytest.raises(PictureError, match=r"needs \(S, O\) >= 0 for each of the planes R, Gr, Gb, B"):
        save_dng(frame, tmp_path / "x.dng", noise=new[:3])
    with pytest.raises(PictureError, match="noise reduction 2; expected 0"):
        save_dng(frame, tmp_path / "x.dng", noise_reduction=2)


@pytest.mark.parametrize("matrix", [None, np.zeros((3, 3)), np.ones((3, 3)), np.full((3, 3), np.nan)])
def test_no_matrix(tmp_path, matrix):
    notes = save_dng(frame_of(noise(64, 64), xyz_to_camera=matrix), tmp_path / "x.dng")
    assert notes == ("there is no usable colour matrix: the DNG takes camera colours for linear sRGB",)
    assert open_raw(tmp_path / "x.dng").xyz_to_camera == pytest.approx(XYZ_TO_SRGB, abs=1e-8)
    with rawpy.imread(str(tmp_path / "x.dng")) as raw:
        assert raw.postprocess(half_size=True).shape == (32, 32, 3)


def test_a_new_matrix_replaces_the_old_profile(tmp_path):
    tags = tags_of(t50722=(SRATIONAL, 9, rationals(*np.eye(3).ravel())), t50779=(SHORT, 1, 17))
    frame = open_raw(write_dng(tmp_path / "a.dng", noise(64, 64), tags))
    save_dng(frame.with_mosaic(frame.mosaic, xyz_to_camera=MATRIX * 1.5), tmp_path / "b.dng")
    again = open_raw(tmp_path / "b.dng")
    assert again.xyz_to_camera == pytest.approx(MATRIX * 1.5, abs=1e-8)
    assert 50722 not in again.tags


def test_a_black_level_below_zero(tmp_path):
    frame = frame_of(noise(64, 64), black=(-0.5, 1.0, 1.0, 1.0))
    assert save_dng(frame, tmp_path / "x.dng") == ("the black level -0.5 was written as 0: DNG has none below",)
    assert open_raw(tmp_path / "x.dng").black == (0, 1, 1, 1)


def test_names_that_are_not_ascii(tmp_path):
    frame = frame_of(noise(64, 64), make="Caméra", model="写真")
    save_dng(frame, tmp_path / "x.dng")
    again = open_raw(tmp_path / "x.dng")
    assert (again.make, again.model) == ("Caméra", "写真")
    assert again.tags[50708].value == "Caméra 写真\0".encode()
    save_dng(again, tmp_path / "y.dng")
    assert open_raw(tmp_path / "y.dng").tags == again.tags


def test_linear_floating_point(tmp_path):
    """Black and full are where they should be, and noise below black stays noise."""
    rgb = np.random.default_rng(1).normal(0, 0.01, (40, 50, 3)).astype(np.float32)
    rgb[0] = 1.5
    save_linear_dng(rgb, frame_of(noise(40, 50)), tmp_path / "x.dng")
    with rawpy.imread(str(tmp_path / "x.dng")) as raw:
        levels = np.array(raw.black_level_per_channel[:3], float)
        seen = (raw.raw_image[..., :3] - levels) / (raw.white_level - levels)
    assert seen[1:].min() < -0.02
    assert np.abs(seen[1:] - rgb[1:]).max() < 1 / 61439
    assert (seen[0] == 1).all()
    save_linear_dng(np.abs(rgb), frame_of(noise(40, 50)), tmp_path / "x.dng")
    with rawpy.imread(str(tmp_path / "x.dng")) as raw:
        assert raw.black_level_per_channel[:3] == [0, 0, 0]


def test_linear_keeps_what_still_holds(tmp_path):
    tags = tags_of(t51009=(UNDEFINED, 4, bytes(4)), t51022=(UNDEFINED, 4, bytes(4)), t50719=(SHORT, 2, (2, 2)))
    frame = open_raw(write_dng(tmp_path / "a.dng", noise(64, 64), tags))
    notes = save_linear_dng(np.zeros((64, 64, 3), np.uint16), frame, tmp_path / "b.dng")
    assert notes == ("corrections of the mosaic (OpcodeList1 and 2) were dropped: a linear picture cannot take them",)
    save_linear_dng(np.zeros((32, 32, 3), np.uint16), frame, tmp_path / "c.dng")
    for name, kept in (("b", {51022, 50719}), ("c", set())):
        with tifffile.TiffFile(tmp_path / f"{name}.dng") as tiff:
            page = tiff.pages.first
            assert {tag.code for tag in page.tags} & {51009, 51022, 50719} == kept
            assert (page.photometric, page.bitspersample) == (34892, 16)
    with pytest.raises(PictureError, match="is a linear DNG"):
        open_raw(tmp_path / "b.dng")


@pytest.mark.parametrize(
    "rgb", [np.zeros((30, 30), np.uint16), np.zeros((30, 30, 4), np.uint16), np.zeros((30, 30, 3), np.uint8)]
)
def test_linear_refuses_other_arrays(tmp_path, rgb):
    with pytest.raises(PictureError, match=r"expected \(H, W, 3\) uint16 or floating point"):
        save_linear_dng(rgb, frame_of(noise(30, 30)), tmp_path / "x.dng")


def test_linear_refuses_what_is_not_finite(tmp_path):
    with pytest.raises(PictureError, match="not finite"):
        save_linear_dng(np.full((30, 30, 3), np.nan), frame_of(noise(30, 30)), tmp_path / "x.dng")


def test_places(tmp_path, monkeypatch):
    frame = frame_of(noise(30, 30))
    path = tmp_path / "x.dng"
    with pytest.raises(PictureError, match=r"none/x\.dng: cannot be written: there is no folder"):
        save_dng(frame, tmp_path / "none" / "x.dng")
    with pytest.raises(PictureError, match="compression 'zip'; expected jpeg or none"):
        save_dng(frame, path, compression="zip")
    with pytest.raises(PictureError, match="30 x 21 pixels; RAW developers read no DNG with a side under 22 pixels"):
        save_dng(frame.with_mosaic(frame.mosaic[:21]), path)
    save_dng(frame, path)
    before = path.read_bytes()
    with pytest.raises(PictureError, match="exists already"):
        save_dng(frame, path, overwrite=False)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_exif, "attach", full)
    with pytest.raises(PictureError, match=r"cannot be written \(No space left on device\)"):
        save_dng(frame, path)
    assert path.read_bytes() == before
    assert [place.name for place in tmp_path.iterdir()] == ["x.dng"]


def test_a_tag_of_many_megabytes_travels(tmp_path):
    list_of_corrections = np.random.default_rng(0).bytes(17 * 2**20)
    frame = frame_of(noise(24, 24, 4096), tags={51009: Tag(UNDEFINED, len(list_of_corrections), list_of_corrections)})
    save_dng(frame, tmp_path / "a.dng")
    read = open_raw(tmp_path / "a.dng")
    assert read.tags[51009].value == list_of_corrections
    np.testing.assert_array_equal(read.mosaic, frame.mosaic)
