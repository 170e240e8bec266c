"""The work itself: one file after the other, or several processes side by side."""

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from shotnoise.batch.file import FileReport, Job, Task, Workers, denoise_file, naming
from shotnoise.batch.options import Options
from shotnoise.batch.places import Kind
from shotnoise.errors import EngineError, ShotnoiseError

__all__ = ["LARGE", "Results", "start", "told_to_leave"]

LARGE = 100 * 2**20
"""Bytes of a picture above which no other one is read or written meanwhile: memory then counts more than time."""

Results = Generator[tuple[Job, FileReport], None, None]
Tell = Callable[[Path, float], None]


def start(
    options: Options, todo: Sequence[Job], jobs: int, tell: Tell, workers: Workers | None = None
) -> tuple[dict[Kind, dict[str, Any]], Results]:
    """Open the models, and set out.

    Args:
        options: how to denoise.
        todo: the files, at least one.
        jobs: processes; 1 works in this one.
        tell: called with a file and the share of it that is done: 0 when it begins, more with one job only.
        workers: denoisers that are open already, with the same options.

    Returns:
        What runs for the files of each kind, and the reports as they come. Where there are files of both kinds, those
        of one for which nothing can run fail.
    """
    jobs = min(jobs, len(todo))
    if jobs > 1 and options.threads is None:
        options = replace(options, threads=max(1, _cores() // jobs))
    workers = workers or Workers(options)  # here too with several jobs: an unusable model is found before any work
    running: dict[Kind, dict[str, Any]] = {}
    refused: dict[Kind, ShotnoiseError] = {}
    for kind in dict.fromkeys(job.place.kind for job in todo):
        try:
            running[kind] = workers.describe(kind)
        except ShotnoiseError as error:
            refused[kind] = error
    if not running:
        raise next(iter(refused.values()))
    able = [job for job in todo if job.place.kind in running]
    results = _alone(workers, able, tell) if jobs == 1 else _side_by_side(options, able, jobs, tell)
    return running, _with_refused(results, todo, refused)


def _with_refused(results: Results, todo: Sequence[Job], refused: Mapping[Kind, ShotnoiseError]) -> Results:
    """The reports of what runs, behind those of what cannot."""
    with contextlib.closing(results):
        for job in todo:
            if job.place.kind in refused:
                yield job, FileReport.of(job.place, "failed", error=naming(job.input, str(refused[job.place.kind])))
        yield from results


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _alone(workers: Workers, todo: Sequence[Job], tell: Tell) -> Results:
    """One file after the other: while one is in the model, the one before is written and the next one is read."""
    tasks = [Task(workers, job, functools.partial(tell, job.input)) for job in todo]
    ahead: Future[None] | None = None
    behind: tuple[Job, Future[FileReport]] | None = None
    with ThreadPoolExecutor(1, "files") as disk:
        try:
            for task, following in itertools.zip_longest(tasks, tasks[1:]):
                tell(task.job.input, 0.0)
                if ahead is None:
                    task.read()
                else:
                    ahead.result()
                by_itself = following is None or task.held > LARGE
                ahead = None if by_itself else disk.submit(following.read)
                task.run()
                if behind is not None:
                    yield behind[0], behind[1].result()
                behind = None if by_itself else (task.job, disk.submit(task.write))
                if by_itself:
                    yield task.job, task.write()
        finally:  # Ctrl-C, or the caller gave up: nothing more is read, but what came out of the model is written
            if ahead is not None:
                ahead.cancel()


def _side_by_side(options: Options, todo: Sequence[Job], jobs: int, tell: Tell) -> Results:
    """Several processes. When one dies, the files that were under way have failed, and the others go on."""
    waiting = list(reversed(todo))
    others = set(multiprocessing.active_children())
    while waiting:
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _prepare_worker, (options,))
        running: dict[Future[FileReport], Job] = {}
        started = broken = False
        try:
            while running or (waiting and not broken):
                begun: list[Job] = []  # told of afterwards: a pool that breaks while it grows trips over itself
                while waiting and len(running) < jobs and not broken:
                    try:
                        with _deaf_children():
                            running[pool.submit(_denoise_in_worker, waiting[-1])] = waiting[-1]
                    except (BrokenProcessPool, OSError, ValueError) as error:  # the latter: it broke a moment ago
                        if not started:
                            raise EngineError(f"cannot start {jobs} processes ({error}); try fewer jobs") from None
                        broken = True
                    else:
                        started = True
                        begun.append(waiting.pop())
                for job in begun:
                    tell(job.input, 0.0)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        report = future.result()
                    except BrokenProcessPool:
                        broken = True
                        reason = "the process died while working on it, perhaps for lack of memory; try fewer jobs"
                        report = FileReport.of(job.place, "failed", error=naming(job.input, reason))
                    yield job, report
        except BaseException:  # Ctrl-C, or the caller gave up: nobody waits for the results
            _end([process for process in multiprocessing.active_children() if process not in others])
            raise
        finally:
            if broken:  # a process that was just being started when the pool broke would be waited for in vain
                _end([process for process in multiprocessing.active_children() if process not in others])
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes begun in here do not hear Ctrl-C, which reaches all of them: their parent decides."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: deaf only from the initialiser on
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: list[BaseProcess]) -> None:
    """Ask, wait for a moment, then insist: a worker inside a long computation does not hear the question."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + 1
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        process.kill()
        process.join()


_workers = Workers(Options())  # of a worker process


def _prepare_worker(options: Options) -> None:
    global _workers
    _workers = Workers(options)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    """Leave when the parent was killed: the queue between us would be waited at for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  # this is a process of a pool
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def told_to_leave() -> Iterator[None]:
    """What ends a process at once is an exception in here, so that nothing is left half there on the way out.

    For the main thread. What somebody ignores, as nohup does, stays ignored.
    """
    acts: dict[int, Callable[[int, object], None]] = {signal.SIGTERM: _leave}
    if hasattr(signal, "SIGHUP"):  # as if told to end: a server then ends in its own way
        acts[signal.SIGHUP] = lambda *_: signal.raise_signal(signal.SIGTERM)
    taken = {number: act for number, act in acts.items() if signal.getsignal(number) is signal.SIG_DFL}
    for number, act in taken.items():
        signal.signal(number, act)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _denoise_in_worker(job: Job) -> FileReport:
    try:
        return denoise_file(_workers, job)
    except SystemExit as leaving:
        os._exit(int(str(leaving)))  # the pool would take it for a result and go on
