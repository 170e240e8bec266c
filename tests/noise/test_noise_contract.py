"""Every noise model of the table keeps the NoiseModel contract."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.noise import NOISE, NoiseModel
from shotnoise.sensor.profile import Entry, NoiseProfile
from shotnoise.sensor.simulate import SimulatedSensor

# A fixed strength, a range, and the mean of the noisy picture for a clean x and a mean strength p.
CASES = {
    "bernoulli": ({"missing": 0.5}, {"missing": [0, 0.95]}, lambda x, p: (1 - p) * x),
    "gaussian": ({"sigma": 25}, {"sigma": [0, 50]}, lambda x, p: x),
    "impulse": ({"replaced": 0.7}, {"replaced": [0, 0.95]}, lambda x, p: (1 - p) * x + p / 2),
    "poisson": ({"photons": 30}, {"photons": [5, 50]}, lambda x, p: x),
    "text": ({"coverage": 0.25}, {"coverage": [0, 0.5]}, lambda x, p: (1 - p) * x + p / 2),
}
# The same for a sensor, whose strengths have a layout of their own and whose mean is the clean picture.
RAW = {
    "dark-frames": (
        {"frames": "dark", "profile": "camera.yaml", "iso": 400},
        {"frames": "dark", "profile": "camera.yaml"},
    ),
    "physics": (
        {"parameters": {"counts": 1000, "gain": 2, "read": 3, "row": 2, "shape": 0.1}},
        {"camera": ["sony-a7s2", "imx686"], "bias": 2, "ratio": [1, 4]},
    ),
    "poisson-gaussian": ({"k": 0.01, "counts": 200}, {"k": [1e-3, 0.1], "electrons": [1, 4]}),
}
BOTH = [(name, arguments) for name, (fixed, spread, _) in CASES.items() for arguments in (fixed, spread)]
RAW_BOTH = [(name, arguments) for name, pair in RAW.items() for arguments in pair]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """A folder with dark frames of two ISOs and the profile that goes with them."""
    folder = tmp_path_factory.mktemp("camera")
    (folder / "dark").mkdir()
    sensor, rng = SimulatedSensor(height=96, width=128, row_noise=2.0), np.random.default_rng(0)
    for iso in (400, 1600):
        for number in range(3):
            np.save(folder / "dark" / f"dark_{number}_ISO_{iso}.npy", sensor.dark(iso=iso, rng=rng).mosaic)
    entries = tuple(Entry(iso=iso, k=sensor.noise(iso).k[0], s2=sensor.noise(iso).s2[0]) for iso in (400, 1600))
    NoiseProfile(entries=entries, pattern="RGGB", black=sensor.blacks, white=sensor.white).save(folder / "camera.yaml")
    return folder


@pytest.fixture(autouse=True)
def _at_the_camera(camera, monkeypatch):
    monkeypatch.chdir(camera)


def test_the_table_is_complete():
    room = Path(inspect.getfile(NoiseModel)).parent
    defined = set()
    for file in room.glob("*.py"):
        module = importlib.import_module(f"shotnoise.noise.{file.stem}") if file.stem != "__init__" else None
        for value in vars(module).values() if module else ():
            if inspect.isclass(value) and issubclass(value, NoiseModel) and value is not NoiseModel:
                defined.add(value)
    assert defined == {NOISE.resolve(name) for name in NOISE}
    assert set(CASES) | set(RAW) == set(NOISE)


@pytest.mark.parametrize(("name", "arguments"), BOTH + RAW_BOTH)
def test_mean_and_deviation_are_what_the_formulas_say(name, arguments):
    """Averages over independent samples, each with a strength of its own, within 4.5 of their standard errors."""
    noise = NOISE.create(name, arguments)
    count = 2000
    clean = torch.linspace(0, 1, 3 * 2 * 4).view(1, 3, 2, 4).expand(count, -1, -1, -1)
    noisy = noise.sample(clean, generator(2)).double()
    mean = clean[0].double()
    if name in CASES:
        mean = CASES[name][2](mean, torch.tensor(next(iter(arguments.values()))).double().mean())
    for measured, expected in (
        (noisy, mean),
        ((noisy - clean).square(), noise.variance(clean)[0].double()),
    ):
        error = measured.std(0) / count**0.5
        assert ((measured.mean(0) - expected).abs() <= 4.5 * error + 1e-6).all()


@pytest.mark.parametrize(("name", "arguments"), BOTH)
def test_strengths_are_one_per_sample_and_within_their_bounds(name, arguments):
    noise = NOISE.create(name, arguments)
    bounds = torch.tensor(next(iter(arguments.values()))).float()
    strength = noise.draw(500, generator())
    assert strength.shape == (500, 1, 1, 1)
    assert bounds.min() <= strength.min()
    assert strength.max() <= bounds.max()
    if bounds.ndim:
        spread = float(bounds[1] - bounds[0])
        assert float(strength.max() - strength.min()) > 0.98 * spread
        assert float(strength.mean()) == pytest.approx(float(bounds.mean()), abs=4 * spread / (12 * 500) ** 0.5)


@pytest.mark.parametrize(("name", "arguments"), BOTH + RAW_BOTH)
def test_the_generator_is_the_only_source_of_randomness(name, arguments):
    noise = NOISE.create(name, arguments)
    clean = torch.rand(3, 3, 20, 24, generator=generator(9)).double()
    torch.manual_seed(1)
    noisy = noise.sample(clean, generator(3))
    torch.manual_seed(2)
    assert torch.equal(noisy, noise.sample(clean, generator(3)))
    assert not torch.equal(noisy, noise.sample(clean, generator(4)))
    assert noisy.shape == clean.shape
    assert noisy.dtype == clean.dtype
    known = generator(3)
    strength = noise.draw(3, known)
    assert torch.equal(noisy, noise.sample(clean, known, strength))


@pytest.mark.parametrize(("name", "arguments"), BOTH + RAW_BOTH)
def test_the_mask_belongs_to_the_sample(name, arguments):
    noise = NOISE.create(name, arguments)
    clean = torch.rand(2, 3, 16, 20, generator=generator(9))
    noisy, mask = noise.sample_with_mask(clean, generator(3))
    assert torch.equal(noisy, noise.sample(clean, generator(3)))
    assert (mask is None) == (name != "bernoulli")


@pytest.mark.parametrize(("name", "arguments"), RAW_BOTH)
def test_a_sensor_has_a_law_per_plane_and_sample_that_averages_to_its_variance(name, arguments):
    noise = NOISE.create(name, {key: value for key, value in arguments.items() if key != "bias"})  # a bias is no noise
    strength = noise.draw(4000, generator())
    assert len(strength) == 4000
    law = noise.law(strength)
    assert law.shape == (4000, 2, 4, 1, 1)
    assert torch.equal(law[7:9], noise.law(strength[7:9]))
    clean = torch.tensor([0.0, 0.1, 0.4, 1.0]).view(1, 4, 1, 1)
    variances = (law[:, 0] * clean + law[:, 1]).double()
    error = variances.std(0) / 4000**0.5
    expected = noise.variance(clean)[0].double()
    assert ((variances.mean(0) - expected).abs() <= 4.5 * error + 1e-5 * expected).all()


def test_pictures_have_no_law():
    for name, (fixed, _, _) in CASES.items():
        noise = NOISE.create(name, fixed)
        assert noise.law(noise.draw(1, generator())) is None


@pytest.mark.parametrize("name", [*CASES, *RAW])
def test_the_clean_batch_is_left_alone_and_zero_strength_changes_nothing(name):
    noise = NOISE.create(name, (CASES | RAW)[name][1])
    clean = torch.rand(2, 1, 8, 8, generator=generator(9))
    before = clean.clone()
    noise.sample(clean, generator())
    assert torch.equal(clean, before)
    if name in CASES and name != "poisson":  # whose strength is a number of photons: the more, the cleaner
        assert torch.equal(noise.sample(clean, generator(), torch.zeros(2, 1, 1, 1)), clean)


@pytest.mark.parametrize("name", [name for name in CASES | RAW if name != "gaussian"])
def test_no_single_sigma_is_claimed(name):
    noise = NOISE.create(name, (CASES | RAW)[name][0])
    assert noise.level(noise.draw(1, generator())) is None


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("poisson", {"photons": 0}, r"photons is 0; expected a number > 0 or a range \[low, high\] with low <= high"),
        ("poisson", {"photons": [0, 50]}, r"photons is \[0, 50\]; expected a number > 0"),
        ("poisson", {"photons": float("inf")}, "photons is inf"),
        ("poisson", {"photons": float("nan")}, "photons is nan"),
        ("bernoulli", {"missing": 1.5}, "missing is 1.5; expected a number between 0 and 1 or a range"),
        ("bernoulli", {"missing": [0.9, 0.1]}, "low <= high"),
        ("bernoulli", {"missing": [0.9]}, r"missing is \[0.9\]"),
        ("impulse", {"replaced": -0.1}, "replaced is -0.1; expected a number between 0 and 1"),
        ("impulse", {"replaced": "half"}, "replaced is half"),
        ("impulse", {"replaced": True}, "replaced is True"),
        ("text", {"coverage": 1}, "coverage is 1; expected a number between 0 and 0.95"),
        ("text", {"coverage": [0, 0.5, 1]}, r"coverage is \[0, 0.5, 1\]"),
        ("gaussian", {"sigma": None}, "sigma is None; expected a number >= 0"),
        ("poisson", {"lam": 30}, "noise model 'poisson' has no option 'lam': did you mean 'photons'|no option 'lam'"),
    ],
)
def test_nonsense_is_refused(name, arguments, words):
    with pytest.raises(RecipeError, match=words):
        NOISE.create(name, arguments)
