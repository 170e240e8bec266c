"""The command line: a table of verbs. Each parses, calls one public function and prints.

Exit status: 0 all done, 1 an input or some files failed, 2 wrong usage, 130 stopped by Ctrl-C. Results go to stdout,
progress and messages to stderr.
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

import shotnoise
from shotnoise.errors import ShotnoiseError
from shotnoise.table import Table

__all__ = ["VERBS", "main", "run"]

VERBS = Table(
    "command",
    {
        "benchmark": ("shotnoise.cli.benchmark:benchmark", "time and memory of models on this machine"),
        "calibrate": (
            "shotnoise.cli.calibrate:calibrate",
            "black frames and evenly lit frames -> the noise profile of a camera",
        ),
        "demo": ("shotnoise.cli.demo:demo", "denoise a picture and a RAW file made from it, write before and after"),
        "denoise": ("shotnoise.cli.denoise:denoise", "pictures, RAW files, folders -> clean ones"),
        "doctor": ("shotnoise.cli.doctor:doctor", "what this machine has, and which engine will be used and why"),
        "estimate": ("shotnoise.cli.estimate:estimate", "how noisy pictures and RAW files are, and who says so"),
        "evaluate": ("shotnoise.cli.evaluate:evaluate", "measure a model under a named protocol"),
        "export": ("shotnoise.cli.export:export", "a run or checkpoint -> one .onnx that carries its card"),
        "networks": ("shotnoise.cli.networks:networks", "the zoo, with parameters and cost"),
        "pack": (
            "shotnoise.cli.pack:pack",
            "pictures, RAW files, TFRecord -> a store that training reads fast",
        ),
        "pack-mri": ("shotnoise.cli.pack_mri:pack_mri", "MRI volumes -> a store of their slices"),
        "recipes": ("shotnoise.cli.recipes:recipes", "the trainings that come with shotnoise"),
        "report": (
            "shotnoise.cli.report:report",
            "two pictures, before and after -> whether to trust the second; a run -> how its training went",
        ),
        "serve": ("shotnoise.cli.serve:serve", "the denoisers in a browser and over HTTP, on this machine"),
        "synthesize": (
            "shotnoise.cli.synthesize:synthesize",
            "clean pictures -> pairs with the noise of a camera, sRGB or RAW",
        ),
        "submit": ("shotnoise.cli.submit:submit", "denoise DND or SIDD and write the files that they want to be sent"),
        "train": ("shotnoise.cli.train:train", "a recipe and pictures -> a run folder"),
        "unpack": ("shotnoise.cli.unpack:unpack", "a store, or the .mat files of SIDD -> folders of pictures"),
    },
)


_INTERRUPTED = 130
_HELP = {"help_option_names": ["-h", "--help"]}


def main() -> None:
    """Run what the command line of this process says."""
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
        if status == _INTERRUPTED:  # what typer makes of Ctrl-C
            sys.stderr.write("stopped\n")
    except ShotnoiseError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except typer.TyperException as error:  # wrong usage: shows the usage line and the reason
        if hasattr(error, "show"):
            error.show()
        return int(getattr(error, "exit_code", 2))
    except BrokenPipeError:  # `shotnoise ... | head`: nobody reads on, and that is fine
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:  # outside of what typer looks after
        sys.stderr.write("stopped\n")
        return _INTERRUPTED
    finally:
        logger.removeHandler(handler)
    return status if isinstance(status, int) else 0


def _app() -> typer.Typer:
    app = typer.Typer(
        cls=_Verbs,
        help="From a noisy camera, or any pile of noisy images, to a denoiser that is measured and running.",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings=_HELP,
    )
    app.callback()(_global_options)
    return app


class _Verbs(TyperGroup):
    """The table of verbs, of which the one that is called is imported and no other."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = cast(Any, dict.fromkeys(VERBS))  # their names: for what a wrong one may have meant

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(cmd_name, cls=_Command, short_help=VERBS[cmd_name], context_settings=_HELP)(VERBS.resolve(cmd_name))
        return typer.main.get_command(app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


class _Command(TyperCommand):
    """Without arguments that stand alone, an option for many values takes all words up to the next option.

    So the shell may expand patterns: `--black dark/*.dng` is `--black dark/1.dng --black dark/2.dng`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        lists = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        if any(option.param_type_name == "argument" for option in self.params):
            lists = set()
        words: list[str] = []
        current = ""
        for position, word in enumerate(args):
            if word.startswith("-"):
                current = word if word in lists else ""
            elif current and args[position - 1] != current:
                words.append(current)
            words.append(word)
        return super().parse_args(ctx, words)


def _global_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"shotnoise {shotnoise.__version__}")
        raise typer.Exit
