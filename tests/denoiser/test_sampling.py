"""Models that draw random numbers, and ensembles: the same from every engine and cut, and what they are unsure of."""

import itertools

import numpy as np
import pytest

import shotnoise.runner as runner
from shotnoise import Denoiser, RawDenoiser
from shotnoise.engines import open_engine
from shotnoise.engines.latent import draw_latent
from shotnoise.errors import ModelError
from shotnoise.images import Image
from shotnoise.images.raw import RawFrame
from shotnoise.sensor.law import NoiseLaw
from tiny_models import write_model

LAW = NoiseLaw((1e-3,) * 4, (1e-5,) * 4, "the test")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "rgb": write_model(folder / "rgb.onnx", latent=(5, 4)),
        "gray": write_model(folder / "gray.onnx", channels=1, latent=(2, 2), level="sigma"),
        "raw": write_model(folder / "raw.onnx", channels=4, latent=(3, 2), level="sigma"),
        "plain": write_model(folder / "plain.onnx"),
        "raw-plain": write_model(folder / "raw-plain.onnx", channels=4, level="sigma", shape="strided"),
    }


def picture(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def frame(height=90, width=110, pattern="RGGB", seed=0):
    mosaic = np.random.default_rng(seed).integers(300, 3000, (height, width), dtype=np.uint16)
    return RawFrame(mosaic, pattern, (256.0,) * 4, 4095.0)


@pytest.mark.parametrize("options", [{}, {"ensemble": "x8"}, {"samples": 3}, {"ensemble": "x8", "samples": 2}])
@pytest.mark.parametrize(("name", "shape"), [("rgb", (75, 110, 3)), ("gray", (75, 110)), ("gray", (40, 51, 3))])
def test_tiles_do_not_show(models, name, shape, options):
    level = {} if name == "rgb" else {"level": 30}
    image = Image.from_array(picture(*shape))
    whole, tiled = (Denoiser(models[name], tile=tile, **level, **options).run(image) for tile in (None, 20))
    assert (whole.tiles["tiles"], tiled.tiles["tiles"] > 8) == (1, True)
    np.testing.assert_allclose(tiled.image.pixels, whole.image.pixels, atol=1e-5)
    if "samples" not in options:
        assert whole.uncertainty is None
        return
    assert whole.uncertainty.shape == shape
    assert whole.uncertainty.dtype == np.float32
    assert whole.uncertainty.min() > 0
    np.testing.assert_allclose(tiled.uncertainty, whole.uncertainty, atol=1e-5)


@pytest.mark.parametrize("name", ["raw", "raw-plain"])
@pytest.mark.parametrize("pattern", ["RGGB", "GBRG", "BGGR"])
def test_tiles_do_not_show_in_raw(models, name, pattern):
    options = {"samples": 2} if name == "raw" else {}
    given = frame(pattern=pattern)
    whole, tiled = (
        RawDenoiser(models[name], profile=LAW, ensemble="x8", tile=tile, **options).run(given) for tile in (None, 20)
    )
    assert tiled.tiles["tiles"] > 10
    assert np.abs(whole.frame.mosaic.astype(int) - tiled.frame.mosaic).max() <= 1
    assert (whole.frame.mosaic != given.mosaic).mean() > 0.5
    if options:
        assert whole.uncertainty.shape == given.mosaic.shape
        np.testing.assert_allclose(tiled.uncertainty, whole.uncertainty, atol=1e-5)


def test_the_seed_and_nothing_else_decides(models):
    noisy = picture(30, 40, 3)
    first, again, zero, other = (Denoiser(models["rgb"], seed=seed)(noisy) for seed in (None, None, 0, 1))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, zero)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_engines_take_the_random_values(models, name):
    engine = open_engine(models["rgb"], name)
    noisy = picture(2, 3, 8, 12)
    values = draw_latent(engine.card, noisy.shape)
    zeros = engine.run(noisy, None, np.zeros_like(values))
    np.testing.assert_allclose(zeros, open_engine(models["plain"]).run(noisy), atol=1e-5)  # the same but for z
    assert np.abs(engine.run(noisy, None, values) - zeros).max() > 0.1
    with pytest.raises(ModelError, match="the model takes random values z as input; its card says latent 5 channels"):
        engine.run(noisy)
    with pytest.raises(ModelError, match="the model takes no random values z as input; its card says latent none"):
        open_engine(models["plain"], name).run(noisy, None, values)


def test_the_uncertainty_is_that_of_what_is_given_out(models):
    noisy = picture(24, 30, 3)
    image = Image.from_array(noisy)
    half = Denoiser(models["rgb"], samples=5, strength=0.5).run(image)
    np.testing.assert_allclose(
        half.uncertainty, 0.5 * Denoiser(models["rgb"], samples=5).run(image).uncertainty, rtol=1e-5
    )
    # The first draws are those of fewer samples, and so the spread is what it is by hand.
    means = [Denoiser(models["rgb"], samples=count).run(image).image.pixels for count in range(1, 6)]
    draws = [
        means[0],
        *(n * after - (n - 1) * before for n, (before, after) in enumerate(itertools.pairwise(means), 2)),
    ]
    np.testing.assert_allclose(half.uncertainty, 0.5 * np.std(draws, axis=0, ddof=1), atol=1e-4)
    untouched = Denoiser(models["rgb"], samples=5, strength=0).run(image)
    assert not untouched.uncertainty.any()


def test_values_that_are_not_finite_have_no_spread(models):
    noisy = picture(24, 30, 3)
    noisy[5, 6] = np.nan
    result = Denoiser(models["rgb"], samples=2).run(Image(noisy))
    assert np.isfinite(result.uncertainty).all()
    assert not result.uncertainty[5, 6].any()


def test_a_raw_model_is_told_more_when_more_is_wanted(models):
    """The level of a strength above 1 is higher; that of one below is mixed."""
    given = frame()
    once, twice = (RawDenoiser(models["raw-plain"], profile=LAW, strength=s)(given).mosaic.astype(int) for s in (1, 2))
    np.testing.assert_allclose(twice - given.mosaic, 2 * (once - given.mosaic), atol=1.01)  # this model multiplies


def test_less_memory_means_smaller_tiles_and_the_same_values(models, monkeypatch):
    monkeypatch.setattr(runner, "DEFAULT_BUDGET", 900)
    noisy = picture(64, 80, 3)
    tiled = Denoiser(models["rgb"])(noisy)
    monkeypatch.undo()
    np.testing.assert_allclose(tiled, Denoiser(models["rgb"])(noisy), atol=1e-5)


def test_what_runs_is_said(models):
    assert (
        Denoiser(models["rgb"], ensemble="x8", samples=4, seed=3).describe().items()
        >= {
            "engine": "onnxruntime",
            "ensemble": "x8",
            "samples": 4,
            "seed": 3,
        }.items()
    )
    assert RawDenoiser(models["raw-plain"]).describe()["seed"] is None


def test_the_networks_that_are_told_the_noise_of_every_value(tmp_path):
    torch = pytest.importorskip("torch")
    from shotnoise.networks import create
    from shotnoise.networks.card import bare_card
    from shotnoise.networks.checkpoint import save_checkpoint

    torch.manual_seed(0)
    network = create("cycleisp-denoiser", n_feats=8, num_rrg=1, num_dab=1, reduction=1).eval()
    save_checkpoint(tmp_path / "net.safetensors", network, bare_card(network, "net"))
    given = frame(24, 30)
    denoiser = RawDenoiser(tmp_path / "net.safetensors", profile=LAW)
    clean = denoiser(given).mosaic
    x = torch.from_numpy(given.mosaic.astype(np.float32).reshape(12, 2, 15, 2).transpose(1, 3, 0, 2)).reshape(
        1, 4, 12, 15
    )
    x = (x - 256) / (4095 - 256)
    with torch.no_grad():
        y = network(x, (1e-3 * x + 1e-5).clamp_min(0).sqrt())
    expected = np.clip(np.floor(256.5 + (4095 - 256) * y.numpy()), 0, 4095).reshape(2, 2, 12, 15).transpose(2, 0, 3, 1)
    assert np.abs(clean.astype(int) - expected.reshape(24, 30)).max() <= 1
    with pytest.raises(ModelError, match="takes no random values z"):
        denoiser.engine.run(np.zeros((1, 4, 8, 8), np.float32), np.zeros((1, 4, 8, 8), np.float32), np.zeros(1))
