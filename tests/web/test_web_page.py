"""The page in a real browser: from a file to its result, which is that of `shotnoise denoise`, and nothing goes out."""

import importlib.util
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import shotnoise.cli as cli
from shotnoise.images import open_image

pytestmark = pytest.mark.xdist_group("server")  # one of them, and a page that the tests share
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--force-color-profile=srgb",
)  # fmt: skip
PATIENCE = 60_000


@pytest.fixture(scope="module")
def page(server):
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda line: page.complaints.append(line.text) if line.type == "error" else None)
        page.goto(server.url)
        yield page
        browser.close()


def ready(page, sides):
    page.wait_for_selector(f"shotnoise-view[sides='{sides}'][data-ready=true]")


def download(page, selector):
    with page.expect_download() as waiting:
        page.click(selector)
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def strength(page, value):
    field = page.locator("#strength input[type=number]")
    field.fill(value)
    field.press("Tab")


def by_command(path, folder, *options):
    arguments = ["denoise", str(path), "-o", f"{folder}/", "--suffix", "_clean", "--engine", "onnxruntime", *options]
    assert cli.run(arguments) == 0
    return folder / f"{path.stem}_clean{path.suffix}"


def stage(page):
    """What can be seen of the picture, as pixels of the screen, and where it lies among them."""
    content = np.asarray(Pillow.open(io.BytesIO(page.locator(".sn-stage").screenshot())).convert("RGB"))
    left, top = page.evaluate(
        """() => {
            const stage = document.querySelector("shotnoise-view").shadowRoot.querySelector(".sn-stage");
            const image = stage.querySelector(".sn-layer:not([hidden]) img");
            const [a, b] = [stage.getBoundingClientRect(), image.getBoundingClientRect()];
            return [Math.round(b.left) - Math.floor(a.left), Math.round(b.top) - Math.floor(a.top)];
        }"""
    )
    return content, left, top


def test_from_a_file_to_its_result(page, server, noisy, tmp_path):
    assert page.locator("#denoise").is_disabled()
    page.set_input_files("#file input[type=file]", str(noisy))
    ready(page, "before")
    assert "140 x 120 pixels" in page.inner_text("#status")
    assert "Noise: about" in page.inner_text("#status")
    page.click("#denoise")
    ready(page, "before,after")
    said = page.inner_text("#status")
    assert "model photo, onnxruntime on cpu, fp32, 1 tile" in said
    name, content = download(page, "a.sn-download")
    made = by_command(noisy, tmp_path)
    assert (name, content) == ("noisy_clean.png", made.read_bytes())

    # What is seen are the pixels of the two files, each on its side of the border.
    before, after = open_image(noisy).pixels, open_image(made).pixels
    page.click("text=200 %")
    ready(page, "before,after")
    page.locator(".sn-handle").press("Home")
    seen, left, top = stage(page)
    shown = seen[top : top + 240, left : left + 280]
    assert np.array_equal(shown[100:200:2, 40:240:2], after[50:100, 20:120])
    assert np.array_equal(shown[101:200:2, 41:240:2], after[50:100, 20:120])
    page.locator(".sn-handle").press("End")
    seen, left, top = stage(page)
    assert np.array_equal(seen[top + 100 : top + 200 : 2, left + 40 : left + 240 : 2], before[50:100, 20:120])
    box = page.locator(".sn-handle").bounding_box()
    wide = page.locator(".sn-stage").bounding_box()
    page.mouse.move(box["x"] - 8, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(wide["x"] + wide["width"] / 2, box["y"] + 40, steps=4)
    page.mouse.up()
    assert page.locator(".sn-handle").get_attribute("aria-valuenow") == "50"
    seen, left, top = stage(page)
    assert np.array_equal(seen[top + 100 : top + 200 : 2, left + 40 : left + 120 : 2], before[50:100, 20:60])
    assert np.array_equal(seen[top + 100 : top + 200 : 2, left + 160 : left + 240 : 2], after[50:100, 80:120])

    # The same place again with another strength, and what was removed.
    strength(page, "0.5")
    page.click("#denoise")
    page.wait_for_selector("shotnoise-view[version='2'][data-ready=true]")
    assert page.locator(".sn-handle").get_attribute("aria-valuenow") == "50"
    name, content = download(page, "a.sn-download")
    assert content == by_command(noisy, tmp_path / "half", "--strength", "0.5").read_bytes()
    half = open_image(tmp_path / "half" / "noisy_clean.png").pixels.astype(int)
    page.click("text=What was removed")
    ready(page, "before,after")
    seen, left, top = stage(page)
    expected = np.clip(128 + 8 * (before.astype(int) - half), 0, 255)[50:100, 20:120]
    assert np.abs(seen[top + 100 : top + 200 : 2, left + 40 : left + 240 : 2].astype(int) - expected).max() <= 1

    # A file that is none.
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    page.click("#file [aria-label='Clear'], #file [aria-label='Remove this file']")
    page.wait_for_selector("text=Drop a picture or a RAW file into the box")
    page.set_input_files("#file input[type=file]", str(tmp_path / "bad.jpg"))
    page.wait_for_selector("[role=alert]")
    assert "bad.jpg: is not a picture of a known kind" in page.inner_text("#status")
    assert page.locator("#denoise").is_disabled()


def test_several_files(page, server, noisy, tmp_path):
    (tmp_path / "in").mkdir()
    files = [shutil.copy(noisy, tmp_path / "in" / name) for name in ("a.png", "b.png")]
    Pillow.open(noisy).save(tmp_path / "in" / "b.bmp")
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    page.get_by_role("tab", name="Several files").click()
    others = [str(tmp_path / "in" / name) for name in ("b.bmp", "bad.png")]
    page.set_input_files("#files input[type=file]", [*map(str, files), *others])
    page.wait_for_selector("text=4 files")
    strength(page, "0.5")
    page.click("#denoise")
    page.wait_for_selector("text=3 denoised, 1 failed")
    assert "bad.png: is not a picture" in page.inner_text("#pile")
    name, content = download(page, "a.sn-download")
    assert name == "denoised.zip"
    made = by_command(tmp_path / "in" / "a.png", tmp_path / "out", "--strength", "0.5")
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.namelist() == ["a_clean.png", "b_clean.png", "b_clean-2.png", "report.json"]
        assert found.read("a_clean.png") == made.read_bytes()


def test_nothing_went_elsewhere(page, server):
    """The last one here: it has seen all requests."""
    outside = [url for url in page.asked if not url.startswith((f"{server.url}/", "data:", "blob:"))]
    assert len(page.asked) > 10
    assert outside == []
    assert page.complaints == []
    (folder,) = server.temporary.glob("shotnoise-serve-*")
    assert folder.stat().st_mode & 0o077 == 0
