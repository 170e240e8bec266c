"""RAW blocks of SIDD, whose noise and colours are told beside them or nowhere."""

import pickle

import numpy as np
import pytest

from benchmark_files import write_mat5, write_mat73
from shotnoise.errors import PictureError, StoreError
from shotnoise.evaluation import evaluate, get_protocol, psnr, ssim
from shotnoise.evaluation.phases import to_mosaic, to_planes
from shotnoise.images.raw.bayer import PATTERNS, sites

RULES = get_protocol("sidd/raw")


def identity(noisy, told):
    return noisy


def blocks(images=2, per_image=2, side=64, k=2e-3, s2=1e-5):
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.05, 0.6, side)
    clean = np.broadcast_to(ramp, (images, per_image, side, side)).astype(np.float32)
    noisy = clean + rng.normal(size=clean.shape) * np.sqrt(k * clean + s2)
    return noisy.astype(np.float32), clean


def write_blocks(folder, write=write_mat5, **options):
    noisy, clean = blocks(**options)
    write(folder / "ValidationNoisyBlocksRaw.mat", ValidationNoisyBlocksRaw=noisy)
    write(folder / "ValidationGtBlocksRaw.mat", ValidationGtBlocksRaw=clean)
    return noisy, clean


@pytest.mark.parametrize("pattern", PATTERNS)
def test_planes_of_any_phase_and_back(pattern):
    mosaic = np.arange(48.0).reshape(6, 8)
    planes = to_planes(mosaic, pattern)
    np.testing.assert_array_equal(to_mosaic(planes, pattern), mosaic)
    for plane, (row, column) in zip(planes, sites(pattern), strict=True):
        assert set(plane.ravel()) == set(mosaic[row::2, column::2].ravel())
    # mirrored so that the geometry within a cell is that of RGGB: the first green lies to the right of red
    assert np.sign(planes[1, 0, 0] - planes[0, 0, 0]) == (-1 if sites(pattern)[0][1] else 1)
    with pytest.raises(PictureError, match=r"a mosaic of shape \(5, 8\); expected \(H, W\) with even sides"):
        to_planes(mosaic[:5], pattern)


@pytest.mark.parametrize("write", [write_mat5, write_mat73])
def test_blocks_as_downloaded(tmp_path, write):
    noisy, clean = write_blocks(tmp_path, write)
    (tmp_path / "blocks.csv").write_text("image,pattern,shot,read\n0,BGGR,0.002,0.00001\n1,grbg,0.004,0\n")
    seen = []
    result = evaluate(lambda planes, law: seen.append((planes, law)) or planes, RULES, tmp_path, channels=4)
    assert [row.picture.split("/")[1] for row in result.rows] == ["0_0", "0_1", "1_0", "1_1"]
    for number, (row, (planes, law)) in enumerate(zip(result.rows, seen, strict=True)):
        pattern = ("BGGR", "GRBG")[number // 2]
        given, truth = (to_planes(stack.reshape(4, 64, 64)[number], pattern) for stack in (noisy, clean))
        np.testing.assert_array_equal(planes, given)
        assert (law.k, law.s2) == (((0.002,) * 4, (1e-5,) * 4), ((0.004,) * 4, (0.0,) * 4))[number // 2]
        expected = psnr(np.clip(given, 0, 1), truth, 1)
        assert row.psnr == row.noisy_psnr == pytest.approx(expected)
        flat = [np.clip(stack, 0, 1).transpose(1, 2, 0) for stack in (given, truth)]
        assert row.ssim == pytest.approx(ssim(*flat, 1))
    assert result.rows[2].told == "k 0.004, variance without light 0 (blocks.csv)"


def test_without_a_table_the_law_is_estimated_and_that_is_said(tmp_path):
    write_blocks(tmp_path, images=1, per_image=1, side=256)
    told = []
    result = evaluate(lambda planes, law: told.append(law) or planes, RULES, tmp_path, channels=4)
    assert told[0].variance(np.array(0.3)) == pytest.approx(2e-3 * 0.3 + 1e-5, rel=0.15)
    assert "blind estimate" in result.rows[0].told


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("image,shot\n0,1\n", "has the columns image, shot; expected image and pattern"),
        ("image,pattern\n0,RGB\n", "pattern 'RGB' of image 0 is none of RGGB, GRBG, GBRG, BGGR"),
        ("image,shot,read\n0,-1,0\n", "a noise law with k .* expected one k > 0"),
        ("image,shot,read\nx,1,0\n", "cannot be used"),
        ("image,pattern\n7\n", "the line of image 7 is short"),
    ],
)
def test_tables_that_make_no_sense(tmp_path, table, words):
    write_blocks(tmp_path)
    (tmp_path / "blocks.csv").write_text(table)
    with pytest.raises(StoreError, match=words):
        evaluate(identity, RULES, tmp_path, channels=4)


def test_counts_are_no_normalised_blocks(tmp_path):
    for kind in ("Noisy", "Gt"):
        name = f"Validation{kind}BlocksRaw"
        write_mat5(tmp_path / f"{name}.mat", **{name: np.zeros((1, 1, 8, 8), np.uint16)})
    with pytest.raises(StoreError, match="holds counts; expected RAW normalised"):
        evaluate(identity, RULES, tmp_path, channels=4)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_the_files_of_cycleisp(tmp_path, protocol):
    rng = np.random.default_rng(0)
    expected = {}
    for name in ("2.pkl", "10.pkl"):
        clean = rng.random((16, 16, 4), np.float32)
        noisy = np.clip(clean + rng.normal(0, 0.05, clean.shape), 0, 1).astype(np.float32)
        content = {"clean": clean, "noisy": noisy, "variance": np.float32(3e-3) * noisy + np.float32(2e-5)}
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=protocol))
        expected[name] = content
    seen = []
    result = evaluate(lambda planes, law: seen.append((planes, law)) or planes, RULES, tmp_path, channels=4)
    assert [row.picture for row in result.rows] == ["2.pkl", "10.pkl"]
    for row, (planes, law) in zip(result.rows, seen, strict=True):
        content = expected[row.picture]
        np.testing.assert_array_equal(planes, content["noisy"].transpose(2, 0, 1))
        assert law.k == pytest.approx((3e-3,) * 4, rel=1e-4)
        assert law.s2 == pytest.approx((2e-5,) * 4, rel=1e-2)
        assert row.psnr == pytest.approx(psnr(content["noisy"], content["clean"], 1))


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps(Hostile()), "it holds 'builtins.print', and only arrays of numbers are read"),
        (b"nonsense", "not a block of CycleISP"),
        (pickle.dumps({"noisy": np.zeros(3)}), "not a block of CycleISP"),
        (
            pickle.dumps(dict.fromkeys(("noisy", "clean", "variance"), np.zeros((4, 8, 8)))),
            r"expected noisy, clean and variance of one shape \(height, width, 4\)",
        ),
    ],
)
def test_other_pickles_are_refused_and_nothing_is_executed(tmp_path, capsys, content, words):
    (tmp_path / "0.pkl").write_bytes(content)
    with pytest.raises(StoreError, match=words):
        evaluate(identity, RULES, tmp_path, channels=4)
    assert "executed" not in capsys.readouterr().out


def test_who_can_be_measured_on_mosaics(tmp_path):
    assert RULES.refusal("raw", "sigma") is None
    assert "'sidd/raw' measures on RAW" in RULES.refusal("rgb", "none")
    with pytest.raises(StoreError, match=r"holds no ValidationNoisyBlocksRaw.mat; expected it and .* or the .pkl"):
        RULES.find(tmp_path)
