"""Counts without a header: every packing there and back, by hand and by the layout beside the file."""

import json

import numpy as np
import pytest
from foreign_dng import coloured
from hypothesis import given, settings
from hypothesis import strategies as st

from shotnoise.errors import PictureError
from shotnoise.images.raw import HeaderlessLayout, RawFrame, open_raw, save_headerless
from shotnoise.images.raw.bayer import PATTERNS

BITS = {"uint16": 16, "uint16-big": 16, "uint8": 8, "mipi10": 10, "mipi12": 12, "mipi14": 14}


def layout(**changed):
    return HeaderlessLayout.model_validate({"width": 4, "height": 2, "pattern": "RGGB"} | changed)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(BITS)),
    st.integers(2, 11),
    st.integers(2, 11),
    st.sampled_from(PATTERNS),
    st.integers(0, 7),
    st.integers(0, 5),
    st.integers(0, 2**32 - 1),
)
def test_there_and_back(tmp_path_factory, packing, height, width, pattern, header, padding, number):
    path = tmp_path_factory.mktemp("raw") / "x.raw"
    mosaic = np.random.default_rng(number).integers(0, 2 ** BITS[packing], (height, width), dtype=np.uint16)
    frame = RawFrame(mosaic, pattern, (1.0, 2.0, 3.0, 4.5), float(2 ** BITS[packing] - 1), iso=800.0, exposure=0.01)
    tight = HeaderlessLayout.of(frame, packing=packing).tight_row
    told = HeaderlessLayout.of(frame, packing=packing, header_bytes=header, row_bytes=tight + padding)
    save_headerless(frame, path, told)
    assert path.stat().st_size == header + height * (tight + padding)
    for again in (open_raw(path), open_raw(path, told)):
        assert np.array_equal(again.mosaic, mosaic)
        assert (again.pattern, again.black, again.white) == (pattern, frame.black, frame.white)
        assert (again.iso, again.exposure) == (800, 0.01)


@pytest.mark.parametrize(
    ("packing", "stored", "counts"),
    [
        ("uint8", "01 02 fe ff", [1, 2, 254, 255]),
        ("uint16", "01 00 02 00 00 01 ff ff", [1, 2, 256, 65535]),
        ("uint16-big", "00 01 00 02 01 00 ff ff", [1, 2, 256, 65535]),
        ("mipi10", "00 40 80 ff e4", [0x000, 0x101, 0x202, 0x3FF]),  # low bits 0 1 2 3, the first pixel lowest
        ("mipi12", "12 ab 93 34 56 f0", [0x123, 0xAB9, 0x340, 0x56F]),
        # low six bits 0x01, 0x12, 0x23, 0x34 in one number of 24 bits, its lowest byte first
        ("mipi14", "10 20 30 40 81 34 d2", [0x10 << 6 | 1, 0x20 << 6 | 0x12, 0x30 << 6 | 0x23, 0x40 << 6 | 0x34]),
    ],
)
def test_packings_by_hand(tmp_path, packing, stored, counts):
    row = bytes.fromhex(stored)
    (tmp_path / "x.raw").write_bytes(row + row)
    assert open_raw(tmp_path / "x.raw", layout(packing=packing)).mosaic.tolist() == [counts] * 2


@pytest.mark.shared
def test_the_original_beside_its_dng(shared):
    frame, dng = (open_raw(shared / f"data/raw/nikon14_768x512_rggb.{kind}") for kind in ("raw", "dng"))
    assert np.array_equal(frame.mosaic, dng.mosaic)
    assert (frame.pattern, frame.black, frame.white) == (dng.pattern, dng.black, dng.white)
    assert frame.white_balance == pytest.approx(dng.white_balance, rel=1e-6)
    assert frame.xyz_to_camera == pytest.approx(dng.xyz_to_camera)


def test_defaults_and_words_of_numpy(tmp_path):
    path = tmp_path / "x.raw"
    path.write_bytes(np.arange(8, dtype=">u2").tobytes())
    told = {
        "width": 4,
        "height": 2,
        "cfa": "BGGR",
        "bits": 10,
        "dtype": "uint16",
        "endianness": "big",
        "black_level": 64,
    }
    path.with_suffix(".json").write_text(json.dumps(told))
    frame = open_raw(path)
    assert frame.mosaic.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert (frame.pattern, frame.black, frame.white) == ("BGGR", (64.0,) * 4, 1023.0)
    assert (frame.white_balance, frame.xyz_to_camera, frame.iso, frame.make) == (None, None, None, "")
    assert open_raw(path, black=0, white=15).white == 15


def test_the_layout_of_the_caller_wins(tmp_path):
    path = tmp_path / "x.raw"
    path.write_bytes(bytes(16))
    path.with_suffix(".json").write_text('{"width": 99}')
    assert open_raw(path, layout()).width == 4


@pytest.mark.parametrize(
    ("size", "changed", "words"),
    [
        (20, {}, "has 20 bytes; 4 x 2 pixels as uint16 are 16; it would fit with row_bytes 10 or width 5 or"),
        (8, {}, "it would fit with packing uint8 or height 1 or width 2"),
        (24, {}, "it would fit with height 3 or row_bytes 12 or width 6 or header_bytes 8"),
        (10, {"bits": 10}, "it would fit with packing mipi10"),
        (13, {}, "are 16; check width, height and packing"),
        (20, {"header_bytes": 2}, "behind 2 header bytes are 18; it would fit with row_bytes 9 or header_bytes 4"),
        (1, {}, "check width"),
    ],
)  # fmt: skip
def test_sizes_that_do_not_match(tmp_path, size, changed, words):
    (tmp_path / "x.raw").write_bytes(bytes(size))
    with pytest.raises(PictureError, match=words) as caught:
        open_raw(tmp_path / "x.raw", layout(**changed))
    assert "\n" not in str(caught.value)


def test_the_last_row_may_end_early(tmp_path):
    (tmp_path / "x.raw").write_bytes(np.array([1, 2, 3, 4, 9, 5, 6, 7, 8], "<u2").tobytes())
    assert open_raw(tmp_path / "x.raw", layout(row_bytes=10)).mosaic.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_counts_that_cannot_be(tmp_path):
    """Read from the wrong end, small counts become huge."""
    (tmp_path / "x.raw").write_bytes(np.full(8, 600, ">u2").tobytes())
    with pytest.raises(
        PictureError, match=r"counts up to 22530, more than the 14 bits .* check bits, packing \(which end"
    ):
        open_raw(tmp_path / "x.raw", layout(bits=14))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "width: Field required"),
        ('{"width": 4, "height": 2, "pattern": "RGGB", "wite": 9}', r"unknown key 'wite': did you mean 'white'\?"),
        ('{"width": 4, "height": 2}', "pattern: Field required"),
        ('{"width": 4, "height": 2, "pattern": "RGB"}', "pattern: Input should be 'RGGB', 'GRBG', 'GBRG' or 'BGGR'"),
        ('{"width": 1, "height": 2, "pattern": "RGGB"}', "width: Input should be greater than or equal to 2"),
        ('{"width": 4, "height": 2, "pattern": "RGGB", "black": [1, 2]}', "json: black: Input should be"),
        ('{"width": 4, "height": 2, "pattern": "RGGB", "dtype": "float32"}', "expected dtype uint8 or uint16"),
        ("[1, 2]", "is not the layout of a headerless RAW file; expected a JSON object"),
        ("{", "is not JSON"),
        ("\xff", "is not JSON"),
        ('{"width": 4, "height": 2, "pattern": "RGGB", "black": 9, "white": 5}', "black level 9 is not below white"),
    ],
)  # fmt: skip
def test_sidecars_that_make_no_sense(tmp_path, text, words):
    (tmp_path / "x.raw").write_bytes(bytes(16))
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(PictureError, match=words) as caught:
        open_raw(tmp_path / "x.raw")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"packing": "mipi10", "bits": 12}, "packing mipi10 holds 10 bits, not 12"),
        ({"packing": "mipi14", "bits": 10}, "packing mipi14 holds 14 bits, not 10"),
        ({"packing": "uint8", "bits": 10}, "packing uint8 holds 8 bits, not 10"),
        ({"row_bytes": 7}, "row_bytes 7 is less than the 8 bytes of 4 pixels"),
    ],
)
def test_layouts_that_contradict_themselves(changed, words):
    with pytest.raises(ValueError, match=words):
        layout(**changed)


def test_a_sidecar_of_another_program_leaves_tiff_alone(tmp_path):
    (tmp_path / "x.tif").write_bytes(b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    (tmp_path / "x.json").write_text('{"title": "a picture"}')
    with pytest.raises(PictureError, match=r"x\.tif: cannot be decoded as camera RAW"):
        open_raw(tmp_path / "x.tif")


def test_everything_travels(tmp_path):
    frame = RawFrame(
        coloured("GBRG", 6, 8, (10, 20, 30, 40)), "GBRG", (1.0, 2.0, 3.0, 4.0), 255.0, "Acme", "One", 100.0, 0.5,
        (2.0, 1.0, 1.5), np.eye(3) + 0.1, 6,
    )  # fmt: skip
    save_headerless(frame, tmp_path / "x.raw", HeaderlessLayout.of(frame, packing="uint8"))
    again = open_raw(tmp_path / "x.raw")
    for name in ("pattern", "black", "white", "make", "model", "iso", "exposure", "white_balance", "orientation"):
        assert getattr(again, name) == getattr(frame, name), name
    assert np.array_equal(again.xyz_to_camera, frame.xyz_to_camera)


def test_what_cannot_be_written(tmp_path):
    frame = RawFrame(np.full((4, 4), 1023, np.uint16), "RGGB", (0.0,) * 4, 1023.0)
    path = tmp_path / "x.raw"
    with pytest.raises(PictureError, match="cannot hold counts up to 1023 in 8 bits; choose another packing"):
        save_headerless(frame, path, HeaderlessLayout.of(frame, packing="uint8"))
    with pytest.raises(PictureError, match="has a layout of 4 x 2, the frame is 4 x 4"):
        save_headerless(frame, path, layout())
    with pytest.raises(PictureError, match="this layout is impossible: row_bytes 3 is less than the 8 bytes"):
        HeaderlessLayout.of(frame, row_bytes=3)
    with pytest.raises(PictureError, match="there is no folder"):
        save_headerless(frame, tmp_path / "none" / "x.raw")
    assert list(tmp_path.iterdir()) == []
    save_headerless(frame, path, sidecar=False)
    assert [place.name for place in tmp_path.iterdir()] == ["x.raw"]
    with pytest.raises(PictureError, match="exists already"):
        save_headerless(frame, path, overwrite=False)


def test_json_that_is_nested_too_deeply(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(PictureError, match=r"a\.json: is not JSON \(.*recursion"):
        HeaderlessLayout.load(tmp_path / "a.json")


@pytest.mark.parametrize("white", [float("inf"), float("nan")])
def test_white_must_be_a_count(tmp_path, white):
    save_headerless(RawFrame(np.zeros((4, 4), np.uint16), "RGGB", (0.0,) * 4, 1023.0), tmp_path / "a.raw")
    with pytest.raises(PictureError, match="is not below white level"):
        open_raw(tmp_path / "a.raw", white=white)
