"""Every engine in every precision through one contract: the result of fp32 within what the precision loses."""

import sys

import numpy as np
import pytest

import shotnoise.engines.choice as choice
from shotnoise.bundled import sibling
from shotnoise.card import CARD_KEY, Card
from shotnoise.engines import open_engine
from shotnoise.engines.abilities import ABILITIES, PRECISIONS, TOLERANCES
from shotnoise.engines.onnxruntime import OnnxRuntimeEngine
from shotnoise.engines.openvino import OpenVinoEngine, capabilities
from shotnoise.errors import EngineError, MissingExtraError, ModelError
from small_networks import SMALL
from tiny_models import write_model

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

LEVEL = np.full((1, 1, 1, 1), 0.2, np.float32)


def sample(shape=(1, 3, 40, 48)):
    return 0.5 + 0.1 * np.random.default_rng(0).standard_normal(shape, np.float32)


def write_int8(source, **card):
    """The int8 file of a model, beside it: inputs and weights of all convolutions rounded, as quantisers place it."""
    proto = onnx.load(source)
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    nodes, constants = [], []
    for number, node in enumerate(proto.graph.node):
        if node.op_type in ("Conv", "ConvTranspose"):
            weights = tensors[node.input[1]]
            largest = np.abs(weights).max()
            values = {
                "x.scale": np.float32(3 / 255),
                "x.zero": np.uint8(85),  # -1 to 2
                "w.int8": np.round(weights / largest * 127).astype(np.int8),
                "w.scale": np.float32(largest / 127),
                "w.zero": np.int8(0),
            }
            names = {key: f"{key}.{number}" for key in values}
            constants += [onnx.numpy_helper.from_array(np.asarray(values[key]), names[key]) for key in values]
            x, w = [names["x.scale"], names["x.zero"]], [names["w.int8"], names["w.scale"], names["w.zero"]]
            nodes += [
                onnx.helper.make_node("QuantizeLinear", [node.input[0], *x], [f"q.{number}"]),
                onnx.helper.make_node("DequantizeLinear", [f"q.{number}", *x], [f"d.{number}"]),
                onnx.helper.make_node("DequantizeLinear", w, [f"w.{number}"]),
            ]
            node.input[0], node.input[1] = f"d.{number}", f"w.{number}"
        nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(constants)
    (entry,) = proto.metadata_props
    assert entry.key == CARD_KEY
    entry.value = Card.model_validate(
        {**Card.parse(entry.value, "").model_dump(), "precision": "int8", **card}
    ).to_json()
    target = sibling(source, "int8")
    onnx.save(proto, target)
    return target


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One model as .onnx, as int8 beside it, and one as a checkpoint."""
    from shotnoise.networks import create
    from shotnoise.networks.card import bare_card
    from shotnoise.networks.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("models")
    path = write_model(folder / "m.onnx", level="sigma", shape="plain")
    write_int8(path)
    torch.manual_seed(0)
    network = create("ffdnet", **SMALL["ffdnet"])
    save_checkpoint(folder / "c.safetensors", network, bare_card(network, folder / "c.safetensors"))
    return {"onnx": path, "checkpoint": folder / "c.safetensors"}


def runnable(engine, precision):
    if engine == "openvino" and precision == "bf16" and "BF16" not in capabilities():
        pytest.skip("this CPU has no instructions for bf16")
    if engine == "onnxruntime" and precision == "fp16":
        pytest.skip("needs a GPU, or a file in fp16")


# torch-compiled takes seconds to compile: test_torch_engine.py
ENGINES = [name for name in ABILITIES if name != "torch-compiled"]
COMBINATIONS = [(engine, precision) for engine in ENGINES for precision in ABILITIES[engine].precisions]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("engine", "precision"), COMBINATIONS)
def test_each_precision_gives_what_fp32_gives(models, engine, precision):
    runnable(engine, precision)
    model = models["checkpoint" if engine.startswith("torch") else "onnx"]
    exact = open_engine(model, "torch" if engine.startswith("torch") else "onnxruntime", precision="fp32", threads=1)
    other = open_engine(model, engine, precision=precision, threads=1)
    assert other.describe()["precision"].split(",")[0] == precision
    assert other.describe()["reason"].startswith("asked for; on the CPU")
    expected, found = exact.run(sample(), LEVEL), other.run(sample(), LEVEL)
    assert found.dtype == np.float32
    difference = np.abs(found - expected).max()
    assert difference <= TOLERANCES[precision]
    if precision != "fp32":
        assert difference > 1e-7  # it did calculate otherwise
    again = other.run(sample(), LEVEL)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("engine", list(ABILITIES))
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_an_engine_cannot_do_it_refuses(models, engine, precision):
    if precision in ABILITIES[engine].precisions:
        return
    model = models["checkpoint" if engine.startswith("torch") else "onnx"]
    with pytest.raises(EngineError, match=f"'{engine}' has no precision '{precision}'; expected auto, fp32"):
        open_engine(model, engine, precision=precision)


def test_what_nobody_knows(models):
    with pytest.raises(EngineError, match="unknown precision 'f32': did you mean 'fp32'"):
        open_engine(models["onnx"], precision="f32")
    with pytest.raises(EngineError, match="unknown provider 'gpu'"):
        open_engine(models["onnx"], provider="gpu")
    with pytest.raises(EngineError, match="'openvino' has no provider 'cuda'; expected cpu, or another engine: onnx"):
        open_engine(models["onnx"], "openvino", provider="cuda")
    with pytest.raises(EngineError, match="'torch' has no provider 'tensorrt'; expected cpu or cuda"):
        open_engine(models["checkpoint"], "torch", provider="tensorrt")
    with pytest.raises(EngineError, match=r"'torch' has no provider 'tensorrt'.*export the model"):
        open_engine(models["checkpoint"], provider="tensorrt")
    with pytest.raises(EngineError, match=r"m.onnx cannot be run so: .* leave one of the two out"):
        open_engine(models["onnx"], precision="bf16", provider="cuda")


def test_auto_takes_the_engine_that_has_the_precision(models, monkeypatch):
    monkeypatch.setattr(choice, "_installed", lambda name: name == "onnxruntime")
    with pytest.raises(MissingExtraError, match="needs the engine 'openvino': pip install"):
        open_engine(models["onnx"], precision="bf16")


def test_bf16_without_instructions_is_refused_by_openvino(models, monkeypatch):
    import shotnoise.engines.openvino as engine

    monkeypatch.setattr(engine, "capabilities", lambda core=None: ("FP32", "INT8"))
    with pytest.raises(EngineError, match=r"no instructions for bf16, .* leave the precision out"):
        OpenVinoEngine(models["onnx"], precision="bf16")
    assert OpenVinoEngine(sibling(models["onnx"], "int8")).describe()["precision"] == "int8"
    monkeypatch.setattr(engine, "capabilities", lambda core=None: ("FP32", "BF16", "INT8"))
    assert OpenVinoEngine(models["onnx"], precision="bf16").describe()["precision"] == "bf16"
    int8 = sibling(models["onnx"], "int8")
    assert OpenVinoEngine(int8).describe()["precision"] == "int8, the rest bf16"
    assert OpenVinoEngine(int8, precision="fp32").describe()["precision"] == "int8"
    assert OpenVinoEngine(models["onnx"]).describe()["precision"] == "fp32"


def test_int8_opens_the_file_beside(models):
    int8 = sibling(models["onnx"], "int8")
    for given in (models["onnx"], int8):
        engine = open_engine(given, precision="int8")
        assert engine.describe()["precision"].startswith("int8")
        assert engine.card.precision == "int8"
    assert open_engine(int8).describe()["precision"].startswith("int8")  # what the path says
    assert open_engine(models["onnx"]).describe()["precision"] == "fp32"  # never by itself


def test_an_int8_file_of_another_name_is_itself(tmp_path):
    path = write_model(tmp_path / "small.onnx", precision="int8")
    assert open_engine(path, precision="int8").card.precision == "int8"


def test_without_an_int8_file_the_way_to_it_is_told(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"has no m.int8.onnx beside it, .* 'shotnoise export .*m.onnx -o .* --int8'"):
        open_engine(path, precision="int8")
    for engine in (OnnxRuntimeEngine, OpenVinoEngine):
        with pytest.raises(EngineError, match="is a file in fp32, not int8; leave the precision out"):
            engine(path, precision="int8")


def test_names_of_files_in_other_precisions(tmp_path):
    names = {
        ("a.onnx", "int8"): "a.int8.onnx",
        ("a.int8.onnx", "int8"): "a.int8.onnx",
        ("a.int8.onnx", "fp16"): "a.fp16.onnx",
        ("a.int8.onnx", "fp32"): "a.onnx",
        ("a.v2.onnx", "int8"): "a.v2.int8.onnx",
    }
    for (name, precision), expected in names.items():
        assert sibling(tmp_path / name, precision) == tmp_path / expected


def test_an_engine_that_is_not_installed_is_not_imported(models, monkeypatch):
    monkeypatch.setattr(choice, "_installed", lambda name: name == "onnxruntime")
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    assert open_engine(models["onnx"]).describe()["engine"] == "onnxruntime"
    assert "openvino" not in sys.modules
