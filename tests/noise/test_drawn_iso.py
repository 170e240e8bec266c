"""Models that draw an ISO tell which; its law is that of the profile."""

import pytest
import torch

from shotnoise.noise import NOISE
from shotnoise.sensor.published import published_profile


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("poisson-gaussian", {"profile": "imx385"}),
        ("poisson-gaussian", {"profile": "imx385", "iso": [1600, 3200, 6400]}),
        ("physics", {"profile": "imx385", "read": "gaussian"}),
    ],
)
def test_the_law_is_that_of_the_iso(name, options):
    noise = NOISE.create(name, options)
    strength = noise.draw(30, torch.Generator().manual_seed(0))
    isos = noise.iso(strength).tolist()
    assert 1600 <= min(isos) < max(isos) <= 25_600
    for iso, law in zip(isos, noise.law(strength)[..., 0, 0], strict=True):
        expected = published_profile("imx385").at(iso)
        assert law[0].tolist() == pytest.approx(list(expected.k), rel=1e-5)
        assert law[1].tolist() == pytest.approx(list(expected.s2), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gaussian", {"sigma": 25}),
        ("poisson-gaussian", {"k": 0.01}),
        ("poisson-gaussian", {"levels": "brooks"}),
        ("physics", {"camera": "sony-a7s2"}),
    ],
)
def test_others_know_none(name, options):
    noise = NOISE.create(name, options)
    assert noise.iso(noise.draw(3, torch.Generator().manual_seed(0))) is None
