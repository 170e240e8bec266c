"""Ctrl-C during a training: it ends where a batch ends, with everything written; pressed again, it ends at once.

Python turns Ctrl-C into an exception wherever the program happens to be. Where that is a destructor, or a callback of
C code such as the writing of a checkpoint has, the exception is printed and lost. So a press only leaves a mark here,
and the training looks at it when it is in order.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interruption", "Stopped"]


class Stopped(BaseException):
    """The training ends because it was asked to.

    Not a KeyboardInterrupt, for which Lightning would ignore the signal from then on and leave the program.
    """


class Interruption:
    """For the time of a `with` block Ctrl-C is only noted; the block then ends with :class:`KeyboardInterrupt`.

    A program that handles or ignores Ctrl-C in its own way keeps doing so, and outside of the main thread, which is
    where Python handles signals, nothing changes.

    Attributes:
        asked: whether the training should end.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if self._before is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        # Lightning leaves the program when a KeyboardInterrupt reaches it, which somebody else's handler may raise.
        left = isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt)
        if left or (self.asked and (kind is None or kind is Stopped)):
            raise KeyboardInterrupt from None

    def check(self) -> None:
        """End the training here if it was asked to."""
        if self.asked:
            raise Stopped

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.asked:
            raise Stopped
        self.asked = True
