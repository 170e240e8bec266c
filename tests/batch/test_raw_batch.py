"""RAW files in a batch: their own road, their own model, and pictures beside them."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image as Pillow

import shotnoise.batch.file
import shotnoise.batch.options
from shotnoise.batch import BatchReport, Options, UsageError, denoise_files
from shotnoise.batch.places import plan_places, refuse_collisions
from shotnoise.errors import ModelError
from shotnoise.images import open_image
from shotnoise.images.raw import open_raw, save_dng, save_headerless
from shotnoise.raw_denoiser import RawDenoiser
from shotnoise.sensor.develop import develop
from shotnoise.sensor.profile import Entry, NoiseProfile
from shotnoise.sensor.simulate import SimulatedSensor
from tiny_models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return str(write_model(folder / "blur.onnx", channels=4, shape="blur", k_sigma={"gain": 0.0625, "root": True}))


@pytest.fixture
def both(monkeypatch, model, tmp_path_factory):
    """The bundled models, for pictures and for RAW."""
    photo = str(write_model(tmp_path_factory.mktemp("models") / "photo.onnx", shape="blur"))
    ours = {"picture": photo, "raw": model}
    monkeypatch.setattr(shotnoise.batch.options, "default_model", lambda kind, **_: ours[kind])


def shot(iso=3200, **camera):
    sensor = SimulatedSensor(height=64, width=80, **camera)
    return sensor.flat(0.4, iso=iso, rng=np.random.default_rng(0), tilt=0.4)


@pytest.fixture
def shots(tmp_path):
    """in/a.dng, in/sub/b.dng (GRBG), in/c.png, in/d.raw with its layout"""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    save_dng(shot(), folder / "a.dng")
    save_dng(shot(pattern="GRBG"), folder / "sub" / "b.dng")
    save_headerless(shot(), folder / "d.raw")
    rng = np.random.default_rng(0)
    Pillow.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / "c.png")
    return folder


def statuses(report: BatchReport) -> dict[str, str]:
    return {file.input.name: file.status for file in report.files}


def made(folder) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name.split("/")[-1][0] != ".")


@pytest.mark.usefixtures("both")
def test_one_folder_of_both_kinds(shots, tmp_path):
    report = denoise_files([shots], tmp_path / "out", preview=tmp_path / "shown")
    assert set(statuses(report).values()) == {"done"}
    assert made(tmp_path / "out") == ["a.dng", "c.png", "d.dng", "sub/b.dng"]
    assert made(tmp_path / "shown") == ["a.jpg", "d.jpg", "sub/b.jpg"]
    files = {file.input.name: file for file in report.files}
    assert files["c.png"].kind == "picture"
    assert files["c.png"].law is None
    raw = files["b.dng"]
    assert raw.kind == "raw"
    assert raw.preview == tmp_path / "shown" / "sub" / "b.jpg"
    assert raw.law["source"] == "blind estimate from the frame"
    assert len(raw.law["k"]) == len(raw.law["s2"]) == 4
    assert raw.sigma > 1
    assert raw.removed > 0.5 * raw.sigma
    assert 0 < raw.left < 1
    assert raw.megapixels == pytest.approx(64 * 80 / 1e6)
    content = json.loads(json.dumps(report.to_json()))
    assert content["model"]["sha256"] != content["raw_model"]["sha256"]
    assert content["engine"]["engine"] == content["raw_engine"]["engine"] == "onnxruntime"
    assert {file["engine"] for file in content["files"]} == {"onnxruntime"}
    assert {file["preview"] is None for file in content["files"] if file["kind"] == "raw"} == {False}


def test_the_dng_is_the_denoisers(shots, model, tmp_path):
    denoise_files([shots / "sub" / "b.dng"], options=Options(model, strength=0.7))
    noisy, clean = open_raw(shots / "sub" / "b.dng"), open_raw(shots / "sub" / "b_clean.dng")
    result = RawDenoiser(model, strength=0.7).run(noisy)
    np.testing.assert_array_equal(clean.mosaic, result.frame.mosaic)
    assert (clean.pattern, clean.black, clean.white, clean.iso) == ("GRBG", noisy.black, noisy.white, noisy.iso)
    np.testing.assert_allclose(np.mean(clean.noise, axis=0), np.mean(result.frame.noise, axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "dtype"), [("x.jpg", np.uint8), ("x.png", np.uint16), ("x.tif", np.uint16), ("x.webp", np.uint8)]
)
def test_raw_into_a_picture_is_developed(shots, model, tmp_path, name, dtype):
    report = denoise_files([shots / "a.dng"], tmp_path / name, options=Options(model, quality=100))
    assert report.count("done") == 1
    picture = open_image(tmp_path / name)
    expected = develop(RawDenoiser(model)(open_raw(shots / "a.dng")), size="full", dtype=dtype)
    assert picture.pixels.dtype == dtype
    assert picture.pixels.shape == expected.pixels.shape == (64, 80, 3)
    assert np.abs(picture.pixels.astype(float) - expected.pixels).mean() < (3 if name != "x.png" else 1e-9)


def test_a_linear_dng_and_one_without_compression(shots, model, tmp_path):
    denoise_files([shots / "a.dng"], tmp_path / "linear.dng", options=Options(model, linear=True))
    import rawpy

    with rawpy.imread(str(tmp_path / "linear.dng")) as raw:
        assert raw.raw_image_visible.shape[:2] == (64, 80)
        assert raw.raw_pattern is None
    for compression in ("none", "jpeg"):
        output = tmp_path / f"{compression}.dng"
        denoise_files([shots / "a.dng"], output, options=Options(model, compression=compression))
    one, other = (open_raw(tmp_path / f"{name}.dng") for name in ("none", "jpeg"))
    np.testing.assert_array_equal(one.mosaic, other.mosaic)
    assert (tmp_path / "none.dng").stat().st_size > 64 * 80 * 2 > (tmp_path / "jpeg.dng").stat().st_size * 0.5


def test_a_profile_is_trusted_first(shots, model, tmp_path):
    path = tmp_path / "cam.profile.yaml"
    NoiseProfile(entries=(Entry(iso=1600, k=1e-3, s2=1e-6), Entry(iso=6400, k=4e-3, s2=4e-6))).save(path)
    options = Options(model, profile=str(path))
    (file,) = denoise_files([shots / "a.dng"], tmp_path / "1.dng", options=options).files
    assert file.law["k"] == pytest.approx((2e-3,) * 4)
    assert "at ISO 3200" in file.law["source"]
    options = Options(model, profile=str(path), iso=6400)
    (file,) = denoise_files([shots / "a.dng"], tmp_path / "2.dng", options=options).files
    assert "at ISO 6400" in file.law["source"]
    tagged = shot()
    save_dng(tagged.with_mosaic(tagged.mosaic, noise=((3e-3, 1e-5),) * 4), shots / "tagged.dng")
    (file,) = denoise_files([shots / "tagged.dng"], tmp_path / "3.dng", options=Options(model)).files
    assert file.law["source"] == "NoiseProfile of the file"


def test_a_layout_is_for_files_without_a_header(shots, model, tmp_path):
    (shots / "d.json").rename(tmp_path / "board.json")
    (shots / "d.raw").rename(shots / "d.bin")
    options = Options(model, layout=str(tmp_path / "board.json"))
    report = denoise_files([shots / "a.dng", shots / "d.bin"], tmp_path / "out", options=options)
    assert statuses(report) == {"a.dng": "done", "d.bin": "done"}
    one, other = (open_raw(tmp_path / "out" / name).mosaic for name in ("a.dng", "d.dng"))
    np.testing.assert_array_equal(one, other)  # the same counts, said in two ways


@pytest.mark.usefixtures("both")
def test_a_second_run_does_only_what_is_new_or_changed(shots, tmp_path):
    out, shown = tmp_path / "out", tmp_path / "shown"

    def run(preview=shown, **options):
        return denoise_files([shots], out, options=Options(**options), preview=preview)

    assert run().count("done") == 4
    again = run()
    assert again.count("skipped") == 4
    assert again.raw_engine is again.engine is None
    assert all(file.preview is not None for file in again.files if file.kind == "raw")
    assert statuses(run(preview=None)) == dict.fromkeys(("a.dng", "b.dng", "c.png", "d.raw"), "skipped")
    (shown / "a.jpg").unlink()
    assert statuses(run()) == {"a.dng": "done", "b.dng": "skipped", "c.png": "skipped", "d.raw": "skipped"}
    (shown / "a.jpg").write_bytes(b"mine")
    report = run()
    assert statuses(report)["a.dng"] == "failed"
    assert f"{shown / 'a.jpg'}: exists, and is not the unchanged result" in report.files[0].error
    assert denoise_files([shots], out, preview=shown, overwrite=True).count("done") == 4

    profile = tmp_path / "cam.yaml"
    NoiseProfile(entries=(Entry(iso=3200, k=2e-3, s2=1e-6),)).save(profile)
    assert run(profile=str(profile)).count("done") == 3  # the picture has nothing to do with it
    assert run(profile=str(profile)).count("skipped") == 4
    NoiseProfile(entries=(Entry(iso=3200, k=2.5e-3, s2=1e-6),)).save(profile)
    assert run(profile=str(profile)).count("done") == 3


def test_results_inside_the_input_folder_are_no_inputs(shots, model):
    for _ in range(2):
        report = denoise_files(
            [shots / "sub"], shots / "sub" / "o", options=Options(model), preview=shots / "sub" / "p"
        )
        assert [file.input.name for file in report.files] == ["b.dng"]


@pytest.mark.usefixtures("both")
def test_a_model_of_the_other_kind_fails_its_files_alone(shots, model, tmp_path):
    report = denoise_files([shots], tmp_path / "out", options=Options(model))
    assert statuses(report) == {"a.dng": "done", "b.dng": "done", "d.raw": "done", "c.png": "failed"}
    (failed,) = (file for file in report.files if file.status == "failed")
    assert failed.error == (
        f"{shots / 'c.png'}: the model 'tiny-blur' is for raw data of 4 channels; expected one for rgb or gray "
        "pictures, like the bundled 'photo'"
    )
    with pytest.raises(ModelError, match="is for raw data"):
        denoise_files([shots / "c.png"], tmp_path / "other", options=Options(model))


def test_processes_give_the_same_files(shots, model, tmp_path):
    inputs = [shots / "a.dng", shots / "sub" / "b.dng"]
    for jobs in (1, 2):
        report = denoise_files(
            inputs, tmp_path / str(jobs), options=Options(model), preview=tmp_path / f"p{jobs}", jobs=jobs
        )
        assert report.count("done") == 2
    for name in ("a.dng", "b.dng"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert made(tmp_path / "p2") == ["a.jpg", "b.jpg"]


@pytest.mark.shared
@pytest.mark.usefixtures("both")
def test_hostile_files_do_not_stop_the_others(shared, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (shared / "data" / "corrupt").glob("*.dng"):
        shutil.copy(path, folder)
    save_dng(shot(), folder / "good.dng")
    (folder / "empty.nef").write_bytes(b"")
    (folder / "text.cr2").write_text("no RAW at all")
    report = denoise_files([folder], tmp_path / "out", preview=tmp_path / "shown")
    assert {name: status for name, status in statuses(report).items() if status == "done"} == {
        "good.dng": "done",
        "odd_65x63.dng": "done",
    }
    errors = {file.input.name: file.error for file in report.files if file.status == "failed"}
    assert "6 x 6 pixels (X-Trans), not a 2 x 2 Bayer pattern" in errors["xtrans_6x6.dng"]
    assert "black level 5000 is not below white level 1023" in errors["black_above_white.dng"]
    assert "cut off" in errors["truncated.dng"]
    assert "is empty" in errors["empty.nef"]
    assert all("\n" not in error and name in error for name, error in errors.items())
    assert made(tmp_path / "out") == ["good.dng", "odd_65x63.dng"]
    assert made(tmp_path / "shown") == ["good.jpg", "odd_65x63.jpg"]
    odd = open_raw(tmp_path / "out" / "odd_65x63.dng")
    assert (odd.height, odd.width, odd.pattern) == (63, 65, "RGGB")


@pytest.mark.shared
def test_real_sensors(shared, model, tmp_path):
    names = ("nikon14_768x512_rggb.dng", "sensor8_indoor1_2592x1536_grbg.dng")
    report = denoise_files([shared / "data" / "raw" / name for name in names], tmp_path, options=Options(model))
    assert report.count("done") == 2
    for name in names:
        noisy, clean = open_raw(shared / "data" / "raw" / name), open_raw(tmp_path / name)
        assert clean.black == pytest.approx(noisy.black)
        full = noisy.mosaic >= noisy.white
        np.testing.assert_array_equal(clean.mosaic[full], noisy.mosaic[full])
        assert clean.mosaic.mean() == pytest.approx(noisy.mosaic.mean(), rel=0.02)  # its border blurs with black


def test_nothing_is_left_when_writing_is_interrupted(shots, model, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        denoise_files([shots / "a.dng"], tmp_path / "out", options=Options(model), preview=tmp_path / "shown")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert [path for path in (tmp_path / "shown").rglob("*") if path.is_file()] == []


def test_stopping_behind_the_preview_knows_the_preview(shots, model, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    arguments = {"options": Options(model), "preview": tmp_path / "a.jpg"}
    with monkeypatch.context() as patch:
        patch.setattr(shotnoise.batch.file, "save_dng", interrupted)
        with pytest.raises(KeyboardInterrupt):
            denoise_files([shots / "a.dng"], tmp_path / "x.dng", **arguments)
    assert (tmp_path / "a.jpg").exists()
    assert denoise_files([shots / "a.dng"], tmp_path / "x.dng", **arguments).count("done") == 1


@pytest.mark.parametrize(
    ("inputs", "output", "options", "preview", "words"),
    [
        (["in/a.dng"], None, {"level": 15.0}, None, "a noise level of 15 is for pictures, and there is none among"),
        (["in/c.png"], None, {"profile": "p.yaml"}, None, "a noise profile was asked for or given, which is for RAW"),
        (["in/c.png"], None, {"linear": True}, None, "a linear DNG was asked for or given, which is for RAW files"),
        (["in/c.png"], None, {"compression": "none"}, None, "no compression was asked for or given, which is for RAW"),
        (["in/c.png"], None, {}, "p.jpg", "a preview was asked for or given, which is for RAW files"),
        (["in/a.dng"], None, {"iso": 100.0}, None, "ISO 100 is given without a noise profile"),
        (["in/a.dng"], "x.png", {"linear": True}, None, "a linear DNG was asked for, and the output x.png is none"),
        (["in/a.dng"], None, {}, "p.gif", "the preview p.gif ends in none of .png, .jpg"),
        (["in"], None, {}, "p.jpg", "the preview p.jpg is a file, but there may be several"),
        (["in/a.dng"], "x.gif", {}, None, "x.gif ends in none of .png, .*.dng, .*; for a folder"),
        (["in/a.dng"], "x.jpg", {}, "x.jpg", "would both become x.jpg"),
        (["in/a.dng"], "in/a.dng", {}, None, "in/a.dng would overwrite the input in/a.dng"),
    ],
)
def test_contradictions_are_found_before_any_work(
    shots, model, tmp_path, monkeypatch, inputs, output, options, preview, words
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        denoise_files(inputs, output, options=Options(model, **options), preview=preview)
    assert made(tmp_path) == ["in/a.dng", "in/c.png", "in/d.json", "in/d.raw", "in/sub/b.dng"]


def test_names(shots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def plan(*inputs, output=None, suffix=None, extension=None, preview=None):
        planned, unusable = plan_places(inputs, output, suffix, extension, True, preview)
        assert unusable == []
        refuse_collisions(planned, False)
        return {
            place.input.as_posix(): (place.output.as_posix(), place.preview and place.preview.as_posix())
            for place in planned
        }

    assert plan("in/a.dng") == {"in/a.dng": ("in/a_clean.dng", None)}
    assert plan("in/d.raw", preview="p/") == {"in/d.raw": ("in/d_clean.dng", "p/d_clean.jpg")}
    assert plan("in/a.dng", extension="jpg", preview="p.tif") == {"in/a.dng": ("in/a_clean.jpg", "p.tif")}
    assert plan("in/a.dng", output="o/", preview="o/") == {"in/a.dng": ("o/a.dng", "o/a.jpg")}
    assert plan("in", preview="in_clean/") == {
        "in/a.dng": ("in_clean/a.dng", "in_clean/a.jpg"),
        "in/c.png": ("in_clean/c.png", None),
        "in/d.raw": ("in_clean/d.dng", "in_clean/d.jpg"),
        "in/sub/b.dng": ("in_clean/sub/b.dng", "in_clean/sub/b.jpg"),
    }
    assert plan("in/sub", "in/a.dng", output="o", preview="p") == {
        "in/sub/b.dng": ("o/sub/b.dng", "p/sub/b.jpg"),
        "in/a.dng": ("o/a.dng", "p/a.jpg"),
    }


def test_a_picture_does_not_become_a_dng(shots, model, tmp_path):
    report = denoise_files([shots], tmp_path / "out", options=Options(model), extension="dng")
    assert statuses(report) == {"c.png": "failed", "a.dng": "done", "b.dng": "done", "d.raw": "done"}
    assert "c.png: is no RAW file, and only those become DNG; choose another format" in report.files[0].error
