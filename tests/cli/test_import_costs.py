"""What a command imports: the verb that is called, and of the libraries those that its files need."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from shotnoise.images import save_image

LOOK = """
import json, sys
from shotnoise.cli import run
status = run(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]))
"""
HEAVY = {
    "PIL", "imagecodecs", "lightning", "lmdb", "matplotlib", "onnx", "onnxruntime", "openvino", "rawpy", "scipy",
    "tifffile", "torch", "yaml",
}  # fmt: skip


def imported(*arguments, cwd=None):
    """All modules that a command line has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *arguments], capture_output=True, text=True, cwd=cwd, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    return set(modules)


def test_help_imports_no_verb():
    modules = imported("--help")
    assert not HEAVY & modules
    assert not {"numpy", "rich.progress"} & modules
    assert not [name for name in modules if name.startswith("shotnoise.cli.") or name == "shotnoise.batch"]


@pytest.mark.parametrize("verb", ["denoise", "doctor"])
def test_the_help_of_a_verb_imports_that_verb(verb):
    modules = imported(verb, "--help")
    assert not (HEAVY & modules) - {"yaml"}
    assert [name for name in modules if name.startswith("shotnoise.cli.")] == [f"shotnoise.cli.{verb}"]


def test_denoising_a_png_imports_what_that_needs(tmp_path):
    save_image(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8), tmp_path / "noisy.png")
    modules = imported("denoise", "noisy.png", "--engine", "onnxruntime", "--threads", "1", cwd=tmp_path)
    assert (tmp_path / "noisy_clean.png").is_file()
    assert HEAVY & modules == {"imagecodecs", "onnxruntime"}
    # A bar is for terminals, RAW and volumes for those who have some.
    assert not {"rich.progress", "shotnoise.raw_denoiser", "shotnoise.sensor.profile", "nibabel"} & modules


def test_an_unknown_verb_is_answered_without_any(capsys):
    from shotnoise.cli import run

    assert run(["denois"]) == 2
    assert "Did you mean 'denoise'" in capsys.readouterr().err
