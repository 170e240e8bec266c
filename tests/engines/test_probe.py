"""The measurement that chooses between engines: with fakes whose times and errors are known, and their own clock."""

import json
import logging

import numpy as np
import pytest

import shotnoise.engines.choice as choice
from shotnoise.card import Card
from shotnoise.engines import cache, machine, open_engine, openvino, probe
from shotnoise.engines.abilities import TOLERANCES
from shotnoise.engines.cache import Measurement, recall, remember
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.engines.probe import Candidate
from shotnoise.errors import EngineError
from tiny_models import write_model

FIRST, SECOND, HALF = Candidate("onnxruntime", "fp32"), Candidate("openvino", "fp32"), Candidate("openvino", "bf16")


class Bench:
    """Engines that take known times, in seconds for each pixel of a window, and the clock they move."""

    def __init__(self, file, **options):
        self.file, self.now, self.opened, self.windows = file, 0.0, [], []
        self.times = options.get("times", {FIRST: 1e-6, SECOND: 1e-6, HALF: 1e-6})
        self.errors = options.get("errors", {})
        self.refuses = options.get("refuses", ())
        self.opening = options.get("opening", 0.1)

    def clock(self):
        return self.now

    def open(self, candidate):
        self.opened.append(candidate)
        self.now += self.opening
        if candidate in self.refuses:
            raise EngineError(f"{candidate} cannot run here")
        return FakeEngine(self, candidate)

    def choose(self, candidates=(FIRST, SECOND), **options):
        self.opened.clear()
        return probe.choose(self.file, candidates, self.open, threads=options.get("threads", 1), clock=self.clock)


class FakeEngine:
    def __init__(self, bench, candidate):
        self.bench, self.candidate, self.card, self.runs = bench, candidate, bench.file.card, 0

    def run(self, noisy, level=None, latent=None):
        assert (level is not None) == (self.card.level == "sigma")
        self.runs += 1
        self.bench.windows.append(noisy.shape)
        self.bench.now += self.bench.times[self.candidate] * noisy.shape[2] * noisy.shape[3]
        return noisy + np.float32(self.bench.errors.get(self.candidate, 0))

    def describe(self):
        return {"engine": self.candidate.engine}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOTNOISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probe, "busy", lambda: False)
    return read_onnx(write_model(tmp_path / "m.onnx", level="sigma", shape="strided"))


def test_the_fastest_is_taken_and_remembered(file):
    bench = Bench(file, times={FIRST: 1e-6, SECOND: 0.5e-6})
    engine, reason = bench.choose()
    assert engine.candidate == SECOND
    assert reason == "measured 2.0 times as fast as onnxruntime here"
    engine, reason = bench.choose()
    assert bench.opened == [SECOND]  # and nothing else is imported or run
    assert engine.runs == 0
    assert reason == "measured 2.0 times as fast as onnxruntime here (cached)"


def test_the_first_stays_unless_another_is_clearly_faster(file):
    bench = Bench(file, times={FIRST: 1e-6, SECOND: 0.9e-6})
    engine, reason = bench.choose()
    assert engine.candidate == FIRST
    assert reason == "measured, and openvino is not 1.2 times as fast here"
    engine, reason = Bench(file, times={FIRST: 1e-6, SECOND: 3e-6}).choose(threads=2)
    assert engine.candidate == FIRST
    assert reason == "measured 3.0 times as fast as openvino here"


def test_three_candidates(file):
    bench = Bench(file, times={FIRST: 1e-6, SECOND: 0.9e-6, HALF: 0.4e-6}, errors={HALF: 0.01})
    engine, reason = bench.choose((FIRST, SECOND, HALF))
    assert engine.candidate == HALF
    assert reason == "measured 2.5 times as fast as onnxruntime here"


def test_one_precision_against_another_of_the_same_engine(file):
    bench = Bench(file, times={SECOND: 1e-6, HALF: 0.5e-6})
    assert bench.choose((SECOND, HALF))[1] == "measured 2.0 times as fast as openvino here"
    bench = Bench(file, times={SECOND: 1e-6, HALF: 2e-6})
    assert bench.choose((SECOND, HALF), threads=3)[1] == "measured 2.0 times as fast as openvino in bf16 here"


@pytest.mark.parametrize(("candidate", "error"), [(SECOND, 0.002), (HALF, 0.1), (SECOND, np.nan)])
def test_other_results_are_no_candidate(file, caplog, candidate, error):
    times = {FIRST: 1e-6, candidate: 0.1e-6}
    with caplog.at_level(logging.WARNING):
        engine, reason = Bench(file, times=times, errors={candidate: error}).choose((FIRST, candidate))
    assert engine.candidate == FIRST
    assert reason == f"chosen because {candidate} gave other results"
    assert f"{candidate} is not used: its result differs from that of onnxruntime by" in caplog.text


def test_a_candidate_that_cannot_run_is_left_out(file):
    bench = Bench(file, refuses=(HALF,))
    assert bench.choose((FIRST, HALF))[1] == ""  # nothing was measured
    assert bench.windows == []
    bench = Bench(file, refuses=(FIRST,))
    engine, reason = bench.choose((FIRST, SECOND), threads=2)
    assert (engine.candidate, reason) == (SECOND, "chosen because no other runs here")
    with pytest.raises(EngineError, match="onnxruntime cannot run here"):
        Bench(file, refuses=(FIRST, SECOND)).choose(threads=3)


def test_one_that_ran_before_and_does_not_now_is_measured_again(file, caplog):
    times = {FIRST: 1e-6, SECOND: 0.5e-6}
    Bench(file, times=times).choose()
    with caplog.at_level(logging.WARNING):
        engine, _ = Bench(file, times=times, refuses=(SECOND,)).choose()
    assert engine.candidate == FIRST
    assert "openvino was fastest and does not run now" in caplog.text
    assert Bench(file, times=times).choose()[0].candidate == FIRST  # which is remembered


def test_the_window_is_the_largest_that_takes_little_time(file):
    for seconds, side in ((1e-6, 256), (5e-6, 128), (1e-5, 64)):
        bench = Bench(file, times={FIRST: seconds, SECOND: seconds})
        bench.choose(threads=side)
        assert bench.windows[-1] == (1, 3, side, side)


def test_a_measurement_ends_in_time(file):
    for seconds in (1e-6, 1e-5, 1e-4):
        bench = Bench(file, times={FIRST: seconds, SECOND: seconds}, opening=0.3)
        bench.choose(threads=round(1e7 * seconds))
        runs = seconds * 64 * 64
        assert bench.now < 1.5 + 6 * runs
    bench = Bench(file, times={FIRST: 1e-5, SECOND: 1e-5}, opening=3)  # imported from a cold disk: one round
    bench.choose(threads=99)
    assert len(bench.windows) == 3 + 1 + 2


def test_slow_models_are_not_measured(file):
    bench = Bench(file, times={FIRST: 2e-4, SECOND: 1e-4})
    engine, reason = bench.choose()
    assert (engine.candidate, reason) == (FIRST, "")
    assert len(bench.windows) == 2
    bench.choose()
    assert len(bench.windows) == 2  # nor tried again


def test_a_model_of_fixed_size_runs_in_its_size(file, tmp_path):
    path = write_model(tmp_path / "f.onnx", inputs={"noisy": [1, 3, 16, 24]}, size=(16, 24))
    bench = Bench(read_onnx(path))
    bench.choose()
    assert set(bench.windows) == {(1, 3, 16, 24)}


def test_a_busy_machine_measures_nothing_and_remembers_nothing(file, monkeypatch):
    monkeypatch.setattr(probe, "busy", lambda: True)
    bench = Bench(file, times={FIRST: 1e-6, SECOND: 0.5e-6})
    assert bench.choose()[1] == "not measured, as the machine is too busy now"
    monkeypatch.setattr(probe, "busy", lambda: False)
    assert bench.choose()[0].candidate == SECOND


def test_everything_that_matters_is_in_the_key(file, tmp_path, monkeypatch):
    def key(**changes):
        given = {"file": file, "candidates": (FIRST, SECOND), "threads": 1} | changes
        return probe._key(given["file"], given["candidates"], given["threads"])

    other = read_onnx(write_model(tmp_path / "other.onnx", seed=1))
    keys = [key(), key(file=other), key(candidates=(FIRST, HALF)), key(threads=None)]
    for name, value in (("processor", "Zen 9"), ("instructions", ("AVX9",)), ("cores", 96)):
        with monkeypatch.context() as patch:
            patch.setattr(probe, name, lambda value=value: value)
            keys.append(key())
    with monkeypatch.context() as patch:
        patch.setattr(probe, "_version", lambda name: "9.9")
        keys.append(key())
    assert len(set(keys)) == len(keys)
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / "m.onnx"
    moved.write_bytes(file.path.read_bytes())
    assert key(file=read_onnx(moved)) == keys[0]  # the content counts, not the place


FOUND = Measurement(model="m.onnx", engine="openvino", precision="fp32", seconds={"openvino": 0.1}, wrong={})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\x00",
        b'{"version": 2, "measurements": {}}',
        b'{"version": 1, "measurements": {"k": {"engine": 1}}}',
        b'{"version": 1, "measurements": {}, "more": 1}',
    ],
)
def test_a_damaged_or_foreign_cache_is_an_empty_one(file, tmp_path, content):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "engines.json").write_bytes(content)
    assert recall("k") is None
    remember("k", FOUND)
    assert recall("k") == FOUND
    assert list(folder.iterdir()) == [folder / "engines.json"]  # no temporary file is left


def test_an_entry_that_names_no_candidate_is_measured_again(file):
    bench = Bench(file)
    key = probe._key(file, (FIRST, SECOND), 1)
    remember(key, FOUND.model_copy(update={"engine": "quantum"}))
    assert bench.choose()[0].candidate == FIRST
    assert recall(key).engine == "onnxruntime"


def test_the_cache_does_not_grow_for_ever(file, monkeypatch):
    monkeypatch.setattr(cache, "_MOST", 3)
    for number in range(5):
        remember(str(number), FOUND)
    assert [recall(str(number)) is not None for number in range(5)] == [False, False, True, True, True]
    cache.forget()
    assert recall("4") is None
    cache.forget()


def test_a_cache_that_cannot_be_written_breaks_nothing(file, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for place in ("/dev/null", tmp_path / "file" / "below"):
        monkeypatch.setenv("SHOTNOISE_CACHE", str(place))
        assert cache.make_folder() is None
        remember("k", FOUND)
        assert recall("k") is None
        cache.forget()
        assert open_engine(file.path).describe()["reason"].startswith("chosen for .onnx files; on the CPU")


def test_open_engine_measures_once_and_then_imports_only_what_was_faster(file, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(choice, "choose", lambda *args, **named: calls.append(1) or probe.choose(*args, **named))
    real = probe._measured

    def measured(*args):
        times, wrong = real(*args)
        return dict.fromkeys(times, 1.0) | {FIRST: 0.4}, wrong

    monkeypatch.setattr(probe, "_measured", measured)
    described = open_engine(file.path, threads=1).describe()
    assert described["engine"] == "onnxruntime"
    assert described["reason"].startswith("measured 2.5 times as fast as openvino here; on the CPU")
    stored = json.loads((tmp_path / "cache" / "engines.json").read_text())
    (entry,) = stored["measurements"].values()
    assert (entry["model"], entry["engine"], entry["precision"]) == ("m.onnx", "onnxruntime", "fp32")
    monkeypatch.setattr(probe, "_measured", None)
    monkeypatch.setattr(openvino, "require", None)  # which would import it
    again = open_engine(file.path, threads=1).describe()["reason"]
    assert again.startswith("measured 2.5 times as fast as openvino here (cached); on the CPU")
    assert len(calls) == 2


def test_an_engine_with_bf16_alone_is_measured_too(file, monkeypatch):
    monkeypatch.setattr(choice, "instructions", lambda: ("AVX-512", "BF16"))
    seen = []

    def fake(file, candidates, open_candidate, threads):
        seen.extend(candidates)
        return open_candidate(candidates[0]), "measured"

    monkeypatch.setattr(choice, "choose", fake)
    assert open_engine(file.path, "openvino").describe()["reason"] == "asked for; measured; on the CPU"
    assert seen == [SECOND, HALF]
    seen.clear()
    assert open_engine(file.path).describe()["engine"] == "onnxruntime"
    assert seen == [FIRST, SECOND, HALF]
    seen.clear()
    open_engine(file.path, precision="fp32")
    assert seen == [FIRST, SECOND]
    monkeypatch.setattr(choice, "instructions", lambda: ("AVX2",))
    seen.clear()
    open_engine(file.path)
    assert seen == [FIRST, SECOND]


CPUINFO = {
    "model name\t: Zen 4\nflags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16\n\nmodel name\t: other\n": (
        "Zen 4",
        ("AVX2", "AVX-512", "VNNI", "BF16"),
    ),
    "processor\t: 0\nFeatures\t: fp asimd asimdhp i8mm bf16\n": (None, ("NEON", "I8MM", "BF16", "FP16")),
    "": (None, None),
}


@pytest.mark.parametrize("text", CPUINFO)
def test_what_the_processor_can_do(monkeypatch, tmp_path, text):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "cpuinfo")
    name, sets = CPUINFO[text]
    assert machine.instructions.__wrapped__() == sets
    assert machine.processor.__wrapped__() == name or (name is None and machine.processor.__wrapped__())
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "missing")
    assert machine.instructions.__wrapped__() is None
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (1000.0, 0, 0))
    assert machine.busy()


def test_an_int8_model_is_compared_as_one_whatever_the_rest_calculates_in():
    both = [Candidate(name, "fp32") for name in ("onnxruntime", "openvino")]
    for precision in ("fp32", "int8"):
        card = Card(name="x", kind="rgb", channels=3, precision=precision)
        assert probe._tolerance(card, *both) == TOLERANCES[precision]
