"""How fast are our networks for RAW beside the RAW U-Net in plain torch, and how near to what this machine can do?

A frame of 4 x 1736 x 2312 packed planes (16 megapixels of a sensor; `--quick`: 4 x 448 x 576) goes through the RAW
U-Net of the published pipeline and through ShotNet S and M, in every engine and precision that runs here; in int8
every convolution of the graph, transposed ones excepted, is int8. Weights are random: time does not depend on them.
The unit of comparison is the U-Net in torch as one writes it down: float32, contiguous, eager.

Ceilings are measured in the same run: the fastest matrix product or stack of dense 3x3 convolutions of each type, in
any of the libraries. GOPS are 2 x multiply-accumulates over time. Each measurement is a process of its own, so that
its peak memory is its own; in each round every contestant has its turn, and ratios are medians over the rounds. A
process runs the frame until three seconds are over; of several runs the first is not counted. On a machine that has
other work, `--clock cpu` compares the time of all cores instead of the time that passes.

    python benchmarks/engine_ratios.py --json benchmarks/results/engine_ratios.json

takes ten minutes on two idle cores. With --json it can be stopped and goes on where it was, if nothing but time has
changed. The account at the end says where OpenVINO's time goes, layer by layer.
"""

import argparse
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shotnoise.card import CARD_KEY, Card
from shotnoise.engines import open_engine
from shotnoise.engines.machine import cores, instructions
from shotnoise.errors import ShotnoiseError
from shotnoise.evaluation.benchmark import machine, peak_mb
from shotnoise.export import cost, export
from shotnoise.export.qdq import convolutions, place
from shotnoise.networks import Network, create, load
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import save_checkpoint
from tables import engines

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "RAW U-Net": ("raw-unet", {}),
    "ShotNet S": ("shotnet", {"in_nc": 4, "level": "none"}),
    "ShotNet M": ("shotnet", {"in_nc": 4, "level": "none", "size": "M"}),
}
UNIT = ("RAW U-Net", "torch eager", "fp32")
FULL, QUICK = (1736, 2312), (448, 576)  # packed planes
ENGINES = ("torch", "onnxruntime", "openvino")
PRECISIONS = ("fp32", "bf16", "int8")
STACK = (128, 96, 6)  # channels, side and layers of the convolutions that ceilings are measured with
SIDE = 2048  # of the matrices
TARGETS = {"ShotNet S": 40, "ShotNet M": 20, "RAW U-Net": 6}  # times the unit, in int8
UTILISATION = 0.6  # of the ceiling, of the convolutions
LAYERS = {"Conv2d": "Convolution", "ConvTranspose2d": "ConvolutionBackpropData"}  # in torch, in OpenVINO


@dataclass(frozen=True)
class Task:
    """One thing to measure in a process of its own.

    Attributes:
        what: a network, "ceiling: convolutions" or "ceiling: matrices".
        engine: an engine, or "torch eager".
        precision: of the calculation.
        file: without a suffix; the checkpoint or the .onnx, and the int8 file, lie there.
        shape: of the input.
        operations: 2 x multiply-accumulates of a run.
        threads: of the CPU.
        seconds: how long to go on.
    """

    what: str
    engine: str
    precision: str
    file: str
    shape: tuple[int, ...]
    operations: int
    threads: int
    seconds: float

    @property
    def key(self) -> str:
        """For the JSON."""
        return f"{self.what}/{self.engine}/{self.precision}"


def work(task: Task) -> dict[str, Any]:
    """Measure in this process: medians of wall and CPU time in milliseconds, peak memory."""
    torch.set_num_threads(task.threads)
    times = []
    with torch.inference_mode():
        run = runner(task)
        begin = time.perf_counter()
        while not times or time.perf_counter() - begin < task.seconds:
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    counted = times[1:] or times
    wall, cpu = (statistics.median(values) for values in zip(*counted, strict=True))
    return {"wall_ms": round(wall, 2), "cpu_ms": round(cpu, 2), "runs": len(counted), "peak_mb": round(peak_mb() or 0)}


def runner(task: Task) -> Callable[[], Any]:
    if task.what == "ceiling: matrices":
        return matrices(task.precision)
    noisy = np.random.default_rng(0).random(task.shape, np.float32)
    if task.engine == "torch eager":
        network, seen = load(f"{task.file}.safetensors").eval(), torch.from_numpy(noisy)
        return lambda: network(seen)
    if task.what == "ceiling: convolutions" and task.engine == "torch":
        kind = torch.bfloat16 if task.precision == "bf16" else torch.float32
        stack = stacked().to(kind, memory_format=torch.channels_last)
        seen = torch.from_numpy(noisy).to(kind, memory_format=torch.channels_last)
        return lambda: stack(seen)
    suffix = ".safetensors" if task.engine.startswith("torch") else ".onnx"
    engine = open_engine(
        f"{task.file}{suffix}", task.engine, threads=task.threads, precision=task.precision, provider="cpu"
    )
    return lambda: engine.run(noisy)


def matrices(precision: str) -> Callable[[], Any]:
    if precision == "int8":
        left = torch.randint(-127, 127, (SIDE, SIDE), dtype=torch.int8)
        return lambda: torch._int_mm(left, left)
    square = torch.rand(SIDE, SIDE, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    return lambda: square @ square


def stacked() -> nn.Sequential:
    channels, _, layers = STACK
    generator = torch.Generator().manual_seed(0)
    stack = nn.Sequential()
    for _ in range(layers):
        layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.normal_(layer.weight, std=(2 / (9 * channels)) ** 0.5, generator=generator)
        stack.extend([layer, nn.ReLU()])
    return stack.eval()


def write_stack(path: Path) -> None:
    """The stack as a model file, so that engines take it like any other."""
    import onnx

    channels, _, layers = STACK
    weights = [layer.weight.detach().numpy() for layer in stacked() if isinstance(layer, nn.Conv2d)]
    names = ["noisy", *(f"x{number}" for number in range(1, layers)), "clean"]
    nodes = []
    for number, (source, result) in enumerate(itertools.pairwise(names)):
        nodes.append(
            onnx.helper.make_node("Conv", [source, f"w{number}"], [f"c{number}"], f"conv{number}", pads=[1] * 4)
        )
        nodes.append(onnx.helper.make_node("Relu", [f"c{number}"], [result], f"relu{number}"))
    picture = ["n", channels, "h", "w"]
    graph = onnx.helper.make_graph(
        nodes,
        "stack",
        [onnx.helper.make_tensor_value_info("noisy", onnx.TensorProto.FLOAT, picture)],
        [onnx.helper.make_tensor_value_info("clean", onnx.TensorProto.FLOAT, picture)],
        [onnx.numpy_helper.from_array(weight, f"w{number}") for number, weight in enumerate(weights)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    save(model, Card(name="stack", kind="raw", channels=channels, halo=layers), path)


def save(model: Any, card: Card, path: Path) -> None:
    import onnx

    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.to_json()
    onnx.save(model, path)


def write_int8(path: Path, shape: tuple[int, ...]) -> None:
    """All convolutions of a model in int8, as our int8 files have them, with the ranges of one random picture."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    layers = convolutions(model)
    tensors = sorted({name for layer in layers for name in (layer.source, layer.result)})
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    inside = [name for name in tensors if name not in ("noisy", "clean")]
    probed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inside
    )
    session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    noisy = np.random.default_rng(0).random(shape, np.float32)
    found = dict(zip([value.name for value in session.get_outputs()], session.run(None, {"noisy": noisy}), strict=True))
    found["noisy"] = noisy
    ranges = {name: (float(found[name].min()), float(found[name].max())) for name in tensors}
    card = next(Card.parse(entry.value, str(path)) for entry in model.metadata_props if entry.key == CARD_KEY)
    made = place(model, [layer.name for layer in layers], ranges)
    save(made, card.model_copy(update={"precision": "int8"}), path.with_suffix(".int8.onnx"))


def random_network(name: str, arguments: dict[str, Any]) -> Network:
    """With no weight zero, which fresh networks of ours have many of."""
    torch.manual_seed(0)
    network = create(name, **arguments)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.01)
    return network.eval()


def products(network: Network, size: tuple[int, int]) -> dict[str, int]:
    """Multiply-accumulates of convolutions and of transposed ones."""
    counted = dict.fromkeys(LAYERS, 0)

    def count(layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        seen = output if isinstance(layer, nn.Conv2d) else inputs[0]
        counted[type(layer).__name__] += seen.shape[2] * seen.shape[3] * layer.weight.numel()

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    small = [side * network.multiple for side in (4, 4)]
    with torch.inference_mode():
        network(torch.zeros(1, network.channels, *small))
    for hook in hooks:
        hook.remove()
    return {kind: value * size[0] * size[1] // (small[0] * small[1]) for kind, value in counted.items()}


def prepare(folder: Path, size: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """Checkpoint, .onnx and int8 .onnx of every network, and what they compute."""
    facts = {}
    for label, (name, arguments) in NETWORKS.items():
        network = random_network(name, arguments)
        file = folder / label.lower().replace(" ", "-")
        save_checkpoint(file.with_suffix(".safetensors"), network, bare_card(network, file))
        export(file.with_suffix(".safetensors"), file.with_suffix(".onnx"))
        write_int8(file.with_suffix(".onnx"), (1, network.channels, *(8 * network.multiple for _ in "HW")))
        counted = cost(network, height=size[0], width=size[1])
        facts[label] = {
            "file": str(file),
            "shape": (1, network.channels, counted.height, counted.width),
            "gmac": counted.macs / 1e9,
            "parameters": counted.parameters,
            "products": products(network, (counted.height, counted.width)),
        }
    channels, side, _ = STACK
    write_stack(folder / "stack.onnx")
    write_int8(folder / "stack.onnx", (1, channels, side, side))
    return facts


def plan(facts: dict[str, dict[str, Any]], folder: Path, options: argparse.Namespace) -> tuple[list[Task], list[Task]]:
    """What to measure: ceilings, and networks."""
    channels, side, layers = STACK
    common = {"threads": options.threads, "seconds": options.seconds}
    convolved = {"file": str(folder / "stack"), "shape": (1, channels, side, side)}
    convolved["operations"] = 2 * 9 * channels**2 * side**2 * layers
    ceilings = [Task("ceiling: matrices", "torch", p, "", (SIDE, SIDE), 2 * SIDE**3, **common) for p in PRECISIONS]
    for engine in ("torch", "onnxruntime", "openvino"):
        ceilings += [Task("ceiling: convolutions", engine, p, **convolved, **common) for p in PRECISIONS]
    networks = []
    for label, fact in facts.items():
        about = {"file": fact["file"], "shape": fact["shape"], "operations": round(2e9 * fact["gmac"])}
        kinds = [("torch eager", "fp32"), *((e, p) for e in options.engine or ENGINES for p in PRECISIONS)]
        networks += [Task(label, engine, precision, **about, **common) for engine, precision in kinds]
    return ceilings, networks


def refusal(task: Task) -> str | None:
    """What is not worth the time; what engines refuse themselves, they say themselves."""
    known = instructions()
    if task.precision == "bf16" and known is not None and not {"BF16", "AMX"} & {*known}:
        return "this CPU has no instructions for bf16, which then takes many times as long as fp32"
    if task.what == "ceiling: matrices" and task.precision == "int8" and known is not None and "VNNI" not in known:
        return "torch multiplies int8 matrices fast only with VNNI"
    if task.precision == "int8" and task.engine.startswith("torch") and task.what != "ceiling: matrices":
        return "torch runs no int8 files"
    return None


def apart(task: Task) -> dict[str, Any]:
    """Measure in a process of its own; {"cannot": why} where it cannot run."""
    if (why := refusal(task)) is not None:
        return {"cannot": why}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, task).result()
        except ShotnoiseError as error:
            return {"cannot": str(error)}
        except BrokenProcessPool:
            return {"cannot": "the process died, probably for want of memory"}
        except RuntimeError as error:  # of torch
            return {"cannot": str(error).splitlines()[0]}


def account(task: Task) -> dict[str, Any]:
    """Where OpenVINO's time goes: shares by the type of the layer, of the second of two runs."""
    import openvino

    core = openvino.Core()
    file = f"{task.file}{'.int8' if task.precision == 'int8' else ''}.onnx"
    hint = "bf16" if task.precision == "bf16" or (task.precision == "int8" and has_bf16()) else "f32"
    settings = {
        "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True,
        "INFERENCE_NUM_THREADS": task.threads,
    }  # fmt: skip
    request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()
    noisy = np.random.default_rng(0).random(task.shape, np.float32)
    for _ in range(2):
        request.infer({"noisy": noisy}, share_inputs=True)
    spent: dict[str, float] = {}
    for layer in request.get_profiling_info():
        if (milliseconds := layer.real_time.total_seconds() * 1e3) > 0:
            spent[layer.node_type] = spent.get(layer.node_type, 0) + milliseconds
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    total = sum(spent.values())
    return {"network": task.what, "precision": task.precision, "shares": {kind: ms / total for kind, ms in ordered}}


def has_bf16() -> bool:
    """Whether the float rest of an int8 model is bf16, as in our engine."""
    known = instructions()
    return known is not None and "BF16" in known


def accounted(task: Task, counted: dict[str, int], rows: Sequence[dict[str, Any]], clock: str) -> dict[str, Any] | None:
    """With what the layers calculate, in the time that the whole was measured to take."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            found = pool.submit(account, task).result()
        except (ImportError, RuntimeError, BrokenProcessPool) as error:
            print(f"no account of {task.what} in {task.precision}: {error}")
            return None
    mine = (task.what, task.engine, task.precision)
    whole = next(row for row in rows if (row["network"], row["engine"], row["precision"]) == mine)[f"{clock}_ms"]
    found["ms"] = {kind: round(share * whole, 2) for kind, share in found.pop("shares").items()}
    found["gops"] = {
        kind: round(2 * counted[layer] / found["ms"][kind] / 1e6, 1)
        for layer, kind in LAYERS.items()
        if counted[layer] and found["ms"].get(kind)
    }
    return found


def gops(task: Task, milliseconds: float) -> float:
    return task.operations / milliseconds / 1e6


def ceilings_of(tasks: Sequence[Task], runs: dict[str, Any], clock: str) -> dict[str, dict[str, Any]]:
    """The fastest of each type."""
    best: dict[str, dict[str, Any]] = {}
    for task in tasks:
        found = runs[f"0/{task.key}"]
        if "cannot" in found:
            continue
        rate = round(gops(task, found[f"{clock}_ms"]), 1)
        if rate > best.get(task.precision, {"gops": 0})["gops"]:
            best[task.precision] = {"gops": rate, "of": f"{task.what.split(': ')[1]} in {task.engine}"}
    return best


def summary(
    tasks: Sequence[Task], runs: dict[str, Any], rounds: int, best: dict[str, Any], clock: str
) -> list[dict[str, Any]]:
    unit = "/".join(UNIT)
    rows = []
    for task in tasks:
        mine = [runs[f"{number}/{task.key}"] for number in range(rounds)]
        row: dict[str, Any] = {"network": task.what, "engine": task.engine, "precision": task.precision}
        if "cannot" in mine[0]:
            rows.append(row | {"cannot": mine[0]["cannot"]})
            continue
        base = [runs[f"{number}/{unit}"] for number in range(rounds)]
        for clock in ("wall", "cpu"):
            values = [one[f"{clock}_ms"] for one in mine]
            row[f"{clock}_ms"] = round(statistics.median(values), 1)
            row[f"{clock}_spread"] = [min(values), max(values)]
            ratios = [other[f"{clock}_ms"] / one[f"{clock}_ms"] for one, other in zip(mine, base, strict=True)]
            row[f"{clock}_ratio"] = round(statistics.median(ratios), 2)
        row["gops"] = round(gops(task, row[f"{clock}_ms"]), 1)
        row["of_ceiling"] = round(row["gops"] / best[task.precision]["gops"], 3) if task.precision in best else None
        row["peak_mb"] = max(one["peak_mb"] for one in mine)
        rows.append(row)
    return rows


def verdicts(
    rows: Sequence[dict[str, Any]], accounts: Sequence[dict[str, Any]], best: dict[str, Any], clock: str
) -> list[str]:
    """The goals, and whether this machine reaches them."""
    lines = []
    ratio = f"{clock}_ratio"
    for network, goal in TARGETS.items():
        mine = [row for row in rows if row["network"] == network and "cannot" not in row]
        int8 = max((row for row in mine if row["precision"] == "int8"), key=lambda row: row[ratio], default=None)
        fastest = max(mine, key=lambda row: row[ratio])
        if int8 is not None:
            lines.append(
                f"{network} in int8 ({int8['engine']}): {int8[ratio]:.1f} times the unit, goal {goal}: "
                f"{'reached' if int8[ratio] >= goal else 'not reached'}; fastest here is {fastest['engine']} in "
                f"{fastest['precision']}, {fastest[ratio]:.1f} times"
            )
    for one in accounts:
        kind = "Convolution"
        if one["precision"] in best and kind in one["gops"]:
            share = one["gops"][kind] / best[one["precision"]]["gops"]
            words = "reached" if share >= UTILISATION else "not reached"
            lines.append(
                f"{one['network']}, convolutions in {one['precision']}: {share:.0%} of the ceiling, goal "
                f"{UTILISATION:.0%}: {words}"
            )
    if {"fp32", "int8"} <= best.keys():
        gain = best["int8"]["gops"] / best["fp32"]["gops"]
        lines.append(f"int8 can be at most {gain:.1f} times as fast as fp32 here; 4 times where there is VNNI")
    return lines


def main() -> None:
    """Measure what is missing, then print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"a frame of 4 x {QUICK[0]} x {QUICK[1]}")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of the packed planes")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each process")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what is compared")
    parser.add_argument("--engine", action="append", choices=[*ENGINES, "torch-compiled"], help="may be repeated")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size = tuple(options.size or (QUICK if options.quick else FULL))
    here = machine()
    settings = {
        "size": list(size),
        "threads": options.threads,
        "processor": here["processor"],
        "instructions": here["instructions"] and list(here["instructions"]),
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "openvino")},
        "networks": {label: list(network) for label, network in NETWORKS.items()},
    }
    kept = json.loads(options.json.read_text(encoding="utf-8")) if options.json and options.json.exists() else {}
    runs: dict[str, Any] = kept.get("runs", {}) if kept.get("settings") == settings else {}
    with tempfile.TemporaryDirectory() as scratch:
        facts = prepare(Path(scratch), size)
        ceilings, networks = plan(facts, Path(scratch), options)
        todo = [(0, task) for task in ceilings] + [(n, task) for n in range(options.rounds) for task in networks]
        for number, task in todo:
            key = f"{number}/{task.key}"
            if key not in runs:
                runs[key] = apart(task)
                said = runs[key].get("cannot") or f"{runs[key]['wall_ms']:.0f} ms"
                print(f"{key}: {said}", flush=True)
                if options.json:
                    write(options.json, {"settings": settings, "runs": runs})
        best = ceilings_of(ceilings, runs, options.clock)
        rows = summary(networks, runs, options.rounds, best, options.clock)
        measured = {(row["network"], row["precision"]) for row in rows if "cannot" not in row}
        profiled = [
            task
            for task in networks
            if task.engine == "openvino" and (task.what, task.precision) in measured and task.precision != "fp32"
        ]
        accounts = [
            one
            for task in profiled
            if (one := accounted(task, facts[task.what]["products"], rows, options.clock)) is not None
        ]
    verdict = verdicts(rows, accounts, best, options.clock)
    about = {label: {key: fact[key] for key in ("shape", "gmac", "parameters")} for label, fact in facts.items()}
    content = {
        "settings": settings,
        "machine": here,
        "rounds": options.rounds,
        "clock": options.clock,
        "networks": about,
        "ceilings": best,
        "rows": rows,
        "account": accounts,
        "verdicts": verdict,
        "runs": runs,
    }
    print("\n".join(["", *engines(content)]))
    if options.json:
        write(options.json, content)


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main()
