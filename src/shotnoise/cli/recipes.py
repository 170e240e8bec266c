"""`shotnoise recipes`: list the packaged trainings, or print one to start your own from."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe as YAML, ready to copy and change.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the trainings that come with shotnoise, or print one.

    A recipe is a YAML file: `shotnoise recipes gaussian/s > mine.yaml`, change it, `shotnoise train mine.yaml`.
    """
    from shotnoise.recipe import load_recipe, packaged_recipes, recipe_text

    if name is not None:
        load_recipe(name)  # so that a broken file is reported, not printed
        typer.echo(recipe_text(name).rstrip())
        return
    loaded = [load_recipe(known) for known in packaged_recipes()]
    if as_json:
        typer.echo(json.dumps([recipe.model_dump(mode="json") for recipe in loaded], indent=2))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("what for")
    for recipe in loaded:
        table.add_row(recipe.name, f"{recipe.training.steps:,}", f"{recipe.title} ({recipe.network.name})")
    Console(highlight=False, markup=False).print(table)
    typer.echo("shotnoise recipes NAME prints one; its header says command, cost, expected number and source")
