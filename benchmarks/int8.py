"""What does int8 cost and bring, by model and back-end; and what does placing the rounding bring?

Files are made as `shotnoise export --int8` makes them, from training pictures; only then Kodak24 is looked at. All
contestants of a speed take turns in one process on one thread, so quote the ratios. "placed by onnxruntime" is its own
tool with its defaults: everything that it can round, sums and the output among it. A RAW model is measured by the
protocols raw/kodak24/iso* as well, on whole pictures.

    python benchmarks/int8.py SETS [--crop 256] [--models gaussian raw] [--json benchmarks/results/int8.json]

SETS is the folder that holds kodak24, clic2025 and cid22. What the JSON holds already is not measured again.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253  (all three are what is measured)
import onnxruntime  # noqa: TID253
import openvino  # noqa: TID253
from onnxruntime.quantization import (  # noqa: TID253
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from shotnoise.bundled import find_model
from shotnoise.card import Card
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import ModelError
from shotnoise.evaluation import ModelUnderTest, find_pictures, get_protocol
from shotnoise.evaluation import psnr as psnr_of
from shotnoise.export import quantise
from shotnoise.export.pictures import Pictures, Step, noisy_steps, psnr
from shotnoise.export.source import run, session
from shotnoise.images import list_pictures, open_image
from shotnoise.store import planes

_SIDE = 512  # of what is timed
_ISOS = (800, 1600, 3200, 6400)


def crops(folder: Path, side: int) -> list[np.ndarray]:
    """The middle of each picture."""
    found = []
    for path in list_pictures(folder):
        pixels = planes(open_image(path).pixels, 3)
        top, left = ((length - side) // 2 for length in pixels.shape[1:])
        found.append(np.ascontiguousarray(pixels[:, top : top + side, left : left + side]))
    return found


def quality(content: bytes, steps: Sequence[Step]) -> dict[str, float]:
    opened = session(content, threads=1)
    return {step.name: float(np.mean([psnr(one, run(opened, one)) for one in step.pictures])) for step in steps}


def by_protocol(contents: dict[str, bytes], sets: Path) -> dict[str, dict[str, float]]:
    """PSNR in RAW of whole Kodak pictures: file -> ISO -> mean."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            file = Path(folder) / "model.onnx"
            file.write_bytes(content)
            model = ModelUnderTest(file, "onnxruntime")
            for iso in _ISOS:
                protocol = get_protocol(f"raw/kodak24/iso{iso}")
                trials = (protocol.trial(path, 4, protocol.generator()) for path in find_pictures(protocol, sets)[1])
                values = [psnr_of(one.judged(model(one.noisy, one.told)), one.clean, 1.0) for one in trials]
                found.setdefault(name, {})[f"ISO {iso}"] = statistics.fmean(values)
    return found


class Reader(CalibrationDataReader):
    """The calibration pictures for the tool of onnxruntime."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._inputs = iter([one.inputs for step in steps for one in step.pictures])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next picture."""
        return next(self._inputs, None)


def placed_by_tool(model: Path, card: Card, pictures: Pictures, folder: Path) -> bytes:
    steps = noisy_steps(card, pictures.crops(card, 10, half=0), beyond=True)
    target = folder / "tool.onnx"
    quantize_static(
        model,
        target,
        Reader(steps),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return target.read_bytes()


def contestants(content: bytes) -> dict[str, Callable[[dict[str, Any]], Any]]:
    opened = session(content, threads=1)
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(content), "CPU", settings).create_infer_request()
    return {"onnxruntime": lambda inputs: opened.run(["clean"], inputs), "openvino": request.infer}


def speeds(contents: dict[str, bytes], card: Card, rounds: int) -> dict[str, dict[str, float]]:
    """CPU milliseconds per megapixel of what the model sees: file -> engine -> number."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {"noisy": rng.random((1, card.channels, _SIDE, _SIDE), np.float32)}
    if card.level == "sigma":
        inputs["level"] = np.full((1, 1, 1, 1), 0.1, np.float32)
    runs = {(name, engine): work for name, file in contents.items() for engine, work in contestants(file).items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for turn in range(rounds + 1):
        for key, work in runs.items():
            started = time.process_time()
            work(inputs)
            if turn:
                times[key].append(time.process_time() - started)
    found: dict[str, dict[str, float]] = {}
    for (name, engine), seconds in times.items():
        found.setdefault(name, {})[engine] = 1000 * statistics.median(seconds) / (_SIDE**2 / 1e6)
    return found


def kernels(content: bytes) -> dict[str, dict[str, int]]:
    """How many convolutions run as int8 and how many as float, in each engine."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        nodes = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
    types = [str(info["primitiveType"].value) for info in infos if "onvolution" in str(info["layerType"].value)]
    return {
        "onnxruntime": {"int8": nodes.count("QLinearConv"), "float": nodes.count("Conv") + nodes.count("FusedConv")},
        "openvino": {"int8": sum("I8" in kind for kind in types), "float": sum("I8" not in kind for kind in types)},
    }


def measure(model: str, sets: Path, crop: int, rounds: int) -> dict[str, Any]:
    file = find_model(model)
    source = read_onnx(file)
    training = [sets / "clic2025", sets / "cid22"]
    contents, facts = {"fp32": source.content}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for backend in ("onnxruntime", "nncf"):
            try:
                done = quantise(model, folder / f"{backend}.onnx", calibration=training, backend=backend)
            except ModelError as error:  # the budget cannot be kept
                facts[backend] = {"refused": str(error)}
                continue
            contents[backend] = done.path.read_bytes()
            facts[backend] = {"share": done.share, "shift": done.shift} | done.card.quantisation.model_dump()
        contents["placed by onnxruntime"] = placed_by_tool(file, source.card, Pictures(training), folder)
    judged = noisy_steps(source.card, crops(sets / "kodak24", crop), seed=25)
    dB = {name: quality(content, judged) for name, content in contents.items()}
    return {
        "crop": crop,
        "noise": {step.name: step.level for step in judged},
        "psnr": dB,
        "loss": {name: {step: dB["fp32"][step] - value for step, value in row.items()} for name, row in dB.items()},
        "protocol": by_protocol(contents, sets) if source.card.kind == "raw" else {},
        "bytes": {name: len(content) for name, content in contents.items()},
        "cpu_ms_per_megapixel": speeds(contents, source.card, rounds),
        "kernels": {name: kernels(content) for name, content in contents.items()},
        "quantisation": facts,
    }


def show(model: str, found: dict[str, Any]) -> None:
    print(f"\n{model}, Kodak24 ({found['crop']} px in the middle): dB lost, size, CPU ms per megapixel (of fp32)")
    heads = "".join(f"{name:>10}" for name in found["noise"])
    print(f"{'':<24}{heads}{'MB':>7}{'onnxruntime':>16}{'openvino':>15}")
    fast = found["cpu_ms_per_megapixel"]
    for name, row in found["loss"].items():
        values = found["psnr"][name] if name == "fp32" else row
        numbers = "".join(f"{value:>10.2f}" if name == "fp32" else f"{value:>10.3f}" for value in values.values())
        times = "".join(
            f"{fast[name][engine]:>8.0f} ({fast[name][engine] / fast['fp32'][engine]:.2f})"
            for engine in ("onnxruntime", "openvino")
        )
        print(f"{name:<24}{numbers}{found['bytes'][name] / 1e6:>7.1f}  {times}")
    for name, row in found["protocol"].items():
        values = ", ".join(f"{iso}: {value:.2f} dB" for iso, value in row.items())
        print(f"{name:<24}whole pictures, {values}")
    for name, fact in found["quantisation"].items():
        if "refused" in fact:
            print(f"{name:<24}{fact['refused']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--crop", type=int, default=256, help="side of what is judged of each picture")
    parser.add_argument("--models", nargs="+", default=["gaussian", "raw"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report: dict[str, Any] = {"models": {}}
    if given.json is not None and given.json.is_file():
        report = json.loads(given.json.read_text())
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    report["machine"] = {
        "processor": next((line.split(":")[1].strip() for line in flags.splitlines() if "model name" in line), ""),
        "instructions": [name for name in ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8") if name in flags],
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("onnxruntime", "openvino", "nncf")},
    }
    for model in given.models:
        key = read_onnx(find_model(model)).sha256
        found = report["models"].get(model)
        if found is None or found["sha256"] != key or found["crop"] != given.crop or "protocol" not in found:
            found = {"sha256": key} | measure(model, given.sets, given.crop, given.rounds)
            report["models"][model] = found
            if given.json is not None:
                given.json.write_text(json.dumps(report, indent=1) + "\n")
        show(model, found)


if __name__ == "__main__":
    main()
