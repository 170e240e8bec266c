"""What one does with a run next, as commands."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Command", "commands"]

_PROTOCOLS = {"raw": "raw/kodak24/iso1600", "mri": "mri/kspace"}


class Command(NamedTuple):
    """A line for the shell and what it is for; `verb` is the one of shotnoise."""

    verb: str
    purpose: str
    line: str


def commands(
    folder: Path, kind: str, recipe: Mapping[str, Any], *, finished: bool, processes: int = 1
) -> list[Command]:
    """What to do with a run.

    Args:
        folder: of the run.
        kind: of its model: rgb, gray, raw or mri.
        recipe: as it was resolved.
        finished: whether the schedule is at its end.
        processes: how many trained together.
    """
    run = shlex.quote(str(folder))
    protocol = _PROTOCOLS.get(kind, "kodak24")
    if kind == "rgb" and recipe.get("noise") is None and (recipe.get("pairs") or {}).get("name") == "stored":
        protocol = "pairs/folder"
    noisy = {"raw": "noisy.dng", "mri": "volume.nii.gz"}.get(kind, "noisy.png")
    found = [
        Command("evaluate", "measure it", f"shotnoise evaluate {run} --protocol {protocol} --data DIR"),
        Command("denoise", "try it on a file of yours", f"shotnoise denoise {noisy} --model {run}"),
        Command("export", "one file that runs without torch", f"shotnoise export {run} -o model.onnx"),
    ]
    if not finished:
        many = f" --devices {processes}" if processes > 1 else ""
        found.insert(0, Command("train", "go on where it ended", f"shotnoise train --resume {run}{many}"))
    return found
