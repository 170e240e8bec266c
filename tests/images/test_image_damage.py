"""Broken and hostile files: one line that names the file, no other exception, no memory out of proportion."""

import io
import logging
import random
import struct
import subprocess
import sys
import textwrap
import threading
import warnings

import numpy as np
import PIL.Image
import pytest
import tifffile

from shotnoise.errors import PictureError, ShotnoiseError
from shotnoise.images import Image, open_image, save_image

LIMIT = "more than the limit of 268,435,456; raise max_pixels"
CUT = r"cut off|cut-off"
RAW = r"is a camera RAW/DNG file; expected PNG, JPEG, TIFF or NPY \(open_raw reads camera files\)"

REFUSED = {
    "zero_bytes.png": r"is empty \(0 bytes\)",
    "truncated.png": CUT,
    "truncated.jpg": CUT,
    "truncated.tif": CUT,
    "bad_crc.png": "checksum of chunk 'IDAT' is wrong",
    "text_named.jpg": "is not a picture of a known kind; expected PNG, JPEG, TIFF",
    "float_nan_inf.tif": "3 of 12,288 pixels are not finite",
    "bomb_header.png": f"claims 100000 x 100000 pixels, {LIMIT}",
    "bomb_30000.png": f"claims 30000 x 30000 pixels, {LIMIT}",
    "object_array.npy": "holds Python objects, which may run code",
    "truncated.dng": RAW,
    "odd_65x63.dng": RAW,
    "black_above_white.dng": RAW,
    "xtrans_6x6.dng": RAW,
    "truncated.nii.gz": "is gzip-compressed data, as in .nii.gz volumes; expected PNG",
    "pickle_payload.pth": "is a zip archive, as in .npz and .pth",
    "pickle_payload_legacy.pth": "is not a picture of a known kind",
    "safetensors_bad_header.safetensors": "is not a picture of a known kind",
    "yaml_object.yaml": "is not a picture of a known kind",
    "pickle_lmdb": "is a folder; expected a picture file",
}

# name: (shape of the pixels, type, alpha)
ACCEPTED = {
    "jpeg_named.png": ((96, 128, 3), np.uint8, False),
    "one_by_one.png": ((1, 1, 3), np.uint8, False),
    "strip_257x1.png": ((1, 257, 3), np.uint8, False),
    "strip_1x257.png": ((257, 1, 3), np.uint8, False),
    "odd_37x53.png": ((53, 37, 3), np.uint8, False),
    "gray16.png": ((64, 80), np.uint16, False),
    "rgba.png": ((96, 128, 3), np.uint8, True),
    "palette_trns.png": ((96, 128, 3), np.uint8, True),
    "cmyk.jpg": ((96, 128, 3), np.uint8, False),
    "exif_orientation6.jpg": ((128, 96, 3), np.uint8, False),
    "multipage.tif": ((96, 128, 3), np.uint8, False),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REFUSED)
def test_collected_files_that_must_be_refused(shared, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shared / "data" / "corrupt" / name
    with pytest.raises(PictureError, match=REFUSED[name]) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []  # the payloads would leave a file here


@pytest.mark.shared
@pytest.mark.parametrize("name", ACCEPTED)
def test_collected_files_that_are_only_unusual(shared, name, tmp_path):
    shape, dtype, alpha = ACCEPTED[name]
    image = open_image(shared / "data" / "corrupt" / name)
    assert image.pixels.shape == shape
    assert image.pixels.dtype == dtype
    assert (image.alpha is not None) == alpha
    assert image.notes == {
        "cmyk.jpg": ("its CMYK inks became RGB without colour management",),
        "multipage.tif": ("it has 3 pages; only the first is used",),
    }.get(name, ())
    save_image(image, tmp_path / "out.png")
    assert np.array_equal(open_image(tmp_path / "out.png").to_array(), image.to_array())


@pytest.mark.shared
def test_collected_gray_ramp_keeps_its_16_bits(shared):
    pixels = open_image(shared / "data" / "corrupt" / "gray16.png").pixels
    assert (pixels.min(), pixels.max()) == (0, 65535)
    assert len(np.unique(pixels)) > 256


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Small valid files of every kind, name -> bytes."""
    folder = tmp_path_factory.mktemp("whole")
    colour = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[274] = 6
    exif[34665], exif[34853] = {33434: 0.01}, {1: "N"}
    rich = Image(colour, colour[..., 0], b"profile", exif.tobytes()[6:])
    for name in ("8.png", "8.jpg", "8.tif", "8.npy", "8.webp"):
        save_image(rich, folder / name)
    for name in ("16.png", "16.tif", "16.npy"):
        save_image(colour.astype(np.uint16) * 257, folder / name)
    save_image(colour.astype(np.float32) / 255, folder / "float.tif")
    for name in ("8.bmp", "8.ppm"):
        PIL.Image.fromarray(colour).save(folder / name)
    PIL.Image.fromarray(colour).convert("P").save(folder / "palette.png")
    PIL.Image.fromarray(colour).convert("CMYK").save(folder / "inks.jpg")
    for number, options in enumerate(
        [{"compression": "lzw", "tile": (16, 16)}, {"compression": "jpeg"}, {"bigtiff": True}, {"byteorder": ">"}]
    ):
        tifffile.imwrite(folder / f"{number}.tif", colour, photometric="rgb", **options)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def damage(data, rng):
    """One of: cut off, some bytes changed, some header bytes changed, a stretch replaced by one of another length."""
    broken = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(broken[: rng.randrange(len(broken))])
    if kind == 3:
        at = rng.randrange(len(broken))
        broken[at : at + rng.randrange(1, 20)] = rng.randbytes(rng.randrange(20))
        return bytes(broken)
    end = len(broken) if kind == 1 else min(len(broken), 200)
    for _ in range(rng.randrange(1, 8)):
        broken[rng.randrange(end)] = rng.choice((0, 1, 128, 255, rng.randrange(256)))
    return bytes(broken)


@pytest.mark.parametrize("seed", range(10))
def test_damage_gives_a_picture_or_one_clear_line(whole, tmp_path, seed, capfd, caplog):
    rng = random.Random(seed)  # noqa: S311  no secret depends on it
    refused = []
    for name in sorted(whole) * 3:
        path = tmp_path / name
        path.write_bytes(damage(whole[name], rng))
        try:
            assert isinstance(open_image(path), Image)
        except ShotnoiseError as error:
            message = str(error)
            refused.append(message.startswith(f"{path}: ") and "\n" not in message)
    assert refused
    assert all(refused)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("name", ["8.png", "8.jpg", "8.tif", "8.npy", "16.png", "16.tif", "16.npy", "8.bmp", "8.ppm"])
def test_a_file_cut_in_half_is_refused(whole, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(whole[name][: len(whole[name]) // 2])
    with pytest.raises(PictureError, match=rf"{name}: .*({CUT}|missing)"):
        open_image(path)


def claims(size):
    """Small files whose headers claim size x size pixels, name -> bytes."""
    stream = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(stream, "JPEG")
    jpeg = bytearray(stream.getvalue())
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, min(size, 65535), min(size, 65535))
    stream = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(stream, "BMP")
    bmp = bytearray(stream.getvalue())
    struct.pack_into("<ii", bmp, 18, size, size)
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({size}, {size}, 3), }}\n".encode()
    files = {
        "x.jpg": bytes(jpeg),
        "x.bmp": bytes(bmp),
        "x.npy": b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(64),
        "x.ppm": f"P6\n{size} {size}\n255\n".encode() + bytes(64),
        "x.webp": b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"
        + (size - 1).to_bytes(3, "little") * 2
        + b"VP8 \x10\0\0\0"
        + bytes(32),
    }
    for compression in (None, "zlib", "lzw", "jpeg"):
        stream = io.BytesIO()
        tifffile.imwrite(stream, np.zeros((8, 8, 3), np.uint8), photometric="rgb", compression=compression)
        tiff = bytearray(stream.getvalue())
        (first,) = struct.unpack_from("<I", tiff, 4)
        for at in range(first + 2, first + 2 + 12 * struct.unpack_from("<H", tiff, first)[0], 12):
            if struct.unpack_from("<H", tiff, at)[0] in (256, 257, 278):
                struct.pack_into("<HII", tiff, at + 2, 4, 1, size)
        files[f"{compression}.tif"] = bytes(tiff)
    return files


@pytest.mark.parametrize("name", claims(50_000))
def test_sizes_over_the_limit_are_refused_by_the_header(tmp_path, name):
    (tmp_path / name).write_bytes(claims(50_000)[name])
    with pytest.raises(PictureError, match=rf"claims 50000 x 50000 pixels, {LIMIT}"):
        open_image(tmp_path / name)


def test_the_limit_is_the_callers(tmp_path):
    save_image(np.zeros((10, 10), np.uint8), tmp_path / "x.png")
    with pytest.raises(PictureError, match=r"claims 10 x 10 pixels, more than the limit of 99"):
        open_image(tmp_path / "x.png", max_pixels=99)
    assert open_image(tmp_path / "x.png", max_pixels=100).pixels.shape == (10, 10)


def test_more_pixels_than_pillow_allows_by_itself(tmp_path, monkeypatch):
    save_image(np.zeros((30, 30), np.uint8), tmp_path / "x.jpg")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    assert open_image(tmp_path / "x.jpg").pixels.shape == (30, 30)


def test_claims_within_the_limit_take_no_memory_either(tmp_path):
    """Every file claims 16000 x 16000 pixels, 0.7 GB and more, and holds a few hundred bytes."""
    for name, data in claims(16_000).items():
        (tmp_path / name).write_bytes(data)
    script = """
        import pathlib, resource, sys
        from shotnoise.errors import PictureError
        from shotnoise.images import open_image, save_image
        import numpy, tifffile, imagecodecs, PIL.WebPImagePlugin, PIL.JpegImagePlugin
        imagecodecs.jpeg8_decode, imagecodecs.zlib_decode
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024**-1)
        before = peak()
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            try:
                open_image(path)
            except PictureError as error:
                assert "does not fit" not in str(error), error
            else:
                raise AssertionError(path)
            assert peak() - before < 100 * 2**20, (path, peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), tmp_path], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_complaints_of_libraries_are_ours_to_make(tmp_path, whole):
    """While two threads read, one after the other leaves: the filters of the process are as before, not swapped."""
    before = list(warnings.filters)
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data[: len(data) * 3 // 4])
    paths = sorted(tmp_path.iterdir()) * 5
    leaked = []

    def read(order):
        for path in order:
            try:
                open_image(path)
            except PictureError:
                pass
            except Exception as error:
                leaked.append(error)

    threads = [threading.Thread(target=read, args=(order,)) for order in (paths, paths[::-1], paths)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leaked == []
    assert list(warnings.filters) == before
    assert logging.getLogger("tifffile").filters == []
    assert logging.getLogger("imagecodecs").filters == []
