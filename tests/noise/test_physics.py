"""Moments, structure and parameter laws of the physics model."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shotnoise.errors import RecipeError
from shotnoise.noise import NOISE
from shotnoise.noise.cameras import CAMERAS
from shotnoise.noise.physics import Physics
from shotnoise.noise.shot import in_rows, quantise, shot
from shotnoise.sensor.profile import Camera, Entry, NoiseProfile

OWN = {"counts": 4000, "gain": 2.0, "read": 3.0, "row": 2.0, "shape": 0.05}
PLANES = ("R", "Gr", "Gb", "B")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def flat(levels, count=4, height=128, width=96):
    return torch.tensor(levels).view(1, 4, 1, 1).expand(count, -1, height, width)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_match_the_law(dtype):
    clean = flat([0.0, 0.01, 0.1, 0.5], count=64).to(dtype)
    noise = Physics(parameters=OWN)
    strength = noise.draw(64, generator())
    error = (noise.sample(clean, generator(), strength) - clean).double()
    k, s2 = noise.law(strength).double().unbind(1)
    expected = (k * clean + s2)[0, :, 0, 0]
    s2_by_hand = (9 * stats.tukeylambda(0.05).var() + 4 + 1 / 12) / 4000**2
    torch.testing.assert_close(k[0, :, 0, 0], torch.full((4,), 2 / 4000, dtype=torch.float64))
    torch.testing.assert_close(s2[0, :, 0, 0], torch.full((4,), s2_by_hand, dtype=torch.float64), rtol=1e-5, atol=0)
    torch.testing.assert_close(noise.variance(clean)[0, :, 0, 0].double(), expected, rtol=1e-5, atol=0)
    # A row has one draw for all its pixels, so the mean has the standard error of the rows beside that of the pixels.
    rows, pixels = 64 * 128, 64 * 128 * 96
    standard_error = (4 / 4000**2 / rows + expected / pixels).sqrt()
    assert (error.mean((0, 2, 3)).abs() < 4 * standard_error).all()
    torch.testing.assert_close(error.var((0, 2, 3)), expected, rtol=0.02, atol=0)


def test_read_noise_has_the_deviation_that_scipy_says():
    for shape in (-0.1, 0.0, 0.3):
        own = {"counts": 10_000, "gain": 1e-6, "read": 5.0, "shape": shape}
        noisy = Physics(parameters=own, rounding=False).sample(flat([0.0] * 4), generator())
        expected = stats.tukeylambda(shape).std() if shape else stats.logistic.std()
        assert float(noisy.double().std()) * 10_000 / 5 == pytest.approx(float(expected), rel=0.02)


def test_a_row_of_the_sensor_has_one_offset_in_both_of_its_planes():
    own = {"counts": 1000, "gain": 1e-9, "read": 0, "row": 3.0}
    noisy = Physics(parameters=own, rounding=False).sample(flat([0.0] * 4), generator())
    assert torch.equal(noisy, noisy[..., :1].expand_as(noisy))
    red, green_r, green_b, blue = noisy.unbind(1)
    assert torch.equal(red, green_r)
    assert torch.equal(green_b, blue)
    upper, lower = red[..., 0].flatten(), blue[..., 0].flatten()
    assert float(torch.corrcoef(torch.stack((upper, lower)))[0, 1]) == pytest.approx(0, abs=4 / len(upper) ** 0.5)
    for rows in (upper, lower):
        assert float(rows.std()) * 1000 == pytest.approx(3, rel=4 / (2 * len(rows)) ** 0.5)


def test_another_number_of_channels_is_one_sensor_without_colours():
    for channels in (1, 3):
        rows = in_rows(torch.zeros(2, channels, 5, 7), generator())
        assert rows.shape == (2, 1, 5, 1)
        noisy = Physics(parameters=OWN).sample(torch.rand(2, channels, 5, 7), generator())
        assert noisy.shape == (2, channels, 5, 7)


def test_counts_are_whole_and_rounding_them_again_changes_nothing():
    noisy = Physics(parameters=OWN).sample(torch.rand(2, 4, 40, 40, generator=generator(1)), generator())
    torch.testing.assert_close((noisy * 4000).round() / 4000, noisy, rtol=0, atol=2e-7)


@given(st.floats(1e-5, 0.1), st.lists(st.floats(-1, 2, width=32), min_size=1, max_size=20))
def test_the_quantiser_is_idempotent_and_off_by_half_a_step_at_most(step, values):
    given_values, step = torch.tensor(values), torch.tensor(step)
    once = quantise(given_values, step)
    assert torch.equal(quantise(once, step), once)
    assert ((once - given_values).abs() <= step / 2 + 1e-6).all()
    assert torch.equal(quantise(given_values, torch.tensor(0.0)), given_values)


def test_without_gain_there_is_no_shot_noise_and_black_has_none_ever():
    clean = torch.rand(2, 4, 30, 30, generator=generator(1))
    assert torch.equal(shot(clean, torch.zeros(2, 4, 1, 1), generator()), clean)
    tiny = shot(clean.double(), torch.full((2, 4, 1, 1), 1e-12), generator())
    torch.testing.assert_close(tiny, clean.double(), rtol=0, atol=1e-5)
    own = {"counts": 1000, "gain": 5.0, "read": 0}
    assert not Physics(parameters=own).sample(torch.zeros(2, 4, 9, 9), generator()).any()
    below = torch.full((1, 4, 9, 9), -0.01)
    torch.testing.assert_close(Physics(parameters=own).sample(below, generator()), below)


def test_a_short_exposure_is_darkened_before_and_brightened_after():
    clean = flat([0.2, 0.4, 0.6, 0.9], count=32)
    noise = Physics(parameters=OWN, ratio=100)
    strength = noise.draw(32, generator())
    error = (noise.sample(clean, generator(), strength) - clean).double()
    k, s2 = noise.law(strength).double().unbind(1)
    assert float(k[0, 0]) == pytest.approx(100 * 2 / 4000)
    torch.testing.assert_close(error.var((0, 2, 3)), (k * clean + s2)[0, :, 0, 0], rtol=0.02, atol=0)
    clipped = Physics(parameters=OWN, ratio=100, saturate=True, pedestal=0).sample(clean, generator(), strength)
    torch.testing.assert_close(clipped, (error.float() + clean).clamp(0, 1), rtol=0, atol=1e-6)
    assert clipped.min() == 0
    assert clipped.max() == 1


def test_the_floor_of_the_converter_lies_before_the_multiplication():
    own = {**OWN, "read": 300.0}
    noisy = Physics(parameters=own, ratio=10, pedestal=0.0125).sample(flat([0.0] * 4), generator())
    assert float(noisy.min()) == pytest.approx(-0.125)
    assert noisy.max() > 1


def test_ranges_mix_as_the_variance_says():
    noise = Physics(
        parameters={
            "counts": 4000,
            "gain": [0.5, 8],
            "read": [0.5, 1, 0.3],
            "row": [0.4, -0.5, 0.2],
            "shape": [0, 0.2],
        },
        ratio=[1, 3],
        bias=2.0,
    )
    strength = noise.draw(10_000, generator())
    bias = strength[:, 5].double()
    k, s2 = noise.law(strength).double().unbind(1)
    x = torch.tensor([0.0, 0.2, 0.5, 1.0]).double().view(1, 4, 1, 1)
    found = k * x + s2 + (strength[:, 6] * bias).square()
    error = found.std(0) / 10_000**0.5
    assert ((found.mean(0) - noise.variance(x)[0]).abs() < 4 * error).all()


def test_gains_are_log_uniform_and_scales_are_on_their_line():
    camera = CAMERAS["canon-70d"]
    strength = Physics(camera="canon-70d").draw(4000, generator())[:, :, 0, 0, 0].double()
    log_gain = (strength[:, 0] * camera.counts).log()
    low, high = (math.log(end) for end in camera.gain)
    assert float(log_gain.min()) >= low - 1e-5
    assert float(log_gain.max()) <= high + 1e-5
    assert stats.kstest((log_gain - low) / (high - low), "uniform").pvalue > 1e-3
    for column, law in ((1, camera.read), (3, camera.row)):
        rest = (strength[:, column] * camera.counts).log() - law.slope * log_gain - law.offset
        assert float(rest.mean()) == pytest.approx(0, abs=4 * law.spread / 4000**0.5)
        assert float(rest.std()) == pytest.approx(law.spread, rel=4 / 8000**0.5)
    assert set(strength[:, 2].float().tolist()) == set(torch.tensor(camera.shapes).tolist())


def test_the_bias_is_one_offset_per_plane_and_not_in_the_law():
    rows = [[1.0, 2.0, 3.0, 4.0], [-1.0, 0.0, 0.0, 6.0]]
    noise = Physics(parameters={"counts": 1000, "gain": 1e-9, "read": 0}, bias=rows)
    noisy = noise.sample(torch.zeros(64, 4, 3, 3), generator()) * 1000
    assert torch.equal(noisy, noisy[..., :1, :1].expand_as(noisy))
    found = {tuple(round(value) for value in picture[:, 0, 0].tolist()) for picture in noisy}
    assert found == {(1, 2, 3, 4), (-1, 0, 0, 6)}
    s2 = noise.law(noise.draw(1, generator()))[:, 1]
    assert float(s2.max()) == pytest.approx(1 / 12 / 1000**2)
    drawn = Physics(camera="sony-a7s2", bias=3).draw(4000, generator())[:, 5, :, 0, 0] * CAMERAS["sony-a7s2"].counts
    assert float(drawn.std()) == pytest.approx(3, rel=0.03)


def test_published_cameras_have_the_published_numbers():
    assert len(CAMERAS) == 11
    sony = CAMERAS["sony-a7s2"]
    assert (sony.counts, len(sony.shapes)) == (15583, 18)
    assert sum(sony.shapes) / 18 == pytest.approx(-0.0492, abs=1e-4)
    for name, count, mean, low, high in (
        ("nikon-d850", 16, -0.1768, -0.243, -0.100),
        ("canon-5d4", 18, 0.0929, 0.014, 0.200),
        ("canon-70d", 16, -0.0313, -0.171, 0.143),
        ("canon-700d", 16, -0.0179, -0.157, 0.129),
    ):
        shapes = CAMERAS[name].shapes
        assert len(shapes) == count
        assert (min(shapes), sum(shapes) / count, max(shapes)) == pytest.approx((low, mean, high), abs=1e-4)
    # The same sensor as a table over ISO, from another source: K 3.513 at ISO 1600 to 52.03 at ISO 25600.
    assert CAMERAS["imx385"].gain == pytest.approx((3.513, 52.03), rel=0.07)
    for name in CAMERAS:
        noise = NOISE.create("physics", {"camera": name, "ratio": [100, 300]})
        assert noise.sample(torch.rand(1, 4, 8, 8), generator()).isfinite().all()


def test_one_of_several_cameras_is_drawn_and_the_gain_can_be_overridden():
    noise = Physics(camera=["imx385", "sony-a7s2"], gain=[0.1, 30])
    strength = noise.draw(400, generator())[:, :, 0, 0, 0]
    counts = 1 / strength[:, 4]
    assert 120 < int((counts - 3855).abs().lt(1).sum()) < 280
    gain = strength[:, 0] * counts
    assert float(gain.min()) < 0.12
    assert float(gain.max()) > 25


def test_the_gaussian_read_noise_of_the_same_cameras():
    camera = CAMERAS["sony-a7s2"]
    noise = Physics(camera="sony-a7s2", gain=1.0, read="gaussian")
    strength = noise.draw(2000, generator())
    scale = (strength[:, 1, 0, 0, 0] * camera.counts).log()
    assert float(scale.mean()) == pytest.approx(camera.gaussian.offset, abs=0.03)
    assert not strength[:, 3].any()
    noisy = noise.sample(torch.zeros(1, 4, 200, 200), generator(), strength[:1]).double()
    assert float(noisy.var()) == pytest.approx(float(noise.law(strength[:1])[0, 1, 0]), rel=0.02)
    assert float(stats.kurtosis(noisy.flatten())) == pytest.approx(0, abs=0.06)


def profile(path, **changes):
    black, white = (512.0,) * 4, 16383.0
    entries = [
        Entry(
            iso=iso, plane=plane, k=1e-6 * iso * (1 + 0.1 * i), s2=1e-8 * iso, row=2e-5 * iso**0.5, tukey_lambda=-0.05
        )
        for iso in (100, 1600)
        for i, plane in enumerate(PLANES)
    ]
    given = {"black": black, "white": white, "entries": tuple(entries), "pattern": "RGGB"} | changes
    NoiseProfile(camera=Camera(model="test"), **given).save(path)
    return str(path)


def test_a_profile_gives_each_plane_its_gain_and_the_variance_it_measured(tmp_path):
    path = profile(tmp_path / "camera.yaml")
    noise = Physics(profile=path, iso=1600)
    strength = noise.draw(48, generator())
    k, s2 = noise.law(strength).double().unbind(1)
    torch.testing.assert_close(k[0].flatten(), 1.6e-3 * torch.tensor([1.0, 1.1, 1.2, 1.3]).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(s2[0].flatten(), torch.full((4,), 1.6e-5).double(), rtol=1e-5, atol=0)
    clean = flat([0.02, 0.1, 0.3, 0.6], count=48)
    error = (noise.sample(clean, generator(), strength) - clean).double()
    torch.testing.assert_close(error.var((0, 2, 3)), (k * clean + s2)[0, :, 0, 0], rtol=0.02, atol=0)
    rows = error[:, 0].mean(2).flatten()
    assert float(rows.var()) == pytest.approx(4e-10 * 1600 + (1.6e-3 * 0.02 + 1.5e-5) / 96, rel=0.06)
    torch.testing.assert_close(
        Physics(profile=path, iso=1600).variance(clean)[0, :, 0, 0].double(), (k * clean + s2)[0, :, 0, 0]
    )
    everywhere = Physics(profile=path)
    isos = everywhere.draw(500, generator())[:, 0, 0, 0, 0] * 1e6
    assert 100 <= isos.min() < 105
    assert 1500 < isos.max() <= 1600
    x = torch.full((1, 4, 1, 1), 0.5)
    laws = everywhere.law(everywhere.draw(2000, generator())).double()
    found = laws[:, 0] * 0.5 + laws[:, 1]
    assert ((found.mean(0) - everywhere.variance(x)[0]).abs() < 4 * found.std(0) / 2000**0.5).all()


def test_profiles_that_do_not_say_enough_are_refused(tmp_path):
    plain = tuple(Entry(iso=iso, k=1e-6 * iso, s2=1e-8 * iso) for iso in (100, 200))
    path = profile(tmp_path / "a.yaml", entries=plain)
    with pytest.raises(
        RecipeError, match=r"does not say the shape of the read noise \(tukey_lambda\).*poisson-gaussian"
    ):
        Physics(profile=path)
    assert Physics(profile=path, read="gaussian").draw(2, generator()).shape == (2, 8, 4, 1, 1)
    path = profile(tmp_path / "b.yaml", black=None, white=None)
    with pytest.raises(RecipeError, match=r"does not say black and white level.*rounding: false"):
        Physics(profile=path)
    assert Physics(profile=path, rounding=False).law(torch.ones(1, 8, 4, 1, 1)).shape == (1, 2, 4, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs one source of its parameters: camera: one of canon-5d4"),
        ({"camera": "sony-a7s2", "parameters": OWN}, "needs one source"),
        ({"camera": "sony-a7s3"}, "whose noise was not published: did you mean 'sony-a7s2'"),
        ({"camera": []}, "empty list"),
        ({"camera": "imx385", "iso_draw": "uniform"}, r"noise.iso_draw goes with noise.profile"),
        ({"camera": "imx385", "iso": 100}, r"noise.iso goes with noise.profile; .* gain: \[low, high\]"),
        ({"camera": "imx385", "read": "normal"}, "expected 'tukey-lambda' or 'gaussian'"),
        ({"camera": "imx385", "ratio": 0}, "ratio is 0; expected a number > 0"),
        ({"camera": "imx385", "gain": [3, 1]}, "low <= high"),
        ({"camera": "imx385", "bias": -1}, "bias is -1; expected a standard deviation in counts"),
        ({"camera": "imx385", "bias": [[1, 2, 3]]}, r"or a list of \[R, Gr, Gb, B\]"),
        ({"camera": "imx385", "pedestal": -0.1}, "pedestal is -0.1"),
        ({"parameters": {"gain": 1}}, "lacks counts and read"),
        ({"parameters": {**OWN, "rows": 1}}, "no entry 'rows': did you mean 'row'"),
        ({"parameters": {**OWN, "shape": -0.6}}, "shape is -0.6"),
        ({"parameters": {**OWN, "read": [1, 2]}}, r"read is \[1, 2\]; expected a number of counts >= 0, or \[slope"),
        ({"parameters": OWN, "read": "gaussian"}, "only known of the published cameras"),
        ({"parameters": {**OWN, "counts": 0}}, "counts is 0"),
    ],
)
def test_nonsense_is_refused(arguments, words):
    with pytest.raises(RecipeError, match=words):
        NOISE.create("physics", arguments)
