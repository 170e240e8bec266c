"""The whole of it: page, HTTP and pictures in one application, behind the guard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio import processing_utils
from gradio.utils import get_upload_folder
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from shotnoise.errors import ShotnoiseError
from shotnoise.web.api import Api
from shotnoise.web.desk import Desk
from shotnoise.web.guard import Guard
from shotnoise.web.limits import Limits, RefusedError
from shotnoise.web.page import Page, style
from shotnoise.web.settings import Offer
from shotnoise.web.shelf import Item, Shelf
from shotnoise.web.views import archive, window

__all__ = ["make_app"]

_SWEEP = 60.0  # seconds


def make_app(
    desk: Desk,
    shelf: Shelf,
    offer: Offer,
    limits: Limits,
    *,
    token: str | None = None,
    here: bool = True,
    any_host: bool = False,
    root_path: str = "",
) -> Guard:
    """The application.

    Args:
        desk: where work is done.
        shelf: where files lie.
        offer: what can be chosen; its models are known already.
        limits: of the server.
        token: which everybody must show.
        here: whether only this machine is served, which the page says.
        any_host: see :class:`~shotnoise.web.guard.Guard`.
        root_path: under which a proxy shows the application.
    """
    _take_only_what_was_sent()

    @asynccontextmanager
    async def swept(_: Any) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(_SWEEP)
                await asyncio.to_thread(shelf.sweep)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=swept)
    api, views = Api(desk, shelf, offer, limits), _Views(shelf)
    app.add_route("/api", api.about, methods=["GET"])
    for name, act in (("denoise", api.denoise), ("estimate", api.estimate)):
        app.add_route(f"/api/{name}", act, methods=["POST"])
        app.add_route(f"/api/{name}/{{name}}", act, methods=["POST", "PUT"])
    for rest in ("/api", "/api/{rest:path}"):
        app.add_route(rest, _no_such_request, methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    app.add_route("/view/{key}/{side}.png", views.window, methods=["GET"])
    app.add_route("/view/{key}/file", views.file, methods=["GET"])
    app.add_route("/view/{key}/zip", views.zip, methods=["GET"])
    app.add_route("/web/viewer.js", _viewer, methods=["GET"])
    page = Page(desk, shelf, offer, limits, here).build()
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        root_path=root_path or None,
        max_file_size=limits.upload,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        show_error=False,
        **style(),
    )
    return Guard(app, token=token, any_host=any_host, limits=limits, folder=shelf.root)


class _Views:
    """The routes under `/view`."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def window(self, request: Request) -> Response:
        """Pixels."""
        item = self.shelf.get(request.path_params["key"])
        try:
            if item is None:
                raise RefusedError("this picture is not there any more; open the file again", 404)
            numbers = {name: int(request.query_params.get(name, default)) for name, default in _WINDOW.items()}
            content = window(item.folder, request.path_params["side"], **numbers)
        except ValueError:
            return JSONResponse({"error": "x, y, size and every are whole numbers"}, 400)
        except RefusedError as error:
            return JSONResponse({"error": str(error)}, error.status)
        return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=600"})

    def file(self, request: Request) -> Response:
        """A result."""
        item = self.shelf.get(request.path_params["key"])
        name = request.query_params.get("name", "")
        if item is None or name not in item.results or not item.results[name].is_file():
            return _gone()
        return FileResponse(item.results[name], filename=name, headers={"cache-control": "no-store"})

    def zip(self, request: Request) -> Response:
        """All results of a pile."""
        item: Item | None = self.shelf.get(request.path_params["key"])
        if item is None or not item.results:
            return _gone()
        headers = {"content-disposition": 'attachment; filename="denoised.zip"', "cache-control": "no-store"}
        return StreamingResponse(archive(item.results, item.report), media_type="application/zip", headers=headers)


_WINDOW = {"x": 0, "y": 0, "size": 512, "every": 1}


def _gone() -> Response:
    return JSONResponse({"error": "this result is not there any more; open the file again"}, 404)


async def _no_such_request(request: Request) -> Response:
    asked = f"{request.method} {request.url.path}"
    words = f"there is no {asked} here; expected GET /api, POST /api/denoise or POST /api/estimate"
    return JSONResponse({"error": words}, 404)


async def _viewer(_: Request) -> Response:
    script = (files("shotnoise.web") / "static" / "viewer.js").read_text(encoding="utf-8")
    return Response(script, media_type="text/javascript", headers={"cache-control": "private, max-age=600"})


def _take_only_what_was_sent() -> None:
    """Shut two doors of Gradio: for any value, a visitor may name an address or a file of this machine.

    Gradio would fetch the one, and copy the other to where visitors get it: it looks where a file lies only in servers
    that it launched itself.
    """
    for name, ours in (("async_ssrf_protected_download", _refuse_address), ("_check_allowed", _refuse_other_files)):
        if not hasattr(processing_utils, name):
            raise ShotnoiseError(
                f"Gradio {gr.__version__} has no '{name}', so visitors could not be kept from the files of this "
                "machine; expected a version that this shotnoise knows: pip install 'gradio==6.31.0'"
            )
        setattr(processing_utils, name, ours)


async def _refuse_address(url: str, cache_dir: str) -> str:
    raise RefusedError("an address was given instead of a file that was sent; nothing is fetched from anywhere")


def _refuse_other_files(path: str | Path, check_in_upload_folder: bool) -> None:
    if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise RefusedError("a file of this machine was given instead of a file that was sent; nothing else is opened")
