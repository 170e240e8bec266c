import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.images.raw.bayer import join, split
from shotnoise.networks import create
from shotnoise.noise import NOISE
from shotnoise.pairs import PAIRS, collate
from shotnoise.pairs.raw import RawPlanes, UnprocessedPictures, turned
from small_networks import SMALL

ROOT = {"gain": 0.0625, "offset": 0.0, "root": True}


def poisson_gaussian(**options):
    return NOISE.create("poisson-gaussian", {"k": 1e-3, "electrons": 3.0, **options})


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def colours(side, values=(0.2, 0.4, 0.6, 0.8)):
    return np.repeat(np.float32(values), side * side).reshape(4, side, side)


def test_turning_keeps_every_colour_in_its_plane():
    planes = torch.from_numpy(colours(9))
    for seed in range(40):
        found = turned(planes, seeded(seed))
        assert found.shape == (4, 8, 8)
        # transposing exchanges the two greens, never red and blue
        assert found[0].unique().tolist() == pytest.approx([0.2])
        assert found[3].unique().tolist() == pytest.approx([0.8])
        assert sorted(found[1:3].mean((1, 2)).tolist()) == pytest.approx([0.4, 0.6])


def test_turning_is_what_a_camera_held_otherwise_would_have_recorded():
    mosaic = np.random.default_rng(0).random((18, 18), dtype=np.float32)
    planes = torch.from_numpy(split(mosaic, "RGGB"))
    seen = {turned(planes, seeded(seed)).numpy().tobytes() for seed in range(200)}
    expected = set()
    for rows in (mosaic[:-2], mosaic[::-1][1:-1]):
        for part in (rows[:, :-2], rows[:, ::-1][:, 1:-1]):
            expected |= {split(part, "RGGB").tobytes(), split(part.T, "RGGB").tobytes()}
    assert seen == expected
    assert len(expected) == 8


def test_behind_the_transform_every_noise_has_the_same_strength():
    pictures = [colours(64)]
    for k, electrons in ((3e-5, 10.0), (1e-3, 3.0), (1e-2, 1.0)):
        source = RawPlanes(pictures=pictures, noise=poisson_gaussian(k=k, electrons=electrons), crop=60, k_sigma=ROOT)
        sample = source.draw(seeded(1))
        deviation = (sample.noisy - sample.target).std(dim=(1, 2)) / ROOT["gain"]
        assert deviation.numpy() == pytest.approx(1, abs=0.06), (k, electrons)


@pytest.mark.parametrize("k_sigma", [None, ROOT, {"gain": 2.0, "offset": -0.5, "root": False}])
def test_what_a_perfect_network_gives_is_the_truth(k_sigma):
    source = RawPlanes(pictures=[colours(32)], noise=poisson_gaussian(), crop=16, k_sigma=k_sigma, jitter=0.2)
    batch = collate([source.draw(seeded(seed)) for seed in range(3)])
    assert batch["law"].shape == (3, 2, 4, 1, 1)
    assert torch.allclose(source.to_unit(batch["target"], batch), batch["clean"], atol=2e-5)


def test_jitter_changes_what_is_told_and_not_the_noise():
    options = {"pictures": [colours(32)], "noise": poisson_gaussian(), "crop": 16}
    exact, wrong = (RawPlanes(**options, jitter=jitter) for jitter in (0.0, 0.3))
    told = torch.stack([wrong.draw(seeded(seed)).law for seed in range(400)])
    assert torch.equal(exact.draw(seeded(5)).noisy, wrong.draw(seeded(5)).noisy)
    logarithms = (told[:, :, 0, 0, 0] / exact.draw(seeded(0)).law[:, 0, 0, 0]).log()
    assert logarithms.std(0).numpy() == pytest.approx(0.3, rel=0.15)
    assert logarithms.mean(0).numpy() == pytest.approx(0, abs=0.05)


def test_quiet_samples_have_less_noise_than_they_say():
    options = {"pictures": [colours(64)], "noise": poisson_gaussian(), "crop": 60}
    strength = [
        float((sample.noisy - sample.clean).std())
        for sample in (RawPlanes(**options, quiet=1.0).draw(seeded(seed)) for seed in range(40))
    ]
    usual = RawPlanes(**options).draw(seeded(0))
    usual = float((usual.noisy - usual.clean).std())
    assert max(strength) < 1.05 * usual
    assert np.mean(strength) == pytest.approx(usual / 2, rel=0.25)


def test_exposure_darkens():
    source = RawPlanes(pictures=[colours(16)], noise=poisson_gaussian(), crop=8, exposure=(0.1, 1), augment=False)
    factors = np.array([float(source.draw(seeded(seed)).clean[0, 0, 0]) / 0.2 for seed in range(300)])
    assert 0.1 <= factors.min() < 0.13
    assert 0.9 < factors.max() <= 1
    assert np.median(factors) == pytest.approx(0.316, rel=0.15)


def test_from_display_pictures():
    picture = np.random.default_rng(0).integers(0, 256, (3, 48, 64), dtype=np.uint8)
    source = UnprocessedPictures(pictures=[picture], noise=poisson_gaussian(), crop=16, k_sigma=ROOT)
    sample = source.draw(seeded())
    assert sample.noisy.shape == sample.clean.shape == (4, 16, 16)
    assert torch.equal(sample.noisy, source.draw(seeded()).noisy)
    assert 0 <= sample.clean.min() < sample.clean.max() <= 1
    assert PAIRS.resolve("unprocessed").picture_channels == 3
    assert PAIRS.resolve("raw").picture_channels is None


@pytest.mark.parametrize("levels", ["brooks", "dnd", "sidd"])
@pytest.mark.parametrize("clipped", [False, True])
def test_what_the_published_denoisers_are_told(levels, clipped):
    """The deviation of every value by the law of the sample, seen from the noisy side."""
    ends = {"saturate": True, "pedestal": 0} if clipped else {}
    noise = NOISE.create("poisson-gaussian", {"levels": levels, "shot": "gaussian", **ends})
    picture = np.random.default_rng(0).integers(0, 256, (3, 48, 64), dtype=np.uint8)
    source = UnprocessedPictures(pictures=[picture], noise=noise, crop=16)
    batch = collate([source.draw(seeded(seed)) for seed in range(3)])
    assert batch["level"].shape == batch["noisy"].shape == (3, 4, 16, 16)
    k, s2 = batch["law"].unbind(1)
    torch.testing.assert_close(batch["level"].square(), (k * batch["noisy"] + s2).clamp_min(0))
    if clipped:
        assert 0 <= batch["noisy"].min() <= batch["noisy"].max() <= 1
    for name in ("cycleisp-denoiser", "unprocessing-denoiser"):
        network = create(name, **SMALL[name])
        result = network(batch["noisy"], batch["level"])
        assert result.shape == batch["target"].shape


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise": NOISE.create("gaussian", {"sigma": 25})}, "need a noise model with a camera's law"),
        ({"k_sigma": {"gian": 1}}, "expected gain, offset and root"),
        ({"quiet": 1.5}, "quiet is 1.5; expected a share"),
        ({"jitter": -1}, "jitter is -1"),
        ({"exposure": 0}, "exposure is 0; expected a number > 0"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(RecipeError, match=words):
        RawPlanes(**{"pictures": [colours(16)], "noise": poisson_gaussian(), "crop": 8} | options)


def test_the_level_goes_with_what_the_network_sees():
    def draw(k_sigma):
        return RawPlanes(pictures=[colours(64)], noise=poisson_gaussian(), crop=63, k_sigma=k_sigma).draw(seeded())

    plain, root = draw(None), draw(ROOT)
    k, s2 = plain.law
    assert torch.equal(plain.level, (k * plain.noisy + s2).clamp_min(0).sqrt())
    error = plain.noisy - plain.clean
    assert (error / plain.level).std() == pytest.approx(1, rel=0.03)
    assert root.level.shape == (1, 1, 1)
    assert float(root.level) == ROOT["gain"]


def test_a_mosaic_and_its_planes_agree_with_torch():
    mosaic = np.arange(36, dtype=np.float32).reshape(6, 6)
    planes = split(mosaic, "RGGB")
    assert np.array_equal(torch.nn.functional.pixel_shuffle(torch.from_numpy(planes), 2)[0].numpy(), mosaic)
    assert np.array_equal(join(planes, "RGGB"), mosaic)
