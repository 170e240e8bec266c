"""Libraries that would report their use are told not to before they can be imported."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("variable", ["ORT_DISABLE_TELEMETRY", "NNCF_CI"])
def test_importing_shotnoise_switches_reports_off(variable):
    clean = {name: value for name, value in os.environ.items() if name != variable}
    code = (
        "import shotnoise, os, sys; assert not {'onnxruntime', 'nncf'} & set(sys.modules); "
        f"print(os.environ['{variable}'])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr
