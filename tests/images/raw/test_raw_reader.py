"""RAW files in: counts, phase and levels of the visible part, what the tags say, and what is refused."""

import os
import struct
import threading
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from foreign_dng import (
    ASCII,
    BYTE,
    DOUBLE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    UNDEFINED,
    coloured,
    patch_short,
    rationals,
    tags_of,
    write_dng,
)
from PIL import Image as Pillow

from shotnoise.errors import PictureError
from shotnoise.images import _exif
from shotnoise.images.raw import RAW_EXTENSIONS, RawFrame, _dng_tags, is_raw, open_raw, save_dng
from shotnoise.images.raw.bayer import PATTERNS, split
from shotnoise.images.raw.reader import _cut, _exif_block, _other, _white

SMALL = coloured("RGGB", 64, 64)


def refused(path, words, **options):
    with pytest.raises(PictureError, match=words) as caught:
        open_raw(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


@pytest.mark.shared
@pytest.mark.parametrize("name", ["nikon14_768x512_rggb", "nikon14_768x512_gbrg"])
def test_the_fourteen_bit_files(shared, name):
    frame = open_raw(shared / "data/raw" / f"{name}.dng")
    assert frame.mosaic.shape == (512, 768)
    assert frame.pattern == name[-4:].upper()
    assert frame.black == (600,) * 4
    assert frame.white == 15520
    assert (frame.mosaic.min(), frame.mosaic.max()) == (616, 16383)
    assert frame.white_balance == pytest.approx((1.9492188, 1, 1.34375), rel=1e-6)
    assert frame.xyz_to_camera[0] == pytest.approx([0.902, -0.289, -0.0715])
    assert (frame.iso, frame.exposure, frame.noise, frame.orientation) == (None, None, None, 1)
    assert frame.notes == ()


@pytest.mark.shared
def test_a_black_level_with_a_fraction(shared):
    frame = open_raw(shared / "data/raw/sensor8_indoor1_2592x1536_grbg.dng")
    assert frame.pattern == "GRBG"
    assert frame.black == (12.5,) * 4
    assert frame.white == 255
    assert frame.mosaic.mean() == pytest.approx(51.5, abs=0.05)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 1), (1, 0), (3, 5)])
def test_the_visible_area_wherever_it_begins(tmp_path, pattern, top, left):
    """Pattern and black levels count from the corner of the visible area; nothing of it is cut off."""
    whole = np.full((70, 80), 77, np.uint16)
    whole[top:67, left:76] = visible = coloured(pattern, 67 - top, 76 - left)
    black = dict(zip("RrbB", (10.25, 20.5, 30.75, 40.0), strict=True))  # R, Gr, Gb, B
    cell = [
        {1000: black["R"], 2000: black["r"], 3000: black["b"], 4000: black["B"]}[count]
        for count in visible[:2, :2].ravel()
    ]
    tags = tags_of(
        pattern,
        t50829=(LONG, 4, (top, left, 67, 76)),
        t50713=(SHORT, 2, (2, 2)),
        t50714=(RATIONAL, 4, rationals(*cell)),
        t50719=(SHORT, 2, (8, 6)),
        t51008=(UNDEFINED, 4, bytes(4)),
    )
    frame = open_raw(write_dng(tmp_path / "x.dng", whole, tags))
    assert frame.pattern == pattern
    assert np.array_equal(frame.mosaic, visible)
    assert frame.black == (10.25, 20.5, 30.75, 40.0)
    assert frame.tags[50719].value == (8, 6)  # crop inside the visible area
    assert 51008 not in frame.tags  # coordinates in the stored samples
    assert any("OpcodeList1" in note for note in frame.notes)
    even = frame.mosaic[: frame.height // 2 * 2, : frame.width // 2 * 2]
    assert [np.unique(plane).tolist() for plane in split(even, pattern)] == [[1000], [2000], [3000], [4000]]


def test_black_level_corrections_of_rows_and_columns(tmp_path):
    tags = tags_of(
        t50714=(SHORT, 1, 5),
        t50715=(SRATIONAL, 64, rationals(*[1.5, -0.5] * 32)),
        t50716=(SRATIONAL, 64, rationals(*[0.25, 0.75] * 32)),
    )
    frame = open_raw(write_dng(tmp_path / "x.dng", SMALL, tags))
    assert frame.black == (6.75, 4.75, 7.25, 5.25)
    assert frame.notes == ()
    tags[50715] = (SRATIONAL, 64, rationals(*range(64)))
    frame = open_raw(write_dng(tmp_path / "x.dng", SMALL, tags))
    assert frame.black == (36.25, 37.25, 36.75, 37.75)
    assert "varies over rows or columns by up to 62" in frame.notes[0]


def test_the_levels_of_the_user_win(tmp_path):
    path = write_dng(tmp_path / "x.dng", SMALL, tags_of(t50714=(SHORT, 1, 5000), t50717=(LONG, 1, 1023)))
    refused(path, r"black level 5000 is not below white level 1023")
    frame = open_raw(path, black=64, white=4095)
    assert (frame.black, frame.white) == ((64.0,) * 4, 4095.0)
    assert open_raw(path, black=(1, 2, 3, 4.5)).black == (1, 2, 3, 4.5)
    refused(path, r"black level \(1, 2\); expected one number or four", black=(1, 2))
    refused(path, "not below white level", white=100)


def test_white_levels(tmp_path):
    path = tmp_path / "x.dng"
    assert open_raw(write_dng(path, SMALL, tags_of())).white == 65535  # all bits
    assert open_raw(write_dng(path, SMALL.astype(np.uint8), tags_of())).white == 255
    assert open_raw(write_dng(path, SMALL, tags_of(t50717=(LONG, 1, 100_000)))).white == 65535
    camera = SimpleNamespace(white_level=16383, camera_white_level_per_channel=[15000, 15300, 15300, 15100])
    assert _white(camera, 600) == 15000
    camera.camera_white_level_per_channel = [0, 0, 0, 0]  # nonsense
    assert _white(camera, 600) == 16383


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ((1e-4, 1e-6), [(1e-4, 1e-6)] * 4),
        ((1e-4, 1e-6, 2e-4, 2e-6, 3e-4, 3e-6), [(1e-4, 1e-6), (2e-4, 2e-6), (2e-4, 2e-6), (3e-4, 3e-6)]),
        ((1, 0.1, 2, 0.2, 3, 0.3, 4, 0.4), [(2, 0.2), (1, 0.1), (4, 0.4), (3, 0.3)]),  # the cell of GRBG, row by row
        ((1e-4, 1e-6, 2e-4, 2e-6), None),
        ((-1e-4, 1e-6), None),
    ],
)
def test_noise_profile(tmp_path, stored, read):
    tags = tags_of("GRBG", t51041=(DOUBLE, len(stored), stored))
    frame = open_raw(write_dng(tmp_path / "x.dng", coloured("GRBG", 64, 64), tags))
    assert frame.noise == (None if read is None else tuple(read))


def test_daylight_matrix_is_chosen_and_calibrated(tmp_path):
    daylight, tungsten = np.arange(9.0).reshape(3, 3) / 10 + np.eye(3), np.eye(3)
    tags = tags_of(
        t50721=(SRATIONAL, 9, rationals(*tungsten.ravel())),
        t50778=(SHORT, 1, 17),
        t50722=(SRATIONAL, 9, rationals(*daylight.ravel())),
        t50779=(SHORT, 1, 21),
        t50724=(SRATIONAL, 9, rationals(*np.diag([1.1, 1, 0.9]).ravel())),
        t50727=(RATIONAL, 3, rationals(1, 2, 1)),
    )
    frame = open_raw(write_dng(tmp_path / "x.dng", SMALL, tags))
    assert frame.xyz_to_camera == pytest.approx(np.diag([1, 2, 1]) @ np.diag([1.1, 1, 0.9]) @ daylight)
    assert {50721, 50722, 50724, 50727, 50778, 50779} <= set(frame.tags)


@pytest.mark.parametrize("matrix", [None, (SRATIONAL, 9, [0, 1] * 9), (SRATIONAL, 9, [1, 1] * 9)])
def test_no_usable_matrix(tmp_path, matrix):
    frame = open_raw(write_dng(tmp_path / "x.dng", SMALL, tags_of(t50721=matrix)))
    assert frame.xyz_to_camera is None
    assert "no colour matrix is known" in frame.notes[0]


@pytest.mark.parametrize("neutral", [None, (RATIONAL, 3, [0, 1] * 3), (RATIONAL, 3, [1, 0] * 3)])
def test_no_usable_white_balance(tmp_path, neutral):
    assert open_raw(write_dng(tmp_path / "x.dng", SMALL, tags_of(t50728=neutral))).white_balance is None


def test_settings_in_the_first_directory(tmp_path):
    """Some writers put ISO and exposure beside the picture, not into the EXIF directory."""
    tags = tags_of(t34855=(SHORT, 1, 3200), t33434=(RATIONAL, 1, (1, 40)), t274=(SHORT, 1, 6))
    tags |= {271: (ASCII, 5, "Acme\0"), 272: (ASCII, 4, "One\0")}
    frame = open_raw(write_dng(tmp_path / "x.dng", SMALL, tags))
    assert (frame.make, frame.model, frame.iso, frame.exposure) == ("Acme", "One", 3200, 0.025)
    assert frame.orientation == 6
    tags[34855] = (SHORT, 1, 0)  # not known
    assert open_raw(write_dng(tmp_path / "x.dng", SMALL, tags)).iso is None


def test_a_camera_file_that_is_no_dng(tmp_path):
    """LibRaw knows this camera by its name: black level and daylight matrix of a Nikon D750 come from its tables."""
    tags = {
        271: (ASCII, 18, "NIKON CORPORATION\0"),
        272: (ASCII, 11, "NIKON D750\0"),
        274: (SHORT, 1, 8),
        33421: (SHORT, 2, (2, 2)),
        33422: (BYTE, 4, bytes([1, 0, 2, 1])),
        33434: (RATIONAL, 1, (1, 50)),
        34855: (SHORT, 1, 800),
    }
    mosaic = coloured("GRBG", 512, 768)
    path = write_dng(tmp_path / "x.nef", mosaic, tags)
    assert is_raw(path)
    frame = open_raw(path)
    assert np.array_equal(frame.mosaic, mosaic)
    assert frame.pattern == "GRBG"
    assert frame.black == (600,) * 4
    assert frame.xyz_to_camera[1] == pytest.approx([-0.4535, 1.2436, 0.2348], abs=1e-6)
    assert (frame.make, frame.model, frame.iso, frame.exposure) == ("NIKON CORPORATION", "NIKON D750", 800, 0.02)
    assert (frame.orientation, frame.white_balance, frame.noise, frame.tags) == (8, None, None, {})


def without_pattern(**changed):
    return tags_of(**changed, t33421=None, t33422=None)


def test_linear_dng(tmp_path):
    path = write_dng(tmp_path / "x.dng", np.dstack([SMALL] * 3), without_pattern(), photometric=34892)
    refused(path, "is a linear DNG, whose mosaic has been made into a picture already; convert it to a 16-bit TIFF")


def test_monochrome(tmp_path):
    path = write_dng(tmp_path / "x.dng", SMALL, without_pattern())
    patch_short(path, 262, 34892)
    refused(path, "is from a monochrome sensor without colour filters")


@pytest.mark.parametrize(
    ("mosaic", "changed", "words"),
    [
        (
            SMALL,
            {"t33421": (SHORT, 2, (4, 4)), "t33422": (BYTE, 16, b"\0\0\1\1\0\0\1\1\1\1\2\2\1\1\2\2")},
            r"repeats after 4 x 4 pixels \(quad Bayer",
        ),
        (SMALL, {"t33422": (BYTE, 4, b"\1\4\3\5"), "t50710": (BYTE, 4, b"\1\4\3\5")}, "the colours GMCY"),
        (SMALL, {"t33422": (BYTE, 4, bytes([0, 0, 1, 2]))}, "the colours RRGB .* expected red, blue and two greens"),
        (SMALL, {"t50711": (SHORT, 1, 2)}, "staggered"),
        (SMALL.astype(np.float32) / 5000, {}, "floating-point samples of 32 bits; expected integers of up to 16 bits"),
    ],
)  # fmt: skip
def test_what_is_no_bayer_mosaic(tmp_path, mosaic, changed, words):
    refused(write_dng(tmp_path / "x.dng", mosaic, tags_of(**changed)), words)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("truncated.dng", "is cut off or damaged: 1 of the pieces of the mosaic are missing"),
        ("black_above_white.dng", "black level 5000 is not below white level 1023"),
        ("xtrans_6x6.dng", r"repeats after 6 x 6 pixels \(X-Trans\), not a 2 x 2 Bayer pattern"),
        ("zero_bytes.png", r"is empty \(0 bytes\)"),
        ("rgba.png", "is not a RAW file of a known kind; expected a camera RAW or DNG file, or headerless counts"),
        ("multipage.tif", "is not a RAW file, or of a camera that LibRaw does not know"),
        ("text_named.jpg", "is not a RAW file of a known kind"),
    ],
)
def test_broken_and_foreign_files(shared, name, words):
    refused(shared / "data/corrupt" / name, words)


@pytest.mark.shared
def test_odd_sides(shared):
    frame = open_raw(shared / "data/corrupt/odd_65x63.dng")
    assert (frame.width, frame.height, frame.pattern) == (65, 63, "RGGB")


@pytest.mark.parametrize("name", ["x.raw", "x.dng", "x.nef", "x"])
def test_a_size_is_no_proof(tmp_path, name):
    """LibRaw takes 786432 bytes of anything for the counts of one industrial camera."""
    (tmp_path / name).write_bytes(bytes(786432))
    refused(tmp_path / name, "is not a RAW file of a known kind")


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (b"\xff\xd8", "is cut off or damaged: 1 of the pieces of the mosaic are missing"),  # start of the image
        (b"\xff\xc3", "is cut off or damaged: 1 of the pieces"),  # the frame
        (b"\xff\xda", "is cut off or damaged: 1 of the pieces"),  # the scan
    ],
)
def test_damage_inside(tmp_path, mark, words):
    path = tmp_path / "x.dng"
    save_dng(RawFrame(SMALL, "RGGB", (0.0,) * 4, 65535.0), path)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[data.index(mark, start)] = 0
    path.write_bytes(data)
    refused(path, words)


def test_a_visible_area_outside_of_the_mosaic():
    for area in ((0, 0, 64, 90), (70, 0, 10, 10), (-1, 0, 10, 10)):
        with pytest.raises(PictureError, match=r"states a visible area of .*; not all of it is there"):
            _cut(SMALL, *area)


def test_places_that_cannot_be_read(tmp_path):
    refused(tmp_path / "none.dng", "does not exist")
    refused(tmp_path, "is a folder")


def test_too_many_pixels(tmp_path):
    path = write_dng(tmp_path / "x.dng", SMALL, tags_of())
    refused(path, "claims 64 x 64 pixels, more than the limit of 4,095", max_pixels=4095)


def test_unreadable_tags_leave_what_libraw_says(tmp_path, monkeypatch):
    path = write_dng(tmp_path / "x.dng", SMALL, tags_of(t50714=(RATIONAL, 1, (25, 2)), t50717=(LONG, 1, 4095)))

    def broken(*_args, **_options):
        raise ValueError("directory")

    monkeypatch.setattr(tifffile, "TiffFile", broken)
    frame = open_raw(path)
    assert (frame.black, frame.white, frame.white_balance) == ((12,) * 4, 4095, pytest.approx((2, 1, 1.6)))
    assert "its tags could not be read" in frame.notes[0]


def test_exif_from_the_preview():
    """Where the file is no TIFF, the JPEG inside tells."""
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0112] = "Acme", 6
    exif.get_ifd(0x8769)[0x8827] = 400
    buffer = BytesIO()
    Pillow.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif)
    raw = SimpleNamespace(extract_thumb=lambda: SimpleNamespace(data=buffer.getvalue()))
    block = _exif_block(BytesIO(b"FUJIFILMCCD-RAW and so on"), raw, [])
    assert _exif.settings(block)[:3] == ("Acme", "", 400)
    assert _exif.reset(block)[0] == 1  # nobody shall turn it twice
    assert _exif_block(BytesIO(b"FUJIFILM"), SimpleNamespace(), []) is None


@pytest.mark.parametrize("mark", [b"IIRO", b"IIRS", b"IIU\0"])
def test_exif_of_files_that_are_nearly_tiff(tmp_path, mark):
    tags = tags_of() | {271: (ASCII, 5, "Acme\0")}
    data = write_dng(tmp_path / "x.dng", SMALL, tags).read_bytes()
    assert _exif.settings(_exif.from_tiff(BytesIO(mark + data[4:]))).make == "Acme"


@pytest.mark.parametrize("order", ["II", "MM"])
def test_exif_settings_there_and_back(order):
    wanted = _exif.Settings("Acmé", "One", 102400.0, 1 / 3)
    empty = b"II*\0\x08\0\0\0\0\0\0\0\0\0" if order == "II" else b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
    block = _exif.with_settings(empty, wanted)
    assert block.startswith(order.encode())
    told = _exif.settings(block)
    assert told[:3] == wanted[:3]
    assert told.exposure == pytest.approx(1 / 3, rel=1e-6)
    again = _exif.with_settings(block, _exif.Settings(model="Two"))
    assert _exif.settings(again) == told._replace(model="Two")
    assert _exif.settings(_exif.with_settings(None, _exif.Settings())) == ("", "", None, None)
    with pytest.raises(ValueError, match="no TIFF header"):
        _exif.with_settings(b"nothing", wanted)


def test_what_is_raw(tmp_path):
    dng = write_dng(tmp_path / "x.dng", SMALL, tags_of())
    assert is_raw(dng)
    assert is_raw(os.fspath(dng))
    assert is_raw(dng.rename(tmp_path / "renamed.tif"))
    for name, content in {
        "a.raf": b"FUJIFILMCCD-RAW 0201",
        "b.bin": b"IIU\0\x08\0\0\0",
        "c.CR3": b"\0\0\0\x18ftypcrx ",
        "d.raw": bytes(100),
        "e.ARW": b"II*\0\x08\0\0\0\0\0",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert is_raw(tmp_path / name), name
    Pillow.new("RGB", (8, 8)).save(tmp_path / "picture.dng", "PNG")
    tifffile.imwrite(tmp_path / "plain.tif", SMALL)
    (tmp_path / "text.txt").write_text("II*\0")
    (tmp_path / "folder.dng").mkdir()
    for name in ("picture.dng", "plain.tif", "text.txt", "folder.dng", "none.tif"):
        assert not is_raw(tmp_path / name), name
    assert is_raw(tmp_path / "none.dng")  # so that the error comes from who reads RAW
    assert set(RAW_EXTENSIONS) > {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".rw2", ".orf", ".raw"}


def test_a_frame_refuses_nonsense():
    good = {"mosaic": SMALL, "pattern": "RGGB", "black": (0.0,) * 4, "white": 100.0}
    for changed, words in (
        ({"mosaic": SMALL.astype(float)}, "expected .* uint16"),
        ({"mosaic": SMALL[:1]}, "at least 2 x 2"),
        ({"pattern": "RGBG"}, "colour pattern 'RGBG'; expected one of RGGB"),
        ({"black": (0.0, 0.0, 0.0, 100.0)}, "black level 100 is not below white level 100"),
        ({"white": float("nan")}, "not below white level nan"),
    ):
        with pytest.raises(PictureError, match=words):
            RawFrame(**(good | changed))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    answer = []
    waiting = threading.Thread(target=lambda: answer.append(is_raw(tmp_path / "a.png")), daemon=True)
    waiting.start()
    waiting.join(20)
    assert answer == [False]


def test_a_repeated_black_level_that_is_not_there_takes_no_memory(tmp_path, monkeypatch):
    """The size alone would make gigabytes of zeros."""
    path = write_dng(tmp_path / "a.dng", SMALL, tags_of(t50713=(SHORT, 2, (60000, 60000))))
    made = []
    zeros = np.zeros
    monkeypatch.setattr(_dng_tags.np, "zeros", lambda shape, *more, **named: made.append(shape) or zeros((1, 1)))
    assert open_raw(path).black == (0.0,) * 4
    assert (60000, 60000) not in made


def test_a_thousand_pages_below_the_first_are_not_all_read(tmp_path, monkeypatch):
    frame = RawFrame(SMALL, "RGGB", (0.0,) * 4, 4095.0)
    save_dng(frame, tmp_path / "a.dng")
    data = bytearray((tmp_path / "a.dng").read_bytes())
    (offset,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, offset)
    entries = [bytes(data[offset + 2 + 12 * i : offset + 14 + 12 * i]) for i in range(count)]
    start, pages = len(data) + len(data) % 2, 1000
    listed = start + 2 + 12 * (count + 1) + 4
    entries = sorted([*entries, struct.pack("<HHII", 330, 4, pages, listed)], key=lambda entry: entry[1::-1])
    below = struct.pack("<HHHII", 1, 256, 4, 1, 16) + bytes(4)
    data += bytes(start - len(data)) + struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    data += struct.pack("<I", listed + 4 * pages) * pages + below
    struct.pack_into("<I", data, 4, start)
    (tmp_path / "b.dng").write_bytes(data)
    made = []
    page = tifffile.TiffPage.__init__
    monkeypatch.setattr(tifffile.TiffPage, "__init__", lambda self, *a, **b: made.append(1) or page(self, *a, **b))
    np.testing.assert_array_equal(open_raw(tmp_path / "b.dng").mosaic, SMALL)
    assert 1 < len(made) < 20


def test_a_preview_with_damaged_exif_does_not_stop_the_raw_file():
    """Its first directory is whole, but what that points at is not."""
    block = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 34665, 4, 1, 5000) + bytes(4)
    preview = BytesIO()
    Pillow.new("RGB", (8, 8)).save(preview, "JPEG", exif=b"Exif\0\0" + block)
    raw = SimpleNamespace(extract_thumb=lambda: SimpleNamespace(data=preview.getvalue()))
    notes = []
    assert _exif_block(BytesIO(b"FUJIFILMCCD-RAW"), raw, notes) is None
    assert notes == ["its EXIF is damaged and was dropped"]


@pytest.mark.parametrize("told", [float("nan"), float("inf"), -1.0, 0.0])
def test_impossible_settings_count_as_unknown(told):
    assert _other(SimpleNamespace(other=SimpleNamespace(iso_speed=told, shutter_speed=told))) == (None, None)
    assert _other(SimpleNamespace(other=SimpleNamespace(iso_speed=100, shutter_speed=told))) == (100.0, None)
