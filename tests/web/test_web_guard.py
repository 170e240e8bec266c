"""Who may ask, and how much a request may bring."""

import asyncio
import json

import pytest

from shotnoise.web.guard import Guard
from shotnoise.web.limits import Limits

TOKEN = "a secret of the tests"  # noqa: S105


class Client:
    """Asks a guard that stands before an application which repeats what it is sent."""

    def __init__(self, folder, *, token=None, any_host=False, upload=2_000_000):
        self.seen = []
        self.guard = Guard(self.echo, token=token, any_host=any_host, limits=Limits(upload=upload), folder=folder)

    async def echo(self, scope, receive, send):
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        self.seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body + message["body"]})

    def ask(self, path="/", method="GET", query="", pieces=(b"",), **headers):
        named = {"host": "localhost:1", **headers}.items()
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named],
        }
        waiting = [
            None if piece is None else {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
        ]  # None: no more comes
        if waiting[-1] is not None:
            waiting[-1]["more_body"] = False
        sent = []

        async def receive():
            if waiting[0] is None:
                await asyncio.sleep(3600)
            return waiting.pop(0)

        async def send(message):
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("shotnoise.web.guard._SLOWLY", 0)
    monkeypatch.setattr("shotnoise.web.guard._SPARE", 0)


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "127.1.2.3:80", "[::1]:7860", "[::1]"])
def test_this_machine_is_answered(tmp_path, host):
    assert Client(tmp_path).ask(host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:7860", "localhost.evil.example:7860", ""]
)
def test_other_names_of_this_machine_are_not(tmp_path, host):
    status, _, body = Client(tmp_path).ask(host=host)
    assert status == 403
    assert "answers only requests to this machine" in json.loads(body)["error"]
    assert Client(tmp_path, any_host=True).ask(host=host)[0] == 200
    assert Client(tmp_path, token=TOKEN).ask("/api", host=host, authorization=f"Bearer {TOKEN}")[0] == 200


def test_other_sites_make_no_requests_here(tmp_path):
    client = Client(tmp_path)
    assert client.ask("/api/denoise", "POST", sec_fetch_site="cross-site")[0] == 403
    assert client.ask("/api/denoise", "POST", sec_fetch_site="same-origin")[0] == 200
    assert client.seen == ["/api/denoise"]


def test_browsers_are_told_to_send_nothing_elsewhere(tmp_path):
    _, headers, _ = Client(tmp_path).ask()
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert "http" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://x/",
        "/gradio_api/call/denoise",
        "/monitoring",
        "/login",
        "/gradio_api/vibe-edit/",
        "/gradio_api/file_explorer",
    ],
)
def test_routes_of_gradio_that_nobody_needs_are_closed(tmp_path, path):
    client = Client(tmp_path)
    assert client.ask(path)[0] == 404
    assert client.seen == []


def test_a_token_for_programs(tmp_path):
    client = Client(tmp_path, token=TOKEN)
    assert client.ask("/api", authorization=f"Bearer {TOKEN}")[0] == 200
    for headers in (
        {},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": TOKEN},
        {"authorization": "Bearer "},
        {"cookie": f"shotnoise={TOKEN}"},
    ):
        status, answer, body = client.ask("/api", **headers)
        assert status == 401
        assert answer["www-authenticate"] == "Bearer"
        assert "Authorization: Bearer TOKEN" in json.loads(body)["error"]
    assert client.seen == ["/api"]


def test_a_token_for_people(tmp_path):
    client = Client(tmp_path, token=TOKEN)
    status, _, body = client.ask(accept="text/html")
    assert status == 401
    assert b"<form method" in body
    status, _, body = client.ask("/sign-in", "POST", pieces=(b"token=wrong",), accept="text/html")
    assert status == 401
    assert b"That is not the token" in body
    for answer in (
        client.ask("/sign-in", "POST", pieces=(b"token=a+secret", b"+of+the+tests")),
        client.ask(query="token=a+secret+of+the+tests&x=1"),
    ):
        status, headers, _ = answer
        assert status == 303
        assert "secret" not in headers["location"] + headers["set-cookie"]
        assert "HttpOnly; SameSite=Strict" in headers["set-cookie"]
        assert client.ask(cookie=headers["set-cookie"].split(";")[0])[0] == 200
    assert client.ask(cookie=headers["set-cookie"].split(";")[0][:-1])[0] == 401
    assert Client(tmp_path, token=TOKEN).ask(cookie=headers["set-cookie"].split(";")[0])[0] == 401  # of another server


def test_too_much_is_refused_before_it_is_read(tmp_path):
    client = Client(tmp_path)
    status, _, body = client.ask("/api/denoise", "POST", content_length="9000000", expect="100-continue")
    assert status == 413
    assert (
        json.loads(body)["error"]
        == "the request brings 9.0 MB, more than the 2 MB that one request may bring; send a smaller file"
    )
    assert client.ask("/api/denoise", "POST", pieces=(b"x" * 1_500_000,) * 3)[0] == 413  # which does not say its length
    assert client.seen == []
    assert client.ask("/api/denoise", "POST", pieces=(b"x" * 900_000,) * 2)[2] == b"x" * 1_800_000
    assert client.ask("/gradio_api/upload", "POST", content_length="9000000")[0] == 200  # several files
    assert client.ask("/gradio_api/queue/join", "POST", content_length="9000000")[0] == 413  # sent all the same


def test_a_request_of_which_no_more_comes_is_given_up(tmp_path, monkeypatch):
    """Or a few of them would hold all that the server has."""
    monkeypatch.setattr("shotnoise.web.guard._PATIENCE", 0.05)
    client = Client(tmp_path)
    status, _, body = client.ask("/api/denoise", "POST", pieces=(b"x", None))
    assert (status, client.seen) == (408, [])
    assert "nothing came for 0.05 seconds of a request that is not complete; send it again" in json.loads(body)["error"]
    assert client.ask("/api/denoise", "POST", pieces=(b"x" * 4_000_000, None))[0] == 413
    client = Client(tmp_path, token=TOKEN)
    assert client.ask("/sign-in", "POST", pieces=(b"token=", None))[0] == 401


def test_a_full_disk_takes_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr("shotnoise.web.guard._SPARE", 10**18)
    status, _, body = Client(tmp_path).ask("/api/denoise", "POST", content_length="10")
    assert status == 507
    assert "MB left for files; try again later" in json.loads(body)["error"]
