"""`shotnoise synthesize`, as a user types it."""

import json

import numpy as np
import pytest
import torch

from shotnoise.cli import run
from shotnoise.images import Image, open_image, save_image
from shotnoise.images.raw.bayer import split
from shotnoise.networks import create
from shotnoise.store import Store
from small_networks import SMALL


@pytest.fixture
def pictures(tmp_path):
    """Three pictures in a folder: smooth, odd in size, one of them gray, one below another."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for name, shape in (("a.png", (40, 50, 3)), ("b.png", (41, 35)), ("more/c.jpg", (48, 64, 3))):
        y, x = np.mgrid[: shape[0], : shape[1]] / 64
        wave = 0.4 + 0.3 * np.sin(4 * x + 3 * y)
        save_image(
            Image(np.uint8(255 * (wave if len(shape) == 2 else np.stack([wave, wave**2, 1 - wave], 2)))), folder / name
        )
    return folder


def pixels(path):
    return open_image(path).pixels.astype(int)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_developed_pairs(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["synthesize", str(pictures), str(out), "--noise", "0.01,1e-5"]) == 0
    assert f"{out}: 3 pairs in" in capsys.readouterr().out
    assert names(out) == [f"{part}/{name}.png" for part in ("clean", "noisy") for name in ("a", "b", "more/c")]
    assert np.array_equal(pixels(out / "clean" / "a.png"), pixels(pictures / "a.png")), "the clean one as it came"
    difference = pixels(out / "noisy" / "a.png") - pixels(out / "clean" / "a.png")
    assert 2 < difference.std() < 40
    assert pixels(out / "noisy" / "b.png").shape == (41, 35, 3), "a gray picture has coloured noise"


def test_names_and_seed_decide_about_the_noise(pictures, tmp_path):
    (tmp_path / "one").mkdir()
    (pictures / "a.png").rename(tmp_path / "one" / "a.png")
    command = ["synthesize", str(tmp_path / "one" / "a.png")]
    for name, more in (
        ("first", ["--seed", "7"]),
        ("again", [str(pictures), "--seed", "7"]),
        ("other", ["--seed", "8"]),
    ):
        inputs = [word for word in more if not word.startswith("-") and not word.isdigit()]
        assert run([*command, *inputs, str(tmp_path / name), *[word for word in more if word not in inputs]]) == 0
    first, again, other = (pixels(tmp_path / name / "noisy" / "a.png") for name in ("first", "again", "other"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_raw_pairs(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["synthesize", str(pictures / "a.png"), str(out), "--raw", "--noise", "nikon-d850@3200", "--bits", "16"]
    assert run([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert names(out) == ["mosaic/clean/a.png", "mosaic/noisy/a.png", "npz/a.npz"]
    with np.load(out / "npz" / "a.npz", allow_pickle=False) as held:
        assert {name: held[name].shape for name in held} == {
            **dict.fromkeys(("clean", "noisy", "variance"), (4, 20, 25)),
            **dict.fromkeys(("shot", "read"), (4,)),
        }
        assert all(held[name].dtype == np.float32 for name in held)
        k, s2 = (held[name][:, None, None] for name in ("shot", "read"))
        np.testing.assert_allclose(held["variance"], k * held["noisy"] + s2, rtol=1e-6)
        assert report["made"][0]["k"] == pytest.approx(held["shot"].tolist())
        shown = split(pixels(out / "mosaic" / "noisy" / "a.png"), "RGGB") / 65535
        np.testing.assert_allclose(shown, held["noisy"], atol=1e-5)
    assert report["domain"] == "raw"


def test_stores(pictures, tmp_path, capsys):
    assert (
        run(["synthesize", str(pictures), str(tmp_path / "x.store"), "--noise", "sidd", "--crop", "16", "--json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    store = Store(tmp_path / "x.store")
    assert len(store) == len(report["made"]) == 2 * 3 + 2 * 2 + 3 * 4
    record = store.get("more/c#16,32")
    assert {name: (array.shape, array.dtype.name) for name, array in record.arrays.items()} == {
        "clean": ((3, 16, 16), "uint8"),
        "noisy": ((3, 16, 16), "uint8"),
    }
    assert record.meta["picture"] == "more/c", "patches of a picture stay together"
    assert len(record.meta["noise"]["k"]) == 4
    assert store.schema.made_by["noise"] == "sidd"
    assert run(["synthesize", str(pictures), str(tmp_path / "raw"), "--store", "--raw", "--noise", "dnd"]) == 0
    assert Store(tmp_path / "raw").get("a").arrays["noisy"].shape == (4, 20, 25)
    capsys.readouterr()
    assert run(["synthesize", str(pictures), str(tmp_path / "raw"), "--store"]) == 1
    assert "this store exists already" in capsys.readouterr().err


def test_phones_compress(pictures, tmp_path, capsys):
    command = ["synthesize", str(pictures), str(tmp_path / "out"), "--jpeg", "60-70", "--resize", "0.5", "--smooth"]
    assert run([*command, "--json", "--noise", "{name: poisson-gaussian, levels: brooks}"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert all(60 <= made["quality"] <= 70 for made in report["made"])
    assert pixels(tmp_path / "out" / "noisy" / "a.png").shape == (20, 25, 3)


def test_published_files_are_a_camera(pictures, tmp_path):
    network = create("cycleisp", **SMALL["cycleisp"])
    files = []
    for name, part in network.named_children():
        torch.save({"state_dict": part.state_dict()}, tmp_path / f"{name}.pth")
        files += [f"--{name}", str(tmp_path / f"{name}.pth")]
    torch.save(network.state_dict(), tmp_path / "whole.pth")
    inputs = ["synthesize", str(pictures / "a.png")]
    assert run([*inputs, str(tmp_path / "x"), *files, "--pair", "published"]) == 0
    assert run([*inputs, str(tmp_path / "y"), "--renderer", str(tmp_path / "whole.pth"), "--pair", "published"]) == 0
    assert np.array_equal(pixels(tmp_path / "x" / "noisy" / "a.png"), pixels(tmp_path / "y" / "noisy" / "a.png"))


def test_a_store_says_which_camera_and_frame_it_was_made_with(pictures, tmp_path):
    network = create("cycleisp", **SMALL["cycleisp"])
    files = {}
    for name, part in network.named_children():
        files[name] = str(tmp_path / f"{name}.pth")
        torch.save({"state_dict": part.state_dict()}, files[name])
    parts = [word for name, file in files.items() for word in (f"--{name}", file)]
    command = ["synthesize", str(pictures / "a.png")]
    assert run([*command, str(tmp_path / "learned.store"), *parts]) == 0
    assert run([*command, str(tmp_path / "framed.store"), "--frame"]) == 0
    learned, framed = (Store(tmp_path / f"{name}.store").schema.made_by for name in ("learned", "framed"))
    assert learned["renderer"] == [files[name] for name in ("rgb2raw", "ccm", "raw2rgb")]
    assert (framed["renderer"], framed["frame"], learned["frame"]) == ("classical", True, False)


def test_pictures_whose_names_differ_in_a_sign_stay_apart(pictures, tmp_path):
    for name in ("x#1", "x,1", "x_1"):
        (pictures / f"{name}.png").write_bytes((pictures / "a.png").read_bytes())
    assert (
        run(
            [
                "synthesize",
                str(pictures),
                str(tmp_path / "out"),
                "--noise",
                "{name: poisson-gaussian, k: 1e-3, s2: 1e-5}",
            ]
        )
        == 0
    )
    assert len(names(tmp_path / "out" / "noisy")) == 6


def test_a_bad_picture_does_not_stop_the_others(pictures, tmp_path, capsys):
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    assert run(["synthesize", str(pictures), str(tmp_path / "out"), "--crop", "38"]) == 1
    shown = capsys.readouterr()
    assert "left out: " in shown.err
    assert "broken.png" in shown.err
    assert "b.png: is 35 x 41 pixels; patches of 38 need more" in shown.err
    assert "Traceback" not in shown.err
    assert names(tmp_path / "out")[0] == "clean/a_0_0.png"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--noise", "kodak@100"], 1, "kodak"),
        (["--noise", "nikon-d850@night"], 2, "'night' is no ISO; expected PROFILE@ISO"),
        (["--noise", "{name: gaussian, sigma: 25}"], 1, "this noise has no law of a sensor"),
        (["--noise", "{sigma: 25}"], 2, "expected {name: NAME, ...}"),
        (["--renderer", "nowhere"], 1, "nowhere"),
        (["--jpeg", "good"], 2, "expected a quality or a range of them"),
        (["--raw", "--jpeg", "90"], 2, "are about developed pictures"),
        (["--rgb2raw", "a.pth"], 2, "a published camera is three files"),
        (["--crop", "15"], 1, "crop is 15; expected an even side"),
        (["--frame", "--crop", "16"], 2, "--frame is for whole pictures"),
    ],
)
def test_mistakes_end_with_one_line(pictures, tmp_path, capsys, arguments, status, words):
    assert run(["synthesize", str(pictures), str(tmp_path / "out"), *arguments]) == status
    error = capsys.readouterr().err
    assert words in " ".join(error.replace("│", " ").split())
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unasked(pictures, tmp_path, capsys):
    command = ["synthesize", str(pictures / "a.png"), str(tmp_path / "out")]
    assert run(command) == 0
    assert run(command) == 1
    assert "holds files already; choose another name or ask to overwrite" in capsys.readouterr().err
    assert run([*command, "--overwrite"]) == 0
    save_image(open_image(pictures / "a.png"), pictures / "a.jpg")
    assert run(["synthesize", str(pictures), str(tmp_path / "two")]) == 1
    assert "would both become 'a'; rename one" in capsys.readouterr().err
