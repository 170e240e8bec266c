"""What travels along: orientation, ICC profile, EXIF with its directories. Pillow is the independent reader."""

import struct
from io import BytesIO

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile

from shotnoise.images import Image, _exif, open_image, save_image
from shotnoise.images._exif import reset

IFD = PIL.ExifTags.IFD
MAKER_NOTE = b"FOVEON\0\0" + bytes(range(200))
PROFILE = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
EXTENSIONS = [".png", ".jpg", ".tif", ".webp"]


def camera_exif(orientation=1, order="<"):
    """EXIF as a camera would write it: orientation, exposure, place, maker note, interoperability."""
    exif = PIL.Image.Exif()
    exif.endian = order
    exif[271], exif[272], exif[306] = "Maker", "Model Ünï".encode(), "2024:05:06 07:08:09"
    exif[282], exif[283], exif[296] = 300.0, 300.0, 2
    exif[274] = orientation
    exif[IFD.Exif] = {
        33434: 1 / 250,
        34855: 6400,
        36867: "2024:05:06 07:08:09",
        37500: MAKER_NOTE,
        40965: {1: "R98", 2: b"0100"},
    }
    exif[IFD.GPSInfo] = {1: "N", 2: (52.0, 31.0, 12.5), 3: "E", 4: (13.0, 24.0, 36.0)}
    return exif.tobytes().removeprefix(b"Exif\0\0")


def check_camera_exif(exif):
    """`exif` is a PIL.Image.Exif that should say what camera_exif() said, upright."""
    assert exif.get(274, 1) == 1
    assert (exif[271], exif[306], exif[282], exif[296]) == ("Maker", "2024:05:06 07:08:09", 300, 2)
    details = exif.get_ifd(IFD.Exif)
    assert (details[33434], details[34855], details[36867]) == (1 / 250, 6400, "2024:05:06 07:08:09")
    assert exif.get_ifd(IFD.Interop) == {1: "R98", 2: b"0100"}
    assert details[37500] == MAKER_NOTE
    place = exif.get_ifd(IFD.GPSInfo)
    assert (place[1], place[2], place[3], place[4]) == ("N", (52, 31, 12.5), "E", (13, 24, 36))


def parse(block):
    exif = PIL.Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return exif


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_turned_once_as_pillow_turns(tmp_path, colour, extension, orientation, order):
    path, out = tmp_path / f"in{extension}", tmp_path / "out.png"
    picture = PIL.Image.fromarray(colour)
    if extension == ".tif":
        picture.save(path, tiffinfo={274: orientation})
    else:
        picture.save(path, exif=b"Exif\0\0" + camera_exif(orientation, order))
    with PIL.Image.open(path) as stored:
        expected = np.array(PIL.ImageOps.exif_transpose(stored))
    image = open_image(path)
    assert np.array_equal(image.pixels, expected)
    save_image(image, out)
    assert np.array_equal(open_image(out).pixels, expected)
    with PIL.Image.open(out) as again:
        assert again.getexif().get(274, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_turns_with_the_pixels(tmp_path, colour, orientation):
    alpha = colour[..., 0]
    PIL.Image.fromarray(np.dstack([colour, alpha])).save(tmp_path / "x.png", exif=camera_exif(orientation))
    image = open_image(tmp_path / "x.png")
    assert np.array_equal(image.alpha, image.pixels[..., 0])


def test_a_big_tiff_is_turned_too(tmp_path, colour):
    tags = [(274, 3, 1, 6, True), (271, 2, 6, "Maker", True)]
    tifffile.imwrite(tmp_path / "x.tif", colour, photometric="rgb", bigtiff=True, extratags=tags)
    image = open_image(tmp_path / "x.tif")
    assert np.array_equal(image.pixels, np.rot90(colour, -1))
    assert parse(image.exif)[271] == "Maker"


@pytest.mark.parametrize("offset", [2**64 - 1, 2**63 - 1, 2**40])
def test_a_big_tiff_whose_values_lie_nowhere(tmp_path, colour, offset):
    tags = [(271, 2, 13, "a long maker", True), (272, 2, 6, "Model", True)]
    tifffile.imwrite(tmp_path / "x.tif", colour, photometric="rgb", bigtiff=True, metadata=None, extratags=tags)
    data = bytearray((tmp_path / "x.tif").read_bytes())
    struct.pack_into("<Q", data, data.index(struct.pack("<HHQ", 271, 2, 13)) + 12, offset)
    (tmp_path / "x.tif").write_bytes(data)
    image = open_image(tmp_path / "x.tif")
    assert 271 not in parse(image.exif)
    assert parse(image.exif)[272] == "Model"


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, colour, value):
    PIL.Image.fromarray(colour).save(tmp_path / "x.png", exif=camera_exif(value))
    assert np.array_equal(open_image(tmp_path / "x.png").pixels, colour)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("after", EXTENSIONS)
@pytest.mark.parametrize("before", EXTENSIONS)
def test_profile_and_exif_survive(tmp_path, colour, before, after, dtype, order):
    pixels = colour.astype(dtype) * (257 if dtype == np.uint16 else 1)
    save_image(Image(pixels, None, PROFILE, camera_exif(order=order)), tmp_path / f"a{before}")
    save_image(open_image(tmp_path / f"a{before}"), tmp_path / f"b{after}")
    image = open_image(tmp_path / f"b{after}")
    assert image.icc == PROFILE
    check_camera_exif(parse(image.exif))
    with PIL.Image.open(tmp_path / f"b{after}") if (after, dtype) != (".tif", np.uint16) else no_pillow() as again:
        if again is not None:
            assert again.info["icc_profile"] == PROFILE
            check_camera_exif(again.getexif())


class no_pillow:  # noqa: N801  stands for a picture where Pillow cannot open one: 16-bit colour TIFF
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp"])
def test_exif_stays_byte_for_byte_outside_of_tiff(tmp_path, colour, extension):
    block = camera_exif()
    save_image(Image(colour, exif=block), tmp_path / f"x{extension}")
    assert open_image(tmp_path / f"x{extension}").exif == block


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_a_gray_picture_with_alpha_keeps_its_company(tmp_path, colour, extension):
    save_image(Image(colour[..., 0], colour[..., 1], PROFILE, camera_exif()), tmp_path / f"x{extension}")
    image = open_image(tmp_path / f"x{extension}")
    assert np.array_equal(image.alpha, colour[..., 1])
    assert image.icc == PROFILE
    check_camera_exif(parse(image.exif))


def test_a_thumbnail_of_the_noisy_picture_does_not_stay():
    block = bytearray(camera_exif(6, "<"))
    (entries,) = struct.unpack_from("<H", block, 8)
    pointer = 10 + 12 * entries
    struct.pack_into("<I", block, pointer, len(block))
    orientation, clean = reset(bytes(block + b"\0" * 6))
    assert orientation == 6
    assert struct.unpack_from("<I", clean, pointer) == (0,)
    assert parse(clean)[274] == 1


@pytest.mark.parametrize(
    "block", [b"garbage", b"II*\0", b"II*\0\xff\xff\0\0", b"MM\0*\0\0\0\x08\0\x05\0\0", b"II+\0" + bytes(20)]
)
@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp"])
def test_damaged_exif_is_dropped_with_a_note(tmp_path, colour, extension, block):
    PIL.Image.fromarray(colour).save(tmp_path / f"x{extension}", exif=b"Exif\0\0" + block)
    image = open_image(tmp_path / f"x{extension}")
    assert image.exif is None
    assert image.notes == ("its EXIF is damaged and was dropped",)


def test_damaged_exif_does_not_reach_a_tiff(tmp_path, colour):
    notes = save_image(Image(colour, exif=b"MM\0*garbage"), tmp_path / "x.tif")
    assert notes == ("the EXIF was dropped: it is damaged, or the TIFF is larger than 4 GB",)
    assert np.array_equal(open_image(tmp_path / "x.tif").pixels, colour)


def test_a_directory_that_points_at_itself_ends(tmp_path, colour):
    block = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 34665, 4, 1, 8, 0)
    save_image(Image(colour, exif=block), tmp_path / "x.tif")
    assert np.array_equal(open_image(tmp_path / "x.tif").pixels, colour)


def test_exif_too_long_for_jpeg_is_named(tmp_path, colour):
    exif = PIL.Image.Exif()
    exif[270] = "x" * 70_000
    notes = save_image(Image(colour, exif=exif.tobytes()[6:]), tmp_path / "x.jpg")
    assert len(notes) == 1
    assert notes[0].startswith("the EXIF was dropped: it has 70,0")
    assert open_image(tmp_path / "x.jpg").exif is None


def test_a_long_profile_is_split_for_jpeg(tmp_path, colour):
    profile = np.random.default_rng(0).bytes(150_000)
    assert save_image(Image(colour, icc=profile), tmp_path / "x.jpg") == ()
    assert open_image(tmp_path / "x.jpg").icc == profile
    assert save_image(Image(colour, icc=bytes(17 * 2**20)), tmp_path / "x.jpg")[0].startswith("the colour profile was")


def test_numpy_files_hold_pixels_only(tmp_path, colour):
    notes = save_image(Image(colour, icc=PROFILE), tmp_path / "x.npy")
    assert notes == ("the colour profile and EXIF were dropped: NPY holds only pixels",)


def test_webp_takes_no_gray_profile(tmp_path, colour):
    profile = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    notes = save_image(Image(colour[..., 0], icc=profile), tmp_path / "x.webp")
    assert notes == (
        "gray became RGB: WebP has no gray",
        "the gray colour profile was dropped: it does not describe RGB",
    )
    assert open_image(tmp_path / "x.webp").icc is None


def test_resolution_survives_from_tiff_to_tiff(tmp_path, colour):
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb", resolution=(300, 200), resolutionunit="INCH")
    save_image(open_image(tmp_path / "a.tif"), tmp_path / "b.tif")
    with PIL.Image.open(tmp_path / "b.tif") as picture:
        assert picture.info["dpi"] == (300, 200)


def test_notes_of_programs_about_their_files_stay_behind(tmp_path, colour):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([colour[..., 0]] * 3), imagej=True)
    with PIL.Image.open(tmp_path / "a.tif") as picture:
        assert "images=3" in picture.tag_v2[270]
    exif = open_image(tmp_path / "a.tif").exif
    assert 270 not in parse(exif)


def test_a_plain_tiff_gets_no_exif(tmp_path, colour):
    save_image(colour, tmp_path / "x.tif")
    assert open_image(tmp_path / "x.tif").exif is None


class Counted(BytesIO):
    """A file that counts how often something is looked for in it."""

    sought = 0

    def seek(self, *place):
        self.sought += 1
        return super().seek(*place)


def test_directories_that_lead_to_themselves_are_read_a_few_times():
    """A hundred pointers to the directory that they stand in, on three levels: a million readings."""
    count = 100
    pointers = b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in [34665] * count)
    file = Counted(b"II*\0" + struct.pack("<IH", 8, count) + pointers + bytes(4))
    assert _exif.from_tiff(file) is not None
    assert file.sought < 10


def test_the_first_of_two_entries_counts():
    entries = [(271, b"One\0"), (271, b"Two\0")]
    rows = b"".join(struct.pack("<HHI4s", tag, 2, 4, data) for tag, data in entries)
    assert _exif.settings(b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4)).make == "One"


@pytest.mark.parametrize("exposure", [5000.1234567, 1e6 + 1 / 3, 3e9 + 0.5, 1 / 8000, 0.3])
def test_every_exposure_time_has_a_fraction(exposure):
    block = _exif.with_settings(None, _exif.Settings(exposure=exposure))
    assert _exif.settings(block).exposure == pytest.approx(exposure, rel=1e-5)
