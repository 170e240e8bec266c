import numpy as np
import pytest
from PIL import Image

from shotnoise.errors import EngineError
from shotnoise.evaluation.benchmark import Case, Energy, Spread, Timing
from shotnoise.evaluation.benchmark_figure import check_figure, write_figure

MACHINE = {"processor": "Fast", "system": "Linux x86_64", "cores": 2}


def timing(engine, milliseconds, *, energy=None):
    """A picture of 100x100, 0.01 megapixels, that takes so long, all in the network."""
    none, whole = Spread(0.0, 0.0, 0.0), Spread(milliseconds, milliseconds, milliseconds)
    ran = {"engine": engine, "version": "1", "provider": "cpu", "threads": 1, "precision": "fp32", "reason": ""}
    case = Case("m.onnx", engine, 100, 100, 1, 1)
    return Timing(case, ran, none, whole, none, whole, whole, 1.0, 100.0, energy, 3)


def test_bars_are_as_long_as_the_times(tmp_path):
    """Pixels of the network's blue, row by row: two blocks, one three times as long as the other."""
    path = tmp_path / "bars.png"
    write_figure(path, [timing("onnxruntime", 30.0), timing("openvino", 10.0, energy=Energy(1.5, ("x",)))], MACHINE)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    legend = 100  # rows that hold title and legend
    blue = (np.abs(picture - (0x1D, 0x4E, 0xD8)).max(axis=2) < 8)[legend:]
    lengths = blue.sum(axis=1)
    rows = np.flatnonzero(lengths > 20)
    assert (np.diff(rows) > 1).sum() == 1  # two bars
    first, second = lengths[rows[2]], lengths[rows[-3]]
    assert first == pytest.approx(3 * second, rel=0.03)


def test_what_cannot_be_drawn_is_refused_before_it_is_measured(tmp_path):
    check_figure(tmp_path / "a.png", 10)
    with pytest.raises(EngineError, match=r"a\.pdf: expected a file name that ends in \.png"):
        check_figure(tmp_path / "a.pdf", 1)
    with pytest.raises(EngineError, match=r"there is no folder .*missing; make it first"):
        check_figure(tmp_path / "missing" / "a.png", 1)
    with pytest.raises(EngineError, match="of 61 combinations cannot be read; expected at most 60"):
        check_figure(tmp_path / "a.png", 61)
