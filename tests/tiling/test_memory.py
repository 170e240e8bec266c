"""How much memory there is and what a call takes; and the windows that follow from it."""

import subprocess
import sys

import numpy as np
import pytest

import shotnoise.runner as runner
from shotnoise import memory
from shotnoise.card import Card
from shotnoise.denoiser import Denoiser
from shotnoise.engines import OutOfMemoryError
from shotnoise.tiling import plan_tiles


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes what the system says: `system(meminfo, limit, used)`."""
    meminfo, limit, used = (tmp_path / name for name in ("meminfo", "limit", "used"))
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_LIMITS", ((limit, used),))

    def say(text=None, most=None, taken=None):
        for path, content in ((meminfo, text), (limit, most), (used, taken)):
            if content is not None:
                path.write_text(content)

    return say


def test_free_memory_is_the_least_that_anybody_says(system):
    assert memory.free_memory() is None  # no such system
    system("MemTotal:  9 kB\nMemFree:  1 kB\nMemAvailable:  4000 kB\n")
    assert memory.free_memory() == 4_096_000
    system(most="max\n", taken="17\n")
    assert memory.free_memory() == 4_096_000
    system(most="1000000\n", taken="400000\n")
    assert memory.free_memory() == 600_000
    system(most="1000", taken="2000")
    assert memory.free_memory() == 0
    system("something else")
    assert memory.free_memory() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")
def test_the_memory_of_a_call_is_that_at_its_peak():
    # In a process of its own: one that ran other tests has freed memory to give, and grows by less.
    code = """
import time, numpy
from shotnoise.memory import memory_of
def call():
    values = numpy.ones(100 * 2**20, numpy.uint8)
    time.sleep(0.2)
    del values
print(memory_of(call))
"""
    grown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(grown) == pytest.approx(100 * 2**20, rel=0.2)
    with pytest.raises(ZeroDivisionError):
        memory.memory_of(lambda: 1 / 0)


def test_unknown_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_RESIDENT", tmp_path / "none")
    assert memory.memory_of(lambda: None) is None


class FarSighted:
    """An engine whose context is larger than its usual windows, at a known cost."""

    def __init__(self, provider="cpu", halo=600, **card):
        self.card = Card(name="far", kind="rgb", channels=3, halo=halo, **card)
        self.provider, self.shapes = provider, []

    def run(self, noisy, level=None, latent=None):
        assert (level is None, latent is None) == (self.card.level == "none", self.card.latent is None)
        self.shapes.append(noisy.shape)
        return noisy

    def describe(self):
        return {"provider": self.provider}


@pytest.fixture
def frame():
    return plan_tiles(4000, 3000, halo=600, budget=2**21)


def budget(monkeypatch, frame, engine, free, pixel=1000):
    def measured(call):
        call()
        return int((pixel - 120) * 384**2)  # without what the windows take outside of the engine

    monkeypatch.setattr(runner, "free_memory", lambda: free)
    monkeypatch.setattr(runner, "memory_of", measured)
    return Denoiser(engine)._budget(frame)


def test_windows_grow_where_their_context_is_most_of_the_work(monkeypatch, frame):
    assert frame.work > 5
    assert budget(monkeypatch, frame, FarSighted(), 8_000_000_000) == pytest.approx(4_000_000, abs=1)
    assert budget(monkeypatch, frame, FarSighted(), 10**12) == pytest.approx(4.294967296e6, abs=1)  # no more than 4 GiB
    assert budget(monkeypatch, frame, FarSighted(), 10**12, pixel=200) == pytest.approx(21.47483648e6, abs=1)
    taking = FarSighted(level="sigma", latent={"channels": 3, "reduction": 1})
    assert budget(monkeypatch, frame, taking, 10**12) > runner.DEFAULT_BUDGET
    assert taking.shapes == [(1, 3, 384, 384)]


@pytest.mark.parametrize("free", [None, 1_000_000_000, 0])
def test_they_do_not_where_memory_is_short_or_unknown(monkeypatch, frame, free):
    assert budget(monkeypatch, frame, FarSighted(), free) == runner.DEFAULT_BUDGET


def test_nothing_is_measured_where_it_would_not_help(monkeypatch, frame):
    near, gpu = FarSighted(halo=72), FarSighted("cuda")
    assert budget(monkeypatch, plan_tiles(4000, 6000, halo=72, multiple=8), near, 10**12) == runner.DEFAULT_BUDGET
    assert budget(monkeypatch, frame, gpu, 10**12) == runner.DEFAULT_BUDGET
    assert near.shapes == gpu.shapes == []


def test_not_even_a_small_window_fits(monkeypatch, frame):
    def full(noisy, *_):
        raise OutOfMemoryError("no memory")

    engine = FarSighted()
    engine.run = full
    assert budget(monkeypatch, frame, engine, 10**12) == runner.DEFAULT_BUDGET


def test_the_windows_of_a_picture_follow(monkeypatch):
    """With context that would make the work five times as much, and memory at hand, it goes in one piece."""
    monkeypatch.setattr(runner, "DEFAULT_BUDGET", 60_000)
    monkeypatch.setattr(runner, "_WASTED", 100_000)
    noisy = np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8)
    engine = FarSighted(halo=90)
    monkeypatch.setattr(runner, "free_memory", lambda: None)
    Denoiser(engine)(noisy)
    assert len(engine.shapes) > 20
    engine.shapes.clear()
    monkeypatch.setattr(runner, "free_memory", lambda: 10**10)
    np.testing.assert_array_equal(Denoiser(engine)(noisy), noisy)
    assert engine.shapes == [(1, 3, 384, 384), (1, 3, 500, 600)]
    engine.shapes.clear()
    Denoiser(engine, tile=200)(noisy)  # as it was asked for
    assert {shape[2:] for shape in engine.shapes} == {(200, 200)}
