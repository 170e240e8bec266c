"""The same over HTTP, for programs: a file goes in, a file comes out, and a header says what was done.

`POST /api/denoise` takes the file as the field `file` of a form or as the body of the request; `PUT
/api/denoise/NAME` takes it as the body, as `curl -T` sends it. Options are parameters of the address, or fields of the
form. Every failure is a JSON object with one line under `error`.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from shotnoise import __version__
from shotnoise.images.raw import is_raw
from shotnoise.mri.volumes import is_volume
from shotnoise.web.desk import Desk, Ticket
from shotnoise.web.limits import MEGA, Limits, RefusedError
from shotnoise.web.settings import Kind, Offer, Settings
from shotnoise.web.shelf import Item, Shelf

__all__ = ["Api", "file_name", "kind_of"]

_OFTEN = 0.2  # seconds between two looks at whether the other side is still there
_LONGEST = 180  # bytes of a file name: as many as systems take, less what results have more in theirs


class Api:
    """The routes under `/api`.

    Args:
        desk: where work is done.
        shelf: where files are kept meanwhile.
        offer: what can be chosen.
        limits: of the server.
    """

    def __init__(self, desk: Desk, shelf: Shelf, offer: Offer, limits: Limits) -> None:
        self.desk, self.shelf, self.offer, self.limits = desk, shelf, offer, limits

    async def about(self, request: Request) -> Response:
        """`GET /api`: what there is, and how busy."""
        waiting, working = self.desk.load
        return JSONResponse(
            {
                "shotnoise": __version__,
                "models": {
                    model.name: {"for": model.kind, "takes_level": model.level, "summary": model.summary}
                    for model in self.offer.known.values()
                },
                "engines": ["auto", *self.offer.engines],
                "profiles": sorted(self.offer.profile_sources),
                "options": list(Settings.model_fields),
                "limits": {
                    "upload_bytes": self.limits.upload,
                    "pixels": self.limits.pixels,
                    "waiting": self.limits.queue,
                    "seconds": self.limits.seconds,
                },
                "waiting": waiting,
                "working": working,
            }
        )

    async def denoise(self, request: Request) -> Response:
        """`POST /api/denoise` and `PUT /api/denoise/NAME`: the file without its noise."""
        return await self._answer(request, self._denoise)

    async def estimate(self, request: Request) -> Response:
        """`POST /api/estimate` and `PUT /api/estimate/NAME`: what the file is and how noisy."""
        return await self._answer(request, self._estimate)

    async def _answer(self, request: Request, act: Callable[[Request, Item], Awaitable[Response]]) -> Response:
        """Of an act or of what stood against it; only a result that is to be sent keeps its place on the shelf."""
        answer: Response | None = None
        item: Item | None = None
        try:
            item = self.shelf.new()
            answer = await act(request, item)
        except ClientDisconnect:
            return Response(status_code=499)
        except RefusedError as error:
            return JSONResponse({"error": str(error)}, error.status, _later(error))
        except OSError as error:
            words = f"this server cannot keep the file ({error.strerror}); expected room for it: try again later"
            return JSONResponse({"error": words}, 507)
        finally:
            if item is not None and not isinstance(answer, _Parting):
                self.shelf.drop(item.key)
        return answer

    async def _denoise(self, request: Request, item: Item) -> Response:
        file, wishes = await self._receive(request, item)
        settings = Settings.parse(wishes)
        options = settings.options(self.offer, kind_of(file), self.limits.pixels)
        output = item.inside("out")
        ticket = self.desk.submit(
            "denoise", path=str(file), output=str(output), options=options, extension=settings.format
        )
        report = await self._wait(request, ticket)
        return _Parting(self.shelf, item, output / report["result"], report)

    async def _estimate(self, request: Request, item: Item) -> Response:
        file, wishes = await self._receive(request, item)
        if wishes:
            raise RefusedError(f"there is no option '{next(iter(wishes))}' here; expected a file and nothing else", 400)
        kind_of(file)
        ticket = self.desk.submit("look", path=str(file), folder=str(item.folder), max_pixels=self.limits.pixels)
        return JSONResponse({"file": file.name, **await self._wait(request, ticket)})

    async def _receive(self, request: Request, item: Item) -> tuple[Path, dict[str, Any]]:
        """The file, on disk, and the options."""
        asked = request.query_params.multi_items()
        folder = item.inside("in")
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            async with _form(request) as form:
                sent = form.get("file")
                if not isinstance(sent, UploadFile):
                    raise RefusedError(
                        "the form has no file; expected one in the field 'file', as in curl -F file=@photo.jpg", 400
                    )
                wishes = _once([*asked, *(one for one in form.multi_items() if one[0] != "file")])
                file = folder / file_name(wishes.pop("name", "") or sent.filename or "")
                with file.open("wb") as target:
                    while block := await sent.read(2**20):
                        target.write(block)
            self._refuse_large(file)
            return file, wishes
        wishes = _once(asked)
        name = request.path_params.get("name") or wishes.pop("name", "")
        if not name:
            raise RefusedError(
                "the request does not name its file, whose ending says what the result will be; add ?name=photo.jpg, "
                "or send it as a form: curl -F file=@photo.jpg",
                400,
            )
        file = folder / file_name(name)
        with file.open("wb") as target:
            async for block in request.stream():
                target.write(block)
        if file.stat().st_size == 0:
            raise RefusedError(
                "the request brings no file; expected one as its body, or as the field 'file' of a form", 400
            )
        self._refuse_large(file)
        return file, wishes

    def _refuse_large(self, file: Path) -> None:
        size = file.stat().st_size
        if size > self.limits.upload:
            raise RefusedError(
                f"{file.name}: has {size / MEGA:.1f} MB, more than the {self.limits.upload / MEGA:g} MB that this "
                "server takes; send a smaller file",
                413,
            )

    async def _wait(self, request: Request, ticket: Ticket) -> dict[str, Any]:
        """For the result, as long as the other side waits too."""
        result = asyncio.wrap_future(ticket.result)
        try:
            while True:
                done, _ = await asyncio.wait([result], timeout=_OFTEN)
                if done:
                    return await result
                if await request.is_disconnected():
                    raise ClientDisconnect
        finally:
            if not ticket.done:
                ticket.cancel()
                result.add_done_callback(lambda future: future.cancelled() or future.exception())


def _once(asked: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Options by name. None may come twice, in the address or in the form: which one is meant?"""
    wishes: dict[str, Any] = {}
    for name, value in asked:
        if name in wishes:
            raise RefusedError(f"the option '{name}' comes twice; expected it once: leave one of them out", 400)
        wishes[name] = value
    return wishes


class _Parting(FileResponse):
    """A result on its way; nothing of it stays, whether it arrives or not."""

    def __init__(self, shelf: Shelf, item: Item, path: Path, report: Mapping[str, Any]) -> None:
        words = json.dumps(report, separators=(",", ":"))
        super().__init__(path, filename=path.name, headers={"shotnoise-report": words, "cache-control": "no-store"})
        self._shelf, self._item = shelf, item

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and remove it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._shelf.drop(self._item.key)


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    """The fields of a form, or a refusal in our words."""
    try:
        form = await request.form(max_files=1, max_fields=50)
    except HTTPException as error:
        reason = error.detail[:1].lower() + error.detail[1:].rstrip(".")
        raise RefusedError(
            f"the form cannot be read ({reason}); expected one file, in the field 'file', and options, as in curl -F "
            "file=@photo.jpg -F strength=0.8",
            400,
        ) from None
    try:
        yield form
    finally:
        await form.close()


def file_name(given: str) -> str:
    """What a file may be called here: the last part of what was said, harmless and not hidden."""
    name = re.split(r"[/\\]", given)[-1]
    name = "".join(letter for letter in name if letter.isprintable()).lstrip(". ")
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) >= 10:
        stem, dot, ending = name, "", ""
    room = _LONGEST - len(f"{dot}{ending}".encode())
    return f"{stem.encode()[:room].decode(errors='ignore')}{dot}{ending}" or "picture"


def kind_of(file: Path) -> Kind:
    """RAW or picture."""
    if is_volume(file):
        raise RefusedError(
            f"{file.name}: is a volume, and this server takes pictures and RAW; use `shotnoise denoise`", 415
        )
    return "raw" if is_raw(file) else "picture"


def _later(error: RefusedError) -> dict[str, str] | None:
    return {"retry-after": "10"} if error.status == 503 else None
