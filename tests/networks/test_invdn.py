"""InvDN: the original's numbers, an exact inverse, and determinants that are what autograd says."""

import json
import math

import pytest
import torch
from safetensors import safe_open

from shotnoise.errors import ModelError
from shotnoise.export import cost
from shotnoise.networks import create, load
from shotnoise.networks.invdn import InvDN

SMALL = {"block_num": [1, 1], "width": 8}
VARIANTS = {
    "residual": SMALL,
    "dense": SMALL | {"subnet": "dense"},
    "learned": SMALL | {"downsampling": "learned"},
    "eighth": {"block_num": [1, 1, 1], "scale": 8, "width": 8, "channel_in": 1, "channel_out": 1, "clamp": 0.5},
}


def read(path):
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def state_of(tensors):
    return {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}


def small(variant="residual", dtype=torch.float32):
    """A network whose weights all matter: dense ones begin with zeros, learned filters at Haar."""
    torch.manual_seed(0)
    network = create("invdn", **VARIANTS[variant]).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, dtype=dtype))
    return network.eval()


def close(result, expected, tolerance):
    assert float((result - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.shared
@pytest.mark.parametrize("file", ["invdn_small", "invdn_dense_small"])
def test_golden(shared, file):
    tensors, metadata = read(shared / "golden" / f"{file}.safetensors")
    state = state_of(tensors)
    arguments = InvDN.arguments_from(state)
    assert arguments == {
        "channel_in": 3,
        "channel_out": 3,
        "block_num": json.loads(metadata["block_num"]),
        "scale": 4,
        "subnet": {"Resnet": "residual", "DBNet": "dense"}[metadata["subnet"]],
        "width": {"Resnet": 64, "DBNet": 32}[metadata["subnet"]],
        "downsampling": "haar",
    }
    network = create("invdn", **arguments).eval()
    network.load_state_dict(state)
    assert sum(parameter.numel() for parameter in network.parameters()) == int(metadata["params"])
    picture, latent = tensors["input"], tensors["input_z"]
    with torch.no_grad():
        halves = torch.cat(network.analyse(picture), dim=1)
        result = network(picture, latent=latent)
        determinant = network.analysis_log_determinant(picture).mean()
        x = picture
        for index, operation in enumerate(network.operations[:3]):
            x = operation(x)
            if f"mid_op{index}" in tensors:
                torch.testing.assert_close(x, tensors[f"mid_op{index}"], atol=1e-5, rtol=0)
    torch.testing.assert_close(halves, tensors["output_forward"], atol=1e-5, rtol=0)
    close(result, tensors["output_inverse"], 1e-5)
    assert float(determinant) == pytest.approx(float(tensors["output_jacobian"]), rel=1e-5)


@pytest.mark.shared
def test_golden_mean_of_eight(shared):
    """Eight flipped and turned copies with a latent each: bit 0 flips columns, bit 1 rows, bit 2 transposes."""
    tensors, _ = read(shared / "golden" / "invdn_small.safetensors")
    state = state_of(tensors)
    network = create("invdn", **InvDN.arguments_from(state)).eval()
    network.load_state_dict(state)
    total = torch.zeros(())
    for copy in range(8):
        x = tensors["input_x8"]
        flips = [side for bit, side in ((1, 3), (2, 2)) if copy & bit]
        x = x.flip(flips)
        x = x.mT if copy & 4 else x
        with torch.no_grad():
            y = network(x, latent=tensors["input_x8_z"][copy])
        y = y.mT if copy & 4 else y
        total = total + y.flip(flips) / 8
    close(total, tensors["output_x8"], 1e-5)


@pytest.mark.shared
def test_the_original_reduced_full_size_noise_in_two_ways(shared):
    """By the mean of 4x4 cells, or by cutting off a corner: any latent runs, whatever its deviation."""
    tensors, _ = read(shared / "golden" / "invdn_small.safetensors")
    state = state_of(tensors)
    network = create("invdn", **InvDN.arguments_from(state)).eval()
    network.load_state_dict(state)
    noise = tensors["input_noise_fullres"]
    latents = {"avgpool": torch.nn.functional.avg_pool2d(noise, 4), "crop": noise[:, :, :8, :12]}
    for name, latent in latents.items():
        with torch.no_grad():
            close(network(tensors["input"], latent=latent), tensors[f"output_oneforward_{name}"], 1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_both_directions_undo_each_other(variant, dtype, tolerance):
    network = small(variant, dtype)
    picture = torch.rand(2, network.channels, 16, 24, dtype=dtype)
    with torch.no_grad():
        low, latent = network.analyse(picture)
        assert (network.synthesise(low, latent) - picture).abs().max() < tolerance
        channels, reduction = network.latent_shape
        assert low.shape == (2, network.channels, 16 // reduction, 24 // reduction)
        assert latent.shape == (2, channels, 16 // reduction, 24 // reduction)
        low, latent = torch.randn_like(low), torch.randn_like(latent)
        for back, given in zip(network.analyse(network.synthesise(low, latent)), (low, latent), strict=True):
            assert (back - given).abs().max() < 10 * tolerance


@pytest.mark.parametrize("variant", VARIANTS)
def test_determinants_are_those_of_autograd_and_cancel(variant):
    network = small(variant, torch.float64)
    channels, side = network.channels, network.multiple
    picture = torch.rand(2, channels, side, side, dtype=torch.float64)
    low, latent = (part.detach() for part in network.analyse(picture))
    analysed, synthesised = network.analysis_log_determinant(picture), network.synthesis_log_determinant(low, latent)
    torch.testing.assert_close(analysed + synthesised, torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)

    def forwards(numbers):
        return torch.cat(network.analyse(numbers.view(1, channels, side, side)), dim=1).flatten()

    def backwards(numbers):
        numbers = numbers.view(1, -1, 1, 1)
        return network.synthesise(numbers[:, :channels], numbers[:, channels:]).flatten()

    both = torch.cat((low, latent), dim=1)
    for sample in range(2):
        jacobian = torch.autograd.functional.jacobian(forwards, picture[sample].flatten(), vectorize=True)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], analysed[sample], atol=1e-9, rtol=1e-9)
        jacobian = torch.autograd.functional.jacobian(backwards, both[sample].flatten(), vectorize=True)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], synthesised[sample], atol=1e-9, rtol=1e-9)


def test_the_low_channels_of_haar_are_means_of_cells():
    picture = torch.rand(1, 3, 8, 12)
    low, rest = create("invdn").operations[0](picture).split((3, 9), dim=1)
    torch.testing.assert_close(low, torch.nn.functional.avg_pool2d(picture, 2))
    columns = picture[:, :, :, 0::2] - picture[:, :, :, 1::2]
    torch.testing.assert_close(rest[:, :3], torch.nn.functional.avg_pool2d(columns, (2, 1)) / 2)


def test_learned_filters_start_at_haar_and_stay_orthogonal():
    haar, learned = (create("invdn", block_num=[1, 1], downsampling=kind) for kind in ("haar", "learned"))
    for index, channels in ((0, 3), (2, 12)):
        torch.testing.assert_close(learned.operations[index].bank(), haar.operations[index].bank(), atol=1e-6, rtol=0)
        assert learned.operations[index].reflections.shape == (6, channels, 4)
        assert [name for name, _ in learned.operations[index].named_parameters()] == ["reflections"]
    layer = learned.operations[0]
    picture, target = torch.rand(2, 3, 8, 8), torch.rand(2, 12, 4, 4)
    (layer(picture) - target).square().sum().backward()
    layer.reflections.data -= layer.reflections.grad
    bank, start = (one.bank().detach().view(3, 4, 4) for one in (layer, haar.operations[0]))
    assert (bank - start).abs().max() > 0.1
    torch.testing.assert_close(bank @ bank.mT, 4 * torch.eye(4).expand(3, 4, 4), atol=1e-5, rtol=0)
    assert (torch.linalg.det(bank) * torch.linalg.det(start) > 0).all()  # turned, not mirrored


def test_every_rotation_is_open_to_learned_filters():
    """The six ways in which four filters can turn, from the very first step."""
    layer = create("invdn", block_num=[1], scale=2, downsampling="learned", channel_in=1, channel_out=1).operations[0]
    jacobian = torch.autograd.functional.jacobian(
        lambda mirrors: torch.func.functional_call(_Bank(layer), {"layer.reflections": mirrors}, ()).flatten(),
        layer.reflections.detach(),
    )
    assert int(torch.linalg.matrix_rank(jacobian.flatten(1))) == 6


class _Bank(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return self.layer.bank()


def test_mixed_precision_keeps_the_inverse():
    """The convolutions of the blocks run in halves, in both directions alike; everything else does not."""
    network = small()
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        exact = network.analyse(picture)[0]
        with torch.autocast("cpu", torch.bfloat16):
            low, latent = network.analyse(picture)
            again = network.synthesise(low, latent)
            assert network.operations[1].F.conv1(torch.rand(1, 9, 4, 4)).dtype == torch.bfloat16
    assert low.dtype == latent.dtype == again.dtype == torch.float32
    assert (low - exact).abs().max() > 1e-4
    assert (again - picture).abs().max() < 1e-3  # a bfloat16 near 1 is wrong by 4e-3


def test_the_published_configuration():
    network = create("invdn")
    parameters = list(network.parameters())
    assert sum(parameter.numel() for parameter in parameters) == 2_641_200
    assert sum(parameter.numel() for parameter in parameters if parameter.requires_grad) == 2_640_960
    assert len(network.state_dict()) == 290
    assert (network.multiple, network.latent_shape) == (4, (45, 4))
    assert cost(network, height=256, width=256).macs / 1e9 == pytest.approx(47.54, abs=0.01)
    with torch.device("meta"):
        dense = create("invdn", subnet="dense")
    assert sum(parameter.numel() for parameter in dense.parameters()) == 4_355_376


def test_first_weights():
    """Uniform within one over the root of the inputs; dense ones a tenth of Xavier's, and nothing comes out of them."""
    torch.manual_seed(0)
    conv = create("invdn", block_num=[1], scale=2).operations[1].G.conv2
    bound = 1 / math.sqrt(9 * 64)
    for values in (conv.weight, conv.bias):
        assert 0.9 * bound < values.abs().max() <= bound
    assert float(conv.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    block = create("invdn", block_num=[1], scale=2, subnet="dense").operations[1]
    expected = 0.1 * math.sqrt(2 / (9 * (32 + 3 + 32)))
    assert float(block.G.conv2.weight.detach().std()) == pytest.approx(expected, rel=0.02)
    assert not any(conv.bias.any() for conv in block.F.children())
    features = torch.rand(1, 12, 4, 4)
    assert torch.equal(block(features), features)


@pytest.mark.parametrize("variant", VARIANTS)
def test_published_files_are_recognised(variant, tmp_path):
    network = small(variant)
    torch.save({"params": {f"module.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "a.pth")
    again = load(tmp_path / "a.pth")
    assert type(again) is InvDN
    picture = torch.rand(1, network.channels, 16, 16)
    assert torch.equal(again(picture), network(picture)) == (variant != "eighth")  # its clamp is in no tensor
    assert [name for name, value in again.named_parameters() if not value.requires_grad] == [
        name for name in network.state_dict() if name.endswith("haar_weights")
    ]


def test_others_are_not_mistaken():
    assert InvDN.arguments_from({"operations.0.weight": torch.ones(1)}) is None
    assert InvDN.arguments_from({"operations.0.haar_weights": torch.ones(12, 1, 2, 2)}) is None


def test_latents_are_drawn_by_size_or_from_a_generator():
    network = small()
    noisy = torch.rand(3, 3, 16, 24)
    fixed = network.draw_latent(noisy)
    assert fixed.shape == (3, 45, 4, 6)
    assert torch.equal(fixed[0], fixed[2])
    with torch.no_grad():
        torch.testing.assert_close(network(noisy)[1:2], network(noisy[1:2]), atol=1e-4, rtol=0)
    first, again = (network.draw_latent(noisy, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert float(first.mean()) == pytest.approx(0, abs=0.05)
    assert float(first.std()) == pytest.approx(1, abs=0.05)
    assert network.draw_latent(noisy.double()).dtype == torch.float64


def test_what_does_not_fit_is_refused():
    network = small()
    with pytest.raises(ModelError, match="a picture of 18x16 pixels; InvDN loses nothing only at multiples of 4: pad"):
        network(torch.rand(1, 3, 18, 16))
    with pytest.raises(ModelError, match="a latent of 1x45x16x16; expected 1x45x4x4 here: draw_latent makes one"):
        network(torch.rand(1, 3, 16, 16), latent=torch.rand(1, 45, 16, 16))
