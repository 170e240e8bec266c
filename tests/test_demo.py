"""The demonstration with RAW: all is known about its camera, and the numbers that it prints are true."""

import json
import math

import numpy as np
import pytest

import shotnoise.demo as demo
from shotnoise.cli import run
from shotnoise.demo import demonstrate_raw
from shotnoise.images import open_image
from shotnoise.images.raw import open_raw
from shotnoise.sensor.develop import Look, develop, normalised
from shotnoise.sensor.simulate import SimulatedSensor
from tiny_models import write_model


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    model = write_model(folder / "m.onnx", channels=4, shape="blur", k_sigma={"gain": 0.0625, "root": True})
    return demonstrate_raw(folder / "out", model=model)


def test_what_it_writes(shown):
    noisy, clean = open_raw(shown.noisy), open_raw(shown.clean)
    assert noisy.mosaic.shape == clean.mosaic.shape == (300, 450)
    assert (noisy.iso, clean.iso) == (6400, 6400)
    assert noisy.noise is None  # the file does not give the noise away
    assert clean.noise is not None
    assert shown.law == "blind estimate from the frame"
    for path in shown.previews:
        assert open_image(path).pixels.shape == (300, 450, 3)
    assert open_image(shown.comparison).width > 900


def test_the_noise_is_that_of_the_simulated_sensor(shown):
    _, truth = demo._exposures(0)
    law = SimulatedSensor().noise(shown.iso)
    x = np.clip(normalised(truth), 0, 1)
    assert shown.psnr_before == pytest.approx(-10 * math.log10(law.variance(x).mean()), abs=0.1)
    seen = open_raw(shown.noisy)
    assert shown.psnr_before == pytest.approx(demo._raw_psnr(seen, truth))
    assert shown.psnr_after == pytest.approx(demo._raw_psnr(open_raw(shown.clean), truth))


def test_without_noise_the_raw_develops_into_the_photograph():
    _, truth = demo._exposures(0)
    developed = develop(truth, Look.of(truth), size="full").pixels.astype(float)
    photograph = demo._photograph()[:300, :450].astype(float)
    means = [pixels[:, :448].reshape(30, 10, 56, 8, 3).mean((1, 3)) for pixels in (developed, photograph)]
    assert np.abs(means[0] - means[1]).mean() < 1
    assert np.abs(developed - photograph).mean() < 4  # colours between pixels are interpolated


def test_the_bundled_model_gains(tmp_path):
    shown = demonstrate_raw(tmp_path)
    assert shown.psnr_before == pytest.approx(32.2, abs=0.1)
    assert shown.psnr_after > 36.5


def test_the_command(tmp_path, capsys):
    from shotnoise.cli import run

    assert run(["demo", "-o", str(tmp_path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["psnr_after"] > content["psnr_before"]
    assert content["raw"]["noisy"] == str(tmp_path / "noisy.dng")
    assert run(["demo", "-o", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "noise law: blind estimate from the frame" in lines[3]
    assert lines[-1] == f"look at {tmp_path / 'before-after.png'} and {tmp_path / 'raw-before-after.png'}"


def test_a_file_where_the_folder_should_be(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert run(["demo", "-o", str(tmp_path / "file")]) == 1
    assert "file: cannot be made a folder (File exists); choose another one" in capsys.readouterr().err
