"""Denoising needs no torch, and importing shotnoise costs next to nothing."""

import subprocess
import sys

import numpy as np

from tiny_models import write_model


def fresh(code: str, *arguments) -> str:
    """Run code in a fresh interpreter."""
    run = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_file_is_denoised_without_torch(tmp_path):
    from PIL import Image as Pillow

    model = write_model(tmp_path / "m.onnx", level="sigma")
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)).save(tmp_path / "in.png")
    code = """
import sys
from shotnoise import Denoiser, open_image, save_image
save_image(Denoiser(sys.argv[1])(open_image(sys.argv[2])), sys.argv[3])
import shotnoise.batch, shotnoise.engines
shotnoise.engines.available_engines()
print(sorted({"torch", "lightning", "onnx", "matplotlib", "scipy", "typer"} & set(sys.modules)))
"""
    assert fresh(code, model, tmp_path / "in.png", tmp_path / "out.png").strip() == "[]"
    assert (tmp_path / "out.png").is_file()


def test_import_is_cheap():
    code = "import time; t = time.process_time(); import shotnoise; print(time.process_time() - t)"
    assert min(float(fresh(code)) for _ in range(3)) < 0.15
