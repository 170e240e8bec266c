"""The command line: a table of verbs. Each parses, calls one public function and prints.

Exit status: 0 all done, 1 an input or some files failed, 2 wrong usage, 130 stopped by Ctrl-C. Results go to stdout,
progress and messages to stderr.
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import shotnoise
from shotnoise.errors import ShotnoiseError
from shotnoise.table import Table

__all__ = ["VERBS", "main", "run"]

VERBS = Table(
    "command",
    {
        "benchmark": ("shotnoise.cli.benchmark:benchmark", "time and memory of models on this machine"),
        "demo": ("shotnoise.cli.demo:demo", "denoise a picture that comes with shotnoise, write before and after"),
        "denoise": ("shotnoise.cli.denoise:denoise", "pictures, folders -> clean pictures"),
        "doctor": ("shotnoise.cli.doctor:doctor", "what this machine has, and which engine will be used and why"),
        "evaluate": ("shotnoise.cli.evaluate:evaluate", "measure a model under a named protocol"),
        "export": ("shotnoise.cli.export:export", "a run or checkpoint -> one .onnx that carries its card"),
        "networks": ("shotnoise.cli.networks:networks", "the zoo, with parameters and cost"),
        "pack": (
            "shotnoise.cli.pack:pack",
            "a folder of pictures or a TFRecord file -> a store that training reads fast",
        ),
        "recipes": ("shotnoise.cli.recipes:recipes", "the trainings that come with shotnoise"),
        "train": ("shotnoise.cli.train:train", "a recipe and pictures -> a run folder"),
    },
)


def main() -> None:
    """Entry point of the `shotnoise` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("shotnoise")
    logger.addHandler(handler)
    try:
        status = typer.main.get_command(_app()).main(list(arguments), prog_name="shotnoise", standalone_mode=False)
        sys.stdout.flush()
    except ShotnoiseError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except typer.TyperException as error:  # wrong usage: shows the usage line and the reason
        if hasattr(error, "show"):
            error.show()
        return int(getattr(error, "exit_code", 2))
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("stopped\n")
        return 130
    except BrokenPipeError:  # `shotnoise ... | head`: nobody reads on, and that is fine
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        logger.removeHandler(handler)
    return status if isinstance(status, int) else 0


def _app() -> typer.Typer:
    app = typer.Typer(
        help="From a noisy camera, or any pile of noisy images, to a denoiser that is measured and running.",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for verb, summary in VERBS.items():
        app.command(verb, short_help=summary)(VERBS.resolve(verb))
    return app


def _global_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"shotnoise {shotnoise.__version__}")
        raise typer.Exit
