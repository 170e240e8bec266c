"""Over HTTP: the same files as those of `shotnoise denoise`, what was done, and refusals in one line."""

import json
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

import shotnoise.cli as cli
from shotnoise.images import Image, open_image, save_image
from shotnoise.images.raw import open_raw, save_dng
from shotnoise.sensor.simulate import SimulatedSensor

pytestmark = pytest.mark.xdist_group("server")


def ask(server, path, body=None, method=None, **headers):
    """Status, headers and body of an answer."""
    request = urllib.request.Request(f"{server.url}{path}", body, headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def form(fields, name, content):
    """A body of multipart/form-data and its type."""
    border = "the-border"
    parts = [
        f'--{border}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    start = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = "".join([*parts, start]).encode() + content + f"\r\n--{border}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={border}"}


def by_command(path, folder, *options):
    """What `shotnoise denoise` makes of a file."""
    assert (
        cli.run(["denoise", str(path), "-o", f"{folder}/", "--suffix", "_clean", "--engine", "onnxruntime", *options])
        == 0
    )
    (made,) = folder.glob("*_clean.*")
    return made


def nothing_is_left(server):
    """In the folder of the server, but for what Gradio keeps of itself."""
    (folder,) = server.temporary.glob("shotnoise-serve-*")
    return {path.name for path in folder.iterdir()} <= {"gradio"}


def test_sixteen_bits_with_profile_and_exif(server, noisy, tmp_path):
    pixels = open_image(noisy).pixels.astype(np.uint16) * 257
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Pillow.Exif()
    exif[271] = "Maker"
    save_image(Image(pixels, icc=icc, exif=exif.tobytes().removeprefix(b"Exif\0\0")), tmp_path / "ein Bild.tif")
    body, headers = form({"strength": "0.7", "level": "15"}, "ein Bild.tif", (tmp_path / "ein Bild.tif").read_bytes())
    status, answer, content = ask(server, "/api/denoise", body, **headers)
    assert status == 200
    made = by_command(tmp_path / "ein Bild.tif", tmp_path / "out", "--strength", "0.7", "--level", "15")
    assert content == made.read_bytes()
    (tmp_path / "got.tif").write_bytes(content)
    got = open_image(tmp_path / "got.tif")
    assert (got.pixels.dtype, got.icc) == (np.uint16, icc)
    assert b"Maker" in got.exif
    report = json.loads(answer["shotnoise-report"])
    assert (report["file"], report["result"]) == ("ein Bild.tif", made.name)
    assert (report["model"], report["engine"], report["provider"]) == ("gaussian", "onnxruntime", "cpu")
    assert report["sigma"] == 15
    assert 5 < report["removed"] < 15
    assert report["tiles"]["tiles"] == 1
    assert "ein%20Bild_clean.tif" in answer["content-disposition"]
    assert nothing_is_left(server)


def test_raw_as_the_body(server, tmp_path):
    sensor = SimulatedSensor(height=64, width=80)
    save_dng(sensor.flat(0.4, iso=3200, rng=np.random.default_rng(0), tilt=0.4), tmp_path / "a.dng")
    status, answer, content = ask(server, "/api/denoise/a.dng", (tmp_path / "a.dng").read_bytes(), "PUT")
    assert status == 200
    made = by_command(tmp_path / "a.dng", tmp_path / "out")
    (tmp_path / "got.dng").write_bytes(content)
    assert np.array_equal(open_raw(tmp_path / "got.dng").mosaic, open_raw(made).mosaic)
    assert not np.array_equal(open_raw(made).mosaic, open_raw(tmp_path / "a.dng").mosaic)
    report = json.loads(answer["shotnoise-report"])
    assert (report["kind"], report["model"]) == ("raw", "raw")
    assert "source" in report["law"]
    status, _, body = ask(server, "/api/denoise/a.dng?level=5", (tmp_path / "a.dng").read_bytes(), "PUT")
    assert status == 422
    assert "a noise level of 5 is for pictures" in json.loads(body)["error"]
    assert nothing_is_left(server)


def test_estimate(server, noisy):
    status, _, body = ask(server, "/api/estimate/noisy.png", noisy.read_bytes(), "PUT")
    assert status == 200
    found = json.loads(body)
    assert (found["width"], found["height"], found["kind"]) == (140, 120, "picture")
    assert found["sigma"] == pytest.approx(20, abs=2)


def test_about(server):
    status, _, body = ask(server, "/api")
    about = json.loads(body)
    assert status == 200
    assert about["models"]["gaussian"]["takes_level"]
    assert about["limits"] == {"upload_bytes": 3_000_000, "pixels": 50_000, "waiting": 16, "seconds": 600.0}
    assert about["engines"][0] == "auto"


def test_refusals(server, noisy, tmp_path):
    save_image(Image(np.zeros((250, 250), np.uint8)), tmp_path / "large.png")
    content, large = noisy.read_bytes(), (tmp_path / "large.png").read_bytes()
    for path, body, status, words in (
        ("/api/denoise?name=a.png&strenght=1", content, 400, "no option 'strenght', did you mean strength?"),
        ("/api/denoise?name=a.png&level=5&level=9", content, 400, "the option 'level' comes twice; expected it once"),
        ("/api/denoise?name=a.png&model=/etc/passwd", content, 400, "unknown model '/etc/passwd'"),
        ("/api/denoise?name=a.png&format=dng", content, 422, "a.png: is no RAW file, and only those become DNG"),
        ("/api/denoise", content, 400, "does not name its file"),
        ("/api/denoise?name=a.png", b"", 400, "brings no file"),
        ("/api/denoise?name=../../a.png", b"no picture", 422, "a.png: is not a picture of a known kind"),
        ("/api/denoise?name=a.png", large, 422, "a.png: claims 250 x 250 pixels, more than the limit of 50,000"),
        ("/api/denoise?name=a.nii", content, 415, "a.nii: is a volume"),
        ("/api/denoise?name=a.png", b"x" * 3_000_001, 413, "a.png: has 3.0 MB, more than the 3 MB"),
        ("/api/denoise?name=a.png", b"x" * 5_000_000, 413, "the request brings 5.0 MB, more than the 3 MB"),
        ("/api/nothing", content, 404, "there is no POST /api/nothing here; expected GET /api"),
        ("/api", content, 404, "there is no POST /api here; expected GET /api"),
    ):  # fmt: skip
        found, _, answer = ask(server, path, body, "POST")
        error = json.loads(answer)["error"]
        assert found == status, error
        assert words in error
        assert str(server.temporary) not in error
    assert nothing_is_left(server)


def test_an_option_both_in_the_address_and_in_the_form(server, noisy):
    body, headers = form({"strength": "0.5"}, "a.png", noisy.read_bytes())
    status, _, answer = ask(server, "/api/denoise?strength=1", body, "POST", **headers)
    assert (status, "'strength' comes twice" in json.loads(answer)["error"]) == (400, True)
    assert nothing_is_left(server)


def test_forms_that_are_none(server, noisy):
    content = noisy.read_bytes()
    whole, headers = form({}, "a.png", content)
    kind = headers["Content-Type"]
    for body, said, words in (
        (whole, "multipart/form-data", "the form cannot be read (missing boundary in multipart); expected one file"),
        (content, kind, "the form cannot be read (invalid multipart data); expected one file, in the field 'file'"),
        (form({}, "a.png", content)[0].replace(b"--the-border--", b"") + whole, kind, "too many files"),
        (form({"level": 1}, "a.png", content)[0].replace(b'"file"', b'"picture"'), kind, "the form has no file"),
    ):  # fmt: skip
        status, _, answer = ask(server, "/api/denoise", body, **{"Content-Type": said})
        assert (status, words in json.loads(answer)["error"]) == (400, True), answer
    assert nothing_is_left(server)
    status, _, _ = ask(server, "/api/estimate", whole, **{"Content-Type": kind.replace("multipart", "Multipart")})
    assert status == 200


def test_names_are_shortened_to_what_systems_take():
    """Which is a number of bytes: the same one for every writing."""
    file_name = pytest.importorskip("shotnoise.web.api", exc_type=ImportError).file_name
    for name, expected in (
        ("a.png", "a.png"), ("C:\\x\\a.png", "a.png"), ("../../a.png", "a.png"), (".hidden.png", "hidden.png"),
        ("..", "picture"), ("", "picture"), ("a\0\nb.png", "ab.png"), ("b" * 300 + ".png", "b" * 176 + ".png"),
        ("字" * 120 + ".png", "字" * 58 + ".png"), ("字" * 120, "字" * 60), ("é" * 100 + ".jpeg", "é" * 87 + ".jpeg"),
    ):  # fmt: skip
        assert file_name(name) == expected


def test_a_body_of_unknown_length(server, noisy):
    """Sent in pieces, as a pipe is."""

    def pieces(content):
        yield from (content[at : at + 100_000] for at in range(0, len(content), 100_000))

    content = noisy.read_bytes()
    status, answer, _ = ask(server, "/api/denoise/a.png", pieces(content), "PUT")
    assert (status, answer["content-type"]) == (200, "image/png")
    status, _, body = ask(server, "/api/denoise/a.png", pieces(b"x" * 4_500_000), "PUT")
    assert status == 413
    assert json.loads(body)["error"].startswith("the request brings more than the 3 MB")
    assert nothing_is_left(server)


def events(server, trigger):
    """The events of the page that something begins, as Gradio numbers them."""
    _, _, body = ask(server, "/config")
    return [one["id"] for one in json.loads(body)["dependencies"] if one["targets"] and one["targets"][0][1] == trigger]


def by_hand(server, event, *data):
    """What an event of the page answers to somebody who does not use the page, and whether it worked."""
    asked = json.dumps({"data": data, "fn_index": event, "session_hash": "tests"}).encode()
    status, _, _ = ask(server, "/gradio_api/queue/join", asked, **{"Content-Type": "application/json"})
    assert status == 200
    _, _, heard = ask(server, "/gradio_api/queue/data?session_hash=tests")
    completed = [json.loads(line[6:]) for line in heard.decode().splitlines() if line.startswith("data: ")]
    return heard.decode(), [one["success"] for one in completed if one["msg"] == "process_completed"]


def named(path):
    """A file as the page names one that it has sent."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_an_address_instead_of_a_file_is_not_fetched(server):
    """Gradio would download it, if somebody asked the event of the upload by hand."""
    assert by_hand(server, events(server, "upload")[0], named(f"{server.url}/api"))[1] == [False]
    assert nothing_is_left(server)


def test_files_of_the_machine_are_not_opened(server, noisy):
    """Neither as the file nor in place of any other value, of which Gradio would make a copy for visitors."""
    upload, profile = events(server, "upload")[0], events(server, "change")[0]
    for event in (upload, profile):
        heard, worked = by_hand(server, event, named(noisy))
        assert worked == [False]
        assert noisy.name not in heard
    (folder,) = server.temporary.glob("shotnoise-serve-*")
    assert not list(folder.rglob(noisy.name))
    assert nothing_is_left(server)
    status, _, body = ask(server, f"/gradio_api/file={noisy}")
    assert (status, "there is no /gradio_api/file=" in json.loads(body)["error"]) == (404, True)


def refused_to_start(*options):
    """The one line, and the exit status."""
    done = subprocess.run([sys.executable, "-m", "shotnoise", "serve", *options], capture_output=True, text=True)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_starts_that_are_refused(server):
    port = server.url.rsplit(":", 1)[1]
    for options, words in (
        (["--port", port], f"error: cannot listen on port {port} of 127.0.0.1 (Address already in use)"),
        (
            ["--host", "0.0.0.0", "--port", "0"],  # noqa: S104
            "error: 0.0.0.0 can be reached by others, and there is no token; say --token ",
        ),
    ):
        status, err = refused_to_start(*options)
        assert status == 1
        assert err.startswith(words)
        assert err.count("\n") == 1
