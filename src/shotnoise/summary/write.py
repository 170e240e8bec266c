"""The page on disk."""

import os
from pathlib import Path
from typing import BinaryIO

from shotnoise.errors import PictureError, RecipeError
from shotnoise.images._disk import target, write
from shotnoise.summary.page import page
from shotnoise.summary.record import PAGE, RunRecord, read_run

__all__ = ["write_summary"]


def write_summary(run: str | os.PathLike[str] | RunRecord, path: str | os.PathLike[str] | None = None) -> Path:
    """Write the summary of a run: one HTML page that needs nothing else, completely or not at all.

    Args:
        run: its folder, or what was read from it.
        path: where to; `summary.html` in the folder without it.

    Raises:
        RecipeError: it is no run folder, or the page cannot be written.
    """
    record = run if isinstance(run, RunRecord) else read_run(run)
    place = record.folder / PAGE if path is None else Path(path)
    content = page(record).encode()

    def put(file: BinaryIO) -> None:
        file.write(content)

    try:
        write(target(place, overwrite=True), put)
    except PictureError as error:
        raise RecipeError(f"{place}: {error}") from None
    except OSError as error:
        raise RecipeError(f"{place}: cannot be written ({error.strerror}); choose another place") from None
    return place
