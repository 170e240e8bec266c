"""One server for all tests here, as a process of its own: what libraries warn of in there is theirs."""

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from shotnoise.images import Image, save_image

LIMITS = ("--max-upload", "3", "--max-pixels", "0.05", "--max-files", "4")


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    temporary: Path
    process: subprocess.Popen


def start(folder: Path, *options: str) -> Running:
    """Start a server on a free port, and wait until it says where it is."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    command = [sys.executable, "-m", "shotnoise", "serve", "--port", "0", "--threads", "1", "--engine", "onnxruntime"]
    with (folder / "err.txt").open("w") as errors:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
            # A shell that starts us in the background makes us deaf to Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    line = process.stdout.readline()
    assert line.startswith("shotnoise serves on http://"), (folder / "err.txt").read_text()
    return Running(line.split()[3], temporary, process)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("gradio is not installed: pip install 'shotnoise[web]'")
    folder = tmp_path_factory.mktemp("server")
    running = start(folder, *LIMITS)
    yield running
    running.process.send_signal(signal.SIGINT)
    status = running.process.wait(30)
    running.process.stdout.close()
    errors = (folder / "err.txt").read_text()
    assert (status, errors[-8:]) == (130, "stopped\n")
    assert errors.count("Traceback") == errors.count("RefusedError: a")  # an address, a file: of two tests
    assert [path.name for path in running.temporary.iterdir()] == []


@pytest.fixture(scope="session")
def noisy(tmp_path_factory):
    """A noisy picture, 140 x 120."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :140]
    scene = 128 + 60 * np.sin(x / 17)[..., None] * np.cos(y / 23)[..., None] * np.array([1.0, 0.8, -0.5])
    path = tmp_path_factory.mktemp("pictures") / "noisy.png"
    save_image(Image(np.clip(scene + rng.normal(0, 20, scene.shape), 0, 255).astype(np.uint8)), path)
    return path
