"""What every reader shares: its result, the pixel limit, and one kind of error whatever a library throws."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy.typing as npt

from shotnoise.errors import PictureError

__all__ = ["MAX_PIXELS", "Decoded", "check_size", "decoding", "one_line"]

MAX_PIXELS = 2**28
"""Height times width that is read unless told otherwise: 268 million, 16384 x 16384."""

_WARNING = r"(PIL|tifffile|numpy|shotnoise\.images)\b"  # modules that warn of files, or are said to by a stack level
_TALKATIVE = ("tifffile", "imagecodecs")  # loggers that report on files


class Decoded(NamedTuple):
    """What a file holds, as stored: not turned, alpha as last channel."""

    array: npt.NDArray[Any]
    icc: bytes | None = None
    exif: bytes | None = None  # TIFF-structured, with the orientation of the file
    notes: tuple[str, ...] = ()


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture by what its header claims, before anything is allocated."""
    if width < 1 or height < 1:
        raise PictureError(f"claims a size of {width} x {height} pixels; expected at least 1 x 1")
    if width * height > max_pixels:
        raise PictureError(
            f"claims {width} x {height} pixels, more than the limit of {max_pixels:,}; raise max_pixels to read it"
        )


def one_line(error: BaseException) -> str:
    """The words of an exception, fit for the inside of a message."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 160 else words[:157] + "..."


@contextmanager
def decoding(kind: str) -> Iterator[None]:
    """Around calls into a decoding library: a broken file may trip any exception in there.

    Args:
        kind: name of the format, for the message.
    """
    try:
        with _silence:
            yield
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError(f"is a {kind} picture that does not fit into the memory of this machine") from error
    except Exception as error:
        raise PictureError(
            f"cannot be decoded as {kind}; it is damaged, cut off or of a rare kind ({one_line(error)})"
        ) from error


class _Silence(logging.Filter):
    """Keeps the complaints of the libraries about broken files to ourselves: our error says what matters.

    `warnings.catch_warnings` alone would be wrong here: it swaps a list of the whole process, and two threads
    that leave in the order they came would leave the swapped one behind. So the first reader swaps it and the
    last one swaps it back. Log records are dropped for the threads that read, and for no others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._readers: list[int] = []
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=_WARNING)
                for name in _TALKATIVE:
                    logging.getLogger(name).addFilter(self)
            self._readers.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers.remove(threading.get_ident())
            if not self._readers:
                for name in _TALKATIVE:
                    logging.getLogger(name).removeFilter(self)
                self._caught.__exit__(None, None, None)

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self._readers


_silence = _Silence()
