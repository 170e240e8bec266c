"""Every tutorial runs as it is printed: its files are written, its commands typed, in an empty folder.

Trainings are shortened by what a comment before the block says, and nothing else is changed.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from shotnoise.cli import run

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
BLOCK = re.compile(
    r"(?:<!-- the test trains shorter: (?P<shorter>.*?) -->\n)?```(?P<kind>[^\n]*)\n(?P<text>.*?)```", re.S
)
NEEDS = {"mri": ["torch", "nibabel"], "scientist": ["torch"], "camera-engineer": ["torch", "onnx"]}
LEFT = {
    "photographer": ["quiet.png", "softer.png", "quiet.dng", "quiet.jpg", "clean/1.png", "clean/2.dng"],
    "many-files": ["outbox/a/4.png", "outbox/b/3.dng", "from-python-1.png"],
    "scientist": ["fit.tif", "restored/05.tif", "one.tif"],
    "mri": ["clean.nii.gz", "runs/mri/best.safetensors"],
    "camera-engineer": ["camera.profile.yaml", "with-profile.jpg", "camera.int8.onnx", "clean.dng"],
}


@pytest.mark.parametrize("name", sorted(LEFT))
def test_it_runs_as_printed(name, tmp_path, monkeypatch, capfd):
    for module in NEEDS.get(name, []):
        pytest.importorskip(module)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.chdir(tmp_path)
    for block in BLOCK.finditer((TUTORIALS / f"{name}.md").read_text(encoding="utf-8")):
        kind, text = block["kind"], block["text"]
        if titled := re.fullmatch(r'python title="(.*)"', kind):
            Path(titled[1]).write_text(text, encoding="utf-8")
        elif kind == "console":
            for command, expected in typed(text):
                if block["shorter"] and command.startswith("shotnoise train"):
                    command += "".join(f" --set {shlex.quote(change)}" for change in block["shorter"].split())
                status = entered(command)
                out, err = capfd.readouterr()
                assert status == 0, f"$ {command}\n{out}{err}"
                assert expected in out, f"$ {command}\n{out}\nwhere the page has\n{expected}"
    assert not [path for path in LEFT[name] if not Path(path).is_file()]


def test_every_tutorial_is_run():
    assert {path.stem for path in TUTORIALS.glob("*.md")} == set(LEFT)


def typed(text):
    """Commands, and what the page shows of their output."""
    command, shown = "", []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, "\n".join(shown)
            command, shown = line[2:], []
        else:
            shown.append(line)
    yield command, "\n".join(shown)


def entered(command):
    """Exit status; a plain shotnoise command runs in this process, which saves the start of Python and torch."""
    words = shlex.split(command)
    if words[0] == "shotnoise" and not {"&&", "||", ">", "|", "#"} & set(words):
        return run(words[1:])
    return subprocess.run(["bash", "-c", command], timeout=300).returncode
