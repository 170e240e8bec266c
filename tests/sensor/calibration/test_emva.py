"""EMVA 1288 descriptions: a real reference series, and files that are none."""

import numpy as np
import pytest
from PIL import Image

from shotnoise.errors import ProfileError
from shotnoise.sensor.calibration.emva import calibrate_emva, read_description


def test_the_reference_series_gives_the_reference_results(shared):
    index = shared / "data" / "raw_calibration" / "emva1288_ccd12" / "EMVA1288_Data.txt"
    if not index.exists():
        pytest.skip("the EMVA 1288 reference series is not here")
    result = calibrate_emva(index)
    emva = result.emva
    assert emva.gain == pytest.approx(0.28077, rel=0.01)
    assert emva.dark_noise == pytest.approx(3.0734, rel=0.01)
    assert emva.dark_electrons == pytest.approx(10.898, rel=0.01)
    assert emva.responsivity == pytest.approx(0.126727, rel=0.002)
    assert emva.quantum_efficiency == pytest.approx(0.4514, rel=0.01)
    assert emva.saturation_photons == 30957
    assert emva.prnu == pytest.approx(0.00433, rel=0.02)
    assert result.errors == ()
    assert result.black[0] == pytest.approx(14.72, abs=0.1)
    low, high = result.fits[0].best[0].k_interval
    assert low < 0.28077 < high
    assert {point.reason for point in result.points if not point.used} == {"brighter than 70 % of the range"}


def simulated(folder, prefix=""):
    """A series of a sensor with K 0.4, 12 electrons in the dark, QE 0.5, PRNU 2 %, DSNU 5 electrons."""
    rng = np.random.default_rng(0)
    shape = 100, 120
    unequal, offset = 1 + 0.02 * rng.standard_normal(shape), 5 * rng.standard_normal(shape)
    lines = ["# a comment", "v 3.0", "n 12 120 100"]

    def add(kind, photons, count):
        lines.append(f"{kind} 1000000.0" + (f" {photons}" if kind == "b" else ""))
        for number in range(count):
            electrons = rng.poisson(0.5 * photons * unequal) + rng.normal(0, 12, shape) + offset
            counts = np.rint(0.4 * electrons + 60).clip(0, 4095).astype(np.uint16)
            name = f"{kind}{photons}_{number}.png"
            Image.fromarray(counts).save(folder / name)
            lines.append(f"i {prefix}{name}")

    add("d", 0, 2)
    for photons in (500, 2000, 4000, 8000, 11000, 14000):
        add("b", photons, 2)
    add("b", 8100, 8)
    add("d", 0, 9)
    index = folder / "data.txt"
    index.write_text("\n".join(lines))
    return index


def test_a_simulated_series_gives_its_numbers(tmp_path):
    ticks = []
    index = simulated(tmp_path, prefix="images\\deep\\")
    result = calibrate_emva(index, progress=lambda done, total: ticks.append((done, total)))
    emva = result.emva
    assert emva.gain == pytest.approx(0.4, rel=0.02)
    assert emva.dark_electrons == pytest.approx(12, rel=0.02)
    assert emva.quantum_efficiency == pytest.approx(0.5, rel=0.02)
    assert emva.dsnu == pytest.approx(5, rel=0.05)
    assert emva.prnu == pytest.approx(0.02, rel=0.05)
    assert np.isnan(emva.dark_current_mean)
    assert ticks[-1] == (31, 31)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no EMVA 1288 description"),
        ("n 12 640\n", "line 1: 'n 12 640'; expected"),
        ("n 12 640 480\nb 1000\n", "line 2"),
        ("n 12 640 480\nb nan 3\n", "line 2"),
        ("n 12 640 480\ni a.png\n", "line 2: 'i a.png'"),
        ("n 12 640 480\nd 1000\ni missing.png\n", "names the picture 'missing.png', which is not there"),
        ("n 12 640 480\nd 1000\ni /etc/hostname\n", "which is not there"),
        ("n 99 640 480\n", "line 1"),
        ("hello world\n", "line 1: 'hello world'"),
    ],
)
def test_descriptions_that_are_none(tmp_path, text, words):
    index = tmp_path / "data.txt"
    index.write_text(text)
    with pytest.raises(ProfileError, match=words):
        read_description(index)


def test_pictures_that_do_not_fit(tmp_path):
    index = simulated(tmp_path)
    index.write_text(index.read_text().replace("n 12 120 100", "n 12 100 120"))
    with pytest.raises(ProfileError, match="the description says 100 x 120 gray"):
        calibrate_emva(index)
    index.write_text(index.read_text().replace("n 12 100 120", "n 8 120 100"))
    with pytest.raises(ProfileError, match="the description says 8 bits"):
        calibrate_emva(index)
    index.write_text("n 12 120 100\nb 1000 500\ni b500_0.png\ni b500_1.png\n")
    with pytest.raises(ProfileError, match="lists no dark pictures"):
        calibrate_emva(index)
    with pytest.raises(ProfileError, match="cannot be read"):
        calibrate_emva(tmp_path / "nothing.txt")


def test_something_long_is_no_description(tmp_path):
    """It is not read to its end, and its beginning is not taken for the whole."""
    simulated(tmp_path)
    index = tmp_path / "long.txt"
    index.write_text("# a comment\n" * 400_000)
    with pytest.raises(ProfileError, match="is longer than 4,194,304 characters; expected an EMVA 1288 description"):
        read_description(index)
