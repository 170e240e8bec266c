"""The chain RGB -> RAW -> noise -> RGB: against the original, and what is promised about its pairs."""

import pytest
import torch
from safetensors import safe_open

from shotnoise.errors import ModelError, PictureError, RecipeError
from shotnoise.isp import ClassicalISP
from shotnoise.isp.blur import blur
from shotnoise.networks import create
from shotnoise.noise import NOISE, NoiseModel
from shotnoise.synthesis import Synthesizer, open_renderer
from small_networks import SMALL


class Given(NoiseModel):
    """Draws that were made elsewhere."""

    def __init__(self, normal, shot, read):
        self.normal, self.k, self.s2 = normal, shot.view(-1, 1, 1, 1), read.view(-1, 1, 1, 1)

    def draw(self, count, generator):
        return torch.zeros(count)

    def sample(self, clean, generator, strength=None):
        return clean + (self.k * clean + self.s2).sqrt() * self.normal

    def variance(self, clean):
        return self.k * clean + self.s2

    def law(self, strength):
        return torch.stack((self.k, self.s2), dim=1).expand(-1, -1, 4, -1, -1)


class Halving:
    """A camera that keeps every fourth value, halved, and shows it four times."""

    def to_raw(self, rgb, generator):
        self.seen = rgb
        return rgb[:, [0, 1, 1, 2], ::2, ::2] / 2, None

    def to_rgb(self, raw, context):
        return 2 * raw[:, [0, 1, 3]].repeat_interleave(2, 2).repeat_interleave(2, 3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sensor(**options):
    return NOISE.create("poisson-gaussian", {"k": 0.01, "electrons": 2.0, **options})


@pytest.mark.shared
def test_golden(shared):
    with safe_open(shared / "golden" / "cycleisp_chain_small.safetensors", "pt") as file:
        held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        arguments = {key: int(value) for key, value in file.metadata().items()}
    network = create("cycleisp", **arguments).eval()
    network.load_state_dict({key.removeprefix("state/"): held[key] for key in held if key.startswith("state/")})
    noise = Given(held["input_standard_normal"], held["input_shot"], held["input_read"])
    chain = Synthesizer(network, noise, pair="published")
    made = chain.srgb(chain.prepared(held["input_rgb"]), seeded())
    expected = {"raw_clean": made.raw.clean, "raw_noisy": made.raw.noisy, "variance": made.raw.variance}
    for name, value in (expected | {"rgb_noisy": made.noisy}).items():
        torch.testing.assert_close(value, held[f"output_{name}"], atol=5e-6, rtol=0)
    assert torch.equal(made.clean, held["input_rgb"])
    for clamped in (made.raw.clean, made.raw.noisy, made.noisy):
        assert (clamped == 0).any(), "the file was made so that every cut is felt"


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_compared_with_what(count):
    rgb = torch.rand(count, 3, 20, 24, generator=seeded(1))
    made = {}
    for pair in ("transfer", "round-trip", "published"):
        chain = Synthesizer(ClassicalISP(), sensor(), pair=pair)
        made[pair] = chain.srgb(chain.prepared(rgb), seeded())
    trip, published, transfer = made["round-trip"], made["published"], made["transfer"]
    _, camera = ClassicalISP().to_raw(rgb, seeded())
    assert torch.equal(trip.clean, ClassicalISP().to_rgb(trip.raw.clean, camera))
    torch.testing.assert_close(trip.noisy, ClassicalISP().to_rgb(trip.raw.noisy, camera))
    assert torch.equal(published.clean, rgb)
    torch.testing.assert_close(published.noisy, trip.noisy)
    assert torch.equal(transfer.clean, rgb)
    torch.testing.assert_close(transfer.noisy, (rgb + trip.noisy - trip.clean).clamp(0, 1))


def test_without_noise_only_the_published_pairs_differ():
    rgb = torch.rand(1, 3, 16, 16, generator=seeded(1))
    for pair in ("transfer", "round-trip"):
        made = Synthesizer(ClassicalISP(), sensor(k=1e-12, electrons=0), pair=pair).srgb(rgb, seeded())
        torch.testing.assert_close(made.noisy, made.clean, atol=2e-5, rtol=0)
    published = Synthesizer(ClassicalISP(), sensor(k=1e-12, electrons=0), pair="published").srgb(rgb, seeded())
    assert float((published.noisy - published.clean).abs().mean()) > 0.01


@pytest.mark.parametrize("size", [(16, 20), (15, 20), (16, 19), (1, 3)])
def test_sizes_come_back(size):
    rgb = torch.rand(1, 3, *size, generator=seeded(1))
    chain = Synthesizer(ClassicalISP(), sensor())
    made = chain.srgb(rgb, seeded())
    assert made.noisy.shape == made.clean.shape == rgb.shape
    raw = chain.raw(rgb, seeded())
    assert raw.noisy.shape[2:] == tuple(-(-side // 2) for side in size)
    assert torch.equal(raw.noisy, made.raw.noisy), "both ways draw the same noise"


def test_odd_pictures_are_continued_by_reflection():
    rgb = torch.rand(1, 3, 5, 7, generator=seeded(1))
    camera = Halving()
    Synthesizer(camera, sensor()).srgb(rgb, seeded())
    assert torch.equal(camera.seen[:, :, :5, :7], rgb)
    assert torch.equal(camera.seen[:, :, 5, :7], rgb[:, :, 3])
    assert torch.equal(camera.seen[:, :, :5, 7], rgb[:, :, :, 5])


def test_the_published_frame():
    rgb = torch.rand(1, 3, 67, 100, generator=seeded(1))
    camera = Halving()
    chain = Synthesizer(camera, sensor(), pair="published", smooth=True, frame=True)
    prepared = chain.prepared(rgb)
    assert torch.equal(prepared, blur(rgb[:, :, :64, :96]))
    made = chain.srgb(prepared, seeded())
    assert camera.seen.shape == (1, 3, 512, 512)
    assert torch.equal(camera.seen[:, :, 224:288, 208:304], prepared)
    assert float(camera.seen.sum()) == pytest.approx(float(prepared.sum()))
    assert made.noisy.shape == made.clean.shape == (1, 3, 64, 96)
    raw = chain.raw(prepared, seeded())
    assert torch.equal(raw.clean, prepared[:, [0, 1, 1, 2], ::2, ::2] / 2)
    # where the published code fails: a side of exactly 512
    assert chain.srgb(chain.prepared(torch.rand(1, 3, 512, 32)), seeded()).noisy.shape == (1, 3, 512, 32)
    with pytest.raises(PictureError, match=r"600 x 64 pixels do not go into the published frame; expected sides of 16"):
        chain.prepared(torch.rand(1, 3, 64, 600))


def test_smaller_pictures_have_less_noise_of_their_own():
    gray = 0.5 + 0.1 * torch.randn(1, 3, 64, 64, generator=seeded(1))
    half = Synthesizer(ClassicalISP(), sensor(), resize=0.5).prepared(gray)
    assert half.shape == (1, 3, 32, 32)
    assert float(half.std()) < 0.08
    assert float(half.mean()) == pytest.approx(0.5, abs=0.01)


def test_compression():
    rgb = torch.rand(1, 3, 32, 32, generator=seeded(1))
    plain = Synthesizer(ClassicalISP(), sensor()).srgb(rgb, seeded())
    errors = {}
    for quality in (30, 95):
        made = Synthesizer(ClassicalISP(), sensor(), jpeg=quality).srgb(rgb, seeded())
        assert made.quality == quality
        assert torch.equal(made.clean, plain.clean), "the clean one is not compressed"
        torch.testing.assert_close(made.noisy * 255, (made.noisy * 255).round(), atol=1e-4, rtol=0)
        errors[quality] = float((made.noisy - plain.noisy).abs().mean())
    assert 0.005 < errors[95] < errors[30]
    drawn = {Synthesizer(ClassicalISP(), sensor(), jpeg=(60, 70)).srgb(rgb, seeded(n)).quality for n in range(60)}
    assert drawn <= set(range(60, 71))
    assert len(drawn) > 5


def test_the_generator_decides():
    rgb = torch.rand(2, 3, 16, 16, generator=seeded(1))
    chain = Synthesizer(ClassicalISP(), sensor(), jpeg=(50, 90))
    first, again, other = (chain.srgb(rgb, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.noisy, again.noisy)
    assert not torch.equal(first.noisy, other.noisy)


def test_variance_is_told_from_what_is_seen():
    rgb = torch.rand(1, 3, 16, 16, generator=seeded(1))
    raw = Synthesizer(ClassicalISP(), sensor()).raw(rgb, seeded())
    k, s2 = raw.law.unbind(1)
    torch.testing.assert_close(raw.variance, k * raw.noisy + s2)
    assert float(k[0, 0]) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pair": "picture"}, "pair is 'picture'; expected transfer, round-trip, published"),
        ({"resize": 2}, "resize is 2; expected a factor above 0 and up to 1"),
        ({"jpeg": [0, 90]}, r"jpeg is \[0, 90\]; expected a number between 0 and 100"),
        ({"jpeg": 90.5}, "jpeg is 90.5; expected whole numbers from 1 to 100"),
    ],
)
def test_mistakes(options, words):
    with pytest.raises(RecipeError, match=words):
        Synthesizer(ClassicalISP(), sensor(), **options)


def test_display_noise_is_refused():
    with pytest.raises(RecipeError, match="this noise has no law of a sensor"):
        Synthesizer(ClassicalISP(), NOISE.create("gaussian", {"sigma": 25}))


def test_cameras_by_name(tmp_path):
    assert isinstance(open_renderer("classical"), ClassicalISP)
    for name in ("cycleisp", "dncnn"):
        torch.save(create(name, **SMALL[name]).state_dict(), tmp_path / f"{name}.pth")
    learned = open_renderer(tmp_path / "cycleisp.pth")
    assert not any(parameter.requires_grad for parameter in learned.parameters())
    rgb = torch.rand(1, 3, 33, 40, generator=seeded(1))
    made = Synthesizer(learned, sensor()).srgb(rgb, seeded())
    assert made.noisy.shape == rgb.shape
    with pytest.raises(ModelError, match="holds a DnCNN, which is no camera; expected 'classical'"):
        open_renderer(tmp_path / "dncnn.pth")
