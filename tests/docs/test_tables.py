"""The tables in the docs hold the numbers of benchmarks/results, and say what measures them."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = module  # where dataclasses look for annotations
    spec.loader.exec_module(module)
    yield module
    del sys.modules["tables"]


def marks():
    """Page, name."""
    return [
        (page, name)
        for page in PAGES
        for name in re.findall(r"<!-- table: (.+?) -->", (ROOT / page).read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(("page", "name"), marks())
def test_a_table_is_what_its_json_gives(tables, page, name):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert tables.fill(text, only=[name]) == text, f"{page}: '{name}' is old; run python benchmarks/tables.py"


def test_every_table_is_in_the_docs_once(tables):
    assert sorted(name for _, name in marks()) == sorted(tables.TABLES)
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert text.count("<!-- table: ") == text.count("<!-- end -->"), page


def test_commands_are_those_of_the_list(tables):
    """And their results are committed."""
    told = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for name, table in tables.TABLES.items():
        assert f"`{table.command}`" in told, name
        assert not table.result or (ROOT / "benchmarks" / "results" / f"{table.result}.json").is_file(), name
        if table.command.startswith("python"):
            assert (ROOT / table.command.split()[1]).is_file(), name


def test_an_unknown_mark_is_refused_and_a_wrong_number_found(tables):
    with pytest.raises(SystemExit, match="a place is marked 'speed'; expected one of peers, engines"):
        tables.fill("<!-- table: speed -->\n<!-- end -->")
    text = (ROOT / "docs" / "mri.md").read_text(encoding="utf-8")
    wrong = text.replace("| clean targets | 13.77 |", "| clean targets | 13.78 |")
    assert wrong != text
    assert tables.fill(wrong) == text
