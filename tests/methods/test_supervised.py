"""The supervised method against the formulas."""

import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.methods import METHODS
from shotnoise.networks import create


@pytest.mark.parametrize(
    ("distance", "formula"),
    [
        ("l1", lambda d: d.abs().mean()),
        ("l2", lambda d: (d * d).mean()),
        ("charbonnier", lambda d: torch.sqrt(d * d + 1e-6).mean()),
    ],
)
def test_distances(distance, formula):
    network = create("shotnet", widths=[8, 8], encoder=[1, 1], decoder=[1])  # a fresh one changes nothing
    method = METHODS.create("supervised", {"distance": distance}, network=network)
    batch = {"noisy": torch.rand(2, 3, 16, 16), "target": torch.rand(2, 3, 16, 16), "level": torch.rand(2, 1, 1, 1)}
    outcome = method.loss(batch, 0.0)
    assert float(outcome["loss"].detach()) == pytest.approx(float(formula(batch["noisy"] - batch["target"])))
    assert set(outcome["parts"]) == {distance}
    assert method.predictor() is network


def test_unknown_distance():
    with pytest.raises(RecipeError, match="unknown distance 'l3'"):
        METHODS.create("supervised", {"distance": "l3"}, network=create("dncnn", nb=2, nc=4))
