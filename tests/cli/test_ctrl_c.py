"""Ctrl-C at any moment: one line and the exit status that shells expect, no traceback."""

import importlib.metadata
import os
import signal
import subprocess
import sys

import pytest

import shotnoise.cli as cli


@pytest.mark.parametrize("ignored", [False, True])
def test_while_the_command_is_imported(tmp_path, ignored):
    """A library in its place presses the keys; one that was told to ignore them, as under nohup, goes on."""
    (tmp_path / "typer").mkdir()
    pressed = "import signal; signal.raise_signal(signal.SIGINT)\n"
    (tmp_path / "typer" / "__init__.py").write_text(pressed + "raise SystemExit(7)\n")
    done = subprocess.run(
        [sys.executable, "-m", "shotnoise", "--version"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )  # fmt: skip
    expected = (7, "") if ignored else (130, "stopped\n")
    assert (done.returncode, done.stderr) == expected


def test_while_the_command_line_is_made_ready(monkeypatch, capsys):
    def press():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_app", press)
    try:
        status = cli.run(["--version"])
    except KeyboardInterrupt:  # which would stop all tests
        pytest.fail("it got through")
    assert status == 130
    assert capsys.readouterr().err == "stopped\n"


def test_the_installed_command_begins_there():
    command = next(iter(importlib.metadata.entry_points(group="console_scripts", name="shotnoise")))
    assert command.value == "shotnoise.__main__:main"
