"""RAW files become planes: black 0, white 1, nothing clipped, colours where they belong, one picture on one side."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raw_frames import BLACK, WHITE, frame, write_frames
from shotnoise.cli import run
from shotnoise.errors import StoreError
from shotnoise.images import Image, save_image
from shotnoise.images.raw import RawFrame, open_raw, save_dng, save_headerless
from shotnoise.images.raw.bayer import PATTERNS
from shotnoise.sensor.estimate import law_for
from shotnoise.sensor.patches import clean_planes
from shotnoise.store import Store, in_train, open_samples, pack, raw_planes
from shotnoise.store.raw import list_bursts

COLOURS = {"R": (0,), "G": (1, 2), "B": (3,)}


@given(
    pattern=st.sampled_from(PATTERNS),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_count_is_in_the_plane_of_its_colour(pattern, height, width, seed):
    """Read off the mosaic pixel by pixel: the normalised count is found in a plane of its colour, at its place."""
    mosaic = np.random.default_rng(seed).integers(0, 1100, (height, width)).astype(np.uint16)
    planes = raw_planes(RawFrame(mosaic, pattern, BLACK, WHITE))
    top, left = divmod(pattern.index("R"), 2)
    assert planes.dtype == np.float32
    assert planes.shape == (4, (height + top + 1) // 2, (width + left + 1) // 2)
    for y in range(height):
        for x in range(width):
            colour = (pattern[:2], pattern[2:])[y % 2][x % 2]
            plane = 2 * ((y + top) % 2) + (x + left) % 2
            assert plane in COLOURS[colour]
            expected = (mosaic[y, x] - BLACK[plane]) / (WHITE - BLACK[plane])
            assert planes[plane, (y + top) // 2, (x + left) // 2] == pytest.approx(expected, abs=1e-6)


def test_a_folder_becomes_a_store(tmp_path):
    frames = write_frames(tmp_path / "raw")
    report = pack(tmp_path / "raw", tmp_path / "s", channels=4)
    assert (report.pictures, report.records, report.failed, report.converted) == (4, 4, [], [])
    store = Store(tmp_path / "s")
    store.verify()
    assert store.schema.arrays["clean"].dtypes == ("float32",)
    for record in store:
        original = frames[record.key]
        np.testing.assert_array_equal(record.arrays["clean"], raw_planes(original))
        assert record.arrays["clean"].min() < 0, "noise around black keeps its sign"
        assert record.arrays["clean"].max() > 1, "counts above white stay"
        assert record.meta == {
            "picture": record.key, "camera": "Test Cam", "iso": original.iso, "exposure": 0.01,
            "pattern": original.pattern, "black": list(BLACK), "white": WHITE, "white_balance": [2.0, 1.0, 1.5],
        }  # fmt: skip


def test_a_folder_reads_the_same_without_packing(tmp_path):
    write_frames(tmp_path / "raw")
    pack(tmp_path / "raw", tmp_path / "s", channels=4)
    folder, store = open_samples(tmp_path / "raw", channels=4), open_samples(tmp_path / "s", channels=4)
    assert folder.keys() == store.keys()
    for found, expected in zip(folder, store, strict=True):
        np.testing.assert_array_equal(found.arrays["clean"], expected.arrays["clean"])
        assert found.meta == expected.meta
    with pytest.raises(StoreError, match="has 4 channels, 3 are needed"):
        open_samples(tmp_path / "s")


def test_dng_files_and_headerless_ones_with_any_name(tmp_path):
    shot = frame(1, pattern="GRBG")
    (tmp_path / "raw" / "burst").mkdir(parents=True)
    save_dng(shot, tmp_path / "raw" / "burst" / "a.dng")
    write_frames(tmp_path / "raw", count=1)
    (tmp_path / "raw" / "0.raw").rename(tmp_path / "raw" / "0.bin")
    (tmp_path / "raw" / "other.bin").write_bytes(b"no layout, no RAW")
    save_image(Image(np.zeros((30, 30), np.uint8)), tmp_path / "raw" / "picture.png")
    samples = open_samples(tmp_path / "raw", channels=4)
    assert samples.keys() == ("0.bin", "burst/a.dng")
    np.testing.assert_allclose(samples[1].arrays["clean"], raw_planes(shot), atol=1e-6)
    assert samples[1].meta["iso"] == shot.iso
    assert samples[1].meta["pattern"] == "GRBG"


def test_what_cannot_be_read_is_named_and_left_out(tmp_path, capsys):
    write_frames(tmp_path / "raw", count=3)
    (tmp_path / "raw" / "1.raw").write_bytes(b"short")
    (tmp_path / "raw" / "2.json").unlink()
    assert run(["pack", str(tmp_path / "raw"), str(tmp_path / "s"), "--channels", "4"]) == 1
    assert Store(tmp_path / "s").keys() == ("0.raw",)
    first, second = capsys.readouterr().err.splitlines()
    assert "1.raw: has 5 bytes" in first
    assert "2.raw: is not a RAW file of a known kind" in second


def test_wrong_channels_say_what_to_do(tmp_path):
    write_frames(tmp_path / "raw", count=1)
    with pytest.raises(StoreError, match=r"holds camera RAW and no pictures; RAW has .* give `--channels 4`"):
        pack(tmp_path / "raw", tmp_path / "s")
    (tmp_path / "pictures").mkdir()
    save_image(Image(np.zeros((30, 30), np.uint8)), tmp_path / "pictures" / "a.png")
    with pytest.raises(StoreError, match=r"holds no RAW files; expected \.dng, .* JSON file of the same stem"):
        pack(tmp_path / "pictures", tmp_path / "s", channels=4)
    pack(tmp_path / "pictures", tmp_path / "store")
    with pytest.raises(StoreError, match="store: is a store already; give the pictures that it was made from"):
        pack(tmp_path / "store", tmp_path / "s")


def test_patches_are_of_planes_and_a_split_keeps_pictures_whole(tmp_path):
    write_frames(tmp_path / "raw", count=8)
    report = pack(tmp_path / "raw", tmp_path / "s", channels=4, crop=16, stride=10, split=0.5, seed=1)
    store = Store(tmp_path / "s")
    assert len(set(store.keys())) == report.records == len(store)
    assert store.schema.arrays["clean"].shape == (4, 16, 16)
    for record in store:
        name, place = record.key.split("#")
        row, column = map(int, place.split(","))
        whole = raw_planes(frame(int(name[0]), pattern=record.meta["pattern"]))
        np.testing.assert_array_equal(record.arrays["clean"], whole[:, row : row + 16, column : column + 16])
    sides = {group: {store.get(key).meta["picture"] for key in keys} for group, keys in store.splits.items()}
    assert sides["train"] | sides["val"] == {f"{n}.raw" for n in range(8)}
    assert not sides["train"] & sides["val"]
    assert sides["train"] == {f"{n}.raw" for n in range(8) if in_train(f"{n}.raw", 0.5, 1)}
    report = pack(tmp_path / "raw", tmp_path / "t", channels=4, min_size=25)
    assert report.unsuited[0].reason == "24 x 32 pixels: a side is shorter than 25"
    assert "1.raw" not in Store(tmp_path / "t").keys()  # noqa: SIM118  # a sequence, not a mapping


@pytest.mark.shared
def test_one_camera_in_two_phases(shared, tmp_path):
    """The published frame and its rearranged copy: R and B are the same planes, the greens too."""
    samples = {record.key: record for record in open_samples(shared / "data" / "raw", channels=4)}
    first = samples["nikon14_768x512_rggb.raw"].arrays["clean"]
    np.testing.assert_allclose(samples["nikon14_768x512_rggb.dng"].arrays["clean"], first, atol=1e-6)
    moved = samples["nikon14_768x512_gbrg.dng"].arrays["clean"]
    assert moved.shape == (4, 257, 384), "red begins a row lower, so a row was added above and below"
    np.testing.assert_allclose(moved[0, 1:], first[0], atol=1e-6)
    np.testing.assert_allclose(moved[3, :-1], first[3], atol=1e-6)
    greens = {float(plane.mean()) for plane in (moved[1, 1:], moved[2, :-1])}
    assert sorted(greens) == pytest.approx(sorted(float(plane.mean()) for plane in first[1:3]), abs=1e-6)


class TestBaking:
    @pytest.fixture
    def packed(self, tmp_path):
        write_frames(tmp_path / "raw", height=200, width=200)
        options = ["--channels", "4", "--crop", "40", "--seed", "5", "--bake", "imx385"]
        assert run(["pack", str(tmp_path / "raw"), str(tmp_path / "s"), *options]) == 0
        return Store(tmp_path / "s")

    def test_pairs_have_the_noise_that_their_meta_says(self, packed):
        assert packed.schema.arrays.keys() == {"clean", "noisy"}
        isos, found, expected = [], [], []
        for record in packed:
            clean, noisy, noise = record.arrays["clean"], record.arrays["noisy"], record.meta["noise"]
            assert noisy.dtype == np.float32
            isos.append(noise["iso"])
            k, s2 = (np.array(noise[name])[:, None, None] for name in ("k", "s2"))
            found.append(np.mean((noisy - clean) ** 2))
            expected.append(np.mean(k * np.maximum(clean, 0) + s2))
        assert len(set(isos)) == len(isos) == len(packed), "drawn for each patch"
        assert 1600 <= min(isos) < 2400
        assert 17_000 < max(isos) <= 25_600
        np.testing.assert_allclose(found, expected, rtol=0.1)
        assert np.mean(np.divide(found, expected)) == pytest.approx(1, abs=0.01)
        assert np.corrcoef(isos, found)[0, 1] > 0.9

    def test_the_same_patch_gets_the_same_noise_again(self, packed, tmp_path):
        (tmp_path / "raw" / "0.raw").unlink()
        bake = {"name": "poisson-gaussian", "profile": "imx385"}
        pack(tmp_path / "raw", tmp_path / "again", channels=4, crop=40, seed=5, bake=bake)
        for record in Store(tmp_path / "again"):
            np.testing.assert_array_equal(record.arrays["noisy"], packed.get(record.key).arrays["noisy"])
        pack(tmp_path / "raw", tmp_path / "other", channels=4, crop=40, seed=6, bake=bake)
        record = Store(tmp_path / "other")[0]
        assert not np.array_equal(record.arrays["noisy"], packed.get(record.key).arrays["noisy"])

    def test_pictures_can_be_baked_too(self, tmp_path):
        (tmp_path / "pictures").mkdir()
        save_image(Image(np.full((60, 60, 3), 100, np.uint8)), tmp_path / "pictures" / "a.png")
        pack(tmp_path / "pictures", tmp_path / "s", bake={"name": "gaussian", "sigma": 25})
        (record,) = Store(tmp_path / "s")
        assert record.arrays["clean"].dtype == np.uint8
        assert (record.arrays["noisy"] - 100 / 255).std() == pytest.approx(25 / 255, rel=0.03)
        assert record.meta["noise"]["sigma"] == pytest.approx(25 / 255)

    @pytest.mark.parametrize(
        ("bake", "status", "words"),
        [
            ("{name: gausian, sigma: 25}", 1, "did you mean 'gaussian'"),
            ("{sigma: 25}", 2, "expected a noise profile, or {name: NAME, ...}"),
            ("{", 2, "expected a noise profile"),
            ("nowhere.yaml", 1, "nowhere.yaml"),
            ("{name: bernoulli, missing: 0.5}", 1, "this noise leaves pixels out"),
        ],
    )
    def test_noise_that_makes_no_sense(self, tmp_path, capsys, bake, status, words):
        write_frames(tmp_path / "raw", count=1)
        target = tmp_path / "s"
        assert run(["pack", str(tmp_path / "raw"), str(target), "--channels", "4", "--bake", bake]) == status
        assert words in capsys.readouterr().err
        assert not target.exists()


def test_the_report_of_the_command(tmp_path, capsys):
    write_frames(tmp_path / "raw")
    assert run(["pack", str(tmp_path / "raw"), str(tmp_path / "s"), "--channels", "4", "--crop", "16", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pictures"], report["records"], report["rejected"]) == (4, 4 + 6 + 4 + 6, {})


class TestGroundTruth:
    @pytest.fixture
    def bursts(self, tmp_path):
        """Two scenes of five frames; in one of them somebody walks through the third."""
        truth = {}
        for number, pattern in enumerate(("RGGB", "GBRG")):
            still = frame(number, 96, 128, pattern, noise=0)
            truth[f"scenes/{number}"] = still
            folder = tmp_path / "raw" / "scenes" / str(number)
            folder.mkdir(parents=True)
            rng = np.random.default_rng(number)
            for index in range(5):
                counts = still.mosaic + rng.normal(0, 6, still.mosaic.shape)
                if (number, index) == (1, 2):
                    counts[20:80, 20:90] = 90
                noisy = np.clip(np.rint(counts), 0, 1023).astype(np.uint16)
                save_headerless(still.with_mosaic(noisy), folder / f"{index}.raw")
        return tmp_path / "raw", truth

    def test_a_burst_becomes_its_average(self, bursts, tmp_path, capsys):
        folder, truth = bursts
        (folder / "scenes" / "0" / "broken.dng").write_bytes(b"II*\0")
        assert run(["pack", str(folder), str(tmp_path / "s"), "--channels", "4", "--average"]) == 0
        out, err = capsys.readouterr()
        assert "2 samples of 2 pictures" in out
        notes = err.splitlines()
        assert notes[0].startswith("scenes/0: left out: ")
        assert "broken.dng" in notes[0]
        assert notes[1].startswith("scenes/1: 2.raw left out: ")
        for record in Store(tmp_path / "s"):
            still = truth[record.key]
            expected, found = raw_planes(still), record.arrays["clean"]
            lit = (expected > 0.02) & (expected < 0.95)  # elsewhere counts were cut off by 0 and white
            error = (found - expected)[lit].std() * (WHITE - 65)
            assert error == pytest.approx(6 / np.sqrt(5 if record.key == "scenes/0" else 4), rel=0.1)
            assert record.meta["average"]["used"] == (5 if record.key == "scenes/0" else 4)
            assert record.meta["pattern"] == still.pattern
        assert run(["pack", str(folder / "scenes" / "1"), str(tmp_path / "t"), "--channels", "4", "--average"]) == 0
        assert Store(tmp_path / "t").keys() == ("1",), "a folder that is a scene itself has its own name"

    def test_a_burst_of_one_is_named(self, tmp_path, capsys):
        write_frames(tmp_path / "raw", count=1)
        assert run(["pack", str(tmp_path / "raw"), str(tmp_path / "s"), "--channels", "4", "--average"]) == 1
        assert f"{tmp_path / 'raw'}: 1 frames; expected a burst of" in capsys.readouterr().err

    def test_prefilter_mends_and_chooses(self, tmp_path, capsys):
        quiet, loud, flat = (frame(n, 128, 128, noise=2 + 28 * (n == 1)) for n in range(3))
        flat.mosaic[:] = 300
        dead = quiet.mosaic.copy()
        dead[41, 70] = 1023
        (tmp_path / "raw").mkdir()
        for name, one in (("a", quiet.with_mosaic(dead)), ("b", loud), ("c", flat)):
            save_headerless(one, tmp_path / "raw" / f"{name}.raw")
        command = ["pack", str(tmp_path / "raw"), str(tmp_path / "s"), "--channels", "4", "--crop", "32"]
        assert run([*command, "--prefilter", "defects"]) == 0
        out = capsys.readouterr().out
        assert "patches left out as noisy: 4" in out
        assert "patches left out as flat: 4" in out
        store = Store(tmp_path / "s")
        assert {record.meta["picture"] for record in store} == {"a.raw"}
        assert store[0].meta["prefilter"]["how"] == "defects"
        mended = store.get("a.raw#0,32").arrays["clean"]
        assert mended[2, 20, 35 - 32] == pytest.approx(raw_planes(quiet)[2, 20, 35], abs=0.02)

        assert run([*command, "--prefilter", "filter", "--overwrite"]) == 0
        shot = open_raw(tmp_path / "raw" / "a.raw")
        expected = clean_planes(raw_planes(shot), law_for(shot), how="filter").planes[:, :32, 32:]
        np.testing.assert_array_equal(Store(tmp_path / "s").get("a.raw#0,32").arrays["clean"], expected)
        assert run([*command[:-2], "--prefilter", "half", "--overwrite"]) == 0
        assert Store(tmp_path / "s").schema.arrays["clean"].shape == (4, 32, 32)

    def test_nothing_clean_at_all(self, tmp_path, capsys):
        write_frames(tmp_path / "raw", count=1, noise=50)
        command = ["pack", str(tmp_path / "raw"), str(tmp_path / "s"), "--channels", "4"]
        assert run([*command, "--prefilter", "defects"]) == 1
        assert "none of its pictures can be used: of the patches 1 are noisy" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"average": True}, "average and prefilter are for camera RAW, which has 4 channels, not 3"),
            ({"prefilter": "filter"}, "average and prefilter are for camera RAW"),
            ({"prefilter": "filtr", "channels": 4}, "unknown prefilter 'filtr': did you mean 'filter'"),
        ],
    )
    def test_options_that_make_no_sense(self, tmp_path, options, words):
        with pytest.raises(StoreError, match=words):
            pack(tmp_path, tmp_path / "s", **options)


def test_a_folder_inside_does_not_tear_a_burst_apart(tmp_path):
    for name in ("a.dng", "b/1.dng", "b/2.dng", "c.dng"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    bursts = {name: [path.name for path in paths] for name, paths in list_bursts(tmp_path)}
    assert bursts == {tmp_path.name: ["a.dng", "c.dng"], "b": ["1.dng", "2.dng"]}
    assert len(list_bursts(tmp_path)) == 2
