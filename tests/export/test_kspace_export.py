"""The graph that puts measured frequencies back itself."""

import numpy as np
import pytest
import torch

from shotnoise.engines import open_engine
from shotnoise.errors import ModelError
from shotnoise.export import export
from shotnoise.export.kspace import WithMeasured
from shotnoise.export.onnx import _compare_kspace
from shotnoise.methods.kspace import put_back
from shotnoise.mri import density, undersample
from shotnoise.networks import create
from shotnoise.networks.card import bare_card
from shotnoise.networks.checkpoint import save_checkpoint


@pytest.mark.parametrize(("height", "width"), [(3, 3), (31, 47), (255, 63)])
def test_products_with_waves_are_the_transform(height, width):
    rng = np.random.RandomState(0)
    made = undersample(
        rng.uniform(-0.5, 0.5, (height, width)), rng.uniform(size=(height, width)), density(height, width)
    )
    image = torch.from_numpy(rng.uniform(-0.5, 0.5, (1, 1, height, width)).astype(np.float32))
    spectrum = torch.from_numpy(np.stack((made.spectrum.real, made.spectrum.imag)))[None]
    measured = torch.from_numpy(made.measured.astype(np.float32))[None, None]

    class Same(torch.nn.Module):
        def forward(self, noisy):
            return noisy

    expected = put_back(image, spectrum, measured)
    torch.testing.assert_close(WithMeasured(Same())(image, spectrum, measured), expected, atol=2e-5, rtol=0)


def test_it_is_for_mri_models_of_free_size(tmp_path):
    network = create("noise2noise-unet", in_nc=1, n_feature=4)
    card = bare_card(network, "gray")
    save_checkpoint(tmp_path / "gray.safetensors", network, card)
    save_checkpoint(tmp_path / "mri.safetensors", network, card.model_copy(update={"kind": "mri"}))
    with pytest.raises(ModelError, match="kspace is asked for with a model that is not for MRI"):
        export(tmp_path / "gray.safetensors", tmp_path / "a.onnx", kspace=True)
    with pytest.raises(ModelError, match="kspace is asked for with a fixed size"):
        export(tmp_path / "mri.safetensors", tmp_path / "a.onnx", size=(256, 256), kspace=True)


def test_a_result_that_is_no_number_is_no_small_difference(monkeypatch):
    class Broken:
        def run(self, names, inputs):
            return [np.full(inputs["measured"].shape, np.nan, np.float32)]

    monkeypatch.setattr("shotnoise.export.onnx.session", lambda content: Broken())
    difference, _ = _compare_kspace(create("noise2noise-unet", in_nc=1, n_feature=4), b"")
    assert np.isnan(difference)


@pytest.mark.slow
def test_the_graph_agrees_with_torch_and_is_for_other_programs(tmp_path):
    network = create("noise2noise-unet", in_nc=1, n_feature=4)
    card = bare_card(network, "mri").model_copy(update={"kind": "mri"})
    save_checkpoint(tmp_path / "mri.safetensors", network, card)
    done = export(tmp_path / "mri.safetensors", tmp_path / "a.onnx", kspace=True)
    assert done.difference < 1e-5
    with pytest.raises(ModelError, match="export it without --kspace"):
        open_engine(tmp_path / "a.onnx")
