import numpy as np
import pytest
from PIL import Image

from shotnoise.errors import PictureError, RecipeError, StoreError
from shotnoise.evaluation import PROTOCOLS, get_protocol
from shotnoise.evaluation.protocols import find_pictures


def fill(folder, count=2):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", (12, 12)).save(folder / f"{i}.png")
    return folder


def test_every_row_is_found_by_its_name():
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert get_protocol(name) is protocol
    assert set(PROTOCOLS) == {
        f"{data}/gaussian{sigma}" for data in ("kodak24", "bsd300", "folder") for sigma in (15, 25, 50)
    }


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
    assert get_protocol("kodak24/gaussian15").sigma == 15 / 255


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
