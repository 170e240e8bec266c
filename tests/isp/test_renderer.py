"""The classical way to RAW and back as one object, and how well it closes."""

import numpy as np
import pytest
import torch

from shotnoise.images import open_image
from shotnoise.isp import ClassicalISP, Renderer, blur, draw_cameras, process, unprocess


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def waves(height=32, width=48):
    """Smooth colours that use most of the range: less than a thousandth changes from pixel to pixel squared."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    return torch.stack([0.45 + 0.3 * torch.sin(2 * x + y + phase) * torch.cos(y - phase) for phase in range(3)])[None]


def psnr(result, expected, where=None):
    error = (result - expected).square()
    return float(-10 * (error[where.expand_as(error)] if where is not None else error).mean().log10())


def test_it_is_a_renderer():
    renderer = ClassicalISP()
    assert isinstance(renderer, Renderer)
    raw, camera = renderer.to_raw(torch.rand(3, 3, 8, 10), seeded())
    assert raw.shape == (3, 4, 4, 5)
    assert 0 <= raw.min() <= raw.max() <= 1
    assert renderer.to_rgb(raw, camera).shape == (3, 3, 8, 10)


def test_the_generator_draws_the_cameras():
    x = torch.rand(2, 3, 8, 8)
    raw, camera = ClassicalISP().to_raw(x, seeded(4))
    expected = draw_cameras(2, seeded(4))
    assert all(torch.equal(part, other) for part, other in zip(camera, expected, strict=True))
    assert torch.equal(raw, unprocess(x, expected))
    assert not torch.equal(raw[:1], ClassicalISP().to_raw(x[:1], seeded(5))[0])


def test_smooth_pictures_come_back():
    x = waves().expand(4, -1, -1, -1)
    raw, camera = ClassicalISP().to_raw(x, seeded())
    assert psnr(ClassicalISP().to_rgb(raw, camera), x) > 50


def test_the_published_way_back_is_darker_and_flatter():
    x = waves()
    raw, camera = ClassicalISP().to_raw(x, seeded())
    published = ClassicalISP(tone=False, rgb_gain=False, filling="bilinear")
    assert torch.equal(published.to_rgb(raw, camera), process(raw, camera))
    assert ClassicalISP(rgb_gain=False).to_rgb(raw, camera).mean() < x.mean() - 0.05
    flat = ClassicalISP(tone=False).to_rgb(raw, camera)
    assert flat.std() < x.std()
    torch.testing.assert_close(flat.square() * (3 - 2 * flat), ClassicalISP().to_rgb(raw, camera))


def test_noise_on_raw_comes_out_as_noise_on_the_picture():
    """Far from the ends of the range the way back is nearly linear: twice the noise makes twice the error."""
    x = torch.full((1, 3, 64, 64), 0.5, dtype=torch.float64)
    raw, camera = ClassicalISP().to_raw(x, seeded())
    noise = 1e-6 * torch.randn(raw.shape, generator=seeded(1), dtype=torch.float64)
    before = ClassicalISP().to_rgb(raw, camera)
    once, twice = (ClassicalISP().to_rgb(raw + factor * noise, camera) - before for factor in (1, 2))
    torch.testing.assert_close(twice, 2 * once, atol=1e-8, rtol=0)
    assert once.std() > 1e-6


@pytest.mark.shared
def test_photographs_come_back_where_nothing_is_saturated(shared):
    """What is missing is the mosaic's: freed of the finest detail, photographs lose a hundredth of the range."""
    scores = []
    for seed, path in enumerate(sorted((shared / "data" / "mirflickr_rgb").glob("*.jpg"))[:6]):
        pixels = open_image(path).pixels
        even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2] / np.float32(255)
        x = blur(torch.from_numpy(even.transpose(2, 0, 1))[None])
        raw, camera = ClassicalISP().to_raw(x, seeded(seed))
        scores.append(psnr(ClassicalISP().to_rgb(raw, camera), x, x.amax(1, keepdim=True) < 0.9))
    assert min(scores) > 32
    assert np.median(scores) > 38
