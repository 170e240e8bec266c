"""Under-sampling in k-space against the golden file and against its formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from shotnoise.errors import PictureError
from shotnoise.methods.kspace import put_back
from shotnoise.mri import density, kept, measure, odd, spectrum_of, to_signal, undersample, with_measured


def phantom(height=31, width=31):
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = (x**2 + 1.4 * y**2 < 0.7).astype(np.float32)
    return inside * np.float32(0.7) * (0.6 + 0.4 * np.sin(7 * x + 3 * y)).astype(np.float32) - np.float32(0.5)


@pytest.mark.shared
def test_density_is_the_published_one(shared):
    golden = load_file(shared / "golden" / "n2n_mri_mask_density.safetensors")["prob_255_p0.025"]
    ours = density(255, 255, 0.025)
    np.testing.assert_allclose(ours, golden, rtol=1e-5)
    assert ours.mean() == pytest.approx(0.104773, abs=1e-6)
    assert (ours[127, 127], ours[127, 0], ours[127, -1]) == (1, pytest.approx(0.025), pytest.approx(0.025))
    assert ours[0, 0] == pytest.approx(0.00542, abs=1e-5)


@pytest.mark.shared
def test_corruption_is_the_published_one(shared):
    golden = load_file(shared / "golden" / "n2n_mri_corruption.safetensors")
    image = to_signal(odd(golden["image_u8"]))
    np.testing.assert_array_equal(image, golden["image"])
    moved = np.roll(image, golden["translation"], (0, 1))
    np.testing.assert_array_equal(moved, golden["image_t"])
    for picture, name in ((image, "spec"), (moved, "spec_t")):
        expected = golden[f"{name}_re"] + 1j * golden[f"{name}_im"]
        assert np.abs(spectrum_of(picture) - expected).max() < 2e-6 * np.abs(expected).max()
    probability = density(*image.shape)
    np.testing.assert_allclose(probability, golden["prob"], rtol=1e-5)
    for draw in "ab":
        uniform = golden[f"{draw}/uniform"]
        ours = undersample(moved, uniform, probability)
        different = ours.measured != golden[f"{draw}/mask"].astype(bool)
        assert np.all(np.abs(uniform[different] ** 2 - probability[different]) < 1e-6)
        assert not different.any()
        np.testing.assert_allclose(ours.noisy, golden[f"{draw}/corrupted"], atol=1e-5)
        expected = golden[f"{draw}/spec_val_re"] + 1j * golden[f"{draw}/spec_val_im"]
        assert np.abs(ours.spectrum - expected).max() < 1e-3  # of 1057
        assert (ours.noisy.dtype, ours.spectrum.dtype) == (np.float32, np.complex64)


@pytest.mark.shared
def test_the_post_operation_and_the_score_are_the_published_ones(shared):
    golden = load_file(shared / "golden" / "n2n_mri_corruption.safetensors")
    spectrum = (golden["a/spec_val_re"] + 1j * golden["a/spec_val_im"]).astype(np.complex64)
    measured = golden["a/mask"].astype(bool)
    for ours in (
        with_measured(golden["denoised"], spectrum, measured),
        put_back(
            torch.from_numpy(golden["denoised"])[None, None],
            torch.from_numpy(np.stack((spectrum.real, spectrum.imag)))[None],
            torch.from_numpy(golden["a/mask"])[None, None],
        )[0, 0].numpy(),
    ):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, golden["denoised_fspec"], atol=1e-5)
        clipped, truth = (np.clip(image, -0.5, 0.5).astype(np.float64) for image in (ours, golden["image_t"]))
        decibels = -10 * np.log10(np.mean((clipped - truth) ** 2))
        assert decibels == pytest.approx(float(golden["db_clamped"][0]), abs=1e-4)


sides = st.integers(1, 16).map(lambda half: 2 * half + 1)


@settings(max_examples=30, deadline=None)
@given(height=sides, width=sides, seed=st.integers(0, 2**31))
def test_what_holds_for_every_mask(height, width, seed):
    rng = np.random.RandomState(seed)
    image = rng.uniform(-0.5, 0.5, (height, width))
    probability = density(height, width)
    mask = kept(rng.uniform(size=image.shape), probability)
    assert np.array_equal(mask, mask[::-1, ::-1])
    assert mask[height // 2, width // 2], "the constant is always measured"
    made = measure(image, mask, probability)
    assert np.all(made.spectrum[~mask] == 0)
    np.testing.assert_allclose(made.spectrum[mask], spectrum_of(image)[mask], rtol=1e-6)
    complete = np.fft.ifft2(np.fft.ifftshift(made.spectrum.astype(complex) / probability))
    assert np.abs(complete.imag).max() < 1e-6 * max(1, np.abs(complete).max())

    result = rng.normal(size=image.shape)
    truth = spectrum_of(image)
    once = with_measured(result, np.where(mask, truth, 0), mask)
    np.testing.assert_allclose(spectrum_of(once)[mask], truth[mask], atol=1e-9)
    np.testing.assert_allclose(spectrum_of(once)[~mask], spectrum_of(result)[~mask], atol=1e-9)
    np.testing.assert_allclose(with_measured(once, np.where(mask, truth, 0), mask), once, atol=1e-12)


def test_the_mean_over_masks_is_the_clean_image():
    """Over 2,000 draws, as near as their variance lets it be; and frequencies are measured as often as they should."""
    rng = np.random.RandomState(0)
    image = phantom() / 2
    probability = density(*image.shape)
    masks = kept(rng.uniform(size=(2000, *image.shape)), probability)
    images = measure(np.broadcast_to(image, masks.shape), masks, probability).noisy
    error = images.mean(0, dtype=np.float64) - image
    assert np.abs(error).mean() < 0.005
    power = np.abs(spectrum_of(image)) ** 2
    variance = np.sum(power * (1 / probability - 1)) / image.size**2  # of one draw, mean over the pixels
    assert np.mean((images - image) ** 2) == pytest.approx(variance, rel=0.05)
    assert np.mean(error**2) == pytest.approx(variance / 2000, rel=0.3)
    deviation = np.sqrt(probability * (1 - probability) / 2000)
    assert np.all(np.abs(masks.mean(0) - probability) <= 5 * deviation)


def test_the_mean_of_an_image_stays():
    """Nothing is clipped, so that white does not get darker; one constant image is all constant."""
    white = np.full((31, 31), 0.5, np.float32)
    made = undersample(white, np.random.RandomState(1).uniform(size=white.shape), density(31, 31))
    np.testing.assert_allclose(made.noisy, 0.5, atol=1e-6)
    image = phantom()
    made = undersample(image, np.random.RandomState(2).uniform(size=image.shape), density(31, 31))
    assert made.noisy.mean() == pytest.approx(image.mean(), abs=1e-6)
    assert made.noisy.max() > 0.5 or made.noisy.min() < -0.5, "and the rest goes beyond the range"


def test_gradients_pass_through_what_is_not_measured():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, 9, 11, generator=generator, dtype=torch.float32).requires_grad_()
    mask = torch.from_numpy(kept(np.random.RandomState(0).uniform(size=(9, 11)), density(9, 11)).astype(np.float32))
    weights = torch.rand(image.shape, generator=generator)
    (put_back(image, torch.zeros(2, 2, 9, 11), mask.expand(2, 1, 9, 11)) * weights).sum().backward()
    expected = with_measured(weights.numpy(), np.zeros((9, 11), complex), mask.numpy().astype(bool))
    torch.testing.assert_close(image.grad, torch.from_numpy(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((256, 255), "k-space of 256x255; expected odd sides"), ((255, 255, 0.0), "is 0.0; expected a probability")],
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(PictureError, match=words):
        density(*arguments)
