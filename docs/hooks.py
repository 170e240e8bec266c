"""Pages of the site that are made from the code: commands, recipes and the fields of a recipe."""

import html
import inspect
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from shotnoise.cli import VERBS
from shotnoise.recipe import CardText, Recipe, TrainingOptions, ValidationOptions, packaged_recipes, recipe_text
from shotnoise.table import Table

_typed = re.compile(r" <(list\[)?\w+\]?>")  # typer's notes on types
_modules = re.compile(r"\b(shotnoise|typing)\.(\w+\.)*")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    pages = {"commands": commands(), "recipes": recipes(), "recipe-fields": recipe_fields()}
    for name, lines in pages.items():
        content = "\n".join(lines) + "\n"
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def commands() -> Iterator[str]:
    """Every verb with its arguments and options, as `shotnoise VERB --help` has them."""
    import typer

    from shotnoise.cli import _app

    yield "# Commands"
    yield ""
    yield "Results go to stdout, progress and messages to stderr. Exit status: 0 all done, 1 an input or some files"
    yield "failed, 2 wrong usage, 130 stopped by Ctrl-C. Made from `shotnoise COMMAND --help`."
    group = typer.main.get_command(_app())
    for verb, summary in VERBS.items():
        command = group.get_command(None, verb)
        context = typer.Context(command, info_name=f"shotnoise {verb}")
        yield from ("", f"## {verb}", "", f"{summary[0].upper()}{summary[1:]}.", "")
        usage = " ".join(command.collect_usage_pieces(context))
        yield from ("```", f"shotnoise {verb} {usage}", "```", "")
        yield from (inspect.cleandoc(command.help or "").replace("\f", "").split("\n"))
        records = [record for item in command.params if (record := item.get_help_record(context))]
        if records:
            yield from ("", "| | |", "|---|---|")
            yield from (f"| {_code(_typed.sub('', name))} | {_cell(text)} |" for name, text in records)


def recipes() -> Iterator[str]:
    """The packaged recipes with their headers."""
    yield "# Recipes"
    yield ""
    yield "What comes along. `shotnoise recipes NAME` prints a whole one, `shotnoise train NAME --data PICTURES -o RUN`"
    yield "trains it, and `--set key=value` changes any of its [fields](recipe-fields.md)."
    family = ""
    for name in packaged_recipes():
        if name.partition("/")[0] != family:
            family = name.partition("/")[0]
            yield from ("", f"## {family}")
        summary, told = _header(recipe_text(name))
        yield from ("", f"### {name}", "", summary, "", "| | |", "|---|---|")
        for key, (first, *more) in told.items():
            start = _code(first) if key == "command" else _cell(first)
            yield f"| {key} | {start} {_cell(' '.join(more))} |"


def recipe_fields() -> Iterator[str]:
    """The keys of a recipe, and the entries of the tables that it names."""
    from shotnoise.methods import METHODS
    from shotnoise.networks import NETWORKS
    from shotnoise.noise import NOISE
    from shotnoise.pairs import PAIRS

    yield "# Fields of a recipe"
    yield ""
    yield "A key that is not listed here is refused, with the nearest one that is. Options of a network, noise model,"
    yield "pair source or method are the arguments of its class."
    for title, model in (
        ("A recipe", Recipe), ("training", TrainingOptions), ("validation", ValidationOptions), ("card", CardText),
    ):  # fmt: skip
        yield from ("", f"## {title}", "", "| key | type | default | |", "|---|---|---|---|")
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
            kind = _modules.sub("", inspect.formatannotation(field.annotation))
            yield f"| {_code(name)} | {_code(kind)} | {default} | {_cell(field.description or '')} |"
    for title, table in (("network", NETWORKS), ("noise", NOISE), ("pairs", PAIRS), ("method", METHODS)):
        yield from ("", f"## {title}: entries", "")
        for name in table:
            yield from _entry(table, name)


def _entry(table: Table, name: str) -> Iterator[str]:
    kind = table.resolve(name)
    yield from (f"### {name}", "", f"{table[name][0].upper()}{table[name][1:]}.", "")
    given = {"self", "pictures", "noise", "network", "kwargs"}
    options = [p for p in inspect.signature(kind.__init__).parameters.values() if p.name not in given]
    told = _arguments(inspect.getdoc(kind) or "")
    if options:
        yield from ("| option | default | |", "|---|---|---|")
        for option in options:
            default = "required" if option.default is option.empty else _default(option.default)
            yield f"| {_code(option.name)} | {default} | {_cell(told.get(option.name, ''))} |"
        yield ""


def _arguments(text: str) -> dict[str, str]:
    """Name -> description from the Args section of a docstring."""
    found: dict[str, str] = {}
    inside, last = False, ""
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line == "Args:" if line else inside
        elif inside and line.startswith("    ") and not line.startswith("     "):
            last, _, said = line.strip().partition(": ")
            found[last] = said
        elif inside and last:
            found[last] += f" {line.strip()}"
    return found


def _header(text: str) -> tuple[str, dict[str, list[str]]]:
    """The comment at the top of a recipe: what it is, then command, cost, expected and source."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    summary, last = "", ""
    told: dict[str, list[str]] = {}
    for line in (line.removeprefix("#").strip() for line in lines):
        key, _, said = line.partition(" ")
        if key in ("command", "cost", "expected", "source"):
            told[key], last = [said.strip()], key
        elif last:
            told[last].append(line)
        else:
            summary += f" {line}"
    return summary.strip(), told


def _default(value: Any) -> str:
    """As a recipe writes it; what is a recipe of its own is told in its section."""
    return "" if isinstance(value, BaseModel) else _code(json.dumps(value))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "&#124;").split())


def _code(text: str) -> str:
    return f"<code>{_cell(html.escape(text))}</code>"
