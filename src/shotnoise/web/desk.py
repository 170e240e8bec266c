"""Where work waits and is done: a queue, and one process or several that can be ended at any moment."""

import itertools
import logging
import math
import multiprocessing
import signal
import threading
import time
from collections import deque
from concurrent.futures import Future
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from shotnoise.web.limits import Limits, RefusedError
from shotnoise.web.worker import work

__all__ = ["Desk", "Ticket"]

logger = logging.getLogger(__name__)

_OFTEN = 0.05  # seconds between two looks at whether work was cancelled
_numbers = itertools.count(1)


class Ticket:
    """One piece of work.

    Attributes:
        result: comes in here, or a :class:`~shotnoise.web.limits.RefusedError`.
        share: how much is done, up to 1.
        started: whether it is under way.
    """

    def __init__(self, task: str, arguments: dict[str, Any], seconds: float) -> None:
        self.task, self.arguments, self.seconds = task, arguments, seconds
        self.number = next(_numbers)
        self.result: Future[dict[str, Any]] = Future()
        self.share = 0.0
        self.started = False
        self.cancelled = threading.Event()

    @property
    def done(self) -> bool:
        """Whether the result is there, good or bad."""
        return self.result.done()

    def cancel(self) -> None:
        """Nobody wants the result."""
        self.cancelled.set()


class Desk:
    """Takes work, and does it in turn.

    Args:
        limits: how much waits, and how long a piece may take.
        processes: that work side by side.
    """

    def __init__(self, limits: Limits, processes: int = 1) -> None:
        self.limits = limits
        self._waiting: deque[Ticket] = deque()
        self._working: set[Ticket] = set()
        self._change = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(processes)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: str, *, seconds: float | None = None, **arguments: Any) -> Ticket:
        """Hand in work.

        Args:
            task: name in :data:`~shotnoise.web.worker.TASKS`.
            seconds: that it may take; None: what the limits say.
            arguments: of the task.

        Raises:
            RefusedError: too much is waiting.
        """
        ticket = Ticket(task, arguments, self.limits.seconds if seconds is None else seconds)
        with self._change:
            free = len(self._threads) - len(self._working)
            if len(self._waiting) >= self.limits.queue + free:
                raise RefusedError(
                    f"{len(self._waiting)} files are waiting already, and no more than {self.limits.queue} may; try "
                    "again in a while",
                    503,
                )
            self._waiting.append(ticket)
            self._change.notify()
        return ticket

    def ahead(self, ticket: Ticket) -> int:
        """How many pieces of work come before this one, those under way included."""
        with self._change:
            before = sum(other.number < ticket.number and not other.cancelled.is_set() for other in self._waiting)
            return 0 if ticket.started else before + len(self._working)

    @property
    def load(self) -> tuple[int, int]:
        """How many pieces of work wait, and how many are under way."""
        with self._change:
            return len(self._waiting), len(self._working)

    def close(self) -> None:
        """Stop all work, and wait until the processes have ended."""
        with self._change:
            self._closed = True
            for ticket in (*self._waiting, *self._working):
                ticket.cancel()
            self._change.notify_all()
        for thread in self._threads:
            thread.join(5)

    def _serve(self) -> None:
        """One thread, which looks after one process."""
        if hasattr(signal, "pthread_sigmask"):  # processes that are begun here do not hear Ctrl-C from the very start
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        worker = _Worker()
        try:
            while (ticket := self._next()) is not None:
                try:
                    ticket.result.set_result(self._through(worker, ticket))
                except RefusedError as error:
                    ticket.result.set_exception(error)
                except Exception as error:  # a defect of ours must not end the thread
                    logger.exception("unexpected error")
                    ticket.result.set_exception(RefusedError(f"unexpected {type(error).__name__}: {error}", 500))
                with self._change:
                    self._working.discard(ticket)
        finally:
            worker.end()

    def _next(self) -> Ticket | None:
        with self._change:
            while not self._waiting:
                if self._closed:
                    return None
                self._change.wait()
            ticket = self._waiting.popleft()
            self._working.add(ticket)
            ticket.started = not ticket.cancelled.is_set()
            return ticket

    def _through(self, worker: "_Worker", ticket: Ticket) -> dict[str, Any]:
        if ticket.cancelled.is_set():
            raise RefusedError("was cancelled", 499)
        pipe = worker.begin()
        until = math.inf  # until the process is ready, if it was just begun
        try:
            if worker.ready:
                until = time.monotonic() + ticket.seconds
            pipe.send((ticket.task, ticket.arguments))
            while True:
                if pipe.poll(_OFTEN):
                    kind, value = pipe.recv()
                    if kind == "ready":
                        worker.ready, until = True, time.monotonic() + ticket.seconds
                    elif kind == "share":
                        ticket.share = value
                    elif kind == "done":
                        return dict(value)
                    else:
                        raise RefusedError(value, 422 if kind == "refused" else 500)
                elif ticket.cancelled.is_set():
                    worker.end()
                    raise RefusedError("was cancelled", 499)
                elif time.monotonic() > until:
                    worker.end()
                    raise RefusedError(
                        f"took longer than the {ticket.seconds:g} seconds that this server allows and was "
                        "stopped; expected a smaller picture or a faster model",
                        504,
                    )
        except (EOFError, OSError):
            worker.end()
            raise RefusedError(
                "the process that worked on it died, perhaps for lack of memory, or the file is damaged in an unusual "
                "way; try a smaller one",
                500,
            ) from None


class _Worker:
    """A process and the pipe to it; begun when it is needed, and again when it was lost."""

    def __init__(self) -> None:
        self.ready = False
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def begin(self) -> Connection:
        """The pipe to a process that lives."""
        if self._process is None or self._pipe is None or not self._process.is_alive():
            self.end()
            context = multiprocessing.get_context("spawn")
            self._pipe, other = context.Pipe()
            self._process = context.Process(target=work, args=(other,), daemon=True)
            self._process.start()
            other.close()
        return self._pipe

    def end(self) -> None:
        """Without asking: a long computation hears no questions."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
        self.ready = False
