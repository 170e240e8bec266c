"""docs/noise-models.md: every model is on it, and its recipe snippets are accepted."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from shotnoise.noise import NOISE
from shotnoise.noise.cameras import CAMERAS

PAGE = (Path(__file__).parents[2] / "docs" / "noise-models.md").read_text(encoding="utf-8")
SNIPPETS = [yaml.safe_load(block)["noise"] for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def test_every_model_and_camera_is_named():
    assert {snippet["name"] for snippet in SNIPPETS} == set(NOISE)
    assert not [name for name in (*NOISE, *CAMERAS) if f"`{name}`" not in PAGE and f"### {name}" not in PAGE]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_snippets_make_noise(snippet):
    if snippet.get("profile") == "my.profile.yaml":
        pytest.skip("needs a calibrated camera")
    noise = NOISE.create(snippet.pop("name"), snippet)
    assert noise.sample(torch.rand(2, 4, 16, 16), torch.Generator().manual_seed(0)).isfinite().all()
