"""Two windows are under way at a time: nothing of that shows in the result, and what goes wrong ends it."""

import threading

import numpy as np
import pytest

import shotnoise.runner as runner
from raw_frames import frame
from shotnoise.card import Card
from shotnoise.denoiser import Denoiser
from shotnoise.errors import EngineError
from shotnoise.images import Image
from shotnoise.raw_denoiser import RawDenoiser
from shotnoise.sensor.law import NoiseLaw
from tiny_models import write_model

ROOT = {"gain": 1.0, "offset": 0.0, "root": True}


class Blurry:
    """An engine that notices when it is asked twice at once."""

    def __init__(self, **card):
        self.card = Card(**{"name": "blurry", "kind": "rgb", "channels": 3, "halo": 2} | card)
        self.inside = self.most = self.runs = 0
        self.fails_at = None

    def run(self, noisy, level=None):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.runs += 1
        threading.Event().wait(1e-3)
        self.inside -= 1
        if self.runs == self.fails_at:
            raise EngineError("the window broke it")
        return (noisy + np.roll(noisy, 1, 2) + np.roll(noisy, 1, 3)) / 3

    def describe(self):
        return {}


def picture(dtype, *shape):
    values = np.random.default_rng(0).normal(0.5, 0.1, shape)
    return (values * (1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max)).astype(dtype)


def at_a_time(monkeypatch, windows, work):
    monkeypatch.setattr(runner, "_UNDER_WAY", windows)
    return work()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("mix", [1.0, 0.6])
def test_pictures_are_the_same_to_the_bit(monkeypatch, dtype, mix):
    noisy = picture(dtype, 150, 130, 3)
    if noisy.dtype.kind == "f":
        noisy[::17, ::13] = np.nan
    engine = Blurry()
    denoiser = Denoiser(engine, tile=32, strength=mix)
    one, two, more = (at_a_time(monkeypatch, count, lambda: denoiser.run(Image(noisy))) for count in (1, 2, 5))
    for other in (two, more):
        np.testing.assert_array_equal(other.image.pixels, one.image.pixels)
        assert other.removed == one.removed  # summed in the same order
        assert other.notes == one.notes
    assert engine.most == 1  # one window in the engine, the others beside it


def test_raw_is_the_same_to_the_bit(monkeypatch):
    given = frame(0, 150, 130, "GBRG")
    denoiser = RawDenoiser(
        Blurry(kind="raw", channels=4, k_sigma=ROOT), tile=32, profile=NoiseLaw((2e-3,) * 4, (1e-5,) * 4)
    )
    one, two = (at_a_time(monkeypatch, count, lambda: denoiser.run(given)) for count in (1, 2))
    np.testing.assert_array_equal(one.frame.mosaic, two.frame.mosaic)
    assert (one.removed, one.left) == (two.removed, two.left)


@pytest.mark.parametrize("options", [{"ensemble": "x8"}, {"samples": 3, "seed": 5}])
def test_ensembles_are_the_same_to_the_bit(monkeypatch, tmp_path, options):
    model = write_model(tmp_path / "m.onnx", latent=(3, 1) if "samples" in options else None)
    denoiser = Denoiser(model, tile=40, threads=1, **options)
    noisy = Image(picture(np.uint16, 90, 100, 3))
    one, two = (at_a_time(monkeypatch, count, lambda: denoiser.run(noisy)) for count in (1, 2))
    np.testing.assert_array_equal(one.image.pixels, two.image.pixels)
    if "samples" in options:
        np.testing.assert_array_equal(one.uncertainty, two.uncertainty)


def test_progress_comes_in_order_from_the_thread_that_asked():
    seen = []
    Denoiser(Blurry(), tile=32)(
        picture(np.uint8, 150, 130, 3), progress=lambda share: seen.append((share, threading.current_thread()))
    )
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)
    assert seen[-1][0] == 1
    assert {thread for _, thread in seen} == {threading.current_thread()}


def test_a_window_that_fails_ends_the_picture():
    engine = Blurry()
    engine.fails_at = 3
    with pytest.raises(EngineError, match="the window broke it"):
        Denoiser(engine, tile=32)(picture(np.uint8, 150, 130, 3))
    assert engine.runs <= 3 + runner._UNDER_WAY
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tiles")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_stopping_ends_the_windows_under_way(error):
    engine = Blurry()

    def stop(share):
        raise error

    with pytest.raises(error):
        Denoiser(engine, tile=32)(picture(np.uint8, 150, 130, 3), progress=stop)
    assert engine.runs <= 1 + runner._UNDER_WAY
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tiles")]


def test_one_denoiser_serves_several_threads(tmp_path):
    """As the engines of one denoiser are asked in turns."""
    denoiser = Denoiser(write_model(tmp_path / "m.onnx"), engine="openvino", threads=1, tile=40)
    noisy = picture(np.uint8, 90, 100, 3)
    expected, found = denoiser(noisy), []
    threads = [threading.Thread(target=lambda: found.append(denoiser(noisy))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for clean in found:
        np.testing.assert_array_equal(clean, expected)
