"""What is handed in to benchmarks, read back by scipy as their servers might."""

import json

import numpy as np
import pytest
from scipy.io import loadmat

from benchmark_files import CODES, h5py, write_dnd, write_mat5, write_mat73
from shotnoise.errors import RecipeError, StoreError
from shotnoise.evaluation import CHALLENGES, open_challenge, submit
from shotnoise.images.raw.bayer import PATTERNS, seen_from, sites
from shotnoise.sensor import estimate_sigma

ORIGIN = {"model": "identity", "sha256": "0"}


def identity(noisy, told):
    return noisy


def handed_in(name, data, out, denoise=identity, **options):
    return submit(denoise, open_challenge(name, data), out, origin=ORIGIN, **options)


def cut(picture, box):
    top, left, bottom, right = box
    return picture[top - 1 : bottom, left - 1 : right]


def test_dnd_raw_of_all_phases(tmp_path):
    mosaics, _, tables = write_dnd(tmp_path / "dnd", PATTERNS)
    told, steps = [], []

    def mark(planes, law):
        """Another brightness for each plane, so that each must come back to its own colour."""
        told.append(law)
        return planes + np.array([0.1, 0.2, 0.3, 0.4], np.float32)[:, None, None]

    result = handed_in("dnd-raw", tmp_path / "dnd", tmp_path / "out", mark, progress=lambda *step: steps.append(step))
    assert (result.blocks, result.denoised) == (80, 80)
    assert steps == [(number, 80) for number in range(1, 81)]
    assert [path.name for path in result.files] == ["0001.mat", "0002.mat", "0003.mat", "0004.mat"]
    for image, (pattern, mosaic) in enumerate(zip(PATTERNS, mosaics, strict=True)):
        brighter = mosaic.copy()
        for colour, (row, column) in enumerate(sites(pattern)):
            brighter[row::2, column::2] += np.float32((colour + 1) / 10)
        bundle = loadmat(result.files[image])
        assert bundle["Idenoised"].shape == (1, 20)
        assert bundle["Idenoised"].dtype == object
        assert bundle["israw"].item() == 1
        assert bundle["eval_version"].item() == "1.0"
        for box, table in enumerate(tables[image]):
            single = loadmat(tmp_path / "out" / f"{image + 1:04}_{box + 1:02}.mat")["Idenoised_crop"]
            assert single.dtype == np.float32
            np.testing.assert_allclose(single, np.clip(cut(brighter, table), 0, 1), atol=1e-6)
            np.testing.assert_array_equal(bundle["Idenoised"][0, box], single)
        law = told[20 * image]
        assert (law.k, law.s2) == ((1e-3 * (image + 1),) * 4, (1e-6 * (image + 1),) * 4)


def test_dnd_raw_shows_every_box_as_rggb(tmp_path):
    """Planes in a cell: red first, then what is right of it; mirrored, never exchanged."""
    mosaics, _, tables = write_dnd(tmp_path / "dnd", ["GBRG"])
    seen = []
    handed_in("dnd-raw", tmp_path / "dnd", tmp_path / "out", lambda planes, law: seen.append(planes) or planes)
    for planes, box in zip(seen, tables[0], strict=True):
        pattern = seen_from("GBRG", int(box[0] - 1), int(box[1] - 1))
        flips = {"RGGB": (1, 1), "GRBG": (1, -1), "GBRG": (-1, 1), "BGGR": (-1, -1)}[pattern]
        mosaic = cut(mosaics[0], box)[:: flips[0], :: flips[1]]
        expected = [mosaic[0::2, 0::2], mosaic[0::2, 1::2], mosaic[1::2, 0::2], mosaic[1::2, 1::2]]
        np.testing.assert_array_equal(planes, expected)


@pytest.mark.parametrize("sigma_srgb", [True, False])
def test_dnd_srgb(tmp_path, sigma_srgb):
    _, pictures, tables = write_dnd(tmp_path / "dnd", ["RGGB", "BGGR"], sigma_srgb=sigma_srgb)
    told = []
    result = handed_in("dnd-srgb", tmp_path / "dnd", tmp_path / "out", lambda noisy, sigma: told.append(sigma) or noisy)
    crops = [cut(picture, box) for picture, table in zip(pictures, tables, strict=True) for box in table]
    for image in (0, 1):
        bundle = loadmat(result.files[image])
        assert bundle["israw"].item() == 0
        for box in range(20):
            found = bundle["Idenoised"][0, box]
            assert (found.dtype, found.shape) == (np.float32, (24, 24, 3))
            np.testing.assert_array_equal(found, np.clip(crops[20 * image + box], 0, 1))
    if sigma_srgb:
        assert told == pytest.approx([*np.arange(1, 21) / 255, *(np.arange(1, 21) / 255 + 1)])
    else:
        assert told == [estimate_sigma(crop) for crop in crops]
    challenge = open_challenge("dnd-srgb", tmp_path / "dnd", level=51)
    assert challenge.block(0).told == 51 / 255


@pytest.mark.parametrize("write", [write_mat5, write_mat73])
def test_sidd_srgb(tmp_path, write):
    noisy = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16, 3), np.uint8)
    write(tmp_path / "BenchmarkNoisyBlocksSrgb.mat", BenchmarkNoisyBlocksSrgb=noisy)
    result = handed_in("sidd-srgb", tmp_path, tmp_path / "out", lambda values, told: values * 1.1 + 0.31 / 255)
    (path,) = result.files
    content = loadmat(path)
    assert path.name == "SubmitSrgb.mat"
    assert content["DenoisedBlocksSrgb"].dtype == np.uint8
    expected = np.clip(np.floor(noisy * 1.1 + 0.31 + 0.5), 0, 255)
    np.testing.assert_array_equal(content["DenoisedBlocksSrgb"], expected)
    assert content["TimeMPSrgb"].item() == pytest.approx(result.seconds_per_megapixel)
    assert 0 < result.seconds_per_megapixel < 100
    assert len(list((tmp_path / "out" / "blocks").iterdir())) == 6


@pytest.mark.parametrize("write", [write_mat5, write_mat73])
def test_sidd_raw(tmp_path, write):
    noisy = np.random.default_rng(0).normal(0.5, 0.4, (2, 2, 16, 16)).astype(np.float32)
    write(tmp_path / "BenchmarkNoisyBlocksRaw.mat", BenchmarkNoisyBlocksRaw=noisy)
    (tmp_path / "blocks.csv").write_text("image,pattern,shot,read\n1,GRBG,0.01,0.0001\n")
    told = []
    result = handed_in("sidd-raw", tmp_path, tmp_path / "out", lambda planes, law: told.append(law) or planes)
    content = loadmat(result.files[0])
    assert result.files[0].name == "SubmitRaw.mat"
    np.testing.assert_array_equal(content["DenoisedBlocksRaw"], np.clip(noisy, 0, 1))
    assert content["DenoisedBlocksRaw"].dtype == np.float32
    assert content["TimeMPRaw"].shape == (1, 1)
    assert [law.source for law in told[2:]] == ["blocks.csv"] * 2
    assert "blind estimate" in told[0].source


@pytest.fixture
def sidd(tmp_path):
    noisy = np.random.default_rng(0).integers(0, 256, (2, 2, 12, 12, 3), np.uint8)
    write_mat5(tmp_path / "BenchmarkNoisyBlocksSrgb.mat", BenchmarkNoisyBlocksSrgb=noisy)
    return tmp_path


def test_a_stopped_run_goes_on(sidd, tmp_path):
    out, calls = tmp_path / "out", []

    def stops(noisy, told):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(noisy)
        return noisy

    with pytest.raises(KeyboardInterrupt):
        handed_in("sidd-srgb", sidd, out, stops)
    assert not (out / "SubmitSrgb.mat").exists()
    (out / "blocks" / "00_01.mat").write_bytes(b"cut off by something else")
    result = handed_in("sidd-srgb", sidd, out)
    assert (result.blocks, result.denoised) == (4, 2)
    whole = loadmat(out / "SubmitSrgb.mat")["DenoisedBlocksSrgb"]
    np.testing.assert_array_equal(whole, loadmat(sidd / "BenchmarkNoisyBlocksSrgb.mat")["BenchmarkNoisyBlocksSrgb"])
    assert handed_in("sidd-srgb", sidd, out).denoised == 0
    assert handed_in("sidd-srgb", sidd, out, overwrite=True).denoised == 4
    assert not [path for path in out.rglob("*") if path.name.endswith(".partial")]


def test_results_of_two_models_never_mix(sidd, tmp_path):
    out = tmp_path / "out"
    handed_in("sidd-srgb", sidd, out)
    assert json.loads((out / "submission.json").read_text()) == ORIGIN
    other = {**ORIGIN, "model": "other"}
    challenge = open_challenge("sidd-srgb", sidd)
    words = "out: its results were made with model 'identity', not 'other'; give another folder"
    with pytest.raises(StoreError, match=words):
        submit(identity, challenge, out, origin=other)
    assert submit(identity, challenge, out, origin=other, overwrite=True).denoised == 4

    def stops(noisy, told):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit(stops, challenge, out, origin=ORIGIN, overwrite=True)
    assert not (out / "SubmitSrgb.mat").exists(), "what would be handed in is of the other model"
    again = submit(identity, challenge, out, origin=ORIGIN)
    assert again.denoised == 4, "nothing is left of the other, also where beginning anew was stopped"
    with pytest.raises(StoreError, match="is not empty and holds no submission"):
        submit(identity, challenge, sidd, origin=other)


def test_a_denoiser_of_another_shape_is_refused(sidd, tmp_path):
    with pytest.raises(StoreError, match=r"00_00: the denoiser returned shape \(3, 11, 12\) for a picture of shape"):
        handed_in("sidd-srgb", sidd, tmp_path / "out", lambda noisy, told: noisy[:, 1:])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dnd-srgb", "info.mat: does not exist; expected the folder of DND as downloaded"),
        ("dnd-raw", "info.mat: does not exist"),
        ("sidd-raw", "BenchmarkNoisyBlocksRaw.mat: does not exist; expected the noisy blocks of the benchmark"),
    ],
)
def test_files_that_are_not_there(tmp_path, name, words):
    with pytest.raises(StoreError, match=words):
        open_challenge(name, tmp_path)


def test_unknown_benchmarks_and_levels(tmp_path):
    assert sorted(CHALLENGES) == ["dnd-raw", "dnd-srgb", "sidd-raw", "sidd-srgb"]
    with pytest.raises(RecipeError, match="no benchmark 'dnd': did you mean 'dnd-raw'"):
        open_challenge("dnd", tmp_path)
    with pytest.raises(RecipeError, match="level is -1; expected a noise standard deviation in counts"):
        open_challenge("dnd-srgb", tmp_path, level=-1)
    with pytest.raises(RecipeError, match="the noise of RAW has no single level"):
        open_challenge("sidd-raw", tmp_path, level=5)


def test_damaged_files_of_dnd(tmp_path):
    (tmp_path / "info.mat").write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"info.mat: not the info.mat of DND"):
        open_challenge("dnd-raw", tmp_path)
    mosaics, _, tables = write_dnd(tmp_path, ["RGGB"])
    with h5py.File(tmp_path / "info.mat", "r+") as file:
        file[file["info/camera"][0, 0]]["pattern"][...] = 7
    with pytest.raises(StoreError, match=r"the pattern of picture 1 is \(7, 7, 7, 7\); expected"):
        open_challenge("dnd-raw", tmp_path).block(0)
    with h5py.File(tmp_path / "info.mat", "r+") as file:
        del file[file["info/camera"][0, 0]]["pattern"]
        file[file["info/nlf"][0, 0]]["a"][...] = 0
    with pytest.raises(StoreError, match="no usable 'camera' of picture 1"):
        open_challenge("dnd-raw", tmp_path).block(0)
    with h5py.File(tmp_path / "info.mat", "r+") as file:
        file[file["info/camera"][0, 0]]["pattern"] = np.array(CODES["RGGB"], float)
    with pytest.raises(StoreError, match="picture 1: a noise law with k"):
        open_challenge("dnd-raw", tmp_path).block(0)
    write_mat73(tmp_path / "images_raw" / "0001.mat", Inoisy=mosaics[0][:30])
    lowest = max(range(20), key=lambda box: tables[0][box][2])
    with pytest.raises(StoreError, match=rf"0001.mat: is 30 x 90, and box {lowest + 1} of info.mat goes to"):
        open_challenge("dnd-raw", tmp_path).block(lowest)
    (tmp_path / "images_raw" / "0001.mat").unlink()
    with pytest.raises(StoreError, match=r"0001.mat: does not exist; expected the files of DND"):
        open_challenge("dnd-raw", tmp_path)
    with h5py.File(tmp_path / "info.mat", "r+") as file:
        file[file["info/boundingboxes"][0, 0]][0, 0] = 0
    with pytest.raises(StoreError, match="the boxes of picture 1 are no 20 rows of first row"):
        open_challenge("dnd-srgb", tmp_path)
