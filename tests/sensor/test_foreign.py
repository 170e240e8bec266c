"""Noise tables of other programs, and published ones by name."""

import json

import numpy as np
import pytest

from shotnoise.errors import ProfileError
from shotnoise.images.raw import RawFrame, save_dng
from shotnoise.sensor.foreign import import_profile, profile_from_polynomials
from shotnoise.sensor.profile import NoiseProfile
from shotnoise.sensor.published import PUBLISHED, open_profile, published_profile

# The table that is published with the RAW pipeline: ISO, shot_noise, read_noise as stored.
ROWS = [
    (200, 0.0022973190279546216, 8.619313638125177e-06),
    (500, 0.0072901222091337325, 9.11928647716374e-05),
    (1000, 0.014647829864891899, 0.0003745931709694413),
    (2500, 0.01848593182845401, 0.0005985631305578798),
    (6400, 0.02094093800484422, 0.0005748041716498298),
]
K_SHOT = [2.4598681725217965e-06, 0.007517507661309485]
B_READ = [-4.5082530907305884e-11, 3.858157436949619e-07, -5.107429651507006e-05]
# ISO, k, variance of the two polynomials
EVALUATED = [
    (100, 0.0077635, -1.2944e-5),
    (200, 0.0080095, 2.4286e-5),
    (1600, 0.0114533, 4.5082e-4),
    (3200, 0.0153891, 7.2189e-4),
    (6400, 0.0232607, 5.7157e-4),
]


@pytest.fixture
def pipeline(tmp_path):
    """The YAML as the published pipeline writes it, Python tags and all."""
    lines = []
    for iso, k, s2 in ROWS:
        lines += [f"ISO_{iso}: !!python/tuple", f"- shot_noise:{k!r}", f"- read_noise:{s2!r}"]
    lines += ["b_read:", *(f"- {value!r}" for value in B_READ), "k_shot:", *(f"- {value!r}" for value in K_SHOT)]
    assert len(lines) == 22
    path = tmp_path / "sensor_profile_IMX766.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_published_pipeline(pipeline):
    profile = import_profile(pipeline)
    assert [(entry.iso, entry.k, entry.s2) for entry in profile.entries] == ROWS
    assert profile.laws["all"].k.params == tuple(K_SHOT)
    assert profile.laws["all"].s2.params == tuple(B_READ)
    for iso, k, s2 in EVALUATED:
        assert profile.laws["all"].k.at(iso) == pytest.approx(k, rel=1e-5)
        assert profile.laws["all"].s2.at(iso) == pytest.approx(s2, rel=1e-4)
        law = profile.at(iso)
        assert law.k == pytest.approx([k] * 4, rel=1e-5)
        assert law.s2 == pytest.approx([max(s2, 0)] * 4, rel=1e-4)
    assert "negative (-1.3e-05) and taken as 0" in profile.at(100).source
    assert profile.camera.sensor == "IMX766"
    assert "mix colour into noise" in profile.warnings[0]
    assert "are variances" in profile.warnings[1]
    assert "negative at ISO 100 to 134 and 8" in profile.warnings[2]
    assert len(profile.provenance.files[0].sha256) == 64


def test_an_imported_profile_keeps_its_numbers_and_warnings(pipeline, tmp_path):
    profile = import_profile(pipeline)
    profile.save(tmp_path / "camera.profile.yaml")
    assert NoiseProfile.load(tmp_path / "camera.profile.yaml") == profile
    assert import_profile(tmp_path / "camera.profile.yaml") == profile
    with pytest.raises(ProfileError, match=r"line 1: asks for more than plain values .*--import"):
        NoiseProfile.load(pipeline)


def test_a_negative_variance_is_flagged(pipeline):
    pipeline.write_text(pipeline.read_text().replace("read_noise:8.6", "read_noise:-8.6"))
    entry = import_profile(pipeline).entries[0]
    assert (entry.s2, entry.s2_free, entry.flags) == (
        0,
        -8.619313638125177e-06,
        ("the variance without light was negative",),
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("shot_noise:0.0022", "shot_noise:x0.0022", "ISO_200, shot_noise is ['x0.0022973190279546216']"),
        ("shot_noise:0.0022", "shot_noise:-0.0022", "ISO 200 has the gain -0.00229732"),
        ("shot_noise:0.0022", "noise:0.0022", "'ISO_200' is not one of its measurements"),
        ("ISO_200", "frame", "'frame' is not one of its measurements; expected a name that ends in _ISO"),
        ("k_shot:", "k:", "k_shot is None; expected one or more finite numbers"),
        ("- -4.5", "- .nan\n- -4.5", "b_read is [nan, "),
        ("!!python/tuple", "!!python/object/apply:os.system", "line 1: asks for more than plain values"),
    ],
)
def test_damaged_pipeline_tables(pipeline, old, new, words):
    pipeline.write_text(pipeline.read_text().replace(old, new, 1))
    with pytest.raises(ProfileError) as caught:
        import_profile(pipeline)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.shared
def test_hostile_yaml(shared):
    with pytest.raises(ProfileError, match=r"yaml_object\.yaml, line 2: asks for more than plain values"):
        import_profile(shared / "data" / "corrupt" / "yaml_object.yaml")


def darktable(path, cameras):
    makers = [
        {
            "maker": maker,
            "models": [
                {
                    "comment": "",
                    "model": model,
                    "profiles": [
                        {"name": f"{model} iso {iso}", "iso": iso, "a": [2 * a, a, 3 * a], "b": [2 * b, b, 3 * b]}
                        | more
                        for iso, a, b, more in rows
                    ],
                }
            ],
        }
        for maker, model, rows in cameras
    ]
    path.write_text(json.dumps({"version": 0, "noiseprofiles": makers}))
    return path


def test_darktable(tmp_path):
    path = darktable(
        tmp_path / "presets.json",
        [
            (
                "Canon",
                "EOS 1D",
                [(400, 4e-5, 4e-7, {}), (100, 1e-5, -1e-8, {}), (100, 3e-5, -3e-8, {}), (800, 1, 1, {"skip": True})],
            ),
            ("Nikon", "D300", [(200, 1e-5, 1e-8, {})]),
        ],
    )
    profile = import_profile(path, camera="eos 1d")
    assert [(entry.iso, entry.k, entry.s2, entry.s2_free) for entry in profile.entries] == [
        (100, pytest.approx(2e-5), 0, pytest.approx(-2e-8)),  # the mean of two rows, its negative variance flagged
        (400, 4e-5, 4e-7, None),
    ]
    assert str(profile.camera) == "Canon EOS 1D"
    assert "behind its own demosaicing" in profile.warnings[0]
    assert profile.at(250).k == pytest.approx([3e-5] * 4)
    with pytest.raises(ProfileError, match="holds 2 cameras; say which one"):
        import_profile(path)
    with pytest.raises(ProfileError, match=r"has no camera 'Nikon D30': did you mean 'Nikon D300'\?"):
        import_profile(path, camera="Nikon D30")


def test_one_camera_of_darktable_needs_no_name(tmp_path):
    path = tmp_path / "one.json"
    row = {"iso": 100, "a": [1, 2e-5, 1], "b": [1, 1e-8, 1]}
    path.write_text(json.dumps({"maker": "Leica", "model": "M9", "profiles": [row]}))
    assert import_profile(path).entries[0].k == 2e-5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no table of darktable"),
        ("[1]", "is no table of darktable"),
        ("[" * 100_000, "is no table of darktable"),
        ('{"maker": "x", "model": "y", "profiles": [{"iso": 100, "a": [1, 2], "b": [1, 2, 3]}]}', "a of ISO 100 is"),
        ('{"maker": "x", "model": "y", "profiles": [{"iso": 100}]}', "has a damaged row"),
        ('{"maker": "x", "model": "y", "profiles": []}', "has no rows"),
        ("model: dncnn", "is no known noise table"),
        ("", "is no known noise table"),
    ],
)
def test_what_is_no_table(tmp_path, content, words):
    path = tmp_path / "table"
    path.write_text(content)
    with pytest.raises(ProfileError, match=words):
        import_profile(path)


def test_polynomials_in_counts():
    profile = profile_from_polynomials([2.0, 1.0], [1.0, 0.0, 4.0], full_scale=100, iso_range=(1, 10))
    assert profile.at(3).k == pytest.approx([0.07] * 4)
    assert profile.at(3).s2 == pytest.approx([0.0013] * 4)


def test_published_tables():
    # counts of 14 bits, read noise a standard deviation; its drop at ISO 3200 is a second conversion gain
    sony = published_profile("sony-a7s2").at(3200)
    assert sony.k[0] * 15871 == pytest.approx(3.246920)
    assert sony.s2[0] ** 0.5 * 15871 == pytest.approx(4.2831)
    # counts of 12 bits, read noise a variance
    crvd = published_profile("imx385").at(25600)
    assert crvd.k[0] * 3855 == pytest.approx(52.032536)
    assert crvd.s2[0] * 3855**2 == pytest.approx(1819.818657)
    # normalised
    assert published_profile("pixel").at(400).k[0] == pytest.approx(0.00095121)
    assert "taken as a variance" in published_profile("pixel").warnings[0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_table_answers_and_can_be_saved(name, tmp_path):
    profile = open_profile(name)
    low, high = profile.isos[0], profile.isos[-1]
    quiet, loud = profile.at(low), profile.at(high)
    assert quiet.k[0] < loud.k[0]
    profile.save(tmp_path / "p.profile.yaml")
    assert open_profile(tmp_path / "p.profile.yaml") == profile


def test_unknown_names():
    with pytest.raises(ProfileError, match=r"pixl: no such profile file, and .*did you mean 'pixel'"):
        open_profile("pixl")
    with pytest.raises(ProfileError, match="cannot be read"):
        open_profile("folder/pixel.yaml")


def test_a_dng_brings_its_own(tmp_path):
    frame = RawFrame(
        np.full((32, 32), 100, np.uint16), "GRBG", (64.0,) * 4, 1023.0, make="Maker", model="One", iso=800.0,
        noise=((1e-3, 1e-6), (2e-3, 2e-6), (2e-3, 2e-6), (3e-3, 3e-6)),
    )  # fmt: skip
    save_dng(frame, tmp_path / "a.dng")
    profile = import_profile(tmp_path / "a.dng")
    assert (profile.isos, profile.pattern, profile.white, str(profile.camera)) == ((800,), "GRBG", 1023, "Maker One")
    assert profile.at(800).k == pytest.approx((1e-3, 2e-3, 2e-3, 3e-3))
    save_dng(frame.with_mosaic(frame.mosaic, noise=None), tmp_path / "b.dng")
    with pytest.raises(ProfileError, match=r"b\.dng: has no NoiseProfile; `shotnoise estimate b\.dng -o` measures one"):
        import_profile(tmp_path / "b.dng")


def test_a_pipeline_table_has_one_row_for_each_iso(pipeline):
    rows = "".join(f"{name}_200: ['shot_noise:0.1', 'read_noise:0.1']\n" for name in "ab")
    path = pipeline.with_name("twice.yaml")
    path.write_text("k_shot: [0.1, 0.1]\nb_read: [0.1, 0.1]\n" + rows)
    with pytest.raises(ProfileError, match=r"twice\.yaml: has several measurements of ISO 200; keep one for each ISO"):
        import_profile(path)


@pytest.mark.parametrize(
    ("iso", "words"), [("NaN", "ISO nan"), ("Infinity", "ISO inf"), ("1" + "0" * 400, "damaged row")]
)
def test_isos_that_are_no_numbers(tmp_path, iso, words):
    path = tmp_path / "a.json"
    table = '{"maker": "x", "model": "y", "profiles": [{"iso": ISO, "a": [1, 1, 1], "b": [1, 1, 1]}]}'
    path.write_text(table.replace("ISO", iso))
    with pytest.raises(ProfileError, match=words):
        import_profile(path)


def test_a_name_given_is_the_name_of_the_profile(tmp_path):
    frame = RawFrame(np.full((32, 32), 900, np.uint16), "RGGB", (64.0,) * 4, 1023.0, make="A", model="B", iso=100.0)
    save_dng(frame, tmp_path / "a.dng", noise=[(1e-4, 1e-7)] * 4)
    assert str(import_profile(tmp_path / "a.dng").camera) == "A B"
    named = import_profile(tmp_path / "a.dng", camera="Mine")
    assert str(named.camera) == "Mine"
    named.save(tmp_path / "a.yaml")
    assert str(import_profile(tmp_path / "a.yaml").camera) == "Mine"
    assert str(import_profile(tmp_path / "a.yaml", camera="Other").camera) == "Other"
