"""Under-sampled MRI: the loss against its formula, and what is put back."""

import numpy as np
import pytest
import torch

from shotnoise.errors import RecipeError
from shotnoise.methods.kspace import KSpace, put_back
from shotnoise.mri import with_measured
from shotnoise.networks import create
from shotnoise.pairs.kspace import KSpaceSlices
from shotnoise.pairs.sample import collate, generator_for


@pytest.fixture(scope="module")
def batch():
    images = [np.random.default_rng(seed).integers(0, 256, (1, 48, 48)).astype(np.uint8) for seed in range(2)]
    source = KSpaceSlices(pictures=images, noise=None, translate=3)
    return collate([source.draw(generator_for(0, number)) for number in range(3)])


def network():
    torch.manual_seed(0)
    return create("noise2noise-unet", in_nc=1, n_feature=4)


def alone(net, batch):
    """The network on slices that are continued with black."""
    padded = torch.full((3, 1, 64, 64), -0.5)
    padded[:, :, :47, :47] = batch["noisy"]
    return net(padded)[:, :, :47, :47]


def by_numpy(image, batch):
    parts = zip(image.detach()[:, 0].numpy(), batch["spectrum"].numpy(), batch["measured"][:, 0].numpy(), strict=True)
    return torch.from_numpy(np.stack([with_measured(a, s[0] + 1j * s[1], m.astype(bool))[None] for a, s, m in parts]))


@pytest.mark.parametrize("post_op", ["none", "validation", "full"])
def test_the_loss_and_what_is_validated(batch, post_op):
    method = KSpace(network=network(), post_op=post_op)
    raw = alone(method.network, batch)
    done = by_numpy(raw, batch)
    trained, validated = (done if post_op in when else raw for when in (("full",), ("full", "validation")))
    outcome = method.loss(batch, 0.5, torch.Generator())
    expected = (trained - batch["target"]).square().mean()
    assert float(outcome["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(method.restore(batch), validated, atol=1e-5, rtol=0)
    assert method.predictor() is method.network
    outcome["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_half_precision_leaves_the_transform_alone(batch):
    method = KSpace(network=network())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        value = method.loss(batch, 0, torch.Generator())["loss"]
        exact = put_back(batch["target"].bfloat16(), batch["spectrum"], batch["measured"])
    assert value.dtype == exact.dtype == torch.float32
    whole = method.loss(batch, 0, torch.Generator())["loss"].detach()
    assert float(value) == pytest.approx(float(whole), rel=0.02)


def test_noisy_targets_give_the_gradient_of_clean_ones_on_average():
    """With the same inputs: the mean gradient over many second masks comes to that of the clean slice."""
    picture = (np.random.default_rng(0).random((1, 21, 21)) * 60).astype(np.uint8)
    torch.manual_seed(0)
    net = create("dncnn", in_nc=1, nb=2, nc=2)
    method = KSpace(network=net)
    sources = [KSpaceSlices(pictures=[picture], noise=None, translate=0, clean_target=clean) for clean in (True, False)]

    def gradient(batch):
        net.zero_grad()
        method.loss(batch, 0, torch.Generator())["loss"].backward()
        return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])

    first = sources[0].draw(generator_for(0, 0))
    expected = gradient(collate([first]))
    count = 800
    noisy = torch.stack([sources[1].draw(generator_for(1, number)).target for number in range(count)])
    together = {name: value.expand(count, -1, -1, -1) for name, value in collate([first]).items()} | {"target": noisy}
    found = gradient(together)
    single = torch.stack([gradient(collate([first]) | {"target": target[None]}) for target in noisy[:40]])
    spread = single.std(0) / count**0.5
    assert float(((found - expected).abs() <= 5 * spread + 1e-9).float().mean()) == 1
    assert float((found - expected).norm()) < 0.4 * float(single.std(0).norm())


def test_mistakes_are_named(batch):
    with pytest.raises(RecipeError, match=r"method\.post_op is 'eval'; expected one of none, validation, full"):
        KSpace(network=network(), post_op="eval")
    with pytest.raises(RecipeError, match=r"network of 3 channels; slices have one, set network\.in_nc: 1"):
        KSpace(network=create("noise2noise-unet", n_feature=4))
    with pytest.raises(RecipeError, match=r"use pairs: \{name: kspace\}"):
        KSpace(network=network()).loss({"noisy": batch["noisy"], "target": batch["target"]}, 0, torch.Generator())
