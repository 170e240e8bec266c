import json
import sys

import numpy as np
import pytest

from shotnoise.errors import EngineError, ModelError
from shotnoise.evaluation import benchmark as room
from shotnoise.evaluation.benchmark import Case, Spread, benchmark, machine, measure, plan_cases
from tiny_models import write_model


@pytest.fixture
def model(tmp_path):
    return str(write_model(tmp_path / "m.onnx", level="sigma", shape="strided"))


def test_all_combinations(model):
    plan = plan_cases(
        [model],
        engines=["auto", "onnxruntime"],
        precisions=["auto", "fp32"],
        sizes=[(8, 9), (5, 5)],
        threads=[1, 2],
        batches=[1, 3],
    )
    assert len(set(plan.cases)) == 32
    assert plan.refused == ()
    assert plan.cases[0] == Case(model, "auto", 8, 9, 1, 1, "auto", None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": [0]}, "threads is 0; expected at least 1"),
        ({"batches": [2, 0]}, "batch is 0"),
        ({"sizes": [(0, 5)]}, "size is 0"),
        ({"batches": [2, 2]}, "the same batch is given twice"),
        ({"precisions": ["fp32", "fp32"]}, "the same precision is given twice"),
        ({"precisions": ["fp32", "bf61"]}, "unknown precision 'bf61': did you mean 'bf16'?"),
        ({"precisions": ["f32"]}, "unknown precision 'f32': did you mean 'fp32'?"),
        ({"engines": ["torch"]}, "the engine 'torch' cannot run m.onnx"),
        ({"engines": ["onnxruntime", "onnx"]}, "unknown engine 'onnx'"),
        ({"providers": ["gpu"]}, "unknown provider 'gpu'"),
        ({"engines": ["onnxruntime"], "precisions": ["int8"]}, "int8"),
    ],
)
def test_contradictions_are_refused_before_anything_runs(model, options, words):
    with pytest.raises((EngineError, ModelError), match=words):
        plan_cases([model], **options)


def test_unknown_models_are_refused_before_anything_runs(model):
    with pytest.raises(ModelError, match="no such model file"):
        plan_cases([model, "missing.onnx"])


def test_what_cannot_run_among_what_can_is_listed_with_its_reason(model):
    plan = plan_cases([model], engines=["onnxruntime", "torch"], precisions=["fp32", "int8"], threads=[1, 2])
    assert [(case.engine, case.precision, case.threads) for case in plan.cases] == [
        ("onnxruntime", "fp32", 1),
        ("onnxruntime", "fp32", 2),
    ]
    listed = {(refusal.engine, refusal.precision): refusal.reason for refusal in plan.refused}
    assert set(listed) == {("onnxruntime", "int8"), ("torch", "fp32"), ("torch", "int8")}
    assert "int8" in listed["onnxruntime", "int8"]
    assert "cannot run m.onnx" in listed["torch", "fp32"]


def test_a_model_that_nothing_can_run_is_not_hidden_behind_one_that_runs(model, tmp_path):
    fixed = str(write_model(tmp_path / "f.onnx", inputs={"noisy": ["n", 3, 16, 24]}, size=(16, 24)))
    with pytest.raises(ModelError, match=r"f\.onnx: is fixed to 16x24, not 8x8; measure it with --size 16x24"):
        plan_cases([model, fixed], engines=["onnxruntime"], sizes=[(8, 8)])
    assert plan_cases([fixed], engines=["onnxruntime"], sizes=[(16, 24)]).cases


def test_stages_are_told_apart_and_the_warm_up_is_not_counted(monkeypatch, model):
    """A clock that advances by known steps, one per reading: 1, 10, 100 in the warm-up, later 2, 20, 200 ms."""
    steps = iter([0, 1, 10, 100] + [0, 2, 20, 200] * 3 + [0, 4, 40, 400])
    now = 0.0

    def clock():
        nonlocal now
        now += next(steps) / 1e3
        return now

    used = iter([0, 50, 50, 60, 60, 70, 70, 80, 80, 120])
    monkeypatch.setattr(room.time, "perf_counter", clock)
    monkeypatch.setattr(room.time, "process_time", lambda: next(used) / 1e3)
    timing = measure(Case(model, "onnxruntime", 20, 31, 1, 2, "fp32"), warmup=1, repeats=4)
    assert timing.pre.median == pytest.approx(2)
    assert timing.pre.p90 == pytest.approx(np.percentile([2, 2, 2, 4], 90))
    assert timing.inference.median == pytest.approx(20)
    assert timing.post.least == pytest.approx(200)
    assert timing.total.median == pytest.approx(222)
    assert timing.cpu.median == pytest.approx(10)
    assert timing.cpu.p90 == pytest.approx(np.percentile([10, 10, 10, 40], 90))
    assert timing.megapixels_per_second == pytest.approx(2 * 20 * 31 / 1e6 / 0.222)
    assert timing.ran["threads"] == 1
    assert timing.ran["precision"] == "fp32"


def test_spread_of_some_values():
    spread = Spread.of(np.array([3.0, 1.0, 2.0, 10.0]))
    assert (spread.median, spread.least) == (2.5, 1.0)
    assert spread.p90 == pytest.approx(3 + 0.7 * 7)  # rank 0.9 * 3 = 2.7, between the third and the fourth


def test_energy_is_shared_out_among_the_pictures_that_were_measured(monkeypatch, model):
    """A meter that grows by 6 J between its two readings: after the warm-up and after the last of 2 runs of 3."""
    readings = iter([100.0, 106.0])
    monkeypatch.setattr(room, "meters", lambda gpu: [_meter("package-0", readings, gpu)])
    timing = measure(Case(model, "onnxruntime", 8, 8, 1, 3, "fp32"), warmup=2, repeats=2)
    assert timing.energy.joules_per_picture == pytest.approx(1.0)
    assert timing.energy.meters == ("package-0",)
    assert timing.to_json()["energy"] == {"joules_per_picture": pytest.approx(1.0), "meters": ("package-0",)}
    monkeypatch.setattr(room, "meters", lambda gpu: [])
    assert measure(Case(model, "onnxruntime", 8, 8, 1, 1, "fp32"), 0, 1).to_json()["energy"] is None


def _meter(name, readings, gpu):
    assert gpu is False
    return type("Meter", (), {"name": name, "read": lambda self: next(readings), "full": 1e9})()


def test_a_process_of_its_own_measures_each(model):
    steps = []
    cases = plan_cases([model], engines=["onnxruntime"], sizes=[(33, 50)], threads=[1]).cases
    (timing,) = benchmark(cases, warmup=0, repeats=2, progress=lambda *step: steps.append(step))
    assert steps == [(1, 1)]
    assert timing.case == cases[0]
    assert timing.repeats == 2
    assert timing.peak_mb is None or 20 < timing.peak_mb < 1000
    content = json.loads(json.dumps(timing.to_json()))
    assert set(content["inference"]) == {"median", "p90", "least"}
    assert content["case"]["height"] == 33
    with pytest.raises(EngineError, match="warmup is 0 and repeats 0"):
        benchmark(cases, warmup=0, repeats=0)


def test_bfloat16_with_openvino(model):
    pytest.importorskip("openvino")
    try:
        (case,) = plan_cases([model], engines=["openvino"], sizes=[(16, 16)], precisions=["bf16"]).cases
    except EngineError as refusal:
        pytest.skip(str(refusal))
    assert measure(case, warmup=0, repeats=1).ran["precision"] == "bf16"


def test_a_process_that_dies_is_one_line(monkeypatch, model):
    monkeypatch.setattr(room, "measure", sys.exit)
    cases = plan_cases([model], sizes=[(8, 8)]).cases

    class Pool:
        def __init__(self, *arguments, **options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def submit(self, *arguments):
            raise room.BrokenProcessPool

    monkeypatch.setattr(room, "ProcessPoolExecutor", Pool)
    with pytest.raises(EngineError, match="with 1 x 8x8: the process died, probably for want of memory"):
        benchmark(cases)


def test_the_machine_says_what_makes_it_fast():
    facts = json.loads(json.dumps(machine()))
    assert facts["processor"]
    assert facts["instructions"] is None or isinstance(facts["instructions"], list)
    assert facts["cores"] >= 1
