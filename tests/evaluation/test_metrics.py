import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from shotnoise.errors import PictureError
from shotnoise.evaluation import METRICS, luma, psnr, quantise, ssim

SIZES = st.tuples(st.integers(11, 24), st.integers(11, 24))


def pictures(seed, shape, dtype):
    """A smooth picture and a noisy one of it."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.linspace(0, 0.6, shape[0]), np.linspace(0.1, 0.4, shape[1]))
    clean = np.broadcast_to(ramp.reshape(*shape[:2], *[1] * (len(shape) - 2)), shape)
    noisy = np.clip(clean + rng.normal(0, 0.1, shape), 0, 1)
    if dtype == np.float64:
        return clean, noisy, 1.0
    top = np.iinfo(dtype).max
    return np.round(clean * top).astype(dtype), np.round(noisy * top).astype(dtype), float(top)


@given(seed=st.integers(0, 999), size=SIZES, dtype=st.sampled_from([np.uint8, np.uint16, np.float64]))
def test_psnr_is_that_of_scikit_image(seed, size, dtype):
    clean, noisy, top = pictures(seed, (*size, 3), dtype)
    expected = peak_signal_noise_ratio(clean.astype(np.float64), noisy.astype(np.float64), data_range=top)
    assert psnr(noisy, clean, top) == pytest.approx(expected, abs=1e-9)


@given(
    seed=st.integers(0, 999),
    size=SIZES,
    channels=st.sampled_from([0, 1, 3]),
    dtype=st.sampled_from([np.uint8, np.float64]),
)
def test_ssim_is_that_of_scikit_image_over_the_valid_area(seed, size, channels, dtype):
    clean, noisy, top = pictures(seed, size + ((channels,) if channels else ()), dtype)
    found = []
    for c in range(max(channels, 1)):
        a, b = ((p[..., c] if channels else p).astype(np.float64) for p in (clean, noisy))
        _, full = structural_similarity(
            a, b, data_range=top, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        found.append(full[5:-5, 5:-5].mean())
    assert ssim(noisy, clean, top) == pytest.approx(np.mean(found), abs=1e-9)


@pytest.mark.shared
def test_golden_conversion_psnr_and_ssim(shared):
    from safetensors.numpy import load_file

    golden = load_file(shared / "golden" / "neighbor2neighbor_metrics.safetensors")
    for case in "012":
        clean, predicted = golden[f"{case}/clean"], golden[f"{case}/pred"]
        np.testing.assert_array_equal(quantise(golden[f"{case}/pred_float"]), predicted)
        assert psnr(predicted, clean, 255) == pytest.approx(golden[f"{case}/psnr"].item(), abs=1e-4)
        assert ssim(predicted, clean, 255) == pytest.approx(golden[f"{case}/ssim"].item(), abs=1e-9)


@given(hnp.arrays(np.float64, hnp.array_shapes(max_side=6), elements=st.floats(-2, 3)))
def test_quantise_rounds_to_the_nearest_of_256_steps(picture):
    steps = quantise(picture)
    inside = np.clip(picture, 0, 1)
    assert (np.abs(steps - 255 * inside) <= 0.5 + 1e-9).all()


def test_quantise_keeps_8_bit_values_and_infinities_are_black_or_white():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(quantise(values / 255), values)
    np.testing.assert_array_equal(quantise((values / 255).astype(np.float32)), values)
    assert quantise(np.array([-math.inf, math.inf])).tolist() == [0, 255]
    with pytest.raises(PictureError, match="NaN"):
        quantise(np.array([math.nan]))


@given(seed=st.integers(0, 99), size=SIZES)
def test_equal_pictures_and_symmetry(seed, size):
    clean, noisy, top = pictures(seed, (*size, 3), np.uint8)
    assert psnr(clean, clean, top) == math.inf
    assert ssim(clean, clean, top) == pytest.approx(1)
    assert psnr(clean, noisy, top) == psnr(noisy, clean, top)
    assert ssim(clean, noisy, top) == pytest.approx(ssim(noisy, clean, top), abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_what_cannot_be_compared(metric):
    with pytest.raises(PictureError, match=r"one shape can be compared, not \(12, 12\) and \(12, 13\)"):
        metric(np.zeros((12, 12)), np.zeros((12, 13)), 1)
    with pytest.raises(PictureError, match="data range is 0"):
        metric(np.zeros((12, 12)), np.zeros((12, 12)), 0)
    with pytest.raises(PictureError, match="empty picture"):
        metric(np.zeros((0, 12)), np.zeros((0, 12)), 1)
    with pytest.raises(TypeError, match="data_range"):
        metric(np.zeros((12, 12)), np.zeros((12, 12)))


@pytest.mark.parametrize("shape", [(10, 40), (40, 10, 3), (1, 1)])
def test_ssim_needs_room_for_its_window(shape):
    with pytest.raises(PictureError, match=f"at least 11 x 11 pixels, this one is {shape[0]} x {shape[1]}"):
        ssim(np.zeros(shape), np.zeros(shape), 255)


@pytest.mark.shared
@pytest.mark.parametrize("case", "012")
@pytest.mark.parametrize(
    ("name", "border", "kind"),
    [
        ("8bit", 0, "rgb"),
        ("invdn", 4, "rgb"),
        ("invdn-paddle", 0, "y"),
        ("invdn-paddle-log", 4, "y"),
        ("cycleisp", 0, "rgb"),
    ],
)
def test_golden_metrics_of_the_published_systems(shared, case, name, border, kind):
    from safetensors.numpy import load_file

    golden = load_file(shared / "golden" / "invdn_imresize_metrics.safetensors")
    metrics = METRICS[name]
    clean, noisy = (metrics.compared(golden[f"{case}/{which}"] / np.float32(255)) for which in ("clean", "noisy"))
    expected = golden[f"{case}/psnr_crop{border}"].item(), golden[f"{case}/ssim_{kind}_crop{border}"].item()
    assert psnr(noisy, clean, metrics.data_range) == pytest.approx(expected[0], abs=1e-4)
    structure = ssim(metrics.structure(noisy), metrics.structure(clean), metrics.data_range)
    assert structure == pytest.approx(expected[1], abs=1e-6)


def test_what_the_metrics_do_to_values():
    picture = np.linspace(-0.5, 1.5, 20 * 20 * 3, dtype=np.float32).reshape(20, 20, 3)
    found = {name: metrics.compared(picture) for name, metrics in METRICS.items()}
    np.testing.assert_array_equal(found["8bit"], quantise(picture))
    np.testing.assert_array_equal(found["invdn"], quantise(picture)[4:16, 4:16])
    np.testing.assert_array_equal(found["cycleisp"], np.clip(picture, 0, 1))
    np.testing.assert_array_equal(found["invdn-paddle"], picture)
    np.testing.assert_array_equal(found["invdn-paddle-log"], picture[4:16, 4:16])


def test_luma_is_that_of_bt601():
    white, red = np.full((2, 2, 3), 255, np.uint8), np.tile([1.0, 0, 0], (2, 2, 1))
    np.testing.assert_allclose(luma(white, 255), 235)
    np.testing.assert_allclose(luma(red, 1.0), (65.481 + 16) / 255)
    with pytest.raises(PictureError, match=r"luma needs a colour picture \(H, W, 3\), not \(2, 2, 1\)"):
        luma(white[..., :1], 255)
