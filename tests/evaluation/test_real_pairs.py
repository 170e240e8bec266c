"""Protocols whose noise came with the pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmark_files import write_mat5, write_mat73
from shotnoise.errors import RecipeError, StoreError
from shotnoise.evaluation import METRICS, evaluate, get_protocol, psnr, ssim
from shotnoise.sensor import estimate_sigma

RULES = get_protocol("pairs/folder")
SIDD = get_protocol("sidd/srgb")


def identity(noisy, told):
    return noisy


def pair(seed, shape=(40, 36, 3)):
    rng = np.random.default_rng(seed)
    clean = np.broadcast_to(np.linspace(20, 220, shape[1]).reshape(1, -1, *[1] * (len(shape) - 2)), shape)
    noisy = np.clip(clean + rng.normal(0, 12, shape), 0, 255).round().astype(np.uint8)
    return noisy, clean.round().astype(np.uint8)


def write_pairs(folder, names=("a.png", "sub/b.png"), noisy="noisy", clean="clean"):
    for seed, name in enumerate(names):
        for kind, pixels in zip((noisy, clean), pair(seed), strict=True):
            path = folder / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


@pytest.mark.parametrize(("noisy", "clean"), [("noisy", "clean"), ("Noisy", "GT"), ("input", "target")])
def test_scores_of_a_folder_by_hand(tmp_path, noisy, clean):
    folder = write_pairs(tmp_path, noisy=noisy, clean=clean)
    seen = []

    def darken(values, told):
        seen.append((values, told))
        return values * np.float32(0.9003)

    result = evaluate(darken, RULES, folder)
    assert [row.picture for row in result.rows] == ["a.png", "sub/b.png"]
    assert result.folder == folder / noisy
    for seed, (row, (values, told)) in enumerate(zip(result.rows, seen, strict=True)):
        noise, truth = pair(seed)
        np.testing.assert_array_equal(values, noise.transpose(2, 0, 1) / np.float32(255))
        output = np.floor(noise * 0.9003 + 0.5)
        assert row.noisy_psnr == pytest.approx(psnr(noise, truth, 255))
        assert row.noisy_ssim == pytest.approx(ssim(noise, truth, 255))
        assert row.psnr == pytest.approx(psnr(output, truth, 255), abs=1e-3)
        assert row.ssim == pytest.approx(ssim(output, truth, 255), abs=1e-4)
        assert told == estimate_sigma(noise)
        assert row.told == f"sigma {255 * told:.4g}"
    assert result.warnings == ()
    assert json.loads(json.dumps(result.to_json()))["protocol"]["metrics"]["name"] == "8bit"


def test_a_partner_may_have_another_extension(tmp_path):
    write_pairs(tmp_path, names=("a.png",))
    Image.open(tmp_path / "clean" / "a.png").save(tmp_path / "clean" / "a.tif")
    (tmp_path / "clean" / "a.png").unlink()
    assert evaluate(identity, RULES, tmp_path).mean("psnr") == pytest.approx(psnr(*pair(0), 255))


def test_two_pictures_of_one_name_are_refused(tmp_path):
    write_pairs(tmp_path, names=("a.png",))
    Image.open(tmp_path / "noisy" / "a.png").save(tmp_path / "noisy" / "a.tif")
    with pytest.raises(StoreError, match=r"'a.png' and 'a.tif' have the same name but for their extension; rename"):
        evaluate(identity, RULES, tmp_path)


def test_pairs_side_by_side_as_sidd_has_them(tmp_path):
    for seed, scene in enumerate(("0001", "0002")):
        (tmp_path / scene).mkdir()
        for kind, pixels in zip(("NOISY", "GT"), pair(seed), strict=True):
            Image.fromarray(pixels).save(tmp_path / scene / f"{kind}_SRGB_010.PNG")
    result = evaluate(identity, RULES, tmp_path)
    assert [row.picture for row in result.rows] == ["0001/NOISY_SRGB_010.PNG", "0002/NOISY_SRGB_010.PNG"]
    assert result.mean("psnr") == pytest.approx(np.mean([psnr(*pair(seed), 255) for seed in range(2)]))


def test_the_names_of_changed_rules_say_what_changed(tmp_path):
    write_pairs(tmp_path, names=("a.png",))
    changed = RULES.changed(metrics="invdn-paddle-log", level=12.5)
    assert changed.name == "pairs/folder[metrics=invdn-paddle-log,level=12.5]"
    told = []
    evaluate(lambda noisy, sigma: told.append(sigma) or noisy, changed, tmp_path)
    assert told == [12.5 / 255]
    assert RULES.changed(metrics="8bit") is RULES


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": "invdm"}, "unknown metrics 'invdm': did you mean 'invdn'"),
        ({"level": 300}, "level is 300; expected a noise standard deviation in counts, 0 to 255"),
        ({"repeats": 2}, "the noise of 'pairs/folder' is real, there is none to draw; leave --repeats out"),
        ({"seed": 1}, "leave --seed out"),
        ({"padding": "32"}, "'pairs/folder' has no padding to change; leave --padding out"),
    ],
)
def test_what_cannot_be_changed(options, words):
    with pytest.raises(RecipeError, match=words):
        RULES.changed(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": "invdn"}, "the metrics of 'folder/gaussian25' are fixed; leave --metrics out"),
        ({"level": 5}, "'folder/gaussian25' says itself what is told about the noise; leave --level out"),
    ],
)
def test_protocols_with_simulated_noise_have_other_options(options, words):
    with pytest.raises(RecipeError, match=words):
        get_protocol("folder").changed(**options)


def test_deep_pictures_keep_their_depth(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("noisy", "clean"):
        (tmp_path / name).mkdir()
        Image.fromarray(rng.integers(0, 65536, (20, 20), np.uint16)).save(tmp_path / name / "a.png")
    seen = []
    result = evaluate(lambda noisy, told: seen.append(noisy) or noisy, RULES, tmp_path, channels=1)
    expected = np.asarray(Image.open(tmp_path / "noisy" / "a.png")) / np.float32(65535)
    np.testing.assert_allclose(seen[0][0], expected, atol=1e-7)
    assert result.warnings == ()
    assert evaluate(identity, RULES, tmp_path).warnings == ("1 of 1 pictures were converted to RGB first",)


def test_pictures_without_partners_are_refused(tmp_path):
    write_pairs(tmp_path)
    (tmp_path / "clean" / "sub" / "b.png").unlink()
    words = r"'noisy/sub/b.png' has no partner of the same name in clean/; add it or remove the picture"
    with pytest.raises(StoreError, match=words):
        evaluate(identity, RULES, tmp_path)
    (tmp_path / "clean" / "sub").rmdir()
    (tmp_path / "clean").rename(tmp_path / "truth")
    with pytest.raises(StoreError, match="no pairs of noisy and clean pictures here, only noisy/, truth/; expected"):
        evaluate(identity, RULES, tmp_path)
    with pytest.raises(StoreError, match="does not exist; expected a folder that holds 'noisy' and 'clean'"):
        evaluate(identity, RULES, tmp_path / "missing")
    with pytest.raises(StoreError, match=r"missing: holds no ValidationNoisyBlocksSrgb\.mat; expected it and"):
        evaluate(identity, get_protocol("sidd/srgb"), tmp_path / "missing")


def test_partners_of_different_size_fail_alone(tmp_path):
    write_pairs(tmp_path)
    Image.new("RGB", (5, 5)).save(tmp_path / "clean" / "a.png")
    result = evaluate(identity, RULES, tmp_path)
    assert result.pictures == 1
    assert "a.png: has shape (40, 36, 3), its clean partner (5, 5, 3); expected the same" in result.failed[0]


def blocks(images=2, per_image=3):
    pairs = [[pair(10 * i + b, (24, 24, 3)) for b in range(per_image)] for i in range(images)]
    return (np.array([[both[kind] for both in image] for image in pairs]) for kind in (0, 1))


@pytest.mark.parametrize("write", [write_mat5, write_mat73])
def test_sidd_as_downloaded(tmp_path, write):
    noisy, clean = blocks()
    write(tmp_path / "ValidationNoisyBlocksSrgb.mat", ValidationNoisyBlocksSrgb=noisy)
    write(tmp_path / "ValidationGtBlocksSrgb.mat", ValidationGtBlocksSrgb=clean)
    result = evaluate(identity, SIDD, tmp_path, save_pictures=tmp_path / "out")
    file = "ValidationNoisyBlocksSrgb.mat"
    assert [row.picture for row in result.rows] == [f"{file}/{i}_{b}" for i in (0, 1) for b in (0, 1, 2)]
    for row, one, other in zip(result.rows, noisy.reshape(6, 24, 24, 3), clean.reshape(6, 24, 24, 3), strict=True):
        assert row.psnr == pytest.approx(psnr(one, other, 255))
        assert row.ssim == pytest.approx(ssim(one, other, 255))
    assert result.warnings == (f"sidd has 1280 pictures, 6 are in {tmp_path}",)
    saved = np.asarray(Image.open(tmp_path / "out" / "noisy" / file / "1_2.png"))
    np.testing.assert_array_equal(saved, noisy[1, 2])


def test_sidd_as_a_folder_of_blocks(tmp_path):
    write_pairs(tmp_path, names=("0_0.PNG", "0_1.PNG"), noisy="Noisy", clean="GT")
    result = evaluate(identity, SIDD, tmp_path)
    assert result.mean("psnr") == pytest.approx(np.mean([psnr(*pair(seed), 255) for seed in (0, 1)]))


def test_sidd_files_that_do_not_fit(tmp_path):
    noisy, clean = blocks()
    with pytest.raises(StoreError, match=r"holds no ValidationNoisyBlocksSrgb.mat; expected it and"):
        SIDD.find(tmp_path)
    write_mat5(tmp_path / "ValidationNoisyBlocksSrgb.mat", ValidationNoisyBlocksSrgb=noisy)
    with pytest.raises(StoreError, match=r"ValidationGtBlocksSrgb.mat: does not exist; expected it beside"):
        SIDD.find(tmp_path)
    write_mat5(tmp_path / "ValidationGtBlocksSrgb.mat", ValidationGtBlocksSrgb=clean[:1])
    with pytest.raises(StoreError, match=r"holds blocks of shape \(2, 3, 24, 24, 3\), .* of \(1, 3, 24, 24, 3\)"):
        SIDD.find(tmp_path)


def test_who_can_be_measured():
    assert RULES.refusal("rgb", "sigma") is None
    assert RULES.refusal("gray", "none") is None
    assert "'pairs/folder' measures on pictures" in RULES.refusal("raw", "none")
    assert "'sidd/srgb' measures on colour pictures" in SIDD.refusal("gray", "none")


@pytest.mark.shared
def test_noisy_pictures_of_a_phone_score_what_is_known_of_them(shared):
    """Ten crops of one dim scene; the numbers come from an independent calculation."""
    folder = shared / "data" / "sidd_mini"
    if not folder.is_dir():
        pytest.skip("the pairs of SIDD are not here")
    trials = [RULES.trial(path, 3, RULES.generator()) for path in RULES.find(folder)[1]]
    pictures = [(trial.judged(trial.noisy), trial.clean) for trial in trials]
    on_luma = METRICS["invdn-paddle"]
    assert len(pictures) == 10
    assert np.mean([psnr(*both, 255) for both in pictures]) == pytest.approx(31.24, abs=0.005)
    assert np.mean([ssim(*both, 255) for both in pictures]) == pytest.approx(0.637, abs=0.0005)
    lumas = [[on_luma.structure(values / 255) for values in both] for both in pictures]
    assert np.mean([ssim(*both, 1) for both in lumas]) == pytest.approx(0.811, abs=0.0005)
