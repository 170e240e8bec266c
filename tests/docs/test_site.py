import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shotnoise.cli import VERBS
from shotnoise.recipe import packaged_recipes

pytestmark = pytest.mark.xdist_group("site")  # built once
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", ROOT / "mkdocs.yml", "-d", folder]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}


def test_every_page_is_in_it_and_no_link_is_broken(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= set(site)


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = r'<(?:script|img|link|iframe|source)[^>]*?(?:src|href)="?((?:https?:)?//[^"\s>]+)'
    assert not {page: found for page, text in site.items() if (found := re.findall(fetched, text))}


def test_the_reference_has_every_command_and_recipe(site):
    assert all(f'id="{verb}"' in site["reference/commands.html"] for verb in VERBS)
    assert all(f">{name}<" in site["reference/recipes.html"] for name in packaged_recipes())
    assert "<code>warmup_from</code>" in site["reference/recipe-fields.html"]
    assert "&lt;list" not in site["reference/commands.html"]
