"""Parity on noisy photographs: measured for every kind of model, on the card, and a reason to refuse."""

import numpy as np
import onnx
import pytest
import torch

from shotnoise.card import Card, Parity
from shotnoise.cli import run as run_command
from shotnoise.engines.onnx_file import read_onnx
from shotnoise.errors import ModelError
from shotnoise.export import export, halve
from shotnoise.export.parity import parity_of, refusal
from shotnoise.export.pictures import Pictures, noisy_steps, psnr
from shotnoise.networks import create
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import save_checkpoint
from tiny_models import write_model


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    network = create("dncnn", nc=8, nb=3, in_nc=3, out_nc=3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    save_checkpoint(tmp_path / "net.safetensors", network, bare_card(network, "net"))
    return tmp_path / "net.safetensors"


def test_noise_is_that_of_the_card():
    rgb = Card(name="x", kind="rgb", channels=3, level="sigma", multiple=8)
    steps = noisy_steps(rgb, Pictures().crops(rgb, 2, half=0))
    assert [round(255 * step.level) for step in steps] == [5, 15, 25, 50]
    for step in steps:
        for one in step.pictures:
            assert one.inputs["noisy"].shape == (1, 3, 128, 128)
            assert one.inputs["level"].item() == pytest.approx(step.level)
            assert np.std(one.inputs["noisy"][0] - one.clean) == pytest.approx(step.level, rel=0.02)
            assert psnr(one, one.clean) == 120
    narrow = rgb.model_copy(update={"sigma_range": (20 / 255, 22 / 255)})
    crops = Pictures().crops(narrow, 1, half=0)
    assert [round(255 * step.level) for step in noisy_steps(narrow, crops)] == [20, 22]
    wide = rgb.model_copy(update={"sigma_range": (0.0, 55 / 255)})
    assert [round(255 * step.level) for step in noisy_steps(wide, crops, beyond=True)] == [0, 5, 15, 25, 50, 55]


def test_raw_goes_through_the_transform_of_the_card():
    plain = Card(name="x", kind="raw", channels=4, multiple=8)
    rooted = Card(name="x", kind="raw", channels=4, multiple=8, k_sigma={"gain": 0.0625, "root": True})
    crops = Pictures().crops(plain, 2, half=0)
    assert crops[0].shape == (3, 256, 256)
    for first, second in zip(noisy_steps(plain, crops), noisy_steps(rooted, crops), strict=True):
        assert first.name.startswith("ISO ")
        assert first.level == pytest.approx(second.level, rel=1e-3)
        one, other = first.pictures[0], second.pictures[0]
        assert psnr(one, one.inputs["noisy"][0]) == pytest.approx(psnr(other, other.inputs["noisy"][0]), abs=0.01)
    bright = other.clean > 0.02
    assert np.std((other.inputs["noisy"][0] - noisy_free(other, rooted))[bright]) == pytest.approx(0.0625, rel=0.1)


def noisy_free(one, card):
    """The clean planes behind the transform: `judged` undone by bisection."""
    low, high = np.full(one.clean.shape, -1.0), np.full(one.clean.shape, 60.0)
    for _ in range(50):
        middle = (low + high) / 2
        above = one.judged(middle.astype(np.float32)) > one.clean
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return low


def test_slices_are_under_sampled():
    card = Card(name="x", kind="mri", channels=1, multiple=32)
    (step,) = noisy_steps(card, Pictures().crops(card, 1, half=0))
    one = step.pictures[0]
    assert one.inputs["noisy"].shape == (1, 1, 128, 128)
    assert one.clean.shape == (1, 127, 127)
    assert 12 < psnr(one, one.inputs["noisy"][0]) < 35


def test_halves_share_no_picture(tmp_path):
    from PIL import Image

    for number in range(4):
        Image.new("RGB", (200, 200), (60 * number, 60 * number, 60 * number)).save(tmp_path / f"{number}.png")
    card = Card(name="x", kind="gray", channels=1)
    pictures = Pictures([tmp_path])
    values = []
    for half in (0, 1):
        crops = pictures.crops(card, 8, half=half)
        values.append({int(crop.max()) for crop in crops if crop.max() in (0, 60, 120, 180)})
    assert values[0].isdisjoint(values[1])
    assert "4 picture(s)" in pictures.words


def test_parity_is_on_the_card_and_words_say_it(checkpoint, tmp_path, capsys):
    assert run_command(["export", str(checkpoint), "-o", str(tmp_path / "net.onnx")]) == 0
    assert "on noisy pictures: " in capsys.readouterr().out
    parity = read_onnx(tmp_path / "net.onnx").card.parity
    assert parity.difference < 1e-5
    assert parity.psnr > 90
    assert abs(parity.loss) < 1e-3
    assert parity.pictures == "crops of a photograph; against torch"


def test_a_file_that_is_worse_is_refused(checkpoint, tmp_path, monkeypatch):
    bad = Parity(difference=0.01, psnr=40, loss=0.2, pictures="")
    monkeypatch.setattr("shotnoise.export.onnx.parity_of", lambda *_: bad)
    with pytest.raises(ModelError, match=r"not written, its results on noisy pictures are 0\.200 dB worse \(limit"):
        export(checkpoint, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_parity_of_two_functions():
    card = Card(name="x", kind="rgb", channels=3)
    steps = noisy_steps(card, Pictures().crops(card, 1, half=0))
    same = parity_of(lambda one: one.clean, lambda one: one.clean, steps, "words")
    assert (same.difference, same.loss, same.pictures) == (0, 0, "words")
    noisy = parity_of(lambda one: one.inputs["noisy"][0], lambda one: one.inputs["noisy"][0] + 0.1, steps, "")
    assert noisy.difference == pytest.approx(0.1, abs=1e-6)
    assert noisy.psnr == pytest.approx(20, abs=1e-2)
    assert noisy.loss > 5  # the weakest noise suffers most
    assert refusal(noisy, 6.0) is None or noisy.loss > 6
    broken = parity_of(lambda one: one.clean, lambda one: one.clean * np.float32(np.nan), steps[:1], "")
    assert "worse" in refusal(broken, 1.0)


def test_half_keeps_inputs_and_outputs(tmp_path):
    file = write_model(tmp_path / "net.onnx", level="sigma")
    done = halve(file, tmp_path / "net.fp16.onnx")
    graph = onnx.load(done.path).graph
    assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}
    weights = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 4}
    assert weights == {onnx.TensorProto.FLOAT16}
    card = read_onnx(done.path).card
    assert card.precision == "fp16"
    assert 40 < card.parity.psnr < 120
    assert card.parity.pictures.endswith("against the float32 file")


def test_numbers_beyond_half_are_refused(tmp_path):
    file = write_model(tmp_path / "net.onnx")
    model = onnx.load(file)
    for tensor, factor in zip(model.graph.initializer, (1e6, 1e-6), strict=False):
        values = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, file)
    with pytest.raises(
        ModelError, match=r"not written in float16, its results .* dB (worse|better) .*; its numbers are too large"
    ):
        halve(file, tmp_path / "net.fp16.onnx")
    assert not (tmp_path / "net.fp16.onnx").exists()
