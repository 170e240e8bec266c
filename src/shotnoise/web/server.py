"""Starting and ending: the place on the network, the folder for temporary files, and one line each."""

import ipaddress
import logging
import math
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from shotnoise.batch import Options
from shotnoise.batch.work import told_to_leave
from shotnoise.errors import ShotnoiseError, require
from shotnoise.web.desk import Desk, Ticket
from shotnoise.web.limits import Limits, RefusedError
from shotnoise.web.settings import Model, Offer
from shotnoise.web.shelf import Shelf, private_folder

__all__ = ["ServerError", "is_here", "serve"]

_SHORTEST = 8  # characters of a token
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime would report what it runs to its makers
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


class ServerError(ShotnoiseError):
    """The server cannot start."""


def serve(
    offer: Offer,
    limits: Limits,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    open_to_all: bool = False,
    processes: int = 1,
    root_path: str = "",
    say: Callable[[str], None],
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        offer: what can be chosen.
        limits: what is taken on.
        host: address or name to bind to.
        port: 0 takes any that is free.
        token: which everybody must show.
        open_to_all: whether an address that others can reach may do without a token.
        processes: that work side by side.
        root_path: under which a proxy shows the server.
        say: told where the server is, when it is ready.
        begin: told that it will take a moment, once nothing stands against it.

    Raises:
        ServerError: the place is taken, or others could reach it without a token.
        ShotnoiseError: a model cannot be offered.
    """
    here = is_here(host)
    if token is not None and len(token) < _SHORTEST:
        raise ServerError(f"the token has {len(token)} characters; expected at least {_SHORTEST}; take {_fresh()}")
    if not here and token is None and not open_to_all:
        raise ServerError(
            f"{host} can be reached by others, and there is no token; say --token {_fresh()}, or --no-token if "
            "something else guards it"
        )
    with _bound(host, port) as place:
        begin()
        os.environ.update(_QUIET)  # before Gradio is imported, and for the processes that work
        with told_to_leave(), private_folder() as root, _temporary_files_in(str(root)):
            desk = Desk(limits, processes)
            try:
                asked = _ask_for_models(desk, offer)
                require("gradio", "web", "shotnoise serve")  # which takes as long as opening models does
                from shotnoise.web.app import make_app

                _introduce(asked, offer)
                shelf = Shelf(root, limits.idle)
                app = make_app(
                    desk, shelf, offer, limits,
                    token=token, here=here, any_host=open_to_all, root_path=root_path,
                )  # fmt: skip
                logging.getLogger("uvicorn.error").addFilter(_Calm())
                # Pages that are open keep a connection, which nobody waits for at the end.
                config = uvicorn.Config(
                    app, http="h11",  # the one that limits the headers of a request, whatever else is installed
                    log_level="error", access_log=False, timeout_graceful_shutdown=1, server_header=False,
                )  # fmt: skip
                guarded = "with a token" if token else "without a token"
                reach = "this machine only" if here else f"for everybody who can reach {host}, {guarded}"
                where = f"http://{_address(host)}:{place.getsockname()[1]}"
                _Server(config, lambda: say(f"shotnoise serves on {where} ({reach}); Ctrl-C ends it")).run([place])
            finally:
                desk.close()


def is_here(host: str) -> bool:
    """Whether an address or name reaches this machine alone.

    >>> is_here("127.0.0.1"), is_here("::1"), is_here("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise ServerError(
            f"the host '{host}' is unknown here ({error.strerror}); expected an address of this machine, as 127.0.0.1"
        ) from None
    return all(ipaddress.ip_address(address.split("%")[0]).is_loopback for address in found)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """The port is ours from the first moment: what takes seconds comes later."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as place:
        if os.name == "posix":  # where it means that old connections may still be dying, and nothing else
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((host, port))
            place.listen(128)
        except OSError as error:
            raise ServerError(
                f"cannot listen on port {port} of {host} ({error.strerror}); expected a free one; choose another with "
                "--port, or --port 0 for any"
            ) from None
        yield place


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    """Of this process: those of Gradio and of uploads on their way."""
    before = tempfile.tempdir
    tempfile.tempdir = folder
    os.environ["GRADIO_TEMP_DIR"] = os.path.join(folder, "gradio")
    try:
        yield
    finally:
        tempfile.tempdir = before
        os.environ.pop("GRADIO_TEMP_DIR", None)


def _ask_for_models(desk: Desk, offer: Offer) -> Ticket:
    """Open the models once: one that is unusable is found before anybody asks for it."""
    options = Options(engine=offer.engine, precision=offer.precision, provider=offer.provider, threads=offer.threads)
    return desk.submit("describe", seconds=math.inf, sources=offer.sources, options=options)


def _introduce(asked: Ticket, offer: Offer) -> None:
    """What they say about themselves, for the page and for `GET /api`."""
    try:
        while not asked.done:  # in short waits, so that Ctrl-C is heard
            time.sleep(0.02)
        found = asked.result.result()
    except RefusedError as error:
        raise ServerError(str(error)) from None
    offer.known.update({name: Model(name, offer.sources[name], **facts) for name, facts in found["models"].items()})
    offer.engines = tuple(found["engines"])


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _fresh() -> str:
    return secrets.token_urlsafe(16)


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


class _Calm(logging.Filter):
    """Connections that are cut at the end are no error."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "timeout graceful shutdown" not in record.getMessage()
