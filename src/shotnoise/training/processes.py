"""Several training processes on this machine, of which the calling one is the first.

Lightning's own ways do not fit: one starts the command line of the program again, which is wrong when `train` was
called from a test or a notebook; the other trains in copies, from which no result and no progress come back.
"""

import contextlib
import multiprocessing
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

from shotnoise.errors import ShotnoiseError

__all__ = ["Place", "joined_by_helpers"]

P = ParamSpec("P")


class Place(ClusterEnvironment):
    """Which of how many processes on this machine the current one is, and where they meet.

    Args:
        rank: of this process.
        world: number of processes.
        port: a free one.
    """

    def __init__(self, rank: int, world: int, port: int) -> None:
        super().__init__()
        self.rank, self.world, self.port = rank, world, port

    creates_processes_externally = True
    main_address = "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Where the processes meet."""
        return self.port

    @staticmethod
    def detect() -> bool:
        """Never found by looking around: it is always given."""
        return False

    def world_size(self) -> int:
        """How many processes there are."""
        return self.world

    def set_world_size(self, size: int) -> None:
        """Fixed."""

    def global_rank(self) -> int:
        """Which one this is."""
        return self.rank

    def set_global_rank(self, rank: int) -> None:
        """Fixed."""

    def local_rank(self) -> int:
        """Which one this is."""
        return self.rank

    def node_rank(self) -> int:
        """There is one machine."""
        return 0


@contextlib.contextmanager
def joined_by_helpers(
    world: int, target: Callable[Concatenate[Place, P], None], *args: P.args, **kwargs: P.kwargs
) -> Iterator[Place]:
    """Run `target(place, ...)` in `world` - 1 further processes for the time of the block, which is the first one.

    The cores of the machine are shared out evenly. The helpers are started fresh, so a script that gets here must
    protect its main part with ``if __name__ == "__main__":``. They end with the block at the latest, however it ends.

    Args:
        world: number of processes in all.
        target: what the others do; a function of a module.
        args: its arguments after the place; they travel to the other processes.
        kwargs: likewise.
    """
    with socket.socket() as probe:
        probe.bind((Place.main_address, 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    helpers = [
        context.Process(target=_help, args=(target, Place(rank, world, port), args, kwargs)) for rank in range(1, world)
    ]
    threads = torch.get_num_threads()
    try:
        for helper in helpers:
            helper.start()
        torch.set_num_threads(max(1, threads // world))
        yield Place(0, world, port)
        for helper in helpers:
            helper.join(timeout=30)
    finally:
        for helper in helpers:
            if helper.is_alive():
                helper.kill()
                helper.join()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        torch.set_num_threads(threads)


def _help(target: Callable[..., None], place: Place, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    torch.set_num_threads(max(1, torch.get_num_threads() // place.world))
    with contextlib.suppress(ShotnoiseError):  # which the first one meets too, and tells
        target(place, *args, **kwargs)
