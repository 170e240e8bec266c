"""Noise profiles: files, laws over ISO, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotnoise.errors import ProfileError
from shotnoise.sensor.profile import Camera, Entry, IsoLaw, LogLaw, NoiseProfile, PlaneLaws, Provenance, SourceFile

PLANES = ("R", "Gr", "Gb", "B")


def laws(a=1e-6, p=1e-6, q=2e-4, **more):
    return PlaneLaws(k=IsoLaw(form="proportional", params=(a,)), s2=IsoLaw(form="quadrature", params=(p, q), **more))


def entry(iso, plane="all", **more):
    return Entry(**({"iso": iso, "plane": plane, "k": iso / 1e6, "s2": (iso / 1e6) ** 2 + 4e-8} | more))


def whole():
    """A profile with something in every field."""
    return NoiseProfile(
        camera=Camera(make="Canon", model="EOS 80D", sensor="x"),
        pattern="GRBG",
        black=(64, 64.25, 64, 63.5),
        white=1023,
        bits=10,
        entries=[
            entry(
                iso,
                plane,
                exposure=0.01,
                k_se=1e-9,
                s2_se=2.5e-10,
                row=1e-5,
                tukey_lambda=0.1,
                tukey_scale=1e-4,
                chi2=1.02,
                n_points=12,
                flags=("curvature",),
            )
            for iso in (100, 400)
            for plane in PLANES
        ],
        laws={plane: laws(a=1e-6 + i * 1e-8) for i, plane in enumerate(PLANES)},
        log_laws={"row": LogLaw(slope=0.5, intercept=-2, residual=0.1)},
        provenance=Provenance(
            method="two frames",
            tool="shotnoise 0.1",
            files=(SourceFile(name="a.dng", sha256="0" * 64, role="flat", iso=100),),
            rois=((0, 0, 10, 20), (4, 6, 30, 40)),
        ),
        notes=("ümlaut: yes",),
        warnings=("none of it is true",),
    )


def test_what_is_saved_is_what_is_loaded(tmp_path):
    path = tmp_path / "camera.profile.yaml"
    whole().save(path)
    assert NoiseProfile.load(path) == whole()
    text = path.read_text(encoding="utf-8")
    assert "  - {iso: 100.0, exposure: 0.01, plane: Gr, k: 0.0001, " in text  # one line each, for people
    assert "black: [64.0, 64.25, 64.0, 63.5]" in text
    assert "!!" not in text
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@given(st.floats(1e-9, 1e-1), st.floats(0, 1e-2), st.floats(1, 1e6))
def test_every_number_survives(tmp_path_factory, k, s2, iso):
    path = tmp_path_factory.getbasetemp() / "any.profile.yaml"
    profile = NoiseProfile(entries=[Entry(iso=iso, k=k, s2=s2)])
    profile.save(path)
    assert NoiseProfile.load(path) == profile


def test_a_law_is_followed_in_every_plane():
    law = whole().at(250)
    assert law.k == pytest.approx([250e-6, 252.5e-6, 255e-6, 257.5e-6])
    assert law.s2 == pytest.approx([(250e-6) ** 2 + 4e-8] * 4)
    assert law.source == "profile of Canon EOS 80D at ISO 250"


def test_a_break_switches_the_conversion_gain():
    dual = IsoLaw(form="quadrature", params=(1e-6, 5e-4), break_iso=800, params_above=(1e-6, 1e-4))
    assert dual.at(799) == pytest.approx(7.99e-4**2 + 25e-8)
    assert dual.at(800) == pytest.approx(8e-4**2 + 1e-8)


def test_without_laws_gain_and_standard_deviation_are_interpolated():
    profile = NoiseProfile(entries=[Entry(iso=iso, k=1e-6 * iso, s2=(3e-6 * iso) ** 2) for iso in (1600, 100, 400)])
    for iso in (100, 173, 400, 1599, 1600):
        law = profile.at(iso)
        assert law.k == pytest.approx([1e-6 * iso] * 4)
        assert law.s2 == pytest.approx([(3e-6 * iso) ** 2] * 4)
    # outside: gain by ISO, standard deviation by its root
    assert profile.at(3200).k == pytest.approx([3.2e-3] * 4)
    assert profile.at(3200).s2 == pytest.approx([2 * (4.8e-3) ** 2] * 4)
    assert profile.at(50).s2 == pytest.approx([(3e-4) ** 2 / 2] * 4)


def test_the_far_is_refused_unless_forced():
    profile = whole()
    assert profile.at(50).k
    assert profile.at(800).k
    for iso in (49.9, 801):
        with pytest.raises(ProfileError, match=r"measured from 100 to 400 and answers from 50 to 800.*--iso"):
            profile.at(iso)
    assert profile.at(6400, force=True).k[0] == pytest.approx(6.4e-3)
    with pytest.raises(ProfileError, match="ISO 0 is none"):
        profile.at(0, force=True)
    with pytest.raises(ProfileError, match="ISO of the picture is not known"):
        profile.at()


def test_a_profile_without_isos_answers_pictures_without_iso():
    profile = NoiseProfile(pattern="mono", black=(15,), white=4095, entries=[Entry(k=6.9e-5, s2=5.7e-7)])
    assert (profile.at().k, profile.at().s2) == ((6.9e-5,), (5.7e-7,))
    law = profile.at(200)
    assert law.k == (6.9e-5,)
    assert law.source.endswith(", which was made without knowing the ISO, used at ISO 200")


def test_a_negative_variance_is_taken_as_zero_and_said():
    polynomial = PlaneLaws(
        k=IsoLaw(form="polynomial", params=(1e-6, 0)), s2=IsoLaw(form="polynomial", params=(1e-9, -2e-7))
    )
    law = NoiseProfile(laws={"all": polynomial}, iso_range=(100, 800)).at(100)
    assert law.s2 == (0.0,) * 4
    assert law.source == (
        "profile of an unnamed camera at ISO 100, where its variance without light is negative (-1e-07) and taken as 0"
    )
    with pytest.raises(ProfileError, match="has the gain -"):
        NoiseProfile(
            laws={"all": PlaneLaws(k=IsoLaw(form="polynomial", params=(1e-6, -2e-4)), s2=polynomial.s2)},
            iso_range=(100, 800),
        ).at(100)


@given(st.lists(st.floats(10, 1e5), min_size=1, max_size=6, unique=True), st.floats(0.5, 2))
def test_interpolation_stays_between_its_neighbours(isos, share):
    isos = sorted(isos)
    profile = NoiseProfile(entries=[Entry(iso=iso, k=1e-5 * (1 + i % 3), s2=1e-7 * i) for i, iso in enumerate(isos)])
    low, high = isos[0] / 2, isos[-1] * 2
    law = profile.at(min(low + (high - low) * (share - 0.5) / 1.5, high))  # rounding may lead beyond it
    assert len(set(law.k)) == 1
    assert 0.4e-5 < law.k[0] < 6.1e-5
    assert 0 <= law.s2[0] <= 2 * 1e-7 * len(isos)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("k: 0.0001,", "k: -0.0001,", "line 19: entries.0.k: Input should be greater than 0"),
        ("k: 0.0001,", "k: .nan,", "line 19: entries.0.k: Input should be a finite number"),
        ("plane: R,", "plane: Q,", "entries.0.plane: Input should be 'R', 'Gr', 'Gb', 'B' or 'all'"),
        ("plane: R,", "plane: B,", "the entries of ISO 100 are of B, B, Gb, Gr"),
        ("version: 1", "version: 2", "line 4: version: Input should be 1"),
        ("units: normalised", "units: dn", "units: Input should be 'normalised'"),
        ("white: 1023.0", "wite: 1023.0", "line 11: wite: Extra inputs are not permitted"),
        ("white: 1023.0", "white: 64.0", "black 64.25 is not below white 64"),
        ("black: [64.0, ", "black: [", "3 black levels; expected 4"),
        ("form: proportional, params: [", "form: proportional, params: [1, ", "form proportional takes 1 params"),
        ("entries:", "entries: [", "is not YAML"),
        ("white: 1023.0", "white: !!python/name:os.system", "line 11: asks for more than plain values"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, words):
    path = tmp_path / "bad.profile.yaml"
    whole().save(path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ProfileError) as caught:
        NoiseProfile.load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"- 1", b"[" * 3000, b"a: &x [*x]", b"{" * 3000 + b"}" * 3000]
)
def test_rubbish_is_refused(tmp_path, content):
    path = tmp_path / "bad.profile.yaml"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=r"bad\.profile\.yaml"):
        NoiseProfile.load(path)


def test_missing_and_unwritable_files(tmp_path):
    with pytest.raises(ProfileError, match=r"cannot be read .*No such file"):
        NoiseProfile.load(tmp_path / "none.yaml")
    with pytest.raises(ProfileError, match="cannot be written"):
        whole().save(tmp_path / "no" / "folder.yaml")


def test_only_profiles_are_replaced(tmp_path):
    path = tmp_path / "night.dng"
    path.write_bytes(b"II*\0")
    with pytest.raises(ProfileError, match=r"night\.dng: exists and is no noise profile"):
        whole().save(path)
    with pytest.raises(ProfileError, match="exists and is no noise profile"):
        whole().save(tmp_path)
    whole().save(tmp_path / "a.profile.yaml")
    NoiseProfile(entries=[entry(100)]).save(tmp_path / "a.profile.yaml")
    assert NoiseProfile.load(tmp_path / "a.profile.yaml").isos == (100,)


@pytest.mark.shared
def test_hostile_yaml_is_refused_with_its_line(shared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProfileError, match=r"yaml_object\.yaml, line 2: asks for more than plain values"):
        NoiseProfile.load(shared / "data" / "corrupt" / "yaml_object.yaml")
    assert not list(tmp_path.iterdir())


def test_the_tag_of_a_dng():
    law = NoiseProfile.from_dng_tag([(1e-4, 1e-7), (2e-4, 2e-7), (3e-4, 0)], iso=100).at(100)
    assert law.k == (1e-4, 2e-4, 2e-4, 3e-4)
    assert law.s2 == pytest.approx((1e-7, 2e-7, 2e-7, 0))
    assert NoiseProfile.from_dng_tag([(1e-4, 1e-7)]).at().k == (1e-4,) * 4
    for tag in ([], [(0, 0)], [(math.nan, 0)], [(1e-4, -1e-7)], [(1e-4, 1e-7)] * 2):
        with pytest.raises(ProfileError, match=r"expected S > 0 and O >= 0"):
            NoiseProfile.from_dng_tag(tag)


def test_names_of_cameras():
    assert str(Camera(make="Canon", model="Canon EOS 80D")) == "Canon EOS 80D"
    assert str(Camera(make="Canon", model="EOS 80D")) == "Canon EOS 80D"
    assert str(Camera(sensor="IMX385")) == "IMX385"
    assert str(Camera()) == "an unnamed camera"


def test_nothing_is_written_where_a_file_stands_for_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProfileError, match=r"p\.yaml: cannot be written: there is no folder .*file; make it first"):
        NoiseProfile(entries=(entry(100),)).save(tmp_path / "file" / "p.yaml")


def test_aliases_are_refused_with_their_line(tmp_path):
    """Of aliases of aliases a few lines make more values than any memory holds; our own files have none."""
    path = tmp_path / "p.yaml"
    lists = "".join(f"- &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20))
    path.write_text(f"version: 1\nnotes:\n- &a [x, x]\n{lists}")
    with pytest.raises(ProfileError, match=r"p\.yaml, line 4: is not YAML \(no alias \*a here: write the values out\)"):
        NoiseProfile.load(path)
    path.write_text("version: 1\na: &a {x: 1}\nb:\n  <<: [*a, *a]\n")
    with pytest.raises(ProfileError, match="line 4: is not YAML"):
        NoiseProfile.load(path)


def test_laws_beyond_all_numbers_are_refused():
    huge = IsoLaw(form="quadrature", params=(1e200, 1e200))
    assert huge.at(100) == math.inf
    profile = NoiseProfile(laws={"all": PlaneLaws(k=huge, s2=huge)}, iso_range=(100, 200))
    with pytest.raises(ProfileError, match="a noise law with k"):
        profile.at(100)
