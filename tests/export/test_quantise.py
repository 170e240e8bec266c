"""int8 files: rounded where it is cheap, within the budget, accepted by the engines, honest on their card."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from shotnoise.bundled import find_model
from shotnoise.card import Score
from shotnoise.cli import run as run_command
from shotnoise.engines import open_engine
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import ModelError, RecipeError
from shotnoise.export import int8, pictures
from shotnoise.export.int8 import quantise
from shotnoise.export.pictures import Pictures, noisy_steps, psnr
from shotnoise.export.qdq import convolutions, place, rounded_weights, shifts_of
from shotnoise.export.source import run, session
from shotnoise.export.weights import narrow, widen
from tiny_models import write_model


@pytest.fixture(autouse=True, scope="module")
def few_pictures():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_CALIBRATED": 2, "_JUDGED": 2, "_TRIED": 1}.items():
            patch.setattr(int8, name, value)
        patch.setattr(pictures, "_SIDE", 64)
        yield patch


def residual(path, channels=8, seed=0):
    """noisy + head(x + conv2(relu(conv1(x)))), x = stem(noisy): a trunk that is read twice; near to the identity."""
    rng = np.random.default_rng(seed)

    def weights(name, out, into, scale=1.0):
        values = scale * rng.normal(0, (into * 9) ** -0.5, (out, into, 3, 3))
        return onnx.numpy_helper.from_array(values.astype(np.float32), f"{name}.weight")

    tensors = [
        weights("stem", channels, 3),
        weights("conv1", channels, channels),
        weights("conv2", channels, channels),
        weights("head", 3, channels, 0.02),
        onnx.numpy_helper.from_array(rng.normal(0, 0.1, channels).astype(np.float32), "conv1.bias"),
    ]
    pads = {"pads": [1, 1, 1, 1]}
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["noisy", "stem.weight"], ["x"], name="stem", **pads),
        make("Conv", ["x", "conv1.weight", "conv1.bias"], ["a"], name="conv1", **pads),
        make("Relu", ["a"], ["b"], name="relu"),
        make("Conv", ["b", "conv2.weight"], ["c"], name="conv2", **pads),
        make("Add", ["x", "c"], ["d"], name="sum"),
        make("Conv", ["d", "head.weight"], ["e"], name="head", **pads),
        make("Add", ["noisy", "e"], ["clean"], name="out"),
    ]
    write_model(path)
    model = onnx.load(path)
    del model.graph.node[:]
    del model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    onnx.save(model, path)
    return path


@pytest.fixture
def model(tmp_path):
    return residual(tmp_path / "net.onnx")


@pytest.fixture(scope="module")
def done(tmp_path_factory, few_pictures):
    folder = tmp_path_factory.mktemp("int8")
    return quantise(residual(folder / "net.onnx"), folder / "net.int8.onnx")


def test_weights_have_seven_bits_and_an_error_below_half_a_step():
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (5, 4, 3, 3)).astype(np.float32) * np.array([1, 10, 0.1, 3, 0]).reshape(-1, 1, 1, 1)
    values, scales = rounded_weights(weights.astype(np.float32))
    assert values.dtype == np.int8
    assert np.abs(values).max() <= 63
    steps = scales.reshape(-1, 1, 1, 1)
    inside = np.abs(weights) <= 63 * steps
    assert (np.abs(values * steps - weights)[inside] <= (0.501 * np.broadcast_to(steps, weights.shape))[inside]).all()
    plain = np.abs(weights).reshape(5, -1).max(1) / 63  # the range of the extremes
    naive = np.round(weights / np.maximum(plain, 1e-9).reshape(-1, 1, 1, 1)) * plain.reshape(-1, 1, 1, 1)
    error = np.square(values * steps - weights).sum((1, 2, 3))
    assert (error <= np.square(naive - weights).sum((1, 2, 3)) * 1.001 + 1e-9).all()


def test_only_inputs_of_convolutions_are_rounded(model):
    proto = onnx.load(model)
    layers = convolutions(proto)
    assert [layer.label for layer in layers] == ["stem", "conv1", "conv2", "head"]
    ranges = dict.fromkeys("abcdex", (-1.0, 1.0)) | {"noisy": (0.0, 1.0)}
    made = place(proto, {"conv1", "conv2"}, ranges)
    onnx.checker.check_model(made, full_check=True)
    writer = {tensor: node for node in made.graph.node for tensor in node.output}
    nodes = {node.name: node for node in made.graph.node}
    assert writer[nodes["conv1"].input[0]].op_type == "DequantizeLinear"
    assert writer[nodes["conv2"].input[0]].op_type == "DequantizeLinear"
    assert nodes["sum"].input[0] == "x", "the trunk stays float"
    assert writer[nodes["sum"].input[1]].op_type == "DequantizeLinear", "for int8 kernels outputs are rounded, too"
    assert nodes["head"].input[0] == "d"
    assert nodes["stem"].input[0] == "noisy"
    assert [*nodes["out"].input] == ["noisy", "e"]
    assert sum(node.op_type == "QuantizeLinear" for node in made.graph.node) == 3  # one between the two is shared
    assert {"conv1.weight", "conv2.weight"}.isdisjoint(tensor.name for tensor in made.graph.initializer)


def test_rounded_graph_gives_what_numpy_calculates(model):
    proto = onnx.load(model)
    ranges = dict.fromkeys("abcdex", (-2.0, 2.0)) | {"noisy": (-0.1, 1.1)}
    made = place(proto, {"stem"}, ranges)
    made.graph.output.append(onnx.helper.make_tensor_value_info("x", 1, None))
    noisy = np.random.default_rng(1).random((1, 3, 8, 8), np.float32)
    (found,) = session(made.SerializeToString()).run(["x"], {"noisy": noisy})
    scale = np.float32(1.2 / 255)
    seen = np.clip(np.round(noisy / scale), -21, 234) * scale
    values, scales = rounded_weights(onnx.numpy_helper.to_array(proto.graph.initializer[0]))
    kernel = values * scales.reshape(-1, 1, 1, 1)
    padded = np.pad(seen, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, kernel)
    # what leaves is rounded to 256 steps of -2 to 2
    np.testing.assert_allclose(found, expected, atol=4 / 255)


def test_shifts_are_the_lost_means(model):
    proto = onnx.load(model)
    layers = convolutions(proto)
    ranges = dict.fromkeys("abcdex", (-3.0, 3.0)) | {"noisy": (0.0, 0.5)}  # what is brighter is cut off
    noisy = np.random.default_rng(2).random((1, 3, 16, 16), np.float32)
    shifts = shifts_of(proto, layers, ranges, [{"noisy": noisy}])

    def stem(graph):
        watched = onnx.ModelProto()
        watched.CopyFrom(graph)
        watched.graph.output.append(onnx.helper.make_tensor_value_info("x", 1, None))
        return session(watched.SerializeToString()).run(["x"], {"noisy": noisy})[0].mean((0, 2, 3))

    without, corrected = (stem(place(proto, {"stem"}, ranges, given)) for given in (None, shifts))
    assert np.abs(without - stem(proto)).max() > 0.05
    np.testing.assert_allclose(corrected, stem(proto), atol=0.01)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_file_is_within_the_budget_and_runs_in(model, done, engine):
    pytest.importorskip(engine)
    facts = done.card.quantisation
    assert done.card.precision == "int8"
    assert facts.backend == "onnxruntime"
    assert facts.source_sha256 == read_onnx(model).sha256
    assert [one.name for one in done.levels] == ["sigma 5", "sigma 15", "sigma 25", "sigma 50"]
    assert all(one.loss <= 0.1 for one in facts.losses)
    assert facts.lowest == 0
    assert done.shift < 0.5
    assert 0.5 <= done.share <= 1
    assert set(done.times) >= {engine}
    assert done.card.parity.pictures.endswith("against the float32 file")
    exact, rounded = (open_engine(path, engine, threads=1) for path in (model, done.path))
    assert rounded.describe()["precision"].startswith("int8")
    noisy = np.random.default_rng(0).random((1, 3, 24, 40), np.float32)
    assert 1e-7 < np.abs(exact.run(noisy) - rounded.run(noisy)).max() < 0.05


def test_levels_are_those_of_the_card_and_losses_can_be_measured_again(model, tmp_path):
    proto = onnx.load(model)
    entry = next(entry for entry in proto.metadata_props)
    entry.value = json.dumps(json.loads(entry.value) | {"sigma_range": [10 / 255, 30 / 255]})
    onnx.save(proto, model)
    done = quantise(model, tmp_path / "out.onnx")
    assert [one.name for one in done.levels] == ["sigma 15", "sigma 25"]
    card = read_onnx(done.path).card
    steps = noisy_steps(card, Pictures().crops(card, 2, half=1), seed=1)
    exact, rounded = session(model.read_bytes()), session(done.path.read_bytes())
    for step, one in zip(steps, card.quantisation.losses, strict=True):
        loss = np.mean([psnr(p, run(exact, p)) - psnr(p, run(rounded, p)) for p in step.pictures])
        assert loss == pytest.approx(one.loss, abs=1e-3)
        assert step.level == one.level


def test_what_cannot_hold_the_budget(model, tmp_path, monkeypatch):
    levels = int8._Search._levels
    monkeypatch.setattr(int8, "_LEAST_SHARE", 0.9)  # soon given up

    def worse(weak):
        def changed(self, content, reference):
            found, shift = levels(self, content, reference)
            return [dataclasses.replace(x, int8=x.fp32 - weak(x.level)) for x in found], shift

        return changed

    monkeypatch.setattr(int8._Search, "_levels", worse(lambda level: 1.0 if level < 0.05 else 0.01))
    done = quantise(model, tmp_path / "part.onnx")
    assert done.card.quantisation.lowest == pytest.approx(15 / 255)
    assert done.card.quantisation.losses[0].loss == pytest.approx(1.0)
    monkeypatch.setattr(int8._Search, "_levels", worse(lambda _: 1.0))
    with pytest.raises(ModelError, match=r"keeps 0\.1 dB at no noise level .*1\.00 dB.*; use bf16 or fp16"):
        quantise(model, tmp_path / "never.onnx")
    assert not (tmp_path / "never.onnx").exists()


def test_refusals(model, done, tmp_path):
    with pytest.raises(RecipeError, match=r"unknown backend 'ncf': did you mean 'nncf'\?"):
        quantise(model, tmp_path / "out.onnx", backend="ncf")
    with pytest.raises(RecipeError, match=r"a budget of 0 dB; expected more than 0"):
        quantise(model, tmp_path / "out.onnx", budget=0)
    (tmp_path / "there.onnx").write_bytes(b"mine")
    with pytest.raises(ModelError, match="exists already"):
        quantise(model, tmp_path / "there.onnx", overwrite=False)
    with pytest.raises(ModelError, match="is exported already, so a size, a network or scores cannot be given"):
        quantise(model, tmp_path / "out.onnx", size=(64, 64))
    with pytest.raises(ModelError, match="is int8 already; expected a float32 model"):
        quantise(done.path, tmp_path / "out.onnx")


def test_nncf_puts_them_at_the_same_places(model, done, tmp_path):
    pytest.importorskip("nncf")
    ours, theirs = done, quantise(model, tmp_path / "nncf.onnx", backend="nncf")
    assert theirs.card.quantisation.backend == "nncf"
    assert all(one.loss <= 0.1 for one in theirs.card.quantisation.losses)
    assert theirs.card.quantisation.float_layers == ours.card.quantisation.float_layers
    kinds = []
    for file in (ours, theirs):
        graph = onnx.load(file.path).graph
        nodes = {node.name: node for node in graph.node}
        writer = {tensor: node.op_type for node in graph.node for tensor in node.output}
        kinds.append(
            [[writer.get(tensor) for tensor in nodes[name].input[:2]] for name in ("sum", "out", "head", "conv2")]
        )
    assert kinds[0] == kinds[1]


def test_scores_that_are_given_go_onto_the_card(model, tmp_path, monkeypatch):
    score = Score(protocol="kodak24/gaussian25", psnr=31.0, ssim=0.9, noisy_psnr=20.2)
    file = read_onnx(model)
    file = dataclasses.replace(file, card=file.card.model_copy(update={"scores": [score]}))
    monkeypatch.setattr(int8, "float_model", lambda *_, **__: file)  # as of a run, which would be exported first
    assert quantise(model, tmp_path / "a.onnx", scores=[score]).card.scores == [score]
    assert quantise(model, tmp_path / "b.onnx").card.scores == [], "those of the float32 file are not its own"


def test_command(model, tmp_path, capsys):
    assert run_command(["export", str(model), "-o", str(tmp_path / "net.int8.onnx"), "--int8"]) == 0
    said = capsys.readouterr().out
    assert "sigma 5" in said
    assert "of the work of the convolutions is int8" in said
    assert "onnxruntime: " in said
    args = ["export", str(model), "-o", str(tmp_path / "again.onnx"), "--precision", "int8", "--json"]
    assert run_command(args) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["card"]["quantisation"]["lowest"] == 0
    assert [one["name"] for one in report["levels"]] == ["sigma 5", "sigma 15", "sigma 25", "sigma 50"]
    for given, words in {
        ("--budget", "0.2"): "--budget is given for fp32",
        ("--int8", "--precision", "fp16"): "expected one of them",
        ("--int8", "--kspace"): "--kspace is given for int8",
    }.items():
        assert run_command(["export", str(model), "-o", str(tmp_path / "x.onnx"), *given]) == 1
        assert words in capsys.readouterr().err


def test_what_stays_in_float_can_be_narrow_and_steps_stay_constants(tmp_path):
    proto = place(onnx.load(residual(tmp_path / "net.onnx", channels=64)), {"conv2"}, {"b": (0, 1), "c": (-1, 1)})
    steps = {name for node in proto.graph.node if "Linear" in node.op_type for name in node.input[1:]}
    narrow(proto)
    constants = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    assert steps <= {*constants}, "engines look for them there"
    assert constants["conv1.weight_half"] == constants["head.weight_half"] == onnx.TensorProto.FLOAT16
    session(proto.SerializeToString())


def test_int8_of_narrow_weights_is_that_of_their_values(model, tmp_path):
    proto = onnx.load(model)
    narrow(proto)
    onnx.save(proto, tmp_path / "narrow.onnx")
    widen(proto)
    onnx.save(proto, tmp_path / "rounded.onnx")
    one, other = (quantise(tmp_path / f"{name}.onnx", tmp_path / f"{name}.int8.onnx") for name in ("narrow", "rounded"))
    noisy = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    results = [session(done.path.read_bytes()).run(["clean"], {"noisy": noisy})[0] for done in (one, other)]
    assert np.array_equal(*results)
    assert one.card.quantisation.losses == other.card.quantisation.losses


def test_an_onnx_needs_no_torch(model, tmp_path):
    script = (
        "import sys\nsys.modules['torch'] = None\n"
        "from shotnoise.cli import run\n"
        f"assert run(['export', {str(model)!r}, '-o', {str(tmp_path / 'x.fp16.onnx')!r}, '--precision', 'fp16']) == 0\n"
        "from shotnoise.export import quantise\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_bundled_gaussian_keeps_flat_fields():
    """The places that the search chose for it, with ranges of two crops: colours stay, and so does quality."""
    proto = onnx.load(find_model("gaussian"))
    assert widen(proto)
    card = read_onnx(find_model("gaussian")).card
    layers = convolutions(proto)
    steps = noisy_steps(card, Pictures().crops(card, 2, half=0, side=64), beyond=True)
    ranges, _ = int8._ranges(proto, layers, steps)
    shifts = shifts_of(proto, layers, ranges, [one.inputs for step in steps for one in step.pictures])
    left = ("stem", "encoder.0.0.conv1", "encoder.0.0.conv2", "decoder.1.0.conv1", "decoder.1.0.conv2", "head")
    made = place(proto, {layer.name for layer in layers if layer.label not in left}, ranges, shifts)
    exact, rounded = session(proto.SerializeToString()), session(made.SerializeToString())
    for sigma in (5, 25):
        fields = int8.flat_fields(card, sigma / 255)
        for one in fields.pictures[::2]:
            moved = 255 * (run(exact, one) - run(rounded, one)).mean((1, 2))
            assert np.abs(moved).max() < 0.25
    judged = noisy_steps(card, Pictures().crops(card, 2, half=1, side=64))
    for step in judged:
        assert np.mean([psnr(one, run(exact, one)) - psnr(one, run(rounded, one)) for one in step.pictures]) < 0.1


@pytest.mark.slow
def test_bundled_gaussian_holds_the_budget(tmp_path, few_pictures):
    few_pictures.undo()
    done = quantise("gaussian", tmp_path / "gaussian.int8.onnx")
    assert all(one.loss <= 0.1 for one in done.levels if one.level >= done.card.quantisation.lowest)
    assert done.sizes[1] < 0.6 * done.sizes[0]
    assert done.shift < 0.5
    pytest.importorskip("openvino")
    assert done.times["openvino"][1] < done.times["openvino"][0]
