"""What networks cost: counted on tensors without data, against formulas and against the real thing."""

import csv
import json

import pytest
import torch
from typer.testing import CliRunner

from shotnoise.cli import _app
from shotnoise.errors import RecipeError
from shotnoise.export import compare, cost, parse_shape
from shotnoise.export.cost import _Memory, create_for
from shotnoise.networks import NETWORKS, create

MB = 2**20


@pytest.fixture
def few(monkeypatch):
    """A zoo of three, so that a table takes no time."""
    kept = {name: NETWORKS._entries[name] for name in ("dncnn", "ffdnet", "ridnet")}
    monkeypatch.setattr(NETWORKS, "_entries", kept)


def test_a_stack_by_hand():
    """The picture, and what goes into and comes out of a wide convolution; its rectifier works in place."""
    network = create("dncnn", act_mode="R", nc=10, nb=4)
    found = cost(network, height=32, width=48)
    pixels = 32 * 48
    assert found.macs == pixels * 9 * (10 + 100 + 100 + 10)
    assert found.activations == 4 * pixels * (1 + 10 + 10)
    norm = create("dncnn", act_mode="BR", nc=10, nb=4)  # as much: the norm takes the place of its convolution's input
    assert cost(norm, height=32, width=48).activations == pytest.approx(found.activations, rel=1e-2)


def test_everything_grows_with_the_picture_and_the_batch():
    network = create("ffdnet", nc=8, nb=4)
    one, large, two = (cost(network, height=h, width=64, batch=b) for h, b in ((64, 1), (256, 1), (64, 2)))
    assert large.macs == 4 * one.macs
    assert two.macs == 2 * one.macs
    assert large.activations == pytest.approx(4 * one.activations, rel=1e-3)
    assert (one.height, one.width) == (64, 64)
    odd = cost(network, height=63, width=63)
    assert (odd.height, odd.width, odd.macs) == (64, 64, one.macs)


def test_attention_is_counted_as_fused_kernels_do_it():
    """Twice as many tokens: four times the products, twice the memory, not four times."""
    network = create("raw-attention")
    small, large = (cost(network, height=512, width=w) for w in (512, 1024))
    tokens = 64 * 64
    # two blocks on the way down and three on the way up, one head of 32 in each
    products = 5 * 2 * 32 * tokens**2
    assert large.macs - 2 * small.macs == 5 * 2 * 32 * (2 * tokens) ** 2 - 2 * products
    assert large.activations == pytest.approx(2 * small.activations, rel=0.01)


@pytest.mark.parametrize("name", ["shotnet", "raw-unet", "nafnet"])
def test_the_count_without_data_is_that_with_data(name):
    """The same pass on the CPU, with real numbers in real memory."""
    arguments = {
        "raw-unet": {"width": 4},
        "nafnet": {"width": 4, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
    }
    network = create(name, **arguments.get(name, {})).eval()
    picture = torch.rand(1, network.channels, 64, 96)
    level = None if network.level == "none" else torch.full((1, 1, 1, 1), 0.1)
    with torch.no_grad(), _Memory(picture, *network.parameters()) as memory:
        network(picture, level)
    weights = sum(4 * parameter.numel() for parameter in network.parameters())
    counted = cost(network, height=64, width=96).activations
    assert memory.peak - weights == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_networks_for_the_channels_at_hand(channels):
    for name in NETWORKS:
        with torch.device("meta"):  # no numbers are needed
            network = create_for(name, channels)
        if network is None:
            assert name in ("cycleisp", "ridnet")
            assert channels != 3
        else:
            assert network.channels == channels


def test_shapes_in_words():
    assert parse_shape(" 2x3x64X128 ") == (2, 3, 64, 128)
    for text, words in (
        ("4x1736x2312", "'4x1736x2312' is not a shape; expected BATCHxCHANNELSxHEIGHTxWIDTH, as in 1x4x1736x2312"),
        ("axbxcxd", "is not a shape"),
        ("1x0x8x8", "'1x0x8x8' has channels 0; expected at least 1"),
        ("1x3x99999999x99999999", "pixels; expected at most"),
    ):
        with pytest.raises(RecipeError, match=words):
            parse_shape(text)


def test_rows(few):
    dncnn, ffdnet, ridnet = compare((1, 4, 63, 64))
    assert (dncnn.channels, dncnn.macs, dncnn.field, dncnn.halo) == (4, 63 * 64 * 9 * 64 * (4 + 15 * 64 + 4), 35, 17)
    assert dncnn.kmac_per_pixel == round(dncnn.macs / (63 * 64 * 1000), 2)
    assert dncnn.remark == "published for 1 channel"
    assert ffdnet.remark == "counted at 64x64, published for 3 channels"
    assert (ridnet.channels, ridnet.macs, ridnet.field) == (3, None, None)
    assert ridnet.remark == "takes 3 channels and no others"


def test_the_command(few, tmp_path):
    run = CliRunner().invoke
    shown = run(_app(), ["networks", "--cost", "1x4x1736x2312", "--csv", str(tmp_path / "cost.csv")])
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0].rstrip() == "cost at 1x4x1736x2312"
    assert next(line for line in lines if line.startswith("ffdnet")).split()[1:7] == [
        "859,024", "860.9", "214.5", "926", "50", "25",
    ]  # fmt: skip
    assert "takes 3 channels and no others" in shown.stdout
    with (tmp_path / "cost.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["dncnn", "ffdnet", "ridnet"]
    assert rows[2]["macs"] == rows[2]["halo"] == ""
    found = json.loads(run(_app(), ["networks", "--cost", "1x4x1736x2312", "--json"]).stdout)
    assert found["shape"] == [1, 4, 1736, 2312]
    assert [str(row["macs"] or "") for row in found["networks"]] == [row["macs"] for row in rows]


def test_wrong_usage(tmp_path):
    run = CliRunner().invoke
    wrong = run(_app(), ["networks", "--cost", "1736x2312"])
    assert wrong.exit_code == 2
    assert "is not a shape" in wrong.output
    assert run(_app(), ["networks", "--csv", "x.csv"]).exit_code == 2
