"""How far networks look: by impulse, by gradient, by the formula, and from the table."""

import pytest
import torch

from shotnoise.networks import NETWORKS, create
from shotnoise.networks.field import KNOWN, field_of, halo_of
from shotnoise.networks.reach import measure_field, measure_reach

# As deep as published, and narrow.
NARROW = {
    "drunet": {"nc": [4, 4, 4, 4]},
    "invdn": {"width": 2},
    "neighbor2neighbor-unet": {"n_feature": 4},
    "noise2noise-unet": {"n_feature": 4},
    "pmrid": {"width": 4},
    "raw-unet": {"width": 2},
    "scunet": {"dim": 16, "head_dim": 8},
    "unprocessing-denoiser": {"width": 2},
}
SLOW = ["invdn", "scunet", "noise2noise-unet", "pmrid"]  # minutes for scunet: its windows ask for wide pictures


@pytest.fixture(autouse=True)
def narrow_tail(monkeypatch):
    """The U-Net of Neighbor2Neighbor ends 96 features wide whatever its arguments are."""
    monkeypatch.setattr("shotnoise.networks.neighbor2neighbor_unet._TAIL", 4)


@pytest.mark.parametrize("depth", [2, 5, 9])
def test_a_stack_sees_one_pixel_more_per_convolution(depth):
    network = create("dncnn", nb=depth, nc=4)
    assert measure_reach(network) == depth
    assert measure_field(network) == 2 * depth + 1


def test_dilations_add_up():
    """1, 2, 3, 4, 3, 2, 1: the published field of IRCNN, 33 x 33."""
    assert measure_field(create("ircnn", nc=4)) == 33


def test_the_field_of_ffdnet_is_twice_that_of_its_stack():
    """Two pixels share each position: 2 (2 * 12 + 1) = 50; its authors count 62 for the 15 layers of the gray one."""
    assert measure_field(create("ffdnet", nc=4)) == 50
    assert measure_field(create("ffdnet", nc=4, nb=15, in_nc=1, out_nc=1)) == 62


def test_level_inputs_and_phases():
    network = create("shotnet", widths=[4, 4], encoder=[1, 1], decoder=[1])
    halo, field = measure_reach(network), measure_field(network)
    assert halo < field <= 2 * halo + 1
    relative = create("shotnet", widths=[4, 4], encoder=[1, 1], decoder=[1], relative=True)
    assert halo + 3 <= measure_reach(relative) <= halo + 3 + relative.multiple, "a pixel is seen among 7 x 7"
    assert measure_field(relative) >= field + 6


def test_whole_pictures_have_no_field():
    assert measure_field(create("raw-attention")) is None
    assert halo_of(create("raw-attention")) is field_of(create("raw-attention")) is None


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NARROW])
def test_the_table_is_what_is_measured(name, monkeypatch):
    network = create(name, **NARROW[name])
    measured = measure_reach(network), measure_field(network)
    entry = KNOWN[type(network).__name__]
    assert measured == (entry.halo, entry.field)
    monkeypatch.setattr("shotnoise.networks.field.measure_reach", None)
    assert (halo_of(network), field_of(network)) == measured


def test_the_published_configurations_are_in_the_table():
    assert {NETWORKS.resolve(name).__name__ for name in NARROW} == set(KNOWN)
    for name in NARROW:
        with torch.device("meta"):  # has names and shapes only, so nothing could be measured
            network = create(name)
        assert halo_of(network) == KNOWN[type(network).__name__].halo


def test_other_depths_are_measured():
    network = create("drunet", nc=[4, 4, 4, 4], nb=1)
    assert halo_of(network) == measure_reach(network) < KNOWN["DRUNet"].halo
    assert field_of(network) == measure_field(network) < KNOWN["DRUNet"].field
