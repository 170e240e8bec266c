"""Every exception that shotnoise raises on purpose.

::

    ShotnoiseError              what users see: one line, what was given, what was expected, what to do
    ├── PictureError            a picture cannot be read, written or processed
    ├── ModelError              a model file, checkpoint or card is unusable, or does not fit the picture
    ├── EngineError             an engine is missing on this machine or failed to run
    ├── ProfileError            a noise profile cannot be read, or does not answer the question
    ├── StoreError              a sample store is foreign, truncated or half written
    ├── RecipeError             a recipe or an option in it makes no sense
    └── MissingExtraError       an optional part of shotnoise is not installed

A command ends with exit status 1 and the message when one of these arrives; any other exception is a defect
of ours and shows its traceback.
"""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

__all__ = [
    "EngineError",
    "MissingExtraError",
    "ModelError",
    "PictureError",
    "ProfileError",
    "RecipeError",
    "ShotnoiseError",
    "StoreError",
    "nearest",
    "require",
]


class ShotnoiseError(Exception):
    """Base of all errors that are the input's fault, not ours. The message is one line, ready for a user."""


class PictureError(ShotnoiseError):
    """A picture cannot be read, written or processed."""


class ModelError(ShotnoiseError):
    """A model file, checkpoint or card is unusable, or does not fit the picture."""


class EngineError(ShotnoiseError):
    """An engine is missing on this machine or failed to run."""


class ProfileError(ShotnoiseError):
    """A noise profile cannot be read or made, or does not answer the question."""


class StoreError(ShotnoiseError):
    """A sample store is foreign, truncated or half written."""


class RecipeError(ShotnoiseError):
    """A recipe or an option in it makes no sense."""


class MissingExtraError(ShotnoiseError):
    """An optional part of shotnoise is not installed."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Words for an unknown name: the closest valid one, then all of them.

    >>> nearest("dncn", ["dncnn", "shotnet"])
    "did you mean 'dncnn'? Known: dncnn, shotnet"
    """
    known = sorted(valid)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}Known: {', '.join(known) or 'none'}"


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Args:
        module: dotted name of the module.
        extra: the extra of shotnoise that installs it.
        purpose: what the user was trying to do, as in "training".
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.split(".")[0]):
            raise
        raise MissingExtraError(
            f"{purpose} needs the package '{error.name}', which is not installed: pip install 'shotnoise[{extra}]'"
        ) from None
