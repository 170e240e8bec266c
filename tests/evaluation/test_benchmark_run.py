import json
import sys

import numpy as np
import pytest

from shotnoise.errors import EngineError, ModelError
from shotnoise.evaluation import benchmark as room
from shotnoise.evaluation.benchmark import Case, benchmark, measure, plan_cases
from tiny_models import write_model


@pytest.fixture
def model(tmp_path):
    return str(write_model(tmp_path / "m.onnx", level="sigma", shape="strided"))


def test_all_combinations(model):
    cases = plan_cases([model], engines=["auto", "onnxruntime"], sizes=[(8, 9), (5, 5)], threads=[1, 2], batches=[1, 3])
    assert len(set(cases)) == 16
    assert cases[0] == Case(model, "auto", 8, 9, 1, 1, "f32")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": [0]}, "threads is 0; expected at least 1"),
        ({"batches": [2, 0]}, "batch is 0"),
        ({"sizes": [(0, 5)]}, "size is 0"),
        ({"batches": [2, 2]}, "the same batch is given twice"),
        ({"precision": "bf16"}, "the engine 'auto' has no bf16; use --engine openvino"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; expected f32 or bf16"),
        ({"engines": ["torch"]}, "the engine 'torch' cannot run m.onnx"),
        ({"engines": ["onnx"]}, "unknown engine 'onnx'"),
    ],
)
def test_contradictions_are_refused_before_anything_runs(model, options, words):
    with pytest.raises(EngineError, match=words):
        plan_cases([model], **options)


def test_unknown_models_are_refused_before_anything_runs(model):
    with pytest.raises(ModelError, match="no such model file"):
        plan_cases([model, "missing.onnx"])


def test_stages_are_told_apart_and_the_warm_up_is_not_counted(monkeypatch, model):
    """A clock that advances by known steps, one per reading: 1, 10, 100 in the warm-up, later 2, 20, 200 ms."""
    steps = iter([0, 1, 10, 100] + [0, 2, 20, 200] * 3 + [0, 4, 40, 400])
    now = 0.0

    def clock():
        nonlocal now
        now += next(steps) / 1e3
        return now

    monkeypatch.setattr(room.time, "perf_counter", clock)
    timing = measure(Case(model, "onnxruntime", 20, 31, 1, 2, "f32"), warmup=1, repeats=4)
    assert timing.pre == pytest.approx((2, np.percentile([2, 2, 2, 4], 90)))
    assert timing.inference == pytest.approx((20, np.percentile([20, 20, 20, 40], 90)))
    assert timing.post[0] == pytest.approx(200)
    assert timing.megapixels_per_second == pytest.approx(2 * 20 * 31 / 1e6 / 0.222)
    assert timing.ran["threads"] == 1


def test_a_process_of_its_own_measures_each(model):
    steps = []
    cases = plan_cases([model], engines=["onnxruntime"], sizes=[(33, 50)], threads=[1])
    (timing,) = benchmark(cases, warmup=0, repeats=2, progress=lambda *step: steps.append(step))
    assert steps == [(1, 1)]
    assert timing.case == cases[0]
    assert timing.repeats == 2
    assert timing.peak_mb is None or 20 < timing.peak_mb < 1000
    content = json.loads(json.dumps(timing.to_json()))
    assert set(content["inference"]) == {"median", "p90"}
    assert content["case"]["height"] == 33
    with pytest.raises(EngineError, match="warmup is 0 and repeats 0"):
        benchmark(cases, warmup=0, repeats=0)


def test_bfloat16_with_openvino(model):
    pytest.importorskip("openvino")
    (case,) = plan_cases([model], engines=["openvino"], sizes=[(16, 16)], precision="bf16")
    assert measure(case, warmup=0, repeats=1).ran["precision"] == "bf16"


def test_a_process_that_dies_is_one_line(monkeypatch, model):
    monkeypatch.setattr(room, "measure", sys.exit)
    cases = plan_cases([model], sizes=[(8, 8)])

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


def test_a_model_fixed_to_a_size_is_measured_at_that_size(tmp_path):
    path = str(write_model(tmp_path / "m.onnx", inputs={"noisy": ["n", 3, 16, 24]}, size=(16, 24)))
    assert measure(Case(path, "auto", 16, 24, 1, 1, "f32"), 0, 1).repeats == 1
    with pytest.raises(ModelError, match=r"is fixed to 16x24, not 8x9; measure it with --size 16x24"):
        measure(Case(path, "auto", 8, 9, 1, 1, "f32"), 0, 1)
