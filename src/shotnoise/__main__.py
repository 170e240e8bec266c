"""Where the `shotnoise` command begins, and `python -m shotnoise`: Ctrl-C is provided for before anything else."""

import os
import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line. While the command itself is imported, nothing is worth more than one line on Ctrl-C."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, as under nohup
    if is_ours:
        signal.signal(signal.SIGINT, _stop)
    from shotnoise.cli import main as command

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _stop(*_: object) -> None:
    """At once: an exception in the middle of an import may be swallowed, or come out as another one."""
    os.write(2, b"stopped\n")
    os._exit(130)


if __name__ == "__main__":
    main()
