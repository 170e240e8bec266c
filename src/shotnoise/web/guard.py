"""What every request passes: who may ask, how much it may bring, and what the answer lets a browser do.

* Without a token, a server that answers only this machine answers only requests that name this machine, so that no
  web page can reach it under a name of its own; and requests that a page of another site makes are refused.
* With a token, everybody shows it: as `Authorization: Bearer TOKEN`, or once to the page, which then gets a cookie
  that holds not the token but a number derived from it.
* Of the routes that Gradio brings only those are open that the page needs.
* A browser that obeys the content policy sends nothing to any other machine.
"""

import asyncio
import hashlib
import hmac
import html
import json
import secrets
import shutil
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from shotnoise.web.limits import MEGA, Limits, RefusedError

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

# Of Gradio: the page itself, and how it sends a file, starts an event, hears of it and says that it is still open.
_OPEN = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")
_OPEN_EXACTLY = (
    "/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json",
    "/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/queue/join", "/gradio_api/queue/data",
    "/gradio_api/startup-events", "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/theme.css",
)  # fmt: skip
_OURS = ("/api", "/view/", "/web/")
_SMALL = MEGA  # bytes of a request beside the files in it
_SPARE = 1000 * MEGA  # bytes of the disk that are left alone
_SLOWLY = 0.5  # seconds before a wrong token is answered
_PATIENCE = 60.0  # seconds for which nothing comes of a request that has begun


class Guard:
    """Stands before the application.

    Args:
        app: the application.
        token: which everybody must show; None: nobody.
        any_host: whether requests may name this machine as they like, as they do when a proxy passes them on.
        limits: of the server.
        folder: where uploads go, which must have room for them.
    """

    def __init__(self, app: App, *, token: str | None, any_host: bool, limits: Limits, folder: Path) -> None:
        self.app, self.limits, self.any_host, self.folder = app, limits, any_host, folder
        self._token = None if token is None else token.encode()
        self._key = secrets.token_bytes(32)
        self._cookie = f"shotnoise-{secrets.token_hex(4)}"  # cookies do not know ports: servers side by side

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token") if path == "/" else None
        answer = _Answer(scope, headers, send)
        if (reason := self._foreign(scope["method"], headers)) is not None:
            await answer.refuse(403, reason)
        elif self._token is not None and path == "/sign-in" and scope["method"] == "POST":
            await self._sign_in(answer, receive)
        elif self._token is not None and shown:
            await self._welcome(answer, shown[0])
        elif self._token is not None and not self._knows(headers):
            if headers.get("authorization"):
                await asyncio.sleep(_SLOWLY)
            await answer.ask_for_token()
        elif not (path in _OPEN_EXACTLY or path.startswith((*_OPEN, *_OURS))):
            await answer.refuse(404, f"there is no {path} here")
        else:
            most = {"/api": self.limits.upload, "/gradio_api/upload": self.limits.pile}
            brings = next((size for start, size in most.items() if path.startswith(start)), 0)
            await self._within(brings, answer, scope, receive, send)

    def _foreign(self, method: str, headers: dict[str, str]) -> str | None:
        """Why a request does not come from where it should, if so."""
        host = headers.get("host", "")
        if not self.any_host and self._token is None and not _is_here(host):
            return (
                f"this server answers only requests to this machine, not to '{host}'; behind a proxy, start it with "
                "--token or --no-token"
            )
        if method not in ("GET", "HEAD") and headers.get("sec-fetch-site") == "cross-site":
            return "this request was made by a page of another site; use the page of this one"
        return None

    def _knows(self, headers: dict[str, str]) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(given.strip()):
            return True
        try:
            crumb = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return crumb is not None and hmac.compare_digest(crumb.value.encode(), self._derived().encode())

    def _is_token(self, given: str) -> bool:
        """In a time that does not depend on how much of it is right."""
        return self._token is not None and hmac.compare_digest(
            hashlib.sha256(given.encode("utf-8", "replace")).digest(), hashlib.sha256(self._token).digest()
        )

    def _derived(self) -> str:
        return hmac.new(self._key, self._token or b"", hashlib.sha256).hexdigest()

    async def _sign_in(self, answer: "_Answer", receive: Receive) -> None:
        body = await _swallow(receive, _SMALL)
        await self._welcome(answer, parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0])

    async def _welcome(self, answer: "_Answer", given: str) -> None:
        if not self._is_token(given):
            await asyncio.sleep(_SLOWLY)
            await answer.ask_for_token("That is not the token.")
            return
        crumb = f"{self._cookie}={self._derived()}; HttpOnly; SameSite=Strict; Path=/"
        rest = [
            (name, value)
            for name, values in parse_qs(answer.scope["query_string"].decode("latin-1")).items()
            for value in values
            if name != "token"
        ]
        # Relative: behind a proxy the page may lie anywhere.
        await answer.send(303, b"", [(b"location", b"./?" + urlencode(rest).encode()), (b"set-cookie", crumb.encode())])

    async def _within(self, brings: int, answer: "_Answer", scope: Scope, receive: Receive, send: Send) -> None:
        """The application, with a body that is no larger than it may be, and our headers on the answer."""
        most = brings + _SMALL  # what is around the files
        words = f"more than the {(brings or most) / MEGA:g} MB that one request may bring; send a smaller file"
        length = answer.headers.get("content-length", "")
        if length.isdigit() and int(length) > most:
            if "expect" not in answer.headers:  # who asks before it sends hears the answer anyway
                await _swallow(receive, 4 * most)
            await answer.refuse(413, f"the request brings {int(length) / MEGA:.1f} MB, {words}")
            return
        if brings and scope["method"] in ("POST", "PUT"):
            free = shutil.disk_usage(self.folder).free
            if free < _SPARE + (int(length) if length.isdigit() else most):
                await answer.refuse(507, f"this server has only {free / MEGA:.0f} MB left for files; try again later")
                return
        brought, more, begun = 0, True, False
        refused: RefusedError | None = None

        async def receive_within() -> Message:
            nonlocal brought, more, refused
            try:
                # When all is there, what is waited for is that the other side hangs up: as long as it likes.
                message = await asyncio.wait_for(receive(), _PATIENCE if more else None)
            except TimeoutError:
                refused = RefusedError(
                    f"nothing came for {_PATIENCE:g} seconds of a request that is not complete; send it again", 408
                )
                raise refused from None
            more = bool(message.get("more_body"))
            brought += len(message.get("body", b""))
            if brought > most:
                refused = RefusedError(f"the request brings {words}", 413)
                raise refused
            return message

        async def send_on(message: Message) -> None:
            nonlocal begun
            if refused is not None and not begun:  # whatever the application makes of it, the answer is given below
                return
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            await self.app(scope, receive_within, send_on)
        except RefusedError:
            if refused is None:
                raise
        if refused is not None and not begun:
            if more and refused.status == 413:
                await _swallow(receive, 4 * most)
            await answer.refuse(refused.status, str(refused))


async def _swallow(receive: Receive, most: int) -> bytes:
    """Hear the other side out for a while: most clients listen only when they have sent everything.

    Returns:
        The beginning of it, which is all of what is short.
    """
    begins = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            while most > 0:
                message = await receive()
                body = message.get("body", b"")
                begins += body[: _SMALL - len(begins)]
                most -= len(body)
                if not message.get("more_body"):
                    break
    return begins


class _Answer:
    """An answer that is given here."""

    def __init__(self, scope: Scope, headers: dict[str, str], send: Send) -> None:
        self.scope, self.headers, self._send = scope, headers, send

    async def send(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """The whole of it."""
        size = (b"content-length", str(len(body)).encode())
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, size, *_HEADERS]})
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, status: int, words: str) -> None:
        """One line."""
        body = json.dumps({"error": words}).encode() + b"\n"
        # Whoever is still sending is not listened to any more.
        await self.send(status, body, [(b"content-type", b"application/json"), (b"connection", b"close")])

    async def ask_for_token(self, remark: str = "") -> None:
        """A form for people, a line for programs."""
        if "text/html" not in self.headers.get("accept", ""):
            words = "this server wants a token; send the header 'Authorization: Bearer TOKEN'"
            body = json.dumps({"error": words}).encode() + b"\n"
            kind = b"application/json"
        else:
            body, kind = _FORM.replace("REMARK", html.escape(remark)).encode(), b"text/html; charset=utf-8"
        await self.send(401, body, [(b"content-type", kind), (b"www-authenticate", b"Bearer")])


_FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>shotnoise</title>
<meta name="viewport" content="width=device-width"><style>
:root{color-scheme:light dark}body{font:16px system-ui,sans-serif;max-width:22rem;margin:18vh auto;padding:0 1rem}
input,button{font:inherit;padding:.5rem .7rem;box-sizing:border-box;width:100%;margin-top:.6rem}
p{color:#c2410c;min-height:1.5em}</style>
<h1>shotnoise</h1><form method="post" action="sign-in"><label>Token, as it was given to the server
<input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Go on</button></form><p>REMARK</p></html>"""


def _is_here(host: str) -> bool:
    """Whether a Host header names this machine by a name that nobody else can give to himself."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
    return name.lower() in ("localhost", "[::1]") or (name.startswith("127.") and name.replace(".", "").isdigit())
