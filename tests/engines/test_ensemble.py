"""Poses and samples: their order, their mean, their spread, and mosaics that stay RGGB."""

import numpy as np
import pytest

import shotnoise.engines.ensemble as module
from shotnoise.card import Card
from shotnoise.engines import Ensemble
from shotnoise.engines.latent import draw_latent
from shotnoise.errors import ModelError, RecipeError
from shotnoise.images.raw.bayer import join, split


class FakeEngine:
    """An engine that is a function of (noisy, level, latent), and remembers what it was given."""

    def __init__(self, function=lambda noisy, level, latent: noisy, **card):
        self.card = Card(**{"name": "fake", "kind": "rgb", "channels": 3, **card})
        self.function, self.seen = function, []

    def run(self, noisy, level=None, latent=None):
        assert noisy.dtype == np.float32
        assert noisy.flags.c_contiguous
        self.seen.append((noisy, level, latent))
        return self.function(noisy, level, latent)

    def describe(self):
        return {"engine": "fake"}


SAMPLING = {"latent": {"channels": 3, "reduction": 2}, "multiple": 2}


def enlarged(noisy, level, latent):
    """Adds the values z, each to four pixels: turned as the picture is."""
    return noisy + latent.repeat(2, axis=2).repeat(2, axis=3)


def picture(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def lopsided(noisy, level=None, latent=None):
    """Depends on the pose: each pixel and part of its neighbour on the right and twice that below."""
    return noisy + 0.1 * np.roll(noisy, -1, axis=3) + 0.2 * np.roll(noisy, -1, axis=2)


def test_one_pass_is_the_engines_own():
    engine, noisy = FakeEngine(lopsided), picture(1, 3, 6, 8)
    clean, spread = Ensemble(engine).run(noisy)
    np.testing.assert_array_equal(clean, lopsided(noisy))
    assert spread is None
    assert engine.seen[0][2] is None


def test_the_order_of_the_poses_and_their_mean():
    engine, noisy = FakeEngine(lopsided), picture(2, 3, 6, 8)
    clean, spread = Ensemble(engine, "x8").run(noisy, np.full((2, 1, 1, 1), 0.1, np.float32))
    assert spread is None
    copies = [noisy]
    for turn in (lambda x: x[..., ::-1], lambda x: x[..., ::-1, :], lambda x: x.swapaxes(2, 3)):
        copies += [turn(copy) for copy in copies]
    for (seen, level, _), copy in zip(engine.seen, copies, strict=True):
        np.testing.assert_array_equal(seen, copy)
        assert level.shape == (2, 1, 1, 1)
    # In the frame of the picture: every pixel with part of each of its eight times two neighbours.
    rolled = sum(np.roll(noisy, step, axis) for axis in (2, 3) for step in (-1, 1))
    np.testing.assert_allclose(clean, noisy + rolled * (0.1 + 0.2) / 4, atol=1e-6)


def test_a_map_of_levels_turns_with_the_picture():
    engine, noisy = FakeEngine(lambda noisy, level, latent: noisy + level), picture(1, 3, 6, 8)
    level = picture(1, 3, 6, 8, seed=1)
    np.testing.assert_allclose(Ensemble(engine, "x8").run(noisy, level)[0], noisy + level, atol=1e-6)


def test_every_pose_and_sample_has_values_of_its_own_that_belong_to_places():
    engine, noisy = FakeEngine(enlarged, **SAMPLING), np.zeros((1, 3, 12, 8), np.float32)
    ensemble = Ensemble(engine, "x8", samples=2, seed=5)
    clean, _ = ensemble.run(noisy, origin=(4, 6))
    draws = [draw_latent(engine.card, noisy.shape, seed=5, draw=draw, origin=(4, 6)) for draw in range(16)]
    expected = np.mean([enlarged(noisy, None, draw) for draw in draws], axis=0)
    np.testing.assert_allclose(clean, expected, atol=1e-6)
    assert len({latent.tobytes() for _, _, latent in engine.seen}) == 16
    assert engine.seen[-1][2].shape == (1, 3, 4, 6)  # the last pose is a transposed one


def test_the_spread_is_the_standard_deviation_of_the_samples():
    engine, noisy = FakeEngine(enlarged, **SAMPLING), picture(1, 3, 12, 8)
    clean, spread = Ensemble(engine, samples=7).run(noisy)
    results = [enlarged(noisy, None, draw_latent(engine.card, noisy.shape, draw=draw)) for draw in range(7)]
    np.testing.assert_allclose(clean, np.mean(results, axis=0), atol=1e-5)
    np.testing.assert_allclose(spread, np.std(results, axis=0, ddof=1), atol=1e-5)


def test_what_the_poses_differ_in_is_no_spread():
    calls = []

    def changes_with_the_pose(noisy, level, latent):
        calls.append(len(calls) // 3)  # all samples of a pose follow each other
        return enlarged(noisy, level, latent) + np.float32(100 * calls[-1])

    engine, noisy = FakeEngine(changes_with_the_pose, **SAMPLING), picture(1, 3, 12, 8)
    _, spread = Ensemble(engine, "x8", samples=3).run(noisy)
    by_pose = [
        np.var(
            [enlarged(noisy, None, draw_latent(engine.card, noisy.shape, draw=8 * s + p)) for s in range(3)], 0, ddof=1
        )
        for p in range(8)
    ]
    np.testing.assert_allclose(spread, np.sqrt(np.mean(by_pose, axis=0)), atol=1e-3)


def test_values_are_taken_of_each_pass():
    engine, noisy = FakeEngine(enlarged, **SAMPLING), picture(1, 3, 4, 4)
    clean, spread = Ensemble(engine, samples=3).run(noisy, values=lambda clean: clean[0] ** 2)
    results = [enlarged(noisy, None, draw_latent(engine.card, noisy.shape, draw=draw))[0] ** 2 for draw in range(3)]
    np.testing.assert_allclose(clean, np.mean(results, axis=0), atol=1e-5)
    np.testing.assert_allclose(spread, np.std(results, axis=0, ddof=1), atol=1e-5)


@pytest.mark.shared
def test_eight_poses_of_invdn_against_the_original(shared, monkeypatch):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from shotnoise.networks import create
    from shotnoise.networks.invdn import InvDN

    golden = load_file(shared / "golden" / "invdn_small.safetensors")
    state = {key.removeprefix("state/"): value for key, value in golden.items() if key.startswith("state/")}
    network = create("invdn", **InvDN.arguments_from(state)).eval()
    network.load_state_dict(state)

    @torch.no_grad()
    def function(noisy, level, latent):
        return network(torch.from_numpy(noisy), None, torch.from_numpy(np.ascontiguousarray(latent))).numpy()

    # The original draws in the frame of the turned copy; ours are turned with the picture.
    values = golden["input_x8_z"].numpy()
    monkeypatch.setattr(
        module, "draw_latent", lambda card, shape, *, seed, draw, origin: module._turned_back(values[draw], draw)
    )
    engine = FakeEngine(function, multiple=4, latent={"channels": 45, "reduction": 4})
    clean, _ = Ensemble(engine, "x8").run(golden["input_x8"].numpy())
    expected = golden["output_x8"].numpy()
    np.testing.assert_allclose(clean, expected, atol=1e-5 * np.abs(expected).max())


RAW = {"kind": "raw", "channels": 4}


@pytest.mark.parametrize("multiple", [1, 4])
def test_a_mosaic_is_rggb_in_every_pose_and_comes_back(multiple):
    colours = np.array([1, 2, 2, 3], np.float32)[:, None, None]  # R, G, G, B

    def check(noisy, level, latent):
        np.testing.assert_array_equal(noisy // 10, np.broadcast_to(colours, noisy.shape[1:])[None])
        assert all(side % multiple == 0 for side in noisy.shape[2:])
        return noisy

    noisy = (10 * colours + 9 * picture(4, 8, 12))[None]
    engine = FakeEngine(check, **RAW, multiple=multiple, halo=3)
    ensemble = Ensemble(engine, "x8")
    clean, _ = ensemble.run(noisy, noisy)
    np.testing.assert_allclose(clean, noisy, rtol=1e-6)
    assert len(engine.seen) == 8
    assert len({seen.tobytes() for seen, _, _ in engine.seen}) == 8
    for seen, level, _ in engine.seen:
        np.testing.assert_array_equal(level, seen)
    assert ensemble.halo == 4
    assert Ensemble(engine).halo == 3


def test_a_mirrored_mosaic_is_seen_one_sample_further():
    """The mean over both directions, against the same done by hand on the mosaic."""
    mosaic = picture(24, 32)
    engine = FakeEngine(lopsided, **RAW, halo=1)
    clean, _ = Ensemble(engine, "x8").run(split(mosaic, "RGGB")[None])
    shown = []
    for turn in range(8):
        turned = mosaic
        turned = turned[:, ::-1] if turn & 1 else turned
        turned = turned[::-1] if turn & 2 else turned
        turned = turned.T if turn & 4 else turned
        # Each sample takes part of the next but one in its row and column, which has its colour.
        result = turned + 0.1 * np.roll(turned, -2, axis=1) + 0.2 * np.roll(turned, -2, axis=0)
        result = result.T if turn & 4 else result
        result = result[::-1] if turn & 2 else result
        shown.append(result[:, ::-1] if turn & 1 else result)
    inside = slice(4, -4)
    np.testing.assert_allclose(
        join(clean[0], "RGGB")[inside, inside], np.mean(shown, axis=0)[inside, inside], atol=1e-6
    )


def test_values_go_along_with_a_mosaic():
    def with_detail(noisy, level, latent):
        return noisy + latent.repeat(2, axis=2).repeat(2, axis=3)

    engine = FakeEngine(with_detail, **RAW, multiple=2, latent={"channels": 4, "reduction": 2}, halo=0)
    ensemble = Ensemble(engine, "x8", samples=2)
    whole, spread = ensemble.run(np.zeros((1, 4, 16, 20), np.float32))
    # A window with context gives the same: the values depend on the place in every pose.
    part, part_spread = ensemble.run(np.zeros((1, 4, 8, 12), np.float32), origin=(4, 6))
    keep = slice(2, -2)
    np.testing.assert_allclose(part[:, :, keep, keep], whole[:, :, 6:10, 8:16], atol=1e-6)
    np.testing.assert_allclose(part_spread[:, :, keep, keep], spread[:, :, 6:10, 8:16], atol=1e-6)


def test_what_it_says():
    assert Ensemble(FakeEngine()).describe() == {"engine": "fake", "ensemble": "none", "samples": 1, "seed": None}
    said = Ensemble(FakeEngine(**SAMPLING), "x8", 4).describe()
    assert said == {"engine": "fake", "ensemble": "x8", "samples": 4, "seed": 0}


def test_what_makes_no_sense():
    with pytest.raises(ModelError, match=r"'fake' draws nothing at random, so 4 samples would all be the same; leave"):
        Ensemble(FakeEngine(), samples=4)
    with pytest.raises(ModelError, match=r"so the seed 3 would change nothing; leave it out"):
        Ensemble(FakeEngine(), seed=3)
    with pytest.raises(RecipeError, match="samples is 0; expected at least 1"):
        Ensemble(FakeEngine(), samples=0)
    with pytest.raises(RecipeError, match="unknown ensemble 'x9': Known: none, x8"):
        Ensemble(FakeEngine(), "x9")
    with pytest.raises(
        ModelError, match="is fixed to 32x48, and four of the eight poses are 48x32; export it with a free"
    ):
        Ensemble(FakeEngine(size=(32, 48)), "x8")
    Ensemble(FakeEngine(size=(32, 32)), "x8")
    with pytest.raises(ModelError, match="a mirrored mosaic needs more to be RGGB again; export it with a free size"):
        Ensemble(FakeEngine(size=(32, 32), **RAW), "x8")
    with pytest.raises(RecipeError, match="seed is -1; expected a whole number from 0"):
        Ensemble(FakeEngine(**SAMPLING), seed=-1)
