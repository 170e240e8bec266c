"""Ctrl-C after OpenVINO has run."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import signal
from shotnoise.bundled import find_model
from shotnoise.engines import open_engine

first, second = (open_engine(find_model("photo"), "openvino", threads=1) for _ in range(2))
del first, second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("options", [[], ["-X", "faulthandler"]])
def test_it_is_an_exception_and_not_the_end_of_python(options):
    """Models that go in the order in which they came leave the stack of signals where it was."""
    done = subprocess.run([sys.executable, *options, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
