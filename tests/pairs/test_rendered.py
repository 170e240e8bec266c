import json
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from shotnoise.errors import RecipeError
from shotnoise.isp import ClassicalISP
from shotnoise.noise import NOISE
from shotnoise.pairs import PAIRS, collate
from shotnoise.pairs.camera_pairs import CameraPairs, InventedCameras, ScenePair
from shotnoise.pairs.rendered import RenderedPictures
from shotnoise.synthesis import Synthesizer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sensor(**options):
    return NOISE.create("poisson-gaussian", {"k": 0.01, "electrons": 2.0, **options})


def pictures(count=2, side=80):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (3, side, side + 10), np.uint8) for _ in range(count)]


def test_rendered_is_the_chain_on_a_crop():
    source = RenderedPictures(pictures=pictures(1, 32), noise=sensor(), crop=32, augment=False)
    sample = source.draw(seeded(3))
    generator = seeded(3)
    crop = source._crops.draw(generator)[None]
    made = Synthesizer(ClassicalISP(), source.synthesizer.noise).srgb(crop, generator)
    assert torch.equal(sample.noisy, made.noisy[0])
    assert torch.equal(sample.target, crop[0])
    assert torch.equal(sample.clean, sample.target)
    assert sample.level is None


def test_rendered_samples_repeat_and_collate():
    source = RenderedPictures(pictures=pictures(), noise=sensor(), crop=24, jpeg=[60, 90], smooth=True, resize=0.5)
    first, again, other = (source.draw(seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.noisy, again.noisy)
    assert not torch.equal(first.noisy, other.noisy)
    batch = collate([first, other])
    assert batch["noisy"].shape == batch["target"].shape == (2, 3, 24, 24)


def test_scaling_makes_noise_coarse_or_fine():
    flat = [np.full((3, 300, 300), 120, np.uint8)]

    def neighbours(**options):
        sample = RenderedPictures(pictures=flat, noise=sensor(k=0.001), crop=96, **options).draw(seeded())
        assert sample.noisy.shape == (3, 96, 96)
        noise = (sample.noisy - sample.target)[1]
        return float((noise[:, 1:] * noise[:, :-1]).mean() / noise.square().mean())

    assert neighbours(rescale=0.4) < neighbours() - 0.05
    assert neighbours(rescale=2) > neighbours() + 0.1
    ranged = RenderedPictures(pictures=pictures(), noise=sensor(), crop=24, rescale=[0.5, 2])
    assert {tuple(ranged.draw(seeded(seed)).noisy.shape) for seed in range(9)} == {(3, 24, 24)}


def test_rendered_raw_knows_its_noise():
    source = PAIRS.create("rendered", {"crop": 20, "domain": "raw"}, pictures=pictures(), noise=sensor())
    sample = source.draw(seeded())
    assert sample.noisy.shape == sample.target.shape == sample.level.shape == (4, 20, 20)
    k, s2 = sample.law
    torch.testing.assert_close(sample.level.square(), k * sample.noisy + s2)
    assert 0 <= float(sample.noisy.min()) < float(sample.noisy.max()) <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"domain": "rgb"}, "pairs.domain is 'rgb'; expected srgb or raw"),
        ({"domain": "raw", "jpeg": 90}, "are about developed pictures; leave them out of domain: raw"),
        ({"crop": 200}, "none of the 2 training pictures is at least 200 x 200"),
    ],
)
def test_rendered_mistakes(options, words):
    with pytest.raises(RecipeError, match=words):
        RenderedPictures(pictures=pictures(), noise=sensor(), **options)


def test_rendered_needs_noise():
    with pytest.raises(RecipeError, match="rendered pictures need a sensor's noise"):
        RenderedPictures(pictures=pictures(), noise=None)


def test_an_invented_camera_saw_the_crop():
    source = InventedCameras(pictures=pictures(), noise=None, crop=32)
    sample = source.draw(seeded())
    generator = seeded()
    rgb = source._crops.draw(generator)
    raw, _ = ClassicalISP().to_raw(rgb[None], generator)
    assert torch.equal(sample.noisy, rgb)
    assert torch.equal(sample.target, raw[0])
    assert sample.clean is None, "a training of cameras is judged by its loss"


def scene(height=24, width=30, pattern="RGGB"):
    """A mosaic that says where it was taken: R = x, Gr = Gb = y, B = x + y of a picture that says the same."""
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:height, :width])
    rgb = np.stack((x, y, x + y), axis=2) / 64
    colours = np.tile(np.array(["RGB".index(letter) for letter in pattern]).reshape(2, 2), (height // 2, width // 2))
    return np.take_along_axis(rgb, colours[..., None], 2), rgb.astype(np.float16)


@pytest.mark.parametrize("pattern", ["RGGB", "GRBG", "GBRG", "BGGR"])
@pytest.mark.parametrize("augment", [False, True])
def test_real_pairs_stay_together(tmp_path, pattern, augment):
    raw, rgb = scene(pattern=pattern)
    for folder, array in (("raw", raw), ("rgb", rgb)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a1.npy", array)
    (tmp_path / "patterns.json").write_text(json.dumps({"a1": pattern}))
    found = CameraPairs.open(tmp_path)
    assert list(found) == ["a1"]
    source = CameraPairs(pictures=list(found.values()), noise=None, crop=12, augment=augment)
    for seed in range(20):
        sample = source.draw(seeded(seed))
        assert sample.noisy.shape == (3, 12, 12)
        expected = F.pixel_unshuffle(sample.noisy, 2)[[0, 5, 6, 11]]  # what an RGGB sensor keeps of the picture
        torch.testing.assert_close(sample.target, expected, atol=1e-3, rtol=0)
    assert source.largest_crop((16, 12, 15), {}) == 22


def test_pairs_in_one_file_and_patterns_of_the_published_code(tmp_path):
    raw, rgb = scene(pattern="BGGR")
    np.savez(tmp_path / "a1.npz", raw=raw[..., 0], rgb=(255 * rgb / 2).astype(np.uint8), pattern="BGGR")
    pair = CameraPairs.open(tmp_path)["a1"]
    assert pair.shape == (16, 11, 14)
    window = pair[:, slice(1, 3), slice(2, 5)]
    np.testing.assert_allclose(window[0], raw[3:7:2, 5:11:2, 0])
    np.testing.assert_allclose(window[4], (255 * rgb[3:7:2, 5:11:2, 0] / 2).astype(np.uint8) / np.float32(255))
    (tmp_path / "a1.npz").unlink()
    for folder, array in (("RAW_npy", raw), ("RGB_npy", rgb)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a1.npy", array)
    (tmp_path / "fivek_bayer.pkl").write_bytes(pickle.dumps({"a1": "BGGR"}))
    assert CameraPairs.open(tmp_path)["a1"].shape == (16, 11, 14)


class Evil:
    def __reduce__(self):
        return print, ("never",)


def test_broken_pairs_end_with_one_line(tmp_path, capsys):
    raw, rgb = scene()
    with pytest.raises(
        RecipeError, match=r"holds no pairs of RAW and picture; expected raw/NAME.npy with rgb/NAME.npy"
    ):
        CameraPairs.open(tmp_path)
    for folder in ("raw", "rgb"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "raw" / "a1.npy", raw)
    with pytest.raises(RecipeError, match=r"has no picture beside it; expected .*rgb.a1.npy"):
        CameraPairs.open(tmp_path)
    np.save(tmp_path / "rgb" / "a1.npy", rgb[:-2])
    with pytest.raises(RecipeError, match="RAW of 24x30 beside a picture of 22x30x3; expected"):
        CameraPairs.open(tmp_path)
    np.save(tmp_path / "rgb" / "a1.npy", (60000 * rgb.astype(np.float32)).astype(np.uint16))
    with pytest.raises(
        RecipeError, match=r"RAW of float32 beside a picture of uint16; expected floating point where 1"
    ):
        CameraPairs.open(tmp_path)
    np.save(tmp_path / "rgb" / "a1.npy", np.array([Evil()]), allow_pickle=True)
    with pytest.raises(RecipeError, match="cannot be read as numbers of numpy"):
        CameraPairs.open(tmp_path)
    np.save(tmp_path / "rgb" / "a1.npy", rgb)
    (tmp_path / "fivek_bayer.pkl").write_bytes(pickle.dumps({"a1": Evil()}))
    with pytest.raises(RecipeError, match=r"fivek_bayer.pkl: cannot be read \(it asks for builtins.print\)"):
        CameraPairs.open(tmp_path)
    assert "never" not in capsys.readouterr().out
    (tmp_path / "patterns.json").write_text('{"a1": 3}')
    with pytest.raises(RecipeError, match="expected names with their patterns"):
        CameraPairs.open(tmp_path)
    (tmp_path / "patterns.json").write_text('{"a1": "RGBG"}')
    with pytest.raises(RecipeError, match=r"a1.npy: its pattern is 'RGBG'; expected one of RGGB"):
        CameraPairs.open(tmp_path)


@pytest.mark.parametrize("kind", [CameraPairs, InventedCameras])
def test_cameras_are_learned_without_noise(kind):
    raw, rgb = scene()
    held = [ScenePair(raw, rgb, "RGGB")] if kind is CameraPairs else pictures()
    with pytest.raises(RecipeError, match="a camera is learned from pairs without noise; set noise: null"):
        kind(pictures=held, noise=sensor())
    with pytest.raises(RecipeError, match=r"pairs.crop is 13; expected an even side"):
        kind(pictures=held, noise=None, crop=13)
