"""Windows of dark frames, what is done to them, and what they add up to."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shotnoise.errors import PictureError, RecipeError, ShotnoiseError
from shotnoise.images.raw.bayer import join, split
from shotnoise.noise.dark_frames import DarkFrames, HighBits, _files
from shotnoise.sensor.profile import Entry, NoiseProfile
from shotnoise.sensor.simulate import SimulatedSensor

ISOS = (400, 1600)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def write(folder, sensor, *, count=4, isos=ISOS, pattern=None):
    """Dark frames as arrays and the profile of their camera."""
    rng = np.random.default_rng(1)
    for iso in isos:
        for number in range(count):
            np.save(folder / f"dark_{number}_ISO_{iso}.npy", sensor.dark(iso=iso, rng=rng, exposure=0.1).mosaic)
    entries = tuple(Entry(iso=iso, k=sensor.noise(iso).k[0], s2=sensor.noise(iso).s2[0]) for iso in isos)
    path = folder / "camera.profile.yaml"
    NoiseProfile(entries=entries, pattern=pattern or sensor.pattern, black=sensor.blacks, white=sensor.white).save(path)
    return {"frames": str(folder), "profile": str(path)}


@pytest.fixture(scope="module")
def sensor():
    return SimulatedSensor(height=256, width=256, black=(250.0, 256.0, 258.0, 262.0), dsnu=1.5, row_noise=0.5)


@pytest.fixture(scope="module")
def given_frames(tmp_path_factory, sensor):
    return write(tmp_path_factory.mktemp("dark"), sensor)


@pytest.mark.parametrize("high_bits", ["tukey-lambda", "normal", "none"])
def test_moments_match_the_sensor(given_frames, sensor, high_bits):
    clean = torch.tensor([0.0, 0.05, 0.2, 0.5]).view(1, 4, 1, 1).expand(32, -1, 96, 96)
    for iso in ISOS:
        noise = DarkFrames(**given_frames, iso=iso, high_bits=high_bits)
        strength = noise.draw(32, generator())
        error = (noise.sample(clean, generator(), strength) - clean).double()
        k, s2 = noise.law(strength).double().unbind(1)
        expected = (k * clean + s2)[0, :, 0, 0]
        torch.testing.assert_close(error.var((0, 2, 3)), expected, rtol=0.02, atol=0)
        torch.testing.assert_close(noise.variance(clean)[0, :, 0, 0].double(), expected)
        # A row has one draw in common; each of the 4 x 128 rows of a plane comes in several windows.
        row = (sensor.k(iso) * sensor.row_noise / 3800) ** 2
        assert (error.mean((0, 2, 3)).abs() < 4 * (row / 300 + expected / (4 * 128**2)).sqrt()).all()
        truth = sensor.noise(iso)
        per_frame = torch.tensor(truth.s2).double() - (0 if high_bits == "none" else 1 / 12 / 3840**2)
        torch.testing.assert_close(s2[0].flatten(), per_frame, rtol=0.03, atol=0)


def test_each_sample_takes_one_iso_and_its_gain(given_frames, sensor):
    noise = DarkFrames(**given_frames)
    assert noise.isos == list(ISOS)
    k = noise.law(noise.draw(500, generator()))[:, 0, 0, 0, 0]
    share = float((k - sensor.noise(400).k[0]).abs().lt(1e-7).float().mean())
    assert share == pytest.approx(0.5, abs=4 * (0.25 / 500) ** 0.5)
    assert sorted({round(float(value), 9) for value in k}) == [round(sensor.noise(iso).k[0], 9) for iso in ISOS]


def test_windows_keep_the_colours_and_rows_of_the_mosaic(tmp_path):
    """Frames whose counts say where they are, in a mosaic that does not begin with red."""
    for pattern in ("RGGB", "BGGR", "GRBG"):
        folder = tmp_path / pattern
        folder.mkdir()
        sensor = SimulatedSensor(height=64, width=80, black=64, pattern=pattern)
        rows, cols = np.mgrid[:32, :40]
        planes = np.stack([64 + 700 * plane + 20 * rows + cols // 2 for plane in range(4)]).astype(np.uint16)
        arguments = write(folder, sensor, count=1, isos=(100,))
        np.save(folder / "dark_0_ISO_100.npy", join(planes, pattern))
        noise = DarkFrames(**arguments, high_bits="none", shading=False)
        window = noise.sets[0].window((4, 12, 16), generator(3)) * (4095 - 64)
        top = round(float(window[0, 0, 0])) // 20
        counts = window.round().long()
        for plane in range(4):
            assert torch.equal(counts[plane] // 700, torch.full((12, 16), plane))
            assert torch.equal(counts[plane, :, 0] % 700 // 20, torch.arange(top, top + 12))
        assert (np.load(folder / "dark_0_ISO_100.npy") == join(split(join(planes, pattern), pattern), pattern)).all()


def test_planes_and_mosaics_are_read_alike(tmp_path, sensor):
    arguments = write(tmp_path, sensor, count=2, isos=(400,))
    first = DarkFrames(**arguments).sample(torch.zeros(2, 4, 16, 16), generator())
    for path in tmp_path.glob("*.npy"):
        np.save(path, split(np.load(path), sensor.pattern))
    assert torch.equal(first, DarkFrames(**arguments).sample(torch.zeros(2, 4, 16, 16), generator()))


def test_raw_files_are_read_with_their_own_iso_and_levels(tmp_path, sensor):
    dng = pytest.importorskip("shotnoise.images.raw.dng")
    arguments = write(tmp_path, sensor, count=2, isos=(400,))
    arrays_only = DarkFrames(**arguments)
    for path in list(tmp_path.glob("*.npy")):
        frame = sensor.dark(iso=400, rng=np.random.default_rng(0)).with_mosaic(np.load(path))
        dng.save_dng(frame, tmp_path / f"{path.stem[:6]}.dng")
        path.unlink()
    noise = DarkFrames(**arguments)
    clean = torch.full((2, 4, 16, 16), 0.1)
    torch.testing.assert_close(noise.sample(clean, generator()), arrays_only.sample(clean, generator()))
    (tmp_path / "dark_0.dng").rename(tmp_path / "dark_ISO_800.dng")
    with pytest.raises(RecipeError, match="its metadata say ISO 400, its name says 800; rename or remove it"):
        DarkFrames(**arguments)


def test_the_mean_frame_is_taken_out_and_the_noise_keeps_its_strength(tmp_path):
    sensor = SimulatedSensor(height=128, width=128, dsnu=12.0, read_before=3.0)
    arguments = write(tmp_path, sensor, count=3, isos=(800,))
    subtracted, kept = (DarkFrames(**arguments, shading=shading) for shading in (True, False))
    truth = torch.tensor(sensor.noise(800).s2).double() - 1 / 12 / 3839**2
    found = subtracted.law(subtracted.draw(1, generator()))[0, 1].flatten().double()
    torch.testing.assert_close(found, truth, rtol=0.03, atol=0)
    pattern = (sensor.k(800) * 12 / 3839) ** 2
    found = kept.law(kept.draw(1, generator()))[0, 1].flatten().double()
    torch.testing.assert_close(found, truth + pattern, rtol=0.05, atol=0)


@pytest.mark.parametrize("law", ["tukey-lambda", "normal"])
@pytest.mark.parametrize("sigma", [0.4, 2.0, 11.0])
def test_restored_values_round_to_the_counts_and_have_the_moments_from_before_rounding(law, sigma):
    rng = np.random.default_rng(3)
    before = 256.3 + sigma * rng.standard_normal(400_000)
    counts = np.rint(before).astype(np.int32)
    bits = HighBits(counts, law)
    restored = bits.restore(torch.from_numpy(counts), generator())
    assert torch.equal(restored.round().int(), torch.from_numpy(counts))
    assert bits.bias == pytest.approx(256.3, abs=0.03)
    assert bits.sigma == pytest.approx(sigma, rel=0.05)
    assert float(restored.mean()) == pytest.approx(256.3, abs=0.03)
    assert float(restored.std()) == pytest.approx(sigma, rel=0.03)
    # Not uniform in its interval: nearer to the bias is likelier, as before the rounding.
    if sigma == 2.0:
        for count in (253, 256, 259):
            inside = torch.from_numpy(counts) == count
            expected = before[counts == count].mean() - count
            assert float(restored[inside].mean()) - count == pytest.approx(expected, abs=0.02)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.int32, 200, elements=st.integers(0, 65535)), st.sampled_from(["tukey-lambda", "normal"]))
def test_whatever_the_counts_restoring_keeps_them(counts, law):
    bits = HighBits(counts, law)
    restored = bits.restore(torch.from_numpy(counts), generator())
    assert torch.equal(restored.round().int(), torch.from_numpy(counts))


def test_defects_stay_whole():
    counts = np.full(10_000, 100, np.int32) + np.random.default_rng(0).integers(-2, 3, 10_000, dtype=np.int32)
    counts[:5] = [4000, 300, 0, 200, 3]
    restored = HighBits(counts, "normal").restore(torch.from_numpy(counts), generator())
    assert torch.equal(restored[:5], torch.tensor([4000.0, 300.0, 0.0, 200.0, 3.0]).double())
    assert (restored[5:] != restored[5:].round()).float().mean() > 0.99


def test_clipping_is_an_option(given_frames):
    clean = torch.cat((torch.zeros(1, 4, 64, 64), torch.full((1, 4, 64, 64), 0.999)))
    free = DarkFrames(**given_frames).sample(clean, generator())
    assert free.min() < -0.001
    assert free.max() > 1
    clipped = DarkFrames(**given_frames, saturate=True, pedestal=0.001).sample(clean, generator())
    torch.testing.assert_close(clipped, free.clamp(-0.001, 1))


def test_hidden_files_are_no_dark_frames(tmp_path):
    """Other systems leave a ._NAME beside each file."""
    for name in ("dark_ISO_100.npy", "._dark_ISO_100.npy"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in _files(str(tmp_path))] == ["dark_ISO_100.npy"]


def test_what_cannot_be_used_is_refused(tmp_path, given_frames, sensor):
    with pytest.raises(RecipeError, match="no dark frames of ISO 800"):
        DarkFrames(**given_frames, iso=[400, 800])
    with pytest.raises(RecipeError, match="high_bits is 'laplace'; expected one of tukey-lambda, normal, none"):
        DarkFrames(**given_frames, high_bits="laplace")
    with pytest.raises(RecipeError, match=r"planes of 128 x 128 and the picture 200 x 100; .*smaller crops"):
        DarkFrames(**given_frames).sample(torch.zeros(1, 4, 100, 200), generator())
    with pytest.raises(RecipeError, match="is no file; expected dark frames or a folder"):
        DarkFrames(frames=str(tmp_path / "missing"), profile=given_frames["profile"])
    with pytest.raises(RecipeError, match=r"has no RAW files and no \.npy arrays"):
        DarkFrames(frames=str(tmp_path), profile=given_frames["profile"])
    np.save(tmp_path / "dark.npy", np.zeros((8, 8), np.uint16))
    with pytest.raises(RecipeError, match=r"does not say its ISO; .*dark_ISO_800.npy"):
        DarkFrames(frames=str(tmp_path), profile=given_frames["profile"])
    (tmp_path / "dark.npy").unlink()
    np.save(tmp_path / "a_ISO_400.npy", np.zeros((8, 8), np.float32))
    with pytest.raises(PictureError, match="holds float32; expected counts as uint8 or uint16"):
        DarkFrames(frames=str(tmp_path), profile=given_frames["profile"])
    np.save(tmp_path / "a_ISO_400.npy", np.zeros((8, 8, 3), np.uint16))
    with pytest.raises(PictureError, match=r"shape \(8, 8, 3\)"):
        DarkFrames(frames=str(tmp_path), profile=given_frames["profile"])
    np.save(tmp_path / "a_ISO_400.npy", np.zeros((8, 8), np.uint16))
    np.save(tmp_path / "b_ISO_400.npy", np.zeros((8, 10), np.uint16))
    with pytest.raises(RecipeError, match=r"b_ISO_400.npy: has another size or other levels than a_ISO_400.npy"):
        DarkFrames(frames=str(tmp_path), profile=given_frames["profile"])
    np.save(tmp_path / "b_ISO_400.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(PictureError, match="cannot be read as an array"):
        DarkFrames(frames=str(tmp_path), profile=given_frames["profile"])
    np.save(tmp_path / "b_ISO_400.npy", np.zeros((8, 8), np.uint16))
    bare = tmp_path / "bare.yaml"
    NoiseProfile(entries=(Entry(iso=400, k=1e-3, s2=1e-6),)).save(bare)
    with pytest.raises(RecipeError, match="lacks black and white"):
        DarkFrames(frames=str(tmp_path), profile=str(bare))
    (tmp_path / "b_ISO_400.npy").rename(tmp_path / "b_ISO_40000.npy")
    with pytest.raises(ShotnoiseError, match="outside of the profile"):
        DarkFrames(frames=str(tmp_path), profile=given_frames["profile"])
