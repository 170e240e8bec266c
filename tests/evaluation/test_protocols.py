import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shotnoise.errors import PictureError, RecipeError, StoreError
from shotnoise.evaluation import PADDINGS, PROTOCOLS, get_protocol, psnr
from shotnoise.evaluation.pictures import pad
from shotnoise.evaluation.protocol import find_pictures
from shotnoise.images import open_image


def fill(folder, count=2):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", (12, 12)).save(folder / f"{i}.png")
    return folder


def test_every_row_is_found_by_its_name():
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert get_protocol(name) is protocol
    ours = {f"{data}/gaussian{sigma}" for data in ("kodak24", "bsd300", "folder") for sigma in (2, 5, 15, 25, 50)}
    noise2noise = {f"noise2noise/{data}/{kind}" for data in ("kodak", "bsd300") for kind in ("gaussian25", "poisson30")}
    kinds = ("gauss25", "gauss5_50", "poisson30", "poisson5_50")
    neighbor2neighbor = {f"neighbor2neighbor/{data}/{kind}" for data in ("kodak", "bsd300", "set14") for kind in kinds}
    isos = (100, 200, 400, 800, 1600, 3200, 6400)
    raw = {f"raw/{data}/iso{iso}" for data in ("kodak24", "bsd300", "folder") for iso in isos}
    real = {"pairs/folder", "sidd/srgb", "sidd/raw"}
    mri = {"mri/kspace", "mri/kspace-alone"}
    assert set(PROTOCOLS) == ours | noise2noise | neighbor2neighbor | raw | real | mri


@pytest.mark.parametrize("name", ["kodak24", "bsd300", "folder"])
def test_a_bare_set_means_sigma_25(name):
    protocol = get_protocol(name)
    assert (protocol.strength, protocol.noise, protocol.data_set) == (25, "gaussian", name)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("kodak", "kodak24/gaussian25"), ("bsd300/gausian50", "bsd300/gaussian50")]
)
def test_an_unknown_name_gets_the_nearest(wrong, meant):
    with pytest.raises(RecipeError, match=f"no protocol '{wrong}': did you mean '{meant}'"):
        get_protocol(wrong)


def test_the_noise_of_a_picture_by_hand():
    """Seed 0, drawn in the order height, width, channel, in float64, not clipped."""
    protocol = get_protocol("folder/gaussian50")
    clean = np.zeros((3, 4, 3), np.uint8)
    clean[1] = 200
    first = protocol.add_noise(clean, protocol.generator())
    draws = np.random.RandomState(0).standard_normal(36).reshape(3, 4, 3)
    np.testing.assert_allclose(first, clean / 255 + draws * 50 / 255, atol=1e-7)
    assert first.dtype == np.float32
    assert first.min() < 0
    np.testing.assert_array_equal(first, protocol.add_noise(clean, protocol.generator()))
    assert first[0, 0, 0] == np.float32(1.764052345967664 * 50 / 255)  # the stream's well-known first number


def test_the_level_is_in_units_of_the_picture():
    assert get_protocol("kodak24/gaussian15").level(15) == 15 / 255
    assert get_protocol("noise2noise/kodak/poisson30").level(30) is None


@pytest.mark.parametrize(
    ("name", "seed", "repeats", "pictures"),
    [
        ("noise2noise/bsd300/poisson30", 0, 1, 100),
        ("neighbor2neighbor/kodak/gauss25", 101, 10, 24),
        ("neighbor2neighbor/bsd300/gauss5_50", 101, 3, 100),
        ("neighbor2neighbor/set14/poisson5_50", 101, 20, 12),
    ],
)
def test_the_rules_of_the_published_systems(name, seed, repeats, pictures):
    rules = get_protocol(name)
    assert (rules.seed, rules.repeats, rules.pictures) == (seed, repeats, pictures)
    assert (rules.seeding, rules.padding) == ("each set", "reflect, bottom and right, to multiples of 32")


def published(kind, generator, clean):
    """The noise that Neighbor2Neighbor adds for validation, from its description."""
    x = clean.astype(np.float32) / 255.0
    if kind == "gauss25":
        return (x + generator.normal(size=x.shape) * (25 / 255)).astype(np.float32)
    if kind == "gauss5_50":
        sigma = generator.uniform(low=5 / 255, high=50 / 255, size=(1, 1, 1))
        return (x + generator.normal(size=x.shape) * sigma).astype(np.float32)
    rate = 30.0 if kind == "poisson30" else generator.uniform(low=5.0, high=50.0, size=(1, 1, 1))
    return (generator.poisson(rate * x) / rate).astype(np.float32)


@pytest.mark.parametrize("kind", ["gauss25", "gauss5_50", "poisson30", "poisson5_50"])
def test_the_noise_follows_the_stream_of_the_published_code(kind):
    """Over several pictures, so that one number too many or too few would show in the next."""
    rules = get_protocol(f"neighbor2neighbor/kodak/{kind}")
    ours, theirs = rules.generator(), np.random.RandomState(101)
    for seed in range(5):
        clean = np.random.default_rng(seed).integers(0, 256, (60, 50, 3), np.uint8)
        expected = published(kind, theirs, clean)
        np.testing.assert_allclose(rules.add_noise(clean, ours), expected, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(ours.get_state()[1], theirs.get_state()[1])


def test_counts_on_a_tie_are_rounded_up_as_in_the_published_code():
    """Of 0..30 events at 30 per white, every odd number lies half way between two 8-bit values."""
    counts = np.arange(31)
    noisy = (counts / 30).astype(np.float32)
    seen = get_protocol("neighbor2neighbor/kodak/poisson30").quantise(noisy)
    np.testing.assert_array_equal(seen, (17 * counts + 1) // 2)


def test_a_drawn_strength_is_told_and_used():
    rules = get_protocol("neighbor2neighbor/kodak/gauss5_50")
    generator = rules.generator()
    strengths = [rules.draw(generator) for _ in range(200)]
    assert 5 <= min(strengths) < 8
    assert 47 < max(strengths) <= 50
    noisy = rules.add_noise(np.full((100, 100, 3), 100, np.uint8), generator, 40.0)
    assert noisy.std() == pytest.approx(40 / 255, rel=0.02)
    assert rules.level(40.0) == 40 / 255


def test_poisson_noise_has_mean_and_variance_of_its_law():
    rules = get_protocol("noise2noise/kodak/poisson30")
    clean = np.repeat(np.array([0, 51, 255], np.uint8), 20000).reshape(3, 20000, 1)
    noisy = rules.add_noise(clean, rules.generator())
    x = np.array([0, 0.2, 1])
    np.testing.assert_allclose(noisy.mean((1, 2)), x, atol=0.006)
    np.testing.assert_allclose(noisy.var((1, 2)), x / 30, rtol=0.05)
    assert noisy.max() > 1  # not clipped


def test_a_changed_protocol_says_so_in_its_name():
    rules = get_protocol("neighbor2neighbor/kodak/gauss25")
    changed = rules.changed(repeats=1, padding="square32", seed=101)
    assert changed.name == "neighbor2neighbor/kodak/gauss25[repeats=1,padding=square32]"
    assert changed.facts()["padding"] == PADDINGS["square32"]
    assert (changed.repeats, changed.seed) == (1, 101)
    assert rules.changed(repeats=10, padding="32") is rules
    with pytest.raises(RecipeError, match="repeats is 0; expected at least 1"):
        rules.changed(repeats=0)
    with pytest.raises(RecipeError, match="unknown padding 'square': did you mean 'square32'"):
        rules.changed(padding="square")
    with pytest.raises(RecipeError, match="seed is -1"):
        rules.changed(seed=-1)


@given(height=st.integers(1, 80), width=st.integers(1, 80))
def test_padding_only_adds(height, width):
    picture = np.random.default_rng(height).random((3, height, width), np.float32)
    sizes = {name: pad(picture, rule) for name, rule in PADDINGS.items()}
    assert sizes["model"] is picture
    for padded in sizes.values():
        np.testing.assert_array_equal(padded[:, :height, :width], picture)
    rows, columns = -(-height // 32) * 32, -(-width // 32) * 32
    assert sizes["32"].shape == (3, rows, columns)
    assert sizes["square32"].shape == (3, max(rows, columns), max(rows, columns))


def test_padding_mirrors_without_repeating_the_border():
    picture = np.arange(33, dtype=np.float32)[None, None].repeat(3, 1)
    assert pad(picture, PADDINGS["32"])[0, 0, 31:36].tolist() == [31, 32, 31, 30, 29]


def test_facts_are_plain_and_complete():
    facts = get_protocol("bsd300").facts()
    assert facts["pictures"] == 100
    assert facts["seeding"] == "each picture"
    assert set(facts) >= {"name", "noise", "strength", "seed", "repeats", "crop", "padding", "quantisation", "metrics"}


@pytest.mark.parametrize("layout", ["kodak24", "Kodak", "KODAK24_full", "kodak/test"])
def test_the_folder_above_a_set(tmp_path, layout):
    fill(tmp_path / layout)
    fill(tmp_path / "bsd300_test")
    folder, pictures = find_pictures(get_protocol("kodak24"), tmp_path)
    assert folder == tmp_path / layout
    assert [picture.name for picture in pictures] == ["0.png", "1.png"]


@pytest.mark.parametrize("layout", ["bsd300_test", "BSD300", "BSDS300/test"])
def test_bsd300_by_its_names(tmp_path, layout):
    fill(tmp_path / layout)
    assert find_pictures(get_protocol("bsd300"), tmp_path)[0] == tmp_path / layout


def test_the_folder_of_a_set_itself(tmp_path):
    fill(tmp_path / "mine")
    assert find_pictures(get_protocol("kodak24"), tmp_path / "mine")[0] == tmp_path / "mine"


def test_set14_without_its_gray_pictures(tmp_path):
    rules = get_protocol("neighbor2neighbor/set14/gauss25")
    fill(tmp_path / "Set14", 1)
    for name in ("Bridge", "man"):
        Image.new("L", (12, 12)).save(tmp_path / "Set14" / f"{name}.png")
    folder, pictures = find_pictures(rules, tmp_path)
    assert folder == tmp_path / "Set14"
    assert [picture.name for picture in pictures] == ["0.png"]
    pictures[0].unlink()
    with pytest.raises(StoreError, match=r"holds only pictures that 'set14' leaves out \(bridge, man\)"):
        find_pictures(rules, tmp_path)


def test_a_named_set_takes_no_pictures_from_folders_below(tmp_path):
    fill(tmp_path / "other")
    with pytest.raises(PictureError, match="holds no pictures"):
        find_pictures(get_protocol("kodak24"), tmp_path)
    assert len(find_pictures(get_protocol("folder"), tmp_path)[1]) == 2


def test_two_candidates_are_not_guessed_between(tmp_path):
    fill(tmp_path / "kodak")
    fill(tmp_path / "kodak24")
    with pytest.raises(StoreError, match=r"several folders may be 'kodak24' \(kodak, kodak24\); give the right one"):
        find_pictures(get_protocol("kodak24"), tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(StoreError, match="does not exist; expected the folder of 'kodak24' or the one above it"):
        find_pictures(get_protocol("kodak24"), tmp_path / "missing")


@pytest.mark.shared
@pytest.mark.parametrize(("name", "folder", "count"), [("kodak24", "kodak24", 24), ("bsd300", "bsd300_test", 100)])
def test_the_real_sets_are_found_from_above(shared, name, folder, count):
    found, pictures = find_pictures(get_protocol(name), shared / "data")
    assert found == shared / "data" / folder
    assert len(pictures) == count


@pytest.mark.shared
@pytest.mark.parametrize(
    ("data", "noise", "expected"),
    [("kodak", 25, 20.44), ("kodak", 30, 18.99), ("bsd300", 25, 20.53), ("bsd300", 30, 19.23)],
)
@pytest.mark.parametrize("system", ["neighbor2neighbor", pytest.param("noise2noise", marks=pytest.mark.slow)])
def test_the_noisy_pictures_have_the_psnr_that_the_published_code_gives(shared, system, data, noise, expected):
    """First repeat, whole set, clipped to 8 bits; measured by running the original functions with seed 101."""
    gaussian = "gauss" if system == "neighbor2neighbor" else "gaussian"
    rules = get_protocol(f"{system}/{data}/{gaussian if noise == 25 else 'poisson'}{noise}")
    generator = rules.generator()
    scores = []
    for path in find_pictures(rules, shared / "data")[1]:
        clean = np.asarray(open_image(path).pixels)
        scores.append(psnr(rules.quantise(rules.add_noise(clean, generator)), clean, 255))
    assert np.mean(scores) == pytest.approx(expected, abs=0.02)
